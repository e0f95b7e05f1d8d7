//! Which deaths count, how long a slot waits, and when a run gives up.

use super::kit::{Bench, CRASH, deeds, ms, orders, w};
use brigade_core::{Effect, GiveUp, Intensity, Life, Note, Policy, Verdict};
use brigade_wire::{Exit, SlotId};
use std::time::Duration;

fn one() -> Policy {
    Policy::default()
}

/// Lets the wait of the slot pass, if there is one.
fn until_spawned(bench: &mut Bench, effects: Vec<Effect>, next: u32) {
    let effects = if effects.contains(&Effect::Spawn(w(0, next))) { effects } else { bench.tick() };
    assert!(effects.contains(&Effect::Spawn(w(0, next))), "{effects:?}");
}

#[test]
fn a_person_who_kills_idle_workers_all_day_does_not_end_the_run() {
    let mut bench = Bench::ready(1, Policy { hold: true, ..one() });
    bench.done(w(0, 1), [0], 1);
    for incarnation in 1..=1_000 {
        let effects = bench.at(u64::from(incarnation) * 20).gone(w(0, incarnation), Exit::Signal(9), None);
        assert_eq!(deeds(effects), [Effect::Spawn(w(0, incarnation + 1))]);
        bench.hello(w(0, incarnation + 1));
    }
    assert_eq!(bench.tally().restarts, 1_000);
}

#[test]
fn an_idle_worker_that_cannot_live_is_not_born_again_as_fast_as_the_machine_can() {
    for exit in [CRASH, Exit::DRAINED, Exit::RECYCLE] {
        let mut bench = Bench::ready(0, Policy { hold: true, ..one() });
        for incarnation in 1..=100 {
            let before = bench.now_ms();
            let effects = bench.gone(w(0, incarnation), exit, None);
            assert!(matches!(effects[1], Effect::Tell(Note::BackingOff { .. })), "{effects:?}");
            assert_eq!(bench.tick(), [Effect::Spawn(w(0, incarnation + 1))]);
            assert_eq!(bench.now_ms() - before, 100, "never longer: it does not count");
            bench.hello(w(0, incarnation + 1));
        }
        assert!(!bench.core.is_finished());
    }
}

#[test]
fn a_young_worker_is_replaced_at_once_where_work_waits_for_it() {
    let mut bench = Bench::ready(1, Policy { procs: 2, ..one() });
    let effects = bench.gone(w(1, 1), CRASH, None);
    assert_eq!(deeds(effects), [], "the only task is in another's hand");
    let mut bench = Bench::ready(3, Policy { procs: 2, ..one() });
    bench.unsent(w(1, 1), [1]);
    let effects = bench.gone(w(1, 1), CRASH, None);
    assert_eq!(deeds(effects), [Effect::Spawn(w(1, 2))]);
}

#[test]
fn a_run_that_gives_up_ends_its_workers_in_the_reverse_order_of_their_birth() {
    let mut bench = Bench::ready(100, Policy { procs: 4, ..one() });
    bench.gone(w(1, 1), CRASH, None);
    let effects = bench.gone(w(3, 1), Exit::CANNOT_RUN, None);
    let last = [w(1, 2), w(2, 1), w(0, 1)].map(Effect::Kill);
    assert_eq!(orders(effects), last);
}

#[test]
fn a_person_who_kills_workers_after_some_progress_does_not_end_the_run() {
    let mut bench = Bench::ready(1_001, one());
    for incarnation in 1..=1_000 {
        bench.done(w(0, incarnation), [u64::from(incarnation) - 1], 2_500);
        let effects = bench.gone(w(0, incarnation), Exit::Signal(9), None);
        assert_eq!(orders(effects), [Effect::Spawn(w(0, incarnation + 1))]);
        bench.hello(w(0, incarnation + 1));
    }
}

#[test]
fn deaths_before_ready_are_restarted_at_once_then_later_and_later_then_never() {
    let mut bench = Bench::new(1, one());
    assert_eq!(deeds(bench.gone(w(0, 1), CRASH, None)), [Effect::Spawn(w(0, 2))]);
    for (incarnation, base) in [(2, 100), (3, 200), (4, 400), (5, 800)] {
        let before = bench.now_ms();
        let effects = bench.gone(w(0, incarnation), CRASH, None);
        assert!(matches!(effects[1], Effect::Tell(Note::BackingOff { slot: SlotId(0), .. })), "{effects:?}");
        assert!(matches!(bench.core.slots().next().map(|view| view.life), Some(Life::Waiting { .. })));
        assert_eq!(bench.tick(), [Effect::Spawn(w(0, incarnation + 1))]);
        let waited = bench.now_ms() - before;
        assert!((base * 3 / 4..=base * 5 / 4).contains(&waited), "{waited} ms instead of {base}");
    }
    let cause = GiveUp::Intensity { slot: SlotId(0), deaths: 6, exit: Some(CRASH) };
    assert_eq!(bench.gone(w(0, 6), CRASH, None)[1..], [Effect::Tell(Note::GaveUp(cause.clone()))]);
    assert!(bench.core.is_finished());
    assert_eq!(bench.core.verdict(), Verdict::GaveUp(cause));
}

#[test]
fn a_worker_that_could_not_be_born_counts_as_dead_before_ready() {
    let mut bench =
        Bench::new(1, Policy { intensity: Intensity { restarts: 1, within: ms(1_000) }, ..one() });
    let effects = bench.unborn(w(0, 1));
    assert!(matches!(effects[0], Effect::Tell(Note::NotBorn { .. })));
    assert_eq!(effects[1..], [Effect::Spawn(w(0, 2))]);
    bench.unborn(w(0, 2));
    let cause = GiveUp::Intensity { slot: SlotId(0), deaths: 2, exit: None };
    assert_eq!(bench.core.verdict(), Verdict::GaveUp(cause));
    assert_eq!(bench.tally().restarts, 0, "nobody died");
}

#[test]
fn deaths_with_work_in_hand_and_nothing_done_since_birth_count() {
    let mut bench = Bench::ready(100, Policy { attempts_max: 100, ..one() });
    for incarnation in 1..=6 {
        let effects = bench.gone(w(0, incarnation), CRASH, Some(0));
        if incarnation < 6 {
            until_spawned(&mut bench, effects, incarnation + 1);
            bench.hello(w(0, incarnation + 1));
        }
    }
    assert!(matches!(bench.core.verdict(), Verdict::GaveUp(GiveUp::Intensity { deaths: 6, .. })));
}

#[test]
fn deaths_that_lie_far_enough_apart_are_borne() {
    let mut bench = Bench::new(1, one());
    for incarnation in 1..=100 {
        bench.at(u64::from(incarnation) * 20_000);
        let effects = bench.gone(w(0, incarnation), CRASH, None);
        until_spawned(&mut bench, effects, incarnation + 1);
    }
}

#[test]
fn poisonous_tasks_in_a_row_do_not_look_like_a_crash_loop() {
    let mut bench = Bench::ready(20, one());
    for incarnation in 1..=60 {
        let running = bench.tally().settled;
        let effects = bench.gone(w(0, incarnation), CRASH, Some(running));
        if incarnation < 60 {
            until_spawned(&mut bench, effects, incarnation + 1);
            bench.hello(w(0, incarnation + 1));
        }
    }
    assert_eq!(bench.tally().quarantined, 20);
    assert_eq!(bench.core.verdict(), Verdict::Complete);
}

#[test]
fn health_for_long_enough_forgives_the_deaths_before_it() {
    let reset = Duration::from_secs(5);
    let mut policy = one();
    policy.backoff.reset = reset;
    policy.attempts_max = 100;
    let mut bench = Bench::ready(1, policy);
    for incarnation in 1..=20 {
        bench.at(u64::from(incarnation) * 5_000);
        let effects = bench.gone(w(0, incarnation), CRASH, Some(0));
        assert_eq!(orders(effects), [Effect::Spawn(w(0, incarnation + 1))], "at once: it was healthy");
        bench.hello(w(0, incarnation + 1));
    }
}

#[test]
fn a_worker_that_can_never_run_ends_the_run() {
    for ready in [false, true] {
        let mut bench = Bench::new(5, Policy { procs: 2, ..one() });
        bench.hello(w(1, 1));
        if ready {
            bench.hello(w(0, 1));
        }
        let effects = bench.gone(w(0, 1), Exit::CANNOT_RUN, None);
        assert_eq!(deeds(effects), [Effect::Kill(w(1, 1))]);
        bench.gone(w(1, 1), Exit::Signal(9), Some(1));
        assert!(bench.core.is_finished());
        assert_eq!(bench.core.verdict(), Verdict::GaveUp(GiveUp::CannotRun(w(0, 1))));
        assert_eq!((bench.tally().backlog, bench.tally().retried), (5, 0), "we shot it: nobody is blamed");
    }
}

#[test]
fn a_worker_that_asks_to_be_tried_again_always_waits() {
    let mut bench = Bench::new(1, one());
    assert_eq!(deeds(bench.gone(w(0, 1), Exit::TRY_AGAIN, None)), []);
    assert_eq!(bench.tick(), [Effect::Spawn(w(0, 2))]);
    assert!(bench.now_ms() >= 75);
}

#[test]
fn a_recycled_worker_is_replaced_at_once_and_it_was_planned() {
    let mut bench = Bench::ready(3, one());
    bench.done(w(0, 1), [0], 2_500);
    let effects = bench.gone(w(0, 1), Exit::RECYCLE, None);
    assert!(matches!(effects[0], Effect::Tell(Note::Exited { planned: true, settled: 1, .. })));
    assert_eq!(orders(effects), [Effect::Spawn(w(0, 2))]);
    assert_eq!(bench.tally().restarts, 0);
}

#[test]
fn a_worker_that_recycles_itself_with_work_in_hand_and_none_done_is_a_crash_loop() {
    let mut bench = Bench::ready(1, one());
    for incarnation in 1..=6 {
        let effects = bench.gone(w(0, incarnation), Exit::RECYCLE, None);
        if incarnation < 6 {
            until_spawned(&mut bench, effects, incarnation + 1);
            bench.hello(w(0, incarnation + 1));
        }
    }
    assert!(matches!(bench.core.verdict(), Verdict::GaveUp(GiveUp::Intensity { .. })));
}

#[test]
fn a_worker_that_does_not_say_hello_in_time_is_shot_and_replaced() {
    let mut bench = Bench::new(1, one());
    let effects = bench.tick();
    assert_eq!(bench.now_ms(), 10_000);
    assert!(matches!(effects[0], Effect::Tell(Note::NotBorn { .. })));
    assert_eq!(effects[1..], [Effect::Kill(w(0, 1))]);
    assert_eq!(bench.hello(w(0, 1)), [], "it spoke after we shot it");
    assert_eq!(deeds(bench.gone(w(0, 1), Exit::Signal(9), None)), [Effect::Spawn(w(0, 2))]);
}

#[test]
fn who_was_not_even_born_in_time_may_be_answered_as_unborn() {
    let mut bench = Bench::new(1, one());
    bench.tick();
    assert_eq!(bench.unborn(w(0, 1)), [Effect::Spawn(w(0, 2))], "it was told before");
}

#[test]
fn a_worker_of_another_build_ends_the_run() {
    let mut bench = Bench::new(1, one());
    let effects = bench.garbled(w(0, 1));
    let cause = GiveUp::Refused { worker: w(0, 1), reason: "noise".to_owned() };
    assert_eq!(effects, [Effect::Tell(Note::GaveUp(cause.clone())), Effect::Kill(w(0, 1))]);
    assert!(!bench.core.is_finished(), "its body is waited for");
    bench.gone(w(0, 1), Exit::Signal(9), None);
    assert!(bench.core.is_finished());
    assert_eq!(bench.core.verdict(), Verdict::GaveUp(cause));
}
