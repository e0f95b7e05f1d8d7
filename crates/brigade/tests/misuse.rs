//! A program that never called `init`, as this one: it is told so, and does not hang.

use brigade::{BuildError, Pool};
use std::panic::catch_unwind;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::thread;

/// Both look at what this process is.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn a_pool_without_init_is_refused_in_one_line() {
    let _alone = ALONE.lock();
    let error = Pool::new().expect_err("there is no pool");
    assert!(matches!(error, BuildError::NoInit), "{error:?}");
    assert_eq!(
        error.to_string(),
        "brigade::init() was not called: call it first in main, before any thread is started \
         (under #[tokio::main]: before the runtime; in tests: brigade::test_entry!)"
    );
}

#[test]
fn init_after_threads_were_started_is_a_panic_that_says_so() {
    let _alone = ALONE.lock();
    let (end, ended) = channel::<()>();
    let other = thread::spawn(move || ended.recv());
    let panic = catch_unwind(brigade::init).expect_err("there are two threads at least");
    let words = panic.downcast_ref::<String>().expect("words");
    assert!(words.starts_with("brigade::init() must be called first in main: there are "), "{words}");
    assert!(
        words.ends_with("(under #[tokio::main]: before the runtime; in tests: brigade::test_entry!)"),
        "{words}"
    );
    drop(end);
    assert!(other.join().expect("it ends").is_err(), "nobody said anything");
    assert!(matches!(Pool::new(), Err(BuildError::NoInit)), "it was not done by halves");
}
