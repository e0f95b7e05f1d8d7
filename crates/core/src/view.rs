//! What others may see of the core: for status, reports and exit codes.

use crate::{GiveUp, Now};
use brigade_wire::{SlotId, WorkerId};

/// How a run ended. Means something once [`Core::is_finished`](crate::Core::is_finished).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every task has its final word.
    Complete,
    /// Told to drain before that: the rest stays in the backlog.
    Drained,
    /// Told to end at once.
    Aborted,
    /// Enough had happened for the policy's [`Halt`](crate::Halt): the rest stays in the backlog.
    Halted,
    /// The core itself ended it.
    GaveUp(GiveUp),
}

/// Counts of a run. `backlog + leased + settled == submitted` after every event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tasks that came in.
    pub submitted: u64,
    /// Tasks that nobody holds.
    pub backlog: u64,
    /// Tasks in the hands of workers.
    pub leased: u64,
    /// Tasks with their final word.
    pub settled: u64,
    /// Of these: values.
    pub values: u64,
    /// Of these: failed or panicked.
    pub failed: u64,
    /// Of these: quarantined.
    pub quarantined: u64,
    /// Of these: cancelled.
    pub cancelled: u64,
    /// Of the settled: by an earlier supervisor of the run.
    pub recalled: u64,
    /// Attempts spent, by a death or by a failure that is tried again.
    pub retried: u64,
    /// Tasks that came back: from a worker that died, blamed or not, or from a failure that is tried again.
    pub requeued: u64,
    /// Workers wished for in the place of one whose death was not planned.
    pub restarts: u64,
    /// Tasks taken from the hand of a worker because a drain had waited long enough.
    pub abandoned: u64,
    /// Ends of attempts that no lease stood for, and that were dropped.
    pub echoes: u64,
}

/// What a slot's worker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Nobody is there; the next is wished for at this time.
    Waiting {
        /// When.
        until: Now,
    },
    /// Wished for, and not heard of yet.
    Starting,
    /// Takes tasks.
    Ready,
    /// Told to stop; it finishes what it has in hand.
    Draining,
    /// Killed; its body is waited for.
    Dying,
    /// Killed, and it did not die in time: it was given up, and nobody else takes its place until its body is found.
    Unkillable,
    /// Nobody is there, and nobody is to come.
    Ended,
}

/// One slot, as status shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotView {
    /// Which.
    pub slot: SlotId,
    /// Its worker, or the last one if there is none; incarnation 0 if there has been none.
    pub worker: WorkerId,
    /// What the worker is doing.
    pub life: Life,
    /// Tasks in its hand.
    pub leases: usize,
    /// Tasks that this incarnation settled.
    pub settled: u64,
    /// It was found stopped (state T), and has not gone on since.
    pub stopped: bool,
    /// It is one of those that the run is to have; otherwise it was taken away, and is empty or will be.
    pub wanted: bool,
}
