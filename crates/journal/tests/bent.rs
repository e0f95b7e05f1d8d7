//! Journals that were bent at random: each is refused, or brings back what was written, from the first record on.
//!
//! `BENT=1000000` sets how many, as `make storm` does; `BENT_SEED=n` plays one seed again.

mod bytes;
#[path = "storm/dice.rs"]
mod dice;

use brigade_journal::{Durability, Identity, Journal, Record, Settled};
use brigade_wire::{Attempt, Exit, FailedAttempt, Mishap, Outcome, SlotId, TaskId, WorkerId};
use bytes::Bytes;
use dice::Dice;

const BENT_BY_DEFAULT: u64 = 20_000;
const TASKS: u64 = 30;

fn settled(task: u64) -> Settled {
    let worker = WorkerId { slot: SlotId(0), incarnation: 1 };
    let outcome = match task % 7 {
        3 => Outcome::Failed("no".into()),
        _ => Outcome::Value(vec![task as u8; task as usize]),
    };
    Settled { task: TaskId(task), attempt: Attempt::FIRST, worker, outcome }
}

fn sound(durability: Durability) -> Vec<u8> {
    let mut bytes = Bytes::default();
    let identity = Identity {
        run: "bent".into(),
        function: "f".into(),
        parameters: String::new(),
        tasks: TASKS,
        input_hash: 0,
        protocol: 0,
    };
    let mut journal = Journal::create(&mut bytes, &identity, durability).expect("it is empty");
    for task in 0..TASKS {
        let one = settled(task);
        let attempt =
            FailedAttempt { attempt: one.attempt, worker: one.worker, end: Mishap::Crashed(Exit::Signal(9)) };
        if task % 5 == 0 {
            journal.append(&Record::Blamed { task: one.task, attempt }).expect("there is room");
        }
        journal.append(&Record::Settled(one)).expect("there is room");
        if task % 3 > 0 {
            journal.commit().expect("there is room");
        }
    }
    journal.commit().expect("there is room");
    drop(journal);
    bytes.0
}

fn bend(bytes: &mut Vec<u8>, dice: &mut Dice) {
    let length = bytes.len() as u64;
    let at = dice.below(length + 1) as usize;
    match dice.below(6) {
        0 => bytes.truncate(at),
        1 => bytes.insert(at, dice.below(256) as u8),
        2 if at < bytes.len() => drop(bytes.remove(at)),
        3 => bytes.extend_from_within(at..),
        4 => bytes.iter_mut().skip(at).take(64).for_each(|byte| *byte = dice.below(256) as u8),
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << dice.below(8);
            }
        }
    }
}

/// Reads it; `None` if it is refused, and then it is as it was.
fn known(bytes: &mut Bytes) -> Option<Vec<Settled>> {
    let before = bytes.0.clone();
    let read = Journal::open(&mut *bytes).and_then(|replay| replay.collect());
    match read.map(|(_, _, known)| known) {
        Ok(known) => Some(known),
        Err(error) => {
            assert_eq!(bytes.0, before, "{error}");
            None
        }
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn a_bent_journal_is_refused_or_brings_back_what_was_written_and_never_panics() {
    let (count, seed) = (number("BENT", BENT_BY_DEFAULT), number("BENT_SEED", 4_711));
    let journals = [Durability::Kill, Durability::Power].map(sound);
    let (mut dice, mut refused) = (Dice::new(seed), 0);
    for round in 0..count {
        let mut bytes = Bytes(journals[dice.below(2) as usize].clone());
        bend(&mut bytes.0, &mut dice);
        while dice.once_in(2) {
            bend(&mut bytes.0, &mut dice);
        }
        let Some(found) = known(&mut bytes) else {
            refused += 1;
            continue;
        };
        let written = (0..found.len() as u64).map(settled);
        assert!(found.iter().cloned().eq(written), "seed {seed}, round {round}: not what was written");
        assert_eq!(known(&mut bytes), Some(found), "seed {seed}, round {round}: cut, it is whole");
    }
    println!("bent: {count} journals, seed {seed}, {refused} refused");
    assert!(refused > count / 4 && refused < count, "{refused} of {count} were refused");
}
