//! The supervisor throws faults at its own workers, and the answer is exact all the same.

use crate::stage::{Finished, Stage, eventually, kill};
use serde_json::Value;
use std::fs;

fn tried(faults: u64, seed: u64, more: &str) -> Finished {
    let args = format!("--procs 4 --range 0..2_000_000 --tasks 20_000 --chaos {faults},{seed} {more}");
    let (finished, _run) = Stage::new().with(&args).start().finish();
    finished.assert_exact(2_000_000);
    finished
}

fn assert_survives_all(method: &str, seed: u64) {
    let finished = tried(200, seed, &format!("--start-method {method}"));
    let done = finished.done();
    assert_eq!(
        (&done["faults"], &done["faults_wanted"], &done["seed"]),
        (&200.into(), &200.into(), &seed.into())
    );
    let told: Vec<&Value> = finished.story.iter().filter(|line| line["ev"] == "chaos").collect();
    assert_eq!(told.len(), 200, "each is told: {done}");
    for line in &told {
        let is_template = line["fault"].as_str().is_some_and(|fault| fault.starts_with("template"));
        assert_eq!(line["slot"].is_null(), is_template, "{line}");
        assert!(line["pid"].as_u64() > Some(0), "{line}");
    }
    let kinds = done["fault_kinds"].as_object().expect("counts by kind");
    for (kind, count) in kinds {
        let thrown = told.iter().filter(|line| line["fault"] == kind.as_str()).count() as u64;
        assert_eq!(count.as_u64(), Some(thrown), "{kind}");
    }
    assert_eq!(kinds.values().filter_map(Value::as_u64).sum::<u64>(), 200);
    assert!(done["restarts"].as_u64() >= Some(150), "{done}");
}

#[test]
fn two_hundred_seeded_faults_leave_the_sum_exact_under_fork() {
    assert_survives_all("fork", 7);
}

#[test]
fn two_hundred_seeded_faults_leave_the_sum_exact_under_spawn() {
    assert_survives_all("spawn", 8);
}

#[test]
fn every_schedule_survives_chaos() {
    for (schedule, seed) in [("static", 1), ("round-robin", 2), ("weighted", 3), ("stealing", 4)] {
        let finished = tried(60, seed, &format!("--schedule {schedule}"));
        assert!(finished.done()["faults"].as_u64() >= Some(40), "{}", finished.done());
    }
}

#[test]
fn when_the_tasks_run_out_first_the_summary_says_how_many_faults_were_thrown() {
    let finished = Stage::new().with("--procs 2 --range 0..1_000 --tasks 10 --chaos 500,7").run();
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(0), "499500\n"), "{}", finished.stderr);
    assert!(finished.stderr.contains(" of 500 faults (seed 7"), "{}", finished.stderr);
}

#[test]
fn a_run_under_chaos_tells_people_its_terms_and_its_summary_and_not_every_death() {
    let stage = Stage::new().with("--procs 4 --range 0..1_000_000 --tasks 10_000");
    let finished = stage.env("SUPERVISOR_CHAOS", "50,7").run();
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(0), "499999500000\n"), "{}", finished.stderr);
    for words in [
        "Chaos 50 faults over the run, seed 7",
        "has 1_000 attempts",
        "sum exact · survived 50 faults (seed 7: ",
    ] {
        assert!(finished.stderr.contains(words), "{words}: {}", finished.stderr);
    }
    assert_eq!(finished.stderr.lines().count(), 4, "{}", finished.stderr);
}

/// Descriptors and threads of a process.
fn held_by(pid: u64) -> [usize; 2] {
    ["fd", "task"].map(|of| fs::read_dir(format!("/proc/{pid}/{of}")).map_or(0, Iterator::count))
}

#[test]
fn after_chaos_the_supervisor_has_the_descriptors_and_threads_of_one_that_was_spared() {
    let args = "--procs 4 --range 0..2_000_000 --tasks 20_000 --hold";
    let mut spared = Stage::new().with(args).start();
    spared.wait_for("all is settled", |line| line["ev"] == "holding");
    let mut tried = Stage::new().with(args).with("--chaos 200,9").start();
    tried.wait_for("all is settled", |line| line["ev"] == "holding");
    tried.wait_ready(4);
    // Both are looked at until they agree: a status that is being replaced is a descriptor more.
    eventually("as many of each", || (held_by(tried.pid()) == held_by(spared.pid())).then_some(()));
    for run in [spared, tried] {
        kill("INT", run.pid());
        run.finish().0.assert_exact(2_000_000);
    }
}

#[test]
fn a_task_longer_than_its_deadline_is_not_ended_while_it_gets_on() {
    let args = "--procs 2 --range 0..200_000_000 --tasks 2 --task-timeout 500ms --chaos 0,7";
    let (finished, _run) = Stage::new().with(args).start().finish();
    finished.assert_exact(200_000_000);
    assert_eq!((finished.count("task_timed_out"), &finished.done()["faults"]), (0, &0.into()));
}
