//! A task of many items that kills its workers: split until the bad item is alone, whatever else happens.

use crate::stage::{Finished, Stage, eventually};
use serde_json::{Value, json};

/// Of ten times ten thousand numbers, the sum without the bad one; and who died of what.
#[track_caller]
fn assert_only(finished: &Finished, bad: u64) {
    assert_eq!(finished.code, Some(101), "{}", finished.stderr);
    let told: Vec<&Value> = finished.story.iter().filter(|line| line["ev"] == "task_quarantined").collect();
    assert_eq!(told.len(), 1, "one number is bad: {told:?}");
    let digits = |n: u64| format!("{}_{:03}", n / 1_000, n % 1_000);
    let what = told[0]["what"].as_str().expect("words");
    assert!(what.ends_with(&format!("{}..{}", digits(bad), digits(bad + 1))), "{what}");
    assert_eq!(told[0]["attempts"].as_array().map(Vec::len), Some(3), "{}", told[0]);
    let done = finished.done();
    assert_eq!((&done["quarantined"], &done["failed"], &done["lost"]), (&json!(1), &json!(0), &json!(0)));
    assert_eq!(
        (&done["settled"], &done["missing"]),
        (&done["tasks"], &json!(0)),
        "all others brought values"
    );
    assert_eq!(done["total"], Value::Null, "an answer without a number would be a wrong one");
}

fn splits(story: &[Value]) -> Vec<&Value> {
    story.iter().filter(|line| line["ev"] == "task_split").collect()
}

#[test]
fn the_one_number_that_kills_is_found_among_ten_thousand_and_all_others_are_summed() {
    for (act, more) in [("abort@77777", ""), ("hang@77777", "--task-timeout 300ms")] {
        let stage = Stage::new().stunt(act).with("--run r --procs 2 --range 0..100_000 --tasks 10");
        let (finished, run) = stage.with(more).start().finish();
        assert_only(&finished, 77_777);
        let told = splits(&finished.story);
        assert!((13..=14).contains(&told.len()), "10,000 is halved 13 or 14 times: {}", told.len());
        assert_eq!(told[0]["task"], 7, "{}", told[0]);
        assert_eq!(told[0]["attempts"].as_array().map(Vec::len), Some(3), "a chunk has its attempts");
        assert!(told[1..].iter().all(|split| split["attempts"].as_array().map(Vec::len) == Some(1)));
        let bad = finished.story.iter().find(|line| line["ev"] == "task_quarantined").expect("it is told");
        let shown = run.stage.ask(&format!("quarantine show {}", bad["task"]));
        assert!(shown.stdout.contains("sum of 77_777..77_778"), "{}", shown.stdout);
    }
}

#[test]
fn a_chunk_whose_items_are_all_good_is_exact_in_parts() {
    let stage = Stage::new().stunt("abort@5000").once();
    let stage = stage.with("--procs 2 --range 0..10_000 --tasks 4 --max-attempts 1");
    let (finished, _run) = stage.start().finish();
    finished.assert_exact(10_000);
    assert_eq!(splits(&finished.story).len(), 1, "its only death was by chance");
}

#[test]
fn a_search_that_is_killed_in_its_middle_goes_on_where_it_was() {
    for after in [1, 6, 12] {
        let stage = Stage::new().stunt("abort@77777").with("--run r --procs 2 --range 0..100_000 --tasks 10");
        let run = stage.start();
        eventually("tasks are split", || (splits(&run.story()).len() >= after).then_some(()));
        let stage = run.murder().anew("resume r --procs 2").stunt("abort@77777");
        let (finished, _run) = stage.start().finish();
        assert_only(&finished, 77_777);
        assert!(splits(&finished.story).len() <= 14 - after, "what was split is not split again");
    }
}

#[test]
fn a_chunk_of_bad_numbers_is_judged_number_by_number_however_it_is_cut() {
    for tasks in [1, 2, 8] {
        let stage = Stage::new().stunt("abort@all").with("--procs 2 --range 0..8 --tasks");
        let (finished, _run) = stage.with(&tasks.to_string()).start().finish();
        assert_eq!(finished.code, Some(101), "{tasks}: {}", finished.stderr);
        assert_eq!(finished.done()["quarantined"], 8, "{tasks} tasks");
    }
}

#[test]
fn a_worker_of_which_every_number_kills_ends_the_run_and_not_the_machine() {
    let stage = Stage::new().stunt("abort@all").with("--procs 1 --range 0..1_000_000 --tasks 1");
    let (finished, _run) = stage.start().finish();
    assert_eq!(finished.code, Some(102), "{}", finished.stderr);
    assert!(finished.count("worker_exit") < 90, "{} workers died", finished.count("worker_exit"));
}
