//! Results that no frame holds, from real workers.

use crate::stage::{Finished, Stage};

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
