//! What is told of those who have a lock: to themselves, and to the next ones.

use brigade::shared::SharedArray;
use brigade::sync::{Lock, OwnerDied, RLock, Semaphore, watch_locks_with};
use brigade::{Exit, Process};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
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

type All = (Lock, RLock, Semaphore, SharedArray<u64>);

/// Who had it, as the next one is told.
fn pid_of<T>(told: Result<T, OwnerDied<T>>) -> Option<u32> {
    let died = told.err().expect("its owner died");
    assert!(
        died.pid().is_none_or(|pid| died.to_string().starts_with(&format!("process {pid} died "))),
        "{died}"
    );
    died.pid()
}

#[test]
fn the_next_holder_is_told_which_process_died() {
    fn die((lock, again, semaphore, array): All) {
        let _held = (lock.acquire(), again.acquire(), again.acquire(), semaphore.acquire(), array.lock());
        drop(again.acquire());
        process::abort();
    }
    in_tests();
    let make = || -> std::io::Result<All> {
        Ok((Lock::new()?, RLock::new()?, Semaphore::new(1)?, SharedArray::zeroed(3)?))
    };
    let all = make().expect("all of it");
    // Twice: whoever is told of the second does not hear of the first.
    for _ in 0..2 {
        let process = Process::builder(die, all.clone()).start().expect("a process");
        let pid = Some(process.pid());
        process.join();
        let (lock, again, semaphore, array) = &all;
        assert_eq!(pid_of(lock.acquire()), pid);
        assert_eq!(pid_of(again.acquire()), pid);
        assert_eq!(pid_of(semaphore.acquire()), pid);
        assert_eq!(pid_of(array.lock()), pid);
        assert!(lock.acquire().is_ok() && again.acquire().is_ok() && semaphore.acquire().is_ok());
        assert!(array.lock().is_ok(), "each is told once");
    }
}
