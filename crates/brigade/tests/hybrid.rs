//! Threads inside of workers: items of a map at the same time in one process, each with its own panic, deadline and death.

use brigade::sync::Barrier;
use brigade::{Pool, StartMethod, TaskError};
use std::collections::HashSet;
use std::thread;
use std::time::Duration;

brigade::test_entry!(in_tests);

/// Longer than anything takes.
const HOUR: Duration = Duration::from_secs(3_600);

fn meet(barrier: Barrier) -> u32 {
    barrier.wait().expect("the others come");
    std::process::id()
}

#[test]
fn as_many_items_as_threads_run_at_the_same_time_in_one_process() {
    in_tests();
    for method in [StartMethod::Fork, StartMethod::Spawn] {
        let pool =
            Pool::builder().procs(1).threads_per_worker(3).start_method(method).build().expect("a pool");
        // Whoever came alone would wait for ever.
        let barrier = Barrier::new(3).expect("a barrier");
        let pids: Result<HashSet<u32>, TaskError> = pool.map(meet, vec![barrier; 6]).collect();
        assert_eq!(pids.expect("all of them met").len(), 1);
    }
}

fn fussy(n: u32) -> u32 {
    assert!(n != 4, "four");
    n
}

#[test]
fn a_panic_is_that_of_its_item_and_results_keep_their_order() {
    in_tests();
    let pool = Pool::builder().procs(2).threads_per_worker(3).build().expect("a pool");
    let all: Vec<Result<u32, TaskError>> = pool.map(fussy, 0..1_000).collect();
    for (n, one) in (0..).zip(&all) {
        match one {
            Err(TaskError::Panicked { message, .. }) => assert_eq!((n, message.as_str()), (4, "four")),
            other => assert_eq!(other, &Ok(n)),
        }
    }
    assert!(all[4].is_err() && all.len() == 1_000);
}

fn hang_at_five(n: u32) -> u32 {
    if n == 5 {
        thread::sleep(HOUR);
    }
    n
}

#[test]
fn an_item_past_its_time_is_found_among_those_that_ran_beside_it() {
    in_tests();
    let builder = Pool::builder().procs(2).threads_per_worker(3).attempts(1);
    let pool = builder.task_timeout(Duration::from_millis(300)).build().expect("a pool");
    // An explicit size is no way to have others wait for the time of one.
    for (n, one) in (0..).zip(pool.map(hang_at_five, 0..12).chunk_size(12)) {
        match one {
            Err(TaskError::TimedOut { .. }) => assert_eq!(n, 5),
            other => assert_eq!(other, Ok(n)),
        }
    }
}

fn abort_at_five(n: u32) -> u32 {
    if n == 5 {
        std::process::abort();
    }
    n
}

#[test]
fn whoever_takes_the_process_along_is_given_up_alone() {
    in_tests();
    let pool = Pool::builder().procs(2).threads_per_worker(4).attempts(2).build().expect("a pool");
    for (n, one) in (0..).zip(pool.map(abort_at_five, 0..40)) {
        match one {
            Err(TaskError::Quarantined { .. }) => assert_eq!(n, 5),
            other => assert_eq!(other, Ok(n)),
        }
    }
    assert!(Pool::builder().threads_per_worker(0).build().is_err());
}
