//! D. What workers are born into: the template, descriptors, streams, limits of processors; and what they leave.

use crate::stage::{
    Marks, answer, builder, children, eventually, is_alive, is_scene, kill, own_pid, pool, program, square,
    wait_for, wait_gone, workers,
};
use brigade::{Pool, cpu_count};
use std::fs;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// Scenario 64.
#[test]
fn a_template_that_is_interrupted_or_killed_costs_no_running_call_and_no_later_worker() {
    const TEST: &str =
        "surroundings::a_template_that_is_interrupted_or_killed_costs_no_running_call_and_no_later_worker";
    if !is_scene() {
        let (code, stdout, stderr) = program(TEST, &[]);
        return assert_eq!(code, Some(0), "{stdout}{stderr}");
    }
    let pool = pool(1);
    for signal in ["INT", "KILL"] {
        let marks = Marks::new();
        let job = pool.submit(wait_for, marks.path("the template is told"));
        let worker = eventually("it is begun", || job.pid());
        let template: Vec<u32> = children().into_iter().filter(|pid| *pid != worker).collect();
        assert_eq!(template.len(), 1, "one beside {worker}: {template:?}");
        kill(signal, template[0]);
        if signal == "KILL" {
            wait_gone(&template);
        }
        marks.put("the template is told");
        assert_eq!(answer(&job), Ok(worker), "{signal}: nobody noticed");
        kill("KILL", worker);
        let next = answer(&pool.submit(own_pid, ())).expect("a pid");
        assert_ne!(next, worker, "{signal}");
    }
}

fn open_files(_: ()) -> usize {
    fs::read_dir("/proc/self/fd").expect("/proc").count()
}

/// Scenario 66.
#[test]
fn a_worker_has_no_more_open_files_in_a_pool_of_many() {
    let few = answer(&pool(1).submit(open_files, ())).expect("a number");
    let many = pool(40);
    workers(&many, 40);
    for told in many.map(open_files, [(); 200]).chunk_size(1) {
        assert_eq!(told, Ok(few));
    }
}

/// Scenario 67.
#[test]
fn a_program_without_stdin_stdout_and_stderr_has_workers() {
    const TEST: &str = "surroundings::a_program_without_stdin_stdout_and_stderr_has_workers";
    if let Ok(dir) = std::env::var("CONFORMANCE_FILES") {
        let sum = pool(2).map_reduce(square, 0..10, 0, |sum, n| sum + n).expect("a sum");
        return fs::write(format!("{dir}/{sum}"), "").expect("a mark");
    }
    let marks = Marks::new();
    let words = format!("exec 0<&- 1>&- 2>&-; CONFORMANCE_FILES={}", marks.path(""));
    program(TEST, &[&words]);
    assert_eq!(marks.all(), ["285"]);
}

/// Not one of the eighty, but pain 16.
#[test]
fn what_a_call_had_started_dies_with_its_worker() {
    let (pool, marks) = (builder(1).attempts(1).build().expect("a pool"), Marks::new());
    let start: fn(String) = |dir| {
        let mut child = Command::new("sleep").arg("4321").stdin(Stdio::null()).spawn().expect("sleep");
        fs::write(format!("{dir}/{}", child.id()), "").expect("a mark");
        child.wait().expect("our child");
    };
    let job = pool.submit(start, marks.path(""));
    let started = eventually("it is started", || marks.all().first().and_then(|pid| pid.parse().ok()));
    assert!(is_alive(started));
    kill("KILL", job.pid().expect("somebody runs it"));
    assert!(answer(&job).is_err());
    wait_gone(&[started]);
}

static LOCK: Mutex<u32> = Mutex::new(0);

/// Not one of the eighty, but pain 12: workers are forked from a process that never had another thread.
#[test]
fn a_lock_that_a_thread_of_the_program_holds_is_free_in_workers() {
    let guard = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
    let pool = pool(2);
    let lock: fn(()) -> bool = |()| LOCK.try_lock().is_ok();
    assert_eq!(answer(&pool.submit(lock, ())), Ok(true));
    drop(guard);
}

/// How many processors a worker is to use: as libraries of threads hear it, and as a pool in it does.
fn share(_: ()) -> (Option<String>, String) {
    (std::env::var("RAYON_NUM_THREADS").ok(), format!("{:?}", Pool::builder()))
}

/// Not one of the eighty, but pain 24.
#[test]
fn workers_are_told_their_share_of_the_processors() {
    for procs in [1, 2, 40] {
        let pool = builder(procs).build().expect("a pool");
        let (heard, builder) = answer(&pool.submit(share, ())).expect("it says");
        let share = (cpu_count() / procs).max(1).to_string();
        let wanted = std::env::var("RAYON_NUM_THREADS").unwrap_or_else(|_| share.clone());
        assert_eq!(heard, Some(wanted), "of {procs}");
        assert!(builder.contains(&format!("procs: {share},")), "a pool in it has as many: {builder}");
    }
}

/// Not one of the eighty: whoever has said how many threads he wants is obeyed.
#[test]
fn a_number_of_threads_that_the_user_has_set_is_left_alone() {
    const TEST: &str = "surroundings::a_number_of_threads_that_the_user_has_set_is_left_alone";
    if is_scene() {
        let pool = builder(1).build().expect("a pool");
        assert_eq!(answer(&pool.submit(share, ())).expect("it says").0.as_deref(), Some("77"));
        return;
    }
    let (code, stdout, stderr) = program(TEST, &["RAYON_NUM_THREADS=77"]);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
}
