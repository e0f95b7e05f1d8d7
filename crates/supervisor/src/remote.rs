//! A hand on a run from other threads of the program that it is held in.

use crate::inbox::{Inbox, Incoming};
use brigade_core::Event;
use std::sync::mpsc::SyncSender;

/// What another thread asks of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// To look whether its work has more tasks, or some that are not wanted any more.
    Arrivals,
    /// To end when all is settled.
    Close,
    /// To begin nothing more, and tell what runs to end.
    Terminate,
    /// To end now.
    Abort,
    /// To have so many workers.
    Resize(u32),
}

/// The end that asks. What is asked of a run that is over is not heard, and nothing is wrong with that.
#[derive(Clone, Debug)]
pub struct Remote(SyncSender<Incoming>);

/// The end that a run hears.
#[derive(Debug)]
pub struct Line(pub(crate) Inbox);

/// Both ends.
#[must_use]
pub fn line() -> (Remote, Line) {
    let inbox = Inbox::new();
    (Remote(inbox.slot()), Line(inbox))
}

impl Remote {
    /// Tasks have come, or some are not wanted any more: [`Work::arrivals`](crate::run::Work::arrivals) is asked for them, and
    /// then [`Work::cancels`](crate::run::Work::cancels). Waits while the run has very much to hear.
    pub fn arrivals(&self) {
        self.ask(Asked::Arrivals);
    }

    /// No more tasks come: the run ends when all is settled.
    pub fn close(&self) {
        self.ask(Asked::Close);
    }

    /// Nothing more is begun; workers get SIGTERM, and have the grace of the run to die of it.
    pub fn terminate(&self) {
        self.ask(Asked::Terminate);
    }

    /// The run ends now; its workers are killed.
    pub fn abort(&self) {
        self.ask(Asked::Abort);
    }

    /// The run is to have so many workers from now on; busy ones finish what they have.
    pub fn resize(&self, workers: u32) {
        self.ask(Asked::Resize(workers));
    }

    fn ask(&self, asked: Asked) {
        let _ = self.0.send(Incoming::Asked(asked));
    }
}

impl Asked {
    /// For the core, if it is its matter alone.
    pub(crate) fn event(self) -> Option<Event> {
        match self {
            Asked::Arrivals => None,
            Asked::Close => Some(Event::Close),
            Asked::Terminate => Some(Event::Terminate),
            Asked::Abort => Some(Event::Abort),
            Asked::Resize(workers) => Some(Event::Resize(workers)),
        }
    }
}
