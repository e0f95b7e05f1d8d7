//! Both executors by the same words, tried with real processes and threads. Scenarios C32 to C50 of the peers' suites, told
//! anew where they are about an executor.

mod kit;

use brigade::{Executor, Pool, ProcessExecutor, TaskError, ThreadExecutor, Until, as_completed, wait};
use kit::{eventually, is_alive};
use std::fs::File;
use std::path::Path;
use std::pin::Pin;
use std::process;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake};
use std::thread;
use std::time::{Duration, Instant};

brigade::test_entry!(in_tests);

fn processes(max_workers: u32) -> ProcessExecutor {
    in_tests();
    ProcessExecutor::new(max_workers).expect("processes")
}

fn threads(max_workers: u32) -> ThreadExecutor {
    ThreadExecutor::new(max_workers).expect("threads")
}

fn double(n: u32) -> u32 {
    2 * n
}

/// Two files of a test: the second is made when a call has begun, and it waits for the first.
struct Gate(String);

impl Gate {
    fn new(test: &str) -> Gate {
        Gate(
            std::env::temp_dir().join(format!("brigade-gate-{}-{test}", process::id())).display().to_string(),
        )
    }

    fn open(&self) {
        File::create(format!("{}.open", self.0)).expect("a gate");
    }

    fn until_somebody_waits(&self) {
        wait_for(&format!("{}.busy", self.0));
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        for end in ["open", "busy"] {
            let _ = std::fs::remove_file(format!("{}.{end}", self.0));
        }
    }
}

fn wait_for(path: &str) {
    let begun = Instant::now();
    while !Path::new(path).exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "nobody makes {path}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// A call that ends when its gate is open.
fn wait_at(gate: String) -> u32 {
    File::create(format!("{gate}.busy")).expect("a file");
    wait_for(&format!("{gate}.open"));
    7
}

/// What holds for both, word for word.
fn holds(executor: &impl Executor) {
    let doubled: Result<Vec<u32>, TaskError> = executor.map(double, 0..500).collect();
    assert_eq!(doubled, Ok((0..500).map(double).collect()));
    assert_eq!(executor.map(double, 0..40).chunk_size(6).filter(Result::is_ok).count(), 40);
    assert_eq!(executor.map(double, []).count(), 0);
    let jobs: Vec<_> = (0..20).map(|n| executor.submit(double, n)).collect();
    assert_eq!(as_completed(jobs).map(|job| job.join().expect("a number")).sum::<u32>(), 380);
    let Err(TaskError::Panicked { message, location, origin: Some(origin), .. }) =
        executor.submit(|n: u32| assert!(n > 9, "{n} is too few"), 3).join()
    else {
        panic!("it did not panic")
    };
    // A thread is of this process, and writes no log.
    assert_eq!(origin.log.is_none(), origin.pid == process::id(), "{origin:?}");
    assert!(message == "3 is too few" && location.contains("executors.rs"), "{message} at {location}");
    let jobs = [executor.submit(double, 1), executor.submit(|n: u32| 1 / n, 0)];
    let (done, _) = wait(jobs, Until::FirstException, None);
    assert!(done.iter().any(|job| matches!(job.try_join(), Some(Err(_)))));
    let (sender, receiver) = channel();
    let late = sender.clone();
    executor.submit(double, 1).on_done(|_| panic!("on purpose"));
    executor.submit(double, 2).on_done(move |result| drop(late.send(result)));
    assert_eq!(receiver.recv(), Ok(Ok(4)));
}

/// The first waits at a gate, and others do not.
fn wait_if_first((n, gate): (u32, String)) -> u32 {
    if n == 0 { wait_at(gate) } else { n }
}

/// Whoever was told that nothing is there yet may ask again, and misses nothing.
fn may_be_asked_again(executor: &impl Executor, [first, second, third]: [Gate; 3]) {
    let (moment, long) = (Duration::from_millis(1), Duration::from_secs(60));
    let items = |gate: &Gate| (0..2).map(|n| (n, gate.0.clone())).collect::<Vec<_>>();
    let mut map = executor.map(wait_if_first, items(&first)).chunk_size(1);
    assert_eq!(map.next_timeout(moment), None, "the first is at the gate");
    first.open();
    assert_eq!([(); 3].map(|()| map.next_timeout(long)), [Some(Some(Ok(7))), Some(Some(Ok(1))), Some(None)]);

    let mut map = executor.map(wait_if_first, items(&second)).chunk_size(1).unordered();
    assert_eq!(map.next_timeout(long), Some(Some(Ok(1))), "whoever is done");
    assert_eq!(map.next_timeout(moment), None);
    second.open();
    assert_eq!([(); 2].map(|()| map.next_timeout(long)), [Some(Some(Ok(7))), Some(None)]);

    let mut jobs = as_completed(items(&third).into_iter().map(|item| executor.submit(wait_if_first, item)));
    let mut next = |patience| jobs.next_timeout(patience).map(|job| job.map(brigade::Job::join));
    assert_eq!(next(long), Some(Some(Ok(1))), "whoever is done");
    assert_eq!(next(moment), None);
    third.open();
    assert_eq!([long; 2].map(next), [Some(Some(Ok(7))), Some(None)]);
}

#[test]
fn results_are_waited_for_as_long_as_it_is_said_and_may_be_asked_for_again() {
    let gates = |of: &str| ["first", "second", "third"].map(|name| Gate::new(&format!("{of}-{name}")));
    may_be_asked_again(&processes(2), gates("processes"));
    may_be_asked_again(&threads(2), gates("threads"));
}

/// Nothing is taken after the end, and nobody hangs for it.
fn is_over(executor: &impl Executor) {
    assert_eq!(executor.submit(double, 1).join(), Err(TaskError::Shutdown));
    assert!(executor.map(double, 0..10).all(|one| one == Err(TaskError::Shutdown)));
    executor.shutdown(true, true);
    executor.shutdown(false, false);
}

#[test]
fn processes_and_threads_mean_the_same() {
    holds(&processes(3));
    holds(&threads(3));
}

/// C32, C33: what is queued is done, what comes later is refused.
fn finishes(executor: &impl Executor) {
    let jobs: Vec<_> = (0..50).map(|n| executor.submit(double, n)).collect();
    executor.shutdown(true, false);
    assert!(jobs.iter().all(brigade::Job::is_done), "it has waited");
    assert!((0..).zip(jobs).all(|(n, job)| job.join() == Ok(2 * n)));
    is_over(executor);
}

#[test]
fn a_shutdown_that_waits_finishes_what_is_queued_and_takes_nothing_more() {
    finishes(&processes(2));
    finishes(&threads(2));
}

/// C34, C36: what runs is finished, what waits is cancelled, and nothing is left undecided.
fn cancels(executor: &impl Executor, gate: &Gate) {
    let running = executor.submit(wait_at, gate.0.clone());
    gate.until_somebody_waits();
    let waiting: Vec<_> = (0..50).map(|n| executor.submit(double, n)).collect();
    let unwanted = executor.submit(double, 50);
    assert!(unwanted.cancel() && !unwanted.cancel(), "once");
    assert_eq!(unwanted.join(), Err(TaskError::Cancelled));
    executor.shutdown(false, true);
    let told: Vec<_> = waiting.into_iter().map(brigade::Job::join).collect();
    let cancelled = told.iter().filter(|one| **one == Err(TaskError::Cancelled)).count();
    assert!(cancelled > 20, "{told:?}");
    assert_eq!(cancelled + told.iter().filter(|one| one.is_ok()).count(), 50, "{told:?}");
    assert!(!running.is_done(), "it is not cancelled");
    gate.open();
    assert_eq!(running.join(), Ok(7));
    executor.shutdown(true, false);
    is_over(executor);
}

#[test]
fn a_shutdown_that_cancels_lets_running_calls_finish_and_decides_all_others() {
    cancels(&processes(1), &Gate::new("processes"));
    cancels(&threads(1), &Gate::new("threads"));
}

/// Says that somebody was woken.
struct Bell(Sender<Result<u32, TaskError>>);

impl Wake for Bell {
    fn wake(self: Arc<Bell>) {
        drop(self.0.send(Err(TaskError::Cancelled)));
    }
}

#[test]
fn a_cancel_of_what_runs_is_told_to_its_callbacks_and_to_whoever_awaits_it() {
    let (executor, gate) = (threads(1), Gate::new("told"));
    let mut job = executor.submit(wait_at, gate.0.clone());
    gate.until_somebody_waits();
    let (sender, told) = channel();
    let waker = Arc::new(Bell(sender.clone())).into();
    assert!(Pin::new(&mut job).poll(&mut Context::from_waker(&waker)).is_pending());
    job.on_done(move |result| drop(sender.send(result)));
    assert!(job.cancel());
    let words: Vec<_> = (0..2).map(|_| told.try_recv()).collect();
    gate.open();
    assert_eq!(words, vec![Ok(Err(TaskError::Cancelled)); 2], "while it runs");
    executor.shutdown(true, false);
    assert!(told.try_recv().is_err(), "once");
}

/// C35, C39: nobody waits at the shutdown, and all is done nevertheless when the executor is gone.
#[test]
fn work_is_finished_after_a_shutdown_that_does_not_wait() {
    let (one, other) = (processes(2), threads(2));
    let jobs: Vec<_> = (0..50)
        .map(|n| (n, one.submit(double, n)))
        .chain((0..50).map(|n| (n, other.submit(double, n))))
        .collect();
    one.shutdown(false, false);
    other.shutdown(false, false);
    drop((one, other));
    assert!(jobs.iter().all(|(_, job)| job.is_done()));
    assert!(jobs.into_iter().all(|(n, job)| job.join() == Ok(2 * n)));
}

/// C38, C40: a worker that crashes after the shutdown costs its call alone, which is told of.
#[test]
fn a_crash_after_the_shutdown_is_told_and_harms_no_other() {
    let executor = processes(2);
    let bad = executor.submit(|_: ()| process::abort(), ());
    let good: Vec<_> = (0..20).map(|n| executor.submit(double, n)).collect();
    executor.shutdown(false, false);
    drop(executor);
    let bad: Result<(), TaskError> = bad.join();
    assert!(matches!(bad, Err(TaskError::Quarantined { .. })), "{bad:?}");
    assert!((0..).zip(good).all(|(n, job)| job.join() == Ok(2 * n)));
}

/// C44: what sleeps for ever is ended, however much is queued, and nobody waits for a grace.
#[test]
fn workers_are_killed_and_terminated_while_much_is_queued() {
    for kill in [true, false] {
        in_tests();
        let builder = Pool::builder().procs(2).attempts(1).grace(Duration::from_secs(3_600));
        let executor = ProcessExecutor::from(builder.build().expect("a pool"));
        let sleep = |_: u32| thread::sleep(Duration::from_secs(3_600));
        let jobs: Vec<_> = (0..10_000).map(|n| executor.submit(sleep, n)).collect();
        match kill {
            true => executor.kill_workers(),
            false => executor.terminate_workers(),
        }
        for job in jobs {
            let told = job.join_timeout(Duration::from_secs(60)).expect("in a minute");
            match told {
                Err(TaskError::Cancelled) => assert!(!kill),
                told => assert_eq!(told, Err(TaskError::Shutdown)),
            }
        }
        is_over(&executor);
    }
}

/// C22: a callback may end the executor that it is called for.
#[test]
fn a_callback_may_shut_its_executor_down() {
    fn shut<E: Executor + Send + Sync + 'static>(executor: E) {
        let executor = Arc::new(Mutex::new(Some(executor)));
        let (sender, receiver) = channel();
        let in_callback = Arc::clone(&executor);
        let job = executor.lock().expect("alone").as_ref().map(|it| it.submit(double, 4));
        job.expect("it is there").on_done(move |result| {
            let executor = in_callback.lock().expect("alone").take().expect("nobody else takes it");
            executor.shutdown(true, true);
            is_over(&executor);
            drop((executor, sender.send(result)));
        });
        assert_eq!(receiver.recv_timeout(Duration::from_secs(60)), Ok(Ok(8)));
    }
    shut(processes(2));
    shut(threads(2));
}

#[test]
fn a_lazy_iterator_does_not_hang_when_its_executor_is_gone() {
    fn exhausts<E: Executor>(executor: E) {
        let mut results = executor.map(double, 0..1_000).chunk_size(1);
        assert_eq!(results.next(), Some(Ok(0)));
        drop(executor);
        let (good, lost): (Vec<_>, Vec<_>) = results.partition(Result::is_ok);
        assert_eq!(good.len() + lost.len(), 999);
        assert!(!lost.is_empty() && lost.iter().all(|one| *one == Err(TaskError::Shutdown)), "{lost:?}");
    }
    exhausts(processes(2));
    exhausts(threads(2));
}

#[test]
fn an_executor_has_the_settings_of_its_pool() {
    in_tests();
    let builder = Pool::builder().procs(1).max_tasks_per_child(1);
    let executor = ProcessExecutor::from(builder.build().expect("a pool"));
    let pids: Vec<u32> =
        (0..3).map(|_| executor.submit(|_: ()| process::id(), ()).join().expect("a pid")).collect();
    assert!(pids[0] != pids[1] && pids[1] != pids[2], "{pids:?}");
    assert!(ThreadExecutor::new(0).is_err() && ProcessExecutor::new(0).is_err());
}

/// In a worker: a pool of its own, whose worker says who it is and sleeps.
fn sleep_below(sender: brigade::Sender<u32>) {
    let pool = Pool::builder().procs(1).build().expect("a pool in a worker");
    let sleep = |sender: brigade::Sender<u32>| {
        sender.send(&process::id()).expect("somebody listens");
        thread::sleep(Duration::from_secs(3_600));
    };
    drop(pool.submit(sleep, sender).join());
}

/// C43: pools in workers end with these, whatever sleeps there.
#[test]
fn whoever_is_killed_takes_the_pools_in_its_workers_along() {
    let executor = processes(2);
    let (receiver, sender) = brigade::pipe::<u32>().expect("a pipe");
    let job = executor.submit(sleep_below, sender);
    let below = receiver.recv_timeout(Duration::from_secs(60)).expect("it says who it is");
    let between = job.pid().expect("it runs");
    executor.kill_workers();
    assert_eq!(job.join(), Err(TaskError::Shutdown));
    drop(executor);
    for pid in [between, below] {
        eventually("it is gone", || (!is_alive(pid)).then_some(()));
    }
}
