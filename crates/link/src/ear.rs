//! The supervisor's ear: one small thread per worker that sits in a blocking `recv`.
//!
//! Not `IpcReceiverSet`: it reads until nothing is left (two flooding workers kept one `select` of 50 ms busy for
//! 1.6 s), it is halted for all by one half-sent message, and a panic inside it takes the loop along. A
//! thread that panics, floods or hangs costs its own worker only.

use crate::{io_error, retry};
use brigade_wire::{Exit, Report, TaskId, decode};
use ipc_channel::ipc::{IpcBytesReceiver, IpcBytesSender};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::thread;

/// What an ear hears, in the order it was said.
#[derive(Debug)]
pub enum Heard {
    /// The worker reports.
    Report(Report),
    /// What came is no frame of ours. Nothing more is heard of this worker but its death.
    Garbled(String),
    /// It is dead and reaped, and everything it had said was heard before: the last that is heard.
    Gone(Death),
}

/// A death, as the undertaker found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Death {
    /// How.
    pub exit: Exit,
    /// The task on the worker's page.
    pub running: Option<TaskId>,
    /// When that attempt began, in monotonic nanoseconds.
    pub since_ns: Option<u64>,
    /// When it was reaped, in monotonic nanoseconds.
    pub at_ns: u64,
}

/// The receiving end of a worker's reports.
#[derive(Debug)]
pub struct Ear {
    reports: IpcBytesReceiver,
    epitaph: Arc<OnceLock<Option<Death>>>,
}

/// The sender that the supervisor keeps of a worker's own report channel: what it posts comes after everything
/// that the worker had sent, so no result is lost to an early end of file, and none is needed (a forked
/// grandchild that still holds the channel delayed it by 3 s).
#[derive(Debug)]
pub struct Tombstone {
    reports: IpcBytesSender,
    epitaph: Arc<OnceLock<Option<Death>>>,
}

/// Speaks in a worker's name through the sender that its tombstone keeps: how the supervisor tries itself with
/// garbage. It is the same descriptor, not one more.
#[derive(Debug)]
pub struct Impostor {
    reports: IpcBytesSender,
}

impl Impostor {
    /// So many reports may be unheard when garbage is sent, lest the loop waits for room: 49 frames fit.
    pub const UNHEARD_MAX: usize = 32;

    /// Says what no worker of ours says: one packet that is no frame. Must not be called while more than
    /// [`Impostor::UNHEARD_MAX`] reports may be unheard. False if the ear is closed.
    #[must_use]
    pub fn garble(&self) -> bool {
        // Not empty: that would be heard as a death, if there was one.
        retry(|| self.reports.send(b"garbage, by way of trial")).is_ok()
    }
}

impl Tombstone {
    /// Somebody who can garble in the worker's name.
    #[must_use]
    pub fn impostor(&self) -> Impostor {
        Impostor { reports: self.reports.clone() }
    }

    /// Tells the ear that its worker is dead. Waits while the channel is full, so never on the loop.
    pub fn post(self, death: Death) {
        self.inscribe(Some(death));
    }

    /// Tells the ear that its worker was never born: it ends without a word.
    pub fn discard(self) {
        self.inscribe(None);
    }

    fn inscribe(self, epitaph: Option<Death>) {
        // What it says stands in memory that no worker can write; the packet only wakes the ear. A worker
        // that sends such a packet itself is garbling.
        let _ = self.epitaph.set(epitaph);
        // An ear that was garbled has closed its end and waits for the epitaph alone.
        let _ = retry(|| self.reports.send(&[]));
    }
}

impl Ear {
    pub(crate) fn new(reports: IpcBytesReceiver, kept: IpcBytesSender) -> (Ear, Tombstone) {
        let epitaph = Arc::new(OnceLock::new());
        (Ear { reports, epitaph: Arc::clone(&epitaph) }, Tombstone { reports: kept, epitaph })
    }

    /// Starts the thread. `hear` may block: that holds up this worker alone.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub fn listen(self, name: String, hear: impl FnMut(Heard) + Send + 'static) -> io::Result<()> {
        thread::Builder::new().name(name).stack_size(STACK_BYTES).spawn(move || self.hear_all(hear)).map(drop)
    }

    fn hear_all(self, mut hear: impl FnMut(Heard)) {
        let Ear { reports, epitaph } = self;
        loop {
            match next(&reports, &epitaph) {
                Ok(Said::Report(report)) => hear(Heard::Report(report)),
                Ok(Said::Epitaph(death)) => return death.map(Heard::Gone).into_iter().for_each(hear),
                Err(reason) => {
                    // Closed first: the undertaker must not wait for room in a channel that nobody reads.
                    drop(reports);
                    hear(Heard::Garbled(reason));
                    return epitaph.wait().map(Heard::Gone).into_iter().for_each(hear);
                }
            }
        }
    }
}

/// ipc-channel's receive takes its buffer from the heap; 64 KiB leave room for a panic's backtrace.
const STACK_BYTES: usize = 64 << 10;

enum Said {
    Report(Report),
    Epitaph(Option<Death>),
}

/// The next thing said, or why it cannot be understood. ipc-channel asserts what a peer sends (a packet of one
/// byte and a close are enough): the panic is caught here.
fn next(reports: &IpcBytesReceiver, epitaph: &OnceLock<Option<Death>>) -> Result<Said, String> {
    let packet = catch_unwind(AssertUnwindSafe(|| retry(|| reports.recv().map_err(io_error))))
        .map_err(|_| "not a packet of ipc-channel".to_string())?
        .map_err(|error| format!("receive: {error}"))?;
    match epitaph.get() {
        Some(epitaph) if packet.is_empty() => Ok(Said::Epitaph(*epitaph)),
        _ => decode(&packet).map(Said::Report).map_err(|error| error.to_string()),
    }
}
