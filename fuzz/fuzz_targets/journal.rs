//! Any bytes as a journal; and, so that no sum stands in the way, any bytes as edits of one that is sound. What is not
//! refused brings back what was written, from the first record on.
#![no_main]

#[path = "../../crates/journal/tests/bytes/mod.rs"]
mod bytes;

use brigade_journal::{Durability, Identity, Journal, Record, Settled};
use brigade_wire::{Attempt, Outcome, SlotId, TaskId, WorkerId};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fn settled(task: u64) -> Settled {
    let worker = WorkerId { slot: SlotId(0), incarnation: 1 };
    let outcome = Outcome::Value(vec![task as u8; 16]);
    Settled { task: TaskId(task), attempt: Attempt::FIRST, worker, outcome }
}

fn sound(durability: Durability) -> Bytes {
    let mut bytes = Bytes(Vec::new());
    let identity = Identity {
        run: "fuzz".into(),
        function: "f".into(),
        parameters: String::new(),
        tasks: 8,
        input_hash: 0,
        protocol: 0,
    };
    let mut journal = Journal::create(&mut bytes, &identity, durability).expect("it is empty");
    for task in 0..8 {
        journal.append(&Record::Settled(settled(task))).expect("there is room");
        if task % 3 > 0 {
            journal.commit().expect("there is room");
        }
    }
    drop(journal);
    bytes
}

fn read(bytes: &mut Bytes) -> Option<Vec<Settled>> {
    let read = Journal::open(bytes).and_then(|replay| replay.collect());
    read.ok().map(|(_, _, known)| known)
}

fuzz_target!(|input: &[u8]| {
    drop(read(&mut Bytes(input.to_vec())));
    let Some((&kind, edits)) = input.split_first() else { return };
    let durability = if kind & 1 == 0 { Durability::Kill } else { Durability::Power };
    let mut bytes = sound(durability);
    // Three bytes each: where, and what instead; a place behind the end cuts it off.
    for edit in edits.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([edit[0], edit[1]]));
        match bytes.0.get_mut(at % 1_024) {
            Some(byte) => *byte ^= edit[2],
            None => bytes.0.truncate(bytes.0.len().saturating_sub(edit[2].into())),
        }
    }
    if let Some(known) = read(&mut bytes) {
        assert!(known.iter().cloned().eq((0..known.len() as u64).map(settled)));
        assert_eq!(read(&mut bytes), Some(known), "cut, it is whole");
    }
});
