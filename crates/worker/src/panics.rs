//! A panic in a task is an ending with its message and place, not a death.

use brigade_wire::Ending;
use std::any::Any;
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
    // Of a panic that somebody else has caught before.
    drop(LAST.take());
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(value) => Caught::Value(value),
        Err(payload) => {
            let words = words(&*payload);
            // What is thrown on calls no hook: what was remembered may be of a panic that was caught in between.
            let last = LAST.take().filter(|(message, ..)| message == words);
            let (message, location, backtrace) =
                last.unwrap_or_else(|| (words.to_owned(), String::new(), String::new()));
            Caught::Panicked { message, location, backtrace }
        }
    }
}

/// What it says itself, where the hook was somebody else's, or was not called.
fn words(payload: &(dyn Any + Send)) -> &str {
    let text =
        payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied());
    text.unwrap_or(NO_TEXT)
}

const NO_TEXT: &str = "a payload that is not text";

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
    info.payload_as_str().unwrap_or(NO_TEXT).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::resume_unwind;

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

    #[test]
    fn words_are_those_of_the_panic_also_where_no_hook_was_called() {
        remember();
        assert!(catch_unwind(|| panic!("an earlier one")).is_err());
        let panicked = |message: &str| Ending::Panicked { message: message.into(), location: String::new() };
        assert_eq!(caught(|| resume_unwind(Box::new("thrown on"))), panicked("thrown on"));
        assert_eq!(caught(|| resume_unwind(Box::new("so".to_owned()))), panicked("so"));
        assert_eq!(caught(|| resume_unwind(Box::new(7))), panicked(NO_TEXT));
    }

    #[test]
    fn words_are_not_those_of_a_panic_that_the_task_itself_has_caught() {
        remember();
        let outer = caught(|| {
            assert!(catch_unwind(|| panic!("inner")).is_err());
            resume_unwind(Box::new("outer 1"))
        });
        assert_eq!(outer, Ending::Panicked { message: "outer 1".into(), location: String::new() });
        let thrown_on = caught(|| resume_unwind(catch_unwind(|| panic!("inner")).expect_err("it panics")));
        let Ending::Panicked { message, location } = thrown_on else { panic!("{thrown_on:?}") };
        assert_eq!(message, "inner");
        assert!(location.contains("panics.rs:"), "it is the same panic: {location}");
    }
}
