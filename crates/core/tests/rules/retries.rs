//! Tasks that say themselves that they cannot be done, and are asked again.

use super::kit::{Bench, CRASH, deeds, lease, run, w};
use brigade_core::{Effect, Note, Policy, Verdict};
use brigade_wire::{Attempt, FailedAttempt, Mishap, Outcome, TaskId, WorkerId};

fn retries(retries: u32) -> Policy {
    Policy { retries, ..Policy::default() }
}

fn settled(worker: WorkerId, attempt: u32, outcome: Outcome) -> Effect {
    Effect::Settle { task: TaskId(0), attempt: Attempt(attempt), worker, outcome }
}

#[test]
fn a_failure_is_final_where_nobody_asked_for_retries() {
    let mut bench = Bench::ready(1, Policy::default());
    let effects = bench.failed(w(0, 1), lease(0, 1));
    assert_eq!(effects[0], settled(w(0, 1), 1, Outcome::Failed("no".to_owned())));
}

#[test]
fn a_task_that_fails_is_tried_again_before_all_others_and_then_that_is_its_word() {
    let mut bench = Bench::ready(2, retries(2));
    for attempt in 1..=2 {
        let again = Effect::Run { worker: w(0, 1), leases: vec![lease(0, attempt + 1)] };
        let effects = bench.failed(w(0, 1), lease(0, attempt));
        let (task, attempt, worker) = (TaskId(0), Attempt(attempt + 1), w(0, 1));
        let told = Effect::Tell(Note::Requeued { task, attempt, blamed: true, failed: true, worker });
        assert_eq!(effects, [told, again]);
    }
    let effects = bench.failed(w(0, 1), lease(0, 3));
    assert_eq!(effects, [settled(w(0, 1), 3, Outcome::Failed("no".to_owned())), run(w(0, 1), [1])]);
    assert_eq!((bench.tally().failed, bench.tally().retried), (1, 2));
}

#[test]
fn a_task_that_succeeds_at_the_second_try_has_a_value() {
    let mut bench = Bench::ready(1, retries(1));
    bench.failed(w(0, 1), lease(0, 1));
    bench.ended(w(0, 1), [lease(0, 2)], 1);
    assert_eq!((bench.tally().values, bench.tally().failed), (1, 0));
    assert_eq!(bench.core.verdict(), Verdict::Complete);
}

#[test]
fn what_one_worker_failed_at_another_may_try() {
    let mut bench = Bench::ready(1, Policy { procs: 2, ..retries(1) });
    let effects = deeds(bench.failed(w(0, 1), lease(0, 1)));
    assert_eq!(effects, [Effect::Run { worker: w(0, 1), leases: vec![lease(0, 2)] }]);
    assert_eq!(
        bench.gone(w(0, 1), CRASH, None).last(),
        Some(&Effect::Run { worker: w(1, 1), leases: vec![lease(0, 2)] })
    );
}

#[test]
fn deaths_and_failures_are_counted_apart_and_the_story_has_both() {
    let mut bench = Bench::ready(1, Policy { attempts_max: 2, ..retries(2) });
    bench.failed(w(0, 1), lease(0, 1));
    bench.gone(w(0, 1), CRASH, Some(0));
    bench.hello(w(0, 2));
    bench.failed(w(0, 2), lease(0, 3));
    let effects = bench.gone(w(0, 2), CRASH, Some(0));
    let failed = |attempt: u32, worker, end| FailedAttempt { attempt: Attempt(attempt), worker, end };
    let attempts = vec![
        failed(1, w(0, 1), Mishap::Failed("no".to_owned())),
        failed(2, w(0, 1), Mishap::Crashed(CRASH)),
        failed(3, w(0, 2), Mishap::Failed("no".to_owned())),
        failed(4, w(0, 2), Mishap::Crashed(CRASH)),
    ];
    assert!(effects.contains(&settled(w(0, 2), 4, Outcome::Quarantined { attempts })), "{effects:?}");
}

#[test]
fn a_worker_whose_tasks_fail_is_in_good_health() {
    let mut bench = Bench::ready(20, retries(100));
    for incarnation in 1..=20 {
        bench.failed(w(0, incarnation), lease(0, 2 * incarnation - 1));
        let effects = deeds(bench.gone(w(0, incarnation), CRASH, None));
        assert_eq!(effects, [Effect::Spawn(w(0, incarnation + 1))], "no wait");
        bench.hello(w(0, incarnation + 1));
        bench.failed(w(0, incarnation + 1), lease(0, 2 * incarnation));
    }
}

#[test]
fn every_attempt_that_came_to_nothing_is_to_be_remembered_but_the_last() {
    let mut bench = Bench::ready(1, Policy { attempts_max: 2, ..retries(1) });
    bench.failed(w(0, 1), lease(0, 1));
    bench.gone(w(0, 1), CRASH, Some(0));
    let spent: Vec<(u64, u32, bool)> =
        bench.spent.iter().map(|(task, failed)| (task.0, failed.attempt.0, failed.end.is_death())).collect();
    assert_eq!(spent, [(0, 1, false), (0, 2, true)]);
    bench.hello(w(0, 2));
    bench.gone(w(0, 2), CRASH, Some(0));
    assert_eq!(bench.spent.len(), 2, "the last is in the final word's story");
}
