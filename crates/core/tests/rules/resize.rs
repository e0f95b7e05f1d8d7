//! More workers or fewer, while the run lasts.

use super::kit::{Bench, CRASH, lent, ms, orders, run, w};
use brigade_core::{Effect, Event, Life, Note, Policy, Recycle, Unresized, Verdict};
use brigade_wire::{Exit, SlotId};

fn procs(procs: u32) -> Policy {
    Policy { procs, slots_max: 6, ..Policy::default() }
}

fn resized(from: u32, to: u32) -> Effect {
    Effect::Tell(Note::Resized { from, to })
}

fn leaves(slot: u32) -> [Effect; 2] {
    let worker = w(slot, 1);
    [Effect::Tell(Note::Recycling { worker, why: Recycle::Resize }), Effect::Stop(worker)]
}

impl Bench {
    fn resize(&mut self, wanted: u32) -> Vec<Effect> {
        self.on(Event::Resize(wanted))
    }
}

#[test]
fn more_workers_are_born_in_new_slots_and_get_tasks() {
    let mut bench = Bench::ready(10, procs(2));
    let spawns = [Effect::Spawn(w(2, 1)), Effect::Spawn(w(3, 1))];
    assert_eq!(bench.resize(4), [&[resized(2, 4)], &spawns[..]].concat());
    assert_eq!(bench.hello(w(3, 1))[1], run(w(3, 1), [2]));
    assert_eq!(bench.core.procs(), 4);
}

#[test]
fn the_idle_leave_first_and_the_busy_finish_what_they_have() {
    let mut bench = Bench::ready(2, procs(3));
    assert_eq!(
        bench.resize(2),
        [&[resized(3, 2)], &leaves(2)[..]].concat(),
        "worker 2 is the one without a task"
    );
    assert_eq!(bench.resize(1), [&[resized(2, 1)], &leaves(1)[..]].concat());
    assert_eq!(bench.core.next_deadline().map(|at| at.0), Some(ms(5_000)), "only the idle one is pressed");
    assert_eq!(orders(bench.gone(w(2, 1), Exit::DRAINED, None)), [], "nobody takes its place");
    assert!(!bench.core.is_pressed(), "whoever has a task has all the time it takes");
    assert_eq!(orders(bench.done(w(1, 1), [1], 1)), []);
    let gone = bench.gone(w(1, 1), Exit::DRAINED, None);
    assert!(matches!(gone[..], [Effect::Tell(Note::Exited { planned: true, settled: 1, .. })]), "{gone:?}");
    bench.done(w(0, 1), [0], 1);
    bench.gone(w(0, 1), Exit::DRAINED, None);
    assert_eq!((bench.core.verdict(), bench.tally().retried), (Verdict::Complete, 0));
}

#[test]
fn a_death_in_a_slot_that_is_taken_away_is_held_against_its_task_and_not_replaced() {
    let policy = Policy { intensity: brigade_core::Intensity { restarts: 0, within: ms(9) }, ..procs(2) };
    let mut bench = Bench::ready(2, policy);
    bench.resize(1);
    let gone = bench.gone(w(1, 1), CRASH, Some(1));
    assert_eq!(orders(gone), [], "the run goes on, though one such death would be too many");
    assert_eq!((bench.tally().retried, bench.tally().backlog), (1, 1));
    assert_eq!(lent(&bench.done(w(0, 1), [0], 1)), [1]);
}

#[test]
fn slots_that_were_taken_away_are_opened_again_before_new_ones() {
    let mut bench = Bench::ready(9, procs(3));
    bench.resize(1);
    bench.gone(w(1, 1), Exit::DRAINED, None);
    let spawns = [Effect::Spawn(w(1, 2)), Effect::Spawn(w(3, 1))];
    assert_eq!(bench.resize(3), [&[resized(1, 3)], &spawns[..]].concat(), "in slot 2 somebody still works");
}

#[test]
fn where_no_number_is_left_a_slot_is_opened_as_soon_as_one_is_free() {
    let mut bench = Bench::ready(9, Policy { slots_max: 3, ..procs(3) });
    bench.resize(2);
    assert_eq!(bench.resize(3), [resized(2, 3)], "worker 2 has not left yet");
    bench.done(w(2, 1), [2], 9_000);
    assert_eq!(orders(bench.gone(w(2, 1), Exit::DRAINED, None)), [Effect::Spawn(w(2, 2))]);
}

#[test]
fn a_worker_that_is_not_ready_yet_is_not_waited_for() {
    let mut bench = Bench::new(9, procs(2));
    assert_eq!(bench.resize(1), [resized(2, 1), Effect::Kill(w(1, 1))]);
    assert_eq!(orders(bench.unborn(w(1, 1))), []);
    assert_eq!(bench.core.slots().nth(1).map(|view| (view.life, view.wanted)), Some((Life::Ended, false)));
}

#[test]
fn a_slot_that_waits_costs_least() {
    let mut bench = Bench::ready(9, procs(2));
    bench.gone(w(0, 1), CRASH, Some(0));
    bench.gone(w(0, 2), CRASH, None);
    assert!(matches!(bench.core.slots().next().map(|view| view.life), Some(Life::Waiting { .. })));
    assert_eq!(bench.resize(1), [resized(2, 1)]);
    assert_eq!(bench.core.slots().next().map(|view| view.life), Some(Life::Ended));
}

#[test]
fn what_waits_for_a_slot_that_is_taken_away_goes_to_the_others() {
    for schedule in super::recall::SCHEDULES.into_iter().skip(1) {
        let mut bench = Bench::ready(6, Policy { schedule, ..procs(2) });
        let held = bench.held(w(1, 1))[0].task.0;
        bench.resize(1);
        bench.done(w(1, 1), [held], 9_000);
        bench.gone(w(1, 1), Exit::DRAINED, None);
        let mut rest = 0;
        while let Some(lease) = bench.held(w(0, 1)).pop() {
            bench.ended(w(0, 1), [lease], 9_000);
            rest += 1;
        }
        assert_eq!((rest, bench.core.verdict()), (5, Verdict::Complete), "{schedule:?}");
    }
}

#[test]
fn a_new_slot_takes_its_part_of_what_waits_under_every_schedule() {
    for schedule in super::recall::SCHEDULES.into_iter().skip(1) {
        let mut bench = Bench::ready(2, Policy { schedule, ..procs(1) });
        bench.resize(2);
        assert_eq!(lent(&bench.hello(w(1, 1))), [1], "{schedule:?}: the one that waited for worker 0");
    }
}

#[test]
fn what_cannot_be_is_told_and_changes_nothing() {
    let mut bench = Bench::ready(9, procs(2));
    let refused = |wanted, why| [Effect::Tell(Note::NotResized { wanted, why })];
    assert_eq!(bench.resize(0), refused(0, Unresized::TooFew));
    assert_eq!(bench.resize(7), refused(7, Unresized::TooMany { most: 6 }));
    assert_eq!(bench.resize(2), [], "as many as there are");
    bench.on(Event::Drain);
    assert_eq!(bench.resize(3), refused(3, Unresized::Ending));
    assert_eq!(bench.core.procs(), 2);
}

#[test]
fn a_held_run_is_resized_like_any_other() {
    let mut bench = Bench::ready(0, Policy { hold: true, ..procs(2) });
    assert_eq!(bench.resize(3)[1], Effect::Spawn(w(2, 1)));
    bench.hello(w(2, 1));
    assert_eq!(bench.resize(2)[1..], leaves(2));
    assert_eq!(orders(bench.gone(w(2, 1), Exit::DRAINED, None)), []);
    assert_eq!(bench.core.slots().map(|view| view.slot).collect::<Vec<_>>(), [0, 1, 2].map(SlotId));
}
