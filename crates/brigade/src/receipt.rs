//! What results of a worker carry stays open there until whoever has such a result needs it no more, and says so.
//!
//! ```text
//! worker: result ─▶ [LENT │ where to say so, 24 bytes │ number u64 │ value]        keeps what it carries, under the number
//! pool:   settle ─▶ a Receipt beside the result ─▶ taken, or dropped ─▶ the number and its CRC-32C, into that pipe of the worker's
//! ```
//!
//! A worker that dies takes all of it along, as it always did.

use crate::carry::Kept;
use brigade_os::lend::{Access, Loan};
use brigade_os::pipe::{without_sigpipe, write_at_once};
use brigade_os::signals;
use brigade_wire::{Damage, hold_to};
use crc32c::crc32c;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// How the result of one item begins that carries something.
pub(crate) const LENT: u8 = 4;

/// What stands between that and the value.
const BYTES: usize = 4 + 4 + 8 + 8 + 8;

/// What results of this worker carry, by number.
#[derive(Default)]
struct Shelf {
    /// Where it hears what is needed no more; the end to write to is opened by others.
    ear: Option<(OwnedFd, Loan)>,
    last: u64,
    kept: HashMap<u64, Vec<Kept>>,
}

static SHELF: Mutex<Option<Shelf>> = Mutex::new(None);

fn shelf() -> MutexGuard<'static, Option<Shelf>> {
    SHELF.lock().unwrap_or_else(PoisonError::into_inner)
}

/// In a worker: keeps what the result carries that begins there, and has it say so. What nobody can be heard about is kept until
/// this process ends.
pub(crate) fn keep(kept: Vec<Kept>, results: &mut Vec<u8>, start: usize) {
    let mut shelf = shelf();
    let shelf = shelf.get_or_insert_default();
    // A copy of a process has its parent's pipe, and nobody who reads it.
    if shelf.ear.as_ref().is_none_or(|(_, loan)| loan.owner != process::id()) {
        shelf.ear = listen().ok();
    }
    shelf.last += 1;
    shelf.kept.insert(shelf.last, kept);
    let Some((_, Loan { owner, number, device, inode })) = shelf.ear else { return };
    let mut head = [0; BYTES];
    head[..4].copy_from_slice(&owner.to_le_bytes());
    head[4..8].copy_from_slice(&number.to_le_bytes());
    for (at, word) in [device, inode, shelf.last].into_iter().enumerate() {
        head[8 + 8 * at..16 + 8 * at].copy_from_slice(&word.to_le_bytes());
    }
    results[start] = LENT;
    results.splice(start + 1..start + 1, head);
}

/// Hears what is needed no more, as long as this process lives.
fn listen() -> io::Result<(OwnedFd, Loan)> {
    let (reader, writer) = io::pipe()?;
    let writer = OwnedFd::from(writer);
    let loan = Loan::of(&writer)?;
    let mut reader = File::from(OwnedFd::from(reader));
    let hear = move || {
        let mut note = [0; NOTE_BYTES];
        while reader.read_exact(&mut note).is_ok() {
            match number_of(&note) {
                Ok(number) => {
                    let kept = shelf().as_mut().and_then(|shelf| shelf.kept.remove(&number));
                    drop(kept);
                }
                // To give back what somebody may need would be worse than to keep what nobody does.
                Err(damage) => {
                    eprintln!("a note that a result is needed no more, kept until the end: {damage}")
                }
            }
        }
    };
    // What is sent to this process is for its calls.
    signals::deaf(|| {
        thread::Builder::new().name("brigade-receipts".into()).stack_size(64 << 10).spawn(hear)
    })?;
    Ok((writer, loan))
}

/// What is written into the pipe: less than a pipe's page, so that nobody writes between.
const NOTE_BYTES: usize = 8 + 4;

fn note(number: u64) -> [u8; NOTE_BYTES] {
    let number = number.to_le_bytes();
    let mut note = [0; NOTE_BYTES];
    note[..8].copy_from_slice(&number);
    note[8..].copy_from_slice(&crc32c(&number).to_le_bytes());
    note
}

fn number_of(note: &[u8; NOTE_BYTES]) -> Result<u64, Damage> {
    let (number, told) = note.split_first_chunk::<8>().expect("twelve are more than eight");
    hold_to(u32::from_le_bytes(told.try_into().expect("four are left of twelve")), number)?;
    Ok(u64::from_le_bytes(*number))
}

/// Stands for what a worker keeps for the result beside it. Dropping the last copy says that it is needed no more.
#[derive(Clone, Debug)]
pub(crate) struct Receipt(#[expect(dead_code, reason = "it is dropped")] Arc<Lent>);

#[derive(Debug)]
struct Lent {
    at: Loan,
    number: u64,
}

impl Drop for Lent {
    fn drop(&mut self) {
        let note = note(self.number);
        // A worker that is gone keeps nothing. For one that is stopped, and has hundreds of these to read, nobody waits: what it
        // does not hear of it keeps until it ends.
        let _ =
            self.at.open(Access::Write).and_then(|ear| without_sigpipe(|| write_at_once(ear.as_fd(), &note)));
    }
}

/// Of a result of one item, if it carries anything.
pub(crate) fn of(result: &[u8]) -> Option<Receipt> {
    let (&LENT, head) = result.split_first()? else { return None };
    let half = |at: usize| Some(<[u8; 4]>::try_from(head.get(at..at + 4)?).expect("four"));
    let word = |at: usize| Some(u64::from_le_bytes(head.get(at..at + 8)?.try_into().expect("eight")));
    let owner = u32::from_le_bytes(half(0)?);
    let at = Loan { owner, number: i32::from_le_bytes(half(4)?), device: word(8)?, inode: word(16)? };
    Some(Receipt(Arc::new(Lent { at, number: word(24)? })))
}

/// The value of one that begins with [`LENT`].
pub(crate) fn value(lent: &[u8]) -> &[u8] {
    lent.get(BYTES..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_changed_bit_of_a_note_goes_unnoticed() {
        let sound = note(0x1234_5678);
        assert_eq!(number_of(&sound), Ok(0x1234_5678));
        for bit in 0..8 * NOTE_BYTES {
            let mut bent = sound;
            bent[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(number_of(&bent), Err(Damage { bytes: 8, .. })), "bit {bit}");
        }
    }
}
