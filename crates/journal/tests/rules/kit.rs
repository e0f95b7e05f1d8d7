//! A small journal and its pieces.

use crate::storm::disk::Disk;
use brigade_journal::{
    Durability, Identity, Journal, JournalError, OpenError, Record, Recovered, Settled, Storage,
};
use brigade_wire::{Attempt, Exit, FailedAttempt, Mishap, Outcome, SlotId, TaskId, WorkerId};
use std::io;
use std::path::Path;

pub(crate) const WORKER: WorkerId = WorkerId { slot: SlotId(1), incarnation: 2 };

pub(crate) fn identity() -> Identity {
    Identity {
        run: "r".into(),
        function: "f".into(),
        parameters: "1..=9".into(),
        tasks: 1_000,
        input_hash: 3,
        protocol: 4,
    }
}

pub(crate) fn settled(task: u64, outcome: Outcome) -> Settled {
    Settled { task: TaskId(task), attempt: Attempt::FIRST, worker: WORKER, outcome }
}

pub(crate) fn value(task: u64, bytes: &[u8]) -> Record {
    Record::Settled(settled(task, Outcome::Value(bytes.to_vec())))
}

pub(crate) fn blamed(task: u64, attempt: u32) -> Record {
    let attempt =
        FailedAttempt { attempt: Attempt(attempt), worker: WORKER, end: Mishap::Crashed(Exit::Signal(9)) };
    Record::Blamed { task: TaskId(task), attempt }
}

/// A journal on a new disk, with one flush, or sync, for each of these.
pub(crate) fn journal(durability: Durability, batches: &[&[Record]]) -> (Disk, Journal<Disk>) {
    let disk = Disk::new(1);
    let mut journal = Journal::create(disk.clone(), &identity(), durability).expect("the disk is empty");
    for batch in batches {
        for record in *batch {
            journal.append(record).expect("there is room");
        }
        journal.commit().expect("there is room");
    }
    (disk, journal)
}

pub(crate) type Reopened = Result<(Journal<Disk>, Recovered, Vec<Settled>), OpenError>;

pub(crate) fn reopen(bytes: &[u8]) -> Reopened {
    Journal::open(Disk::of(bytes)).and_then(|replay| replay.collect())
}

/// The byte that a refused journal names.
pub(crate) fn damaged_at(reopened: Reopened) -> Option<u64> {
    match reopened {
        Err(OpenError::Damaged { offset, .. }) => Some(offset),
        Ok(_) | Err(_) => None,
    }
}

/// Fails with one error at every change, and never at a question.
pub(crate) struct Failing(pub(crate) io::ErrorKind);

impl Failing {
    pub(crate) fn create(kind: io::ErrorKind) -> JournalError {
        Journal::create(Failing(kind), &identity(), Durability::Kill)
            .map(drop)
            .expect_err("nothing can be written")
    }

    fn fail(&self) -> io::Result<()> {
        Err(self.0.into())
    }
}

impl Storage for Failing {
    fn path(&self) -> &Path {
        Path::new("/runs/r/journal")
    }
    fn len(&self) -> io::Result<u64> {
        Ok(0)
    }
    fn append(&mut self, _: &[u8]) -> io::Result<()> {
        self.fail()
    }
    fn read(&self, _: u64, _: &mut [u8]) -> io::Result<()> {
        self.fail()
    }
    fn truncate(&mut self, _: u64) -> io::Result<()> {
        self.fail()
    }
    fn fdatasync(&mut self) -> io::Result<()> {
        self.fail()
    }
    fn sync_name(&mut self) -> io::Result<()> {
        self.fail()
    }
}
