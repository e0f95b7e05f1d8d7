//! The programs of five articles about Python's processes and threads: each runs, and each asserts its own outcome.
//!
//! `make programs` runs them as large as the articles do, and prints our times beside theirs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Each program, and the seconds that its article tells, in the order in which ours says its own.
const PROGRAMS: &[(&str, &str)] = &[
    ("a1_loop", "7.474"),
    ("a2_threads", "no faster"),
    ("a3_processes", "3.767"),
    ("b1_hello", ""),
    ("b2_join", ""),
    ("b3_names", ""),
    ("b4_daemon", ""),
    ("b5_kill", ""),
    ("b6_queue", ""),
    ("b7_four_sleeps", "4.01 1.11"),
    ("b8_executor", "1.15"),
    ("c1_pool_map", "about 3"),
    ("c2_lock", ""),
    ("c2_rlock", ""),
    ("c2_deadlock", ""),
    ("c3_producer_consumer", ""),
    ("c4_executor", ""),
    ("c5_queue", ""),
    ("c5_manager", ""),
    ("c5_pipe", ""),
    ("c6_task_queue", ""),
    ("c7_shared_memory", ""),
    ("c8_map_reduce", ""),
    ("c9_word_count", ""),
    ("c10_factorials", ""),
    ("c11_benchmark", "2.00 2.10 8.50 2.20"),
    ("c12_async_or_threads", "2 2"),
    ("c13_checksum", ""),
    ("c14_etl", ""),
    ("c15_fetch", ""),
    ("c15_resize", ""),
    ("c15_echo_server", ""),
    ("c16_schedules", ""),
    ("c17_hybrid", ""),
    ("c18_native_kernel", ""),
    ("c19_two_hosts", ""),
    ("d1_executors", "about 3"),
    ("d2_active", ""),
    ("d3_starmap", "about 3"),
    ("d4_join_the_active", ""),
    ("e1_ten_sleeps", "10.09 1.01 1.7 1.9"),
    ("e2_products", "0.0138 0.9"),
    ("e3_split_table", ""),
    ("e4_gather", ""),
];

/// What some of them print, in this order: where that is the outcome.
const LINES: &[(&str, &[&str])] = &[
    ("b1_hello", &["hello bob"]),
    ("b2_join", &["end, without join", "child ends", "child begins", "child ends", "end, with join"]),
    ("b3_names", &["MainProcess ", "SubProcess "]),
    ("d2_active", &["Thread-1 false", "Thread-2 false", "Thread-3 false"]),
    ("d2_active", &["Process-1 false", "Process-2 false", "Process-3 false", "MainProcess"]),
    ("d4_join_the_active", &["Process-1 ", "Process-2 ", "Process-3 "]),
];

/// Longer than any takes on a slow machine under load; reached only when one hangs.
const PATIENCE: Duration = Duration::from_secs(180);

#[test]
fn every_program_of_the_articles_does_what_it_says() {
    let mut faults = Vec::new();
    println!("\n{:<22} {:<8} {:<28} theirs", "program", "outcome", "our seconds");
    for (name, theirs) in PROGRAMS {
        let output = run(&built(name));
        let said = String::from_utf8_lossy(&output.stdout);
        let last = said.lines().last().unwrap_or_default();
        let ours = last.strip_prefix("seconds ").unwrap_or(last);
        let is_right = output.status.success() && has_its_lines(name, &said);
        let outcome = if is_right { "ok" } else { "WRONG" };
        println!("{name:<22} {outcome:<8} {ours:<28} {theirs}");
        if !is_right {
            let complaints = String::from_utf8_lossy(&output.stderr);
            faults.push(format!("{name}: {}\n{said}{complaints}", output.status));
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// Each line of the program's is found behind the one before it.
fn has_its_lines(name: &str, said: &str) -> bool {
    LINES.iter().filter(|(program, _)| *program == name).all(|(_, lines)| {
        let mut all = said.lines();
        lines.iter().all(|line| all.any(|said| said.starts_with(line)))
    })
}

#[test]
fn every_row_of_the_articles_has_a_program_and_every_program_is_run() {
    let rows = [('a', 3), ('b', 8), ('c', 19), ('d', 4), ('e', 4)];
    let rows = rows.into_iter().flat_map(|(part, rows)| (1..=rows).map(move |row| format!("{part}{row}")));
    let is_there = |row: &String| PROGRAMS.iter().any(|(name, _)| name.split('_').next() == Some(row));
    let missing: Vec<String> = rows.filter(|row| !is_there(row)).collect();
    assert!(missing.is_empty(), "no program: {missing:?}");

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let files = fs::read_dir(folder).expect("there are examples").flatten().map(|entry| entry.path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let files: BTreeSet<String> =
        files.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect();
    assert_eq!(files, PROGRAMS.iter().map(|(name, _)| (*name).to_owned()).collect());
}

/// Where cargo has put it.
fn built(name: &str) -> PathBuf {
    let tests = std::env::current_exe().expect("this test has a file");
    let target = tests.parent().and_then(Path::parent).expect("it is in target/profile/deps");
    let path = target.join("examples").join(name);
    assert!(path.exists(), "{} is missing: cargo build -p brigade --examples", path.display());
    path
}

/// Runs it to its end; one that has none is killed.
fn run(program: &Path) -> Output {
    let scratch = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(program);
    command.env("TMPDIR", scratch.path()).env_remove("XDG_RUNTIME_DIR");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a program");
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().expect("it is our child").is_none() {
        if Instant::now() > deadline {
            child.kill().expect("it is our child");
        }
        thread::sleep(Duration::from_millis(5));
    }
    let left = fs::read_dir(scratch.path()).expect("it is there").flatten().map(|entry| entry.file_name());
    // What a pool has to tell of the dead stays there.
    let left: Vec<_> = left.filter(|name| !name.to_string_lossy().starts_with("brigade-")).collect();
    assert!(left.is_empty(), "{} leaves {left:?}", program.display());
    child.wait_with_output().expect("it has ended")
}
