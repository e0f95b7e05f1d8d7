//! The deadline of a task runs from its start, which only a look at the page tells.

use super::kit::{Bench, ms, orders, requeued, w};
use brigade_core::{Effect, Event, Life, Note, Now, Policy, Timeout};
use brigade_wire::{Attempt, Exit, FailedAttempt, Mishap, Outcome, TaskId};

fn second() -> Policy {
    Policy { task_timeout: Some(Timeout::After(ms(1_000))), abort_grace: ms(0), ..Policy::default() }
}

/// A worker that was asked to write where it hangs in task 0.
fn aborted() -> Bench {
    let mut bench = Bench::ready(2, Policy { abort_grace: ms(30), ..second() });
    bench.tick();
    let effects = bench.seen(w(0, 1), 0, 0);
    let late = Note::TimedOut { task: TaskId(0), worker: w(0, 1) };
    assert_eq!(effects, [Effect::Tell(late), Effect::Abort { worker: w(0, 1), task: TaskId(0) }]);
    bench
}

/// A worker that has ended so many tasks of 20 ms, of a policy that gives each three times the median.
fn paced(tasks: u64) -> Bench {
    let policy = Policy { task_timeout: Some(Timeout::OfMedian(300)), procs: 2, ..second() };
    let mut bench = Bench::ready(1_000, policy);
    bench.done(w(0, 1), [0], 20_000);
    for task in 2..=tasks {
        bench.done(w(0, 1), [task], 20_000);
    }
    bench
}

#[test]
fn where_tasks_may_take_for_ever_a_look_now_and_then_presses_nobody() {
    let mut bench = Bench::ready(1, Policy::default());
    for look in 1..100 {
        assert!(!bench.core.is_pressed());
        assert_eq!(bench.tick(), [Effect::Look(w(0, 1))]);
        assert_eq!(bench.now_ms(), look * 5_000);
        assert_eq!(bench.seen(w(0, 1), 0, 0), []);
    }
}

/// A worker whose words do not arrive: what it is lent it does, and nobody hears of it.
#[test]
fn who_holds_tasks_and_is_seen_idle_for_long_is_shot_and_nobody_is_blamed() {
    let mut bench = Bench::ready(2, Policy::default());
    bench.tick();
    assert_eq!(bench.seen_idle(w(0, 1)), [], "it may be between two tasks");
    assert!(bench.core.is_pressed(), "from now on the loop watches its own sleep");
    bench.tick();
    assert_eq!((bench.now_ms(), bench.seen_idle(w(0, 1))), (10_000, vec![]));
    bench.tick();
    let stuck = Effect::Tell(Note::Stuck(w(0, 1)));
    assert_eq!(bench.seen_idle(w(0, 1)), [stuck, Effect::Kill(w(0, 1))]);
    assert_eq!(bench.now_ms(), 10_010);
    assert_eq!(bench.gone(w(0, 1), Exit::Signal(9), None)[1], requeued(0, 1, false, w(0, 1)));
}

#[test]
fn who_is_heard_or_begins_something_is_not_stuck() {
    let mut bench = Bench::ready(100, Policy::default());
    for task in 0..9 {
        bench.tick();
        assert_eq!(bench.seen_idle(w(0, 1)), []);
        assert_eq!(orders(bench.done(w(0, 1), [task], 5_000_000)).len(), 1, "it is lent the next");
        assert!(!bench.core.is_pressed());
    }
    bench.tick();
    assert_eq!(bench.seen_idle(w(0, 1)), []);
    bench.tick();
    assert_eq!(bench.seen(w(0, 1), 9, bench.now_ms() as u64), []);
    assert!(!bench.core.is_pressed());
}

#[test]
fn who_is_stopped_is_not_stuck_and_has_all_the_time_again_when_it_goes_on() {
    let mut bench = Bench::ready(1, Policy::default());
    bench.tick();
    bench.seen_idle(w(0, 1));
    bench.on(Event::Stopped(w(0, 1)));
    for _ in 0..100 {
        bench.tick();
        assert_eq!(bench.seen_idle(w(0, 1)), []);
    }
    bench.on(Event::Continued(w(0, 1)));
    bench.tick();
    assert_eq!(bench.seen_idle(w(0, 1)), []);
    assert_eq!(bench.core.next_deadline(), Some(Now::millis(bench.now_ms() as u64 + 5_000)));
}

#[test]
fn a_long_deadline_does_not_put_off_the_look_at_who_runs_nothing() {
    let hour = Policy { task_timeout: Some(Timeout::After(ms(3_600_000))), ..second() };
    let mut bench = Bench::ready(1, hour);
    for _ in 0..2 {
        bench.tick();
        assert_eq!(bench.seen_idle(w(0, 1)), []);
    }
    bench.tick();
    assert_eq!((bench.now_ms(), orders(bench.seen_idle(w(0, 1)))), (10_010, vec![Effect::Kill(w(0, 1))]));
}

#[test]
fn time_that_the_loop_slept_makes_nobody_stuck() {
    let mut bench = Bench::ready(1, Policy::default());
    bench.tick();
    bench.seen_idle(w(0, 1));
    bench.at(605_000).on(Event::Overslept(ms(600_000)));
    assert_eq!(bench.seen_idle(w(0, 1)), []);
    assert_eq!(bench.core.next_deadline(), Some(Now::millis(610_000)));
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

#[test]
fn nobody_is_held_to_the_time_of_a_task_that_it_never_saw() {
    let mut bench = Bench::ready(100, second());
    bench.done(w(0, 1), [0], 1);
    assert_eq!(bench.core.next_deadline(), Some(Now::millis(1_000)));
    bench.at(500).unsent(w(0, 1), [9, 8]);
    assert_eq!(bench.core.next_deadline(), Some(Now::millis(1_000)), "the first of them arrived");
    bench.unsent(w(0, 1), [1]);
    assert_eq!(bench.core.next_deadline(), Some(Now::millis(1_500)));
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
    assert_eq!(orders(bench.seen_idle(w(0, 1))), [Effect::Kill(w(0, 1))]);
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

#[test]
fn who_dies_of_the_abort_is_blamed_as_timed_out() {
    let mut bench = aborted();
    let effects = bench.gone(w(0, 1), Exit::Signal(6), Some(0));
    assert_eq!(effects[1], requeued(0, 2, true, w(0, 1)));
    assert_eq!(bench.core.slots().next().map(|view| view.life), Some(Life::Starting));
}

#[test]
fn who_does_not_die_of_the_abort_is_shot_after_the_grace() {
    let mut bench = aborted();
    assert_eq!(bench.tick(), [Effect::Kill(w(0, 1))]);
    assert_eq!(bench.now_ms(), 1_030);
    assert_eq!(bench.core.next_deadline(), Some(Now::millis(6_030)), "its body is waited for");
    assert_eq!(bench.gone(w(0, 1), Exit::Signal(9), None)[1], requeued(0, 2, true, w(0, 1)));
}

#[test]
fn a_run_that_is_aborted_does_not_wait_for_anyone_to_write() {
    let mut bench = aborted();
    assert_eq!(bench.on(Event::Abort), [Effect::Kill(w(0, 1))]);
}

#[test]
fn a_result_that_overtakes_the_abort_counts() {
    let mut bench = aborted();
    bench.done(w(0, 1), [0], 1_000_000);
    bench.gone(w(0, 1), Exit::Signal(6), Some(0));
    assert_eq!((bench.tally().values, bench.tally().retried), (1, 0));
}

#[test]
fn a_stopped_worker_cannot_write_and_is_shot_at_once() {
    let mut bench = Bench::ready(1, Policy { abort_grace: ms(30), ..second() });
    bench.on(Event::Stopped(w(0, 1)));
    bench.tick();
    assert_eq!(orders(bench.seen(w(0, 1), 0, 0)), [Effect::Kill(w(0, 1))]);
}

#[test]
fn no_deadline_follows_the_median_before_five_lengths_are_known() {
    let bench = paced(4);
    assert_eq!((bench.core.task_timeout(), bench.core.is_pressed()), (None, false));
}

#[test]
fn when_the_median_is_known_whoever_runs_something_is_looked_at_at_once() {
    let mut bench = paced(5);
    assert_eq!(bench.core.task_timeout(), Some(ms(60)));
    bench.at(50);
    assert_eq!(bench.on(Event::Tick), [Effect::Look(w(1, 1))], "it may have run for long");
    assert_eq!(bench.seen(w(1, 1), 1, 1), []);
    assert_eq!(bench.core.next_deadline(), Some(Now::millis(60)), "the other one, lent at 0");
    bench.at(61);
    assert_eq!(orders(bench.seen(w(1, 1), 1, 1)), [Effect::Kill(w(1, 1))]);
}

#[test]
fn a_shorter_median_shortens_the_deadlines_that_run_and_never_below_ten_milliseconds() {
    let mut bench = paced(5);
    bench.on(Event::Tick);
    bench.seen(w(1, 1), 1, 0);
    assert_eq!(bench.core.next_deadline(), Some(Now::millis(60)));
    for task in 6..=11 {
        bench.done(w(0, 1), [task], 100);
    }
    assert_eq!(bench.core.task_timeout(), Some(ms(10)));
    assert_eq!(bench.core.next_deadline(), Some(Now::millis(10)));
}

#[test]
fn time_that_the_loop_slept_is_nobodys_fault() {
    let mut bench = Bench::ready(1, second());
    bench.at(600_500).on(Event::Overslept(ms(600_000)));
    assert_eq!(bench.core.next_deadline(), Some(Now::millis(601_000)));
    bench.tick();
    assert_eq!(bench.seen(w(0, 1), 0, 100), [], "it has run for 900 ms of its own");
    assert_eq!(bench.core.next_deadline(), Some(Now::millis(601_100)));
    bench.tick();
    assert_eq!(orders(bench.seen(w(0, 1), 0, 100)), [Effect::Kill(w(0, 1))]);
}

#[test]
fn a_task_that_began_after_the_loop_had_slept_is_not_excused() {
    let mut bench = Bench::ready(1, second());
    bench.at(500).on(Event::Overslept(ms(400)));
    assert_eq!(bench.at(1_599).seen(w(0, 1), 0, 600), []);
    assert_eq!(orders(bench.at(1_600).seen(w(0, 1), 0, 600)), [Effect::Kill(w(0, 1))]);
}

#[test]
fn births_graces_and_waits_shift_when_the_loop_has_slept() {
    let mut bench = Bench::new(1, second());
    bench.at(50_000).on(Event::Overslept(ms(50_000)));
    assert_eq!(bench.core.next_deadline(), Some(Now::millis(60_000)), "its birth");
    bench.hello(w(0, 1));
    bench.on(Event::Drain);
    bench.on(Event::Overslept(ms(50_000)));
    bench.seen(w(0, 1), 0, 50_000);
    bench.done(w(0, 1), [0], 1);
    assert_eq!(bench.core.next_deadline(), Some(Now::millis(105_000)), "its grace");
}
