//! One bounded queue for everything that happens outside: ears, doors, the undertaker and the signal bell push,
//! the loop alone takes.

use crate::remote::Asked;
use brigade_link::{Answer, AnswerEar, Heard, TemplateLink, Visitor};
use brigade_os::signals::Bell;
use brigade_wire::{Exit, WorkerId};
use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// Something that a thread brought.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// A worker's ear heard this.
    Heard(WorkerId, Heard),
    /// A template came to its door, or somebody else did.
    Met(u32, Visitor<(TemplateLink, Vec<String>, AnswerEar)>),
    /// A template answered an order, or something that cannot be understood.
    Answer(u32, io::Result<Answer>),
    /// A template is dead and reaped.
    TemplateGone(u32, Exit),
    /// A signal came.
    Bell(Bell),
    /// Another thread of this program asks for something.
    Asked(Asked),
}

/// How much may wait. A thread that finds no room waits, and with it only the worker that it listens to.
const CAPACITY: usize = 1_024;

/// How much is taken at one go, so that status and deadlines get their turn in a flood.
const TURN_MAX: usize = 256;

/// The loop's end.
#[derive(Debug)]
pub(crate) struct Inbox {
    sender: SyncSender<Incoming>,
    receiver: Receiver<Incoming>,
}

impl Inbox {
    pub(crate) fn new() -> Inbox {
        let (sender, receiver) = sync_channel(CAPACITY);
        Inbox { sender, receiver }
    }

    /// A way in, for a thread.
    pub(crate) fn slot(&self) -> SyncSender<Incoming> {
        self.sender.clone()
    }

    /// Waits until something came or `patience` is over (for ever without one), and takes what is there.
    pub(crate) fn wait(&self, patience: Option<Duration>, into: &mut VecDeque<Incoming>) {
        let first = match patience {
            Some(patience) => self.receiver.recv_timeout(patience),
            None => self.receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        // Disconnected cannot be: this end holds a sender itself.
        into.extend(first);
        into.extend(self.receiver.try_iter().take(TURN_MAX));
    }
}
