//! A panic in a task is an ending with its message and place, not a death.

use brigade_wire::Ending;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// What the last panic of this thread said, where, and what had called that; written by the hook, which alone knows.
    static LAST: RefCell<Option<(String, String, String)>> = const { RefCell::new(None) };
}

/// Remembers every panic's words from now on, for [`caught`](crate::caught); what was printed before is still printed.
pub fn remember() {
    static ONCE: Once = Once::new();
    ONCE.call_once(hook);
}

fn hook() {
    let print = take_hook();
    set_hook(Box::new(move |info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        LAST.with_borrow_mut(|last| *last = Some((message(info), place, backtrace())));
        print(info);
    }));
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caught<R> {
    /// It returned.
    Value(R),
    /// It panicked.
    Panicked {
        /// What the panic said.
        message: String,
        /// `file:line:column`, or empty where the panic named none.
        location: String,
        /// What had called that, line by line; empty unless `RUST_BACKTRACE` or `RUST_LIB_BACKTRACE` asks for it.
        backtrace: String,
    },
}

/// Runs one of several calls that a task is made of: a panic is its own, and the others go on. Its words are known in a worker,
/// and wherever they are [remembered](crate::remember_panics).
pub fn caught_call<R>(call: impl FnOnce() -> R) -> Caught<R> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(value) => Caught::Value(value),
        Err(_) => {
            let (message, location, backtrace) = LAST.with_borrow_mut(Option::take).unwrap_or_default();
            Caught::Panicked { message, location, backtrace }
        }
    }
}

/// Runs a task to its ending.
pub(crate) fn caught(task: impl FnOnce() -> Result<Vec<u8>, String>) -> Ending {
    match caught_call(task) {
        Caught::Value(Ok(bytes)) => Ending::Value(bytes),
        Caught::Value(Err(message)) => Ending::Failed(message),
        Caught::Panicked { message, location, .. } => Ending::Panicked { message, location },
    }
}

fn backtrace() -> String {
    let captured = Backtrace::capture();
    match captured.status() {
        BacktraceStatus::Captured => captured.to_string(),
        _ => String::new(),
    }
}

fn message(info: &PanicHookInfo<'_>) -> String {
    info.payload_as_str().unwrap_or("a payload that is not text").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_with_its_message_and_place() {
        remember();
        let ending = caught(|| panic!("index {} of {}", 7, 3));
        let Ending::Panicked { message, location } = ending else { panic!("{ending:?}") };
        assert_eq!(message, "index 7 of 3");
        assert!(location.contains("panics.rs:"), "{location}");
        assert_eq!(caught(|| Ok(vec![1])), Ending::Value(vec![1]));
        assert_eq!(caught(|| Err("no".into())), Ending::Failed("no".into()));
    }
}
