//! Whatever befalls a worker, the answer is exact and the story is told.

use crate::stage::{Run, Stage, eventually, is_alive, kill, state};
use serde_json::{Value, json};
use std::collections::HashSet;

/// Sends `signals` to workers that are ready, one at a time, until `count` of them hit, and returns how many did.
/// The next victim is chosen when the story has moved on, so the run sets the pace.
fn harass(run: &mut Run, signals: &[&str], count: usize) -> usize {
    let mut dice = 0x9E37_79B9_7F4A_7C15_u64;
    let mut hit = HashSet::new();
    while hit.len() < count {
        let victims: Vec<u64> = eventually("a worker to harass, or the end", || {
            let alive: Vec<u64> = run.alive().into_iter().filter(|pid| !hit.contains(pid)).collect();
            let is_over = run.story().iter().any(|line| line["ev"] == "done");
            (is_over || !alive.is_empty()).then_some(alive)
        });
        if victims.is_empty() {
            break;
        }
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let victim = victims[(dice >> 33) as usize % victims.len()];
        kill(signals[(dice >> 50) as usize % signals.len()], victim);
        hit.insert(victim);
    }
    hit.len()
}

fn assert_survives(method: &str, signals: &[&str], more: &str) {
    let args = "--procs 4 --pace 2ms --range 0..2_000_000 --tasks 20_000 --max-attempts 50";
    let mut run = Stage::new().with(&format!("{args} --start-method {method} {more}")).start();
    run.wait_ready(4);
    let hit = harass(&mut run, signals, 200);
    let (finished, _run) = run.finish();
    finished.assert_exact(2_000_000);
    assert_eq!(hit, 200, "the run was over too early to be harassed");
    assert!(finished.done()["restarts"].as_u64() >= Some(150), "{}", finished.done());
}

#[test]
fn two_hundred_kills_segfaults_and_terms_leave_the_sum_exact_under_fork() {
    assert_survives("fork", &["KILL", "SEGV", "TERM"], "");
}

#[test]
fn two_hundred_kills_segfaults_and_terms_leave_the_sum_exact_under_spawn() {
    assert_survives("spawn", &["KILL", "SEGV", "TERM"], "");
}

#[test]
fn two_hundred_stopped_workers_are_replaced_after_their_deadline_under_fork() {
    assert_survives("fork", &["STOP"], "--task-timeout 200ms");
}

#[test]
fn two_hundred_stopped_workers_are_replaced_after_their_deadline_under_spawn() {
    assert_survives("spawn", &["STOP"], "--task-timeout 200ms");
}

#[test]
fn a_task_that_kills_every_worker_is_quarantined_after_three_attempts_and_costs_nobody_else() {
    for act in ["abort@5", "exit:0@5", "exit:3@5"] {
        let stage = Stage::new().stunt(act).with("--procs 2 --range 0..10 --tasks 10");
        let (finished, _run) = stage.start().finish();
        assert_eq!(finished.code, Some(101), "{act}: {}", finished.stderr);
        let done = finished.done();
        assert_eq!(
            (&done["settled"], &done["quarantined"], &done["lost"]),
            (&json!(10), &json!(1), &json!(0))
        );
        assert_eq!(done["total"], Value::Null, "an answer without a task would be a wrong one");
        let told = finished.story.iter().find(|line| line["ev"] == "task_quarantined").expect("it is told");
        let attempts: Vec<&Value> = told["attempts"].as_array().expect("a list").iter().collect();
        assert_eq!(attempts.len(), 3, "{told}");
        let blamed =
            finished.story.iter().filter(|line| line["ev"] == "task_requeued" && line["blamed"] == true);
        assert!(blamed.clone().all(|line| line["task"] == told["task"]), "somebody else was blamed");
        assert_eq!(blamed.count(), 2, "once between each two attempts");
    }
}

#[test]
fn a_task_that_kills_one_worker_is_tried_again() {
    let stage = Stage::new().stunt("abort@500").once().with("--procs 2 --range 0..1_000 --tasks 10");
    let (finished, _run) = stage.start().finish();
    finished.assert_exact(1_000);
    assert_eq!(finished.done()["retried"], 1);
    let exit = finished.story.iter().find(|line| line["ev"] == "worker_exit").expect("it is told");
    assert_eq!((&exit["exit"], &exit["task"]), (&json!({"signal": 6}), &json!(5)));
}

#[test]
fn a_panic_is_an_outcome_with_its_message_and_place_and_not_a_death() {
    let stage = Stage::new().stunt("panic@500").with("--procs 2 --range 0..1_000 --tasks 10");
    let (finished, _run) = stage.start().finish();
    assert_eq!(finished.code, Some(100), "{}", finished.stderr);
    let told = finished.story.iter().find(|line| line["ev"] == "task_failed").expect("it is told");
    let reason = told["reason"].as_str().expect("words");
    assert!(reason.contains("the stunt went wrong") && reason.contains("stunt.rs:"), "{reason}");
    assert_eq!(finished.count("worker_exit"), 2, "both workers lived to drain");
}

#[test]
fn a_task_that_returns_an_error_fails_in_its_own_words() {
    let finished = Stage::new().stunt("fail@500").with("--procs 2 --range 0..1_000 --tasks 10").run();
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(100), ""), "{}", finished.stderr);
    assert!(finished.stderr.contains("the stunt was refused"), "{}", finished.stderr);
}

#[test]
fn a_task_that_fails_once_is_tried_again_where_that_was_asked_for() {
    for act in ["fail@500", "panic@500"] {
        let stage = Stage::new().stunt(act).once().with("--procs 2 --range 0..1_000 --tasks 10 --retries 1");
        let (finished, _run) = stage.start().finish();
        finished.assert_exact(1_000);
        let told = finished.story.iter().find(|line| line["ev"] == "task_requeued" && line["failed"] == true);
        assert_eq!(told.expect("it is told")["attempt"], 2, "{act}");
        assert_eq!(finished.done()["restarts"], 0, "{act}: nobody died");
    }
    let stage = Stage::new().stunt("fail@500").with("--procs 2 --range 0..1_000 --tasks 10 --retries 4");
    let (finished, _run) = stage.start().finish();
    assert_eq!((finished.code, finished.count("task_requeued")), (Some(100), 4), "retries are counted");
}

#[test]
fn a_hanging_worker_is_asked_where_it_is_before_it_is_killed() {
    let stage = Stage::new()
        .stunt("hang@500")
        .once()
        .with("--procs 1 --range 0..1_000 --tasks 10 --task-timeout 100ms");
    let (finished, run) = stage.start().finish();
    finished.assert_exact(1_000);
    let told = finished.story.iter().find(|line| line["ev"] == "task_timed_out").expect("it is told");
    let log = run.log(told["pid"].as_u64().expect("a pid"));
    let told = log.split_once("asked by the supervisor where it is:\n").expect("it was asked").1;
    // Its own frames are in `stunt`, at some place.
    assert!(told.lines().filter(|line| line.contains("stunt(") && line.contains("+0x")).count() > 2, "{log}");
}

#[test]
fn a_deadline_may_follow_the_median() {
    let stage = Stage::new().stunt("hang@900").once();
    let stage = stage.with("--procs 2 --range 0..1_000 --tasks 100 --pace 2ms --task-timeout 1000%");
    let (finished, _run) = stage.start().finish();
    finished.assert_exact(1_000);
    assert_eq!(finished.count("task_timed_out"), 1);
}

#[test]
fn a_task_that_hangs_is_ended_at_its_deadline_and_tried_again() {
    for act in ["hang@500", "spin@500"] {
        let stage =
            Stage::new().stunt(act).once().with("--procs 2 --range 0..1_000 --tasks 10 --task-timeout 100ms");
        let (finished, _run) = stage.start().finish();
        finished.assert_exact(1_000);
        assert_eq!(finished.count("task_timed_out"), 1, "{act}");
    }
}

#[test]
fn a_worker_found_stopped_is_announced_and_goes_on_when_continued() {
    let mut run = Stage::new().with("--procs 2 --pace 5ms --range 0..1_000 --tasks 200").start();
    let victim = run.wait_ready(2)[0];
    kill("STOP", victim);
    run.wait_for("the stop is told", |line| line["ev"] == "worker_stopped" && line["pid"] == victim);
    kill("CONT", victim);
    run.wait_for("so is the going on", |line| line["ev"] == "worker_continued" && line["pid"] == victim);
    let (finished, _run) = run.finish();
    finished.assert_exact(1_000);
    assert_eq!(finished.done()["restarts"], 0, "nobody had to die");
}

#[test]
fn a_stopped_idle_worker_that_has_to_be_ended_by_force_leaves_exit_0() {
    let stage = Stage::new().with("--procs 2 --range 0..1_000 --tasks 10 --hold --grace 200ms");
    let mut run = stage.start();
    run.wait_for("all is settled", |line| line["ev"] == "holding");
    let victim = run.wait_ready(2)[0];
    kill("STOP", victim);
    eventually("it is stopped", || (state(victim) == Some('T')).then_some(()));
    kill("INT", run.pid());
    let (finished, _run) = run.finish();
    finished.assert_exact(1_000);
}

#[test]
fn killing_idle_workers_all_day_never_brings_a_held_run_down() {
    let mut run = Stage::new().with("--procs 2 --range 0..1_000 --tasks 10 --hold").start();
    run.wait_for("all is settled", |line| line["ev"] == "holding");
    for _ in 0..30 {
        let victim = run.wait_ready(2)[0];
        kill("KILL", victim);
        run.wait_for("the death is told", |line| line["ev"] == "worker_exit" && line["pid"] == victim);
    }
    run.wait_ready(2);
    kill("TERM", run.pid());
    let (finished, _run) = run.finish();
    finished.assert_exact(1_000);
    assert_eq!(finished.done()["restarts"], 30);
}

#[test]
fn a_worker_that_dies_at_birth_again_and_again_ends_the_run_with_the_cause() {
    let stage = Stage::new().stunt("").env("STUNT_EXIT_AT_BIRTH", "3");
    let finished = stage.with("--procs 1 --range 0..10 --start-method spawn --max-restarts 2/10s").run();
    assert_eq!(finished.code, Some(102), "{}", finished.stderr);
    assert!(finished.stderr.contains("exit code 3"), "{}", finished.stderr);
    assert!(finished.stderr.contains("no room at the inn"), "the last words: {}", finished.stderr);
    assert_eq!(finished.stdout, "");
}

#[test]
fn a_worker_that_says_it_cannot_run_is_not_started_again() {
    let stage = Stage::new().stunt("").env("STUNT_EXIT_AT_BIRTH", "78");
    let (finished, _run) = stage.with("--procs 1 --range 0..10 --start-method spawn").start().finish();
    assert_eq!(finished.code, Some(102), "{}", finished.stderr);
    assert_eq!(finished.count("worker_start"), 1);
}

#[test]
fn what_a_dead_worker_had_started_in_its_group_dies_too() {
    let stage = Stage::new().stunt("child@500").with("--procs 1 --range 0..1_000 --tasks 10 --hold");
    let mut run = stage.start();
    run.wait_for("all is settled", |line| line["ev"] == "holding");
    let worker = run.wait_ready(1)[0];
    let grandchild = eventually("the grandchild is named", || left_behind(&run.log(worker)));
    assert!(is_alive(grandchild));
    kill("KILL", worker);
    eventually("the grandchild is gone", || (!is_alive(grandchild)).then_some(()));
    kill("INT", run.pid());
    run.finish().0.assert_exact(1_000);
}

/// The pid that the stunt named in its log.
pub(crate) fn left_behind(log: &str) -> Option<u64> {
    log.lines().find_map(|line| line.strip_prefix("left pid ")?.parse().ok())
}
