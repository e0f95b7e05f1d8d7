//! What a journal keeps.

use brigade_wire::{Attempt, FailedAttempt, Outcome, TaskId, WorkerId};
use serde::{Deserialize, Serialize};

/// One thing that happened and must not be forgotten.
///
/// Values share a record in the file, and take two or three bytes there beside what they are without the zeros at their
/// ends. Everything else has a record of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// The final word on a task.
    Settled(Settled),
    /// A task took its worker along; it will be tried again.
    Blamed {
        /// Which.
        task: TaskId,
        /// How that try ended.
        attempt: FailedAttempt,
    },
    /// Another supervisor went on from here. Incarnations of workers begin anew.
    Resumed {
        /// When, in seconds since 1970 by the wall clock: for people only.
        at_unix_s: u64,
    },
    // New kinds go to the end: bytes that were written before keep their meaning.
    /// A quarantined task is to be done again: its word and its attempts are forgotten.
    Reopened {
        /// Which.
        task: TaskId,
    },
    /// A quarantined task is given up for good: its word stands, and nobody asks about it any more.
    Dropped {
        /// Which.
        task: TaskId,
    },
    /// A task took too many workers along, and two others have come in its place: from here on the run has two
    /// numbers more.
    Split {
        /// Which.
        task: TaskId,
        /// The first of the two, the run's next free number.
        parts: TaskId,
    },
}

/// The final word on a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// Which.
    pub task: TaskId,
    /// The attempt that brought it.
    pub attempt: Attempt,
    /// Who ran that attempt.
    pub worker: WorkerId,
    /// The word.
    pub outcome: Outcome,
}

/// What a run was promised. It stands in the journal and holds for every resume of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Durability {
    /// What was flushed survives any kill of this process: the kernel has it.
    #[default]
    Kill,
    /// What was synced survives loss of power: the disk has it.
    Power,
}
