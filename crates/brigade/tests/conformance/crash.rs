//! A. Crashes on the way of a task: while it is encoded, sent, decoded, run, and while its result goes back. Each as it stands,
//! and again from inside a done-callback.

use crate::stage::{
    Act, Brittle, Marks, PATIENCE, act, act_once, alone_and_from_a_callback, answer, builder, eventually,
    give, is_first, is_scene, kill, meet, own_pid, pool, program, sleep_for_ever, square, state, take,
    wait_for, wait_gone, workers,
};
use brigade::{Exit, Mishap, Pool, TaskError};
use brigade_os::signals;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;
const SIGSEGV: i32 = 11;

/// Its workers died so, each time, and the others never noticed.
#[track_caller]
fn assert_given_up(pool: &Pool, told: Result<u32, TaskError>, exit: Exit) {
    let Err(TaskError::Quarantined { attempts, .. }) = told else { panic!("{told:?}") };
    assert_eq!(attempts.len(), 3, "{attempts:?}");
    assert!(attempts.iter().all(|attempt| attempt.end == Mishap::Crashed(exit)), "{attempts:?}");
    assert_eq!(answer(&pool.submit(square, 7)), Ok(49), "after {exit:?}");
}

/// Scenario 1.
#[test]
fn tasks_that_cannot_be_encoded_fail_alone_and_the_good_ones_among_them_return() {
    alone_and_from_a_callback(builder(2), |pool| {
        let of = |n| if n % 2 == 0 { Brittle::SOUND } else { Brittle::when_encoded(Act::Refuse) };
        let jobs: Vec<_> = (0..200).map(|n| (n, pool.submit(take, of(n)))).collect();
        for (n, job) in jobs {
            match answer(&job) {
                Ok(_) => assert_eq!(n % 2, 0),
                Err(TaskError::Encode { message, .. }) => {
                    assert!(n % 2 == 1 && message.contains("refuse"), "{n}")
                }
                Err(error) => panic!("{n}: {error}"),
            }
        }
        let mapped: Vec<_> = pool.map(take, (0..200).map(of)).collect();
        let is_right = |(n, told): (usize, &Result<u32, TaskError>)| told.is_ok() == (n % 2 == 0);
        assert!(mapped.len() == 200 && mapped.iter().enumerate().all(is_right));
    });
}

/// Scenario 3.
#[test]
fn a_task_that_cannot_be_decoded_fails_alone_and_its_worker_lives() {
    alone_and_from_a_callback(builder(1), |pool| {
        let pid = answer(&pool.submit(own_pid, ()));
        for refusal in [Act::Refuse, Act::Panic] {
            let told = answer(&pool.submit(take, Brittle::when_decoded(refusal)));
            let is_told = match &told {
                Err(TaskError::Decode { message, .. }) => message.contains("its argument"),
                Err(TaskError::Panicked { message, .. }) => message == "it was told to panic",
                _ => false,
            };
            assert!(is_told, "{told:?}");
        }
        assert_eq!(answer(&pool.submit(own_pid, ())), pid, "it lives on");
    });
}

/// Scenario 4.
#[test]
fn a_task_whose_decoding_ends_its_worker_is_given_up_also_when_that_exits_with_0() {
    alone_and_from_a_callback(builder(2), |pool| {
        for (end, exit) in [(Act::Exit(0), Exit::Code(0)), (Act::Segfault, Exit::Signal(SIGSEGV))] {
            let told = answer(&pool.submit(take, Brittle::when_decoded(end)));
            assert_given_up(pool, told, exit);
        }
    });
}

/// Scenario 5.
#[test]
fn a_task_that_segfaults_is_given_up_with_the_signal() {
    alone_and_from_a_callback(builder(2), |pool| {
        let told = answer(&pool.submit(act, Act::Segfault));
        assert_given_up(pool, told, Exit::Signal(SIGSEGV));
    });
}

/// Scenario 6.
#[test]
fn a_panic_and_an_error_of_a_task_come_back_in_their_own_words() {
    alone_and_from_a_callback(builder(1), |pool| {
        let told = answer(&pool.submit(act, Act::Panic));
        let Err(TaskError::Panicked { message, location, .. }) = &told else { panic!("{told:?}") };
        assert_eq!(message, "it was told to panic");
        assert!(location.contains("stage.rs:"), "{location}");
        let refused = pool.submit(|act: Act| act.perform().map_err(ToOwned::to_owned), Act::Refuse);
        assert_eq!(answer(&refused), Ok(Err("it was told to refuse".to_owned())));
    });
}

/// Scenario 7.
#[test]
fn a_task_that_exits_is_given_up_with_its_exit_code() {
    alone_and_from_a_callback(builder(2), |pool| {
        let told = answer(&pool.submit(act, Act::Exit(42)));
        let words = told.as_ref().map_err(ToString::to_string).expect_err("it never returns");
        assert!(words.contains("exit code 42"), "{words}");
        assert_given_up(pool, told, Exit::Code(42));
    });
}

/// Scenario 8.
#[test]
fn a_task_that_aborts_is_given_up_with_the_signal() {
    alone_and_from_a_callback(builder(2), |pool| {
        let told = answer(&pool.submit(act, Act::Abort));
        assert_given_up(pool, told, Exit::Signal(SIGABRT));
    });
}

/// Scenario 9.
#[test]
fn results_that_cannot_be_encoded_fail_one_by_one_and_cost_no_worker() {
    alone_and_from_a_callback(builder(1), |pool| {
        let pid = answer(&pool.submit(own_pid, ()));
        for n in 0..20 {
            let told = answer(&pool.submit(give, (Act::Refuse, Act::Nothing)));
            assert!(
                matches!(&told, Err(TaskError::Encode { message, .. }) if message.contains("its result")),
                "{n}"
            );
        }
        assert_eq!(answer(&pool.submit(own_pid, ())), pid, "it lives on");
    });
}

/// Scenario 10.
#[test]
fn a_result_whose_encoding_ends_the_worker_is_given_up() {
    alone_and_from_a_callback(builder(2), |pool| {
        for (end, exit) in [(Act::Exit(0), Exit::Code(0)), (Act::Segfault, Exit::Signal(SIGSEGV))] {
            let told = answer(&pool.submit(give, (end, Act::Nothing)));
            assert_given_up(pool, told.map(|_| 0), exit);
        }
    });
}

/// Scenario 11.
#[test]
fn a_result_that_cannot_be_decoded_is_the_error_of_its_call_alone() {
    alone_and_from_a_callback(builder(2), |pool| {
        let of = |n| (Act::Nothing, if n == 3 { Act::Refuse } else { Act::Nothing });
        let jobs: Vec<_> = (0..10).map(|n| pool.submit(give, of(n))).collect();
        let told = jobs.iter().map(answer).chain(pool.map(give, (0..10).map(of)).chunk_size(5));
        for (n, told) in (0..10).chain(0..10).zip(told) {
            match told {
                Ok(brittle) => assert!(n != 3 && brittle == Brittle::SOUND),
                Err(TaskError::Decode { message, .. }) => {
                    assert!(n == 3 && message.contains("its result"), "{n}")
                }
                Err(error) => panic!("{n}: {error}"),
            }
        }
    });
}

/// Scenario 12.
#[test]
fn an_error_of_a_task_that_cannot_be_decoded_is_the_error_of_its_call_alone() {
    alone_and_from_a_callback(builder(1), |pool| {
        let pid = answer(&pool.submit(own_pid, ()));
        let fail: fn(()) -> Result<u32, Brittle> = |()| Err(Brittle::when_decoded(Act::Refuse));
        let told = answer(&pool.submit(fail, ()));
        assert!(
            matches!(&told, Err(TaskError::Decode { message, .. }) if message.contains("refuse")),
            "{told:?}"
        );
        assert_eq!(answer(&pool.submit(own_pid, ())), pid, "it lives on");
    });
}

/// Returns, and ends its process when the mark is there.
fn die_after((_, mark): (String, String)) -> u32 {
    thread::spawn(move || {
        wait_for(mark);
        process::abort();
    });
    process::id()
}

/// Returns, and ends its process as soon as it may, the first time.
fn die_beside((n, mark): (u32, String)) -> u32 {
    if is_first(&mark) {
        thread::spawn(|| process::abort());
    }
    n
}

/// Scenario 13.
#[test]
fn a_result_that_was_sent_before_its_worker_died_counts() {
    alone_and_from_a_callback(builder(1).attempts(9), |pool| {
        let marks = Marks::new();
        let told = answer(&pool.submit(die_after, (String::new(), marks.path("it has the result"))));
        let pid = told.expect("it was sent");
        marks.put("it has the result");
        wait_gone(&[pid]);
        let next = answer(&pool.submit(own_pid, ())).expect("a pid");
        assert_ne!(next, pid, "it is another's");
        // Before or after it is sent: one result, and the right one.
        let jobs: Vec<_> =
            (0..20).map(|n| pool.submit(die_beside, (n, marks.path(&n.to_string())))).collect();
        assert!((0..).zip(jobs.iter()).all(|(n, job)| answer(job) == Ok(n)));
    });
}

/// Scenario 14.
#[test]
fn a_worker_that_dies_with_large_arguments_in_flight_costs_none_of_them() {
    const BYTES: usize = 100_000;
    alone_and_from_a_callback(builder(2), |pool| {
        let marks = Marks::new();
        let of = |n: usize| ("x".repeat(BYTES), marks.path(&(n / 5).to_string()));
        let length: fn((String, String)) -> usize = |(text, mark)| {
            if is_first(&mark) {
                process::abort();
            }
            text.len()
        };
        let jobs: Vec<_> = (0..10).map(|n| pool.submit(length, of(n))).collect();
        assert!(jobs.iter().all(|job| answer(job) == Ok(BYTES)));
        assert_eq!(marks.all().len(), 2, "two have died of it");
    });
}

/// So many bytes, and who has made them; after its death another makes none.
fn long_text((bytes, mark): (usize, String)) -> String {
    if is_first(&mark) { "x".repeat(bytes) } else { String::new() }
}

/// The largest file in memory that this process has open, as it is allocated.
fn in_memory(pid: u32) -> u64 {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let files = open
        .filter(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.to_string_lossy().starts_with("/memfd:")));
    files.filter_map(|fd| Some(fs::metadata(fd.path()).ok()?.blocks() * 512)).max().unwrap_or(0)
}

/// Scenario 15, which no peer passes.
#[test]
fn a_worker_killed_in_the_middle_of_writing_a_large_result_costs_an_attempt() {
    const BYTES: usize = 256 << 20;
    alone_and_from_a_callback(builder(1), |pool| {
        let marks = Marks::new();
        let job = pool.submit(long_text, (BYTES, marks.path("begun")));
        let pid = eventually("it is begun", || job.pid());
        let written = eventually("the result is on its way", || {
            Some(in_memory(pid)).filter(|written| *written > (1 << 20) || job.is_done())
        });
        kill("KILL", pid);
        assert!((1 << 20..BYTES as u64).contains(&written), "{written} bytes were written before the kill");
        assert_eq!(answer(&job), Ok(String::new()), "it is another's");
        assert_eq!(answer(&pool.submit(square, 7)), Ok(49));
    });
}

/// Scenario 16: here no worker holds anything that another one needs.
#[test]
fn a_worker_killed_while_it_reads_tasks_or_writes_results_locks_nobody_out() {
    alone_and_from_a_callback(builder(2), |pool| {
        for pid in workers(pool, 2) {
            // It has tasks in its hand that it does not read.
            kill("STOP", pid);
            let jobs: Vec<_> = (0..40).map(|n| pool.submit(square, n)).collect();
            kill("KILL", pid);
            assert!((0..).zip(jobs.iter()).all(|(n, job)| answer(job) == Ok(n * n)));
        }
        let text: fn(usize) -> String = |n| "x".repeat(n);
        let jobs: Vec<_> = (0..40).map(|n| pool.submit(text, 10_000 + n)).collect();
        for pid in jobs
            .iter()
            .filter_map(|job| {
                drop(answer(job));
                job.pid()
            })
            .step_by(8)
        {
            kill("KILL", pid);
        }
        assert!((10_000..).zip(jobs.iter()).all(|(n, job)| answer(job) == Ok("x".repeat(n))));
        assert_eq!(answer(&pool.submit(square, 7)), Ok(49));
    });
}

/// Scenario 17.
#[test]
fn idle_workers_are_killed_one_by_one_and_all_at_once_and_nobody_is_locked_out() {
    alone_and_from_a_callback(builder(3), |pool| {
        for many in [1, 3] {
            let killed: Vec<u32> = workers(pool, 3).into_iter().take(many).collect();
            killed.iter().for_each(|pid| kill("KILL", *pid));
            let now = workers(pool, 3);
            assert!(killed.iter().all(|pid| !now.contains(pid)), "{killed:?} and {now:?}");
        }
    });
}

/// Meets the others, then kills the next one, and returns.
fn kill_friend((dir, n, friends): (String, usize, Vec<u32>)) -> usize {
    meet((format!("{dir}/met"), n.to_string(), friends.len()));
    if is_first(&format!("{dir}/{n} has killed")) {
        kill("KILL", friends[(n + 1) % friends.len()]);
    }
    n
}

/// Scenario 18.
#[test]
fn workers_that_kill_each_other_at_once_cost_no_result() {
    for procs in [1, 2, 5, 13] {
        alone_and_from_a_callback(builder(procs).attempts(50), move |pool| {
            let marks = Marks::new();
            marks.dir("met");
            let friends = workers(pool, procs);
            let of = |n| (marks.path(""), n, friends.clone());
            let jobs: Vec<_> = (0..friends.len()).map(|n| pool.submit(kill_friend, of(n))).collect();
            assert!(jobs.iter().enumerate().all(|(n, job)| answer(job) == Ok(n)));
            let now = workers(pool, procs);
            assert!(friends.iter().any(|pid| !now.contains(pid)), "{friends:?} and {now:?}");
        });
    }
}

/// Scenario 19.
#[test]
fn a_task_that_kills_its_worker_each_time_is_given_up_and_a_thousand_less_one_are_exact() {
    alone_and_from_a_callback(builder(2), |pool| {
        let poison: fn(u64) -> u64 = |n| if n == 500 { u64::from(act(Act::Kill)) } else { n * n };
        let jobs: Vec<_> = (0..1_000).map(|n| pool.submit(poison, n)).collect();
        for (n, job) in (0..).zip(&jobs) {
            match answer(job) {
                Ok(value) => assert_eq!(value, n * n),
                told if n == 500 => {
                    assert_given_up(pool, told.map(|_| 0), Exit::Signal(SIGKILL));
                }
                told => panic!("{n}: {told:?}"),
            }
        }
    });
}

/// It was over its time, and its worker is gone.
#[track_caller]
fn assert_timed_out(pool: &Pool, function: fn(()), what: &str) {
    let job = pool.submit(function, ());
    let told = answer(&job);
    let Err(TaskError::TimedOut { attempts, .. }) = told else { panic!("{what}: {told:?}") };
    assert!(attempts.iter().all(|attempt| attempt.end == Mishap::TimedOut), "{what}: {attempts:?}");
    wait_gone(&[job.pid().expect("somebody ran it")]);
    assert_eq!(answer(&pool.submit(square, 7)), Ok(49), "after {what}");
}

/// Scenario 20.
#[test]
fn a_worker_that_does_not_hear_sigterm_is_stopped_at_its_time_nevertheless() {
    alone_and_from_a_callback(builder(1).attempts(1).task_timeout(Duration::from_millis(200)), |pool| {
        assert_timed_out(
            pool,
            |()| {
                signals::hold_back();
                sleep_for_ever(())
            },
            "deaf to SIGTERM",
        );
    });
}

/// Scenario 21.
#[test]
fn a_worker_that_is_stopped_or_spins_is_ended_at_its_time() {
    alone_and_from_a_callback(builder(1).attempts(1).task_timeout(Duration::from_millis(200)), |pool| {
        assert_timed_out(pool, |()| _ = act(Act::Stop), "SIGSTOP");
        assert_timed_out(
            pool,
            |()| loop {
                std::hint::spin_loop()
            },
            "a loop without an end",
        );
        // No handler of SIGABRT, which asks where it hangs, is ever called.
        assert_timed_out(pool, |()| signals::deaf(|| sleep_for_ever(())), "every signal is blocked");
    });
}

/// A first worker stops, and its task is tried again by another.
#[test]
fn a_task_whose_first_worker_was_stopped_is_done_by_another() {
    alone_and_from_a_callback(builder(1).task_timeout(Duration::from_millis(200)), |pool| {
        let marks = Marks::new();
        let job = pool.submit(act_once, (Act::Stop, marks.path("stopped")));
        let stopped = eventually("it is stopped", || job.pid().filter(|pid| state(*pid) == Some('T')));
        assert_ne!(answer(&job).expect("another does it"), stopped);
        wait_gone(&[stopped]);
    });
}

/// Scenario 22: a program that exits in a callback.
#[test]
fn a_callback_may_end_the_program_and_nobody_is_left() {
    if is_scene() {
        let pool = pool(2);
        let busy = pool.submit(sleep_for_ever, ());
        let pid = eventually("one is busy", || busy.pid());
        pool.submit(own_pid, ()).on_done(move |told| {
            println!("workers: {pid} {}", told.expect("a pid"));
            process::exit(7);
        });
        drop(answer(&busy));
    }
    let (code, stdout, stderr) = program("crash::a_callback_may_end_the_program_and_nobody_is_left", &[]);
    assert_eq!(code, Some(7), "{stdout}{stderr}");
    let told = stdout.lines().find_map(|line| line.split_once("workers: ")).expect("it says who they are").1;
    let pids: Vec<u32> = told.split(' ').map(|pid| pid.parse().expect("a pid")).collect();
    assert_eq!(pids.len(), 2);
    wait_gone(&pids);
}

/// Submits from the callback of what it submitted, so deep.
fn chain(pool: Arc<Pool>, depth: u64, done: Sender<u64>) {
    let job = pool.submit(square, depth);
    job.on_done(move |told| match depth {
        0 => _ = done.send(told.expect("a square")),
        _ => chain(pool, depth - 1, done),
    });
}

/// Scenario 22: submitting in callbacks.
#[test]
fn callbacks_may_submit_in_long_chains() {
    let pool = Arc::new(pool(2));
    let (sender, done) = channel();
    for depth in [100, 60, 50] {
        chain(Arc::clone(&pool), depth, sender.clone());
    }
    for _ in 0..3 {
        assert_eq!(done.recv_timeout(PATIENCE), Ok(0), "the end of each chain");
    }
}

/// Scenario 22: the end of a pool in a callback of its own.
#[test]
fn a_callback_may_end_its_pool_in_each_way() {
    let ends: [fn(Pool); 2] = [Pool::kill_workers, Pool::join];
    for (end, told) in ends.into_iter().zip([Err(TaskError::Shutdown), Ok(())]) {
        let (pool, marks) = (pool(2), Marks::new());
        let first = pool.submit(wait_for, marks.path("the callback is there"));
        let other: fn(String) = |mark| _ = wait_for(mark);
        let other = pool.submit(other, marks.path("the pool is ended"));
        eventually("both are begun", || first.pid().zip(other.pid()));
        let (sender, ended) = channel();
        first.on_done(move |_| {
            end(pool);
            let _ = sender.send(());
        });
        marks.put("the callback is there");
        if told.is_ok() {
            // It waits for what it was handed.
            marks.put("the pool is ended");
        }
        assert_eq!(ended.recv_timeout(PATIENCE), Ok(()), "the end comes back");
        assert_eq!(answer(&other), told);
    }
}

/// Scenario 22: no more after the first error.
#[test]
fn a_callback_may_close_its_pool_at_the_first_error() {
    let pool = Arc::new(pool(2));
    let (sender, closed) = channel();
    let queued: Vec<_> = (0..50).map(|n| pool.submit(square, n)).collect();
    let inside = Arc::clone(&pool);
    pool.submit(act, Act::Panic).on_done(move |told| {
        if told.is_err() {
            inside.close();
        }
        let _ = sender.send(());
    });
    assert_eq!(closed.recv_timeout(PATIENCE), Ok(()));
    assert!((0..).zip(&queued).all(|(n, job)| answer(job) == Ok(n * n)), "what it had taken is done");
    assert_eq!(answer(&pool.submit(square, 3)), Err(TaskError::Shutdown));
}

/// Not one of the eighty, but what they are about: no number of bad calls ends a pool.
#[test]
fn a_pool_outlives_any_number_of_calls_that_kill_its_workers() {
    let pool = pool(2);
    let jobs: Vec<_> = (0..60).map(|_| pool.submit(act, Act::Kill)).collect();
    let good = pool.submit(square, 9);
    for (n, job) in jobs.iter().enumerate() {
        let told = answer(job);
        assert!(matches!(&told, Err(TaskError::Quarantined { .. })), "{n}: {told:?}");
    }
    assert_eq!(answer(&good), Ok(81));
}
