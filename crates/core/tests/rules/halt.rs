//! Runs that end when enough has happened.

use super::kit::{Bench, CRASH, lease, orders, requeued, w};
use brigade_core::{Effect, Event, Halt, HaltLimit, HaltOn, HaltWhen, Note, Policy, Verdict};
use brigade_wire::{Exit, TaskId};

fn halt(when: HaltWhen, on: HaltOn, limit: HaltLimit) -> Policy {
    Policy { halt: Some(Halt { when, on, limit }), procs: 2, ..Policy::default() }
}

fn told(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Tell(Note::Halting(_))))
}

#[test]
fn soon_lets_those_in_hand_finish_and_starts_nothing_more() {
    let mut bench = Bench::ready(10, halt(HaltWhen::Soon, HaltOn::Fail, HaltLimit::Count(1)));
    let effects = bench.failed(w(0, 1), lease(0, 1));
    assert!(told(&effects), "{effects:?}");
    assert_eq!(orders(effects), [Effect::Stop(w(0, 1)), Effect::Stop(w(1, 1))], "and nothing is lent");
    assert_eq!(orders(bench.done(w(1, 1), [1], 1)), []);
    bench.gone(w(0, 1), Exit::DRAINED, None);
    bench.gone(w(1, 1), Exit::DRAINED, None);
    assert!(bench.core.is_finished());
    assert_eq!((bench.core.verdict(), bench.tally().backlog), (Verdict::Halted, 8));
}

#[test]
fn now_kills_and_blames_nobody() {
    let mut bench = Bench::ready(10, halt(HaltWhen::Now, HaltOn::Success, HaltLimit::Count(1)));
    let effects = bench.done(w(0, 1), [0], 1);
    assert_eq!(orders(effects), [Effect::Kill(w(0, 1)), Effect::Kill(w(1, 1))]);
    bench.gone(w(0, 1), Exit::Signal(9), None);
    assert_eq!(bench.gone(w(1, 1), Exit::Signal(9), Some(1))[1], requeued(1, 1, false, w(1, 1)));
    assert_eq!((bench.core.verdict(), bench.tally().backlog), (Verdict::Halted, 9));
}

#[test]
fn a_quarantined_task_counts_as_a_failure() {
    let policy = Policy { attempts_max: 1, ..halt(HaltWhen::Soon, HaltOn::Fail, HaltLimit::Count(1)) };
    let mut bench = Bench::ready(10, policy);
    let effects = bench.gone(w(0, 1), CRASH, Some(0));
    assert_eq!(orders(effects), [Effect::Stop(w(1, 1))], "and the dead is not replaced");
}

#[test]
fn a_failure_that_is_tried_again_does_not_count() {
    let policy = Policy { retries: 1, ..halt(HaltWhen::Now, HaltOn::Fail, HaltLimit::Count(1)) };
    let mut bench = Bench::ready(10, policy);
    assert!(!told(&bench.failed(w(0, 1), lease(0, 1))));
    assert!(told(&bench.failed(w(0, 1), lease(0, 2))));
}

#[test]
fn a_percentage_is_of_all_that_were_submitted_and_means_nothing_before_three_are_done() {
    for (percent, task) in [(1, 2), (10, 2), (30, 2), (31, 3), (50, 4)] {
        let mut bench = Bench::ready(10, halt(HaltWhen::Soon, HaltOn::Done, HaltLimit::Percent(percent)));
        bench.gone(w(1, 1), CRASH, None);
        let halted = (0..10).find(|&task| {
            let held = bench.held(w(0, 1));
            assert_eq!(held.len(), 1, "{task}");
            told(&bench.ended(w(0, 1), held, 2_500))
        });
        assert_eq!(halted, Some(task), "{percent} %");
    }
}

#[test]
fn a_run_that_is_done_when_enough_has_happened_is_complete() {
    let mut bench = Bench::ready(2, halt(HaltWhen::Now, HaltOn::Done, HaltLimit::Count(2)));
    bench.done(w(0, 1), [0], 1);
    assert!(!told(&bench.done(w(1, 1), [1], 1)), "there is nothing to halt");
    assert_eq!(bench.core.verdict(), Verdict::Complete);
}

#[test]
fn what_was_settled_before_does_not_halt_a_run_that_goes_on() {
    let mut bench = Bench::idle(halt(HaltWhen::Now, HaltOn::Fail, HaltLimit::Count(1)));
    bench.submit(3);
    let failed = vec![TaskId(0)];
    bench.on(Event::Recalled {
        splits: vec![],
        values: vec![],
        failed,
        quarantined: vec![],
        attempts: vec![],
    });
    bench.start();
    bench.hello(w(0, 1));
    assert!(!told(&bench.done(w(0, 1), [1], 1)));
    assert!(told(&bench.failed(w(0, 1), lease(2, 1))) || bench.core.verdict() == Verdict::Complete);
}

#[test]
fn an_abort_overtakes_a_halt() {
    let mut bench = Bench::ready(10, halt(HaltWhen::Soon, HaltOn::Fail, HaltLimit::Count(1)));
    bench.failed(w(0, 1), lease(0, 1));
    assert_eq!(bench.on(Event::Drain), []);
    assert_eq!(bench.on(Event::Abort), [Effect::Kill(w(0, 1)), Effect::Kill(w(1, 1))]);
    assert_eq!(bench.core.verdict(), Verdict::Aborted);
}
