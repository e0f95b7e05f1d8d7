//! Nobody waits behind a long task while somebody else has nothing to do.

use super::kit::{Bench, deeds, lent, ms, orders, requeued, run, w};
use brigade_core::{Effect, Event, Lookahead, Note, Now, Policy, Recycle, Running, Schedule};
use brigade_wire::{Exit, TaskId, WorkerId};

fn policy(procs: u32, schedule: Schedule) -> Policy {
    let lookahead = Lookahead { tasks: 8, back_after: ms(10), ..Policy::default().lookahead };
    Policy { procs, schedule, lookahead, hold: true, ..Policy::default() }
}

/// Worker 0 holds the tasks 2 to 7 since the beginning, and worker 1 has nothing to do.
fn uneven(policy: Policy) -> Bench {
    let mut bench = Bench::ready(12, policy);
    assert_eq!(orders(bench.done(w(0, 1), [0], 1)), [run(w(0, 1), 2..=7)]);
    assert_eq!(lent(&bench.done(w(1, 1), [1], 1)), [8, 9, 10]);
    assert_eq!(lent(&bench.done(w(1, 1), 8..=10, 1)), [11]);
    bench.done(w(1, 1), [11], 1);
    bench
}

/// It does all that it gets, until it gets no more.
fn exhaust(bench: &mut Bench, worker: WorkerId) {
    let mut held = bench.in_hand(worker);
    while !held.is_empty() {
        bench.done(worker, held, 1);
        held = bench.in_hand(worker);
    }
}

fn recalled(worker: WorkerId) -> [Effect; 3] {
    let note = Effect::Tell(Note::Recycling { worker, why: Recycle::TakeBack });
    [note, Effect::Stop(worker), Effect::Recall(worker)]
}

#[test]
fn what_waits_behind_a_long_task_goes_to_whoever_is_idle_and_its_worker_is_replaced() {
    let mut bench = uneven(policy(2, Schedule::Dynamic));
    assert_eq!(bench.tick(), [Effect::Look(w(0, 1))]);
    assert_eq!(bench.now_ms(), 10);
    assert_eq!(bench.seen(w(0, 1), 3, 0), recalled(w(0, 1)));
    let mut expected: Vec<_> = (4..=7).map(|task| requeued(task, 1, false, w(0, 1))).collect();
    expected.push(run(w(1, 1), [4]));
    assert_eq!(bench.seen_last(w(0, 1), 3, 0), expected, "one by one, now that a long one was seen");
    assert_eq!(orders(bench.done(w(0, 1), [2, 3], 20_000)), []);
    assert_eq!(deeds(bench.gone(w(0, 1), Exit::DRAINED, None)), [Effect::Spawn(w(0, 2))]);
    bench.done(w(1, 1), [4], 1);
    assert_eq!(lent(&bench.hello(w(0, 2))), [6]);
    let tally = bench.tally();
    assert_eq!((tally.restarts, tally.retried, tally.requeued, tally.echoes), (0, 0, 4, 0));
}

#[test]
fn what_is_stolen_by_schedule_is_taken_back_too_and_what_is_a_slots_own_is_not() {
    for schedule in [Schedule::Static, Schedule::RoundRobin, Schedule::Weighted, Schedule::Stealing] {
        let mut bench = Bench::ready(12, policy(2, schedule));
        let first = bench.in_hand(w(0, 1));
        bench.done(w(0, 1), first, 1);
        exhaust(&mut bench, w(1, 1));
        let runs = bench.in_hand(w(0, 1))[0];
        bench.tick();
        let is_recalled = bench.seen(w(0, 1), runs, 0) == recalled(w(0, 1));
        assert_eq!(is_recalled, schedule == Schedule::Stealing, "{schedule:?}");
        if is_recalled {
            assert!(!lent(&bench.seen_last(w(0, 1), runs, 0)).is_empty(), "{schedule:?}");
        }
    }
}

#[test]
fn a_page_that_names_a_task_just_begun_is_read_again_when_that_may_be_long() {
    let mut bench = uneven(policy(2, Schedule::Dynamic));
    bench.tick();
    assert_eq!(bench.seen(w(0, 1), 3, 9), []);
    assert_eq!(bench.tick(), [Effect::Look(w(0, 1))]);
    assert_eq!(bench.now_ms(), 19);
    assert_eq!(bench.seen_idle(w(0, 1)), []);
    assert_eq!((bench.tick().len(), bench.now_ms()), (1, 29));
}

#[test]
fn that_a_task_says_that_it_gets_on_makes_it_no_shorter() {
    let mut bench = uneven(policy(2, Schedule::Dynamic));
    bench.tick();
    let running =
        Running { task: TaskId(2), divisible: false, since: Now::millis(10), began: Now::millis(0) };
    let seen = Event::Seen { worker: w(0, 1), running: vec![running], recalled: false };
    assert_eq!(bench.on(seen), recalled(w(0, 1)));
}

#[test]
fn what_a_page_said_before_its_worker_was_recalled_takes_nothing_back() {
    let mut bench = uneven(policy(2, Schedule::Dynamic));
    bench.tick();
    bench.seen(w(0, 1), 2, 0);
    assert_eq!(bench.seen(w(0, 1), 2, 0), [], "nor is it recalled twice");
    assert_eq!(lent(&bench.seen_last(w(0, 1), 5, 0)), [6]);
}

#[test]
fn of_a_page_that_names_nothing_the_body_tells_what_was_not_begun() {
    let mut bench = uneven(policy(2, Schedule::Dynamic));
    bench.tick();
    bench.seen(w(0, 1), 2, 0);
    assert_eq!(bench.on(Event::Seen { worker: w(0, 1), running: vec![], recalled: true }), []);
    bench.done(w(0, 1), [2], 20_000);
    let effects = bench.gone(w(0, 1), Exit::RECYCLE, None);
    assert_eq!(lent(&effects), [3]);
    assert_eq!((bench.tally().restarts, bench.tally().retried), (0, 0));
}

#[test]
fn nobody_is_looked_at_while_all_are_busy_or_all_is_begun() {
    let mut bench = uneven(policy(2, Schedule::Dynamic));
    bench.submit(1);
    assert!(bench.core.next_deadline() > Some(Now::millis(1_000)), "worker 1 has something to do");
    bench.done(w(1, 1), [12], 1);
    bench.done(w(0, 1), 2..=6, 1);
    assert!(bench.core.next_deadline() > Some(Now::millis(1_000)), "nothing waits");
}

#[test]
fn no_more_are_recalled_than_have_nothing_to_do() {
    let mut bench = Bench::ready(18, policy(3, Schedule::Dynamic));
    for slot in 0..3 {
        bench.done(w(slot, 1), [u64::from(slot)], 1);
    }
    exhaust(&mut bench, w(2, 1));
    assert_eq!(bench.tick(), [Effect::Look(w(0, 1)), Effect::Look(w(1, 1))]);
    let (one, other) = (bench.in_hand(w(0, 1))[0], bench.in_hand(w(1, 1))[0]);
    assert_eq!(bench.seen(w(0, 1), one, 0), recalled(w(0, 1)));
    assert_eq!(bench.seen(w(1, 1), other, 0), []);
    assert!(!lent(&bench.seen_last(w(0, 1), one, 0)).is_empty());
}

#[test]
fn it_is_never_sooner_than_its_worker_took_to_be_born() {
    let mut bench = Bench::new(12, policy(2, Schedule::Dynamic));
    bench.at(40).hello(w(0, 1));
    bench.hello(w(1, 1));
    bench.done(w(0, 1), [0], 1);
    exhaust(&mut bench, w(1, 1));
    assert_eq!((bench.tick().len(), bench.now_ms()), (1, 80));
}

#[test]
fn a_flood_of_short_tasks_is_never_looked_at() {
    let mut bench = Bench::ready(20_000, policy(4, Schedule::Dynamic));
    let mut millis = 0;
    while bench.tally().settled < 20_000 {
        millis += 1;
        bench.at(millis);
        let looks = |it: &Effect| matches!(it, Effect::Look(_) | Effect::Recall(_));
        assert!(!bench.on(Event::Tick).iter().any(looks));
        for worker in (0..4).map(|slot| w(slot, 1)) {
            let some = bench.in_hand(worker).into_iter().take(5);
            let effects = bench.done(worker, some, 100);
            assert!(!effects.iter().any(looks));
        }
    }
    assert!(ms(millis) > ms(10));
}
