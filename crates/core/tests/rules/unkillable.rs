//! Workers that do not die of SIGKILL: nobody waits for them for ever.

use super::kit::{Bench, deeds, lease, lent, ms, orders, requeued, w};
use brigade_core::{Effect, Event, GiveUp, Life, Note, Policy, Timeout, Verdict};
use brigade_wire::{Exit, SlotId, WorkerId};

fn policy(procs: u32) -> Policy {
    let task_timeout = Some(Timeout::After(ms(1_000)));
    Policy {
        procs,
        slots_max: procs + 1,
        task_timeout,
        abort_grace: ms(0),
        kill_grace: ms(700),
        ..Policy::default()
    }
}

fn unkillable(worker: WorkerId) -> Effect {
    Effect::Tell(Note::Unkillable(worker))
}

/// Worker 0 has outgrown its memory while it ran task 0, was shot for it at 100 ms, and does not die.
fn held(procs: u32, tasks: u64) -> Bench {
    let mut bench = Bench::ready(tasks, policy(procs));
    (0..procs).for_each(|slot| _ = bench.on(Event::Born(w(slot, 1))));
    bench.at(100);
    let bloated = Event::Bloated { worker: w(0, 1), running: true };
    assert_eq!(orders(bench.on(bloated)), [Effect::Kill(w(0, 1))]);
    bench
}

fn lives(bench: &Bench) -> Vec<Life> {
    bench.core.slots().map(|view| view.life).collect()
}

#[test]
fn whoever_survives_sigkill_is_given_up_after_the_grace_and_replaced_in_another_slot() {
    let mut bench = held(1, 2);
    let lost = bench.tick();
    assert_eq!(bench.now_ms(), 800);
    assert_eq!(lost[..2], [unkillable(w(0, 1)), requeued(0, 1, false, w(0, 1))], "nobody is blamed");
    assert_eq!(deeds(lost), [Effect::Spawn(w(1, 1))]);
    assert_eq!(lives(&bench), [Life::Unkillable, Life::Starting]);
    assert_eq!(lent(&bench.hello(w(1, 1))), [0]);
}

#[test]
fn what_it_says_afterwards_is_an_echo() {
    let mut bench = Bench::ready(1, policy(1));
    bench.at(1_000).tick();
    assert_eq!(orders(bench.seen(w(0, 1), 0, 0)), [Effect::Kill(w(0, 1))]);
    bench.tick();
    bench.hello(w(1, 1));
    assert_eq!(bench.done(w(0, 1), [0], 1), []);
    assert_eq!((bench.tally().echoes, bench.tally().settled), (1, 0));
    bench.ended(w(1, 1), [lease(0, 2)], 1);
    assert_eq!((bench.tally().echoes, bench.tally().values), (1, 1), "exactly once");
}

#[test]
fn the_task_that_it_was_shot_for_has_spent_an_attempt() {
    let mut bench = Bench::ready(1, policy(1));
    bench.at(1_000).tick();
    bench.seen(w(0, 1), 0, 0);
    assert_eq!(bench.tick()[..2], [unkillable(w(0, 1)), requeued(0, 2, true, w(0, 1))]);
}

#[test]
fn a_body_that_is_found_late_frees_its_slot() {
    let mut bench = held(1, 2);
    bench.tick();
    bench.hello(w(1, 1));
    let gone = bench.gone(w(0, 1), Exit::Signal(9), Some(0));
    assert!(matches!(&gone[..], [Effect::Tell(Note::Exited { held, .. })] if held.is_empty()), "{gone:?}");
    assert_eq!(lives(&bench), [Life::Ended, Life::Ready]);
    bench.garbled(w(1, 1));
    assert_eq!(deeds(bench.tick()), [], "the second death that counts");
    assert_eq!(deeds(bench.tick()), [Effect::Spawn(w(0, 2))], "the number is used again");
}

#[test]
fn the_end_of_the_run_does_not_wait_for_it() {
    let mut bench = held(2, 2);
    bench.done(w(1, 1), [1], 1);
    bench.tick();
    assert_eq!(bench.held(w(1, 1)).pop(), Some(lease(0, 1)));
    bench.done(w(1, 1), [0], 1);
    bench.gone(w(1, 1), Exit::DRAINED, None);
    bench.unborn(w(2, 1));
    assert!(bench.core.is_finished());
    assert_eq!(bench.core.verdict(), Verdict::Complete);
}

#[test]
fn a_worker_that_is_held_while_the_run_ends_costs_one_grace_more() {
    let mut bench = Bench::ready(1, policy(1));
    bench.on(Event::Abort);
    assert!(!bench.core.is_finished());
    assert_eq!(bench.tick()[..1], [unkillable(w(0, 1))]);
    assert_eq!((bench.now_ms(), bench.core.is_finished()), (700, true));
    assert_eq!((bench.core.verdict(), bench.tally().backlog), (Verdict::Aborted, 1));
}

#[test]
fn the_deadline_of_a_body_shifts_when_the_loop_slept() {
    let mut bench = held(1, 1);
    bench.at(700).on(Event::Overslept(ms(500)));
    bench.tick();
    assert_eq!(bench.now_ms(), 1_300);
}

#[test]
fn who_is_not_born_yet_is_answered_for_and_has_no_such_deadline() {
    let mut bench = Bench::new(1, policy(1));
    assert_eq!(orders(bench.tick()), [Effect::Kill(w(0, 1))], "no hello in time");
    assert_eq!(bench.core.next_deadline(), None);
    bench.on(Event::Born(w(0, 1)));
    assert_eq!(bench.tick()[..1], [unkillable(w(0, 1))]);
    assert_eq!(bench.now_ms(), 10_700);
}

#[test]
fn where_every_slot_is_lost_the_run_gives_up() {
    let mut bench = held(1, 1);
    bench.tick();
    bench.hello(w(1, 1));
    bench.on(Event::Born(w(1, 1)));
    bench.garbled(w(1, 1));
    let last = bench.tick();
    let cause = GiveUp::Unkillable(w(1, 1));
    assert!(last.contains(&Effect::Tell(Note::GaveUp(cause.clone()))), "{last:?}");
    assert_eq!((bench.core.is_finished(), bench.core.verdict()), (true, Verdict::GaveUp(cause)));
}

#[test]
fn a_crash_loop_that_changes_slots_is_still_one() {
    let intensity = brigade_core::Intensity { restarts: 0, within: ms(10_000) };
    let mut bench = Bench::ready(1, Policy { intensity, ..policy(1) });
    bench.garbled(w(0, 1));
    let lost = bench.tick();
    let is_it = |effect: &Effect| {
        matches!(effect, Effect::Tell(Note::GaveUp(GiveUp::Intensity { slot: SlotId(1), deaths: 1, .. })))
    };
    assert!(lost.iter().any(is_it), "{lost:?}");
}
