//! E. Arguments and results: how large, in which order, for how long, and how many at once.

use crate::stage::{Marks, answer, eventually, full, own_pid, pool, square, wait_for, workers};
use brigade::TaskError;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeSet;
use std::iter;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// Scenario 71. The argument of 2.2 GB takes 7 GB of memory; `make conformance` has it.
#[test]
fn large_arguments_and_results_arrive_whole() {
    let length: fn(String) -> usize = |text| text.len();
    let text: fn(usize) -> String = |bytes| "é".repeat(bytes / 2);
    let there_and_back: fn(String) -> String = |text| text;
    let pool = pool(2);
    let bytes = 100 << 20;
    assert_eq!(answer(&pool.submit(length, "x".repeat(bytes))), Ok(bytes));
    assert_eq!(answer(&pool.submit(text, bytes)).map(|text| text.len()), Ok(bytes));
    let sent = "ab".repeat(5 << 20);
    assert!(answer(&pool.submit(there_and_back, sent.clone())) == Ok(sent), "not what was sent");
    if full() {
        let bytes = 2_200_000_000;
        assert_eq!(answer(&pool.submit(length, "x".repeat(bytes))), Ok(bytes));
    }
}

/// Scenario 72: sizes of chunks.
#[test]
fn results_come_in_the_order_of_the_items_for_each_size_of_chunk() {
    let pool = pool(3);
    let squares: Vec<u64> = (0..40).map(square).collect();
    for size in [1, 6, 40, 50] {
        let mapped: Result<Vec<u64>, TaskError> = pool.map(square, 0..40).chunk_size(size).collect();
        assert_eq!(mapped.as_ref(), Ok(&squares), "chunks of {size}");
        let unordered: Result<BTreeSet<u64>, TaskError> =
            pool.map_unordered(square, 0..40).chunk_size(size).collect();
        assert_eq!(unordered, Ok(squares.iter().copied().collect()), "chunks of {size}");
    }
    let none = catch_unwind(AssertUnwindSafe(|| pool.map(square, 0..40).chunk_size(0).count()));
    assert!(none.is_err(), "a chunk of none is refused");
    assert_eq!(answer(&pool.submit(square, 3)), Ok(9));
}

/// Scenario 72: nothing to do.
#[test]
fn maps_of_no_item_end_at_once_without_a_result() {
    let pool = pool(1);
    let none = iter::empty::<u64>;
    assert_eq!(pool.map(square, none()).count(), 0);
    assert_eq!(pool.map(square, none()).chunk_size(7).count(), 0);
    assert_eq!(pool.map_unordered(square, none()).count(), 0);
    assert_eq!(pool.starmap(|a: u64, b: u64| a + b, iter::empty::<(u64, u64)>()).count(), 0);
    assert_eq!(pool.map_reduce(square, none(), 5, |sum, n| sum + n), Ok(5));
    assert_eq!(pool.for_each(|_: u64| (), none()), Ok(()));
}

/// Scenario 72: the caller's iterator.
#[test]
fn a_panic_of_the_input_is_the_callers_own_and_the_pool_is_as_good_as_before() {
    let pool = pool(2);
    for (at, size) in [(0, 1), (3, 1), (3, 5), (12, 5)] {
        let items = (0..20).inspect(|n| assert_ne!(*n, at, "the input panics"));
        let drawn = catch_unwind(AssertUnwindSafe(|| pool.map(square, items).chunk_size(size).count()));
        assert!(drawn.is_err(), "at item {at} in chunks of {size}");
        assert_eq!(pool.map_reduce(square, 0..10, 0, |sum, n| sum + n), Ok(285), "after that");
    }
}

/// Values of this type that there are in this process.
static HERE: AtomicUsize = AtomicUsize::new(0);

#[derive(Debug)]
struct Counted(u64);

impl Counted {
    fn new(n: u64) -> Counted {
        HERE.fetch_add(1, SeqCst);
        Counted(n)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        HERE.fetch_sub(1, SeqCst);
    }
}

impl Serialize for Counted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Counted, D::Error> {
        u64::deserialize(deserializer).map(Counted::new)
    }
}

/// Scenario 73.
#[test]
fn arguments_and_results_are_dropped_as_soon_as_their_call_is_done() {
    let pool = pool(1);
    let next: fn(Counted) -> Counted = |counted| Counted::new(counted.0 + 1);
    let left: fn(()) -> usize = |()| HERE.load(SeqCst);
    let job = pool.submit(next, Counted::new(7));
    assert_eq!(HERE.load(SeqCst), 0, "the argument is bytes by now");
    let told = answer(&job).expect("the next one");
    assert_eq!((told.0, HERE.load(SeqCst)), (8, 1));
    drop((told, job));
    assert_eq!(HERE.load(SeqCst), 0);
    assert_eq!(answer(&pool.submit(left, ())), Ok(0), "in the worker as well");
    for told in pool.map(next, (0..100).map(Counted::new)).chunk_size(10) {
        let told = told.expect("the next one");
        assert!(HERE.load(SeqCst) <= 10, "{} at {}", HERE.load(SeqCst), told.0);
    }
    assert_eq!((HERE.load(SeqCst), answer(&pool.submit(left, ()))), (0, Ok(0)));
}

/// Scenario 74.
#[test]
fn fifteen_blocked_calls_for_each_worker_start_no_other_worker() {
    const PROCS: u32 = 3;
    let (pool, marks) = (pool(PROCS), Marks::new());
    let all: BTreeSet<u32> = workers(&pool, PROCS).into_iter().collect();
    let jobs: Vec<_> = (0..15 * PROCS).map(|_| pool.submit(wait_for, marks.path("they may end"))).collect();
    eventually("all workers are busy", || {
        (jobs.iter().filter(|job| job.pid().is_some()).count() >= PROCS as usize).then_some(())
    });
    marks.put("they may end");
    let used: BTreeSet<u32> = jobs.iter().map(|job| answer(job).expect("a pid")).collect();
    assert_eq!(used, all);
    assert!(all.contains(&answer(&pool.submit(own_pid, ())).expect("a pid")));
}
