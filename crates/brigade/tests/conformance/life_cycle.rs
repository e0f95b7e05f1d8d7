//! D. The life of workers: replaced after so many calls, or so much memory; more and fewer of them; pools in pools.

use crate::stage::{
    FOR_EVER, Marks, PATIENCE, answer, builder, eventually, full, is_alive, kill, meeting, own_pid, pool,
    square, wait_for, wait_gone, workers,
};
use brigade::{BuildError, Pool, TaskError};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hint::black_box;
use std::mem;
use std::process;
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;

/// How many calls each process has done, of so many handed in at once.
fn calls_of_each(pool: &Pool, calls: usize) -> BTreeMap<u32, usize> {
    let jobs: Vec<_> = (0..calls).map(|_| pool.submit(own_pid, ())).collect();
    let mut done = BTreeMap::new();
    for job in &jobs {
        *done.entry(answer(job).expect("none is lost")).or_default() += 1;
    }
    done
}

/// Scenario 54. Below ten calls the number is exact; a tenth more or less of a larger one parts the ends of those that were
/// born together.
#[test]
fn a_worker_is_replaced_after_its_number_of_calls_and_none_is_lost() {
    for (most, about) in [(1, 0), (5, 0), (10, 1)] {
        let pool = builder(3).max_tasks_per_child(most as u64).build().expect("a pool");
        let done = calls_of_each(&pool, 100);
        assert_eq!(done.values().sum::<usize>(), 100);
        assert!(done.values().all(|calls| *calls <= most + about), "{most}: {done:?}");
        let spent = done.values().filter(|calls| **calls >= most - about).count();
        assert!(spent + 3 >= done.len(), "only the last three may have some left: {done:?}");
        assert_eq!(meeting(&pool, 3).len(), 3, "their number stays");
    }
    let pool = builder(3).max_tasks_per_child(1_000).build().expect("a pool");
    assert!(calls_of_each(&pool, 100).len() <= 3);
}

/// Scenario 55, where Python's executor hangs.
#[test]
fn workers_of_one_two_or_three_calls_do_very_many_of_them() {
    let calls = if full() { 10_000 } else { 600 };
    for most in 1..=3 {
        let pool = builder(2).max_tasks_per_child(most).build().expect("a pool");
        let done = calls_of_each(&pool, calls);
        assert!(done.values().all(|calls| *calls <= most as usize), "{most}: {done:?}");
        let mapped: Result<Vec<u64>, TaskError> = pool.map(square, 0..200).chunk_size(2).collect();
        assert_eq!(mapped, Ok((0..200).map(square).collect()));
    }
}

/// Scenario 56.
#[test]
fn idle_workers_are_used_again_and_no_others_are_started() {
    let pool = pool(3);
    let all: BTreeSet<u32> = workers(&pool, 3).into_iter().collect();
    let used: BTreeSet<u32> = (0..50).map(|_| answer(&pool.submit(own_pid, ())).expect("a pid")).collect();
    assert!(used.is_subset(&all), "{used:?} of {all:?}");
    assert_eq!(workers(&pool, 3).into_iter().collect::<BTreeSet<_>>(), all);
}

/// Scenario 58: who survives.
#[test]
fn whoever_is_left_when_a_pool_shrinks_is_still_there_when_it_grows() {
    let pool = pool(2);
    let two = workers(&pool, 2);
    pool.resize(1);
    let left = eventually("one has gone", || {
        let left: Vec<u32> = two.iter().copied().filter(|pid| is_alive(*pid)).collect();
        (left.len() == 1).then(|| left[0])
    });
    assert_eq!(answer(&pool.submit(own_pid, ())), Ok(left));
    pool.resize(2);
    assert!(meeting(&pool, 2).contains(&left));
}

/// Scenario 58: while calls are under way, and while workers die.
#[test]
fn a_pool_is_resized_again_and_again_and_loses_no_call() {
    let pool = pool(4);
    let mut jobs = Vec::new();
    for (n, procs) in (0..).zip([12, 2, 1, 12, 6, 1, 8, 5]) {
        jobs.extend((0..40).map(|k| pool.submit(square, 40 * n + k)));
        if n % 2 == 1 {
            let victim = answer(&pool.submit(own_pid, ())).expect("a pid");
            kill("KILL", victim);
        }
        pool.resize(procs);
    }
    assert!((0..).zip(&jobs).all(|(n, job)| answer(job) == Ok(n * n)));
    let five = workers(&pool, 5);
    assert_eq!(five.iter().collect::<BTreeSet<_>>().len(), 5, "{five:?}");
    let alive = |pids: &[u32]| pids.iter().filter(|pid| is_alive(**pid)).count();
    pool.resize(1);
    eventually("four have gone", || (alive(&five) == 1).then_some(()));
}

/// Scenario 59.
#[test]
fn a_number_of_workers_that_cannot_be_is_refused_in_one_line() {
    for procs in [0, 1_000_000] {
        let error = builder(procs).build().expect_err("no such pool");
        let words = error.to_string();
        assert_eq!(words.lines().count(), 1, "{words}");
        assert_eq!(matches!(error, BuildError::Setting { given: 0, .. }), procs == 0, "{words}");
    }
}

/// Keeps so many bytes for ever, and says who does and what it has in all.
fn leak(bytes: usize) -> (u32, u64) {
    mem::forget(black_box(vec![1_u8; bytes]));
    let pages = fs::read_to_string("/proc/self/statm").expect("/proc");
    let pages: u64 = pages.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    (process::id(), pages * 4096)
}

/// Scenario 61.
#[test]
fn workers_that_leak_are_replaced_and_no_call_is_lost() {
    const LEAK: usize = 3 << 20;
    const LIMIT: u64 = 100 << 20;
    let pool = builder(2).memory_limit(LIMIT).build().expect("a pool");
    let jobs: Vec<_> = (0..300).map(|_| pool.submit(leak, LEAK)).collect();
    let told: Vec<(u32, u64)> = jobs.iter().map(|job| answer(job).expect("none is lost")).collect();
    let most = told.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0);
    assert!(most < LIMIT + 2 * LEAK as u64, "{most} bytes");
    let pids: BTreeSet<u32> = told.iter().map(|(pid, _)| *pid).collect();
    assert!(pids.len() >= 9, "900 MiB in {} processes", pids.len());
}

/// Has a pool of its own, uses it, and says who was in it.
fn nest(n: u64) -> (u64, u32) {
    let pool = Pool::builder().procs(2).build().expect("a pool in a worker");
    let pid = pool.submit(own_pid, ()).join().expect("a pid");
    (pool.map_reduce(square, 0..n, 0, |sum, n| sum + n).expect("a sum"), pid)
}

/// Scenario 62: how deep, is in `pools_are_nested_ten_deep_and_no_deeper`.
#[test]
fn pools_in_workers_end_with_their_calls_and_outer_ones_at_once() {
    let pool = pool(2);
    let told: Vec<(u64, u32)> = pool.map(nest, [10, 20, 30]).map(|one| one.expect("a sum")).collect();
    assert_eq!(told.iter().map(|(sum, _)| *sum).collect::<Vec<_>>(), [285, 2_470, 8_555]);
    let inner: Vec<u32> = told.iter().map(|(_, pid)| *pid).collect();
    wait_gone(&inner);
    drop(pool);
}

/// Scenario 63: all that it has, from many threads.
#[test]
fn a_pool_is_used_from_ten_threads_at_once() {
    let pool = builder(3).attempts(50).build().expect("a pool");
    thread::scope(|scope| {
        for thread in 0..10_u64 {
            let pool = &pool;
            scope.spawn(move || {
                let jobs: Vec<_> = (0..30).map(|n| pool.submit(square, thread * 100 + n)).collect();
                let cancelled: Vec<_> =
                    (0..10).map(|_| pool.submit(|()| thread::sleep(FOR_EVER), ())).collect();
                cancelled.iter().for_each(|job| _ = job.cancel());
                let mapped: Result<Vec<u64>, TaskError> = pool.map(square, 0..100).collect();
                assert_eq!(mapped, Ok((0..100).map(square).collect()));
                if thread % 3 == 0 {
                    kill("KILL", answer(&pool.submit(own_pid, ())).expect("a pid"));
                }
                assert!((thread * 100..).zip(&jobs).all(|(n, job)| answer(job) == Ok(n * n)));
                assert!(cancelled.iter().all(|job| answer(job) == Err(TaskError::Cancelled)));
            });
        }
    });
}

/// Scenario 63: `get_reusable_executor` of loky.
#[test]
fn a_pool_is_replaced_while_others_submit_and_each_call_has_its_answer() {
    let shared = Arc::new(RwLock::new(Arc::new(pool(2))));
    let (over, done) = (Marks::new(), Marks::new());
    thread::scope(|scope| {
        for thread in 0..4 {
            let (shared, over, done) = (&shared, &over, &done);
            scope.spawn(move || {
                for n in 0.. {
                    let pool = Arc::clone(&shared.read().unwrap_or_else(PoisonError::into_inner));
                    assert_eq!(answer(&pool.submit(square, n)), Ok(n * n), "in thread {thread}");
                    if !over.all().is_empty() {
                        break;
                    }
                }
                done.put(&thread.to_string());
            });
        }
        for _ in 0..10 {
            let new = Arc::new(pool(2));
            // Whoever lets go of the old one last ends it.
            drop(mem::replace(&mut *shared.write().unwrap_or_else(PoisonError::into_inner), new));
        }
        over.put("it is over");
    });
    assert_eq!(done.all().len(), 4);
}

/// Not one of the eighty: what a pool leaves behind it ends nobody else.
#[test]
fn the_end_of_one_pool_harms_no_worker_of_another() {
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..25 {
                    let pool = pool(2);
                    let before: BTreeSet<u32> = workers(&pool, 2).into_iter().collect();
                    let after: BTreeSet<u32> = workers(&pool, 2).into_iter().collect();
                    assert_eq!(after, before, "round {round}");
                }
            });
        }
    });
}

/// Not one of the eighty, but what they are about: nobody waits behind a long call while others have nothing to do.
#[test]
fn a_short_call_never_waits_behind_a_long_one_while_a_worker_is_idle() {
    let (pool, marks) = (pool(2), Marks::new());
    // Short ones, so that they are lent ahead of the work.
    assert!(pool.map(square, 0..2_000).chunk_size(1).all(|one| one.is_ok()));
    for round in 0..10 {
        let mark = format!("round {round}");
        let before: Vec<_> = (0..20).map(|n| pool.submit(square, n)).collect();
        let long = pool.submit(wait_for, marks.path(&mark));
        let behind: Vec<_> = (0..20).map(|n| pool.submit(square, n)).collect();
        for job in before.iter().chain(&behind) {
            let told = job.join_timeout(PATIENCE / 4);
            assert!(told.is_some_and(|told| told.is_ok()), "round {round}: it waits for the long one");
        }
        assert!(!long.is_done());
        marks.put(&mark);
        assert!(answer(&long).is_ok());
    }
}
