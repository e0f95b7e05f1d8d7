//! Keeping the books: what a run has settled is in its journal before anybody is told, and ten milliseconds after the last
//! write at most.

use crate::run::Work;
use crate::rundir::RunDir;
use brigade_core::Event;
use brigade_journal::{
    Durability, Identity, Journal, JournalError, JournalFile, OpenError, Record, Recovered, Settled,
};
use brigade_os::clock;
use brigade_wire::{FailedAttempt, Outcome, PROTOCOL, TaskId};
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

/// Between two writes that nobody waits for. One for each packet of results took longer than all else that the journal
/// does.
const WRITE_EVERY: Duration = Duration::from_millis(10);

/// The journal of a run, or none if nobody wants one.
#[derive(Debug)]
pub(crate) struct Books {
    journal: Option<Journal<JournalFile>>,
    /// The error that ended it, until it was told.
    news: Option<JournalError>,
    /// Something was taken since the last write.
    is_behind: bool,
    written_ns: u64,
    /// Results since the journal was last handed over.
    unwritten: u64,
}

/// What an earlier supervisor of the run had settled.
#[derive(Debug)]
pub(crate) struct Recall {
    /// For the core.
    pub(crate) event: Event,
    /// How many tasks that are.
    pub(crate) settled: u64,
    /// Bytes that its death had torn off.
    pub(crate) torn_bytes: u64,
    /// Who is in quarantine, and was not given up for good.
    pub(crate) quarantined: BTreeMap<TaskId, Vec<FailedAttempt>>,
}

impl Books {
    /// A run that keeps none.
    pub(crate) fn none() -> Books {
        Books { journal: None, news: None, is_behind: false, written_ns: 0, unwritten: 0 }
    }

    fn of(journal: Journal<JournalFile>) -> Books {
        Books { journal: Some(journal), ..Books::none() }
    }

    /// Opens new books.
    pub(crate) fn begin(
        dir: &RunDir,
        work: &dyn Work,
        durability: Durability,
    ) -> Result<Books, JournalError> {
        let file = JournalFile::create(&dir.journal_file())?;
        let journal = Journal::create(file, &identity(dir, work), durability)?;
        Ok(Books::of(journal))
    }

    /// Goes on with those of an earlier supervisor, and hands `work` the results that stand there.
    pub(crate) fn resume(dir: &RunDir, work: &mut dyn Work) -> Result<(Books, Recall), ResumeError> {
        let replay = Journal::open(JournalFile::open(&dir.journal_file())?)?;
        replay.check(&identity(dir, work))?;
        let mut found = Found { own: work.count(), ..Found::default() };
        let (mut journal, recovered) = replay.each(|settled| found.hear(settled, work))?;
        found.split(&recovered.splits, work);
        let mut quarantined = found.quarantined.clone();
        quarantined.retain(|task, _| recovered.quarantined.get(task) == Some(&false));
        if let Some(reason) = found.fault {
            return Err(ResumeError::Result(reason));
        }
        journal.append(&Record::Resumed { at_unix_s: clock::unix_seconds() })?;
        journal.commit()?;
        let (settled, torn_bytes) = (recovered.settled, recovered.torn_bytes);
        let recall = Recall { event: found.into_event(recovered), settled, torn_bytes, quarantined };
        Ok((Books::of(journal), recall))
    }

    /// A task has its final word.
    pub(crate) fn settled(&mut self, settled: Settled) {
        self.unwritten += u64::from(self.journal.is_some());
        self.write(&Record::Settled(settled));
    }

    /// Results that are not in the journal, and never will be if it is broken.
    pub(crate) fn unwritten(&self) -> u64 {
        self.unwritten
    }

    /// An attempt came to nothing, and was not the last.
    pub(crate) fn spent(&mut self, task: TaskId, attempt: FailedAttempt) {
        self.write(&Record::Blamed { task, attempt });
    }

    /// Two tasks have come in the place of one.
    pub(crate) fn split(&mut self, task: TaskId, parts: TaskId) {
        self.write(&Record::Split { task, parts });
    }

    /// Hands everything to the kernel, or to the disk if that was promised. Only then it may be told.
    pub(crate) fn commit(&mut self) {
        if std::mem::take(&mut self.is_behind) {
            self.attempt(Journal::commit);
            if self.journal.as_ref().is_some_and(|journal| journal.broken().is_none()) {
                self.unwritten = 0;
            }
            self.written_ns = clock::monotonic_ns();
        }
    }

    /// When it is to be handed over though nobody is told, if there is anything.
    pub(crate) fn due_ns(&self) -> Option<u64> {
        self.is_behind.then(|| self.written_ns + WRITE_EVERY.as_nanos() as u64)
    }

    /// Whether that is now.
    pub(crate) fn is_due(&self, now_ns: u64) -> bool {
        self.due_ns().is_some_and(|due| due <= now_ns)
    }

    /// Why the journal takes nothing any more; said once.
    pub(crate) fn take_news(&mut self) -> Option<JournalError> {
        self.news.take()
    }

    fn write(&mut self, record: &Record) {
        self.is_behind = self.journal.is_some();
        self.attempt(|journal| journal.append(record));
    }

    fn attempt(&mut self, act: impl FnOnce(&mut Journal<JournalFile>) -> Result<(), JournalError>) {
        let Some(journal) = &mut self.journal else { return };
        if journal.broken().is_none()
            && let Err(error) = act(journal)
        {
            self.news = Some(error);
        }
    }
}

/// Why a run cannot be gone on with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResumeError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Other(#[from] brigade_journal::IdentityError),
    #[error("{0}")]
    Result(String),
}

/// Whose journal stands in a run's directory.
pub(crate) fn whose(dir: &RunDir) -> Result<Identity, OpenError> {
    Ok(Journal::open(JournalFile::open(&dir.journal_file())?)?.identity().clone())
}

fn identity(dir: &RunDir, work: &dyn Work) -> Identity {
    Identity {
        run: dir.name().into(),
        function: work.function().into(),
        parameters: work.parameters(),
        tasks: work.count(),
        input_hash: work.input_hash(),
        protocol: PROTOCOL,
    }
}

/// What stands in a journal, by kind.
#[derive(Debug, Default)]
struct Found {
    /// Tasks that the run began with; later ones are parts of these.
    own: u64,
    /// Words on parts, until it is known of what.
    of_parts: Vec<Settled>,
    values: Vec<u64>,
    failed: Vec<TaskId>,
    quarantined: BTreeMap<TaskId, Vec<FailedAttempt>>,
    fault: Option<String>,
}

impl Found {
    fn hear(&mut self, settled: Settled, work: &mut dyn Work) {
        match settled.task.0 < self.own {
            true => self.take(settled, work),
            false => self.of_parts.push(settled),
        }
    }

    /// All that was split is split again, and the words on the parts have a meaning.
    fn split(&mut self, splits: &[(TaskId, TaskId)], work: &mut dyn Work) {
        splits.iter().for_each(|&(task, parts)| work.split(task, parts));
        std::mem::take(&mut self.of_parts).into_iter().for_each(|settled| self.take(settled, work));
    }

    fn take(&mut self, mut settled: Settled, work: &mut dyn Work) {
        if let Err(reason) = work.settle(settled.task, &mut settled.outcome) {
            self.fault.get_or_insert(reason);
        }
        match settled.outcome {
            Outcome::Value(_) => self.values.push(settled.task.0),
            Outcome::Failed(_) | Outcome::Panicked { .. } => self.failed.push(settled.task),
            Outcome::Quarantined { attempts } => {
                self.quarantined.insert(settled.task, attempts);
            }
        }
    }

    fn into_event(mut self, recovered: Recovered) -> Event {
        self.values.sort_unstable();
        let attempts = recovered.attempts.into_iter().collect();
        let Found { values, failed, quarantined, .. } = self;
        let quarantined = quarantined.into_keys().collect();
        Event::Recalled { splits: recovered.splits, values: ranges(&values), failed, quarantined, attempts }
    }
}

/// Sorted numbers as ranges.
fn ranges(numbers: &[u64]) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for &number in numbers {
        match ranges.last_mut() {
            Some(last) if last.end == number => last.end += 1,
            Some(_) | None => ranges.push(number..number + 1),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_share_a_range() {
        assert_eq!(ranges(&[0, 1, 2, 5, 7, 8]), [0..3, 5..6, 7..9]);
        assert_eq!(ranges(&[]), []);
    }
}
