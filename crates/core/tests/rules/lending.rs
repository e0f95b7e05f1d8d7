//! Who gets what, how much of it, and what counts as an answer.

use super::kit::{Bench, CRASH, lease, lent, orders, requeued, run, w};
use brigade_core::{Effect, Event, Lookahead, Note, Policy, Schedule};
use brigade_wire::Exit;

fn procs(procs: u32) -> Policy {
    Policy { procs, lookahead: Lookahead { tasks: 8, ..Policy::default().lookahead }, ..Policy::default() }
}

#[test]
fn every_slot_gets_a_worker_at_the_start_even_if_there_are_fewer_tasks() {
    let mut core = brigade_core::Core::new(procs(3));
    let mut effects = Vec::new();
    core.on(Event::Submitted { count: 1, weights: vec![] }, Default::default(), &mut effects);
    assert_eq!(effects, [], "nobody is born before the start");
    core.start(Default::default(), &mut effects);
    assert_eq!(effects, [w(0, 1), w(1, 1), w(2, 1)].map(Effect::Spawn));
}

#[test]
fn a_worker_is_lent_its_first_task_when_it_says_hello() {
    let mut bench = Bench::new(2, procs(1));
    assert_eq!(bench.on(Event::Born(w(0, 1))), []);
    assert_eq!(bench.hello(w(0, 1)), [Effect::Tell(Note::Ready(w(0, 1))), run(w(0, 1), [0])]);
}

#[test]
fn a_second_hello_changes_nothing() {
    let mut bench = Bench::ready(2, procs(1));
    assert_eq!(bench.hello(w(0, 1)), []);
}

#[test]
fn only_one_task_is_in_hand_while_the_length_of_a_task_is_unknown() {
    let bench = Bench::ready(100, procs(2));
    assert_eq!(bench.tally().leased, 2);
}

#[test]
fn short_tasks_are_lent_ahead_in_one_wish() {
    let mut bench = Bench::ready(100, procs(1));
    assert_eq!(orders(bench.done(w(0, 1), [0], 1)), [run(w(0, 1), 1..=9)]);
}

#[test]
fn as_much_is_lent_ahead_as_fits_into_the_time_of_the_look_ahead() {
    let mut bench = Bench::ready(100, procs(1));
    assert_eq!(orders(bench.done(w(0, 1), [0], 500)), [run(w(0, 1), 1..=5)]);
}

#[test]
fn long_tasks_are_never_lent_ahead() {
    let mut bench = Bench::ready(100, procs(1));
    assert_eq!(orders(bench.done(w(0, 1), [0], 2_500)), [run(w(0, 1), [1])]);
}

#[test]
fn a_refill_waits_until_half_of_the_window_is_used_up() {
    let mut bench = Bench::ready(100, procs(1));
    bench.done(w(0, 1), [0], 1);
    assert_eq!(orders(bench.done(w(0, 1), 1..=4, 1)), [], "five of nine are still in hand");
    assert_eq!(orders(bench.done(w(0, 1), [5], 1)), [run(w(0, 1), 10..=14)]);
}

#[test]
fn idle_workers_get_their_first_task_before_anyone_gets_look_ahead() {
    let policy = Policy { hold: true, ..procs(3) };
    let mut bench = Bench::ready(1, policy);
    bench.done(w(0, 1), [0], 1);
    assert_eq!(bench.submit(4), [run(w(0, 1), [1, 4]), run(w(1, 1), [2]), run(w(2, 1), [3])]);
}

#[test]
fn a_tail_is_shared_among_those_who_can_take_it() {
    let mut bench = Bench::ready(10, procs(2));
    assert_eq!(
        orders(bench.done(w(0, 1), [0], 1)),
        [run(w(0, 1), 2..=6)],
        "one, and half of the other seven"
    );
}

#[test]
fn what_comes_back_is_lent_before_what_is_fresh() {
    let mut bench = Bench::ready(100, procs(2));
    bench.gone(w(0, 1), CRASH, None);
    assert_eq!(lent(&bench.done(w(1, 1), [1], 2_500)), [0]);
}

#[test]
fn a_result_counts_once_and_who_sends_it_twice_is_shot() {
    let mut bench = Bench::ready(3, procs(1));
    assert_eq!(bench.done(w(0, 1), [0], 2_500).len(), 2);
    assert_eq!(bench.done(w(0, 1), [0], 2_500), [Effect::Kill(w(0, 1))]);
    assert_eq!((bench.tally().values, bench.tally().echoes), (1, 1));
}

#[test]
fn a_result_of_nobody_who_lives_is_an_echo() {
    let mut bench = Bench::ready(3, procs(2));
    for worker in [w(0, 0), w(0, 2), w(9, 1)] {
        assert_eq!(bench.ended(worker, [lease(0, 1)], 1), [], "{worker}");
    }
    assert_eq!((bench.tally().settled, bench.tally().echoes), (0, 3));
}

#[test]
fn a_worker_that_speaks_of_a_task_it_does_not_hold_has_lost_its_mind() {
    for lie in [lease(0, 2), lease(1, 1), lease(2, 1), lease(99, 1)] {
        let mut bench = Bench::ready(3, procs(2));
        assert_eq!(bench.ended(w(0, 1), [lie], 1), [Effect::Kill(w(0, 1))], "{lie:?}");
        assert_eq!((bench.tally().settled, bench.tally().echoes), (0, 1));
        let effects = bench.gone(w(0, 1), Exit::Signal(9), Some(0));
        assert_eq!(effects[1], requeued(0, 2, true, w(0, 1)), "the one that ran is blamed");
    }
}

#[test]
fn a_worker_that_speaks_of_tasks_before_its_hello_is_not_born() {
    let mut bench = Bench::new(3, procs(1));
    let effects = bench.done(w(0, 1), [0], 1);
    assert!(matches!(effects[0], Effect::Tell(Note::NotBorn { .. })), "{effects:?}");
    assert_eq!(effects[1..], [Effect::Kill(w(0, 1))]);
    assert_eq!(orders(bench.gone(w(0, 1), Exit::Signal(9), None)), [Effect::Spawn(w(0, 2))]);
    assert_eq!((bench.tally().settled, bench.tally().echoes), (0, 1));
}

#[test]
fn what_a_frame_says_before_a_lie_counts_and_what_it_says_after_does_not() {
    let mut bench = Bench::ready(100, procs(1));
    bench.done(w(0, 1), [0], 1);
    let effects = bench.ended(w(0, 1), [lease(1, 1), lease(1, 1), lease(2, 1)], 1);
    assert_eq!(orders(effects), [Effect::Kill(w(0, 1))]);
    assert_eq!((bench.tally().settled, bench.tally().echoes), (2, 2));
    assert_eq!(bench.done(w(0, 1), [3], 1), [], "and it is not listened to any more");
    bench.gone(w(0, 1), Exit::Signal(9), None);
    assert_eq!((bench.tally().settled, bench.tally().backlog), (2, 98));
}

#[test]
fn the_late_result_of_an_earlier_incarnation_is_an_echo() {
    let mut bench = Bench::ready(2, procs(1));
    bench.gone(w(0, 1), CRASH, None);
    bench.hello(w(0, 2));
    assert_eq!(bench.done(w(0, 1), [0], 1), []);
    assert_eq!(orders(bench.done(w(0, 2), [0], 2_500)), [run(w(0, 2), [1])]);
}

#[test]
fn what_could_not_be_sent_goes_back_in_order_and_nobody_is_blamed() {
    let mut bench = Bench::ready(100, procs(1));
    bench.done(w(0, 1), [0], 1);
    assert_eq!(bench.unsent(w(0, 1), 4..=9), [], "nothing more for it until it has spoken");
    assert_eq!(lent(&bench.done(w(0, 1), [1], 1)), [4, 5, 6, 7, 8, 9, 10]);
    assert_eq!((bench.tally().requeued, bench.tally().retried), (0, 0));
}

#[test]
fn what_one_worker_refuses_another_takes() {
    let mut bench = Bench::ready(2, procs(3));
    assert_eq!(bench.unsent(w(1, 1), [1]), [run(w(2, 1), [1])]);
}

#[test]
fn a_worker_that_refused_with_nothing_in_hand_is_asked_again_because_it_cannot_speak_first() {
    let mut bench = Bench::ready(1, procs(1));
    assert_eq!(bench.unsent(w(0, 1), [0]), []);
    assert_eq!(bench.tick(), [run(w(0, 1), [0])]);
    assert_eq!(bench.now_ms(), 10);
}

#[test]
fn what_a_dying_worker_never_saw_is_back_before_its_body_is_found() {
    let mut bench = Bench::ready(1, procs(2));
    bench.garbled(w(0, 1));
    assert_eq!(bench.unsent(w(0, 1), [0]), [requeued(0, 1, false, w(0, 1)), run(w(1, 1), [0])]);
}

#[test]
fn a_task_stays_with_its_slot_where_slots_own_their_tasks() {
    for schedule in [Schedule::Static, Schedule::RoundRobin, Schedule::Weighted] {
        let mut bench = Bench::ready(4, Policy { schedule, ..procs(2) });
        bench.done(w(1, 1), [if schedule == Schedule::Static { 2 } else { 1 }], 2_500);
        bench.done(w(1, 1), [3], 2_500);
        assert_eq!(lent(&bench.gone(w(0, 1), CRASH, None)), [], "{schedule:?}");
        assert_eq!(lent(&bench.hello(w(0, 2))), [0], "{schedule:?}");
    }
}

#[test]
fn weights_decide_who_gets_what_under_weighted() {
    let mut bench = Bench::new(0, Policy { schedule: Schedule::Weighted, hold: true, ..procs(2) });
    bench.on(Event::Submitted { count: 3, weights: vec![1, 5, 3] });
    assert_eq!(lent(&bench.hello(w(0, 1))), [1]);
    assert_eq!(lent(&bench.hello(w(1, 1))), [2]);
}

#[test]
fn a_million_tasks_may_come_in_a_thousand_times_over() {
    let mut bench = Bench::new(0, Policy { hold: true, ..procs(2) });
    (0..1_000).for_each(|_| _ = bench.submit(1_000_000));
    assert_eq!(bench.tally().backlog, 1_000_000_000);
}

#[test]
fn a_worker_that_drained_of_its_own_accord_leaves_its_tasks_unblamed() {
    let mut bench = Bench::ready(1, procs(1));
    let effects = bench.gone(w(0, 1), Exit::DRAINED, None);
    assert!(effects.contains(&requeued(0, 1, false, w(0, 1))), "{effects:?}");
}

#[test]
fn who_has_nothing_left_takes_what_waits_for_the_dead_under_stealing() {
    let mut bench = Bench::ready(8, Policy { schedule: Schedule::Stealing, ..procs(2) });
    for own in 4..8 {
        bench.done(w(1, 1), [own], 9_000);
    }
    assert_eq!(lent(&bench.done(w(1, 1), [3], 9_000)), [2], "from the back, one at a time: they are long");
    assert_eq!(lent(&bench.gone(w(0, 1), CRASH, None)), []);
    assert_eq!(lent(&bench.done(w(1, 1), [2], 9_000)), [1]);
    assert_eq!(lent(&bench.done(w(1, 1), [1], 9_000)), [0], "what came back is the last to go");
}
