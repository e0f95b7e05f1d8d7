//! Arguments and results that no frame holds, with real workers.

use crate::stage::{Finished, Stage};
use std::path::Path;
use std::process::{Command, Output};

/// A run in which one task brings so many bytes. No sum has more than 16, so what arrived is told by its size.
fn brought(bytes: u64, args: &str) -> Finished {
    let stage =
        Stage::new().stunt(&format!("answer:{bytes}@500")).with("--procs 2 --range 0..1_000 --tasks 8");
    let (finished, _run) = stage.with(args).start().finish();
    let words = format!("brought {bytes} bytes that are no sum");
    assert!(finished.stderr.contains(&words), "{args}: {}", finished.stderr);
    assert_eq!(finished.code, Some(105), "{args}");
    assert_eq!(finished.count("worker_garbled"), 0, "{args}");
    finished
}

#[test]
fn a_result_that_no_frame_holds_arrives_whole_under_both_start_methods() {
    for method in ["fork", "spawn"] {
        for bytes in [3_700, 3_800, 300_000, 64 << 20] {
            brought(bytes, &format!("--no-journal --start-method {method}"));
        }
    }
}

#[test]
fn a_result_that_the_journal_does_not_hold_is_told_with_what_to_do() {
    let told = "a result takes more than 1048576 bytes: make it smaller, or run without a journal";
    assert!(brought(2_000_000, "").stderr.contains(told));
    assert!(!brought(1_000_000, "").stderr.contains(told));
}

/// A run of tasks that return what they are given (`payload.rs`).
fn echoed(stage: &Stage, args: &str) -> Output {
    let payload = Path::new(&stage.stuntman()).with_file_name("payload");
    let mut command = Command::new(payload);
    command.arg(stage.dir().join("s")).args(args.split_whitespace());
    command.env("PAYLOAD_MARK", stage.dir().join("mark")).output().expect("cargo build --example payload")
}

#[test]
fn tasks_of_every_size_are_exact_though_one_kills_its_worker_under_both_start_methods() {
    for method in ["fork", "spawn"] {
        for (tasks, bytes) in
            [(2_000, 3_600), (2_000, 3_800), (500, 64 << 10), (100, 1 << 20), (12, 32 << 20)]
        {
            let stage = Stage::new();
            let output = echoed(&stage, &format!("{method} - {tasks} {bytes}"));
            let told = String::from_utf8_lossy(&output.stdout);
            println!("{method}: {tasks} tasks of {bytes} bytes: {told}");
            assert_eq!(output.status.code(), Some(0), "{told} {}", String::from_utf8_lossy(&output.stderr));
            assert!(told.starts_with("1 restarts"), "{method} {bytes}: {told}");
        }
    }
}

#[test]
fn a_run_whose_results_the_journal_does_not_hold_begins_no_more_tasks_and_says_why() {
    let output = echoed(&Stage::new(), "fork journal 1000 2000000");
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(104), "{told}");
    assert!(told.contains("make it smaller, or run without a journal"), "{told}");
    assert_eq!(echoed(&Stage::new(), "fork journal 10 1000000").status.code(), Some(0));
}
