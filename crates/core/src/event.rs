//! All that can happen, on one screen.

use crate::Now;
use brigade_wire::{Ended, Exit, FailedAttempt, TaskId, WorkerId};
use std::ops::Range;
use std::time::Duration;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Tasks came in; they get the next ids. `weights` is empty (all alike) or has one entry a task.
    Submitted {
        /// How many.
        count: u64,
        /// What each weighs, for [`Schedule::Weighted`](crate::Schedule::Weighted).
        weights: Vec<u64>,
    },
    /// An earlier supervisor of this run has done so much: these tasks are settled and nothing is wished for
    /// them again, and the others go on with the attempts they have behind them. To be sent after
    /// [`Event::Submitted`] and before [`Core::start`](crate::Core::start).
    ///
    /// Whatever names a task that is not in the backlog (never submitted, or named before, or lent by now) is
    /// ignored, and [`Note::Unrecalled`](crate::Note::Unrecalled) says how many did: a journal that does so
    /// belongs to another run. A task that has spent all its attempts but has no final word is tried once more.
    Recalled {
        /// Tasks that were split, first to last, and the first of the two neighbours that each became.
        splits: Vec<(TaskId, TaskId)>,
        /// Tasks with values, in any order.
        values: Vec<Range<u64>>,
        /// Tasks that failed or panicked for good.
        failed: Vec<TaskId>,
        /// Tasks in quarantine.
        quarantined: Vec<TaskId>,
        /// What was tried of tasks without a final word: attempt numbers continue, and all of it counts.
        attempts: Vec<(TaskId, Vec<FailedAttempt>)>,
    },
    /// The process exists. It has not spoken yet.
    Born(WorkerId),
    /// There is no process: the wish could not be fulfilled now. No [`Event::Gone`] will follow.
    Unborn {
        /// Who was to be.
        worker: WorkerId,
        /// Why not.
        reason: String,
    },
    /// The worker spoke, and speaks our protocol.
    Hello(WorkerId),
    /// The worker said something that no worker of this build says. It is to be killed; the run gives up if
    /// it was its hello, because the next one would say the same.
    Garbled {
        /// Who.
        worker: WorkerId,
        /// What was wrong.
        reason: String,
    },
    /// Attempts that ended while their worker lives. One that the worker holds no lease for is as good as
    /// [`Event::Garbled`], and so is what follows it.
    Ended {
        /// Who ran them.
        worker: WorkerId,
        /// In the order they ended.
        ended: Vec<Ended>,
    },
    /// These leases could not be handed over (no credit, or the worker is gone): they were never seen by
    /// the worker. It gets nothing more until it has spoken again.
    Unsent {
        /// Who was to have them.
        worker: WorkerId,
        /// In the order of the wish.
        tasks: Vec<TaskId>,
    },
    /// The answer to [`Effect::Look`](crate::Effect::Look), from the worker's shared page.
    Seen {
        /// Who was looked at.
        worker: WorkerId,
        /// What it runs right now: as many as it has threads, at most.
        running: Vec<Running>,
        /// It had been [recalled](crate::Effect::Recall) before the page was read: what it runs are the last.
        recalled: bool,
    },
    /// The worker was found stopped (state T).
    Stopped(WorkerId),
    /// It goes on.
    Continued(WorkerId),
    /// The worker was found to use more memory than it may. Between two tasks it is recycled; with one that runs
    /// it is killed, and that task is blamed, if it is the only one.
    Bloated {
        /// Who.
        worker: WorkerId,
        /// It runs something right now.
        running: bool,
    },
    /// The process is dead and reaped, and nothing that it said is still under way: the last event of a
    /// worker.
    Gone {
        /// Who.
        worker: WorkerId,
        /// How.
        exit: Exit,
        /// The tasks that its page says it was running: where it is one, that is to blame, and of several nobody knows which.
        running: Vec<TaskId>,
        /// Tasks [in its hand](crate::Core::in_hand) that are of several items, and can be split in two.
        divisible: Vec<TaskId>,
    },
    /// Time has passed: the deadline that [`Core::next_deadline`](crate::Core::next_deadline) named, or more.
    Tick,
    /// The loop itself did not run for so long, by its own clock: the machine was suspended, its group frozen,
    /// its terminal said Ctrl-Z. Every deadline shifts by that: a frozen second kills no healthy worker.
    /// To be sent as soon as the loop is awake, before any [`Event::Tick`].
    Overslept(Duration),
    /// So many workers are wanted from now on. More are born in new slots; fewer: whoever has nothing in hand leaves
    /// first, and whoever has finishes that. What cannot be is told as
    /// [`Note::NotResized`](crate::Note::NotResized), and changes nothing.
    Resize(u32),
    /// Nothing more will be submitted: a run that holds its workers ends when all is settled.
    Close,
    /// Nobody wants these any more: their final word is [`Effect::Cancelled`](crate::Effect::Cancelled), at once. What waits
    /// is never lent. What names no task without a final word is ignored: whoever cancels may come too late.
    Cancel {
        /// Which, in any order.
        tasks: Vec<TaskId>,
        /// Those as well that are lent: one that runs costs its worker its life, and one that does not is not begun. Without
        /// it they are left to their workers, and get the word that these say.
        lent: bool,
    },
    /// Start no task any more; let those in hand finish, then end the workers.
    Drain,
    /// The same without patience: SIGTERM goes with the STOP, and SIGKILL comes after the grace.
    Terminate,
    /// End the workers now.
    Abort,
}

/// A task that a worker is running, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    /// Which.
    pub task: TaskId,
    /// It is of several items, and can be split in two.
    pub divisible: bool,
    /// When its attempt began, or last said that it gets on.
    pub since: Now,
    /// When its attempt began.
    pub began: Now,
}
