//! C. The end of pools: closed, dropped, killed, and of the programs that hold them.

use crate::stage::{
    Act, Brittle, FOR_EVER, Marks, PATIENCE, act, act_once, answer, builder, children, eventually, give,
    is_alive, is_scene, own_pid, pool, program, sleep_for_ever, square, take, threads, wait_for, wait_gone,
    workers,
};
use brigade::{BuildError, Executor, Pool, ProcessExecutor, TaskError};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::process;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// In so much time the end of a pool comes, whatever it was doing; that of pebble took a minute.
const SOON: Duration = Duration::from_secs(5);

/// Ends within that time.
#[track_caller]
fn soon<R>(what: &str, end: impl FnOnce() -> R) -> R {
    let began = Instant::now();
    let ended = end();
    assert!(began.elapsed() < SOON, "{what} took {:?}", began.elapsed());
    ended
}

/// Scenario 38.
#[test]
fn a_worker_that_crashes_after_the_pool_is_closed_costs_an_attempt_as_ever() {
    let (pool, marks) = (pool(1), Marks::new());
    let first = pool.submit(wait_for, marks.path("it is closed"));
    let mended = pool.submit(act_once, (Act::Segfault, marks.path("has crashed")));
    let poison = pool.submit(act, Act::Kill);
    let (refused, unfit) = (
        pool.submit(take, Brittle::when_encoded(Act::Refuse)),
        pool.submit(give, (Act::Refuse, Act::Nothing)),
    );
    let last = pool.submit(square, 9);
    pool.close();
    marks.put("it is closed");
    assert!(answer(&first).is_ok() && answer(&mended).is_ok());
    assert!(matches!(answer(&poison), Err(TaskError::Quarantined { .. })));
    assert!(matches!(answer(&refused), Err(TaskError::Encode { .. })));
    assert!(matches!(answer(&unfit), Err(TaskError::Encode { .. })));
    assert_eq!(answer(&last), Ok(81));
    assert!(answer(&pool.submit(take, Brittle::when_encoded(Act::Refuse))).is_err(), "and nothing hangs");
    soon("the end", || drop(pool));
}

/// Scenario 39: our policy is that a dropped pool does what it was handed.
#[test]
fn a_dropped_pool_does_what_it_was_handed_and_leaves_neither_threads_nor_processes() {
    if !is_scene() {
        let own = "shutdown::a_dropped_pool_does_what_it_was_handed_and_leaves_neither_threads_nor_processes";
        let (code, stdout, stderr) = program(own, &[]);
        return assert_eq!(code, Some(0), "{stdout}{stderr}");
    }
    let before = (threads(), children());
    for _ in 0..3 {
        let pool = pool(3);
        let jobs: Vec<_> = (0..50).map(|n| pool.submit(square, n)).collect();
        jobs[0].on_done(|_| ());
        drop(pool);
        assert!((0..).zip(jobs).all(|(n, job)| job.try_join() == Some(Ok(n * n))), "all is done by then");
        eventually("all are gone", || (threads() == before.0 && children() == before.1).then_some(()));
    }
}

/// Scenario 40.
#[test]
fn a_call_that_crashes_after_its_pool_was_dropped_is_told_and_leaves_nobody() {
    let (pool, marks) = (pool(2), Marks::new());
    let pids = workers(&pool, 2);
    let crash: fn(String) -> u32 = |mark| {
        wait_for(mark);
        act(Act::Segfault)
    };
    let (job, busy) = (pool.submit(crash, marks.path("dropped")), pool.submit(own_pid, ()));
    let dropped = thread::spawn(move || drop(pool));
    assert!(answer(&busy).is_ok());
    marks.put("dropped");
    assert!(matches!(answer(&job), Err(TaskError::Quarantined { attempts, .. }) if attempts.len() == 3));
    dropped.join().expect("it is dropped");
    wait_gone(&pids);
    assert!(!is_alive(job.pid().expect("somebody ran it")));
}

fn write_slowly(path: String) {
    thread::sleep(Duration::from_millis(20));
    fs::write(path, "done").expect("a file");
}

/// Scenario 41.
#[test]
fn a_program_that_ends_without_a_word_has_done_all_that_it_had_handed_in_and_says_nothing() {
    const TEST: &str =
        "shutdown::a_program_that_ends_without_a_word_has_done_all_that_it_had_handed_in_and_says_nothing";
    if let Ok(dir) = std::env::var("CONFORMANCE_FILES") {
        // That workers are replaced on purpose is not worth a word.
        let pool = builder(2).max_tasks_per_child(1).build().expect("a pool");
        return (0..8).for_each(|n| drop(pool.submit(write_slowly, format!("{dir}/{n}"))));
    }
    let marks = Marks::new();
    let (code, stdout, stderr) = program(TEST, &[&format!("CONFORMANCE_FILES={}", marks.path(""))]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    assert_eq!(marks.all().len(), 8);
}

/// A pool in a worker, whose own workers sleep; says who they are.
fn nest_and_sleep((dir, depth): (String, u32)) {
    fs::write(format!("{dir}/{}", process::id()), "").expect("a mark");
    match depth {
        0 => thread::sleep(Duration::from_secs(30)),
        _ => {
            let pool = Pool::builder().procs(2).build().expect("a pool in a worker");
            let jobs = [(); 2].map(|()| pool.submit(nest_and_sleep, (dir.clone(), depth - 1)));
            jobs.into_iter().for_each(|job| job.join().expect("it sleeps"));
        }
    }
}

/// Scenario 35, where Python's executor hangs.
#[test]
fn a_program_that_shuts_an_executor_down_without_waiting_and_ends_has_done_its_work() {
    const TEST: &str =
        "shutdown::a_program_that_shuts_an_executor_down_without_waiting_and_ends_has_done_its_work";
    if let Ok(dir) = std::env::var("CONFORMANCE_FILES") {
        let executor = ProcessExecutor::from(pool(2));
        (0..8).for_each(|n| drop(executor.submit(write_slowly, format!("{dir}/{n}"))));
        return executor.shutdown(false, false);
    }
    let marks = Marks::new();
    let (code, stdout, stderr) = program(TEST, &[&format!("CONFORMANCE_FILES={}", marks.path(""))]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    assert_eq!(marks.all().len(), 8);
}

/// Hands a call in when its thread ends.
struct AtTheEnd(Arc<Pool>, Sender<Result<u64, TaskError>>);

impl Drop for AtTheEnd {
    fn drop(&mut self) {
        let _ = self.1.send(answer(&self.0.submit(square, 3)));
    }
}

thread_local! {
    static AT_THE_END: RefCell<Option<AtTheEnd>> = const { RefCell::new(None) };
}

/// Scenario 42.
#[test]
fn a_call_that_is_handed_in_when_everything_ends_is_an_error_and_no_hang() {
    let pool = Arc::new(pool(1));
    let (sender, told) = channel();
    let own = Arc::clone(&pool);
    let thread = thread::spawn(move || {
        AT_THE_END.replace(Some(AtTheEnd(Arc::clone(&own), sender)));
        own.close();
    });
    assert_eq!(told.recv_timeout(PATIENCE), Ok(Err(TaskError::Shutdown)));
    thread.join().expect("it ends");
}

/// A pool that nobody drops, and what it answers at the very end.
static KEPT: OnceLock<(Pool, String)> = OnceLock::new();

extern "C" fn ask_at_exit() {
    let (pool, mark) = KEPT.get().expect("it was kept");
    fs::write(mark, format!("{:?}", pool.submit(square, 3).join())).expect("a file");
}

/// Scenario 42, while the pool lives.
#[test]
fn a_call_that_is_handed_in_by_a_hook_at_the_end_of_a_program_is_answered_and_no_hang() {
    const TEST: &str =
        "shutdown::a_call_that_is_handed_in_by_a_hook_at_the_end_of_a_program_is_answered_and_no_hang";
    if let Ok(dir) = std::env::var("CONFORMANCE_FILES") {
        KEPT.set((pool(1), format!("{dir}/answer"))).expect("nobody else keeps one");
        return brigade_os::kin::at_exit(ask_at_exit).expect("a hook");
    }
    let marks = Marks::new();
    let (code, stdout, stderr) = program(TEST, &[&format!("CONFORMANCE_FILES={}", marks.path(""))]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    assert_eq!(fs::read_to_string(marks.path("answer")).expect("it was written"), "Ok(9)");
}

/// Scenario 43.
#[test]
fn killing_the_workers_of_a_pool_kills_the_pools_in_them() {
    let (pool, marks) = (pool(2), Marks::new());
    let jobs = [(); 2].map(|()| pool.submit(nest_and_sleep, (marks.path(""), 2)));
    let many = 2 + 4 + 8;
    let pids = eventually("all sleep", || Some(marks.all()).filter(|pids| pids.len() == many));
    let pids: Vec<u32> = pids.iter().map(|pid| pid.parse().expect("a pid")).collect();
    soon("the end of fourteen", || {
        pool.kill_workers();
        wait_gone(&pids);
    });
    assert!(jobs.iter().all(|job| answer(job) == Err(TaskError::Shutdown)));
}

/// Scenario 44.
#[test]
fn killing_the_workers_of_a_pool_with_ten_thousand_calls_that_never_end_ends_it_at_once() {
    let pool = pool(2);
    let jobs: Vec<_> = (0..10_000).map(|_| pool.submit(sleep_for_ever, ())).collect();
    let pid = eventually("one is begun", || jobs[0].pid());
    soon("the end", || pool.kill_workers());
    wait_gone(&[pid]);
    assert!(jobs.iter().all(|job| answer(job) == Err(TaskError::Shutdown)));
}

/// Scenario 45.
#[test]
fn a_pool_is_closed_while_its_workers_are_replaced_after_each_call() {
    for calls in [1, 2, 3, 40] {
        let pool = builder(3).max_tasks_per_child(1).build().expect("a pool");
        let jobs: Vec<_> = (0..calls).map(|n| pool.submit(square, n)).collect();
        pool.close();
        soon("the end", || pool.join());
        assert!((0..).zip(&jobs).all(|(n, job)| answer(job) == Ok(n * n)), "{calls} calls");
    }
}

/// Scenario 48.
#[test]
fn a_pool_may_be_ended_while_large_arguments_are_on_their_way() {
    const BYTES: usize = 100 << 20;
    let length: fn(String) -> usize = |text| text.len();
    let killed = pool(1);
    let jobs = [(); 2].map(|()| killed.submit(length, "x".repeat(BYTES)));
    let pids: Vec<u32> = jobs[0].pid().into_iter().collect();
    soon("the kill", || killed.kill_workers());
    wait_gone(&pids);
    for job in &jobs {
        assert!([Ok(BYTES), Err(TaskError::Shutdown)].contains(&answer(job)));
    }
    let dropped = pool(1);
    let job = dropped.submit(length, "x".repeat(BYTES));
    drop(dropped);
    assert_eq!(job.try_join(), Some(Ok(BYTES)), "who drops it waits");
}

/// Scenario 49, where pebble hangs for a minute.
#[test]
fn a_pool_whose_workers_write_large_results_that_nobody_reads_ends_in_each_way() {
    let large: fn(usize) -> String = |bytes| "x".repeat(bytes);
    for end in [Pool::join, Pool::kill_workers] {
        let pool = pool(2);
        let pids = workers(&pool, 2);
        (0..8).for_each(|_| drop(pool.submit(large, 4 << 20)));
        // Of a map nobody draws the rest.
        assert!(pool.map(large, [1 << 20; 20]).chunk_size(1).next().is_some_and(|one| one.is_ok()));
        soon("the end", || end(pool));
        wait_gone(&pids);
    }
}

/// Scenario 50.
#[test]
fn results_that_have_come_are_there_after_the_workers_are_killed() {
    let pool = pool(2);
    let jobs: Vec<_> = (0..100).map(|n| pool.submit(square, n)).collect();
    let hung = pool.submit(sleep_for_ever, ());
    eventually("they are done, and unread", || jobs.iter().all(|job| job.is_done()).then_some(()));
    pool.kill_workers();
    assert!((0..).zip(&jobs).all(|(n, job)| answer(job) == Ok(n * n)));
    assert_eq!(answer(&hung), Err(TaskError::Shutdown));
}

/// Scenario 51: with room for some of the workers only.
#[test]
fn a_pool_that_cannot_have_all_its_workers_is_refused_with_what_is_missing_and_leaves_nobody() {
    const TEST: &str =
        "shutdown::a_pool_that_cannot_have_all_its_workers_is_refused_with_what_is_missing_and_leaves_nobody";
    if !is_scene() {
        let (code, stdout, stderr) = program(TEST, &["ulimit -n 100;"]);
        return assert_eq!(code, Some(0), "{stdout}{stderr}");
    }
    let before = (threads(), children());
    let error = builder(60).build().expect_err("there is no room");
    let words = error.to_string();
    assert!(matches!(error, BuildError::Start(_)) && words.contains("(100)"), "{words}");
    assert_eq!(words.lines().count(), 1, "{words}");
    eventually("nobody is left", || (threads() == before.0 && children() == before.1).then_some(()));
    assert_eq!(answer(&pool(1).submit(square, 3)), Ok(9), "there is room for one");
}

/// Scenario 52.
#[test]
fn a_pool_has_two_hundred_workers() {
    let pool = pool(200);
    let pids = workers(&pool, 200);
    assert_eq!(pids.iter().collect::<BTreeSet<_>>().len(), 200);
    drop(pool);
    wait_gone(&pids);
}

/// Not one of the eighty: Ctrl-C in a program that does nothing about it.
#[test]
fn workers_do_not_outlive_a_program_that_is_killed_or_interrupted() {
    const TEST: &str = "shutdown::workers_do_not_outlive_a_program_that_is_killed_or_interrupted";
    if let Ok(dir) = std::env::var("CONFORMANCE_FILES") {
        let pool = pool(2);
        let jobs = [(); 2].map(|()| pool.submit(nest_and_sleep, (dir.clone(), 1)));
        eventually("all sleep", || (fs::read_dir(&dir).expect("it is there").count() == 2 + 4).then_some(()));
        crate::stage::kill(&std::env::var("CONFORMANCE_SIGNAL").expect("which"), process::id());
        thread::sleep(FOR_EVER);
        drop(jobs);
    }
    for signal in ["KILL", "INT", "TERM"] {
        let marks = Marks::new();
        let words = format!("CONFORMANCE_SIGNAL={signal} CONFORMANCE_FILES={}", marks.path(""));
        let (code, stdout, stderr) = program(TEST, &[&words]);
        assert_eq!(code, None, "{stdout}{stderr}");
        let pids: Vec<u32> = marks.all().iter().map(|pid| pid.parse().expect("a pid")).collect();
        soon("their end", || wait_gone(&pids));
    }
}
