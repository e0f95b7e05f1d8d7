//! Bytes of any length behind their sum, for all that is no frame, record or blob.
//!
//! ```text
//! CRC-32C of what follows, u32 │ as `encode_value` writes it
//! ```

use crate::value::{ValueError, decode_value, encode_value};
use crc32c::crc32c;
use serde::Serialize;
use serde::de::DeserializeOwned;

const SUM_BYTES: usize = 4;

/// Bytes that are not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{bytes} bytes are damaged: their sum is {sum:08x}, not {told:08x}")]
pub struct Damage {
    /// How many they are, without the sum.
    pub bytes: u64,
    /// Their CRC-32C.
    pub sum: u32,
    /// The one that was told.
    pub told: u32,
}

/// Bytes that are no value behind its sum.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SummedError {
    /// There is no room for a sum.
    #[error("{0} bytes are too few for a sum")]
    Short(usize),
    /// Something has changed them.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// They are what was written, and no value of this type.
    #[error(transparent)]
    Value(#[from] ValueError),
}

/// Holds bytes to the sum that was told of them.
///
/// # Errors
/// If theirs is another one.
pub fn hold_to(told: u32, bytes: &[u8]) -> Result<(), Damage> {
    match crc32c(bytes) {
        sum if sum == told => Ok(()),
        sum => Err(Damage { bytes: bytes.len() as u64, sum, told }),
    }
}

/// Writes a value and its sum.
///
/// # Errors
/// As [`encode_value`].
///
/// ```
/// # use brigade_wire::{SummedError, decode_summed, encode_summed};
/// let mut bytes = encode_summed(&("apple", 3_u64))?;
/// assert_eq!(decode_summed::<(String, u64)>(&bytes)?, ("apple".to_owned(), 3));
/// bytes[6] ^= 1;
/// assert!(matches!(decode_summed::<(String, u64)>(&bytes), Err(SummedError::Damaged(_))));
/// # Ok::<(), SummedError>(())
/// ```
pub fn encode_summed<T: Serialize + 'static>(value: &T) -> Result<Vec<u8>, ValueError> {
    let mut bytes = vec![0; SUM_BYTES];
    encode_value(value, &mut bytes)?;
    let sum = crc32c(&bytes[SUM_BYTES..]);
    bytes[..SUM_BYTES].copy_from_slice(&sum.to_le_bytes());
    Ok(bytes)
}

/// Reads one; every byte must belong to it.
///
/// # Errors
/// If the sum does not hold, or the bytes are no value of this type.
pub fn decode_summed<T: DeserializeOwned + 'static>(bytes: &[u8]) -> Result<T, SummedError> {
    let (told, value) = bytes.split_first_chunk::<SUM_BYTES>().ok_or(SummedError::Short(bytes.len()))?;
    hold_to(u32::from_le_bytes(*told), value)?;
    Ok(decode_value(value)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_changed_bit_of_a_value_behind_its_sum_goes_unnoticed() {
        let bytes = encode_summed(&("apple".to_owned(), 3_u64)).unwrap();
        for bit in 0..8 * bytes.len() {
            let mut bent = bytes.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            let told = decode_summed::<(String, u64)>(&bent);
            assert!(matches!(told, Err(SummedError::Damaged(Damage { bytes: 7, .. }))), "bit {bit}");
        }
        assert!(matches!(decode_summed::<u8>(&bytes[..3]), Err(SummedError::Short(3))));
    }
}
