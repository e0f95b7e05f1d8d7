//! B. Time limits, and waiting with patience that ends.

use crate::stage::{
    Marks, PATIENCE, answer, builder, eventually, meeting, own_pid, pool, sleep_for_ever, square, wait_for,
    wait_gone, workers,
};
use brigade::{Mishap, TaskError, Until, as_completed, wait};
use std::iter;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

/// Far more than a good call here takes under load, and far less than one that hangs.
const LIMIT: Duration = Duration::from_secs(1);

fn is_timed_out<R>(told: &Result<R, TaskError>) -> bool {
    let Err(TaskError::TimedOut { attempts, .. }) = told else { return false };
    attempts.iter().all(|attempt| attempt.end == Mishap::TimedOut)
}

/// Hangs for a number that `odd` tells.
fn hang_at_odd(n: u64) -> u64 {
    if n % 2 == 1 {
        sleep_for_ever(());
    }
    n * n
}

/// Scenario 23.
#[test]
fn a_call_over_its_time_costs_its_worker_and_no_other_call_and_its_callback_hears_of_it() {
    let pool = builder(2).attempts(1).task_timeout(LIMIT).build().expect("a pool");
    let before = workers(&pool, 2);
    let hung = pool.submit(hang_at_odd, 1);
    let (sender, told) = channel();
    hung.on_done(move |told| _ = sender.send(told));
    let others: Vec<_> = (0..20).map(|n| pool.submit(square, n)).collect();
    assert!(is_timed_out(&told.recv_timeout(PATIENCE).expect("it is called")));
    assert!((0..).zip(&others).all(|(n, job)| answer(job) == Ok(n * n)));
    let killed = hung.pid().expect("somebody ran it");
    wait_gone(&[killed]);
    let after = meeting(&pool, 2);
    assert!(!after.contains(&killed), "it is replaced");
    assert_eq!(before.iter().filter(|pid| after.contains(pid)).count(), 1, "{before:?} and {after:?}");
}

/// Scenario 24: theirs is for a chunk, ours for each item.
#[test]
fn the_time_limit_is_for_each_item_of_a_chunk_and_not_for_the_chunk() {
    let pool = builder(1).attempts(1).task_timeout(LIMIT).build().expect("a pool");
    let slowly: fn(u64) -> u64 = |n| {
        thread::sleep(LIMIT / 4);
        n
    };
    let all: Result<Vec<u64>, TaskError> = pool.map(slowly, 0..6).chunk_size(6).collect();
    assert_eq!(all, Ok((0..6).collect()), "six quarters in all");
    for (n, told) in (0..).zip(pool.map(hang_at_odd, [0, 2, 3, 4]).chunk_size(4)) {
        assert_eq!(is_timed_out(&told), n == 2, "{n}: {told:?}");
    }
}

/// Scenario 27.
#[test]
fn a_map_goes_on_behind_an_item_that_took_too_long() {
    let pool = builder(2).attempts(1).task_timeout(LIMIT).build().expect("a pool");
    for chunk_size in [1, 3] {
        let told: Vec<_> = pool.map(hang_at_odd, [0, 2, 3, 4, 6, 8]).chunk_size(chunk_size).collect();
        assert!(is_timed_out(&told[2]), "{told:?}");
        let good: Vec<u64> = told.into_iter().flatten().collect();
        assert_eq!(good, [0, 4, 16, 36, 64], "in chunks of {chunk_size}");
    }
}

/// Scenario 28.
#[test]
fn of_calls_with_a_limit_those_that_hang_time_out_and_the_others_are_right() {
    let pool = builder(3).attempts(1).task_timeout(LIMIT).build().expect("a pool");
    let jobs: Vec<_> = (0..6).map(|n| pool.submit(hang_at_odd, n)).collect();
    for (n, job) in (0..).zip(&jobs) {
        match answer(job) {
            Ok(value) => assert_eq!(value, n * n),
            told => assert!(n % 2 == 1 && is_timed_out(&told), "{n}: {told:?}"),
        }
    }
}

/// Scenario 30.
#[test]
fn whoever_waits_with_a_time_limit_leaves_the_call_running() {
    let (pool, marks) = (pool(1), Marks::new());
    let job = pool.submit(wait_for, marks.path("it may end"));
    let pid = eventually("it is begun", || job.pid());
    for patience in [Duration::ZERO, Duration::from_millis(20)] {
        assert_eq!(job.join_timeout(patience), None);
    }
    assert!(job.try_join().is_none() && !job.is_done());
    marks.put("it may end");
    assert_eq!(answer(&job), Ok(pid));
    assert_eq!(job.join_timeout(Duration::ZERO), Some(Ok(pid)), "again, and at once");
    assert_eq!(answer(&pool.submit(own_pid, ())), Ok(pid), "nobody was ended");
}

/// Scenario 31.
#[test]
fn jobs_that_are_done_already_are_found_done_without_patience() {
    let (pool, marks) = (pool(5), Marks::new());
    let done = || {
        let job = pool.submit(own_pid, ());
        answer(&job).expect("a pid");
        job
    };
    let open = || pool.submit(wait_for, marks.path("they may end"));
    for until in [Until::AllCompleted, Until::FirstException] {
        let (ended, unended) = wait([done(), open(), done(), open()], until, Some(Duration::ZERO));
        assert_eq!((ended.len(), unended.len()), (2, 2), "{until:?}");
        marks.put("they may end");
        let (ended, unended) = wait(unended, until, Some(PATIENCE));
        assert_eq!((ended.len(), unended.len()), (2, 0), "{until:?}");
        marks.take("they may end");
    }
    let (ended, unended) = wait([open(), open()], Until::FirstCompleted, Some(Duration::ZERO));
    assert_eq!((ended.len(), unended.len()), (0, 2));
    marks.put("they may end");
    assert_eq!(wait(unended, Until::AllCompleted, Some(PATIENCE)).0.len(), 2);
    let (ended, unended) = wait([done(), done()], Until::FirstCompleted, None);
    assert_eq!((ended.len(), unended.len()), (2, 0), "both are done");
    let all: Vec<_> = as_completed([done(), open(), done()]).map(|job| job.join()).collect();
    assert!(all.len() == 3 && all.iter().all(Result::is_ok), "{all:?}");
    assert_eq!(as_completed(iter::empty::<brigade::Job<u32>>()).count(), 0);
    let nothing = wait(iter::empty::<brigade::Job<u32>>(), Until::AllCompleted, None);
    assert!(nothing.0.is_empty() && nothing.1.is_empty());
}
