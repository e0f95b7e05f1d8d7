//! What is lent ahead of the work waits for nobody, tried with real processes.

mod kit;

use brigade::{Job, Pool, StartMethod};
use kit::{METHODS, Marks, PATIENCE, kill, wait_for};
use std::fs::File;
use std::process;

brigade::test_entry!(in_tests);

/// Short calls before a long one, and behind it: enough that a worker is lent several in one packet.
const CALLS: u64 = 20;

fn square(n: u64) -> u64 {
    n * n
}

/// Fails if it was begun before.
fn only_once(mark: String) -> u32 {
    File::create_new(mark).expect("nobody else begins this");
    process::id()
}

/// Says that it has begun, and does nothing more until somebody leaves the other mark.
fn begin_and_wait((begun, mark): (String, String)) -> u32 {
    File::create(begun).expect("a mark");
    wait_for(mark)
}

/// The long call of a round.
fn long(marks: &Marks, pool: &Pool, round: u32) -> Job<u32> {
    let mark = |name: &str| marks.path(&format!("{round} {name}"));
    pool.submit(begin_and_wait, (mark("begun"), mark("over")))
}

/// Short ones of a round.
fn short(marks: &Marks, pool: &Pool, round: u32, name: &str) -> Vec<Job<u32>> {
    let mark = |n: u64| marks.path(&format!("{round} {name} {n}"));
    (0..CALLS).map(|n| pool.submit(only_once, mark(n))).collect()
}

/// A pool that knows by now that calls are short, so that they are lent ahead of the work.
fn pool(procs: u32, method: StartMethod) -> Pool {
    in_tests();
    let pool = Pool::builder().procs(procs).start_method(method).build().expect("a pool");
    assert!(pool.map(square, 0..2_000).chunk_size(1).all(|one| one.is_ok()));
    pool
}

/// All have answers, while another call goes on.
fn answers(jobs: &[Job<u32>], round: u32) {
    for job in jobs {
        let told = job.join_timeout(PATIENCE);
        told.unwrap_or_else(|| panic!("round {round}: it waits for the long one")).expect("begun once");
    }
}

#[test]
fn nobody_waits_behind_a_long_call_and_nothing_is_begun_twice() {
    for method in METHODS {
        let (pool, marks) = (pool(2, method), Marks::new());
        for round in 0..5 {
            let before = short(&marks, &pool, round, "before");
            let long = long(&marks, &pool, round);
            let behind = short(&marks, &pool, round, "behind");
            answers(&before, round);
            answers(&behind, round);
            assert!(!long.is_done());
            marks.put(&format!("{round} over"));
            long.join().expect("what was begun is finished");
        }
    }
}

#[test]
fn results_leave_while_the_next_call_of_their_packet_takes_its_time() {
    let (pool, marks) = (pool(1, StartMethod::Fork), Marks::new());
    for round in 0..5 {
        let before = short(&marks, &pool, round, "before");
        let long = long(&marks, &pool, round);
        answers(&before, round);
        marks.put(&format!("{round} over"));
        long.join().expect("it was waited for");
    }
}

#[test]
fn whoever_dies_of_a_long_call_takes_along_nothing_that_others_do_instead() {
    let (pool, marks) = (pool(2, StartMethod::Fork), Marks::new());
    let long = long(&marks, &pool, 0);
    let behind = short(&marks, &pool, 0, "behind");
    answers(&behind, 0);
    let pid = long.pid().expect("it runs");
    kill("KILL", pid);
    marks.put("0 over");
    assert_ne!(long.join().expect("it is tried again"), pid);
    pool.join();
}
