//! Calls that nobody wants any more, tried with real processes.

mod kit;

use brigade::{Job, Pool, StartMethod, TaskError, Until, as_completed, wait};
use kit::{Marks, eventually, wait_for};
use std::fs;
use std::process;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

brigade::test_entry!(in_tests);

fn pool(procs: u32) -> Pool {
    in_tests();
    Pool::builder().procs(procs).build().expect("a pool")
}

fn square(n: u64) -> u64 {
    n * n
}

fn for_ever(_: ()) {
    thread::sleep(Duration::from_secs(3_600));
}

fn die(_: ()) {
    process::abort()
}

fn own_pid(_: ()) -> u32 {
    process::id()
}

/// Leaves a mark.
fn touch(mark: String) {
    fs::write(mark, "").expect("a mark");
}

/// Returns when the pool has heard all that was said before, and has done it: what is said later, it hears later.
fn is_heard(pool: &Pool) {
    for _ in 0..2 {
        let (sender, told) = channel();
        let job = pool.submit(square, 0);
        job.on_done(move |_| sender.send(()).unwrap_or_default());
        job.cancel();
        told.recv_timeout(Duration::from_secs(60)).expect("it is called");
    }
}

/// Somebody runs it, or is about to.
fn is_lent<R: brigade::Value>(job: &Job<R>) {
    eventually("it is lent", || job.pid());
}

#[test]
fn a_call_that_waits_is_never_begun_and_one_that_runs_ends_with_its_worker() {
    for method in [StartMethod::Fork, StartMethod::Spawn] {
        in_tests();
        let marks = Marks::new();
        let pool = Pool::builder().procs(1).start_method(method).build().expect("a pool");
        let before = pool.submit(own_pid, ()).join().expect("a pid");
        let running = pool.submit(for_ever, ());
        let waiting = pool.submit(touch, marks.path("waiting"));
        let wanted = pool.submit(own_pid, ());
        is_lent(&running);
        assert!(waiting.cancel() && waiting.is_done() && !waiting.cancel());
        assert!(running.cancel() && !running.cancel());
        let words = (waiting.join(), running.join());
        assert_eq!(words, (Err(TaskError::Cancelled), Err(TaskError::Cancelled)));
        let after = wanted.join().expect("it was not cancelled");
        assert_ne!(before, after, "another process does what comes after it");
        assert_eq!(pool.submit(square, 7).join(), Ok(49));
        assert_eq!(pool.loads()[0].deaths, 0, "{method:?}: it was to die");
        pool.join();
        assert_eq!(marks.all().len(), 0, "{method:?}");
    }
}

#[test]
fn what_a_worker_was_lent_ahead_is_not_begun_either() {
    let marks = Marks::new();
    let pool = pool(1);
    assert!((0..500).map(|n| pool.submit(square, n)).all(|job| job.join().is_ok()), "short ones");
    let first = pool.submit(wait_for, marks.path("go"));
    let others: Vec<_> = (0..10).map(|n| pool.submit(touch, marks.path(&n.to_string()))).collect();
    let last = pool.submit(own_pid, ());
    // How much that is depends on how long the last short ones took here.
    is_heard(&pool);
    let lent = others.iter().filter(|job| job.pid().is_some()).count();
    assert!(others.iter().all(Job::cancel));
    is_heard(&pool);
    marks.put("go");
    let worker = first.join().expect("it was not cancelled, and was not disturbed");
    assert_eq!(last.join() != Ok(worker), lent > 0, "it leaves if it held any, {lent} of ten");
    pool.join();
    assert_eq!(marks.all().len(), 1, "only the one that was waited for");
}

#[test]
fn of_a_cancel_and_a_completion_at_the_same_time_one_comes_first() {
    let pool = pool(2);
    let (sender, told) = channel();
    let mut cancelled = 0;
    for n in 0..1_000 {
        let job = pool.submit(square, n);
        let sender = sender.clone();
        job.on_done(move |result| drop(sender.send(result)));
        (0..n % 50 * 100).for_each(|_| std::hint::spin_loop());
        let is_cancelled = job.cancel();
        let word = if is_cancelled { Err(TaskError::Cancelled) } else { Ok(square(n)) };
        cancelled += u32::from(is_cancelled);
        assert_eq!(told.recv(), Ok(word.clone()), "call {n}");
        assert_eq!(job.join(), word, "call {n}");
    }
    println!("{cancelled} of 1000 were cancelled in time");
    drop(sender);
    assert!(told.recv().is_err(), "and nobody was told twice");
    assert_eq!(pool.submit(square, 9).join(), Ok(81));
}

#[test]
fn of_a_cancel_and_a_death_at_the_same_time_one_comes_first() {
    in_tests();
    let pool = Pool::builder().procs(2).attempts(1).build().expect("a pool");
    for n in 0..100_u64 {
        let job = pool.submit(die, ());
        let other = pool.submit(square, n);
        (0..n % 10 * 4_000).for_each(|_| std::hint::spin_loop());
        match (job.cancel(), job.join()) {
            (true, Err(TaskError::Cancelled)) | (false, Err(TaskError::Quarantined { .. })) => {}
            other => panic!("{n}: {other:?}"),
        }
        assert_eq!(other.join(), Ok(square(n)), "an innocent is never given up");
    }
}

/// Memory of this process, in KiB.
fn own_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("/proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has some");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn a_hundred_megabytes_that_wait_are_let_go() {
    let pool = pool(1);
    let running = pool.submit(for_ever, ());
    let large = pool.submit(|text: String| text.len(), "x".repeat(100 << 20));
    let with_it = own_kib();
    assert!(large.cancel());
    assert_eq!(large.join(), Err(TaskError::Cancelled));
    eventually("it is let go", || (own_kib() + (60 << 10) < with_it).then_some(()));
    assert!(running.cancel());
    assert_eq!(pool.submit(square, 3).join(), Ok(9));
    pool.join();
}

#[test]
fn ten_thousand_are_cancelled_in_any_order_and_then_the_pool_is_dropped() {
    let pool = pool(2);
    let running: Vec<_> = (0..2).map(|_| pool.submit(for_ever, ())).collect();
    running.iter().for_each(is_lent);
    let jobs: Vec<_> = (0..10_000).map(|n| pool.submit(square, n)).collect();
    let began = Instant::now();
    // 7 and 10,000 have no divisor in common: each once, and no two neighbours in a row.
    assert!((0..10_000).all(|n| jobs[n * 7 % 10_000].cancel()));
    let cancelled = began.elapsed();
    assert!(running.iter().all(Job::cancel));
    drop(pool);
    println!("cancelled in {cancelled:?}, and the pool was gone after {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(10));
    assert!(jobs.into_iter().all(|job| job.join() == Err(TaskError::Cancelled)));
}

#[test]
fn whoever_waits_for_it_is_told() {
    let pool = pool(1);
    let running = pool.submit(for_ever, ());
    let jobs: Vec<_> = (0..3).map(|_| pool.submit(for_ever, ())).collect();
    let (sender, told) = channel();
    jobs[0].on_done(move |result| drop(sender.send((result, thread::current().name().map(str::to_owned)))));
    assert!(jobs.iter().all(Job::cancel));
    let told = told.recv_timeout(Duration::from_secs(60)).expect("it is called");
    assert_eq!(told, (Err(TaskError::Cancelled), Some("brigade-callbacks".to_owned())));
    let (done, open) = wait(jobs, Until::FirstException, None);
    assert_eq!((done.len(), open.len()), (3, 0));
    let words: Vec<_> = as_completed(done).map(Job::join).collect();
    assert_eq!(words, vec![Err(TaskError::Cancelled); 3]);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| running.join_timeout(Duration::from_secs(60)));
        assert!(running.cancel());
        assert_eq!(waiter.join().expect("it returns"), Some(Err(TaskError::Cancelled)));
    });
    let job = pool.submit(square, 2);
    assert_eq!(job.join_timeout(Duration::from_secs(60)), Some(Ok(4)));
    assert!(!job.cancel(), "it has its result");
    assert_eq!(job.try_join(), Some(Ok(4)));
    let [first, second] = [pool.submit(square, 1), pool.submit(square, 1)];
    assert!(first.id() < second.id());
}

/// Which mark to wait for first, and which to leave then; and to be no short call.
fn step((wanted, left): (Option<String>, String)) {
    thread::sleep(Duration::from_millis(20));
    wanted.map(wait_for);
    touch(left);
}

#[test]
fn a_map_that_is_dropped_takes_with_it_what_was_not_begun() {
    let marks = Marks::new();
    let pool = pool(1);
    let items = (0..4).map(|n| ((n == 1).then(|| marks.path("go")), marks.path(&n.to_string())));
    let mut map = pool.map(step, items).chunk_size(1);
    assert_eq!(map.next(), Some(Ok(())));
    drop(map);
    is_heard(&pool);
    marks.put("go");
    pool.join();
    let names: Vec<bool> = (0..4).map(|n| marks.has(&n.to_string())).collect();
    assert!(names[0] && !names[2] && !names[3], "{names:?}");
}

#[test]
fn a_map_that_is_cancelled_ends_at_once() {
    let pool = pool(2);
    let sleep = |n: u64| thread::sleep(Duration::from_secs(3_600 * n.min(1)));
    let mut map = pool.map(sleep, 0..1_000).chunk_size(1);
    assert_eq!(map.next(), Some(Ok(())));
    map.cancel();
    assert_eq!(pool.submit(square, 5).join(), Ok(25));
    pool.join();
}

/// Takes its time, and now and then its worker along.
fn moody(n: u64) -> u64 {
    thread::sleep(Duration::from_micros(n % 7 * 300));
    if n.is_multiple_of(97) {
        process::abort();
    }
    square(n)
}

#[test]
fn every_job_has_one_word_whatever_is_done_to_it_and_to_its_worker() {
    in_tests();
    let pool = Pool::builder().procs(3).attempts(50).max_tasks_per_child(40).build().expect("a pool");
    let (sender, told) = channel();
    let each = |first: u64| {
        let sender = sender.clone();
        let words = (first..first + 400).map(|n| {
            let (job, sender) = (pool.submit(moody, n), sender.clone());
            job.on_done(move |word| sender.send((n, word)).unwrap_or_default());
            let pid = job.pid().filter(|_| n % 50 == 0);
            if let Some(pid) = pid {
                let killed = process::Command::new("kill").args(["-9", &pid.to_string()]).output();
                assert!(killed.is_ok(), "there is a kill");
            }
            let is_cancelled = n.is_multiple_of(97) || n % 3 == 0;
            let was_first = is_cancelled && job.cancel();
            (n, job, was_first)
        });
        words.collect::<Vec<_>>()
    };
    let jobs: Vec<_> = thread::scope(|scope| {
        let hands: Vec<_> = (0..4).map(|at| scope.spawn(move || each(1 + at * 1_000))).collect();
        hands.into_iter().flat_map(|hand| hand.join().expect("it ends")).collect()
    });
    let all = jobs.len();
    for (n, job, was_first) in jobs {
        let word = job.join_timeout(Duration::from_secs(120)).expect("it has a word");
        match word {
            Ok(value) => assert!(!was_first && value == square(n), "{n}"),
            Err(TaskError::Cancelled) => assert!(was_first, "{n} was not cancelled"),
            Err(error) => assert!(n.is_multiple_of(97) && !was_first, "{n}: {error}"),
        }
    }
    pool.join();
    let mut words: Vec<u64> = told.try_iter().map(|(n, _)| n).collect();
    let all_told = words.len();
    words.sort_unstable();
    words.dedup();
    assert_eq!((all_told, words.len()), (all, all), "each was told, and none twice");
}
