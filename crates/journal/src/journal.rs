//! Writing: into a buffer, to the kernel, to the disk; and never again after an error.

use crate::format::{Frames, Header, open_frame};
use crate::values::{Author, Batch};
use crate::{Durability, Identity, JournalError, OpenError, Record, Replay, Settled, Storage};
use brigade_wire::{Outcome, TaskId};
use std::io;

/// A buffer that has grown so large is flushed at once, asked or not.
pub const BUFFER_BYTES_MAX: usize = 256 * 1024;

/// The journal of a run that goes on.
///
/// What is appended is kept in memory until [`flush`](Journal::flush) or [`sync`](Journal::sync); dropping a journal
/// writes nothing. Results may be told to others when [`commit`](Journal::commit) has returned.
#[derive(Debug)]
pub struct Journal<S: Storage> {
    storage: S,
    frames: Frames,
    durability: Durability,
    /// Records that stand at `written` once they are written, sealed but for the last. Kept and reused.
    buffer: Vec<u8>,
    /// The last of them, if it is one of values and takes more.
    batch: Option<Batch>,
    /// Bytes that the kernel has.
    written: u64,
    /// Bytes that the disk has.
    synced: u64,
    /// The next record is preceded by a mark that all before it is on the disk.
    is_mark_due: bool,
    broken: Option<JournalError>,
}

impl<S: Storage> Journal<S> {
    /// Begins a journal: its header is written when this returns, and on the disk with [`Durability::Power`].
    ///
    /// # Errors
    /// If there is something in the storage already, or if it cannot be written.
    pub fn create(
        storage: S,
        identity: &Identity,
        durability: Durability,
    ) -> Result<Journal<S>, JournalError> {
        let io = |doing, cause| JournalError::io(doing, storage.path(), cause);
        if !storage.is_empty().map_err(|cause| io("measure", cause))? {
            return Err(JournalError::NotEmpty { path: storage.path().into() });
        }
        let sealed = Header { identity: identity.clone(), durability }.seal();
        let (header, seed) = sealed.map_err(|_| JournalError::TooLarge {
            path: storage.path().into(),
            what: "the description of the run",
        })?;
        let mut journal = Journal::new(storage, Frames { seed }, durability, 0);
        journal.buffer = header;
        journal.commit()?;
        if durability == Durability::Power {
            journal.storage.sync_name().map_err(|cause| journal.breaks("sync the directory of", cause))?;
        }
        Ok(journal)
    }

    /// Reads whose journal it is, and nothing else yet.
    ///
    /// # Errors
    /// If it is no journal of this version, or its header is not whole.
    pub fn open(storage: S) -> Result<Replay<S>, OpenError> {
        Replay::begin(storage)
    }

    pub(crate) fn new(storage: S, frames: Frames, durability: Durability, end: u64) -> Journal<S> {
        Journal {
            storage,
            frames,
            durability,
            buffer: Vec::new(),
            batch: None,
            written: end,
            synced: 0,
            is_mark_due: false,
            broken: None,
        }
    }

    /// Takes a record into the buffer.
    ///
    /// # Errors
    /// If the record is larger than any may be, and then nothing else is wrong; if the journal is broken; or, when
    /// the buffer was full, as [`flush`](Journal::flush).
    pub fn append(&mut self, record: &Record) -> Result<(), JournalError> {
        self.check_sound()?;
        let fits = match record {
            Record::Settled(Settled { task, attempt, worker, outcome: Outcome::Value(value) }) => {
                self.put_value(*task, Author { worker: *worker, attempt: *attempt }, value)
            }
            _ => {
                self.seal();
                self.put_mark();
                let at = self.end();
                self.frames.put(record, at, &mut self.buffer).is_ok()
            }
        };
        if !fits {
            return Err(JournalError::TooLarge { path: self.storage.path().into(), what: "a result" });
        }
        if self.buffer.len() < BUFFER_BYTES_MAX { Ok(()) } else { self.flush() }
    }

    /// A value joins those before it, or begins a record. Returns whether a record can hold it.
    fn put_value(&mut self, task: TaskId, author: Author, value: &[u8]) -> bool {
        if let Some(batch) = &mut self.batch
            && batch.takes(author, value.len(), &self.buffer)
        {
            batch.put(task, value, &mut self.buffer);
            return true;
        }
        self.seal();
        self.put_mark();
        let start = open_frame(&mut self.buffer);
        let mut batch = Batch::open(author, start, &mut self.buffer);
        if !batch.put_first(task, value, &mut self.buffer) {
            self.buffer.truncate(start);
            return false;
        }
        self.batch = Some(batch);
        true
    }

    /// The record of values that is being written takes no more.
    fn seal(&mut self) {
        if let Some(batch) = self.batch.take() {
            let at = self.written + batch.start as u64;
            self.frames.close_frame(&mut self.buffer, batch.start, at);
        }
    }

    fn put_mark(&mut self) {
        if std::mem::take(&mut self.is_mark_due) {
            self.frames.put_mark(self.synced, self.end(), &mut self.buffer);
        }
    }

    /// Hands all that was appended to the kernel, by one write: from then on no kill of this process loses it.
    ///
    /// # Errors
    /// If it cannot be written. Some of it may be in the file then; the journal is broken, and takes nothing more.
    pub fn flush(&mut self) -> Result<(), JournalError> {
        self.check_sound()?;
        self.seal();
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.storage.append(&self.buffer).map_err(|cause| self.breaks("write to", cause))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Flushes, and returns when the disk has everything: from then on no loss of power loses it. One call serves
    /// all that was appended since the last.
    ///
    /// # Errors
    /// If it cannot be written or synced. That is final: a second try would be told that all is well. With
    /// [`Durability::Power`], what was not synced is cut off, so that a resume does not find it in the kernel's memory
    /// and take it for saved; it was promised to nobody.
    pub fn sync(&mut self) -> Result<(), JournalError> {
        self.flush()?;
        if self.synced == self.written {
            return Ok(());
        }
        if let Err(cause) = self.storage.fdatasync() {
            let error = self.breaks("sync", cause);
            if self.durability == Durability::Power {
                // It is broken already: whether this works is nobody's comfort.
                let _ = self.storage.truncate(self.synced);
            }
            return Err(error);
        }
        self.mark_synced();
        Ok(())
    }

    /// Does what the run was promised: [`flush`](Journal::flush) or [`sync`](Journal::sync).
    ///
    /// # Errors
    /// As they do.
    pub fn commit(&mut self) -> Result<(), JournalError> {
        match self.durability {
            Durability::Kill => self.flush(),
            Durability::Power => self.sync(),
        }
    }

    /// What the run was promised.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.durability
    }

    /// How long the file is, or will be once the buffer is flushed.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// What broke it, if anything did.
    #[must_use]
    pub fn broken(&self) -> Option<&JournalError> {
        self.broken.as_ref()
    }

    /// Everything written is on the disk; with [`Durability::Power`] the file will say so, in front of the next record:
    /// a write of its own would double the writes.
    pub(crate) fn mark_synced(&mut self) {
        self.synced = self.written;
        self.is_mark_due = self.durability == Durability::Power;
    }

    fn check_sound(&self) -> Result<(), JournalError> {
        self.broken.clone().map_or(Ok(()), Err)
    }

    fn breaks(&mut self, doing: &'static str, cause: io::Error) -> JournalError {
        let error = JournalError::io(doing, self.storage.path(), cause);
        self.broken.insert(error).clone()
    }
}
