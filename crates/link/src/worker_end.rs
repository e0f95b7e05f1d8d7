//! The worker's side of the conversation.

use crate::blob::{self, Place, Shelf};
use crate::link::Ends;
use crate::{io_error, is_closed, retry};
use brigade_os::blob::{Access, BlobFile};
use brigade_wire::{
    Batch, Blob, Call, Command, Ended, Ending, Hello, LargeCall, LargeEnded, PROTOCOL, Report, WorkerId,
    decode, encode,
};
use ipc_channel::ipc::{IpcBytesReceiver, IpcBytesSender};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

/// A worker's mouth and ear.
#[derive(Debug)]
pub struct WorkerEnd {
    commands: IpcBytesReceiver,
    mouth: Mouth,
    /// Whose file the arguments are in that no frame holds, and the file itself once there were such.
    owner: u32,
    args: Option<(i32, BlobFile)>,
}

/// A worker's mouth alone: for each thread that runs tasks where there are several, and for one that sees to it that nothing
/// lies there for long.
#[derive(Clone, Debug)]
pub struct Mouth(Arc<Mutex<Voice>>);

/// What is said, and what is to be said.
#[derive(Debug)]
struct Voice {
    reports: IpcBytesSender,
    consumed: u32,
    ended: Batch<Ended>,
    /// How often what was collected has been sent.
    sent: u64,
    /// Where values go that no frame holds, and the file itself once there was one.
    results: Place,
    shelf: Option<Shelf>,
}

/// What a worker is told to do, of any size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Run these, begun in this order.
    Run(Vec<Call>),
    /// STOP: everything sent before it is done, nothing comes after it.
    Stop,
}

impl From<Ends> for WorkerEnd {
    fn from(ends: Ends) -> WorkerEnd {
        let Ends { commands, reports, results } = ends;
        let owner = results.owner;
        let voice = Voice { reports, consumed: 0, ended: Batch::default(), sent: 0, results, shelf: None };
        WorkerEnd { commands, mouth: Mouth(Arc::new(Mutex::new(voice))), owner, args: None }
    }
}

impl WorkerEnd {
    /// Says hello: the first words, before which nothing is lent.
    ///
    /// # Errors
    /// If the supervisor is gone.
    pub fn hello(&self, worker: WorkerId) -> io::Result<()> {
        self.mouth.voice().say(&Report::Hello(Hello { protocol: PROTOCOL, worker }))
    }

    /// The mouth, for another thread.
    #[must_use]
    pub fn mouth(&self) -> Mouth {
        self.mouth.clone()
    }

    /// Waits for the next command; `None` when the supervisor is gone.
    ///
    /// # Errors
    /// If what came is no command of this protocol.
    pub fn receive(&mut self) -> io::Result<Option<Wanted>> {
        loop {
            let packet = match retry(|| self.commands.recv().map_err(io_error)) {
                Ok(packet) => packet,
                Err(error) if is_closed(&error) => return Ok(None),
                Err(error) => return Err(error),
            };
            match decode(&packet).map_err(io::Error::other)? {
                Command::Run(calls) => return Ok(Some(Wanted::Run(calls))),
                Command::Stop => return Ok(Some(Wanted::Stop)),
                Command::RunLarge(call) => match self.fetch(call) {
                    Ok(call) => return Ok(Some(Wanted::Run(vec![call]))),
                    Err(error) if self.refuse(call, &error).is_err() => return Ok(None),
                    Err(_) => {}
                },
            }
        }
    }

    /// A call whose arguments lie elsewhere.
    fn fetch(&mut self, call: LargeCall) -> io::Result<Call> {
        let LargeCall { task, attempt, file, args } = call;
        let known = self.args.take().filter(|(number, _)| *number == file);
        let opened =
            known.map_or_else(|| BlobFile::open(self.owner, file, Access::Read), |(_, file)| Ok(file))?;
        let (_, opened) = self.args.insert((file, opened));
        Ok(Call { task, attempt, args: blob::fetch(opened, args)? })
    }

    /// Arguments that cannot be had: the task fails, and the words say where they should have been.
    fn refuse(&mut self, call: LargeCall, error: &io::Error) -> io::Result<()> {
        let ending = Ending::Failed(format!("its arguments cannot be had: {error}"));
        self.report(Ended { task: call.task, attempt: call.attempt, elapsed_ns: 0, ending })?;
        self.consumed()
    }

    /// Collects the end of an attempt; sends what was collected before if it does not fit beside it. A value that no frame
    /// holds goes at once; words that none holds are cut.
    ///
    /// # Errors
    /// If the supervisor is gone.
    pub fn report(&mut self, ended: Ended) -> io::Result<()> {
        self.mouth.voice().report(ended)
    }

    /// Sends what was collected. It gives no credit back: the command it comes from is still being obeyed.
    ///
    /// # Errors
    /// If the supervisor is gone.
    pub fn flush(&mut self) -> io::Result<()> {
        self.mouth.voice().flush()
    }

    /// The command has been obeyed: gives its credit back, with whatever was collected.
    ///
    /// # Errors
    /// If the supervisor is gone.
    pub fn consumed(&mut self) -> io::Result<()> {
        let mut voice = self.mouth.voice();
        voice.consumed = voice.consumed.wrapping_add(1);
        voice.send_ended()
    }
}

impl Mouth {
    /// Nobody panics in the middle of a word.
    fn voice(&self) -> MutexGuard<'_, Voice> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`WorkerEnd::report`].
    ///
    /// # Errors
    /// If the supervisor is gone.
    pub fn report(&self, ended: Ended) -> io::Result<()> {
        self.voice().report(ended)
    }

    /// As [`WorkerEnd::flush`].
    ///
    /// # Errors
    /// If the supervisor is gone.
    pub fn flush(&self) -> io::Result<()> {
        self.voice().flush()
    }

    /// Whether nothing was collected that is still to be sent. Waits for whoever is about to say something.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.voice().ended.is_empty()
    }

    /// Sends what was collected if nothing was sent since this was asked before, with that answer: what lies here, lies here
    /// for long enough. Returns how often something has been sent so far, and `None` if nothing lies here. It does not
    /// wait for whoever is about to say something.
    ///
    /// # Errors
    /// If the supervisor is gone.
    pub fn flush_old(&self, before: Option<u64>) -> io::Result<Option<u64>> {
        let mut voice = match self.0.try_lock() {
            Ok(voice) => voice,
            Err(TryLockError::WouldBlock) => return Ok(before),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        };
        if before == Some(voice.sent) {
            voice.flush()?;
        }
        Ok((!voice.ended.is_empty()).then_some(voice.sent))
    }
}

impl Voice {
    fn report(&mut self, ended: Ended) -> io::Result<()> {
        let Err(ended) = self.ended.push(ended) else { return Ok(()) };
        self.flush()?;
        let Err(Ended { task, attempt, elapsed_ns, ending }) = self.ended.push(ended) else { return Ok(()) };
        let words = match ending {
            Ending::Value(bytes) => match self.shelve(&bytes) {
                Ok(value) => return self.say_large(LargeEnded { task, attempt, elapsed_ns, value }),
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return Err(error),
                Err(error) => {
                    Ending::Failed(format!("its result of {} bytes cannot be sent: {error}", bytes.len()))
                }
            },
            Ending::Failed(message) => Ending::Failed(cut(&message)),
            Ending::Panicked { message, location } => {
                Ending::Panicked { message: cut(&message), location: cut(&location) }
            }
        };
        let cut_short = self.ended.push(Ended { task, attempt, elapsed_ns, ending: words });
        cut_short.map_err(|_| io::Error::other("a shortened ending fits into an empty frame"))
    }

    /// Writes a value where the supervisor reads it.
    fn shelve(&mut self, value: &[u8]) -> io::Result<Blob> {
        let Place { owner, number } = self.results;
        let shelf = match &mut self.shelf {
            Some(shelf) => shelf,
            none => none.insert(Shelf::new(BlobFile::open(owner, number, Access::Write)?)),
        };
        shelf.put(value)
    }

    fn say_large(&self, ended: LargeEnded) -> io::Result<()> {
        self.say(&Report::DoneLarge { consumed: self.consumed, ended })
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.ended.is_empty() {
            return Ok(());
        }
        self.send_ended()
    }

    fn send_ended(&mut self) -> io::Result<()> {
        let ended = self.ended.take();
        self.sent += 1;
        self.say(&Report::Done { consumed: self.consumed, ended })
    }

    fn say(&self, report: &Report) -> io::Result<()> {
        let packet = encode(report).map_err(io::Error::other)?;
        retry(|| self.reports.send(&packet))
    }
}

/// The first thousand bytes, on a character's boundary.
fn cut(message: &str) -> String {
    message[..message.floor_char_boundary(1_000)].to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Heard, conversation};
    use brigade_wire::{Attempt, TaskId};
    use std::sync::mpsc::channel;
    use std::time::Duration;

    fn large() -> Ended {
        let ending = Ending::Value(vec![7; 10_000]);
        Ended { task: TaskId(3), attempt: Attempt::FIRST, elapsed_ns: 1, ending }
    }

    #[test]
    fn a_large_result_that_finds_no_file_is_a_failed_task_that_says_so() {
        let (_link, ear, tombstone, mut ends) = conversation().unwrap();
        // As without `/proc`, what is there is not what it should be.
        ends.results.number = 0;
        let mut worker = WorkerEnd::from(ends);
        worker.report(large()).unwrap();
        worker.consumed().unwrap();
        let (sender, heard) = channel();
        ear.listen("ear".into(), move |said| drop(sender.send(said))).unwrap();
        let Ok(Heard::Done { ended, .. }) = heard.recv_timeout(Duration::from_secs(30)) else {
            panic!("no report")
        };
        let Ending::Failed(words) = &ended[0].ending else { panic!("{ended:?}") };
        assert!(words.starts_with("its result of 10000 bytes cannot be sent: "), "{words}");
        tombstone.discard();
    }

    #[test]
    fn who_has_a_large_result_when_its_supervisor_is_gone_is_told_so() {
        let (_link, _ear, _tombstone, mut ends) = conversation().unwrap();
        ends.results.owner = u32::MAX;
        let error = WorkerEnd::from(ends).report(large()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotConnected, "{error}");
    }
}
