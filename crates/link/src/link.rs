//! The supervisor's mouth: commands go out in single packets, within credit, so that a send never blocks.

use crate::blob::{Place, Shelf};
use crate::ear::{Ear, Tombstone};
use crate::retry;
use brigade_os::Pid;
use brigade_os::blob::BlobFile;
use brigade_wire::{Batch, Blob, Call, Command, Ended, Ending, FRAME_BYTES_MAX, LargeCall, TaskId, encode};
use ipc_channel::ipc::{IpcBytesReceiver, IpcBytesSender, bytes_channel};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::io;
use std::sync::LazyLock;

/// Frames that may be unanswered. 49 frames of the largest size fit into a socket before a stopped worker
/// blocks us (docs/LINK.md); what is left is the reserve for STOP.
pub const WINDOW_FRAMES: u32 = 16;

/// What the kernel charges a socket for a packet of [`FRAME_BYTES_MAX`]: 212,992 bytes hold 49 of them.
const FRAME_CHARGE_BYTES: u32 = 4_352;
const _: () = assert!(FRAME_BYTES_MAX < FRAME_CHARGE_BYTES as usize);

/// Arguments that lie unread by a worker: two of any size, or as many as take so much. They are memory, and writing them
/// takes the loop's time: 64 MiB some 50 ms.
const WINDOW_BYTES: u64 = 16 << 20;

/// The worker's ends of its two channels, on their way to it, and where its values go that no frame holds.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ends {
    pub(crate) commands: IpcBytesReceiver,
    pub(crate) reports: IpcBytesSender,
    pub(crate) results: Place,
}

/// Opens a conversation: our mouth, our ear, the tombstone, and the ends for the worker.
///
/// # Errors
/// If there are no descriptors to be had.
pub fn conversation() -> io::Result<(Link, Ear, Tombstone, Ends)> {
    let (command_sender, commands) = bytes_channel()?;
    let (reports, report_receiver) = bytes_channel()?;
    let file = BlobFile::create()?;
    let results = Place { owner: Pid::current().number(), number: file.number() };
    let (ear, tombstone) = Ear::new(report_receiver, reports.clone(), file);
    let link = Link {
        commands: command_sender,
        window: *WINDOW,
        sent: 0,
        consumed: 0,
        stopped: false,
        shelf: None,
        lent: VecDeque::new(),
    };
    Ok((link, ear, tombstone, Ends { commands, reports, results }))
}

/// The supervisor's sending side of a conversation.
#[derive(Debug)]
pub struct Link {
    commands: IpcBytesSender,
    window: u32,
    sent: u32,
    consumed: u32,
    stopped: bool,
    /// Where arguments lie that no frame holds; made for the first of them.
    shelf: Option<Shelf>,
    /// Those that may not have been read yet, with the number of their command.
    lent: VecDeque<(u32, Blob)>,
}

/// Calls as they are to be sent.
#[derive(Debug, Default)]
pub struct Packets {
    commands: Vec<Command>,
    /// Those that no credit is left for.
    full: Vec<TaskId>,
    /// Those that cannot be sent, and why.
    pub refused: Vec<Ended>,
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
    /// Packs calls, as many to a packet as fit, and as many packets as there is credit for; a call that there is none for
    /// is not made. One that no packet holds has one of its own, which names the place of its arguments; writing them there
    /// takes as long as copying does, and waits for nobody.
    pub fn pack(&mut self, calls: impl IntoIterator<Item = (TaskId, impl FnOnce() -> Call)>) -> Packets {
        let (mut packets, mut batch) = (Packets::default(), Batch::default());
        for (task, call) in calls {
            let is_full = !packets.full.is_empty() || (batch.is_empty() && !self.has_credit(&packets));
            if is_full {
                packets.full.push(task);
                continue;
            }
            let mut call = call();
            if !batch.is_empty() {
                let Err(next) = batch.push(call) else { continue };
                packets.close(&mut batch);
                call = next;
            }
            if !self.has_credit(&packets) || !self.has_room(&packets, &call) {
                packets.full.push(task);
            } else if let Err(large) = batch.push(call) {
                self.put(large, &mut packets);
            }
        }
        packets.close(&mut batch);
        packets
    }

    /// Sends what was packed last, within credit, so that it does not block.
    pub fn run(&mut self, packets: Packets) -> Sent {
        let mut commands = packets.commands.into_iter();
        while let Some(command) = commands.next() {
            if self.send(&command).is_err() {
                let unsent = std::iter::once(command).chain(commands).flat_map(tasks);
                return Sent::Gone(unsent.chain(packets.full).collect());
            }
            if let Command::RunLarge(call) = command {
                self.lent.push_back((self.sent, call.args));
            }
        }
        if packets.full.is_empty() { Sent::All } else { Sent::Full(packets.full) }
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
        let (sent, shelf) = (self.sent, &self.shelf);
        while let Some((_, args)) = self.lent.pop_front_if(|(number, _)| sent.wrapping_sub(*number) >= now) {
            shelf.iter().for_each(|shelf| shelf.give_back(args));
        }
        Ok(before - now)
    }

    /// Whether one packet more may be sent.
    fn has_credit(&self, packets: &Packets) -> bool {
        let unanswered = self.sent.wrapping_sub(self.consumed) as usize + packets.commands.len();
        !self.stopped && unanswered < self.window as usize
    }

    /// Whether a call may be added to what the worker has not read.
    fn has_room(&self, packets: &Packets, call: &Call) -> bool {
        if Batch::fits(call) {
            return true;
        }
        let packed = packets.commands.iter().filter_map(|command| match command {
            Command::RunLarge(large) => Some(large.args.bytes),
            Command::Run(_) | Command::Stop => None,
        });
        let unread = self.lent.iter().map(|(_, args)| args.bytes).chain(packed);
        let (count, sum) = unread.fold((0, 0), |(count, sum), bytes| (count + 1, sum + bytes));
        count < 2 || sum + call.args.len() as u64 <= WINDOW_BYTES
    }

    /// Packs a call whose arguments no packet holds.
    fn put(&mut self, call: Call, packets: &mut Packets) {
        let Call { task, attempt, args } = call;
        match self.shelve(&args) {
            Ok((file, args)) => {
                packets.commands.push(Command::RunLarge(LargeCall { task, attempt, file, args }));
            }
            Err(error) => {
                let words = format!("its arguments of {} bytes cannot be sent: {error}", args.len());
                packets.refused.push(Ended { task, attempt, elapsed_ns: 0, ending: Ending::Failed(words) });
            }
        }
    }

    fn shelve(&mut self, args: &[u8]) -> io::Result<(i32, Blob)> {
        let shelf = match &mut self.shelf {
            Some(shelf) => shelf,
            none => none.insert(Shelf::new(BlobFile::create()?)),
        };
        Ok((shelf.number(), shelf.put(args)?))
    }

    fn send(&mut self, command: &Command) -> io::Result<()> {
        let packet = encode(command).map_err(io::Error::other)?;
        retry(|| self.commands.send(&packet))?;
        self.sent = self.sent.wrapping_add(1);
        Ok(())
    }
}

impl Packets {
    fn close(&mut self, batch: &mut Batch<Call>) {
        if !batch.is_empty() {
            self.commands.push(Command::Run(batch.take()));
        }
    }
}

fn tasks(command: Command) -> Vec<TaskId> {
    match command {
        Command::Run(calls) => calls.into_iter().map(|call| call.task).collect(),
        Command::RunLarge(call) => vec![call.task],
        Command::Stop => Vec::new(),
    }
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
    use crate::{Heard, Wanted, WorkerEnd};
    use brigade_wire::{Attempt, BLOB_BYTES_MAX};
    use std::sync::mpsc::channel;
    use std::time::Duration;

    fn call(task: u64, args: Vec<u8>) -> Call {
        Call { task: TaskId(task), attempt: Attempt::FIRST, args }
    }

    fn pack(link: &mut Link, calls: impl IntoIterator<Item = Call>) -> Packets {
        link.pack(calls.into_iter().map(|call| (call.task, || call)))
    }

    #[test]
    fn arguments_that_are_damaged_fail_their_task_with_words_that_name_the_place_and_the_next_is_run() {
        let (mut link, ear, tombstone, ends) = conversation().unwrap();
        let mut packets =
            pack(&mut link, [call(0, vec![1; 10_000]), call(1, vec![2; 10_000]), call(2, vec![3; 10_000])]);
        let mut bent = packets.commands.iter_mut().filter_map(|command| match command {
            Command::RunLarge(call) => Some(call),
            Command::Run(_) | Command::Stop => None,
        });
        bent.next().unwrap().args.crc ^= 1;
        bent.next().unwrap().file = 0;
        assert_eq!(link.run(packets), Sent::All);
        let mut worker = WorkerEnd::from(ends);
        let Ok(Some(Wanted::Run(calls))) = worker.receive() else { panic!("the third is sound") };
        assert_eq!(calls, [call(2, vec![3; 10_000])]);
        let (sender, heard) = channel();
        ear.listen("ear".into(), move |said| drop(sender.send(said))).unwrap();
        for words in ["blob of 10000 bytes at 0: their sum is", "not a sealed memfd"] {
            let Ok(Heard::Done { consumed, ended }) = heard.recv_timeout(Duration::from_secs(30)) else {
                panic!("no report")
            };
            assert_eq!(link.credit(consumed), Ok(1), "its credit comes back");
            assert!(matches!(&ended[0].ending, Ending::Failed(told) if told.contains(words)), "{ended:?}");
        }
        tombstone.discard();
    }

    #[test]
    fn arguments_of_more_than_the_most_are_refused_with_their_size_and_the_others_are_sent() {
        let (mut link, _ear, _tombstone, _ends) = conversation().unwrap();
        // Never touched, so it takes addresses and no memory.
        let too_large = call(1, vec![0; usize::try_from(BLOB_BYTES_MAX).unwrap() + 1]);
        let packets = pack(&mut link, [call(0, vec![1; 10]), too_large, call(2, vec![1; 10])]);
        let Ending::Failed(words) = &packets.refused[0].ending else { panic!("{packets:?}") };
        assert!(
            words.contains("arguments of 4294967297 bytes") && words.contains("4294967296 are the most"),
            "{words}"
        );
        assert_eq!(packets.refused.len(), 1);
        assert_eq!(link.run(packets), Sent::All);
    }

    #[test]
    fn two_calls_of_any_size_are_unread_or_as_many_as_the_window_holds() {
        let tasks = |sent| match sent {
            Sent::Full(tasks) => tasks,
            sent => panic!("{sent:?}"),
        };
        let half = WINDOW_BYTES as usize / 2;
        for (sizes, unsent) in [([2 * half, 2 * half, 5_000, 1], 2), ([half, half / 2, half / 2, 5_000], 3)] {
            let (mut link, _ear, _tombstone, _ends) = conversation().unwrap();
            let packets = pack(&mut link, (0..).zip(sizes).map(|(task, size)| call(task, vec![7; size])));
            assert_eq!(tasks(link.run(packets)), (unsent..4).map(TaskId).collect::<Vec<_>>(), "{sizes:?}");
            assert_eq!(link.credit(1), Ok(1));
            let packets = pack(&mut link, [call(unsent, vec![7; 5_000])]);
            assert_eq!(link.run(packets), Sent::All);
        }
    }

    #[test]
    fn calls_without_credit_are_not_made() {
        let (mut link, _ear, _tombstone, _ends) = conversation().unwrap();
        let made = std::cell::Cell::new(0);
        let make = |task: u64| {
            made.set(made.get() + 1);
            call(task, vec![7; 2_000])
        };
        let packets = link.pack((0..1_000).map(|task| (TaskId(task), move || make(task))));
        let sent = 1_000 - packets.full.len();
        assert!(sent > 0 && made.get() <= sent + 1, "{} were made to send {sent}", made.get());
    }

    #[test]
    fn what_was_consumed_gives_its_memory_back_and_nothing_else_does() {
        let (mut link, _ear, _tombstone, _ends) = conversation().unwrap();
        let packets = pack(&mut link, (0..3).map(|task| call(task, vec![7; 10_000])));
        assert_eq!(link.run(packets), Sent::All);
        assert_eq!((link.credit(2), link.lent.len()), (Ok(2), 1));
        assert!(!link.shelf.as_ref().unwrap().is_empty());
        assert_eq!((link.credit(3), link.lent.len()), (Ok(1), 0));
        assert!(link.shelf.as_ref().unwrap().is_empty());
    }

    #[test]
    fn the_window_shrinks_with_the_socket_buffer_and_never_below_one_frame() {
        assert_eq!(window_of(212_992), 16);
        assert_eq!(window_of(65_536), 5);
        assert_eq!(window_of(4_608), 1);
    }
}
