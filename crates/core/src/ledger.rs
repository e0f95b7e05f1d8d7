//! What is settled, and what it took.

use crate::Tally;
use brigade_wire::{Ending, FailedAttempt, TaskId};
use std::collections::BTreeMap;

/// Counts only: whether a task may still be settled is decided by its lease, not looked up here.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) values: u64,
    pub(crate) failed: u64,
    pub(crate) quarantined: u64,
    pub(crate) retried: u64,
    pub(crate) requeued: u64,
    pub(crate) restarts: u64,
    pub(crate) abandoned: u64,
    pub(crate) echoes: u64,
    /// The attempts that died, of tasks that are not settled yet. A task nobody died of costs nothing.
    stories: BTreeMap<TaskId, Vec<FailedAttempt>>,
}

impl Ledger {
    /// Tasks with their final word.
    pub(crate) fn settled(&self) -> u64 {
        self.values + self.failed + self.quarantined
    }

    /// An attempt ended while its worker lives: that is final. Returns who died of the task before.
    pub(crate) fn settle(&mut self, task: TaskId, ending: &Ending) -> Vec<FailedAttempt> {
        match ending {
            Ending::Value(_) => self.values += 1,
            Ending::Failed(_) | Ending::Panicked { .. } => self.failed += 1,
        }
        self.stories.remove(&task).unwrap_or_default()
    }

    /// A worker died of this task. Returns the whole story if that was one too many: then it is settled.
    pub(crate) fn blame(
        &mut self,
        task: TaskId,
        failed: FailedAttempt,
        attempts_max: u32,
    ) -> Option<Vec<FailedAttempt>> {
        let story = self.stories.entry(task).or_default();
        story.push(failed);
        if story.len() < attempts_max as usize {
            return None;
        }
        self.quarantined += 1;
        self.stories.remove(&task)
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
            retried: self.retried,
            requeued: self.requeued,
            restarts: self.restarts,
            abandoned: self.abandoned,
            echoes: self.echoes,
        }
    }
}
