//! What a pool offers beside plain calls, tried with real processes.

mod kit;

use brigade::{Pool, TaskError, Until, wait};
use kit::{Marks, is_first};
use std::process;

brigade::test_entry!(in_tests);

fn pool(procs: u32) -> Pool {
    in_tests();
    Pool::builder().procs(procs).build().expect("a pool")
}

fn print_sum(a: u64, b: u64) -> u64 {
    println!("{}", a + b);
    a + b
}

fn volume(a: u32, b: u32, c: u32) -> (u32, u32) {
    (a * b * c, process::id())
}

#[test]
fn a_function_of_several_arguments_is_mapped_over_tuples() {
    let pool = pool(2);
    let sums: Result<Vec<u64>, TaskError> = pool.starmap(print_sum, [(1, 2), (2, 3), (3, 4)]).collect();
    assert_eq!(sums, Ok(vec![3, 5, 7]));
    for (at, one) in (1..).zip(pool.starmap(volume, (1..20).map(|n| (n, 2, 3))).chunk_size(4)) {
        let (volume, pid) = one.expect("a volume");
        assert!(volume == at * 6 && pid != process::id());
    }
    let four = |a: String, b: u8, c: Option<u8>, d: bool| format!("{a} {b} {c:?} {d}");
    assert_eq!(pool.apply_async(four, ("a".into(), 2, None, true)).join(), Ok("a 2 None true".into()));
    let lost = pool.apply_async(|a: u32, b: u32| a / b, (1, 0)).join();
    assert!(matches!(lost, Err(TaskError::Panicked { .. })), "{lost:?}");
}

#[test]
fn a_panic_brings_what_had_called_it_where_that_was_asked_for() {
    fn calls(n: u32) -> u32 {
        panic!("{n} on purpose")
    }
    in_tests();
    for (builder, is_asked) in [(Pool::builder().backtraces(true), true), (Pool::builder(), false)] {
        let pool = builder.procs(1).build().expect("a pool");
        let Err(TaskError::Panicked { message, backtrace, .. }) = pool.submit(calls, 7).join() else {
            panic!("it did not panic")
        };
        assert_eq!(message, "7 on purpose");
        let is_asked = is_asked || std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0");
        assert_eq!(backtrace.contains("a_panic_brings_what_had_called_it"), is_asked, "{backtrace}");
    }
}

#[test]
fn what_is_given_up_names_attempt_cause_pid_and_log() {
    let pool = pool(1);
    let job = pool.submit(|_: ()| -> u32 { process::abort() }, ());
    let (mut done, _) = wait([job], Until::AllCompleted, None);
    let job = done.remove(0);
    let pid = job.pid().expect("somebody ran it");
    let told = job.join().expect_err("it never returns");
    let words = told.to_string();
    assert!(words.starts_with("given up after 3 attempts: attempt 3 lost worker 0."), "{words}");
    let TaskError::Quarantined { logs, pid: last, .. } = told else { panic!("{words}") };
    assert_eq!(last, pid);
    let log = logs.join(format!("{pid}.log"));
    assert!(words.ends_with(&format!("to SIGABRT, pid {pid} (log: {})", log.display())), "{words}");
    assert!(std::fs::read_to_string(&log).expect("it is there").contains("SIGABRT"));
}

#[test]
fn the_words_of_a_worker_come_with_attempt_pid_and_log() {
    /// The first time it is a death.
    fn die_then_panic(mark: String) -> u32 {
        if is_first(&mark) {
            process::abort();
        }
        panic!("process {}", process::id())
    }
    let (pool, marks) = (pool(1), Marks::new());
    let told = pool.submit(die_then_panic, marks.path("mark")).join();
    let Err(TaskError::Panicked { message, origin: Some(origin), .. }) = &told else { panic!("{told:?}") };
    assert_eq!((message.as_str(), origin.attempt.0), (format!("process {}", origin.pid).as_str(), 2));
    let log = origin.log.as_ref().expect("a process has one");
    assert!(std::fs::read_to_string(log).expect("it is there").contains(message));
    let words = told.as_ref().expect_err("a panic").to_string();
    let tail = format!("{message} (attempt 2, pid {}, log: {})", origin.pid, log.display());
    assert!(words.starts_with("panicked at ") && words.ends_with(&tail), "{words}");
    let of_map = pool.map(|n: u32| 6 / n, 0..3).chunk_size(3).next();
    let Some(Err(TaskError::Panicked { origin: Some(origin), .. })) = of_map else { panic!("{of_map:?}") };
    assert!(origin.log.is_some_and(|log| log.exists()) && origin.attempt.0 == 1);
}

#[test]
fn a_pool_that_cannot_be_built_says_why_in_the_words_of_its_settings() {
    in_tests();
    let builders = [
        (Pool::builder().procs(4_000_000), "procs 4000000"),
        (Pool::builder().state_dir("/proc/no/such"), "choose another state_dir"),
    ];
    for (builder, words) in builders {
        let told = builder.build().expect_err("no such pool").to_string();
        assert!(told.contains(words) && !told.contains("--") && told.lines().count() == 1, "{told}");
    }
}
