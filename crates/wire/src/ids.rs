//! Numbers with a meaning. None of them is a pid: a pid may name a stranger a moment later.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A place for one worker, `0..procs`; it survives restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SlotId(pub u32);

/// One incarnation of a worker in its slot. A restart is a new `WorkerId`, so a message of the dead can
/// never be taken for one of the living.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WorkerId {
    /// Where it works.
    pub slot: SlotId,
    /// How many were born in that slot, this one included; the first is 1.
    pub incarnation: u32,
}

/// A task of the run, counted from 0 in the order of submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskId(pub u64);

/// The how-manieth try of a task this is; the first is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attempt(pub u32);

impl Attempt {
    /// The first try.
    pub const FIRST: Attempt = Attempt(1);

    /// The try after this one.
    ///
    /// ```
    /// # use brigade_wire::Attempt;
    /// assert_eq!(Attempt::FIRST.next(), Attempt(2));
    /// ```
    #[must_use]
    pub fn next(self) -> Attempt {
        Attempt(self.0.saturating_add(1))
    }
}

impl WorkerId {
    /// The worker that takes this one's place.
    ///
    /// ```
    /// # use brigade_wire::{SlotId, WorkerId};
    /// let first = WorkerId { slot: SlotId(2), incarnation: 1 };
    /// assert_eq!(first.successor().to_string(), "2.2");
    /// ```
    #[must_use]
    pub fn successor(self) -> WorkerId {
        WorkerId { slot: self.slot, incarnation: self.incarnation.wrapping_add(1) }
    }
}

impl fmt::Display for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// `slot.incarnation`, as logs and messages write it.
impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot, self.incarnation)
    }
}
