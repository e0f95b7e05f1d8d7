//! Garbage from a worker: it ends, its task is tried again, and nobody else notices.

use crate::stage::{Finished, Run, Stage, eventually};
use std::fs;
use std::process::Stdio;

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
    assert_ends_the_babbler("damage@50000", "damaged frame of 70 bytes: their sum is");
    assert_ends_the_babbler("idle_talk:1@50000", "consumed");
    assert_ends_the_babbler("lie:1000000@50000", "0 bytes are there, not 1000000");
    assert_ends_the_babbler("lie:4294967297@50000", "4294967296 are the most");
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
        // What can be told to be garbage is, at once, and the task that ran is blamed, if one did at that moment.
        assert_eq!(done["restarts"], 1, "{bytes}");
        assert!(done["retried"].as_u64() <= Some(u64::from(!was_stuck)), "{bytes}: {done}");
        stuck.extend(was_stuck.then_some(bytes));
    }
    println!("found by the page: {stuck:?}");
    assert!(!stuck.is_empty());
}

/// It garbles each time, and goes on at once: by the time anybody looks, its page is of another task.
#[test]
fn a_task_that_garbles_each_time_is_found_out_and_quarantined_alone() {
    for act in ["echo@5", "huge@5", "garbage:1@5"] {
        for procs in [1, 2] {
            let stage = Stage::new().stunt(act).with(&format!("--procs {procs} --range 0..100 --tasks 100"));
            let (finished, _run) = stage.start().finish();
            assert_eq!(finished.code, Some(101), "{act}: {}", finished.stderr);
            let done = finished.done();
            assert_eq!((&done["quarantined"], &done["missing"]), (&1.into(), &0.into()), "{act}: {done}");
            assert_eq!((&done["failed"], &done["settled"]), (&0.into(), &100.into()), "{act}: {done}");
            let told =
                finished.story.iter().find(|line| line["ev"] == "task_quarantined").expect("it is told");
            assert_eq!(
                (&told["task"], told["attempts"].as_array().map(Vec::len)),
                (&5.into(), Some(3)),
                "{told}"
            );
        }
    }
}

/// `GARBAGE` says how many: a million by `make storm`.
#[test]
fn malformed_frames_of_many_kinds_cost_the_workers_that_sent_them_and_no_other() {
    let frames = std::env::var("GARBAGE").map_or(5_000, |text| text.parse::<u64>().expect("a number"));
    let stage = Stage::new().stunt(&format!("storm:{frames}@all"));
    // A worker sends some 70 before it is ended, and has settled one task by then.
    let tasks = (frames / 20).max(1_000);
    let args =
        format!("-q --procs 4 --range 0..1_000_000 --tasks {tasks} --pace 1ms --max-attempts 1_000_000");
    let worker = format!("--worker {}", stage.stuntman());
    let mut command = stage.command(&format!("{args} {worker}"));
    // To a file: it would wait with its last words for the reader of a full pipe.
    let told = stage.dir().join("stderr");
    let stderr = fs::File::create(&told).expect("a file");
    let mut child = command.stdout(Stdio::piped()).stderr(stderr).spawn().expect("it starts");
    let sent = || fs::metadata(stage.dir().join("s/storm")).map_or(0, |tally| tally.len());
    let (mut so_far, mut ended) = (0, None);
    while ended.is_none() {
        // A hang is no more of either for a minute.
        (so_far, ended) = eventually("more frames, or the end", || {
            let ended = child.try_wait().expect("our child");
            (ended.is_some() || sent() > so_far).then(|| (sent(), ended))
        });
    }
    let output = child.wait_with_output().expect("our child");
    let total = String::from_utf8(output.stdout).expect("text");
    let complaints = fs::read_to_string(&told).expect("text");
    assert_eq!(
        (total.as_str(), ended.and_then(|status| status.code())),
        ("499999500000\n", Some(0)),
        "{complaints}"
    );
    assert!(so_far >= frames && !complaints.contains("panicked"), "{so_far} frames: {complaints}");
    let status = fs::read(stage.dir().join("s/latest/status.json")).expect("it is left");
    let status: serde_json::Value = serde_json::from_slice(&status).expect("JSON");
    println!("{so_far} malformed frames, {} workers ended for them", status["tally"]["restarts"]);
}
