//! One process of the world, as it is, which the core can only guess.

use brigade_core::{Lease, Now, Running};
use brigade_wire::{Ended, SlotId, WorkerId};
use std::collections::VecDeque;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Nobody,
    Wished,
    Alive,
    /// A deadly signal is on its way.
    Shot,
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
    /// The core has sent SIGKILL.
    pub(crate) shot: bool,
    pub(crate) garbled: bool,
    /// The core wants to see its page.
    pub(crate) asked: bool,
    pub(crate) queue: VecDeque<Lease>,
    pub(crate) running: Option<(Lease, Now)>,
    pub(crate) outbox: Vec<Ended>,
    pub(crate) wished_at: Now,
    /// When it was last lent something with an empty hand, or heard.
    pub(crate) quiet_since: Now,
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
            shot: false,
            garbled: false,
            asked: false,
            queue: VecDeque::new(),
            running: None,
            outbox: Vec::new(),
            wished_at: now,
            quiet_since: now,
        }
    }

    /// What its shared page says.
    pub(crate) fn page(&self) -> Option<Running> {
        self.running.map(|(lease, since)| Running { task: lease.task, since })
    }

    /// Nothing that it was lent is with it any more.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.running.is_none() && self.outbox.is_empty()
    }
}
