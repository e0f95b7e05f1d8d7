//! Bytes: the header, and the frame and sum around every body.

use crate::values::{VALUES_TAG, Values};
use crate::window::Window;
use crate::{Durability, Identity, Record, Storage};
use brigade_wire::{RECORD_BYTES_MAX, RecordError, decode_record, encode_record};
use crc32c::{crc32c, crc32c_append};
use serde::{Deserialize, Serialize};
use std::io;

/// Of the whole layout, the codec of bodies included. Whoever changes a golden test raises it.
pub(crate) const VERSION: u32 = 2;

pub(crate) const MAGIC: [u8; 8] = *b"BRIGADEJ";

/// Magic, version, length, their sum, and the sum of all. The same in every version: 24 bytes.
pub(crate) const HEADER_HEAD_BYTES: usize = 8 + 4 + 4 + 4 + 4;

/// Length and sum.
const RECORD_HEAD_BYTES: usize = 4 + 4;

/// Begins a mark's body. No record begins so: it would be the 251st kind.
const MARK_TAG: u8 = 250;

/// What the header says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) identity: Identity,
    pub(crate) durability: Durability,
}

impl Header {
    /// All of its bytes, and the seed of the records' sums.
    pub(crate) fn seal(&self) -> Result<(Vec<u8>, u32), RecordError> {
        let mut bytes = vec![0; HEADER_HEAD_BYTES];
        encode_record(self, &mut bytes)?;
        let length = (bytes.len() - HEADER_HEAD_BYTES) as u32;
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&length.to_le_bytes());
        let head_sum = crc32c(&bytes[..16]);
        bytes[16..20].copy_from_slice(&head_sum.to_le_bytes());
        let seed = header_sum(&bytes);
        bytes[20..24].copy_from_slice(&seed.to_le_bytes());
        Ok((bytes, seed))
    }
}

/// The first bytes of a header, once they are known to be that.
pub(crate) struct HeaderHead {
    pub(crate) version: u32,
    pub(crate) body_bytes: usize,
}

impl HeaderHead {
    /// Needs 20 bytes; `None` if their sum is wrong.
    pub(crate) fn read(bytes: &[u8]) -> Option<HeaderHead> {
        let head = HeaderHead { version: u32_at(bytes, 8), body_bytes: u32_at(bytes, 12) as usize };
        (crc32c(&bytes[..16]) == u32_at(bytes, 16)).then_some(head)
    }
}

/// Reads a whole header; returns the seed with it, or `None` if its sum or its body is wrong.
pub(crate) fn open_header(bytes: &[u8]) -> Option<(Header, u32)> {
    let seed = header_sum(bytes);
    if seed != u32_at(bytes, 20) {
        return None;
    }
    Some((decode_record(&bytes[HEADER_HEAD_BYTES..]).ok()?, seed))
}

fn header_sum(bytes: &[u8]) -> u32 {
    crc32c_append(crc32c(&bytes[..20]), &bytes[HEADER_HEAD_BYTES..])
}

/// One record as it was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Entry<'a> {
    /// Final words, all of them values.
    Values(Values<'a>),
    Record(Record),
    /// All before this byte is on the disk.
    Mark(u64),
}

impl Entry<'_> {
    fn decode(body: &[u8]) -> Option<Entry<'_>> {
        match body.split_first() {
            Some((&VALUES_TAG, rest)) => Values::read(rest).map(Entry::Values),
            Some((&MARK_TAG, end)) => Some(Entry::Mark(u64::from_le_bytes(end.try_into().ok()?))),
            Some(_) => decode_record(body).ok().map(Entry::Record),
            None => None,
        }
    }
}

/// Puts records into a buffer and takes them from a window, where they stand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frames {
    pub(crate) seed: u32,
}

impl Frames {
    /// Appends a record that will stand at byte `at` of the file; after an error the buffer is as it was.
    pub(crate) fn put(self, record: &Record, at: u64, buffer: &mut Vec<u8>) -> Result<(), RecordError> {
        let start = open_frame(buffer);
        encode_record(record, buffer).inspect_err(|_| buffer.truncate(start))?;
        self.close_frame(buffer, start, at);
        Ok(())
    }

    /// The same for a mark.
    pub(crate) fn put_mark(self, end: u64, at: u64, buffer: &mut Vec<u8>) {
        let start = open_frame(buffer);
        buffer.push(MARK_TAG);
        buffer.extend(end.to_le_bytes());
        self.close_frame(buffer, start, at);
    }

    /// Length and sum of a body that ends where the buffer does; its frame was opened at `start`, and will stand at
    /// byte `at` of the file.
    pub(crate) fn close_frame(self, buffer: &mut [u8], start: usize, at: u64) {
        let (head, body) = buffer[start..].split_at_mut(RECORD_HEAD_BYTES);
        head[..4].copy_from_slice(&(body.len() as u32).to_le_bytes());
        head[4..].copy_from_slice(&self.sum(at, body).to_le_bytes());
    }

    /// Place and length go into what the sum starts from. That is as good as summing them, since another start is
    /// another sum for certain, and saves a second call: 20 of 65 ns a record.
    fn sum(self, at: u64, body: &[u8]) -> u32 {
        let place = at as u32 ^ ((at >> 32) as u32).rotate_left(16);
        let length = (body.len() as u32).rotate_left(11);
        crc32c_append(self.seed ^ place ^ length, body)
    }

    /// The record that stands at `at` and the byte behind it, or `None` if none does.
    pub(crate) fn get<'a>(
        self,
        window: &'a mut Window,
        storage: &impl Storage,
        at: u64,
    ) -> io::Result<Option<(Entry<'a>, u64)>> {
        let Some(bytes) = frame(window, storage, at)? else { return Ok(None) };
        let body = &bytes[RECORD_HEAD_BYTES..];
        // The body is looked at first: of what is no record little decodes, and a sum over it costs its length.
        let Some(entry) = Entry::decode(body) else { return Ok(None) };
        let is_sound = self.sum(at, body) == u32_at(bytes, 4);
        Ok(is_sound.then_some((entry, at + bytes.len() as u64)))
    }
}

/// The bytes of what may be a record: its length is possible, and the file is long enough for it.
fn frame<'a>(window: &'a mut Window, storage: &impl Storage, at: u64) -> io::Result<Option<&'a [u8]>> {
    let head = window.at(storage, at, RECORD_HEAD_BYTES)?;
    if head.len() < RECORD_HEAD_BYTES {
        return Ok(None);
    }
    let body_bytes = u32_at(head, 0) as usize;
    let bytes = RECORD_HEAD_BYTES + body_bytes;
    if !(1..=RECORD_BYTES_MAX).contains(&body_bytes) || window.end - at < bytes as u64 {
        return Ok(None);
    }
    window.at(storage, at, bytes).map(Some)
}

/// Leaves room for length and sum; returns where.
pub(crate) fn open_frame(buffer: &mut Vec<u8>) -> usize {
    let start = buffer.len();
    buffer.extend([0; RECORD_HEAD_BYTES]);
    start
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("it is a slice of four bytes"))
}
