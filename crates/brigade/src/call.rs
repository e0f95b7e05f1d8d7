//! A call as bytes: which function, by its position in this program, and with what.
//!
//! ```text
//! caller u64 │ function u64 │ length u32, item │ …                              arguments
//! tag u8, content                                                               result of one item
//! length u32, result │ …                                                        results of a chunk
//! ```
//!
//! A call of a task of another program has 0 in place of the caller, and the length of a name in place of the function; the name
//! follows.
//!
//! The caller is a function that knows the types: the compiler makes one for each `fn(A) -> R` that is used.

use crate::carry::{self, Kept};
use crate::error::{Origin, TaskError};
use crate::init::exit_code;
use crate::receipt::{self, LENT};
use brigade_os::text::{Caller, Errand};
use brigade_wire::{decode_value, encode_value};
use brigade_worker::Caught;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ops::Range;
use std::process::Termination;

/// The name under which a worker of this library knows its one task.
pub(crate) const NAME: &str = "brigade";

/// What a task function takes, or gives: whatever serde can write and read, that owns what it has, and may go to another thread.
///
/// ```
/// # brigade::test_entry!(init); init();
/// use brigade::{Pool, TaskError, Value};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// struct Point { x: f64, y: f64 }
///
/// fn there_and_back<T: Value>(pool: &Pool, value: T) -> Result<T, TaskError> {
///     pool.submit(|value: T| value, value).join()
/// }
///
/// let pool = Pool::builder().procs(1).build()?;
/// assert_eq!(there_and_back(&pool, Point { x: 3.0, y: 4.0 }), Ok(Point { x: 3.0, y: 4.0 }));
/// # Ok::<(), brigade::BuildError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "a `{Self}` cannot go to a worker and back",
    label = "neither an argument nor a result of a task",
    note = "derive `serde::Serialize` and `serde::Deserialize` for it, and let it own what it has (`'static`, `Send`)"
)]
pub trait Value: Serialize + DeserializeOwned + Send + 'static {}

impl<T: Serialize + DeserializeOwned + Send + 'static> Value for T {}

const HEAD_BYTES: usize = 8 + 8;

/// How a result begins, if not with [`LENT`].
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
    /// How many of them stand before the items.
    head: usize,
    items: u32,
    weight: u64,
    /// What its items carry.
    kept: Vec<Kept>,
}

impl Call {
    /// Of no item yet.
    pub(crate) fn of<A: Value, R: Value>(function: fn(A) -> R) -> Result<Call, TaskError> {
        Call::with(call::<A, R>, function)
    }

    /// Of no item yet, by a caller that knows the types.
    pub(crate) fn with<A, R>(caller: Caller<A, R>, function: fn(A) -> R) -> Result<Call, TaskError> {
        let errand = Errand::of(caller, function).ok_or(TaskError::Foreign)?;
        let mut bytes = Vec::with_capacity(256);
        bytes.extend(errand.numbers().map(u64::to_le_bytes).as_flattened());
        Ok(Call::opened(bytes))
    }

    /// Of no item yet, of a task by its name and shape.
    pub(crate) fn named(signature: &str) -> Call {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend(NAMED.to_le_bytes());
        bytes.extend((signature.len() as u64).to_le_bytes());
        bytes.extend(signature.as_bytes());
        Call::opened(bytes)
    }

    /// Behind what names the function.
    fn opened(bytes: Vec<u8>) -> Call {
        Call { head: bytes.len(), bytes, items: 0, weight: 0, kept: Vec::new() }
    }

    pub(crate) fn is_named(&self) -> bool {
        word(&self.bytes, 0) == Some(NAMED)
    }

    /// Takes one more item, which weighs 1; after an error it has what it had.
    pub(crate) fn push<A: Value>(&mut self, item: &A) -> Result<(), TaskError> {
        let start = self.bytes.len();
        self.bytes.extend([0; 4]);
        let (encoded, kept) = carry::collect(|| encode_value(item, &mut self.bytes));
        let written = encoded.map_err(|error| error.to_string()).and_then(|()| seal(&mut self.bytes, start));
        if let Err(message) = written {
            self.bytes.truncate(start);
            return Err(TaskError::Encode { message, origin: None });
        }
        self.kept.extend(kept);
        self.items += 1;
        self.weight = self.weight.saturating_add(1);
        Ok(())
    }

    pub(crate) fn items(&self) -> u32 {
        self.items
    }

    /// The last item weighs that much.
    pub(crate) fn weigh(&mut self, weight: u64) {
        self.weight = (self.weight - 1).saturating_add(weight);
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
        let all: Vec<&[u8]> = pieces(&self.bytes[self.head..]).collect();
        let mut bytes = self.bytes[..self.head].to_vec();
        for item in &all[items.start as usize..items.end as usize] {
            bytes.extend((item.len() as u32).to_le_bytes());
            bytes.extend(*item);
        }
        let items = items.end - items.start;
        Call { bytes, head: self.head, items, weight: items.into(), kept: self.kept.clone() }
    }
}

/// Where a caller would stand, in a call by name: no function stands at the start of a program.
const NAMED: u64 = 0;

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// What a call by name names, and its items.
pub(crate) fn named(args: &[u8]) -> Option<(&str, &[u8])> {
    let length = usize::try_from(word(args, 8)?).ok().filter(|_| word(args, 0) == Some(NAMED))?;
    let (name, items) = args.get(HEAD_BYTES..)?.split_at_checked(length)?;
    Some((std::str::from_utf8(name).ok()?, items))
}

/// The task function of a worker: calls whatever the bytes name.
pub(crate) fn run(args: &[u8]) -> Result<Vec<u8>, String> {
    let (caller, function) = word(args, 0).zip(word(args, 8)).ok_or("a call of fewer bytes than any")?;
    let errand =
        Errand::received([caller, function]).ok_or("a call of what is no function of this program")?;
    errand.run(args.get(HEAD_BYTES..).ok_or("a call of fewer bytes than any")?)
}

/// The call of a process, of one item, which may be of any length; and what that carries.
pub(crate) fn errand<A: Value, T: Termination>(
    function: fn(A) -> T,
    argument: &A,
) -> Result<(Vec<u8>, Vec<Kept>), TaskError> {
    let errand = Errand::of(enter::<A, T>, function).ok_or(TaskError::Foreign)?;
    let mut bytes = errand.numbers().map(u64::to_le_bytes).concat();
    let (encoded, kept) = carry::collect(|| encode_value(argument, &mut bytes));
    encoded.map_err(|error| TaskError::Encode { message: error.to_string(), origin: None })?;
    Ok((bytes, kept))
}

/// The caller of a process: its result is the exit code, one byte.
fn enter<A: Value, T: Termination>(function: fn(A) -> T, argument: &[u8]) -> Result<Vec<u8>, String> {
    let argument = carry::unpack(|| decode_value::<A>(argument));
    let argument = argument.map_err(|error| format!("its argument: {error}"))?;
    Ok(vec![exit_code(function(argument).report()) as u8])
}

/// Calls the function with each item; a panic is the result of its item alone.
fn call<A: Value, R: Value>(function: fn(A) -> R, items: &[u8]) -> Result<Vec<u8>, String> {
    Ok(each(function, items))
}

/// The same, where the function is known.
pub(crate) fn each<A: Value, R: Value>(function: fn(A) -> R, items: &[u8]) -> Vec<u8> {
    let mut results = Vec::new();
    for (at, item) in pieces(items).enumerate() {
        if at > 0 {
            brigade_worker::progress();
        }
        sealed(function, item, &mut results);
    }
    results
}

/// The result of one, behind its length.
fn sealed<A: Value, R: Value>(function: fn(A) -> R, item: &[u8], results: &mut Vec<u8>) {
    let start = results.len();
    results.extend([0; 4]);
    one(function, item, results);
    if let Err(words) = seal(results, start) {
        results.truncate(start + 4);
        said(Tag::Unencoded, &words, results);
        seal(results, start).expect("a line is no longer than anything may be");
    }
}

fn one<A: Value, R: Value>(function: fn(A) -> R, item: &[u8], results: &mut Vec<u8>) {
    let start = results.len();
    // What serde calls is the user's code, too, and so is a drop.
    let called = brigade_worker::caught(|| match decode_value::<A>(item) {
        Ok(item) => {
            results.push(Tag::Value as u8);
            let result = function(item);
            let (encoded, kept) = carry::collect(|| encode_value(&result, results));
            match encoded {
                Ok(()) => carry::keep(kept, results, start),
                Err(error) => {
                    results.truncate(start);
                    said(Tag::Unencoded, &error.to_string(), results);
                }
            }
        }
        Err(error) => said(Tag::Undecoded, &error.to_string(), results),
    });
    if let Caught::Panicked { message, location, backtrace } = called {
        results.truncate(start);
        results.push(Tag::Panicked as u8);
        encode_value(&(message, location, backtrace), results).expect("text can be encoded");
    }
}

fn said(tag: Tag, message: &str, results: &mut Vec<u8>) {
    results.push(tag as u8);
    results.extend(message.as_bytes());
}

/// The result of one item, as [`run`] wrote it; whose it is, is asked where it is an error.
pub(crate) fn result<R: Value>(bytes: &[u8], origin: impl Fn() -> Box<Origin>) -> Result<R, TaskError> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let origin = || Some(origin());
    let strange = |error: &dyn ToString| TaskError::Decode {
        message: format!("its result: {}", error.to_string()),
        origin: origin(),
    };
    match bytes.split_first() {
        Some((0, value)) => decode_value(value).map_err(|error| strange(&error)),
        Some((&LENT, lent)) => decode_value(receipt::value(lent)).map_err(|error| strange(&error)),
        Some((1, words)) => {
            Err(TaskError::Decode { message: format!("its argument: {}", text(words)), origin: origin() })
        }
        Some((2, words)) => {
            Err(TaskError::Encode { message: format!("its result: {}", text(words)), origin: origin() })
        }
        Some((3, words)) => {
            let (message, location, backtrace) = decode_value(words).map_err(|error| strange(&error))?;
            Err(TaskError::Panicked { message, location, backtrace, origin: origin() })
        }
        Some(_) | None => Err(strange(&"no result begins so")),
    }
}

/// There is no result where one should be.
pub(crate) fn nothing(origin: Box<Origin>) -> TaskError {
    TaskError::Decode { message: "its result: there is none".into(), origin: Some(origin) }
}

/// The results of a chunk.
pub(crate) fn results(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    pieces(bytes)
}

/// Writes the length of the piece that ends here into the four bytes at its start.
fn seal(bytes: &mut [u8], start: usize) -> Result<(), String> {
    let length = bytes.len() - start - 4;
    let fits = u32::try_from(length).map_err(|_| format!("{length} bytes: {} are the most", u32::MAX))?;
    bytes[start..start + 4].copy_from_slice(&fits.to_le_bytes());
    Ok(())
}

/// The first item of a call that has one.
pub(crate) fn single(items: &[u8]) -> Option<&[u8]> {
    pieces(items).next()
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
    use brigade_wire::Attempt;

    fn half(n: u32) -> u32 {
        assert!(n.is_multiple_of(2), "{n} is odd");
        n / 2
    }

    fn here() -> Box<Origin> {
        Box::new(Origin { attempt: Attempt::FIRST, pid: 42, log: None })
    }

    fn called(call: &Call) -> Vec<Result<u32, TaskError>> {
        let bytes = run(call.bytes()).expect("it is a call");
        results(&bytes).map(|one| result(one, here)).collect()
    }

    #[test]
    fn a_chunk_brings_a_result_for_each_item_and_a_panic_is_that_of_its_item() {
        let mut call = Call::of(half).unwrap();
        (6_u32..10).for_each(|n| call.push(&n).unwrap());
        let all = called(&call);
        assert_eq!((&all[0], &all[2]), (&Ok(3), &Ok(4)));
        assert!(matches!(all[1], Err(TaskError::Panicked { .. })), "{:?}", all[1]);
        assert_eq!(called(&call.part(2..3)), [Ok(4)]);
    }

    #[test]
    fn bytes_that_are_no_call_are_an_error() {
        assert!(run(&[]).is_err() && run(&[0xFF; 64]).is_err());
        assert!(matches!(result::<u32>(&[], here), Err(TaskError::Decode { .. })));
        assert!(matches!(result::<u32>(&[9, 1], here), Err(TaskError::Decode { .. })));
    }
}
