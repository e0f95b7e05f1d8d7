//! Garbage from a worker: it ends, its task is tried again, and nobody else notices.

use crate::stage::{Finished, Run, Stage};

fn survives(stunt: &str) -> Finished {
    let stage = Stage::new().stunt(stunt).once().with("--procs 3 --range 0..100_000 --tasks 200 --pace 1ms");
    let (finished, _run) = stage.start().finish();
    finished.assert_exact(100_000);
    finished
}

fn assert_ends_the_babbler(stunt: &str, words: &str) {
    let finished = survives(stunt);
    let told: Vec<_> = finished.story.iter().filter(|line| line["ev"] == "worker_garbled").collect();
    assert_eq!(told.len(), 1, "{stunt}: told once: {told:?}");
    let reason = told[0]["reason"].as_str().expect("words");
    assert!(reason.contains(words), "{stunt}: {reason}");
    assert_eq!(finished.done()["restarts"], 1, "{stunt}: its place is filled");
    assert_eq!(finished.count("worker_exit"), 4, "{stunt}: three drained, one was killed");
}

#[test]
fn a_worker_that_babbles_is_ended_and_its_task_is_tried_again() {
    assert_ends_the_babbler("garbage:1@50000", "magic");
    assert_ends_the_babbler("huge@50000", "bytes, the most is");
    assert_ends_the_babbler("idle_talk:1@50000", "consumed");
}

#[test]
fn a_flood_from_one_worker_ends_that_worker_and_no_other() {
    assert_ends_the_babbler("garbage:100000@50000", "");
    assert_ends_the_babbler("idle_talk:100000@50000", "consumed");
}

#[test]
fn raw_bytes_and_then_death_cost_one_worker() {
    let finished = survives("raw@50000");
    assert_eq!(finished.done()["restarts"], 1);
}

/// Half a message, a header without a body, one that claims 2^62 bytes, more than fits into any buffer of ours.
#[test]
fn raw_bytes_without_a_descriptor_and_then_business_as_usual_cost_one_worker() {
    for bytes in ["byte", "header", "claim", "block"] {
        let args = "--procs 3 --range 0..100_000 --tasks 200 --pace 1ms --task-timeout 300ms";
        let stage = Stage::new().stunt(&format!("mutter:{bytes}@50000")).once().with(args);
        let (finished, _run) = stage.start().finish();
        finished.assert_exact(100_000);
        println!("{bytes}: {}", finished.done());
        assert_eq!(finished.done()["restarts"], 1, "{bytes}");
    }
}

/// Nothing has a deadline here: who waits with finished tasks that nobody hears of is found out by its page, within ten
/// seconds, and so long this test takes, beside the others.
#[test]
fn half_a_packet_and_then_silence_cost_one_worker_where_no_deadline_runs() {
    let start = |bytes: &str| -> Run {
        let stage = Stage::new().stunt(&format!("mutter:{bytes}@50000")).once();
        stage.with("--procs 3 --range 0..100_000 --tasks 200 --pace 1ms").start()
    };
    let runs = ["byte", "header", "claim", "block"].map(|bytes| (bytes, start(bytes)));
    let mut stuck = Vec::new();
    for (bytes, run) in runs {
        let (finished, _run) = run.finish();
        finished.assert_exact(100_000);
        let is_it =
            |line: &serde_json::Value| line["message"].to_string().contains("neither runs nor reports");
        let was_stuck = finished.story.iter().any(is_it);
        let done = finished.done();
        // What can be told to be garbage is, at once, and the task that ran is blamed.
        assert_eq!(
            (&done["restarts"], &done["retried"]),
            (&1.into(), &u64::from(!was_stuck).into()),
            "{bytes}"
        );
        stuck.extend(was_stuck.then_some(bytes));
    }
    println!("found by the page: {stuck:?}");
    assert!(!stuck.is_empty());
}
