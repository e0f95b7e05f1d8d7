//! The main job: the answer, alone on stdout, whatever the range and the schedule.

use crate::stage::Stage;

fn total(args: &str) -> (String, Option<i32>) {
    let finished = Stage::new().with(args).run();
    (finished.stdout, finished.code)
}

#[test]
fn stdout_carries_the_total_alone() {
    assert_eq!(total("--procs 4 --range 0..1_000_000"), ("499999500000\n".into(), Some(0)));
}

#[test]
fn the_sum_up_to_the_last_number_of_64_bits_does_not_overflow() {
    let range = "18446744073708551615..18446744073709551615";
    let sum = (18446744073708551615_u128..18446744073709551615).sum::<u128>();
    assert_eq!(total(&format!("--procs 2 --range {range} --tasks 7")), (format!("{sum}\n"), Some(0)));
}

#[test]
fn every_schedule_and_start_method_gives_the_same_answer() {
    for schedule in ["dynamic", "static", "round-robin", "weighted", "stealing"] {
        for method in ["fork", "spawn"] {
            let args = format!(
                "--procs 3 --range 5..200_005 --tasks 101 --schedule {schedule} --start-method {method}"
            );
            assert_eq!(total(&args), ("20000900000\n".into(), Some(0)), "{schedule}, {method}");
        }
    }
}

#[test]
fn more_workers_than_tasks_and_one_task_and_no_task_are_fine() {
    assert_eq!(total("--procs 5 --range 0..10 --tasks 2"), ("45\n".into(), Some(0)));
    assert_eq!(total("--procs 1 --range 7..8 --tasks 1"), ("7\n".into(), Some(0)));
    assert_eq!(total("--procs 2 --range 7..7"), ("0\n".into(), Some(0)));
}

#[test]
fn twenty_thousand_tiny_tasks_lose_nothing_on_the_way() {
    let (finished, _run) = Stage::new().with("--procs 4 --range 0..20_000 --tasks 20_000").start().finish();
    finished.assert_exact(20_000);
    assert_eq!(finished.done()["tasks"], 20_000);
}
