//! The two languages: what a supervisor tells a worker, and what a worker tells back.

use crate::codec::Item;
use crate::{Attempt, Ending, TaskId, WorkerId};
use serde::{Deserialize, Serialize};

/// Supervisor to worker. A worker obeys them in the order sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Run these, begun in this order.
    Run(Vec<Call>),
    /// STOP, the sentinel: everything sent before it is to be done, nothing comes after it.
    Stop,
    /// Run one whose arguments no frame holds.
    RunLarge(LargeCall),
}

/// One task lent to a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Which task.
    pub task: TaskId,
    /// Which try of it.
    pub attempt: Attempt,
    /// The encoded arguments of the run's task function.
    #[serde(with = "serde_bytes")]
    pub args: Vec<u8>,
}

/// Worker to supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// The first words. Nothing is lent to a worker before them.
    Hello(Hello),
    /// Attempts that ended.
    Done {
        /// How many commands the worker has consumed since it was born: the credit it gives back. Counted
        /// by the worker and never inferred, because one command may come back as several reports.
        consumed: u32,
        /// The attempts, in the order they ended.
        ended: Vec<Ended>,
    },
    /// One attempt that ended with a value that no frame holds.
    DoneLarge {
        /// As above.
        consumed: u32,
        /// The attempt.
        ended: LargeEnded,
    },
}

/// The most bytes that the arguments or the result of a task may have.
pub const BLOB_BYTES_MAX: u64 = 4 << 30;

/// Bytes that no frame holds, where they lie in a file that both sides know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    /// Where they begin.
    pub offset: u64,
    /// How many they are.
    pub bytes: u64,
    /// Their CRC-32C.
    pub crc: u32,
}

/// One task lent to a worker, its arguments elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LargeCall {
    /// Which task.
    pub task: TaskId,
    /// Which try of it.
    pub attempt: Attempt,
    /// The file that they lie in, by its number in the supervisor.
    pub file: i32,
    /// The arguments.
    pub args: Blob,
}

/// One attempt that ended with a value, which is elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LargeEnded {
    /// Which task.
    pub task: TaskId,
    /// Which try of it.
    pub attempt: Attempt,
    /// How long the attempt ran, in nanoseconds.
    pub elapsed_ns: u64,
    /// The value, in the file that the worker was given for its results.
    pub value: Blob,
}

/// Who speaks, and whether the two sides can understand each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL`] as the worker was built with it.
    pub protocol: u64,
    /// Which incarnation it was born as.
    pub worker: WorkerId,
}

/// One attempt that ended while its worker lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Which task.
    pub task: TaskId,
    /// Which try of it.
    pub attempt: Attempt,
    /// How long the attempt ran, in nanoseconds: what look-ahead is estimated from.
    pub elapsed_ns: u64,
    /// How it ended.
    pub ending: Ending,
}

/// Fixed-width integers make these plain sums; `sizes_are_what_the_codec_writes` holds them to it.
const TAG: usize = 4;
const LENGTH: usize = 8;
const TASK_AND_ATTEMPT: usize = 8 + 4;

impl Item for Call {
    const ENVELOPE_BYTES: usize = TAG + LENGTH;

    fn encoded_bytes(&self) -> usize {
        TASK_AND_ATTEMPT + LENGTH + self.args.len()
    }
}

impl Item for Ended {
    const ENVELOPE_BYTES: usize = TAG + 4 + LENGTH;

    fn encoded_bytes(&self) -> usize {
        let ending = match &self.ending {
            Ending::Value(bytes) => LENGTH + bytes.len(),
            Ending::Failed(message) => LENGTH + message.len(),
            Ending::Panicked { message, location } => 2 * LENGTH + message.len() + location.len(),
        };
        TASK_AND_ATTEMPT + 8 + TAG + ending
    }
}

/// The fingerprint of this protocol: FNV-1a over the sources that define it.
///
/// `supervisor` and `worker` are two programs whose ELF build ids always differ; what has to agree is
/// what they say to each other.
pub const PROTOCOL: u64 = {
    let hash = fnv1a(0xcbf2_9ce4_8422_2325, include_bytes!("frame.rs"));
    let hash = fnv1a(hash, include_bytes!("ids.rs"));
    let hash = fnv1a(hash, include_bytes!("outcome.rs"));
    fnv1a(hash, include_bytes!("codec.rs"))
};

const fn fnv1a(mut hash: u64, bytes: &[u8]) -> u64 {
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        at += 1;
    }
    hash
}
