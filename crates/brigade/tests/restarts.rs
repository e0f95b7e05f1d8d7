//! How soon the place of a dead worker is filled again, and when a pool has had enough, tried with real processes.

use brigade::{BuildError, Pool, TaskError};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

brigade::test_entry!(in_tests);

/// Ends its worker so many times, and then returns.
fn die_often((marks, times): (PathBuf, u64)) -> u64 {
    let mut file = OpenOptions::new().append(true).create(true).open(&marks).expect("a file for marks");
    if file.metadata().expect("a length").len() < times {
        // In one write, so that nobody counts half of it.
        file.write_all(b"x").expect("a mark");
        process::abort();
    }
    times
}

/// The seconds that places waited before they were filled again, as the story of the only run in this directory has it.
fn waits(dir: &Path) -> Vec<f64> {
    let runs = dir.join("runs");
    let run = fs::read_dir(&runs).expect("runs").flatten().next().expect("a run").path();
    let story = fs::read_to_string(run.join("events.ndjson")).expect("its story");
    let told = story.lines().filter(|line| line.contains(r#""ev":"backing_off""#));
    let seconds = |line: &str| line.split_once(r#""seconds":"#)?.1.trim_end_matches('}').parse().ok();
    told.map(|line| seconds(line).unwrap_or_else(|| panic!("no time in {line}"))).collect()
}

#[test]
fn a_pool_rests_for_less_than_a_second_however_many_workers_die_of_a_call() {
    in_tests();
    let dir = tempfile::tempdir().expect("a directory");
    let pool = Pool::builder().procs(1).attempts(20).state_dir(dir.path()).build().expect("a pool");
    assert_eq!(pool.submit(die_often, (dir.path().join("marks"), 8)).join(), Ok(8));
    let waits = waits(dir.path());
    assert_eq!(waits.len(), 7, "the first comes back at once: {waits:?}");
    assert!(waits.iter().all(|seconds| *seconds <= 0.5), "{waits:?}");
}

#[test]
fn who_asks_for_a_brisk_pool_has_hundreds_of_deaths_in_no_time() {
    in_tests();
    let dir = tempfile::tempdir().expect("a directory");
    let ms = Duration::from_millis;
    let builder = Pool::builder().procs(1).attempts(300).backoff(ms(1), ms(2));
    let pool = builder.state_dir(dir.path()).build().expect("a pool");
    assert_eq!(pool.submit(die_often, (dir.path().join("marks"), 200)).join(), Ok(200));
    let waits = waits(dir.path());
    assert!(waits.len() == 199 && waits.iter().all(|seconds| *seconds <= 0.003), "{waits:?}");
}

#[test]
fn a_pool_gives_up_when_more_workers_were_never_ready_than_it_may_restart() {
    for (restarts, born) in [(1, 2), (2, 3), (7, 8)] {
        in_tests();
        let dir = tempfile::tempdir().expect("a directory");
        let marks = dir.path().join("marks");
        let builder = Pool::builder().procs(1).attempts(1).max_restarts(restarts, Duration::from_secs(60));
        let builder = builder.backoff(Duration::from_millis(1), Duration::from_millis(1));
        let die = |marks: PathBuf| _ = die_often((marks, u64::MAX));
        let pool = builder.initializer(die, marks.clone()).state_dir(dir.path()).build().expect("a pool");
        let told = pool.submit(|n: u32| n, 1).join();
        assert!(matches!(&told, Err(TaskError::Pool(_))), "{told:?}");
        assert_eq!(fs::metadata(marks).expect("marks").len(), born, "{told:?}");
    }
}

#[test]
fn a_call_has_its_attempts_also_where_fewer_restarts_are_borne() {
    in_tests();
    let dir = tempfile::tempdir().expect("a directory");
    let builder = Pool::builder().procs(1).attempts(4).max_restarts(0, Duration::from_secs(60));
    let pool = builder.state_dir(dir.path()).build().expect("a pool");
    let told = pool.submit(die_often, (dir.path().join("marks"), u64::MAX)).join();
    assert!(matches!(&told, Err(TaskError::Quarantined { attempts, .. }) if attempts.len() == 4), "{told:?}");
    assert_eq!(pool.submit(|n: u32| n, 1).join(), Ok(1));
}

#[test]
fn times_that_make_no_sense_are_refused() {
    in_tests();
    let no_time = Duration::ZERO;
    for builder in
        [Pool::builder().max_restarts(5, no_time), Pool::builder().backoff(no_time, Duration::from_secs(1))]
    {
        let told = builder.build().expect_err("no such pool");
        assert!(matches!(told, BuildError::Setting { .. }), "{told}");
        assert!(told.to_string().ends_with(" is 0; it must be more than no time at all"), "{told}");
    }
}
