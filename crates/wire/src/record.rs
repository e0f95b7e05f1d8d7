//! What is written down for a later supervisor: a bincode body without an envelope, bounded.
//!
//! ```text
//! body: bincode, little endian, integers as short as they are │ nothing after it
//! ```
//!
//! Integers are as short as they are because a journal keeps one record for each task: a task number below 2^32
//! takes 1 to 5 bytes and a tag one, where a frame gives them 8 and 4. Whoever stores a record frames and sums it.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::enc::write::Writer;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The most bytes a record may have: some 280 frames. A larger result is not kept, and the journal says so.
pub const RECORD_BYTES_MAX: usize = 1 << 20;

/// When it reads, bincode counts an integer by the bytes of its type, however short it stands there: 8 for one.
const CLAIMS_MAX: usize = 8 * RECORD_BYTES_MAX;

const CONFIG: Configuration<LittleEndian, Varint, Limit<CLAIMS_MAX>> =
    bincode::config::standard().with_little_endian().with_variable_int_encoding().with_limit::<CLAIMS_MAX>();

/// A value that does not fit into a record, or bytes that are none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The value does not fit.
    #[error("encode a record of at most {RECORD_BYTES_MAX} bytes: {0}")]
    Encode(#[from] bincode::error::EncodeError),
    /// The bytes are not what they should be.
    #[error("record: {0}")]
    Decode(#[from] bincode::error::DecodeError),
    /// The value ended before the bytes did.
    #[error("record with {0} bytes too many")]
    Trailing(usize),
}

/// Writes a value behind what the buffer holds; after an error the buffer is as it was.
///
/// # Errors
/// If the value takes more than [`RECORD_BYTES_MAX`] bytes.
///
/// ```
/// # use brigade_wire::{TaskId, decode_record, encode_record};
/// let mut buffer = vec![0xFF];
/// encode_record(&TaskId(7), &mut buffer)?;
/// assert_eq!(buffer, [0xFF, 7]);
/// assert_eq!(decode_record::<TaskId>(&buffer[1..])?, TaskId(7));
/// # Ok::<(), brigade_wire::RecordError>(())
/// ```
pub fn encode_record<T: Serialize>(value: &T, buffer: &mut Vec<u8>) -> Result<(), RecordError> {
    let start = buffer.len();
    let bounded = Bounded { buffer, left: RECORD_BYTES_MAX };
    let encoded = bincode::serde::encode_into_writer(value, bounded, CONFIG);
    if encoded.is_err() {
        buffer.truncate(start);
    }
    Ok(encoded?)
}

/// Reads a value; every byte must belong to it.
///
/// # Errors
/// If the bytes are no such value.
pub fn decode_record<T: DeserializeOwned>(body: &[u8]) -> Result<T, RecordError> {
    if body.len() > RECORD_BYTES_MAX {
        return Err(RecordError::Trailing(body.len() - RECORD_BYTES_MAX));
    }
    let (value, used) = bincode::serde::decode_from_slice(body, CONFIG)?;
    match body.len() - used {
        0 => Ok(value),
        rest => Err(RecordError::Trailing(rest)),
    }
}

/// A buffer that takes so many bytes more. bincode has a limit for reading only.
struct Bounded<'a> {
    buffer: &'a mut Vec<u8>,
    left: usize,
}

impl Writer for Bounded<'_> {
    #[inline(always)]
    fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
        self.left = self.left.checked_sub(bytes.len()).ok_or(bincode::error::EncodeError::UnexpectedEnd)?;
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }
}
