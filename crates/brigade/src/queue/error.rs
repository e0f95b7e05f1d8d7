//! What can go wrong with a queue.

use crate::error::one_line;
use std::io;

/// Why nothing was put, or got.
///
/// ```
/// let queue = brigade::Queue::<u32>::new()?;
/// queue.close();
/// let told: brigade::QueueError = queue.get().expect_err("nothing is in it, nor will be");
/// assert_eq!(told.to_string(), "the queue is closed");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// It was closed: nothing can be put any more. Whoever gets hears this only when nothing is left to get.
    #[error("the queue is closed")]
    Closed,
    /// There was no room in the time that was given.
    #[error("the queue is full")]
    Full,
    /// There was nothing in the time that was given.
    #[error("the queue is empty")]
    Empty,
    /// Not all was done in the time that was given.
    #[error("{unfinished} items of the queue are not done")]
    Unfinished {
        /// How many are not.
        unfinished: u64,
    },
    /// More are done than were got.
    #[error("task_done was called more often than items were got")]
    NothingToDo,
    /// The item is larger than the queue may ever hold.
    #[error("an item of {bytes} bytes: the queue holds {most}, see Queue::with_capacity")]
    TooLarge {
        /// Bytes that it has.
        bytes: u64,
        /// Bytes that there is room for.
        most: u64,
    },
    /// The item cannot be written as bytes; the queue is as it was.
    #[error("cannot be encoded: {}", one_line(.message))]
    Encode {
        /// What serde said.
        message: String,
    },
    /// The item cannot be read from its bytes, and is gone.
    #[error("cannot be decoded: {}", one_line(.message))]
    Decode {
        /// What serde said.
        message: String,
    },
    /// Something has changed an item in memory; it is gone.
    #[error(
        "item {number} of the queue, {bytes} bytes at {offset}, is damaged: its checksum is {sum:08x}, not {told:08x}"
    )]
    Damaged {
        /// The how-manieth of all that were ever put, from 0 on.
        number: u64,
        /// Where its bytes are in the queue's memory: for one of up to 32 bytes, that of its row.
        offset: u64,
        /// Bytes that it has.
        bytes: u64,
        /// Their CRC-32C.
        sum: u32,
        /// The one that they had.
        told: u32,
    },
    /// The system says no.
    #[error("queue: {}", one_line(.0))]
    Os(#[from] io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::assert_one_line;

    #[test]
    fn every_error_of_a_queue_is_one_line() {
        let two = || "a\nb".to_owned();
        let all = [
            QueueError::Closed,
            QueueError::Full,
            QueueError::Empty,
            QueueError::Unfinished { unfinished: 2 },
            QueueError::NothingToDo,
            QueueError::TooLarge { bytes: 2, most: 1 },
            QueueError::Encode { message: two() },
            QueueError::Decode { message: two() },
            QueueError::Damaged { number: 1, offset: 64, bytes: 2, sum: 3, told: 4 },
            QueueError::Os(io::Error::other(two())),
        ];
        all.iter().for_each(|error| assert_one_line(error));
    }
}
