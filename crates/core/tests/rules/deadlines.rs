//! The deadline of a task runs from its start, which only a look at the page tells.

use super::kit::{Bench, ms, orders, requeued, w};
use brigade_core::{Effect, Event, Note, Now, Policy};
use brigade_wire::{Attempt, Exit, FailedAttempt, Mishap, Outcome, TaskId};

fn second() -> Policy {
    Policy { task_timeout: Some(ms(1_000)), ..Policy::default() }
}

#[test]
fn nobody_looks_where_tasks_may_take_for_ever() {
    let bench = Bench::ready(1, Policy::default());
    assert_eq!(bench.core.next_deadline(), None);
}

#[test]
fn nobody_looks_at_a_worker_with_an_empty_hand() {
    let bench = Bench::ready(0, Policy { hold: true, ..second() });
    assert_eq!(bench.core.next_deadline(), None);
}

#[test]
fn a_worker_is_looked_at_when_its_task_could_have_had_its_time() {
    let mut bench = Bench::ready(1, second());
    assert_eq!(bench.tick(), [Effect::Look(w(0, 1))]);
    assert_eq!(bench.now_ms(), 1_000);
}

#[test]
fn an_answer_that_does_not_come_is_asked_for_again() {
    let mut bench = Bench::ready(1, second());
    bench.tick();
    assert_eq!(bench.tick(), [Effect::Look(w(0, 1))]);
    assert_eq!(bench.now_ms(), 1_010);
}

#[test]
fn the_time_counts_from_the_start_and_not_from_the_lease() {
    let mut bench = Bench::ready(1, second());
    bench.tick();
    assert_eq!(bench.seen(w(0, 1), 0, 700), []);
    assert_eq!(bench.core.next_deadline(), Some(Now::millis(1_700)));
    bench.tick();
    let late = Note::TimedOut { task: TaskId(0), worker: w(0, 1) };
    assert_eq!(bench.seen(w(0, 1), 0, 700), [Effect::Tell(late), Effect::Kill(w(0, 1))]);
}

#[test]
fn every_result_starts_the_clock_again() {
    let mut bench = Bench::ready(3, second());
    bench.at(900).done(w(0, 1), [0], 2_500);
    assert_eq!(bench.core.next_deadline(), Some(Now::millis(1_900)));
}

/// A worker that was shot for task 0.
fn timed_out() -> Bench {
    let mut bench = Bench::ready(2, second());
    bench.tick();
    bench.seen(w(0, 1), 0, 0);
    bench
}

#[test]
fn a_task_that_ran_past_its_deadline_is_blamed_whatever_the_page_says_at_the_end() {
    for running in [Some(0), None, Some(1)] {
        let mut bench = timed_out();
        let effects = bench.gone(w(0, 1), Exit::Signal(9), running);
        assert_eq!(effects[1], requeued(0, 2, true, w(0, 1)), "{running:?}");
    }
}

#[test]
fn a_result_that_overtakes_the_kill_counts_and_nobody_is_blamed() {
    let mut bench = timed_out();
    bench.done(w(0, 1), [0], 1_000_000);
    bench.gone(w(0, 1), Exit::Signal(9), Some(1));
    assert_eq!((bench.tally().values, bench.tally().retried), (1, 0));
}

#[test]
fn a_quarantined_task_remembers_that_it_timed_out() {
    let mut bench = Bench::ready(1, Policy { attempts_max: 1, ..second() });
    bench.tick();
    bench.seen(w(0, 1), 0, 0);
    let effects = bench.gone(w(0, 1), Exit::Signal(9), Some(0));
    let attempts = vec![FailedAttempt { attempt: Attempt(1), worker: w(0, 1), end: Mishap::TimedOut }];
    let outcome = Outcome::Quarantined { attempts };
    let word = Effect::Settle { task: TaskId(0), attempt: Attempt(1), worker: w(0, 1), outcome };
    assert!(effects.contains(&word), "{effects:?}");
}

#[test]
fn a_worker_that_never_starts_what_it_holds_is_shot_and_nobody_is_blamed() {
    let mut bench = Bench::ready(1, second());
    bench.tick();
    assert_eq!(bench.seen_idle(w(0, 1)), [], "it may be between two tasks");
    bench.tick();
    assert_eq!(bench.seen_idle(w(0, 1)), [Effect::Kill(w(0, 1))]);
    assert_eq!(bench.gone(w(0, 1), Exit::Signal(9), Some(0))[1], requeued(0, 1, false, w(0, 1)));
}

#[test]
fn a_look_that_nobody_asked_for_shoots_nobody() {
    let mut bench = Bench::ready(1, second());
    for millis in 1..999 {
        assert_eq!(bench.at(millis).seen_idle(w(0, 1)), []);
    }
    bench.at(999);
    assert_eq!(bench.seen(w(0, 1), 0, 0), []);
}

#[test]
fn a_draining_worker_is_held_to_the_deadline_as_well() {
    let mut bench = Bench::ready(1, second());
    bench.on(Event::Drain);
    assert_eq!(bench.tick(), [Effect::Look(w(0, 1))]);
    assert_eq!(orders(bench.seen(w(0, 1), 0, 0)), [Effect::Kill(w(0, 1))]);
    bench.gone(w(0, 1), Exit::Signal(9), Some(0));
    assert_eq!((bench.tally().backlog, bench.tally().abandoned), (1, 0), "its deadline, not the drain's");
}

#[test]
fn a_stopped_worker_is_told_of_once() {
    let mut bench = Bench::ready(1, second());
    let (stopped, continued) = (Event::Stopped(w(0, 1)), Event::Continued(w(0, 1)));
    assert_eq!(bench.on(continued.clone()), []);
    assert_eq!(bench.on(stopped.clone()), [Effect::Tell(Note::Stopped(w(0, 1)))]);
    assert_eq!(bench.on(stopped), []);
    assert_eq!(bench.on(continued), [Effect::Tell(Note::Continued(w(0, 1)))]);
}
