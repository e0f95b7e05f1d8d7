//! What nobody wants any more is not done, and nobody pays for that.

use super::kit::{Bench, CRASH, deeds, lease, lent, ms, orders, requeued, run, w};
use brigade_core::{Core, Effect, Event, Note, Now, Policy, Recycle, Timeout, Verdict};
use brigade_wire::{Exit, TaskId};
use std::time::Instant;

fn cancel(tasks: impl IntoIterator<Item = u64>) -> Event {
    Event::Cancel { tasks: tasks.into_iter().map(TaskId).collect(), lent: true }
}

fn cancelled(tasks: impl IntoIterator<Item = u64>) -> Effect {
    Effect::Cancelled(tasks.into_iter().map(TaskId).collect())
}

/// One worker that runs task 10 and holds 11 to 20, of a hundred; short tasks were done before.
fn ahead() -> Bench {
    let mut bench = Bench::ready(100, Policy::default());
    assert_eq!(lent(&bench.done(w(0, 1), [0], 200)), (1..=11).collect::<Vec<u64>>());
    assert_eq!(lent(&bench.done(w(0, 1), 1..=9, 200)), (12..=20).collect::<Vec<u64>>());
    bench
}

#[test]
fn what_waits_is_never_lent_and_its_word_is_said_once() {
    let mut bench = Bench::ready(5, Policy::default());
    assert_eq!(bench.on(cancel([3, 1, 1, 2, 99])), [cancelled([1, 2, 3])]);
    assert_eq!(bench.on(cancel([2])), []);
    assert_eq!(bench.tally().cancelled, 3);
    assert_eq!(lent(&bench.done(w(0, 1), [0], 1)), [4]);
    bench.done(w(0, 1), [4], 1);
    assert_eq!((bench.core.verdict(), bench.tally().values), (Verdict::Complete, 2));
}

#[test]
fn what_came_back_is_cancelled_with_the_attempts_behind_it() {
    let mut bench = Bench::new(2, Policy::default());
    bench.hello(w(0, 1));
    bench.gone(w(0, 1), CRASH, Some(0));
    assert_eq!(bench.on(cancel([0])), [cancelled([0])]);
    assert_eq!(lent(&bench.hello(w(0, 2))), [1]);
}

#[test]
fn whoever_runs_it_is_killed_and_replaced_at_once_and_nothing_counts() {
    let mut bench = Bench::ready(2, Policy::default());
    let effects = bench.on(cancel([0]));
    let note = Effect::Tell(Note::Recycling { worker: w(0, 1), why: Recycle::Cancel });
    assert_eq!(effects, [cancelled([0]), note, Effect::Stop(w(0, 1)), Effect::Recall(w(0, 1))]);
    let revoked = Effect::Tell(Note::Revoked { task: TaskId(0), worker: w(0, 1) });
    assert_eq!(bench.seen(w(0, 1), 0, 0), [revoked, Effect::Kill(w(0, 1))]);
    assert_eq!(deeds(bench.gone(w(0, 1), Exit::Signal(9), Some(0))), [Effect::Spawn(w(0, 2))]);
    let tally = bench.tally();
    assert_eq!((tally.cancelled, tally.restarts, tally.retried, tally.requeued), (1, 0, 0, 0));
    assert!(bench.spent.is_empty());
    assert_eq!(lent(&bench.hello(w(0, 2))), [1]);
}

#[test]
fn a_hundred_in_a_row_are_no_crash_loop() {
    let mut bench = Bench::ready(101, Policy::default());
    for task in 0..100 {
        let worker = w(0, task + 1);
        bench.on(cancel([u64::from(task)]));
        bench.seen(worker, task.into(), 0);
        assert_eq!(deeds(bench.gone(worker, Exit::Signal(9), None)), [Effect::Spawn(w(0, task + 2))]);
        bench.hello(w(0, task + 2));
    }
}

#[test]
fn what_is_lent_and_not_begun_goes_back_with_its_worker_and_the_others_are_not_blamed() {
    let mut bench = ahead();
    let effects = orders(bench.on(cancel(12..=15)));
    assert_eq!(effects, [cancelled(12..=15), Effect::Stop(w(0, 1)), Effect::Recall(w(0, 1))]);
    assert_eq!(bench.seen(w(0, 1), 10, 0), [], "what it runs is wanted");
    bench.done(w(0, 1), [10], 200);
    let effects = bench.gone(w(0, 1), Exit::RECYCLE, None);
    let back = [11, 16, 17, 18, 19, 20];
    for (effect, task) in effects[1..].iter().zip(back) {
        assert_eq!(*effect, requeued(task, 1, false, w(0, 1)));
    }
    assert_eq!(effects.last(), Some(&Effect::Spawn(w(0, 2))));
    assert_eq!(bench.tally().restarts, 0, "it was told to leave");
    assert_eq!(bench.hello(w(0, 2))[1], run(w(0, 2), back.into_iter().chain(21..=25)));
}

#[test]
fn a_worker_that_was_recalled_before_it_had_done_anything_is_no_failure_either() {
    let policy = Policy { retries: 1, ..Policy::default() };
    let mut bench = Bench::new(30, policy);
    bench.hello(w(0, 1));
    bench.done(w(0, 1), [0], 1);
    bench.gone(w(0, 1), CRASH, None);
    for incarnation in 2..20 {
        assert!(lent(&bench.hello(w(0, incarnation))).len() > 1);
        bench.on(cancel([u64::from(incarnation)]));
        bench.seen_idle(w(0, incarnation));
        let effects = deeds(bench.gone(w(0, incarnation), Exit::RECYCLE, None));
        assert_eq!(effects, [Effect::Spawn(w(0, incarnation + 1))]);
    }
}

#[test]
fn what_its_worker_says_of_it_later_is_no_lie_and_no_result() {
    let mut bench = Bench::ready(3, Policy::default());
    bench.on(cancel([0]));
    assert_eq!(bench.done(w(0, 1), [0], 1), []);
    assert_eq!((bench.tally().values, bench.tally().echoes), (0, 0));
    assert_eq!(orders(bench.done(w(0, 1), [0], 1)), [Effect::Kill(w(0, 1))], "once");
    assert_eq!(bench.tally().echoes, 1);
}

#[test]
fn only_what_waits_is_cancelled_if_that_is_what_is_asked() {
    let mut bench = Bench::ready(3, Policy::default());
    let tasks = (0..3).map(TaskId).collect();
    assert_eq!(bench.on(Event::Cancel { tasks, lent: false }), [cancelled([1, 2])]);
    bench.done(w(0, 1), [0], 1);
    assert_eq!((bench.core.verdict(), bench.tally().values), (Verdict::Complete, 1));
}

#[test]
fn a_task_that_is_late_and_cancelled_is_only_cancelled() {
    let mut bench = Bench::ready(
        1,
        Policy { attempts_max: 1, task_timeout: Some(Timeout::After(ms(500))), ..Policy::default() },
    );
    bench.at(1_000).seen(w(0, 1), 0, 0);
    assert_eq!(bench.on(cancel([0])), [cancelled([0])]);
    bench.gone(w(0, 1), Exit::Signal(6), Some(0));
    assert_eq!((bench.tally().quarantined, bench.tally().cancelled), (0, 1));
}

#[test]
fn nobody_is_blamed_for_madness_that_a_cancelled_task_may_have_caused() {
    let mut bench = Bench::ready(100, Policy { attempts_max: 1, ..Policy::default() });
    assert_eq!(lent(&bench.done(w(0, 1), [0], 900)), [1, 2, 3]);
    bench.on(cancel([1, 2]));
    bench.garbled(w(0, 1));
    bench.gone(w(0, 1), Exit::Signal(9), None);
    assert_eq!(bench.tally().quarantined, 0);
    assert_eq!(lent(&bench.hello(w(0, 2)))[0], 3);
}

#[test]
fn in_a_drain_those_in_hand_finish_and_only_what_is_cancelled_does_not() {
    let mut bench = ahead();
    bench.on(Event::Drain);
    assert_eq!(bench.on(cancel([10, 12])), [cancelled([10, 12]), Effect::Look(w(0, 1))]);
    assert_eq!(bench.seen(w(0, 1), 11, 0), []);
    assert_eq!(bench.done(w(0, 1), [11], 1).len(), 1);
    assert_eq!(bench.ended(w(0, 1), [lease(12, 1)], 1), []);
}

#[test]
fn a_run_of_which_all_is_cancelled_is_over() {
    let mut bench = Bench::idle(Policy::default());
    bench.submit(10);
    bench.on(cancel(0..10));
    bench.start();
    assert!(bench.core.is_finished());
    assert_eq!(bench.core.verdict(), Verdict::Complete);
}

#[test]
fn half_a_million_scattered_tasks_are_cancelled_in_no_time() {
    for schedule in super::recall::SCHEDULES {
        let mut core = Core::new(Policy { schedule, procs: 4, ..Policy::default() });
        let (now, mut effects) = (Now::millis(0), Vec::new());
        core.on(Event::Submitted { count: 1_000_000, weights: vec![] }, now, &mut effects);
        let began = Instant::now();
        core.on(cancel((0..500_000).map(|at| at * 2)), now, &mut effects);
        println!("{schedule:?}: {:?}", began.elapsed());
        core.check();
        assert_eq!((core.tally().cancelled, core.tally().backlog), (500_000, 500_000), "{schedule:?}");
    }
}
