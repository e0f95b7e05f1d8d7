//! The supervisor's mouth: commands go out in single packets, within credit, so that a send never blocks.

use crate::ear::{Ear, Tombstone};
use crate::retry;
use brigade_wire::{Batch, Call, Command, FRAME_BYTES_MAX, TaskId, encode};
use ipc_channel::ipc::{IpcBytesReceiver, IpcBytesSender, bytes_channel};
use serde::{Deserialize, Serialize};
use std::io;
use std::sync::LazyLock;

/// Frames that may be unanswered. 49 frames of the largest size fit into a socket before a stopped worker
/// blocks us (docs/LINK.md); what is left is the reserve for STOP.
pub const WINDOW_FRAMES: u32 = 16;

/// What the kernel charges a socket for a packet of [`FRAME_BYTES_MAX`]: 212,992 bytes hold 49 of them.
const FRAME_CHARGE_BYTES: u32 = 4_352;
const _: () = assert!(FRAME_BYTES_MAX < FRAME_CHARGE_BYTES as usize);

/// The worker's ends of its two channels, on their way to it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ends {
    pub(crate) commands: IpcBytesReceiver,
    pub(crate) reports: IpcBytesSender,
}

/// Opens a conversation: our mouth, our ear, the tombstone, and the ends for the worker.
///
/// # Errors
/// If there are no descriptors to be had.
pub fn conversation() -> io::Result<(Link, Ear, Tombstone, Ends)> {
    let (command_sender, commands) = bytes_channel()?;
    let (reports, report_receiver) = bytes_channel()?;
    let (ear, tombstone) = Ear::new(report_receiver, reports.clone());
    let link = Link { commands: command_sender, window: *WINDOW, sent: 0, consumed: 0, stopped: false };
    Ok((link, ear, tombstone, Ends { commands, reports }))
}

/// The supervisor's sending side of a conversation.
#[derive(Debug)]
pub struct Link {
    commands: IpcBytesSender,
    window: u32,
    sent: u32,
    consumed: u32,
    stopped: bool,
}

/// What became of calls to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// All are on their way.
    All,
    /// Credit ran out; these were not sent, in order.
    Full(Vec<TaskId>),
    /// The worker's end is closed; these were not sent. Its death will be told.
    Gone(Vec<TaskId>),
}

impl Link {
    /// Sends calls, as many to a packet as fit. Each of them must fit into a frame.
    pub fn run(&mut self, calls: impl IntoIterator<Item = Call>) -> Sent {
        let mut packets = packets(calls).into_iter();
        while let Some(calls) = packets.next() {
            if !self.has_room() {
                return Sent::Full(tasks(calls, packets));
            }
            let command = Command::Run(calls);
            if self.send(&command).is_err() {
                let Command::Run(calls) = command else { unreachable!("made one line above") };
                return Sent::Gone(tasks(calls, packets));
            }
        }
        Sent::All
    }

    /// Sends the STOP sentinel, out of the reserve; nothing is sent after it. A worker that is gone does not
    /// need it.
    pub fn stop(&mut self) {
        if !self.stopped && self.send(&Command::Stop).is_ok() {
            self.stopped = true;
        }
    }

    /// Takes back the credit of the commands that the worker says it has consumed; returns how many that are.
    ///
    /// # Errors
    /// If it says that it consumed more than was sent, or fewer than before: no worker of ours does.
    pub fn credit(&mut self, consumed: u32) -> Result<u32, String> {
        let (now, before) = (self.sent.wrapping_sub(consumed), self.sent.wrapping_sub(self.consumed));
        if now > before {
            return Err(format!(
                "consumed {consumed} commands after {}, of {} sent",
                self.consumed, self.sent
            ));
        }
        self.consumed = consumed;
        Ok(before - now)
    }

    fn has_room(&self) -> bool {
        !self.stopped && self.sent.wrapping_sub(self.consumed) < self.window
    }

    fn send(&mut self, command: &Command) -> io::Result<()> {
        let packet = encode(command).map_err(io::Error::other)?;
        retry(|| self.commands.send(&packet))?;
        self.sent = self.sent.wrapping_add(1);
        Ok(())
    }
}

fn packets(calls: impl IntoIterator<Item = Call>) -> Vec<Vec<Call>> {
    let (mut packets, mut batch) = (Vec::new(), Batch::default());
    for call in calls {
        if let Err(call) = batch.push(call) {
            packets.push(batch.take());
            batch.push(call).expect("arguments are measured when their task is submitted");
        }
    }
    packets.push(batch.take());
    packets.retain(|packet| !packet.is_empty());
    packets
}

fn tasks(first: Vec<Call>, rest: impl Iterator<Item = Vec<Call>>) -> Vec<TaskId> {
    first.into_iter().chain(rest.flatten()).map(|call| call.task).collect()
}

/// The window on this machine: [`WINDOW_FRAMES`], or less where sockets have smaller buffers.
static WINDOW: LazyLock<u32> = LazyLock::new(|| {
    let buffer = std::fs::read_to_string("/proc/sys/net/core/wmem_default");
    let buffer = buffer.ok().and_then(|bytes| bytes.trim().parse().ok()).unwrap_or(212_992);
    window_of(buffer)
});

/// A third of what fits, so that STOP always does and one wrong guess does not block; at least one frame.
fn window_of(buffer_bytes: u32) -> u32 {
    (buffer_bytes / FRAME_CHARGE_BYTES / 3).clamp(1, WINDOW_FRAMES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_shrinks_with_the_socket_buffer_and_never_below_one_frame() {
        assert_eq!(window_of(212_992), 16);
        assert_eq!(window_of(65_536), 5);
        assert_eq!(window_of(4_608), 1);
    }
}
