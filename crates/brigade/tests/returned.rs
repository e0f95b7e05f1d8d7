//! What results carry is closed in the worker when nobody needs it any more, and not before.

use brigade::shared::SharedValue;
use brigade::{ConnectionError, Pool, Receiver, Sender, pipe};
use std::time::Duration;

brigade::test_entry!(in_tests);

const LONG: Duration = Duration::from_secs(60);

fn pool() -> Pool {
    in_tests();
    Pool::builder().procs(1).build().expect("a pool")
}

fn same(sender: Sender<u32>) -> Sender<u32> {
    sender
}

/// Whether nobody has an end to write to any more: the worker, which lives and does nothing, is the only one who may.
fn is_over(receiver: &Receiver<u32>) -> bool {
    matches!(receiver.recv_timeout(LONG), Err(ConnectionError::Closed))
}

#[test]
fn a_worker_closes_what_a_result_carried_when_that_is_taken() {
    let pool = pool();
    let (receiver, sender) = pipe().expect("a pipe");
    let taken = pool.submit(same, sender).join().expect("it comes back");
    taken.send(&7).expect("it is the same");
    drop(taken);
    assert_eq!(receiver.recv().expect("a number"), 7);
    assert!(is_over(&receiver));
}

#[test]
fn a_worker_closes_what_a_result_carried_that_nobody_took() {
    let pool = pool();
    for is_done in [true, false] {
        let (receiver, sender) = pipe().expect("a pipe");
        let job = pool.submit(same, sender);
        if is_done {
            while !job.is_done() {
                std::thread::yield_now();
            }
        }
        drop(job);
        assert!(is_over(&receiver), "dropped when it was done: {is_done}");
    }
}

#[test]
fn a_result_is_there_as_often_as_it_is_asked_for() {
    let pool = pool();
    let (receiver, sender) = pipe().expect("a pipe");
    let job = pool.submit(same, sender);
    for n in 0..3 {
        let taken = job.join_timeout(LONG).expect("in a minute").expect("it comes back");
        taken.send(&n).expect("it is open");
        assert_eq!(receiver.recv().expect("a number"), n);
    }
    drop(job);
    assert!(is_over(&receiver));
}

#[test]
fn a_map_of_thousands_leaves_nothing_open_in_its_worker() {
    fn open_files(_: ()) -> usize {
        std::fs::read_dir("/proc/self/fd").expect("/proc").count()
    }
    let pool = pool();
    // The first that carries something makes the way back.
    let make = |n: u32| SharedValue::new(n).expect("a value");
    assert_eq!(pool.submit(make, 1).join().expect("a value").get(), 1);
    let before = pool.submit(open_files, ()).join().expect("a number");
    for (n, made) in (0..).zip(pool.map(make, 0..1_000).chunk_size(10)) {
        assert_eq!(made.expect("a value").get(), n);
    }
    // What is said last is heard a moment later.
    while pool.submit(open_files, ()).join().expect("a number") > before {
        std::thread::yield_now();
    }
}
