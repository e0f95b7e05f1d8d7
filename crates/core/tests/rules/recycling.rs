//! Workers that leave as planned, and others come in their place.

use super::kit::{Bench, CRASH, deeds, lent, ms, orders, requeued, run, w};
use brigade_core::{Effect, Event, GiveUp, Life, Note, Now, Policy, Recycle, Timeout, Verdict};
use brigade_wire::{Attempt, Exit, FailedAttempt, Mishap, Outcome, TaskId, WorkerId};

fn tasks(max: u64) -> Policy {
    Policy { tasks_per_worker_max: Some(max), ..Policy::default() }
}

fn age(millis: u64) -> Policy {
    Policy { age_max: Some(ms(millis)), ..Policy::default() }
}

fn recycling(worker: WorkerId, why: Recycle) -> [Effect; 2] {
    [Effect::Tell(Note::Recycling { worker, why }), Effect::Stop(worker)]
}

#[test]
fn a_worker_gets_no_more_tasks_than_it_may_have_and_is_told_with_the_last() {
    let mut bench = Bench::ready(100, tasks(5));
    let effects = bench.done(w(0, 1), [0], 1);
    assert_eq!(effects[1], run(w(0, 1), 1..=4));
    assert_eq!(effects[2..], recycling(w(0, 1), Recycle::Tasks));
    assert_eq!(orders(bench.done(w(0, 1), 1..=4, 1)), [], "nothing more");
    assert_eq!(deeds(bench.gone(w(0, 1), Exit::DRAINED, None)), [Effect::Spawn(w(0, 2))]);
    assert_eq!(bench.tally().restarts, 0, "that was planned");
    assert_eq!(lent(&bench.hello(w(0, 2)))[0], 5);
}

#[test]
fn a_worker_for_one_task_each_is_recycled_as_soon_as_it_has_it() {
    let mut bench = Bench::ready(20, tasks(1));
    for incarnation in 1..=20 {
        bench.done(w(0, incarnation), [u64::from(incarnation) - 1], 1);
        let effects = bench.gone(w(0, incarnation), Exit::DRAINED, None);
        if incarnation < 20 {
            assert_eq!(deeds(effects), [Effect::Spawn(w(0, incarnation + 1))], "at once, however often");
            bench.hello(w(0, incarnation + 1));
        }
    }
    assert_eq!((bench.core.verdict(), bench.tally().values), (Verdict::Complete, 20));
}

#[test]
fn who_is_recycled_has_all_the_time_for_what_it_has_in_hand_and_then_the_grace() {
    let mut bench = Bench::ready(3, tasks(1));
    assert!(!bench.core.is_pressed());
    bench.at(3_600_000).done(w(0, 1), [0], 3_600_000_000);
    assert_eq!(bench.tick(), [Effect::Terminate(w(0, 1))]);
    assert_eq!(bench.tick(), [Effect::Kill(w(0, 1))]);
    assert_eq!(deeds(bench.gone(w(0, 1), Exit::Signal(9), None)), [Effect::Spawn(w(0, 2))]);
    assert_eq!((bench.tally().restarts, bench.tally().abandoned), (0, 0));
}

#[test]
fn a_drain_hurries_those_who_are_being_recycled() {
    let mut bench = Bench::ready(3, tasks(1));
    assert_eq!(bench.on(Event::Drain), [], "it was told to stop before");
    assert_eq!(bench.tick(), [Effect::Terminate(w(0, 1))]);
    assert_eq!(bench.now_ms(), 5_000);
}

#[test]
fn who_is_recycled_is_held_to_the_deadline_of_its_task() {
    let policy = Policy { task_timeout: Some(Timeout::After(ms(1_000))), ..tasks(1) };
    let mut bench = Bench::ready(3, policy);
    assert_eq!(bench.tick(), [Effect::Look(w(0, 1))]);
    assert_eq!(orders(bench.seen(w(0, 1), 0, 0)), [Effect::Abort { worker: w(0, 1), task: TaskId(0) }]);
}

#[test]
fn workers_that_die_of_their_only_task_are_a_crash_loop_and_not_recycled() {
    let mut bench = Bench::ready(100, tasks(1));
    for incarnation in 1..=6 {
        let effects = bench.gone(w(0, incarnation), CRASH, None);
        if incarnation < 6 {
            if !effects.contains(&Effect::Spawn(w(0, incarnation + 1))) {
                bench.tick();
            }
            bench.hello(w(0, incarnation + 1));
        }
    }
    assert!(matches!(bench.core.verdict(), Verdict::GaveUp(GiveUp::Intensity { deaths: 6, .. })));
}

#[test]
fn a_worker_is_recycled_at_its_age_a_tenth_more_or_less() {
    let mut bench = Bench::ready(10, Policy { stuck_after: ms(3_600_000), ..age(10_000) });
    let effects = bench.tick();
    assert_eq!(effects, recycling(w(0, 1), Recycle::Age));
    assert!((9_000..=11_000).contains(&bench.now_ms()), "{} ms", bench.now_ms());
    assert!(!bench.core.is_pressed(), "it has a task in hand");
}

#[test]
fn workers_that_were_born_together_do_not_leave_together() {
    let mut bench = Bench::ready(1_000, Policy { procs: 8, ..age(10_000) });
    let mut moments = Vec::new();
    for _ in 0..8 {
        bench.tick();
        moments.push(bench.now_ms());
    }
    moments.dedup();
    assert_eq!(moments.len(), 8);
    let mut bench = Bench::ready(100_000, Policy { procs: 8, ..tasks(1_000) });
    let mut told = Vec::new();
    for slot in 0..8 {
        bench.gone(w(slot, 1), CRASH, None);
        bench.hello(w(slot, 2));
        let incarnation = 2;
        let mut had = 0;
        while bench.core.slots().nth(slot as usize).is_some_and(|view| view.life == Life::Ready) {
            let held = bench.held(w(slot, incarnation));
            had += held.len();
            bench.ended(w(slot, incarnation), held, 2_500);
        }
        told.push(had);
    }
    assert!(told.iter().all(|had| (899..1_100).contains(had)), "{told:?}");
    told.sort_unstable();
    told.dedup();
    assert!(told.len() > 4, "{told:?}");
}

#[test]
fn the_age_does_not_count_what_the_loop_slept() {
    let mut bench = Bench::ready(10, age(10_000));
    let before = bench.core.next_deadline().expect("it grows older");
    bench.at(5_000).on(Event::Overslept(ms(4_000)));
    assert_eq!(bench.core.next_deadline(), Some(before + ms(4_000)));
}

#[test]
fn who_is_too_fat_between_two_tasks_is_recycled() {
    let mut bench = Bench::ready(0, Policy { hold: true, ..Policy::default() });
    let fat = Event::Bloated { worker: w(0, 1), running: false };
    assert_eq!(bench.on(fat.clone()), recycling(w(0, 1), Recycle::Memory));
    assert_eq!(bench.on(fat), [], "once is enough");
    assert_eq!(deeds(bench.gone(w(0, 1), Exit::DRAINED, None)), [Effect::Spawn(w(0, 2))]);
    assert_eq!(bench.tally().restarts, 0);
}

#[test]
fn who_is_too_fat_while_it_runs_something_is_killed_and_the_task_is_blamed() {
    let mut bench = Bench::ready(2, Policy { attempts_max: 2, ..Policy::default() });
    let fat = Event::Bloated { worker: w(0, 1), running: true };
    assert_eq!(bench.on(fat.clone()), [Effect::Tell(Note::Bloated(w(0, 1))), Effect::Kill(w(0, 1))]);
    assert_eq!(bench.on(fat), []);
    assert_eq!(bench.gone(w(0, 1), Exit::Signal(9), Some(0))[1], requeued(0, 2, true, w(0, 1)));
    bench.hello(w(0, 2));
    bench.on(Event::Bloated { worker: w(0, 2), running: true });
    let effects = bench.gone(w(0, 2), Exit::Signal(9), Some(0));
    let tried = |n: u32| FailedAttempt { attempt: Attempt(n), worker: w(0, n), end: Mishap::OutOfMemory };
    let outcome = Outcome::Quarantined { attempts: vec![tried(1), tried(2)] };
    let word = Effect::Settle { task: TaskId(0), attempt: Attempt(2), worker: w(0, 2), outcome };
    assert!(effects.contains(&word), "{effects:?}");
}

#[test]
fn nobody_is_recycled_before_it_is_ready_or_after_it_is_told_to_stop() {
    let mut bench = Bench::new(1, Policy::default());
    let fat = |running| Event::Bloated { worker: w(0, 1), running };
    assert_eq!(bench.on(fat(true)), []);
    bench.hello(w(0, 1));
    bench.on(Event::Drain);
    assert_eq!(bench.on(fat(false)), []);
    assert_eq!(bench.core.next_deadline(), Some(Now::millis(5_000)));
    assert_eq!(orders(bench.on(fat(true))), [Effect::Kill(w(0, 1))]);
}
