//! A run outlives its supervisor: nothing that was settled is lost, done again or counted twice.

use crate::stage::{Finished, Run, Stage, eventually, kill};
use serde_json::Value;
use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};

/// Begins a run called `r`, and kills its supervisor once that many tasks are settled.
fn killed_after(stage: Stage, settled: u64) -> Stage {
    let mut run = stage.start();
    run.wait_ready(1);
    eventually("so many tasks are settled", || {
        let status = fs::read(run.stage.dir().join("s/latest/status.json")).ok()?;
        let status: Value = serde_json::from_slice(&status).ok()?;
        (status["tally"]["settled"].as_u64()? >= settled).then_some(())
    });
    run.murder()
}

/// What had been told as settled before the death.
fn told(stage: &Stage) -> u64 {
    let status = fs::read(stage.dir().join("s/runs/r/status.json")).expect("a status");
    let status: Value = serde_json::from_slice(&status).expect("a status");
    status["tally"]["settled"].as_u64().expect("a number")
}

fn recalled(finished: &Finished) -> u64 {
    finished.story[0]["settled"].as_u64().expect("a number")
}

/// Tasks that the workers of this supervisor settled.
fn done_here(finished: &Finished) -> u64 {
    let exits = finished.story.iter().filter(|line| line["ev"] == "worker_exit");
    exits.filter_map(|line| line["settled"].as_u64()).sum()
}

fn resumed(stage: Stage, args: &str) -> (Finished, Run) {
    stage.anew(&format!("resume {args}")).start().finish()
}

#[test]
fn a_run_whose_supervisor_was_killed_is_gone_on_with_and_exact() {
    for method in ["fork", "spawn"] {
        let args =
            format!("--run r --procs 2 --pace 1ms --range 0..100_000 --tasks 1_000 --start-method {method}");
        let stage = killed_after(Stage::new().with(&args), 200);
        let told = told(&stage);
        let (finished, _run) = resumed(stage, "last --procs 3");
        finished.assert_exact(100_000);
        let recalled = recalled(&finished);
        assert!(recalled >= told, "{method}: {told} were told, {recalled} are known");
        assert_eq!(done_here(&finished), 1_000 - recalled, "{method}: something was done again");
        assert_eq!(finished.done()["tasks"], 1_000);
    }
}

#[test]
fn a_run_killed_again_and_again_comes_to_its_exact_end() {
    let mut stage = Stage::new().with("--run r --procs 2 --pace 1ms --range 0..10_000 --tasks 5_000");
    let mut known = 0;
    for _ in 0..4 {
        stage = killed_after(stage, known + 30).anew("resume r --procs 2 --pace 1ms");
        known = told(&stage);
    }
    let (finished, _run) = stage.start().finish();
    finished.assert_exact(10_000);
    assert!(recalled(&finished) >= known);
    assert_eq!(done_here(&finished), 5_000 - recalled(&finished));
}

#[test]
fn a_drained_run_is_gone_on_with() {
    let mut run = Stage::new().with("--run r --procs 2 --pace 5ms --range 0..1_000 --tasks 200").start();
    run.wait_ready(2);
    kill("INT", run.pid());
    let (finished, run) = run.finish();
    assert_eq!(finished.code, Some(130));
    let (finished, _run) = resumed(run.leave(), "r");
    finished.assert_exact(1_000);
}

#[test]
fn a_run_that_is_over_tells_its_total_again_and_does_nothing() {
    let (_, run) = Stage::new().with("--run r --procs 2 --range 0..1_000 --tasks 10").start().finish();
    let (finished, run) = resumed(run.leave(), "r");
    finished.assert_exact(1_000);
    assert_eq!((recalled(&finished), finished.count("worker_start")), (10, 0));
    let told = run.leave().ask("resume r");
    assert_eq!((told.code, &*told.stdout), (Some(0), "499500\n"));
    assert!(
        told.stderr.contains("nothing is left to do") && !told.stderr.contains("worker"),
        "{}",
        told.stderr
    );
}

#[test]
fn attempts_carry_over_and_a_poisonous_task_is_quarantined_after_three_in_all() {
    let stage = Stage::new().stunt("abort@9").with("--run r --procs 1 --pace 20ms --range 0..10 --tasks 10");
    let mut run = stage.start();
    run.wait_for("the first attempt is spent", |line| {
        line["ev"] == "task_requeued" && line["blamed"] == true
    });
    let stage = run.murder().anew("resume r --procs 1 --pace 20ms").stunt("abort@9");
    let (finished, _run) = stage.start().finish();
    assert_eq!(finished.code, Some(101), "{}", finished.stderr);
    let told = finished.story.iter().find(|line| line["ev"] == "task_quarantined").expect("it is told");
    let attempts: Vec<u64> = told["attempts"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|one| one["attempt"].as_u64())
        .collect();
    assert_eq!(attempts, [1, 2, 3]);
    let blamed = |line: &&Value| line["ev"] == "task_requeued" && line["blamed"] == true;
    assert!(finished.story.iter().filter(blamed).count() <= 1, "two attempts were left, or one");
}

#[test]
fn other_work_is_refused_and_the_run_is_left_as_it_was() {
    let stage =
        killed_after(Stage::new().with("--run r --procs 2 --pace 1ms --range 0..10_000 --tasks 400"), 50);
    let refused = stage.ask("resume r --range 0..20_000 --tasks 400");
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("of another run") && refused.stderr.lines().count() == 1,
        "{}",
        refused.stderr
    );
    resumed(stage, "r").0.assert_exact(10_000);
}

#[test]
fn a_torn_tail_is_cut_off_and_damage_in_the_middle_is_refused_with_its_place() {
    let stage =
        killed_after(Stage::new().with("--run r --procs 2 --pace 1ms --range 0..10_000 --tasks 400"), 100);
    let journal = stage.dir().join("s/runs/r/journal");
    let whole = fs::read(&journal).expect("a journal");
    let mut file = OpenOptions::new().read(true).write(true).open(&journal).expect("a journal");
    file.seek(SeekFrom::Start(whole.len() as u64 / 2)).expect("half way");
    file.write_all(&[whole[whole.len() / 2] ^ 0x10]).expect("one byte");
    let refused = stage.ask("resume r");
    assert_eq!(refused.code, Some(104), "{}", refused.stderr);
    assert!(refused.stderr.contains("damaged at byte"), "{}", refused.stderr);
    fs::write(&journal, [&whole[..], &[7, 0, 0, 0, 1, 2]].concat()).expect("a torn record");
    let (finished, _run) = resumed(stage, "r");
    finished.assert_exact(10_000);
    assert_eq!(finished.count("warning"), 1, "the cut is told");
}

#[test]
fn a_run_without_a_journal_cannot_be_resumed_and_says_so() {
    let stage = Stage::new().with("--run r --procs 1 --range 0..10 --no-journal");
    assert_eq!(stage.run().code, Some(0));
    let refused = stage.ask("resume r");
    assert_eq!((refused.code, refused.stderr.lines().count()), (Some(104), 1), "{}", refused.stderr);
}

#[test]
fn a_live_run_and_one_that_never_was_are_refused() {
    let mut run = Stage::new().with("--run r --procs 1 --range 0..10 --hold").start();
    run.wait_for("all is settled", |line| line["ev"] == "holding");
    let refused = run.stage.ask("resume r");
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("live"), "{}", refused.stderr);
    assert_eq!(run.stage.ask("resume never").code, Some(2));
    kill("INT", run.pid());
    run.finish().0.assert_exact(10);
}

#[test]
fn a_durable_run_is_exact_and_can_be_resumed_too() {
    let args = "--run r --procs 2 --pace 1ms --range 0..10_000 --tasks 200 --durable";
    let stage = killed_after(Stage::new().with(args), 50);
    let told = told(&stage);
    let (finished, _run) = resumed(stage, "r");
    finished.assert_exact(10_000);
    assert!(recalled(&finished) >= told);
}
