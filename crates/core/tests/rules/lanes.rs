//! Workers that run several tasks side by side: each keeps its own deadline and its own blame.

use super::kit::{Bench, CRASH, deeds, lease, lent, ms, orders, requeued, w};
use brigade_core::{Effect, Event, Intensity, Lookahead, Note, Policy, Recycle, Timeout};
use brigade_wire::{Exit, FailedAttempt, Mishap, Outcome, TaskId, WorkerId};

fn policy(procs: u32, threads: u32) -> Policy {
    Policy { procs, threads, hold: true, ..Policy::default() }
}

/// Past its second, a task is asked where it hangs.
fn second(threads: u32) -> Policy {
    Policy { task_timeout: Some(Timeout::After(ms(1_000))), ..policy(1, threads) }
}

fn recalled(worker: WorkerId) -> [Effect; 3] {
    let note = Effect::Tell(Note::Recycling { worker, why: Recycle::TakeBack });
    [note, Effect::Stop(worker), Effect::Recall(worker)]
}

#[test]
fn a_worker_is_lent_as_many_as_it_has_threads_before_anything_is_known_of_their_length() {
    let mut bench = Bench::new(9, policy(1, 3));
    assert_eq!(lent(&bench.hello(w(0, 1))), [0, 1, 2]);
    assert_eq!(lent(&bench.done(w(0, 1), [1], 2_500)), [3], "whichever ends first makes room");
    assert_eq!(bench.in_hand(w(0, 1)), [0, 2, 3]);
}

#[test]
fn everybody_gets_a_first_task_before_anybody_gets_a_second() {
    let mut bench = Bench::ready(0, policy(3, 3));
    bench.submit(5);
    let hands: Vec<_> = (0..3).map(|slot| bench.in_hand(w(slot, 1))).collect();
    assert_eq!(hands, [vec![0, 3], vec![1, 4], vec![2]]);
}

#[test]
fn what_is_lent_ahead_grows_with_the_threads() {
    let ahead = |threads| {
        let mut bench = Bench::ready(1_000, policy(1, threads));
        bench.done(w(0, 1), [0], 500);
        bench.in_hand(w(0, 1)).len()
    };
    assert_eq!([1, 3].map(ahead), [5, 15], "two milliseconds of work beyond those that run, for each thread");
}

#[test]
fn of_several_that_ran_in_the_dead_none_is_blamed_and_each_is_tried_again_alone() {
    let mut bench = Bench::ready(6, policy(1, 3));
    let gone = bench.died_of(w(0, 1), CRASH, [0, 1, 2]);
    for task in 0..3 {
        assert!(gone.contains(&requeued(task, 1, false, w(0, 1))), "{gone:?}");
    }
    assert_eq!((bench.tally().retried, bench.tally().requeued), (0, 3));
    assert_eq!(lent(&bench.hello(w(0, 2))), [0], "nothing runs beside a suspect");
    assert_eq!(lent(&bench.done(w(0, 2), [0], 2_500)), [1]);
    let gone = bench.died_of(w(0, 2), CRASH, [1]);
    assert!(gone.contains(&requeued(1, 2, true, w(0, 2))), "it was alone, so it is clear: {gone:?}");
    assert_eq!(lent(&bench.hello(w(0, 3))), [1], "and still is");
    let gone = bench.died_of(w(0, 3), CRASH, [1]);
    assert!(gone.contains(&requeued(1, 3, true, w(0, 3))), "{gone:?}");
    bench.hello(w(0, 4));
    let gone = bench.died_of(w(0, 4), CRASH, [1]);
    let story = |effect: &Effect| match effect {
        Effect::Settle { task: TaskId(1), outcome: Outcome::Quarantined { attempts }, .. } => {
            Some(attempts.clone())
        }
        _ => None,
    };
    let story: Vec<FailedAttempt> = gone.iter().find_map(story).expect("three have died of it");
    assert!(story.iter().all(|tried| tried.end == Mishap::Crashed(CRASH)) && story.len() == 3);
    assert_eq!(lent(&bench.hello(w(0, 5))), [2]);
    assert_eq!(lent(&bench.done(w(0, 5), [2], 2_500)), [3, 4, 5], "the others have never been suspected");
    assert_eq!((bench.tally().retried, bench.tally().quarantined), (2, 1));
}

#[test]
fn the_only_one_that_ran_is_blamed_and_takes_nobody_along_the_next_time() {
    let mut bench = Bench::ready(4, policy(1, 3));
    let gone = bench.died_of(w(0, 1), CRASH, [1]);
    assert!(gone.contains(&requeued(1, 2, true, w(0, 1))) && gone.contains(&requeued(0, 1, false, w(0, 1))));
    assert_eq!(lent(&bench.hello(w(0, 2))), [1], "nothing beside it");
    assert_eq!(lent(&bench.ended(w(0, 2), [lease(1, 2)], 2_500)), [0, 2, 3]);
}

#[test]
fn while_one_waits_to_be_alone_the_busy_pass_it_by_if_another_sees_to_it_and_else_make_room() {
    let mut bench = Bench::ready(0, policy(2, 2));
    bench.submit(4);
    assert_eq!((bench.in_hand(w(0, 1)), bench.in_hand(w(1, 1))), (vec![0, 2], vec![1, 3]));
    bench.died_of(w(0, 1), CRASH, [0, 2]);
    bench.submit(4);
    assert_eq!(
        lent(&bench.done(w(1, 1), [1], 2_500)),
        [4],
        "whoever is about to be born sees to the suspects"
    );
    bench.on(Event::Resize(1));
    assert_eq!(lent(&bench.done(w(1, 1), [3], 2_500)), [], "nobody else will, and task 4 still runs");
    assert_eq!(lent(&bench.done(w(1, 1), [4], 2_500)), [0], "now it can be alone");
    assert_eq!(lent(&bench.done(w(1, 1), [0], 2_500)), [2]);
    assert_eq!(lent(&bench.done(w(1, 1), [2], 2_500)), [5, 6]);
}

#[test]
fn a_deadline_costs_the_one_that_overran_an_attempt_and_the_others_run_side_by_side_again() {
    let mut bench = Bench::ready(3, second(3));
    bench.tick();
    bench.at(1_000);
    let effects = bench.seen_all(w(0, 1), [(0, 500), (1, 0), (2, 700)]);
    let late = Note::TimedOut { task: TaskId(1), worker: w(0, 1) };
    assert_eq!(effects, [Effect::Tell(late), Effect::Abort { worker: w(0, 1), task: TaskId(1) }]);
    let gone = bench.died_of(w(0, 1), Exit::Signal(6), [0, 1, 2]);
    for (task, attempt, blamed) in [(0, 1, false), (1, 2, true), (2, 1, false)] {
        assert!(gone.contains(&requeued(task, attempt, blamed, w(0, 1))), "{gone:?}");
    }
    assert_eq!(lent(&bench.hello(w(0, 2))).len(), 3, "it is known which it was");
}

fn late(task: u64) -> Effect {
    Effect::Tell(Note::TimedOut { task: TaskId(task), worker: w(0, 1) })
}

#[test]
fn all_that_are_late_at_the_same_look_are_blamed_together() {
    let mut bench = Bench::ready(4, Policy { attempts_max: 1, ..second(4) });
    bench.at(1_050);
    let effects = bench.seen_all(w(0, 1), [(0, 50), (1, 0), (2, 700), (3, 30)]);
    let abort = Effect::Abort { worker: w(0, 1), task: TaskId(1) };
    assert_eq!(effects, [late(1), late(3), late(0), abort], "the first is asked where it hangs");
    let gone = bench.died_of(w(0, 1), Exit::Signal(6), [0, 1, 2, 3]);
    let settled: Vec<_> = gone.iter().filter(|it| matches!(it, Effect::Settle { .. })).collect();
    assert_eq!((settled.len(), bench.tally().quarantined), (3, 3), "{gone:?}");
    assert!(bench.spent.is_empty() && gone.contains(&requeued(2, 1, false, w(0, 1))), "{gone:?}");
    assert_eq!(lent(&bench.hello(w(0, 2))), [2]);
}

#[test]
fn the_look_at_several_waits_for_those_that_began_within_a_tenth_after_the_first() {
    let mut bench = Bench::ready(3, second(3));
    bench.at(1_000);
    assert_eq!(bench.seen_all(w(0, 1), [(0, 0), (1, 100), (2, 101)]), []);
    assert_eq!((bench.tick(), bench.now_ms()), (vec![Effect::Look(w(0, 1))], 1_100), "and never longer");
    let abort = Effect::Abort { worker: w(0, 1), task: TaskId(0) };
    assert_eq!(bench.seen_all(w(0, 1), [(0, 0), (1, 100), (2, 101)]), [late(0), late(1), abort]);
}

#[test]
fn a_task_that_runs_by_itself_is_late_at_once() {
    let mut bench = Bench::ready(3, second(3));
    bench.at(1_000);
    let abort = Effect::Abort { worker: w(0, 1), task: TaskId(0) };
    assert_eq!(bench.seen(w(0, 1), 0, 0), [late(0), abort]);
}

#[test]
fn deadlines_that_cost_attempts_are_no_crash_loop_and_need_no_wait() {
    let intensity = Intensity { restarts: 1, ..Policy::default().intensity };
    let mut bench = Bench::ready(2, Policy { attempts_max: 9, intensity, ..second(2) });
    for life in 1..6 {
        let at = u64::from(life) * 10_000;
        bench.at(at);
        bench.seen_all(w(0, life), [(0, at - 1_000), (1, at - 500)]);
        let gone = bench.died_of(w(0, life), Exit::Signal(6), [0, 1]);
        assert_eq!(orders(gone), [Effect::Spawn(w(0, life + 1))], "each is one attempt nearer to its end");
        bench.hello(w(0, life + 1));
    }
}

#[test]
fn progress_of_one_does_not_put_off_the_look_at_another() {
    let mut bench = Bench::ready(30, second(2));
    for (millis, task) in (1..).map(|turn| turn * 100).zip(1..9) {
        bench.at(millis).done(w(0, 1), [task], 100_000);
    }
    assert_eq!(bench.tick(), [Effect::Look(w(0, 1))]);
    assert_eq!(bench.now_ms(), 1_000, "a second after the first one was lent");
    assert!(matches!(bench.seen_all(w(0, 1), [(0, 0), (9, 900)])[0], Effect::Tell(Note::TimedOut { .. })));
}

#[test]
fn a_cancelled_one_costs_the_worker_its_life_and_the_others_nothing() {
    let mut bench = Bench::ready(3, policy(1, 3));
    let effects = bench.on(Event::Cancel { tasks: vec![TaskId(1)], lent: true });
    assert!(
        effects.contains(&Effect::Cancelled(vec![TaskId(1)])) && effects.contains(&Effect::Recall(w(0, 1)))
    );
    let effects = bench.seen_all(w(0, 1), [(0, 0), (1, 0), (2, 0)]);
    assert_eq!(deeds(effects), [Effect::Kill(w(0, 1))]);
    let gone = bench.died_of(w(0, 1), Exit::Signal(9), [0, 1, 2]);
    assert!(gone.contains(&requeued(0, 1, false, w(0, 1))) && gone.contains(&requeued(2, 1, false, w(0, 1))));
    assert_eq!(lent(&bench.hello(w(0, 2))), [0, 2], "neither is suspected");
    assert_eq!((bench.tally().retried, bench.tally().cancelled), (0, 1));
}

#[test]
fn too_much_memory_is_nobodys_fault_until_one_is_alone_with_it() {
    let mut bench = Bench::ready(2, policy(1, 2));
    bench.on(Event::Bloated { worker: w(0, 1), running: true });
    bench.died_of(w(0, 1), Exit::Signal(9), [0, 1]);
    assert_eq!((bench.tally().retried, lent(&bench.hello(w(0, 2)))), (0, vec![0]));
    bench.on(Event::Bloated { worker: w(0, 2), running: true });
    bench.died_of(w(0, 2), Exit::Signal(9), [0]);
    assert_eq!(bench.spent.last().map(|(_, spent)| spent.end.clone()), Some(Mishap::OutOfMemory));
}

#[test]
fn the_memory_of_a_worker_with_several_threads_may_be_what_others_have_left() {
    let mut bench = Bench::ready(2, policy(1, 2));
    bench.done(w(0, 1), [1], 2_500);
    bench.on(Event::Bloated { worker: w(0, 1), running: true });
    let gone = bench.died_of(w(0, 1), Exit::Signal(9), [0]);
    assert!(gone.contains(&requeued(0, 1, false, w(0, 1))), "it was not alone in its process: {gone:?}");
    bench.submit(1);
    assert_eq!(lent(&bench.hello(w(0, 2))), [0], "now it is");
    bench.on(Event::Bloated { worker: w(0, 2), running: true });
    let gone = bench.died_of(w(0, 2), Exit::Signal(9), [0]);
    assert!(gone.contains(&requeued(0, 2, true, w(0, 2))), "{gone:?}");
    assert_eq!(bench.spent.last().map(|(_, spent)| spent.end.clone()), Some(Mishap::OutOfMemory));
}

#[test]
fn an_exit_with_several_tasks_in_hand_says_nothing_about_the_worker() {
    for exit in [Exit::CANNOT_RUN, Exit::RECYCLE] {
        let mut bench = Bench::ready(2, policy(1, 2));
        let gone = bench.died_of(w(0, 1), exit, [0, 1]);
        assert_eq!(orders(gone), [Effect::Spawn(w(0, 2))], "{exit:?}: a task may have said so");
        assert_eq!(lent(&bench.hello(w(0, 2))), [0], "{exit:?}");
    }
}

/// Worker 0 runs tasks 0 and 2 since the beginning, four more wait behind them, and worker 1 has nothing to do.
fn uneven() -> Bench {
    let lookahead = Lookahead { tasks: 4, ..Policy::default().lookahead };
    let mut bench = Bench::ready(0, Policy { lookahead, ..policy(2, 2) });
    bench.submit(4);
    bench.done(w(1, 1), [1, 3], 1);
    bench.on(Event::Stopped(w(1, 1)));
    bench.submit(8);
    while let Some(&task) = bench.in_hand(w(1, 1)).first() {
        bench.done(w(1, 1), [task], 1);
    }
    bench.on(Event::Continued(w(1, 1)));
    assert_eq!(bench.in_hand(w(0, 1))[..2], [0, 2]);
    assert!(bench.in_hand(w(0, 1)).len() > 2, "some wait");
    bench
}

#[test]
fn what_waits_behind_long_tasks_on_all_threads_is_taken_back() {
    let mut bench = uneven();
    let behind = bench.in_hand(w(0, 1)).split_off(2);
    assert_eq!(bench.tick(), [Effect::Look(w(0, 1))]);
    assert_eq!(bench.seen_all(w(0, 1), [(0, 0), (2, 9)]), [], "one of them has only begun");
    bench.tick();
    assert_eq!(bench.seen_all(w(0, 1), [(0, 0)]), [], "a thread will take what waits");
    bench.tick();
    assert_eq!(bench.seen_all(w(0, 1), [(0, 0), (2, 0)]), recalled(w(0, 1)));
    let back = bench.seen_last_of(w(0, 1), [(0, 0), (2, 0)]);
    let back: Vec<u64> = back
        .iter()
        .filter_map(|effect| match effect {
            Effect::Tell(Note::Requeued { task, blamed: false, .. }) => Some(task.0),
            _ => None,
        })
        .collect();
    assert_eq!(back, behind);
}

#[test]
fn what_a_worker_may_have_done_between_two_looks_is_left_to_it() {
    let mut bench = uneven();
    bench.tick();
    bench.seen_all(w(0, 1), [(0, 0), (2, 0)]);
    let held = bench.in_hand(w(0, 1));
    assert_eq!(
        bench.seen_last_of(w(0, 1), [(0, 0)]),
        [],
        "the thread that is free may have done what came next"
    );
    assert_eq!(bench.in_hand(w(0, 1)), held);
}

#[test]
fn a_worker_that_could_run_what_it_holds_and_does_not_is_stuck() {
    let mut bench = Bench::ready(2, policy(1, 2));
    let stuck = Effect::Tell(Note::Stuck(w(0, 1)));
    assert_eq!(bench.tick(), [Effect::Look(w(0, 1))]);
    let began = bench.now_ms() as u64;
    let mut effects = bench.seen(w(0, 1), 0, 0);
    while effects.is_empty() && bench.now_ms() < 60_000 {
        bench.tick();
        effects = bench.seen(w(0, 1), 0, 0);
    }
    assert_eq!(effects, [stuck, Effect::Kill(w(0, 1))]);
    let after = bench.now_ms() as u64 - began;
    assert!((5_000..6_000).contains(&after), "after {after} ms");
}
