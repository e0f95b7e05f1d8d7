//! The worker's side of the conversation.

use crate::link::Ends;
use crate::{io_error, is_closed, retry};
use brigade_wire::{Batch, Command, Ended, Ending, Hello, PROTOCOL, Report, WorkerId, decode, encode};
use ipc_channel::ipc::{IpcBytesReceiver, IpcBytesSender};
use std::io;

/// A worker's mouth and ear.
#[derive(Debug)]
pub struct WorkerEnd {
    commands: IpcBytesReceiver,
    reports: IpcBytesSender,
    consumed: u32,
    ended: Batch<Ended>,
}

impl From<Ends> for WorkerEnd {
    fn from(ends: Ends) -> WorkerEnd {
        WorkerEnd { commands: ends.commands, reports: ends.reports, consumed: 0, ended: Batch::default() }
    }
}

impl WorkerEnd {
    /// Says hello: the first words, before which nothing is lent.
    ///
    /// # Errors
    /// If the supervisor is gone.
    pub fn hello(&self, worker: WorkerId) -> io::Result<()> {
        self.say(&Report::Hello(Hello { protocol: PROTOCOL, worker }))
    }

    /// Waits for the next command; `None` when the supervisor is gone.
    ///
    /// # Errors
    /// If what came is no command of this protocol.
    pub fn receive(&mut self) -> io::Result<Option<Command>> {
        match retry(|| self.commands.recv().map_err(io_error)) {
            Ok(packet) => decode(&packet).map(Some).map_err(io::Error::other),
            Err(error) if is_closed(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Collects the end of an attempt; sends what was collected before if it does not fit beside it.
    ///
    /// # Errors
    /// If the supervisor is gone.
    pub fn report(&mut self, ended: Ended) -> io::Result<()> {
        let Err(ended) = self.ended.push(ended) else { return Ok(()) };
        self.flush()?;
        let Err(ended) = self.ended.push(ended) else { return Ok(()) };
        let too_long = self.ended.push(shortened(ended));
        too_long.map_err(|_| io::Error::other("a shortened ending fits into an empty frame"))
    }

    /// Sends what was collected. It gives no credit back: the command it comes from is still being obeyed.
    ///
    /// # Errors
    /// If the supervisor is gone.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.ended.is_empty() {
            return Ok(());
        }
        self.send_ended()
    }

    /// The command has been obeyed: gives its credit back, with whatever was collected.
    ///
    /// # Errors
    /// If the supervisor is gone.
    pub fn consumed(&mut self) -> io::Result<()> {
        self.consumed = self.consumed.wrapping_add(1);
        self.send_ended()
    }

    fn send_ended(&mut self) -> io::Result<()> {
        let ended = self.ended.take();
        self.say(&Report::Done { consumed: self.consumed, ended })
    }

    fn say(&self, report: &Report) -> io::Result<()> {
        let packet = encode(report).map_err(io::Error::other)?;
        retry(|| self.reports.send(&packet))
    }
}

/// An ending too long for a frame: a value cannot be cut, words can.
fn shortened(ended: Ended) -> Ended {
    let ending = match ended.ending {
        Ending::Value(bytes) => {
            Ending::Failed(format!("the result of {} bytes does not fit into one frame", bytes.len()))
        }
        Ending::Failed(message) => Ending::Failed(cut(&message)),
        Ending::Panicked { message, location } => {
            Ending::Panicked { message: cut(&message), location: cut(&location) }
        }
    };
    Ended { ending, ..ended }
}

/// The first thousand bytes, on a character's boundary.
fn cut(message: &str) -> String {
    message[..message.floor_char_boundary(1_000)].to_string()
}
