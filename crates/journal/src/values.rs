//! Many values in one record: nearly all that a run settles are values, and a length, a sum and the same names around
//! each of them cost more than they do.
//!
//! ```text
//! 249 │ slot │ incarnation │ attempt │ then as often as there are: step │ length │ bytes
//! ```
//!
//! Numbers are LEB128. A step leads from the task behind the last one to this one, zigzag: tasks that follow each other
//! take a byte each. A record grows until it is flushed, until somebody else has the word, or until it is full.

use brigade_wire::{Attempt, RECORD_BYTES_MAX, SlotId, TaskId, WorkerId};

/// Begins such a body. No other record begins so: it would be the 250th kind.
pub(crate) const VALUES_TAG: u8 = 249;

/// Where a second value has no room any more; the first may be as large as a record.
pub(crate) const VALUES_BYTES_MAX: usize = 16 * 1024;

/// The most that stands around the bytes of a value.
const AROUND_BYTES_MAX: usize = 10 + 5;

/// Who brought the values of a record, all of them in the same try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Author {
    pub(crate) worker: WorkerId,
    pub(crate) attempt: Attempt,
}

/// The record that grows at a buffer's end.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) author: Author,
    /// Where its frame stands in the buffer, and where its body does.
    pub(crate) start: usize,
    body: usize,
    /// The task behind the last one.
    next: u64,
}

impl Batch {
    /// Begins a body at the buffer's end, in a frame that was opened at `start`.
    pub(crate) fn open(author: Author, start: usize, buffer: &mut Vec<u8>) -> Batch {
        let body = buffer.len();
        buffer.push(VALUES_TAG);
        put_number(author.worker.slot.0.into(), buffer);
        put_number(author.worker.incarnation.into(), buffer);
        put_number(author.attempt.0.into(), buffer);
        Batch { author, start, body, next: 0 }
    }

    /// Whether a value of so many bytes can join those that are there.
    pub(crate) fn takes(&self, author: Author, value_bytes: usize, buffer: &[u8]) -> bool {
        let bytes = (buffer.len() - self.body + AROUND_BYTES_MAX).saturating_add(value_bytes);
        author == self.author && bytes <= VALUES_BYTES_MAX
    }

    /// Whether it is no larger than any record may be.
    pub(crate) fn fits(&self, buffer: &[u8]) -> bool {
        buffer.len() - self.body <= RECORD_BYTES_MAX
    }

    /// Adds a value.
    pub(crate) fn put(&mut self, TaskId(task): TaskId, value: &[u8], buffer: &mut Vec<u8>) {
        buffer.reserve(AROUND_BYTES_MAX + value.len());
        put_number(zigzag(task.wrapping_sub(self.next)), buffer);
        put_number(value.len() as u64, buffer);
        buffer.extend_from_slice(value);
        self.next = task.wrapping_add(1);
    }
}

/// The values of one record, where they were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Values<'a> {
    pub(crate) author: Author,
    each: Each<'a>,
}

impl<'a> Values<'a> {
    /// Reads what stands behind the tag; `None` if not every byte of it belongs to a value.
    pub(crate) fn read(rest: &'a [u8]) -> Option<Values<'a>> {
        let is_large = rest.len() >= VALUES_BYTES_MAX;
        let mut each = Each { rest, next: 0 };
        let slot = SlotId(each.small_number()?);
        let worker = WorkerId { slot, incarnation: each.small_number()? };
        let author = Author { worker, attempt: Attempt(each.small_number()?) };
        let mut walk = each;
        walk.next()?;
        // What was never written is not walked: a search for records tries every byte.
        while !walk.rest.is_empty() && !is_large {
            walk.next()?;
        }
        walk.rest.is_empty().then_some(Values { author, each })
    }

    /// All of them, in the order they were written.
    pub(crate) fn each(self) -> Each<'a> {
        self.each
    }
}

/// What of a record is still to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Each<'a> {
    rest: &'a [u8],
    next: u64,
}

impl Each<'_> {
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            let bits = u64::from(byte & 0x7F);
            if bits << shift >> shift != bits {
                return None;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn small_number(&mut self) -> Option<u32> {
        self.number()?.try_into().ok()
    }
}

impl<'a> Iterator for Each<'a> {
    type Item = (TaskId, &'a [u8]);

    fn next(&mut self) -> Option<(TaskId, &'a [u8])> {
        let task = self.next.wrapping_add(unzigzag(self.number()?));
        let length = usize::try_from(self.number()?).ok()?;
        let (value, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        self.next = task.wrapping_add(1);
        Some((TaskId(task), value))
    }
}

#[inline]
fn put_number(mut number: u64, buffer: &mut Vec<u8>) {
    while number >= 0x80 {
        buffer.push(number as u8 | 0x80);
        number >>= 7;
    }
    buffer.push(number as u8);
}

/// Small steps back and forth as small numbers: 0, -1, 1, -2, 2 … are 0, 1, 2, 3, 4 …
fn zigzag(step: u64) -> u64 {
    (step << 1) ^ ((step as i64 >> 63) as u64)
}

fn unzigzag(number: u64) -> u64 {
    (number >> 1) ^ (number & 1).wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUTHOR: Author =
        Author { worker: WorkerId { slot: SlotId(u32::MAX), incarnation: 300 }, attempt: Attempt(1) };

    fn body(values: &[(u64, &[u8])]) -> Vec<u8> {
        let mut buffer = Vec::new();
        let mut batch = Batch::open(AUTHOR, 0, &mut buffer);
        values.iter().for_each(|(task, value)| batch.put(TaskId(*task), value, &mut buffer));
        buffer
    }

    #[test]
    fn values_come_back_in_order_wherever_their_tasks_lie() {
        let all: [(u64, &[u8]); 7] = [
            (0, b""),
            (1, b"one"),
            (u64::MAX, b"last"),
            (0, b"z"),
            (1 << 40, b"x"),
            (7, &[9; 200]),
            (8, b"y"),
        ];
        let body = body(&all);
        let values = Values::read(&body[1..]).expect("it was just written");
        assert_eq!((body[0], values.author), (VALUES_TAG, AUTHOR));
        assert!(values.each().eq(all.map(|(task, value)| (TaskId(task), value))));
    }

    #[test]
    fn tasks_that_follow_each_other_take_two_bytes_beside_their_values() {
        let bytes = |count: u64| body(&(0..count).map(|task| (task, &b"abcd"[..])).collect::<Vec<_>>()).len();
        assert_eq!(bytes(100) - bytes(1), 99 * (2 + 4));
    }

    #[test]
    fn what_ends_within_a_value_or_has_none_is_no_record() {
        let body = body(&[(5, b"five"), (6, b"six")]);
        let whole: Vec<usize> =
            (0..=body.len()).filter(|&end| end > 0 && Values::read(&body[1..end]).is_some()).collect();
        assert_eq!(whole, [body.len() - 5, body.len()]);
    }

    #[test]
    fn a_number_that_does_not_fit_is_no_number() {
        let numbers: [(&[u8], Option<u64>); 4] = [
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", Some(u64::MAX)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", None),
            (b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", None),
            (b"\x80", None),
        ];
        for (rest, number) in numbers {
            assert_eq!(Each { rest, next: 0 }.number(), number, "{rest:02X?}");
        }
    }
}
