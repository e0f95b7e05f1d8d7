//! How a run ends.

use super::kit::{Bench, CRASH, deeds, orders, requeued, run, w};
use brigade_core::{Effect, Event, Life, Note, Now, Policy, Verdict};
use brigade_wire::Exit;

fn procs(procs: u32) -> Policy {
    Policy { procs, ..Policy::default() }
}

fn hold() -> Policy {
    Policy { hold: true, ..procs(1) }
}

#[test]
fn a_run_without_tasks_is_over_before_anyone_is_born() {
    let bench = Bench::new(0, procs(4));
    assert!(bench.core.is_finished());
    assert_eq!(bench.core.verdict(), Verdict::Complete);
}

#[test]
fn when_all_is_settled_the_ready_are_stopped_and_the_unborn_are_killed() {
    let mut bench = Bench::new(1, procs(3));
    bench.hello(w(0, 1));
    bench.hello(w(1, 1));
    let stops = [Effect::Stop(w(0, 1)), Effect::Stop(w(1, 1)), Effect::Kill(w(2, 1))];
    assert_eq!(orders(bench.done(w(0, 1), [0], 1)), stops);
    bench.gone(w(0, 1), Exit::DRAINED, None);
    bench.unborn(w(2, 1));
    assert!(!bench.core.is_finished());
    let effects = bench.gone(w(1, 1), Exit::DRAINED, None);
    assert!(matches!(effects[..], [Effect::Tell(Note::Exited { planned: true, .. })]), "{effects:?}");
    assert!(bench.core.is_finished());
    assert_eq!(bench.core.verdict(), Verdict::Complete);
}

#[test]
fn nobody_is_stopped_while_a_task_may_still_come_back() {
    let mut bench = Bench::ready(2, procs(2));
    assert_eq!(orders(bench.done(w(0, 1), [0], 1)), []);
    assert_eq!(
        orders(bench.gone(w(1, 1), CRASH, Some(1)))[1..],
        [Effect::Run { worker: w(0, 1), leases: vec![super::kit::lease(1, 2)] }]
    );
}

#[test]
fn who_does_not_stop_is_told_and_then_shot() {
    let mut bench = Bench::ready(1, procs(1));
    bench.done(w(0, 1), [0], 1);
    assert_eq!(bench.tick(), [Effect::Terminate(w(0, 1))]);
    assert_eq!(bench.now_ms(), 5_000);
    assert_eq!(bench.tick(), [Effect::Kill(w(0, 1))]);
    assert_eq!(bench.now_ms(), 10_000);
    assert_eq!(bench.core.next_deadline(), Some(Now::millis(15_000)), "its body is waited for");
    bench.gone(w(0, 1), Exit::Signal(9), None);
    assert_eq!((bench.core.verdict(), bench.tally().abandoned), (Verdict::Complete, 0));
}

#[test]
fn a_drain_lets_those_in_hand_finish_and_leaves_the_backlog() {
    let mut bench = Bench::new(10, procs(2));
    bench.hello(w(0, 1));
    assert_eq!(bench.on(Event::Drain), [Effect::Stop(w(0, 1)), Effect::Kill(w(1, 1))]);
    assert_eq!(bench.on(Event::Drain), []);
    assert_eq!(orders(bench.done(w(0, 1), [0], 1)), [], "no task starts any more");
    bench.gone(w(0, 1), Exit::DRAINED, None);
    bench.gone(w(1, 1), Exit::Signal(9), None);
    assert!(bench.core.is_finished());
    assert_eq!((bench.core.verdict(), bench.tally().backlog), (Verdict::Drained, 9));
}

#[test]
fn a_drain_that_finds_everything_settled_in_the_end_is_complete() {
    let mut bench = Bench::ready(1, procs(1));
    bench.on(Event::Drain);
    bench.done(w(0, 1), [0], 1);
    bench.gone(w(0, 1), Exit::DRAINED, None);
    assert_eq!(bench.core.verdict(), Verdict::Complete);
}

#[test]
fn a_task_that_a_drain_waited_for_in_vain_is_abandoned_and_not_blamed() {
    let mut bench = Bench::ready(2, procs(1));
    bench.on(Event::Drain);
    bench.tick();
    bench.tick();
    let effects = bench.gone(w(0, 1), Exit::Signal(9), Some(0));
    assert_eq!(effects[1], requeued(0, 1, false, w(0, 1)));
    assert_eq!((bench.tally().abandoned, bench.tally().backlog), (1, 2));
    assert_eq!(bench.core.verdict(), Verdict::Drained);
}

#[test]
fn a_task_that_a_stopped_worker_never_began_is_not_abandoned() {
    let mut bench = Bench::ready(2, procs(1));
    bench.on(Event::Drain);
    bench.tick();
    bench.tick();
    bench.gone(w(0, 1), Exit::Signal(9), None);
    assert_eq!((bench.tally().abandoned, bench.tally().backlog), (0, 2));
}

#[test]
fn who_dies_while_draining_is_not_replaced_and_its_task_goes_back() {
    let mut bench = Bench::ready(2, procs(1));
    bench.on(Event::Drain);
    assert_eq!(deeds(bench.gone(w(0, 1), CRASH, Some(0))), []);
    assert!(bench.core.is_finished());
    assert_eq!((bench.tally().abandoned, bench.tally().retried, bench.tally().backlog), (0, 1, 2));
}

#[test]
fn a_drain_overtakes_a_slot_that_waits() {
    let mut bench = Bench::new(1, procs(1));
    bench.gone(w(0, 1), CRASH, None);
    bench.gone(w(0, 2), CRASH, None);
    assert!(matches!(bench.core.slots().next().map(|view| view.life), Some(Life::Waiting { .. })));
    assert_eq!(bench.on(Event::Drain), []);
    assert!(bench.core.is_finished());
}

#[test]
fn whoever_is_to_be_terminated_is_told_at_once_and_shot_after_the_grace() {
    let mut bench = Bench::new(10, procs(2));
    bench.hello(w(0, 1));
    let told = [Effect::Stop(w(0, 1)), Effect::Kill(w(1, 1)), Effect::Terminate(w(0, 1))];
    assert_eq!(bench.on(Event::Terminate), told);
    assert_eq!(bench.on(Event::Terminate), [], "told once");
    assert_eq!(bench.tick(), [Effect::Kill(w(0, 1))]);
    assert_eq!(bench.now_ms(), 5_000);
    let effects = bench.gone(w(0, 1), Exit::Signal(15), Some(0));
    assert_eq!(effects[1], requeued(0, 1, false, w(0, 1)), "nobody is blamed");
    bench.gone(w(1, 1), Exit::Signal(9), None);
    assert!(bench.core.is_finished());
    assert_eq!((bench.core.verdict(), bench.tally().backlog), (Verdict::Drained, 10));
}

#[test]
fn who_drains_already_is_told_as_well_and_who_was_told_is_not_told_again() {
    let mut bench = Bench::ready(2, procs(1));
    bench.on(Event::Drain);
    assert_eq!(bench.on(Event::Terminate), [Effect::Terminate(w(0, 1))]);
    let mut bench = Bench::ready(2, procs(1));
    bench.on(Event::Drain);
    assert_eq!(bench.tick(), [Effect::Terminate(w(0, 1))]);
    assert_eq!(bench.on(Event::Terminate), []);
    assert_eq!(bench.done(w(0, 1), [0], 1).len(), 1, "what it says until it is dead counts");
}

#[test]
fn an_abort_shoots_everybody_at_once() {
    let mut bench = Bench::new(5, procs(2));
    bench.hello(w(0, 1));
    assert_eq!(bench.on(Event::Abort), [Effect::Kill(w(0, 1)), Effect::Kill(w(1, 1))]);
    assert_eq!(bench.on(Event::Abort), []);
    assert_eq!(bench.on(Event::Drain), []);
    bench.gone(w(0, 1), Exit::Signal(9), Some(0));
    bench.unborn(w(1, 1));
    assert!(bench.core.is_finished());
    assert_eq!((bench.core.verdict(), bench.tally().backlog), (Verdict::Aborted, 5));
}

#[test]
fn an_abort_overtakes_a_drain() {
    let mut bench = Bench::ready(5, procs(1));
    bench.on(Event::Drain);
    assert_eq!(bench.on(Event::Abort), [Effect::Kill(w(0, 1))]);
    bench.gone(w(0, 1), Exit::Signal(9), Some(0));
    assert_eq!((bench.core.verdict(), bench.tally().abandoned), (Verdict::Aborted, 0));
}

#[test]
fn a_held_run_says_so_once_and_keeps_its_workers() {
    let mut bench = Bench::ready(1, hold());
    let effects = bench.done(w(0, 1), [0], 1);
    assert_eq!(effects.last(), Some(&Effect::Tell(Note::Holding)));
    assert_eq!(bench.on(Event::Tick), []);
    assert_eq!(deeds(bench.gone(w(0, 1), CRASH, None)), [Effect::Spawn(w(0, 2))]);
}

#[test]
fn a_held_run_takes_more_tasks_and_ends_when_told_to_drain() {
    let mut bench = Bench::ready(0, hold());
    assert_eq!(bench.submit(1), [run(w(0, 1), [0])]);
    assert_eq!(bench.done(w(0, 1), [0], 1).last(), Some(&Effect::Tell(Note::Holding)));
    assert_eq!(bench.on(Event::Drain), [Effect::Stop(w(0, 1))]);
    bench.gone(w(0, 1), Exit::DRAINED, None);
    assert!(bench.core.is_finished());
    assert_eq!(bench.core.verdict(), Verdict::Complete);
}

#[test]
fn tasks_that_come_while_the_workers_leave_bring_new_workers() {
    let mut bench = Bench::ready(1, procs(1));
    bench.done(w(0, 1), [0], 1);
    assert_eq!(bench.submit(1), [], "it cannot be called back");
    assert_eq!(deeds(bench.gone(w(0, 1), Exit::DRAINED, None)), [Effect::Spawn(w(0, 2))]);
    assert_eq!(bench.tally().restarts, 0, "that was planned");
}

#[test]
fn tasks_that_come_after_the_end_bring_new_workers() {
    let mut bench = Bench::new(0, procs(2));
    assert!(bench.core.is_finished());
    assert_eq!(bench.submit(1), [w(0, 1), w(1, 1)].map(Effect::Spawn));
}

#[test]
fn a_death_at_the_end_is_not_held_against_anyone() {
    let mut bench = Bench::ready(1, procs(1));
    bench.done(w(0, 1), [0], 1);
    let exited = bench.gone(w(0, 1), Exit::CANNOT_RUN, Some(0));
    let note =
        Note::Exited { worker: w(0, 1), exit: Exit::CANNOT_RUN, planned: true, settled: 1, held: vec![] };
    assert_eq!(exited, [Effect::Tell(note)]);
    assert_eq!(bench.core.verdict(), Verdict::Complete);
}
