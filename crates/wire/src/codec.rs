//! One frame, one packet: a fixed header and a bincode body, both bounded.
//!
//! ```text
//! 0xB7 0x1D │ CRC-32C of the body, u32 │ body: bincode, little endian, fixed-width integers │ nothing after it
//! ```
//!
//! bincode is unmaintained and believes what it reads (without a limit, a length of 2^40 aborts the
//! process), so nothing outside this file and `record.rs` names it and every call carries a limit.

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use crc32c::crc32c;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The most bytes a frame may have, header included.
///
/// 49 packets of this size fit into a Unix socket before a stopped reader blocks the sender, but only 26
/// of 4,096 bytes (measured, Linux 6.18, default buffers): the kernel charges a packet by the power of
/// two that holds it with its bookkeeping.
pub const FRAME_BYTES_MAX: usize = 3_740;

const MAGIC: [u8; 2] = [0xB7, 0x1D];

/// The magic number and the sum.
const HEAD_BYTES: usize = MAGIC.len() + 4;

const CONFIG: Configuration<LittleEndian, Fixint, Limit<FRAME_BYTES_MAX>> = bincode::config::standard()
    .with_little_endian()
    .with_fixed_int_encoding()
    .with_limit::<FRAME_BYTES_MAX>();

/// A value that does not fit into a frame.
#[derive(Debug, thiserror::Error)]
#[error("encode a frame of at most {FRAME_BYTES_MAX} bytes: {0}")]
pub struct EncodeError(#[from] bincode::error::EncodeError);

/// Bytes that are no frame of ours.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The packet does not start as our frames do, or is shorter than what they all start with.
    #[error("frame without our magic number")]
    Magic,
    /// The packet is longer than any frame.
    #[error("frame of {0} bytes, the most is {FRAME_BYTES_MAX}")]
    TooLong(usize),
    /// What arrived is not what was sent.
    #[error("damaged frame of {bytes} bytes: their sum is {sum:08x}, not {told:08x}")]
    Damaged {
        /// How long the packet is.
        bytes: usize,
        /// The CRC-32C of the body as it arrived.
        sum: u32,
        /// The one that stands in its head.
        told: u32,
    },
    /// The body is not what it should be.
    #[error("frame body: {0}")]
    Body(#[from] bincode::error::DecodeError),
    /// The body ended before the packet did.
    #[error("frame with {0} bytes too many")]
    Trailing(usize),
}

/// Encodes one value into a packet.
///
/// # Errors
/// If the packet would be longer than [`FRAME_BYTES_MAX`].
///
/// ```
/// # use brigade_wire::{Command, decode, encode};
/// let packet = encode(&Command::Stop)?;
/// assert_eq!(decode::<Command>(&packet)?, Command::Stop);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, EncodeError> {
    let mut packet = vec![0; FRAME_BYTES_MAX];
    let body = bincode::serde::encode_into_slice(value, &mut packet[HEAD_BYTES..], CONFIG)?;
    packet.truncate(HEAD_BYTES + body);
    seal(&mut packet);
    Ok(packet)
}

/// Writes the head of a packet over its first bytes, for the body that stands behind them; of one that has no room for a head,
/// nothing. [`encode`] does it; apart from that it is for whoever bends frames, to see what comes of those whose sum holds.
///
/// ```
/// # use brigade_wire::{Command, DecodeError, decode, encode, seal};
/// let mut packet = encode(&Command::Stop)?;
/// *packet.last_mut().unwrap() = 9;
/// assert!(matches!(decode::<Command>(&packet), Err(DecodeError::Damaged { .. })));
/// seal(&mut packet);
/// assert!(matches!(decode::<Command>(&packet), Err(DecodeError::Body(_))), "undamaged, and yet no command");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn seal(packet: &mut [u8]) {
    if let Some((head, body)) = packet.split_first_chunk_mut::<HEAD_BYTES>() {
        let (magic, sum) = head.split_at_mut(MAGIC.len());
        magic.copy_from_slice(&MAGIC);
        sum.copy_from_slice(&crc32c(body).to_le_bytes());
    }
}

/// Decodes one packet; every byte of it must belong to the value.
///
/// # Errors
/// If the packet is not a frame of this protocol. The sender has then lost its mind, or is a stranger.
pub fn decode<T: DeserializeOwned>(packet: &[u8]) -> Result<T, DecodeError> {
    if packet.len() > FRAME_BYTES_MAX {
        return Err(DecodeError::TooLong(packet.len()));
    }
    let sealed = packet.strip_prefix(&MAGIC).ok_or(DecodeError::Magic)?;
    let (told, body) = sealed.split_first_chunk::<4>().ok_or(DecodeError::Magic)?;
    let (sum, told) = (crc32c(body), u32::from_le_bytes(*told));
    if sum != told {
        return Err(DecodeError::Damaged { bytes: packet.len(), sum, told });
    }
    let (value, used) = bincode::serde::decode_from_slice(body, CONFIG)?;
    match body.len() - used {
        0 => Ok(value),
        rest => Err(DecodeError::Trailing(rest)),
    }
}

/// Something that travels in batches, and knows the size of its own encoding.
pub trait Item {
    /// What a frame takes beside its items: the tag, the length of the list, and the fields around it.
    const ENVELOPE_BYTES: usize;

    /// How many bytes this item takes in a frame.
    fn encoded_bytes(&self) -> usize;
}

/// Collects items for one packet, until the next one does not fit.
///
/// ```
/// # use brigade_wire::{Attempt, Batch, Call, TaskId};
/// let call = |n| Call { task: TaskId(n), attempt: Attempt::FIRST, args: vec![0; 1_800] };
/// let mut batch = Batch::default();
/// assert!(batch.push(call(0)).is_ok() && batch.push(call(1)).is_ok());
/// assert_eq!(batch.push(call(2)), Err(call(2)), "three times 1,800 bytes are more than a frame");
/// assert_eq!(batch.take().len(), 2);
/// ```
#[derive(Debug)]
pub struct Batch<T> {
    items: Vec<T>,
    bytes: usize,
}

impl<T> Default for Batch<T> {
    fn default() -> Batch<T> {
        Batch { items: Vec::new(), bytes: 0 }
    }
}

impl<T: Item> Batch<T> {
    /// Whether an item fits into a frame of its own.
    pub fn fits(item: &T) -> bool {
        HEAD_BYTES + T::ENVELOPE_BYTES + item.encoded_bytes() <= FRAME_BYTES_MAX
    }

    /// Adds an item.
    ///
    /// # Errors
    /// Hands the item back if it does not fit any more.
    pub fn push(&mut self, item: T) -> Result<(), T> {
        let bytes = self.bytes + item.encoded_bytes();
        if HEAD_BYTES + T::ENVELOPE_BYTES + bytes > FRAME_BYTES_MAX {
            return Err(item);
        }
        self.bytes = bytes;
        self.items.push(item);
        Ok(())
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// What was collected; the batch is empty afterwards.
    pub fn take(&mut self) -> Vec<T> {
        self.bytes = 0;
        std::mem::take(&mut self.items)
    }
}
