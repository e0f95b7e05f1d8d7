//! A chunk of items that kills its workers is split until the bad item is alone.

use super::kit::{Bench, CRASH, deeds, lent, orders, w};
use brigade_core::{Effect, Event, GiveUp, Intensity, Note, Policy, Verdict};
use brigade_wire::TaskId;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

/// Workers for ever, whatever happens.
fn patient() -> Policy {
    Policy { intensity: Intensity { restarts: 1_000, within: Duration::from_secs(10) }, ..Policy::default() }
}

fn parts(effects: &[Effect]) -> Option<(u64, u64)> {
    effects.iter().find_map(|effect| match effect {
        Effect::Split { task, parts, .. } => Some((task.0, parts.0)),
        _ => None,
    })
}

/// One worker after the other runs the first task it is lent, and dies if an item of it is bad.
struct Field {
    items: BTreeMap<u64, Range<u32>>,
    deaths: u32,
    /// Items that were alone with their task.
    quarantined: Vec<u32>,
}

impl Field {
    fn of(chunk: Range<u32>) -> Field {
        Field { items: [(0, chunk)].into(), deaths: 0, quarantined: vec![] }
    }

    fn note(&mut self, effects: &[Effect]) {
        if let Some((task, first)) = parts(effects) {
            let Range { start, end } = self.items[&task].clone();
            let half = start + (end - start) / 2;
            self.items.extend([(first, start..half), (first + 1, half..end)]);
        }
        let quarantined = effects.iter().filter_map(|effect| match effect {
            Effect::Settle { task, outcome: brigade_wire::Outcome::Quarantined { .. }, .. } => Some(task.0),
            _ => None,
        });
        let alone = |task: u64| {
            let items = &self.items[&task];
            assert_eq!(items.len(), 1, "with others");
            items.start
        };
        self.quarantined.extend(quarantined.map(alone));
    }

    /// To the end of the run.
    fn plough(&mut self, bench: &mut Bench, is_bad: impl Fn(u32) -> bool) -> Verdict {
        let mut worker = w(0, 1);
        let mut effects = bench.hello(worker);
        while !bench.core.is_finished() {
            self.note(&effects);
            let Some(lease) = bench.held(worker).into_iter().next() else {
                effects = match bench.core.next_deadline() {
                    Some(_) => bench.tick(),
                    None => bench.gone(worker, brigade_wire::Exit::DRAINED, None),
                };
                worker = self.successor(bench, &effects).unwrap_or(worker);
                continue;
            };
            let items = self.items[&lease.task.0].clone();
            if !items.clone().any(&is_bad) {
                effects = bench.ended(worker, [lease], 2_500);
                continue;
            }
            self.deaths += 1;
            let (exit, running) = (CRASH, vec![lease.task]);
            let divisible = running.iter().copied().filter(|_| items.len() > 1).collect();
            effects = bench.on(Event::Gone { worker, exit, running, divisible });
            self.note(&effects);
            worker = self.successor(bench, &effects).unwrap_or(worker);
            effects.clear();
        }
        bench.core.verdict()
    }

    fn successor(&self, bench: &mut Bench, effects: &[Effect]) -> Option<brigade_wire::WorkerId> {
        let born = effects.iter().find_map(|effect| match effect {
            Effect::Spawn(worker) => Some(*worker),
            _ => None,
        })?;
        bench.hello(born);
        Some(born)
    }
}

#[test]
fn a_chunk_that_has_killed_too_often_is_split_and_its_parts_come_before_fresh_tasks() {
    for schedule in super::recall::SCHEDULES {
        let mut bench = Bench::ready(5, Policy { schedule, attempts_max: 2, ..patient() });
        bench.died_of_chunk(w(0, 1), 0);
        assert_eq!(lent(&bench.hello(w(0, 2))), [0]);
        let effects = bench.died_of_chunk(w(0, 2), 0);
        assert_eq!(parts(&effects), Some((0, 5)), "{schedule:?}");
        let tally = bench.tally();
        assert_eq!((tally.submitted, tally.backlog, tally.settled), (6, 6, 0), "two in the place of one");
        assert_eq!(lent(&bench.hello(w(0, 3))), [5], "{schedule:?}");
        assert_eq!(lent(&bench.done(w(0, 3), [5], 2_500)), [6], "{schedule:?}");
    }
}

#[test]
fn a_part_is_split_at_its_first_death_and_one_item_has_all_its_attempts() {
    for bad in 0..8 {
        let mut bench = Bench::new(1, patient());
        let mut field = Field::of(0..8);
        assert_eq!(field.plough(&mut bench, |item| item == bad), Verdict::Complete);
        assert_eq!(field.quarantined, [bad]);
        assert_eq!(field.deaths, 3 + 1 + 1 + 3, "of eight, of four, of two, of one");
        let tally = bench.tally();
        assert_eq!((tally.submitted, tally.values, tally.quarantined), (4, 3, 1));
    }
}

#[test]
fn one_bad_item_among_a_million_is_no_crash_loop() {
    let mut bench = Bench::new(1, Policy::default());
    let mut field = Field::of(0..1 << 20);
    assert_eq!(field.plough(&mut bench, |item| item == 777_777), Verdict::Complete);
    assert_eq!((field.quarantined, field.deaths), (vec![777_777], 3 + 19 + 3));
}

#[test]
fn a_chunk_of_which_every_item_kills_is_one_before_all_are_tried() {
    let mut bench = Bench::new(1, Policy::default());
    let mut field = Field::of(0..1 << 20);
    let verdict = field.plough(&mut bench, |_| true);
    assert!(matches!(verdict, Verdict::GaveUp(GiveUp::Intensity { .. })), "{verdict:?}");
    assert!(field.deaths < 80, "{} workers died of it", field.deaths);
}

#[test]
fn several_bad_items_side_by_side_are_all_found_and_no_crash_loop() {
    let mut bench = Bench::new(1, Policy::default());
    let mut field = Field::of(0..64);
    assert_eq!(field.plough(&mut bench, |item| (20..28).contains(&item)), Verdict::Complete);
    assert_eq!(field.quarantined, (20..28).collect::<Vec<u32>>());
}

#[test]
fn what_was_split_before_is_split_again_with_the_same_numbers() {
    let mut bench = Bench::idle(Policy::default());
    bench.submit(4);
    let part = 4..5;
    let effects = bench.on(Event::Recalled {
        splits: vec![(TaskId(1), TaskId(4)), (TaskId(5), TaskId(6))],
        values: vec![part],
        failed: vec![],
        quarantined: vec![],
        attempts: vec![],
    });
    assert_eq!(effects, []);
    bench.start();
    let tally = bench.tally();
    assert_eq!((tally.submitted, tally.backlog, tally.recalled), (6, 5, 1));
    assert_eq!(lent(&bench.hello(w(0, 1))), [6], "half of a half");
    assert_eq!(parts(&bench.died_of_chunk(w(0, 1), 6)), Some((6, 8)), "it is suspected as before");
}

#[test]
fn nothing_else_is_said_of_a_task_that_was_split() {
    let mut bench = Bench::ready(1, Policy { attempts_max: 1, ..patient() });
    let effects = deeds(bench.died_of_chunk(w(0, 1), 0));
    assert!(matches!(effects[..], [Effect::Split { .. }, Effect::Spawn(_)]), "{effects:?}");
    bench.hello(w(0, 2));
    bench.done(w(0, 2), [1], 2_500);
    assert_eq!(orders(bench.done(w(0, 2), [2], 2_500)), [Effect::Stop(w(0, 2))]);
    assert!(!effects.contains(&Effect::Tell(Note::Holding)));
}
