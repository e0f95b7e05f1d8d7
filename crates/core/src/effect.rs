//! All that the core can wish for, on one screen.

use crate::{Halt, Now};
use brigade_wire::{Attempt, Exit, FailedAttempt, Outcome, SlotId, TaskId, WorkerId};

/// One wish. The driver fulfils wishes in order; what came of them returns as events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Bring this worker to life: [`Event::Born`](crate::Event::Born) or `Unborn`, then `Hello`.
    Spawn(WorkerId),
    /// Lend these, in this order.
    Run {
        /// To whom.
        worker: WorkerId,
        /// What.
        leases: Vec<Lease>,
    },
    /// Send the STOP sentinel: it finishes what it was lent and leaves.
    Stop(WorkerId),
    /// SIGTERM, and SIGCONT so that it can be heard.
    Terminate(WorkerId),
    /// SIGABRT: a task has had its time, and its worker is to write where that hangs. [`Effect::Kill`] follows if it
    /// does not die of that.
    Abort {
        /// Who.
        worker: WorkerId,
        /// What has had its time; of several, what had it first.
        task: TaskId,
    },
    /// SIGKILL.
    Kill(WorkerId),
    /// Read its shared page: [`Event::Seen`](crate::Event::Seen).
    Look(WorkerId),
    /// Make it begin nothing any more of what it was lent, and leave between two tasks with
    /// [`Exit::RECYCLE`]; then read its page, which names what it has begun before it could know.
    Recall(WorkerId),
    /// The final word on a task: comes exactly once for each, and never for one that was recalled with it.
    Settle {
        /// Which.
        task: TaskId,
        /// The attempt that brought it.
        attempt: Attempt,
        /// Who ran that attempt.
        worker: WorkerId,
        /// The word.
        outcome: Outcome,
    },
    /// The final word on these, which somebody has cancelled. Whatever their workers say of them comes to nothing.
    Cancelled(Vec<TaskId>),
    /// A task of several items took too many workers along: two others come in its place, each with half of its
    /// items, so that in the end the bad one is alone. Nothing is wished for it any more.
    Split {
        /// Which.
        task: TaskId,
        /// What was tried, first to last.
        attempts: Vec<FailedAttempt>,
        /// The first of the two; the other is its successor.
        parts: TaskId,
    },
    /// An attempt at a task came to nothing, and was not the last: to be remembered, should the run be resumed.
    Spend {
        /// Which task.
        task: TaskId,
        /// Which attempt, whose, and how it ended.
        attempt: FailedAttempt,
    },
    /// For people and logs; nothing depends on it.
    Tell(Note),
}

/// A task lent to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Which.
    pub task: TaskId,
    /// Which try.
    pub attempt: Attempt,
}

/// What people want to know about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A worker is ready for its first task.
    Ready(WorkerId),
    /// A worker is dead.
    Exited {
        /// Who.
        worker: WorkerId,
        /// How.
        exit: Exit,
        /// It was meant to: it drained, or was ended at the end of the run.
        planned: bool,
        /// Tasks it had settled.
        settled: u64,
        /// The tasks it was running.
        held: Vec<TaskId>,
    },
    /// A task is back in the backlog: its worker died, it could not be handed over to one that is dying, or it
    /// failed and is tried again.
    Requeued {
        /// Which.
        task: TaskId,
        /// The attempt that it will be lent as.
        attempt: Attempt,
        /// The task failed, or was running when its worker died: one attempt is spent.
        blamed: bool,
        /// It failed, and its worker lives.
        failed: bool,
        /// Whom it comes back from.
        worker: WorkerId,
    },
    /// A task ran past its deadline: its worker is being ended.
    TimedOut {
        /// Which.
        task: TaskId,
        /// Whose.
        worker: WorkerId,
    },
    /// A worker runs what was cancelled: it is being killed, and nobody is blamed.
    Revoked {
        /// Which task.
        task: TaskId,
        /// Whose.
        worker: WorkerId,
    },
    /// A worker has served its time: it finishes what it has in hand, and is replaced if that many are wanted.
    Recycling {
        /// Who.
        worker: WorkerId,
        /// Why.
        why: Recycle,
    },
    /// A worker has outgrown its memory while it runs something: it is being killed.
    Bloated(WorkerId),
    /// A worker holds tasks, and neither runs one nor says how they ended: it is being killed.
    Stuck(WorkerId),
    /// SIGKILL did not end it in time: it is given up, its tasks go back, and another takes its place in another slot.
    /// Its body may still be found.
    Unkillable(WorkerId),
    /// Another number of workers is wanted from now on.
    Resized {
        /// So many were.
        from: u32,
        /// So many are.
        to: u32,
    },
    /// The number of workers stays as it is.
    NotResized {
        /// What was asked for.
        wanted: u32,
        /// Why that cannot be.
        why: Unresized,
    },
    /// A worker was found stopped.
    Stopped(WorkerId),
    /// A stopped worker goes on.
    Continued(WorkerId),
    /// A worker did not say hello in time, or could not be born.
    NotBorn {
        /// Who.
        worker: WorkerId,
        /// Why.
        reason: String,
    },
    /// The slot is filled again only then.
    BackingOff {
        /// Which.
        slot: SlotId,
        /// When.
        until: Now,
    },
    /// So many tasks were to be recalled that do not wait here: the journal is of another run.
    Unrecalled {
        /// How many.
        tasks: u64,
    },
    /// All tasks are settled; the workers are held (only with [`Policy::hold`](crate::Policy)).
    Holding,
    /// Enough has happened: the run ends as this says.
    Halting(Halt),
    /// The run ends early.
    GaveUp(GiveUp),
}

/// Why a worker is recycled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recycle {
    /// It was lent as many tasks as it may have.
    Tasks,
    /// It is too old.
    Age,
    /// It has outgrown its memory, and runs nothing.
    Memory,
    /// Fewer workers are wanted: nobody takes its place.
    Resize,
    /// It was lent what is cancelled by now, and begins nothing of what it holds.
    Cancel,
    /// What it runs is long, and others have nothing to do: they get what waits behind that.
    TakeBack,
}

/// Why the number of workers stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unresized {
    /// One worker is the least.
    TooFew,
    /// There may be no more.
    TooMany {
        /// Than so many.
        most: u32,
    },
    /// The run ends.
    Ending,
}

/// Why a run ends before its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GiveUp {
    /// A slot died too often without getting anything done.
    Intensity {
        /// Which.
        slot: SlotId,
        /// Deaths that counted, within the policy's time.
        deaths: u32,
        /// The last of them; `None` if it was never born.
        exit: Option<Exit>,
    },
    /// There is no slot left for another worker: each is lost to one that nothing can kill; this was the last.
    Unkillable(WorkerId),
    /// A worker ended with [`Exit::CANNOT_RUN`].
    CannotRun(WorkerId),
    /// A worker is of another build, or no worker at all.
    Refused {
        /// Who.
        worker: WorkerId,
        /// What it said.
        reason: String,
    },
}
