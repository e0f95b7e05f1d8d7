//! Threads inside of workers: calls at the same time in one process, each with its own panic, deadline and death.

use brigade::sync::{Barrier, Event};
use brigade::{Executor, Job, Mishap, Pool, ProcessExecutor, StartMethod, TaskError};
use std::collections::HashSet;
use std::io::{self, Write};
use std::mem;
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

brigade::test_entry!(in_tests);

/// Longer than anything takes.
const HOUR: Duration = Duration::from_secs(3_600);

fn pool(procs: u32, threads: u32) -> Pool {
    in_tests();
    Pool::builder().procs(procs).threads_per_worker(threads).build().expect("a pool")
}

/// Who it is, once the others are there.
fn meet(barrier: Barrier) -> (u32, String) {
    barrier.wait().expect("the others come");
    (process::id(), format!("{:?}", thread::current().id()))
}

/// They have met in one process, each on a thread of its own.
fn assert_met(met: impl IntoIterator<Item = Result<(u32, String), TaskError>>) {
    let met: Vec<(u32, String)> = met.into_iter().map(|one| one.expect("it has met the others")).collect();
    let pids: HashSet<u32> = met.iter().map(|(pid, _)| *pid).collect();
    let threads: HashSet<&String> = met.iter().map(|(_, thread)| thread).collect();
    assert_eq!((pids.len(), threads.len()), (1, 3), "{met:?}");
}

#[test]
fn calls_that_are_handed_in_run_at_the_same_time_in_one_process() {
    in_tests();
    for method in [StartMethod::Fork, StartMethod::Spawn] {
        let pool = Pool::builder().procs(1).threads_per_worker(3).start_method(method);
        let pool = pool.build().expect("a pool");
        // Whoever came alone would wait for ever.
        let barrier = Barrier::new(3).expect("a barrier");
        let jobs = [(); 3].map(|()| pool.submit(meet, barrier.clone()));
        assert_met(jobs.map(Job::join));
        assert_met(pool.map(meet, vec![barrier.clone(); 6]));
        assert_met(
            pool.starmap(|barrier: Barrier, _: u32| meet(barrier), (0..3).map(|n| (barrier.clone(), n))),
        );
        let executor: ProcessExecutor = pool.into();
        assert_met([(); 3].map(|()| executor.submit(meet, barrier.clone())).map(Job::join));
    }
}

fn fussy(n: u32) -> u32 {
    assert!(n != 4, "four");
    n
}

#[test]
fn a_panic_is_that_of_its_item_and_results_keep_their_order() {
    let pool = pool(2, 3);
    let all: Vec<Result<u32, TaskError>> = pool.map(fussy, 0..1_000).collect();
    for (n, one) in (0..).zip(&all) {
        match one {
            Err(TaskError::Panicked { message, .. }) => assert_eq!((n, message.as_str()), (4, "four")),
            other => assert_eq!(other, &Ok(n)),
        }
    }
    assert!(all[4].is_err() && all.len() == 1_000);
}

/// Panics or returns when all have begun.
fn panic_beside((barrier, n): (Barrier, u32)) -> u32 {
    barrier.wait().expect("the others come");
    fussy(n)
}

#[test]
fn a_panic_beside_two_others_is_that_of_its_call() {
    let (pool, barrier) = (pool(1, 3), Barrier::new(3).expect("a barrier"));
    let jobs = [3, 4, 5].map(|n| pool.submit(panic_beside, (barrier.clone(), n)));
    let [three, four, five] = jobs.map(Job::join);
    assert_eq!((three, five), (Ok(3), Ok(5)));
    let Err(TaskError::Panicked { message, location, .. }) = four else { panic!("{four:?}") };
    assert!(message == "four" && location.contains("hybrid.rs"), "{message} at {location}");
}

/// Says that it is there, and waits until it may go on.
fn wait_for((there, go): (Event, Event)) -> u32 {
    there.set();
    go.wait();
    process::id()
}

fn hang(_: u32) {
    thread::sleep(HOUR);
}

/// Takes a while, and less than it may.
fn slowly(n: u32) -> u32 {
    thread::sleep(Duration::from_millis(150));
    n
}

#[test]
fn a_deadline_costs_the_call_that_overran_and_nobody_else() {
    in_tests();
    let pool = Pool::builder().procs(1).threads_per_worker(3).attempts(1);
    let pool = pool.task_timeout(Duration::from_millis(400)).build().expect("a pool");
    let hung = pool.submit(hang, 0);
    // Some of them are in the middle of it when the worker is ended.
    let others: Vec<Job<u32>> = (0..9).map(|n| pool.submit(slowly, n)).collect();
    assert!(matches!(hung.join(), Err(TaskError::TimedOut { .. })));
    let others: Result<Vec<u32>, TaskError> = others.into_iter().map(Job::join).collect();
    assert_eq!(others.expect("with one attempt, none of them was blamed"), (0..9).collect::<Vec<_>>());
}

/// Every second one hangs.
fn hang_if_odd(n: u32) -> u32 {
    if n % 2 == 1 {
        thread::sleep(HOUR);
    }
    n
}

#[test]
fn calls_that_hang_side_by_side_cost_one_deadline_together() {
    in_tests();
    let limit = Duration::from_secs(1);
    let pool = Pool::builder().procs(1).threads_per_worker(8).attempts(1).task_timeout(limit);
    let pool = pool.build().expect("a pool");
    pool.submit(hang_if_odd, 0).join().expect("it is there");
    let since = Instant::now();
    let told: Vec<_> = pool.map(hang_if_odd, 0..16).chunk_size(1).collect();
    let took = since.elapsed();
    for (n, told) in (0..).zip(told) {
        match told {
            Ok(value) => assert!(n % 2 == 0 && value == n, "item {n} is {value}"),
            Err(error) => assert!(n % 2 == 1 && matches!(error, TaskError::TimedOut { .. }), "{n}: {error}"),
        }
    }
    assert!(took < limit * 4, "eight of them, one by one, would take eight deadlines: {took:?}");
}

#[test]
fn calls_that_hang_at_every_attempt_take_no_others_along() {
    in_tests();
    let pool = Pool::builder().procs(1).threads_per_worker(4).task_timeout(Duration::from_millis(200));
    let pool = pool.build().expect("a pool");
    // A chunk begins its bad item when it has done the good one, so no two are late together.
    let pace = |n: u32| {
        let told = hang_if_odd(n);
        thread::sleep(Duration::from_millis(u64::from(n) * 12));
        told
    };
    let told: Vec<_> = pool.map(pace, 0..8).chunk_size(2).collect();
    for (n, told) in (0..).zip(told) {
        match told {
            Ok(value) => assert!(n % 2 == 0 && value == n, "item {n} is {value}"),
            Err(error) => assert!(n % 2 == 1 && matches!(error, TaskError::TimedOut { .. }), "{n}: {error}"),
        }
    }
}

/// Leaves a thread behind, which takes as much when it is told to.
fn leak_later((mib, go): (usize, Event)) {
    thread::spawn(move || {
        go.wait();
        mem::forget(vec![1_u8; mib << 20]);
    });
}

#[test]
fn nobody_is_blamed_for_memory_that_another_has_left_behind() {
    in_tests();
    let pool = Pool::builder().procs(1).threads_per_worker(2).attempts(1).memory_limit(100 << 20);
    let pool = pool.build().expect("a pool");
    let [begun, go, grow] = [(); 3].map(|()| Event::new().expect("an event"));
    let innocent = pool.submit(wait_for, (begun.clone(), go.clone()));
    begun.wait();
    pool.submit(leak_later, (120, grow.clone())).join().expect("it has taken nothing yet");
    begun.clear();
    grow.set();
    begun.wait();
    go.set();
    innocent.join().expect("it runs in another worker, and has one attempt");
}

/// Hangs on every thread but the first, and says where.
fn hang_in_thread(barrier: Barrier) {
    barrier.wait().expect("the other comes");
    let name = thread::current().name().unwrap_or_default().to_owned();
    if !name.starts_with("lane-") {
        return;
    }
    // In one piece, as whoever writes beside it does.
    io::stderr().write_all(format!("hangs in thread {name}\n").as_bytes()).expect("a log");
    thread::sleep(HOUR);
}

#[test]
fn whoever_hangs_is_asked_where_and_not_another_thread() {
    in_tests();
    let dir = tempfile::tempdir().expect("a directory");
    let builder = Pool::builder().procs(1).threads_per_worker(2).attempts(1).state_dir(dir.path());
    let pool = builder.task_timeout(Duration::from_millis(300)).build().expect("a pool");
    let barrier = Barrier::new(2).expect("a barrier");
    let jobs = [(); 2].map(|()| pool.submit(hang_in_thread, barrier.clone()));
    let told = jobs.map(Job::join).into_iter().find_map(Result::err).expect("one of them hung");
    let TaskError::TimedOut { pid, logs, .. } = told else { panic!("{told:?}") };
    let log = std::fs::read_to_string(logs.join(format!("{pid}.log"))).expect("its log");
    let name = log.lines().find_map(|line| line.strip_prefix("hangs in thread ")).expect("it hung");
    let asked = format!("asked by the supervisor where it is in thread {name}:");
    assert!(log.lines().any(|line| line == asked), "{log}");
}

fn hang_at_five(n: u32) -> u32 {
    if n == 5 {
        thread::sleep(HOUR);
    }
    n
}

#[test]
fn an_item_past_its_time_is_found_in_its_chunk() {
    in_tests();
    let builder = Pool::builder().procs(2).threads_per_worker(3).attempts(1);
    let pool = builder.task_timeout(Duration::from_millis(300)).build().expect("a pool");
    for (n, one) in (0..).zip(pool.map(hang_at_five, 0..12).chunk_size(4)) {
        match one {
            Err(TaskError::TimedOut { .. }) => assert_eq!(n, 5),
            other => assert_eq!(other, Ok(n)),
        }
    }
}

#[test]
fn who_says_that_it_gets_on_speaks_for_itself_alone() {
    in_tests();
    let pool = Pool::builder().procs(1).threads_per_worker(2).attempts(1);
    let pool = pool.task_timeout(Duration::from_millis(500)).build().expect("a pool");
    let hung = pool.submit(hang, 0);
    // A chunk has the time of an item again with each of them.
    let slow: Result<Vec<u32>, TaskError> = pool.map(slowly, 0..10).chunk_size(10).collect();
    assert!(slow.is_ok_and(|slow| slow.into_iter().eq(0..10)));
    assert!(hung.is_done(), "though another got on beside it");
    assert!(matches!(hung.join(), Err(TaskError::TimedOut { .. })));
}

fn kill(pid: u32) {
    let killed = Command::new("kill").args(["-9", &pid.to_string()]).status();
    assert!(killed.expect("kill").success());
}

#[test]
fn a_worker_that_is_killed_with_three_calls_gives_all_answers_and_no_attempt_is_spent() {
    in_tests();
    let pool = Pool::builder().procs(1).threads_per_worker(3).attempts(1).build().expect("a pool");
    let event = || Event::new().expect("an event");
    let go = event();
    let there = [(); 3].map(|()| event());
    let jobs = there.each_ref().map(|there| pool.submit(wait_for, (there.clone(), go.clone())));
    there.iter().for_each(Event::wait);
    let pid = jobs[0].pid().expect("it runs");
    there.iter().for_each(Event::clear);
    kill(pid);
    // One by one: nobody knows which of them it died of.
    there[0].wait();
    go.set();
    let pids: Result<Vec<u32>, TaskError> = jobs.map(Job::join).into_iter().collect();
    let pids = pids.expect("with one attempt, none of them was blamed");
    assert!(pids.iter().all(|other| *other != pid), "{pids:?} after {pid}");
}

fn abort_beside((barrier, n): (Barrier, u32)) -> u32 {
    // Who is tried again comes alone.
    let _ = barrier.wait_timeout(Duration::from_millis(300));
    if n == 5 {
        process::abort();
    }
    n
}

#[test]
fn whoever_takes_the_process_along_beside_others_is_given_up_alone() {
    in_tests();
    let pool = Pool::builder().procs(1).threads_per_worker(3).attempts(2).build().expect("a pool");
    let barrier = Barrier::new(3).expect("a barrier");
    let jobs = [4, 5, 6].map(|n| pool.submit(abort_beside, (barrier.clone(), n)));
    let [four, five, six] = jobs.map(Job::join);
    assert_eq!((four, six), (Ok(4), Ok(6)));
    let Err(TaskError::Quarantined { attempts, .. }) = five else { panic!("{five:?}") };
    assert!(attempts.iter().all(|tried| matches!(tried.end, Mishap::Crashed(_))) && attempts.len() == 2);
}

fn abort_at_five(n: u32) -> u32 {
    if n == 5 {
        process::abort();
    }
    n
}

#[test]
fn whoever_takes_the_process_along_is_found_in_its_chunk() {
    in_tests();
    let pool = Pool::builder().procs(2).threads_per_worker(4).attempts(2).build().expect("a pool");
    for (n, one) in (0..).zip(pool.map(abort_at_five, 0..40)) {
        match one {
            Err(TaskError::Quarantined { .. }) => assert_eq!(n, 5),
            other => assert_eq!(other, Ok(n)),
        }
    }
}

#[test]
fn a_cancelled_call_ends_and_those_beside_it_are_done() {
    let (pool, event) = (pool(1, 3), || Event::new().expect("an event"));
    let (go, there) = (event(), [(); 3].map(|()| event()));
    let jobs = there.each_ref().map(|there| pool.submit(wait_for, (there.clone(), go.clone())));
    there.iter().for_each(Event::wait);
    there.iter().for_each(Event::clear);
    let [one, two, three] = jobs;
    assert!(two.cancel());
    there[0].wait();
    there[2].wait();
    go.set();
    assert!(one.join().is_ok() && three.join().is_ok());
}

/// Kills its own process now and then, from any thread of it.
fn fragile(n: u32) -> u32 {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    if CALLS.fetch_add(1, Ordering::Relaxed) == 20_000 {
        kill(process::id());
    }
    n
}

#[test]
fn a_map_keeps_its_order_while_workers_are_killed() {
    in_tests();
    let pool = Pool::builder().procs(2).threads_per_worker(3).attempts(100).build().expect("a pool");
    let all: Result<Vec<u32>, TaskError> = pool.map(fragile, 0..100_000).collect();
    assert!(all.expect("each has a result").into_iter().eq(0..100_000));
    assert!(pool.loads().iter().map(|load| load.deaths).sum::<u64>() > 0, "nobody was killed");
}

#[test]
fn there_is_a_thread_at_least_and_not_more_than_a_page_has_room_for() {
    in_tests();
    let told =
        |threads| Pool::builder().threads_per_worker(threads).build().map(drop).map_err(|it| it.to_string());
    for threads in [0, 65] {
        let words = told(threads).expect_err("that cannot be");
        assert!(words.contains("threads_per_worker") && words.contains("from 1 to 64"), "{words}");
    }
    assert_eq!(told(64), Ok(()));
}

/// Uses up so much of the stack, a page at a time.
fn deep(bytes: usize) -> usize {
    let page = [1_u8; 4 << 10];
    std::hint::black_box(&page);
    if bytes > page.len() { deep(bytes - page.len()) + page.len() } else { page.len() }
}

#[test]
fn each_thread_has_as_deep_a_stack_as_the_first() {
    let (pool, barrier) = (pool(1, 3), Barrier::new(3).expect("a barrier"));
    let dive = |barrier: Barrier| {
        barrier.wait().expect("each on a thread of its own");
        deep(4 << 20)
    };
    let jobs = [(); 3].map(|()| pool.submit(dive, barrier.clone()));
    assert_eq!(jobs.map(Job::join), [Ok(4 << 20), Ok(4 << 20), Ok(4 << 20)]);
}

/// Keeps so much for ever, and says where.
fn leak(bytes: usize) -> u32 {
    mem::forget(std::hint::black_box(vec![1_u8; bytes]));
    thread::sleep(Duration::from_millis(5));
    process::id()
}

#[test]
fn a_worker_that_grows_is_replaced_though_its_threads_never_rest_together() {
    in_tests();
    let pool =
        Pool::builder().procs(1).threads_per_worker(3).memory_limit(160 << 20).build().expect("a pool");
    let pids: Result<HashSet<u32>, TaskError> = pool.map(leak, [2 << 20; 400]).chunk_size(1).collect();
    assert!(pids.expect("nobody is blamed for what others have left").len() > 2);
}
