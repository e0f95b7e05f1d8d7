//! One process of the world, as it is, which the core can only guess.

use brigade_core::{Lease, Now, Running};
use brigade_wire::{Ended, SlotId, TaskId, WorkerId};
use std::collections::VecDeque;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Nobody,
    Wished,
    Alive,
    /// A deadly signal is on its way.
    Shot,
}

/// Whether SIGKILL ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    Not,
    /// Some time later.
    ForAWhile,
    ForEver,
}

/// One task that it runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) lease: Lease,
    pub(crate) since: Now,
    /// How much of that the loop slept.
    pub(crate) slept: Duration,
}

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) worker: WorkerId,
    pub(crate) body: Body,
    pub(crate) hello: bool,
    /// It will never do anything again.
    pub(crate) hung: bool,
    /// It does nothing until it is continued.
    pub(crate) stopped: bool,
    /// It was told to stop.
    pub(crate) stop: bool,
    /// The core has sent SIGTERM.
    pub(crate) terminated: bool,
    /// The core has sent SIGABRT, then.
    pub(crate) aborted_at: Option<Now>,
    /// The core has sent SIGKILL.
    pub(crate) shot: bool,
    /// It sent the last one then.
    pub(crate) shot_at: Now,
    /// Something in the kernel holds it.
    pub(crate) held: Held,
    /// The core has given it up.
    pub(crate) lost: bool,
    /// Its process was there when it was shot, or later.
    pub(crate) born_at: Option<Now>,
    pub(crate) garbled: bool,
    /// The core has heard that it outgrew its memory, while it ran nothing or something.
    pub(crate) bloated: Option<bool>,
    /// It is to be replaced when it has done what it has.
    pub(crate) recycled: bool,
    /// It begins nothing any more of what it holds.
    pub(crate) recalled: bool,
    /// Tasks it was lent, without those that never left.
    pub(crate) lent: u64,
    pub(crate) hello_at: Now,
    /// The core wants to see its page.
    pub(crate) asked: bool,
    pub(crate) queue: VecDeque<Lease>,
    /// As many as it has threads, at most.
    pub(crate) running: Vec<Run>,
    /// Something did not reach it, and the core has not heard from it since.
    pub(crate) full: bool,
    pub(crate) outbox: Vec<Ended>,
    pub(crate) wished_at: Now,
    /// The how-manieth of all it is.
    pub(crate) birth: u64,
    /// When it was last lent something with an empty hand, or heard.
    pub(crate) quiet_since: Now,
    /// When the core last heard that something had not reached it.
    pub(crate) missed_at: Now,
}

impl Process {
    pub(crate) fn nobody(slot: u32) -> Process {
        let worker = WorkerId { slot: SlotId(slot), incarnation: 0 };
        Process { body: Body::Nobody, ..Process::wished(worker, Now::millis(0)) }
    }

    pub(crate) fn wished(worker: WorkerId, now: Now) -> Process {
        Process {
            worker,
            body: Body::Wished,
            hello: false,
            hung: false,
            stopped: false,
            stop: false,
            terminated: false,
            aborted_at: None,
            shot: false,
            shot_at: now,
            held: Held::Not,
            lost: false,
            born_at: None,
            garbled: false,
            bloated: None,
            recycled: false,
            recalled: false,
            lent: 0,
            hello_at: now,
            asked: false,
            queue: VecDeque::new(),
            running: Vec::new(),
            full: false,
            outbox: Vec::new(),
            wished_at: now,
            birth: 0,
            quiet_since: now,
            missed_at: now,
        }
    }

    /// What its shared page says, of tasks that are of so many items.
    pub(crate) fn page(&self, items: impl Fn(TaskId) -> u32) -> Vec<Running> {
        let page = |&Run { lease, since, .. }: &Run| Running {
            task: lease.task,
            divisible: items(lease.task) > 1,
            since,
            began: since,
        };
        self.running.iter().map(page).collect()
    }

    /// Whether it runs this.
    pub(crate) fn runs(&self, task: TaskId) -> bool {
        self.running.iter().any(|run| run.lease.task == task)
    }

    /// The core has its reason to wait for its body: whatever it says now changes nothing about that.
    pub(crate) fn is_condemned(&self) -> bool {
        self.shot || self.aborted_at.is_some()
    }

    /// The loop sleeps, and so does this.
    pub(crate) fn sleep(&mut self, by: Duration) {
        self.wished_at = self.wished_at + by;
        self.quiet_since = self.quiet_since + by;
        self.missed_at = self.missed_at + by;
        self.hello_at = self.hello_at + by;
        self.aborted_at = self.aborted_at.map(|at| at + by);
        self.born_at = self.born_at.map(|at| at + by);
        self.shot_at = self.shot_at + by;
        self.running.iter_mut().for_each(|run| run.slept += by);
    }

    /// It is one of those that the run is to have: neither told to leave, nor shot, nor given up.
    pub(crate) fn serves(&self) -> bool {
        let is_there = matches!(self.body, Body::Wished | Body::Alive);
        is_there && !self.stop && !self.is_condemned()
    }

    /// Nothing that it was lent is with it any more.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.running.is_empty() && self.outbox.is_empty()
    }
}
