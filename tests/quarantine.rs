//! Tasks that took too many workers along: their stories are kept, and a person decides about them.

use crate::stage::{Finished, Run, Stage, kill};
use serde_json::{Value, json};
use std::fs;

/// A run called `r` whose task 5 ends in quarantine, and which is over.
fn quarantined(act: &str, more: &str) -> (Finished, Run) {
    let stage = Stage::new().stunt(act).with("--run r --procs 2 --pace 2ms --range 0..10 --tasks 10");
    let (finished, run) = stage.with(more).start().finish();
    assert_eq!(finished.code, Some(101), "{}", finished.stderr);
    (finished, run)
}

#[track_caller]
fn asked(stage: &Stage, args: &str) -> Value {
    let told = stage.ask(&format!("quarantine {args} --format json"));
    assert_eq!(told.code, Some(0), "{args}: {}", told.stderr);
    serde_json::from_str(&told.stdout).expect("JSON")
}

/// Refused in one line, with this exit code; says the line.
#[track_caller]
fn refused(stage: &Stage, args: &str, code: i32) -> String {
    let told = stage.ask(&format!("quarantine {args}"));
    assert_eq!((told.code, told.stdout.as_str()), (Some(code), ""), "{args}: {}", told.stderr);
    assert_eq!(told.stderr.lines().count(), 1, "{args}: {}", told.stderr);
    told.stderr
}

#[test]
fn a_quarantined_task_has_its_story_with_pids_exits_times_and_last_lines() {
    let (finished, run) = quarantined("abort@5", "");
    let told = asked(&run.stage, "list");
    assert_eq!((&told["run"], &told["live"]), (&json!("r"), &json!(false)));
    let case = &asked(&run.stage, "show 5")["quarantined"][0];
    assert_eq!(told["quarantined"], json!([case]));
    let attempts = case["attempts"].as_array().expect("a list");
    let deaths: Vec<&Value> = finished.story.iter().filter(|line| line["task"] == 5).collect();
    let deaths: Vec<&Value> = deaths.into_iter().filter(|line| line["ev"] == "worker_exit").collect();
    assert_eq!((attempts.len(), deaths.len()), (3, 3), "{case}");
    for (n, (attempt, death)) in (1..).zip(attempts.iter().zip(deaths)) {
        assert_eq!(attempt["attempt"], n, "{case}");
        assert_eq!((&attempt["pid"], &attempt["exit"]), (&death["pid"], &json!({"signal": 6})));
        assert!(attempt["seconds"].as_f64().is_some_and(|seconds| seconds < 60.0), "{attempt}");
        let lines = attempt["last_lines"].as_array().expect("a list");
        let last = lines.last().and_then(Value::as_str).expect("a line");
        assert!(last.ends_with(&format!("start task 5 attempt {n}")), "{attempt}");
        assert!(lines.len() <= 10, "{attempt}");
    }
    let text = run.stage.ask("quarantine show 5").stdout;
    assert_eq!(text.matches("│ ").count(), text.lines().count() - 4, "a head, three attempts, lines: {text}");
    assert!(text.contains("attempt 3 lost worker") && text.contains("start task 5 attempt 3"), "{text}");
    let table = run.stage.ask("quarantine list").stdout;
    assert!(table.lines().nth(1).is_some_and(|row| row.contains("lost worker")), "{table}");
}

#[test]
fn a_task_that_hangs_has_its_deadline_in_its_story() {
    let (_, run) = quarantined("hang@5", "--task-timeout 100ms --max-attempts 2");
    let case = &asked(&run.stage, "show 5")["quarantined"][0];
    for attempt in case["attempts"].as_array().expect("a list") {
        assert_eq!(attempt["end"], json!("timed_out"), "{attempt}");
        assert!(attempt["seconds"].as_f64() >= Some(0.1), "it ran to its deadline: {attempt}");
    }
}

#[test]
fn the_story_keeps_apart_what_failed_in_a_living_worker_and_what_took_it_along() {
    let (_, run) = quarantined("waver@5", "--retries 1 --max-attempts 2");
    let case = &asked(&run.stage, "show 5")["quarantined"][0];
    let (failed, died) = (&case["attempts"][0], &case["attempts"][1]);
    assert_eq!((&failed["exit"], &died["exit"]), (&Value::Null, &json!({"signal": 6})), "{case}");
    assert!(failed["pid"].is_u64() && failed["seconds"].is_f64(), "{case}");
    let last = failed["last_lines"].as_array().and_then(|lines| lines.last()).and_then(Value::as_str);
    assert!(last.is_some_and(|line| line.contains("end task 5 attempt 1: ")), "not what came later: {case}");
}

#[test]
fn a_retried_task_is_done_again_by_resume_as_if_it_were_new() {
    let (_, run) = quarantined("abort@5", "");
    let again = run.leave().anew("resume r").start();
    let (still, run) = again.finish();
    assert_eq!(
        (still.code, still.count("worker_exit")),
        (Some(101), 0),
        "a resume alone does not try it again"
    );
    assert_eq!(asked(&run.stage, "retry 5"), json!({"v": 1, "run": "r", "live": false, "reopened": [5]}));
    assert_eq!(asked(&run.stage, "list")["quarantined"], json!([]));
    // As a kill between the journal and the file leaves it.
    let stale = run.stage.dir().join("s/runs/r/quarantine/5.json");
    fs::write(&stale, "{}").expect("a file");
    assert!(refused(&run.stage, "retry 5", 3).contains("task 5 of run r is not in quarantine"));
    assert!(!stale.exists(), "the journal decides");
    let worker = run.stage.stuntman();
    let stage = run.leave().anew(&format!("resume r --worker {worker}"));
    let (worse, run) = stage.start().finish();
    assert_eq!((worse.code, worse.story[0]["settled"].as_u64()), (Some(101), Some(9)), "{}", worse.stderr);
    let attempts = asked(&run.stage, "show 5")["quarantined"][0]["attempts"].clone();
    assert_eq!(attempts.as_array().map(Vec::len), Some(3), "its earlier attempts are forgotten");
    assert_eq!(asked(&run.stage, "retry all")["reopened"], json!([5]));
    let (finished, run) = run.leave().anew("resume r").start().finish();
    finished.assert_exact(10);
    assert_eq!(run.stage.ask("quarantine list").stdout, "no task of run r is in quarantine\n");
}

#[test]
fn a_dropped_task_is_listed_no_more_and_stays_missing_from_the_total() {
    let (_, run) = quarantined("abort@5", "");
    assert_eq!(asked(&run.stage, "drop all")["dropped"], json!([5]));
    assert_eq!(asked(&run.stage, "list")["quarantined"], json!([]));
    assert!(refused(&run.stage, "retry 5", 3).contains("not in quarantine"), "it was given up for good");
    assert_eq!(run.stage.ask("quarantine retry all").stdout, "no task of run r is in quarantine\n");
    let (finished, run) = run.leave().anew("resume r").start().finish();
    assert_eq!((finished.code, &finished.done()["total"]), (Some(101), &Value::Null));
    assert_eq!(asked(&run.stage, "list")["quarantined"], json!([]), "a resume does not list it again");
}

#[test]
fn of_a_live_run_the_quarantine_can_be_read_and_not_decided_about() {
    let stage = Stage::new().stunt("abort@5").with("--run r --procs 2 --range 0..10 --tasks 10 --hold");
    let mut run = stage.start();
    run.wait_for("all is settled", |line| line["ev"] == "holding");
    let told = asked(&run.stage, "list");
    assert_eq!((&told["live"], &told["quarantined"][0]["task"]), (&json!(true), &json!(5)));
    for verb in ["retry 5", "retry all", "drop 5"] {
        assert!(refused(&run.stage, verb, 2).contains("run r is live"));
    }
    kill("INT", run.pid());
    assert_eq!(run.finish().0.code, Some(101));
}

#[test]
fn unknown_tasks_and_runs_are_exit_3_and_what_cannot_be_meant_is_exit_2() {
    let (_, run) = quarantined("abort@5", "");
    refused(&run.stage, "show 4", 3);
    refused(&run.stage, "retry 5 4", 3);
    refused(&run.stage, "drop 4711", 3);
    refused(&run.stage, "list --run never", 3);
    refused(&run.stage, "retry all --run never", 3);
    refused(&run.stage, "retry", 2);
    refused(&run.stage, "retry some", 2);
    refused(&Stage::new(), "list", 3);
    assert_eq!(asked(&run.stage, "list")["quarantined"][0]["task"], 5, "a refusal changes nothing");
}

#[test]
fn a_resume_makes_the_stories_agree_with_the_journal() {
    let (_, run) = quarantined("abort@5", "");
    let home = run.stage.dir().join("s/runs/r/quarantine");
    fs::rename(home.join("5.json"), home.join("4.json")).expect("its story");
    let (_, run) = run.leave().anew("resume r").start().finish();
    let told = asked(&run.stage, "list");
    let tasks: Vec<&Value> =
        told["quarantined"].as_array().expect("a list").iter().map(|case| &case["task"]).collect();
    assert_eq!(tasks, [&json!(5)]);
    assert_eq!(told["quarantined"][0]["attempts"].as_array().map(Vec::len), Some(3));
}

#[test]
fn without_a_journal_the_quarantine_can_be_read_and_not_decided_about() {
    let (_, run) = quarantined("abort@5", "--no-journal");
    assert_eq!(asked(&run.stage, "list")["quarantined"][0]["task"], 5);
    assert!(refused(&run.stage, "retry 5", 104).contains("journal"));
}
