//! The supervisor's ear: one small thread per worker that sits in a blocking `recv`.
//!
//! Not `IpcReceiverSet`: it reads until nothing is left (two flooding workers kept one `select` of 50 ms busy for
//! 1.6 s), it is halted for all by one half-sent message, and a panic inside it takes the loop along. A
//! thread that panics, floods or hangs costs its own worker only.

use crate::{blob, io_error, retry};
use brigade_os::blob::BlobFile;
use brigade_wire::{Ended, Ending, Exit, Hello, LargeEnded, Report, TaskId, decode};
use ipc_channel::ipc::{IpcBytesReceiver, IpcBytesSender};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::thread;

/// What an ear hears, in the order it was said.
#[derive(Debug)]
pub enum Heard {
    /// Its first words.
    Hello(Hello),
    /// Attempts that ended, of any size.
    Done {
        /// How many commands it has consumed since it was born.
        consumed: u32,
        /// The attempts, in the order they ended.
        ended: Vec<Ended>,
    },
    /// What came is no frame of ours. Nothing more is heard of this worker but its death.
    Garbled(String),
    /// It is dead and reaped, and everything it had said was heard before: the last that is heard.
    Gone(Death),
}

/// A death, as the undertaker found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    /// How.
    pub exit: Exit,
    /// The tasks on the worker's page, the one that began first before the others.
    pub running: Vec<TaskId>,
    /// When its attempt began, in monotonic nanoseconds.
    pub since_ns: Option<u64>,
    /// When it was reaped, in monotonic nanoseconds.
    pub at_ns: u64,
}

/// The receiving end of a worker's reports.
#[derive(Debug)]
pub struct Ear {
    reports: IpcBytesReceiver,
    epitaph: Arc<OnceLock<Option<Death>>>,
    /// Values that no frame holds. The file goes with the ear, and with it whatever was not read.
    results: BlobFile,
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
    pub(crate) fn new(
        reports: IpcBytesReceiver,
        kept: IpcBytesSender,
        results: BlobFile,
    ) -> (Ear, Tombstone) {
        let epitaph = Arc::new(OnceLock::new());
        (Ear { reports, epitaph: Arc::clone(&epitaph), results }, Tombstone { reports: kept, epitaph })
    }

    /// Starts the thread. `hear` may block: that holds up this worker alone.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub fn listen(self, name: String, hear: impl FnMut(Heard) + Send + 'static) -> io::Result<()> {
        thread::Builder::new().name(name).stack_size(STACK_BYTES).spawn(move || self.hear_all(hear)).map(drop)
    }

    fn hear_all(self, mut hear: impl FnMut(Heard)) {
        let Ear { reports, epitaph, results } = self;
        loop {
            match next(&reports, &epitaph, &results) {
                Ok(Said::Words(words)) => hear(words),
                Ok(Said::Epitaph(death)) => return death.map(Heard::Gone).into_iter().for_each(hear),
                Err(reason) => {
                    // Closed first: the undertaker must not wait for room in a channel that nobody reads.
                    drop(reports);
                    hear(Heard::Garbled(reason));
                    return epitaph.wait().clone().map(Heard::Gone).into_iter().for_each(hear);
                }
            }
        }
    }
}

/// ipc-channel's receive takes its buffer from the heap; 64 KiB leave room for a panic's backtrace.
const STACK_BYTES: usize = 64 << 10;

enum Said {
    Words(Heard),
    Epitaph(Option<Death>),
}

/// The next thing said, or why it cannot be understood. ipc-channel asserts what a peer sends (a packet of one
/// byte and a close are enough): the panic is caught here.
fn next(
    reports: &IpcBytesReceiver,
    epitaph: &OnceLock<Option<Death>>,
    results: &BlobFile,
) -> Result<Said, String> {
    let packet = catch_unwind(AssertUnwindSafe(|| retry(|| reports.recv().map_err(io_error))))
        .map_err(|_| "not a packet of ipc-channel".to_string())?
        .map_err(|error| format!("receive: {error}"))?;
    match epitaph.get() {
        Some(epitaph) if packet.is_empty() => Ok(Said::Epitaph(epitaph.clone())),
        _ => match decode(&packet).map_err(|error| error.to_string())? {
            Report::Hello(hello) => Ok(Said::Words(Heard::Hello(hello))),
            Report::Done { consumed, ended } => Ok(Said::Words(Heard::Done { consumed, ended })),
            Report::DoneLarge { consumed, ended } => {
                Ok(Said::Words(Heard::Done { consumed, ended: vec![whole(ended, results)?] }))
            }
        },
    }
}

/// Takes a value that no frame holds. That there is no room for it here is no fault of the worker's.
fn whole(ended: LargeEnded, results: &BlobFile) -> Result<Ended, String> {
    let LargeEnded { task, attempt, elapsed_ns, value } = ended;
    let ending = match blob::fetch(results, value) {
        Ok(bytes) => Ending::Value(bytes),
        Err(error) if error.kind() == io::ErrorKind::OutOfMemory => {
            Ending::Failed(format!("its result cannot be taken: {error}"))
        }
        Err(error) => return Err(format!("result of task {task}: {error}")),
    };
    results.give_back(value.offset, value.bytes);
    Ok(Ended { task, attempt, elapsed_ns, ending })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation;
    use brigade_os::blob::Access;
    use brigade_wire::{Attempt, BLOB_BYTES_MAX, Blob, encode};
    use std::sync::mpsc::channel;
    use std::time::Duration;

    /// What is heard of a result in ten thousand zeros, of which a worker says this.
    fn heard(value: Blob) -> Heard {
        let (_link, ear, tombstone, ends) = conversation().unwrap();
        let file = BlobFile::open(ends.results.owner, ends.results.number, Access::Write).unwrap();
        file.write(&[0; 10_000], 0).unwrap();
        let ended = LargeEnded { task: TaskId(3), attempt: Attempt::FIRST, elapsed_ns: 1, value };
        ends.reports.send(&encode(&Report::DoneLarge { consumed: 0, ended }).unwrap()).unwrap();
        let (sender, heard) = channel();
        ear.listen("ear".into(), move |said| drop(sender.send(said))).unwrap();
        let said = heard.recv_timeout(Duration::from_secs(30)).unwrap();
        tombstone.discard();
        said
    }

    #[test]
    fn a_frame_that_lies_about_a_result_is_garbage_with_words_that_name_the_place() {
        let crc = crc32c::crc32c(&[0; 10_000]);
        let truth = Blob { offset: 0, bytes: 10_000, crc };
        let Heard::Done { ended, .. } = heard(truth) else { panic!("it is true") };
        assert_eq!(ended[0].ending, Ending::Value(vec![0; 10_000]));
        let lies = [
            (Blob { offset: 1, ..truth }, "10000 bytes are there, not 10001"),
            (Blob { offset: u64::MAX, ..truth }, "blob of 10000 bytes at 18446744073709551615"),
            (Blob { bytes: 9_999, ..truth }, "their sum is"),
            (Blob { bytes: BLOB_BYTES_MAX, ..truth }, "bytes are there, not"),
            (Blob { bytes: BLOB_BYTES_MAX + 1, ..truth }, "are the most"),
            (Blob { bytes: u64::MAX, ..truth }, "are the most"),
            (Blob { crc: crc ^ 1, ..truth }, "their sum is"),
        ];
        for (lie, words) in lies {
            let Heard::Garbled(reason) = heard(lie) else { panic!("{lie:?} was believed") };
            assert!(reason.contains("result of task 3") && reason.contains(words), "{lie:?}: {reason}");
        }
    }
}
