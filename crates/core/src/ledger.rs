//! What is settled, and what it took.

use crate::Tally;
use crate::recall::Recalled;
use crate::suspects::Suspects;
use brigade_wire::{Ending, FailedAttempt, TaskId};
use std::collections::BTreeMap;

/// Counts only: whether a task may still be settled is decided by its lease, not looked up here.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) values: u64,
    pub(crate) failed: u64,
    pub(crate) quarantined: u64,
    pub(crate) cancelled: u64,
    pub(crate) retried: u64,
    pub(crate) requeued: u64,
    pub(crate) restarts: u64,
    pub(crate) abandoned: u64,
    pub(crate) echoes: u64,
    /// What of this was settled before.
    pub(crate) recalled: Recalled,
    /// The attempts that came to nothing, of tasks that are not settled yet. A task that succeeds at once costs
    /// nothing.
    stories: BTreeMap<TaskId, Vec<FailedAttempt>>,
    pub(crate) suspects: Suspects,
}

impl Ledger {
    /// Tasks with their final word.
    pub(crate) fn settled(&self) -> u64 {
        self.values + self.failed + self.quarantined + self.cancelled
    }

    /// These were settled before.
    pub(crate) fn recall(&mut self, more: Recalled) {
        let Recalled { values, failed, quarantined } = &mut self.recalled;
        for (now, before, more) in [
            (&mut self.values, values, more.values),
            (&mut self.failed, failed, more.failed),
            (&mut self.quarantined, quarantined, more.quarantined),
        ] {
            *now += more;
            *before += more;
        }
    }

    /// What this core itself has settled: failures of all kinds, and values.
    pub(crate) fn own(&self, and_recalled: bool) -> (u64, u64) {
        let before = if and_recalled { Recalled::default() } else { self.recalled };
        let failures = self.failed + self.quarantined - before.failed - before.quarantined;
        (failures, self.values - before.values)
    }

    /// These were tried before.
    pub(crate) fn remember(&mut self, stories: impl Iterator<Item = (TaskId, Vec<FailedAttempt>)>) {
        self.stories.extend(stories);
    }

    /// Whether the task may fail once more without that being its final word.
    pub(crate) fn may_fail(&self, task: TaskId, retries: u32) -> bool {
        retries > 0 && self.failures(task) < retries
    }

    /// Attempts of this task that failed or panicked.
    pub(crate) fn failures(&self, task: TaskId) -> u32 {
        let story = self.stories.get(&task).map_or(&[][..], Vec::as_slice);
        u32::try_from(story.len() - deaths(story)).unwrap_or(u32::MAX)
    }

    /// An attempt failed, and is tried again.
    pub(crate) fn fail(&mut self, task: TaskId, failed: FailedAttempt) {
        self.stories.entry(task).or_default().push(failed);
    }

    /// An attempt ended while its worker lives, and that is final. Returns what was tried before.
    pub(crate) fn settle(&mut self, task: TaskId, ending: &Ending) -> Vec<FailedAttempt> {
        match ending {
            Ending::Value(_) => self.values += 1,
            Ending::Failed(_) | Ending::Panicked { .. } => self.failed += 1,
        }
        self.suspects.succeed();
        self.suspects.clear(task);
        self.stories.remove(&task).unwrap_or_default()
    }

    /// A worker died of this task. Returns the whole story if that was one too many: then it is to be
    /// quarantined or split.
    pub(crate) fn blame(
        &mut self,
        task: TaskId,
        failed: FailedAttempt,
        attempts_max: u32,
    ) -> Option<Vec<FailedAttempt>> {
        let story = self.stories.entry(task).or_default();
        story.push(failed);
        if deaths(story) < attempts_max as usize {
            return None;
        }
        self.stories.remove(&task)
    }

    /// That is the final word on it.
    pub(crate) fn quarantine(&mut self, task: TaskId) {
        self.quarantined += 1;
        self.suspects.clear(task);
    }

    /// Nobody wants to know any more.
    pub(crate) fn cancel(&mut self, task: TaskId) {
        self.cancelled += 1;
        self.suspects.clear(task);
        self.stories.remove(&task);
    }

    /// Two come in its place.
    pub(crate) fn split(&mut self, task: TaskId, parts: TaskId) {
        self.suspects.clear(task);
        self.suspects.add_parts(parts);
    }

    /// The counts, with those that only others know.
    pub(crate) fn tally(&self, submitted: u64, backlog: u64, leased: u64) -> Tally {
        Tally {
            submitted,
            backlog,
            leased,
            settled: self.settled(),
            values: self.values,
            failed: self.failed,
            quarantined: self.quarantined,
            cancelled: self.cancelled,
            retried: self.retried,
            requeued: self.requeued,
            restarts: self.restarts,
            abandoned: self.abandoned,
            echoes: self.echoes,
            recalled: self.recalled.settled(),
        }
    }
}

/// Attempts that took a worker along.
fn deaths(story: &[FailedAttempt]) -> usize {
    story.iter().filter(|failed| failed.end.is_death()).count()
}
