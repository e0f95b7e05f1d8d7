//! What a task function takes and gives, for whoever calls functions by their types.
//!
//! ```text
//! bincode, little endian, integers as short as they are │ nothing after it
//! ```
//!
//! A vector of plain numbers is written as it lies in memory (`plain`).

use crate::plain;
use crate::whole::Whole;
use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The most bytes that one value may claim when it is read.
pub const VALUE_BYTES_MAX: usize = 1 << 36;

const CONFIG: Configuration<LittleEndian, Varint, Limit<VALUE_BYTES_MAX>> = bincode::config::standard()
    .with_little_endian()
    .with_variable_int_encoding()
    .with_limit::<VALUE_BYTES_MAX>();

/// A value that cannot be written, or bytes that are none of its type.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// Its `Serialize` says no.
    #[error("{}", encoding(.0))]
    Encode(#[from] bincode::error::EncodeError),
    /// The bytes, or its `Deserialize`, say no.
    #[error("{}", decoding(.0))]
    Decode(#[from] bincode::error::DecodeError),
    /// The value ended before the bytes did.
    #[error("{0} bytes too many")]
    Trailing(usize),
}

/// In the words of the type's own `Serialize`, if they are that: bincode would tell what variant of its error they are, too.
fn encoding(error: &bincode::error::EncodeError) -> String {
    match error {
        bincode::error::EncodeError::OtherString(words) => words.clone(),
        error => error.to_string(),
    }
}

/// The same for `Deserialize`.
fn decoding(error: &bincode::error::DecodeError) -> String {
    match error {
        bincode::error::DecodeError::OtherString(words) => words.clone(),
        bincode::error::DecodeError::Serde(bincode::serde::DecodeError::AnyNotSupported) => {
            "its type finds out what it is by reading (`untagged`, `tag`, `serde_json::Value` …), and the bytes do not say it: \
             send it as text"
                .to_owned()
        }
        error => error.to_string(),
    }
}

/// Writes a value behind what the buffer holds; after an error the buffer is as it was.
///
/// # Errors
/// If its `Serialize` fails.
///
/// ```
/// # use brigade_wire::{decode_value, encode_value};
/// let mut buffer = vec![];
/// encode_value(&("apple", 3_u64), &mut buffer)?;
/// assert_eq!(decode_value::<(String, u64)>(&buffer)?, ("apple".to_owned(), 3));
/// # Ok::<(), brigade_wire::ValueError>(())
/// ```
pub fn encode_value<T: Serialize + 'static>(value: &T, buffer: &mut Vec<u8>) -> Result<(), ValueError> {
    if plain::write(value, buffer) {
        return Ok(());
    }
    let start = buffer.len();
    let written = bincode::serde::encode_into_std_write(Whole(value), buffer, CONFIG);
    if let Err(error) = written {
        buffer.truncate(start);
        return Err(error.into());
    }
    Ok(())
}

/// Reads a value; every byte must belong to it.
///
/// # Errors
/// If the bytes are no value of this type.
pub fn decode_value<T: DeserializeOwned + 'static>(bytes: &[u8]) -> Result<T, ValueError> {
    if let Some(read) = plain::read(bytes) {
        return read;
    }
    let (value, used) = bincode::serde::decode_from_slice(bytes, CONFIG)?;
    match bytes.len() - used {
        0 => Ok(value),
        rest => Err(ValueError::Trailing(rest)),
    }
}
