//! What is told of those who have a lock: to themselves, and to the next ones.

use brigade::sync::{Lock, watch_locks_with};
use brigade::{Exit, Process};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

brigade::test_entry!(in_tests);

#[test]
fn whoever_has_a_lock_waits_for_it_in_vain_and_never_for_ever() {
    fn try_again(watched: bool) {
        let lock = Lock::new().expect("a lock");
        if watched {
            watch_locks_with(|_| {});
        }
        let guard = lock.acquire().expect("nobody died");
        assert!(lock.try_acquire().expect("nobody died").is_none());
        for patience in [Duration::ZERO, Duration::from_millis(30)] {
            let begun = Instant::now();
            assert!(lock.acquire_timeout(patience).expect("nobody died").is_none());
            assert!(begun.elapsed() >= patience);
        }
        let again = catch_unwind(AssertUnwindSafe(|| lock.acquire().map(drop)));
        let words = again.expect_err("it would wait for itself");
        let words = words.downcast_ref::<String>().expect("words");
        assert!(words.contains("this thread holds the lock already"), "{words}");
        drop(guard);
        assert!(lock.acquire().is_ok(), "it was not lost");
    }
    // Processes of their own: others here must not be watched.
    for watched in [false, true] {
        in_tests();
        let process = Process::builder(try_again, watched).start().expect("a process");
        assert_eq!(process.join(), Exit::Code(0), "watched: {watched}");
    }
}
