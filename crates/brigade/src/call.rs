//! A call as bytes: which function, by its position in this program, and with what.
//!
//! ```text
//! caller u64 │ function u64 │ length u32, item │ …                              arguments
//! tag u8, content                                                               result of one item
//! length u32, result │ …                                                        results of a chunk
//! ```
//!
//! The caller is a function that knows the types: the compiler makes one for each `fn(A) -> R` that is used.

use crate::error::TaskError;
use brigade_os::text::{Caller, Position, caller_at, function_at, position, position_of_caller};
use brigade_wire::{decode_value, encode_value};
use brigade_worker::Caught;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ops::Range;

/// The name under which a worker of this library knows its one task.
pub(crate) const NAME: &str = "brigade";

/// What a task function takes, or gives.
pub trait Value: Serialize + DeserializeOwned + Send + 'static {}

impl<T: Serialize + DeserializeOwned + Send + 'static> Value for T {}

const HEAD_BYTES: usize = 8 + 8;

/// How a result begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tag {
    Value = 0,
    Undecoded = 1,
    Unencoded = 2,
    Panicked = 3,
}

/// A call of one function with one item or several; what travels is these bytes.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    bytes: Vec<u8>,
    items: u32,
    weight: u64,
}

impl Call {
    /// Of no item yet.
    pub(crate) fn of<A: Value, R: Value>(function: fn(A) -> R) -> Result<Call, TaskError> {
        let (caller, function) =
            position_of_caller(call::<A, R>).zip(position(function)).ok_or(TaskError::Foreign)?;
        let mut bytes = Vec::with_capacity(256);
        bytes.extend(caller.number().to_le_bytes());
        bytes.extend(function.number().to_le_bytes());
        Ok(Call { bytes, items: 0, weight: 0 })
    }

    /// Takes one more item, which weighs that much; after an error it has what it had.
    pub(crate) fn push<A: Value>(&mut self, item: &A, weight: u64) -> Result<(), TaskError> {
        let start = self.bytes.len();
        self.bytes.extend([0; 4]);
        if let Err(error) = encode_value(item, &mut self.bytes) {
            self.bytes.truncate(start);
            return Err(TaskError::Encode { message: error.to_string() });
        }
        let length = (self.bytes.len() - start - 4) as u32;
        self.bytes[start..start + 4].copy_from_slice(&length.to_le_bytes());
        self.items += 1;
        self.weight = self.weight.saturating_add(weight);
        Ok(())
    }

    pub(crate) fn items(&self) -> u32 {
        self.items
    }

    /// What its items weigh.
    pub(crate) fn weight(&self) -> u64 {
        self.weight
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Of the same function, with some of the items.
    pub(crate) fn part(&self, items: Range<u32>) -> Call {
        let all: Vec<&[u8]> = pieces(&self.bytes[HEAD_BYTES..]).collect();
        let mut bytes = self.bytes[..HEAD_BYTES].to_vec();
        for item in &all[items.start as usize..items.end as usize] {
            bytes.extend((item.len() as u32).to_le_bytes());
            bytes.extend(*item);
        }
        let items = items.end - items.start;
        Call { bytes, items, weight: items.into() }
    }
}

/// The task function of a worker: calls whatever the bytes name.
pub(crate) fn run(args: &[u8]) -> Result<Vec<u8>, String> {
    let word =
        |at: usize| -> Option<u64> { Some(u64::from_le_bytes(args.get(at..at + 8)?.try_into().ok()?)) };
    let (caller, function) = word(0).zip(word(8)).ok_or("a call of fewer bytes than any")?;
    let caller =
        caller_at(Position::received(caller)).ok_or("a call of what is no function of this program")?;
    let items = args.get(HEAD_BYTES..).ok_or("a call of fewer bytes than any")?;
    caller(Position::received(function), items)
}

/// Calls the function with each item; a panic is the result of its item alone.
fn call<A: Value, R: Value>(function: Position, items: &[u8]) -> Result<Vec<u8>, String> {
    let function = function_at::<A, R>(function).ok_or("a call of what is no function of this program")?;
    let mut results = Vec::new();
    for (at, item) in pieces(items).enumerate() {
        if at > 0 {
            brigade_worker::progress();
        }
        let start = results.len();
        results.extend([0; 4]);
        one(function, item, &mut results);
        let length = (results.len() - start - 4) as u32;
        results[start..start + 4].copy_from_slice(&length.to_le_bytes());
    }
    Ok(results)
}

const _: Caller = call::<(), ()>;

fn one<A: Value, R: Value>(function: fn(A) -> R, item: &[u8], results: &mut Vec<u8>) {
    let start = results.len();
    // What serde calls is the user's code, too, and so is a drop.
    let called = brigade_worker::caught(|| match decode_value::<A>(item) {
        Ok(item) => {
            results.push(Tag::Value as u8);
            if let Err(error) = encode_value(&function(item), results) {
                results.truncate(start);
                said(Tag::Unencoded, &error.to_string(), results);
            }
        }
        Err(error) => said(Tag::Undecoded, &error.to_string(), results),
    });
    if let Caught::Panicked { message, location } = called {
        results.truncate(start);
        results.push(Tag::Panicked as u8);
        encode_value(&(message, location), results).expect("text can be encoded");
    }
}

fn said(tag: Tag, message: &str, results: &mut Vec<u8>) {
    results.push(tag as u8);
    results.extend(message.as_bytes());
}

/// The result of one item, as [`run`] wrote it.
pub(crate) fn result<R: Value>(bytes: &[u8]) -> Result<R, TaskError> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let strange =
        |error: &dyn ToString| TaskError::Decode { message: format!("its result: {}", error.to_string()) };
    match bytes.split_first() {
        Some((0, value)) => decode_value(value).map_err(|error| strange(&error)),
        Some((1, words)) => Err(TaskError::Decode { message: format!("its argument: {}", text(words)) }),
        Some((2, words)) => Err(TaskError::Encode { message: format!("its result: {}", text(words)) }),
        Some((3, words)) => {
            let (message, location) = decode_value(words).map_err(|error| strange(&error))?;
            Err(TaskError::Panicked { message, location })
        }
        Some(_) | None => Err(strange(&"no result begins so")),
    }
}

/// The results of a chunk.
pub(crate) fn results(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    pieces(bytes)
}

/// Each with its length before it; a length that is more than there is ends them.
fn pieces(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (piece, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        bytes = rest;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn half(n: u32) -> u32 {
        assert!(n.is_multiple_of(2), "{n} is odd");
        n / 2
    }

    fn called(call: &Call) -> Vec<Result<u32, TaskError>> {
        let bytes = run(call.bytes()).expect("it is a call");
        results(&bytes).map(result::<u32>).collect()
    }

    #[test]
    fn a_chunk_brings_a_result_for_each_item_and_a_panic_is_that_of_its_item() {
        let mut call = Call::of(half).unwrap();
        (6_u32..10).for_each(|n| call.push(&n, 1).unwrap());
        let all = called(&call);
        assert_eq!((&all[0], &all[2]), (&Ok(3), &Ok(4)));
        assert!(matches!(all[1], Err(TaskError::Panicked { .. })), "{:?}", all[1]);
        assert_eq!(called(&call.part(2..3)), [Ok(4)]);
    }

    #[test]
    fn bytes_that_are_no_call_are_an_error() {
        assert!(run(&[]).is_err() && run(&[0xFF; 64]).is_err());
        assert!(matches!(result::<u32>(&[]), Err(TaskError::Decode { .. })));
        assert!(matches!(result::<u32>(&[9, 1]), Err(TaskError::Decode { .. })));
    }
}
