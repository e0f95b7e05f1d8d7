//! A run that goes on where an earlier supervisor left it.

use super::kit::{Bench, CRASH, lease, lent, orders, w};
use brigade_core::{Core, Effect, Event, Note, Now, Policy, Schedule, Verdict};
use brigade_wire::{Attempt, FailedAttempt, Mishap, Outcome, TaskId};
use std::ops::Range;
use std::time::Instant;

pub(crate) const SCHEDULES: [Schedule; 5] =
    [Schedule::Dynamic, Schedule::Static, Schedule::RoundRobin, Schedule::Weighted, Schedule::Stealing];

fn values(values: Vec<Range<u64>>) -> Event {
    Event::Recalled { splits: vec![], values, failed: vec![], quarantined: vec![], attempts: vec![] }
}

fn part(part: Range<u64>) -> Event {
    values(std::iter::once(part).collect())
}

/// Task k has these attempts behind it.
fn tried(task: u64, ends: impl IntoIterator<Item = Mishap>) -> Event {
    let end = |(at, end): (u32, Mishap)| FailedAttempt { attempt: Attempt(at), worker: w(7, 3), end };
    let story = (1..).zip(ends).map(end).collect();
    let attempts = vec![(TaskId(task), story)];
    Event::Recalled { splits: vec![], values: vec![], failed: vec![], quarantined: vec![], attempts }
}

/// Started with so many tasks after it was told this; nobody has spoken yet.
fn resumed(tasks: u64, recalled: Event, policy: Policy) -> (Bench, Vec<Effect>) {
    let mut bench = Bench::idle(policy);
    bench.submit(tasks);
    let effects = bench.on(recalled);
    bench.start();
    (bench, effects)
}

#[test]
fn what_was_settled_before_is_neither_done_nor_told_again() {
    let (failed, quarantined) = (vec![TaskId(0)], vec![TaskId(5), TaskId(1)]);
    let event =
        Event::Recalled { splits: vec![], values: vec![6..8, 2..4], failed, quarantined, attempts: vec![] };
    let (mut bench, effects) = resumed(10, event, Policy::default());
    assert_eq!(effects, []);
    let tally = bench.tally();
    assert_eq!((tally.values, tally.failed, tally.quarantined, tally.recalled), (4, 1, 2, 7));
    assert_eq!((tally.backlog, tally.settled), (3, 7));
    assert_eq!(lent(&bench.hello(w(0, 1))), [4]);
    assert_eq!(lent(&bench.done(w(0, 1), [4], 1)), [8, 9]);
    bench.done(w(0, 1), [8, 9], 1);
    assert_eq!(bench.core.verdict(), Verdict::Complete);
}

#[test]
fn a_run_of_which_all_is_settled_is_over_before_anyone_is_born() {
    let (bench, _) = resumed(10, part(0..10), Policy::default());
    assert!(bench.core.is_finished());
    assert_eq!(bench.core.verdict(), Verdict::Complete);
}

#[test]
fn attempts_go_on_where_they_were_and_are_the_first_to_be_lent() {
    let (mut bench, _) = resumed(3, tried(2, [Mishap::TimedOut, Mishap::TimedOut]), Policy::default());
    let effects = bench.hello(w(0, 1));
    assert_eq!(effects.last(), Some(&Effect::Run { worker: w(0, 1), leases: vec![lease(2, 3)] }));
    let effects = bench.gone(w(0, 1), CRASH, Some(2));
    let attempts = match &effects[1] {
        Effect::Settle { outcome: Outcome::Quarantined { attempts }, .. } => attempts.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!(attempts, 3, "the deaths before count");
}

#[test]
fn failures_before_count_towards_the_retries() {
    let policy = Policy { retries: 1, ..Policy::default() };
    let (mut bench, _) = resumed(1, tried(0, [Mishap::Failed("no".to_owned())]), policy);
    bench.hello(w(0, 1));
    bench.failed(w(0, 1), lease(0, 2));
    assert_eq!((bench.tally().failed, bench.tally().retried), (1, 0));
}

#[test]
fn a_task_that_has_spent_its_attempts_without_a_final_word_is_tried_once_more() {
    let (mut bench, _) = resumed(1, tried(0, vec![Mishap::TimedOut; 5]), Policy::default());
    bench.hello(w(0, 1));
    bench.gone(w(0, 1), CRASH, Some(0));
    assert_eq!(bench.tally().quarantined, 1);
}

#[test]
fn what_names_no_task_of_the_run_is_ignored_and_told() {
    let event = Event::Recalled {
        splits: vec![(TaskId(7), TaskId(4)), (TaskId(2), TaskId(5))],
        values: vec![3..6, 0..2, 1..3, u64::MAX - 1..u64::MAX],
        failed: vec![TaskId(1), TaskId(u64::MAX)],
        quarantined: vec![TaskId(4)],
        attempts: vec![(TaskId(0), tried_once()), (TaskId(9), tried_once()), (TaskId(3), vec![])],
    };
    let (bench, effects) = resumed(4, event, Policy::default());
    assert_eq!(effects, [Effect::Tell(Note::Unrecalled { tasks: 11 })]);
    assert_eq!((bench.tally().values, bench.tally().recalled, bench.tally().submitted), (4, 4, 4));
}

fn tried_once() -> Vec<FailedAttempt> {
    vec![FailedAttempt { attempt: Attempt(1), worker: w(0, 1), end: Mishap::TimedOut }]
}

#[test]
fn slots_keep_their_own_tasks_whatever_is_recalled() {
    for (schedule, next) in [(Schedule::Static, &[4][..]), (Schedule::RoundRobin, &[])] {
        let policy = Policy { schedule, procs: 2, ..Policy::default() };
        let (mut bench, _) = resumed(6, values(vec![1..3, 5..6]), policy);
        assert_eq!(lent(&bench.hello(w(0, 1))), [0], "{schedule:?}");
        assert_eq!(lent(&bench.hello(w(1, 1))), [3], "{schedule:?}");
        assert_eq!(lent(&bench.done(w(1, 1), [3], 2_500)), next, "{schedule:?}");
    }
}

#[test]
fn half_a_million_scattered_tasks_are_recalled_in_no_time() {
    for schedule in SCHEDULES {
        let mut core = Core::new(Policy { schedule, procs: 4, ..Policy::default() });
        let (now, mut effects) = (Now::millis(0), Vec::new());
        core.on(Event::Submitted { count: 1_000_000, weights: vec![] }, now, &mut effects);
        let event = values((0..250_000).map(|at| at * 4..at * 4 + 2).collect());
        let began = Instant::now();
        core.on(event, now, &mut effects);
        println!("{schedule:?}: {:?}", began.elapsed());
        core.check();
        assert_eq!((core.tally().settled, core.tally().backlog), (500_000, 500_000), "{schedule:?}");
    }
}

#[test]
fn results_may_still_be_recalled_while_the_run_is_on() {
    let mut bench = Bench::ready(3, Policy::default());
    let effects = bench.on(part(0..2));
    assert_eq!(effects, [Effect::Tell(Note::Unrecalled { tasks: 1 })], "task 0 is lent");
    assert_eq!(lent(&bench.done(w(0, 1), [0], 1)), [2]);
    assert_eq!(orders(bench.done(w(0, 1), [2], 1)), [Effect::Stop(w(0, 1))]);
}
