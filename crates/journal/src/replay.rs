//! Reading: whose journal it is, then every record, then the decision what the rest is.
//!
//! ```text
//! header ─▶ record ─▶ record ─▶ … ─▶ not whole ─▶ proof behind it that it was whole once? ─ yes ─▶ Damaged, untouched
//!                                                                                        └ no ──▶ cut, and go on
//! ```

use crate::format::{Entry, Frames, HEADER_HEAD_BYTES, Header, HeaderHead, MAGIC, VERSION, open_header};
use crate::values::{Author, Values};
use crate::window::Window;
use crate::{
    Durability, Identity, IdentityError, Journal, JournalError, OpenError, Record, Settled, Storage,
};
use brigade_wire::{FailedAttempt, Outcome, RECORD_BYTES_MAX, TaskId};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;

/// A journal whose header was read. Nothing is changed before its records are.
#[derive(Debug)]
pub struct Replay<S: Storage> {
    storage: S,
    header: Header,
    frames: Frames,
    /// Where the first record stands.
    start: u64,
    end: u64,
}

/// What a journal had beside the results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Whose it is.
    pub identity: Identity,
    /// How many tasks are settled.
    pub settled: u64,
    /// Who died of tasks that are not settled yet, first to last.
    pub attempts: BTreeMap<TaskId, Vec<FailedAttempt>>,
    /// Tasks that were split, first to last, and the first of the two that came in the place of each.
    pub splits: Vec<(TaskId, TaskId)>,
    /// Tasks whose final word is quarantine, and whether they were given up for good.
    pub quarantined: BTreeMap<TaskId, bool>,
    /// Records that were appended, each value for itself.
    pub records: u64,
    /// Records about a task that had its final word already; they count for nothing.
    pub repeated: u64,
    /// How often the run was resumed before.
    pub resumed: u64,
    /// Bytes that were cut off at the end.
    pub torn_bytes: u64,
}

impl<S: Storage> Replay<S> {
    pub(crate) fn begin(storage: S) -> Result<Replay<S>, OpenError> {
        let fails = |doing| {
            let path = storage.path().to_path_buf();
            move |cause| JournalError::io(doing, &path, cause)
        };
        let end = storage.len().map_err(fails("measure"))?;
        let mut window = Window::new(end);
        if is_blank(&mut window, &storage).map_err(fails("read"))? {
            return Err(OpenError::Unborn { path: storage.path().into() });
        }
        let head = window.at(&storage, 0, HEADER_HEAD_BYTES).map_err(fails("read"))?;
        let bytes = header_bytes(head, storage.path())?;
        if end < bytes as u64 {
            return Err(OpenError::Unborn { path: storage.path().into() });
        }
        let whole = window.at(&storage, 0, bytes).map_err(fails("read"))?;
        let damaged = || OpenError::Damaged { path: storage.path().into(), offset: 0 };
        let (header, seed) = open_header(whole).ok_or_else(damaged)?;
        Ok(Replay { storage, header, frames: Frames { seed }, start: bytes as u64, end })
    }

    /// Whose journal it is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.header.identity
    }

    /// What the run was promised.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.header.durability
    }

    /// Whether its results are results of the run `here`.
    ///
    /// # Errors
    /// Names everything in which they differ.
    pub fn check(&self, here: &Identity) -> Result<(), IdentityError> {
        let differences = self.identity().differences(here);
        match differences.is_empty() {
            true => Ok(()),
            false => Err(IdentityError { path: self.storage.path().into(), differences }),
        }
    }

    /// Hands on the final word of each task and goes on with the journal: in the order they were written, but those
    /// of quarantined tasks last, since a word that is taken back later is not handed on. A torn tail is cut off; with [`Durability::Power`] all the rest is on the disk when this returns, and the file's name too, for
    /// its supervisor may have been killed before it could sync them.
    ///
    /// # Errors
    /// If the journal is damaged or cannot be read, cut or synced. What was handed on then counts for nothing.
    pub fn each(mut self, mut hand_on: impl FnMut(Settled)) -> Result<(Journal<S>, Recovered), OpenError> {
        let mut memory = Memory::new(self.header.identity.clone());
        let mut window = Window::new(self.end);
        let mut at = self.start;
        while let Some((entry, next)) = self.take(&mut window, at)? {
            memory.keep(entry, &mut hand_on).map_err(|Stranger| self.damaged(at))?;
            at = next;
        }
        memory.held_back().for_each(&mut hand_on);
        if at < self.end {
            if self.was_whole(&mut window, at)? {
                return Err(self.damaged(at));
            }
            memory.recovered.torn_bytes = self.end - at;
            self.storage.truncate(at).map_err(|cause| self.fails("cut the torn end off", cause))?;
        }
        let is_synced = self.header.durability == Durability::Power;
        if is_synced {
            self.storage.fdatasync().map_err(|cause| self.fails("sync", cause))?;
            self.storage.sync_name().map_err(|cause| self.fails("sync the directory of", cause))?;
        }
        let mut journal = Journal::new(self.storage, self.frames, self.header.durability, at);
        if is_synced {
            journal.mark_synced();
        }
        Ok((journal, memory.recovered))
    }

    /// The same, with the results in memory.
    ///
    /// # Errors
    /// As [`Replay::each`].
    pub fn collect(self) -> Result<(Journal<S>, Recovered, Vec<Settled>), OpenError> {
        let mut all = Vec::new();
        let (journal, recovered) = self.each(|settled| all.push(settled))?;
        Ok((journal, recovered, all))
    }

    fn take<'a>(&self, window: &'a mut Window, at: u64) -> Result<Option<(Entry<'a>, u64)>, OpenError> {
        let entry = self.frames.get(window, &self.storage, at);
        entry.map_err(|cause| self.fails("read", cause).into())
    }

    /// Whether something behind `at` proves that the bytes there had been written properly once. Looks for a record
    /// at every byte, because the length that would say where the next one stands may be what is wrong.
    fn was_whole(&self, window: &mut Window, at: u64) -> Result<bool, OpenError> {
        let mut behind = at + 1;
        while behind < self.end {
            let Some((entry, next)) = self.take(window, behind)? else {
                behind += 1;
                continue;
            };
            match (self.header.durability, entry) {
                (Durability::Kill, Entry::Values(_) | Entry::Record(_) | Entry::Mark(_)) => return Ok(true),
                (Durability::Power, Entry::Mark(end)) if end > at => return Ok(true),
                // A later block than the lost one: loss of power may do that.
                (Durability::Power, Entry::Values(_) | Entry::Record(_) | Entry::Mark(_)) => behind = next,
            }
        }
        Ok(false)
    }

    fn damaged(&self, offset: u64) -> OpenError {
        OpenError::Damaged { path: self.storage.path().into(), offset }
    }

    fn fails(&self, doing: &'static str, cause: io::Error) -> JournalError {
        JournalError::io(doing, self.storage.path(), cause)
    }
}

/// Whether there is nothing, or zeros only: loss of power may leave them where a header was never synced.
fn is_blank(window: &mut Window, storage: &impl Storage) -> io::Result<bool> {
    const STEP_BYTES: usize = 4096;
    let mut at = 0;
    while at < window.end {
        let bytes = window.at(storage, at, STEP_BYTES)?;
        if bytes.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        at += bytes.len() as u64;
    }
    Ok(true)
}

/// How long the header is, from its first 24 bytes or as many as there are.
fn header_bytes(head: &[u8], path: &Path) -> Result<usize, OpenError> {
    let path = path.to_path_buf();
    let magic = head.len().min(MAGIC.len());
    if head[..magic] != MAGIC[..magic] {
        return Err(OpenError::NotAJournal { path });
    }
    if head.len() < HEADER_HEAD_BYTES {
        return Err(OpenError::Unborn { path });
    }
    let known = HeaderHead::read(head).filter(|head| head.body_bytes <= RECORD_BYTES_MAX);
    let Some(known) = known else { return Err(OpenError::Damaged { path, offset: 0 }) };
    if known.version != VERSION {
        return Err(OpenError::Version { path, found: known.version, ours: VERSION });
    }
    Ok(HEADER_HEAD_BYTES + known.body_bytes)
}

/// A record about a task that the run does not have.
struct Stranger;

/// What is known so far.
struct Memory {
    recovered: Recovered,
    /// One bit for each settled task, 64 to a word: a million take 16,000 words, and a lone large number takes one.
    settled: HashMap<u64, u64>,
    /// Words that may still be taken back.
    quarantined: BTreeMap<TaskId, Settled>,
}

impl Memory {
    fn new(identity: Identity) -> Memory {
        let recovered = Recovered {
            identity,
            settled: 0,
            attempts: BTreeMap::new(),
            splits: Vec::new(),
            quarantined: BTreeMap::new(),
            records: 0,
            repeated: 0,
            resumed: 0,
            torn_bytes: 0,
        };
        Memory { recovered, settled: HashMap::new(), quarantined: BTreeMap::new() }
    }

    fn keep(&mut self, entry: Entry<'_>, hand_on: &mut impl FnMut(Settled)) -> Result<(), Stranger> {
        match entry {
            Entry::Values(values) => self.keep_values(values, hand_on),
            Entry::Record(record) => self.keep_record(record, hand_on),
            Entry::Mark(_) => Ok(()),
        }
    }

    fn keep_values(&mut self, values: Values<'_>, hand_on: &mut impl FnMut(Settled)) -> Result<(), Stranger> {
        let Author { worker, attempt } = values.author;
        for (task, value) in values.each() {
            self.recovered.records += 1;
            if self.settle(self.known(task)?) {
                self.recovered.attempts.remove(&task);
                hand_on(Settled { task, attempt, worker, outcome: Outcome::Value(value.to_vec()) });
            }
        }
        Ok(())
    }

    fn keep_record(&mut self, record: Record, hand_on: &mut impl FnMut(Settled)) -> Result<(), Stranger> {
        self.recovered.records += 1;
        match record {
            Record::Settled(settled) => {
                if self.settle(self.known(settled.task)?) {
                    self.recovered.attempts.remove(&settled.task);
                    self.hand_on(settled, hand_on);
                }
            }
            Record::Blamed { task, attempt } => match self.is_settled(self.known(task)?) {
                true => self.recovered.repeated += 1,
                false => self.recovered.attempts.entry(task).or_default().push(attempt),
            },
            Record::Split { task, parts } => self.split(self.known(task)?, parts)?,
            Record::Resumed { .. } => self.recovered.resumed += 1,
            Record::Reopened { task } => self.reopen(self.known(task)?),
            Record::Dropped { task } => match self.recovered.quarantined.get_mut(&self.known(task)?) {
                Some(is_dropped) if !*is_dropped => *is_dropped = true,
                Some(_) | None => self.recovered.repeated += 1,
            },
        }
        Ok(())
    }

    /// The word of a quarantined task waits for the end: it may be taken back.
    fn hand_on(&mut self, settled: Settled, hand_on: &mut impl FnMut(Settled)) {
        match settled.outcome {
            Outcome::Quarantined { .. } => {
                self.recovered.quarantined.insert(settled.task, false);
                self.quarantined.insert(settled.task, settled);
            }
            Outcome::Value(_) | Outcome::Failed(_) | Outcome::Panicked { .. } => hand_on(settled),
        }
    }

    /// Two come in the place of a task that has no final word.
    fn split(&mut self, task: TaskId, parts: TaskId) -> Result<(), Stranger> {
        if parts.0 != self.tasks() {
            return Err(Stranger);
        }
        if self.settle(task) {
            self.recovered.settled -= 1;
            self.recovered.attempts.remove(&task);
            self.recovered.splits.push((task, parts));
        }
        Ok(())
    }

    /// How many numbers the run has by now.
    fn tasks(&self) -> u64 {
        self.recovered.identity.tasks + 2 * self.recovered.splits.len() as u64
    }

    /// Takes the word of a quarantined task back. Of any other, and of one that was dropped, it stands.
    fn reopen(&mut self, task: TaskId) {
        if self.recovered.quarantined.get(&task) != Some(&false) {
            self.recovered.repeated += 1;
            return;
        }
        self.recovered.quarantined.remove(&task);
        self.quarantined.remove(&task);
        *self.settled.entry(task.0 / 64).or_default() &= !bit(task);
        self.recovered.settled -= 1;
    }

    /// What was not taken back.
    fn held_back(&mut self) -> impl Iterator<Item = Settled> + use<> {
        std::mem::take(&mut self.quarantined).into_values()
    }

    fn known(&self, task: TaskId) -> Result<TaskId, Stranger> {
        if task.0 < self.tasks() { Ok(task) } else { Err(Stranger) }
    }

    /// Whether this is its first final word.
    fn settle(&mut self, task: TaskId) -> bool {
        let word = self.settled.entry(task.0 / 64).or_default();
        let is_first = *word & bit(task) == 0;
        *word |= bit(task);
        match is_first {
            true => self.recovered.settled += 1,
            false => self.recovered.repeated += 1,
        }
        is_first
    }

    fn is_settled(&self, task: TaskId) -> bool {
        self.settled.get(&(task.0 / 64)).is_some_and(|word| word & bit(task) != 0)
    }
}

fn bit(task: TaskId) -> u64 {
    1 << (task.0 % 64)
}
