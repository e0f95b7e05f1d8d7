//! What is lent ahead of the work waits for nobody, tried with real processes.

use brigade::{Job, Pool, StartMethod};
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{self, Command};
use std::thread;
use std::time::Duration;

brigade::test_entry!(in_tests);

const PATIENCE: Duration = Duration::from_secs(60);

/// Short calls before a long one, and behind it: enough that a worker is lent several in one packet.
const CALLS: u64 = 20;

fn square(n: u64) -> u64 {
    n * n
}

/// Fails if it was begun before.
fn only_once(mark: PathBuf) -> u32 {
    File::create_new(mark).expect("nobody else begins this");
    process::id()
}

/// Says that it has begun, and does nothing more until somebody leaves the other mark.
fn wait_for((begun, mark): (PathBuf, PathBuf)) -> u32 {
    File::create(begun).expect("a mark");
    while !mark.exists() {
        thread::sleep(Duration::from_millis(1));
    }
    process::id()
}

/// A directory for marks, gone with the test.
struct Marks(PathBuf);

impl Marks {
    fn new(test: &str) -> Marks {
        let dir = std::env::temp_dir().join(format!("brigade-{test}-{}", process::id()));
        fs::create_dir_all(&dir).expect("a directory");
        Marks(dir)
    }

    fn put(&self, name: &str) {
        File::create(self.0.join(name)).expect("a mark");
    }

    /// The long call of a round.
    fn long(&self, pool: &Pool, round: u32) -> Job<u32> {
        let mark = |name: &str| self.0.join(format!("{round} {name}"));
        pool.submit(wait_for, (mark("begun"), mark("over")))
    }

    /// Short ones of a round.
    fn short(&self, pool: &Pool, round: u32, name: &str) -> Vec<Job<u32>> {
        let mark = |n: u64| self.0.join(format!("{round} {name} {n}"));
        (0..CALLS).map(|n| pool.submit(only_once, mark(n))).collect()
    }
}

impl Drop for Marks {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
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
    for method in [StartMethod::Fork, StartMethod::Spawn] {
        let (pool, marks) = (pool(2, method), Marks::new("behind"));
        for round in 0..5 {
            let before = marks.short(&pool, round, "before");
            let long = marks.long(&pool, round);
            let behind = marks.short(&pool, round, "behind");
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
    let (pool, marks) = (pool(1, StartMethod::Fork), Marks::new("before"));
    for round in 0..5 {
        let before = marks.short(&pool, round, "before");
        let long = marks.long(&pool, round);
        answers(&before, round);
        marks.put(&format!("{round} over"));
        long.join().expect("it was waited for");
    }
}

#[test]
fn whoever_dies_of_a_long_call_takes_along_nothing_that_others_do_instead() {
    let (pool, marks) = (pool(2, StartMethod::Fork), Marks::new("killed"));
    let long = marks.long(&pool, 0);
    let behind = marks.short(&pool, 0, "behind");
    answers(&behind, 0);
    let pid = long.pid().expect("it runs");
    let killed = Command::new("kill").args(["-9", &pid.to_string()]).status();
    assert!(killed.is_ok_and(|status| status.success()));
    marks.put("0 over");
    assert_ne!(long.join().expect("it is tried again"), pid);
    pool.join();
}
