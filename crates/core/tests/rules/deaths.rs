//! Who is blamed when a worker dies, and what becomes of its tasks.

use super::kit::{Bench, CRASH, deeds, lease, lent, orders, requeued, run, w};
use brigade_core::{Effect, Event, Life, Note, Policy, Verdict};
use brigade_wire::{Attempt, Exit, FailedAttempt, Mishap, Outcome, TaskId};

fn one() -> Policy {
    Policy::default()
}

/// One worker that has settled task 0 and holds 1, 2, 3 … of many.
fn looking_ahead() -> Bench {
    let mut bench = Bench::ready(100, one());
    bench.done(w(0, 1), [0], 500);
    bench
}

#[test]
fn of_several_tasks_in_the_hand_of_who_spoke_nonsense_none_is_blamed_and_each_is_lent_alone() {
    let mut bench = looking_ahead();
    bench.garbled(w(0, 1));
    let gone = bench.gone(w(0, 1), Exit::Signal(9), Some(3));
    assert!(gone.contains(&requeued(3, 1, false, w(0, 1))), "its page is of a later moment: {gone:?}");
    for task in 1..=2 {
        let lent = if task == 1 { bench.hello(w(0, 2)) } else { bench.done(w(0, 2), [task - 1], 500) };
        assert_eq!(deeds(lent).last(), Some(&run(w(0, 2), [task])), "nothing beside task {task}");
    }
    bench.garbled(w(0, 2));
    let gone = bench.gone(w(0, 2), Exit::Signal(9), None);
    assert!(gone.contains(&requeued(2, 2, true, w(0, 2))), "now it is clear which it was: {gone:?}");
}

#[test]
fn only_the_running_task_is_blamed_and_the_others_go_back_in_order() {
    let mut bench = looking_ahead();
    let dead = w(0, 1);
    let exited =
        Note::Exited { worker: dead, exit: CRASH, planned: false, settled: 1, held: vec![TaskId(1)] };
    let mut expected = vec![Effect::Tell(exited), requeued(1, 2, true, dead)];
    expected.extend((2..=5).map(|task| requeued(task, 1, false, dead)));
    expected.push(Effect::Spawn(w(0, 2)));
    assert_eq!(bench.gone(dead, CRASH, Some(1)), expected);
    assert_eq!((bench.tally().retried, bench.tally().requeued, bench.tally().restarts), (1, 5, 1));
    let Some(Effect::Run { leases, .. }) = bench.hello(w(0, 2)).pop() else { panic!("it takes up the work") };
    assert_eq!(leases, [lease(1, 2), lease(2, 1), lease(3, 1), lease(4, 1), lease(5, 1)]);
}

#[test]
fn nobody_is_blamed_if_nothing_was_running() {
    let mut bench = looking_ahead();
    bench.gone(w(0, 1), CRASH, None);
    assert_eq!((bench.tally().retried, bench.tally().requeued), (0, 5));
}

#[test]
fn a_result_that_was_sent_before_the_death_counts_and_is_not_blamed() {
    let mut bench = Bench::ready(2, one());
    bench.done(w(0, 1), [0], 2_500);
    let effects = bench.gone(w(0, 1), CRASH, Some(0));
    assert_eq!(effects[1], requeued(1, 1, false, w(0, 1)));
    assert_eq!((bench.tally().values, bench.tally().retried), (1, 0));
}

#[test]
fn what_a_worker_says_after_we_shot_it_still_counts() {
    let mut bench = Bench::ready(1, one());
    bench.on(Event::Abort);
    bench.done(w(0, 1), [0], 1);
    bench.gone(w(0, 1), Exit::Signal(9), None);
    assert!(bench.core.is_finished());
    assert_eq!((bench.tally().values, bench.tally().backlog), (1, 0));
}

#[test]
fn what_a_worker_says_after_it_talked_nonsense_does_not_count() {
    let mut bench = Bench::ready(1, one());
    assert_eq!(bench.garbled(w(0, 1)), [Effect::Kill(w(0, 1))]);
    assert_eq!(bench.done(w(0, 1), [0], 1), []);
    bench.gone(w(0, 1), Exit::Signal(9), None);
    assert_eq!((bench.tally().values, bench.tally().echoes, bench.tally().backlog), (0, 1, 1));
}

#[test]
fn a_task_that_three_workers_died_of_is_quarantined_with_its_story() {
    let mut bench = Bench::ready(1, one());
    let mut effects = Vec::new();
    for incarnation in 1..=3 {
        effects = bench.gone(w(0, incarnation), Exit::Signal(incarnation as i32), Some(0));
        if incarnation == 2 {
            bench.tick();
        }
        bench.hello(w(0, incarnation + 1));
    }
    let story = |n: u32| FailedAttempt {
        attempt: Attempt(n),
        worker: w(0, n),
        end: Mishap::Crashed(Exit::Signal(n as i32)),
    };
    let outcome = Outcome::Quarantined { attempts: vec![story(1), story(2), story(3)] };
    let word = Effect::Settle { task: TaskId(0), attempt: Attempt(3), worker: w(0, 3), outcome };
    assert_eq!(deeds(effects), [word]);
    assert_eq!((bench.tally().quarantined, bench.tally().retried), (1, 2));
    assert_eq!(bench.core.verdict(), Verdict::Complete);
}

#[test]
fn one_attempt_in_all_means_quarantine_at_the_first_death() {
    let mut bench = Bench::ready(1, Policy { attempts_max: 1, ..one() });
    bench.gone(w(0, 1), CRASH, Some(0));
    assert_eq!((bench.tally().quarantined, bench.tally().retried), (1, 0));
}

#[test]
fn a_task_that_was_blamed_can_still_succeed_as_its_next_attempt() {
    let mut bench = Bench::ready(1, one());
    bench.gone(w(0, 1), CRASH, Some(0));
    bench.hello(w(0, 2));
    assert_eq!(bench.done(w(0, 1), [0], 1), [], "that attempt is spent");
    assert_eq!(orders(bench.ended(w(0, 2), [lease(0, 2)], 1)), [Effect::Stop(w(0, 2))]);
}

#[test]
fn a_page_that_names_a_task_of_somebody_else_blames_nobody() {
    let mut bench = Bench::ready(4, Policy { procs: 2, ..one() });
    let effects = bench.gone(w(0, 1), CRASH, Some(1));
    assert_eq!(effects[1], requeued(0, 1, false, w(0, 1)));
}

#[test]
fn a_worker_that_talks_nonsense_is_shot_and_its_running_task_is_blamed() {
    let mut bench = Bench::ready(2, one());
    assert_eq!(bench.garbled(w(0, 1)), [Effect::Kill(w(0, 1))]);
    assert_eq!(bench.garbled(w(0, 1)), [], "once is enough");
    let effects = bench.gone(w(0, 1), Exit::Signal(9), Some(0));
    assert!(effects.contains(&requeued(0, 2, true, w(0, 1))), "{effects:?}");
}

#[test]
fn nothing_is_lent_to_a_worker_that_was_shot() {
    let mut bench = Bench::ready(4, one());
    bench.garbled(w(0, 1));
    assert_eq!(orders(bench.done(w(0, 1), [0], 1)), []);
}

#[test]
fn the_tasks_of_the_dead_go_to_whoever_is_idle() {
    let mut bench = Bench::ready(2, Policy { procs: 3, ..one() });
    assert_eq!(orders(bench.gone(w(1, 1), CRASH, None)), [Effect::Spawn(w(1, 2)), run(w(2, 1), [1])]);
}

#[test]
fn news_of_the_dead_change_nothing() {
    let mut bench = Bench::ready(3, one());
    bench.gone(w(0, 1), CRASH, None);
    let before = bench.tally();
    for event in [
        Event::Born(w(0, 1)),
        Event::Hello(w(0, 1)),
        Event::Stopped(w(0, 1)),
        Event::Seen { worker: w(0, 1), running: vec![], recalled: false },
        Event::Unborn { worker: w(0, 1), reason: String::new() },
        Event::Garbled { worker: w(0, 1), reason: String::new() },
        Event::Unsent { worker: w(0, 1), tasks: vec![TaskId(0)] },
        Event::Gone { worker: w(0, 1), exit: CRASH, running: vec![TaskId(0)], divisible: vec![] },
    ] {
        assert_eq!(bench.on(event.clone()), [], "{event:?}");
    }
    assert_eq!(bench.tally(), before);
    assert_eq!(lent(&bench.hello(w(0, 2))), [0]);
}

#[test]
fn status_shows_who_holds_what() {
    let mut bench = looking_ahead();
    bench.on(Event::Stopped(w(0, 1)));
    let view = bench.core.slots().next().expect("there is one slot");
    assert_eq!((view.worker, view.life, view.leases, view.settled), (w(0, 1), Life::Ready, 5, 1));
    assert!(view.stopped);
}
