//! Any bytes as a journal; and, so that no sum stands in the way, any bytes as edits of one that is sound. What is not
//! refused brings back what was written, from the first record on.
#![no_main]

use brigade_journal::{Durability, Identity, Journal, Record, Settled, Storage};
use brigade_wire::{Attempt, Outcome, SlotId, TaskId, WorkerId};
use libfuzzer_sys::fuzz_target;
use std::io;
use std::path::Path;

struct Bytes(Vec<u8>);

impl Storage for &mut Bytes {
    fn path(&self) -> &Path {
        Path::new("fuzz")
    }
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.extend(bytes);
        Ok(())
    }
    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let from = self.0.get(at as usize..).and_then(|rest| rest.get(..into.len()));
        into.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.0.truncate(len as usize);
        Ok(())
    }
    fn fdatasync(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn sync_name(&mut self) -> io::Result<()> {
        Ok(())
    }
}

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
