//! Many values in one record: nearly all that a run settles are values, and a length, a sum and the same names around
//! each of them cost more than they do.
//!
//! ```text
//! 249 │ slot │ incarnation │ attempt │ then as often as there are: step │ 2 * length + (0 │ 1, and zeros) │ bytes
//! ```
//!
//! Numbers are LEB128. A step leads from the task behind the last one to this one, zigzag: tasks that follow each other
//! take a byte each. Zeros at a value's end are counted, not written: most numbers are small, and come little end first.
//! A record grows until it is flushed, until somebody else has the word, or until it is full.

use brigade_wire::{Attempt, RECORD_BYTES_MAX, SlotId, TaskId, WorkerId};

/// Begins such a body. No other record begins so: it would be the 250th kind.
pub(crate) const VALUES_TAG: u8 = 249;

/// Where a second value has no room any more; the first may be as large as a record.
pub(crate) const VALUES_BYTES_MAX: usize = 16 * 1024;

/// The most that stands around the bytes of a value.
const AROUND_BYTES_MAX: usize = 10 + 5 + 5;

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

    /// Adds the first value, if a record can hold it.
    pub(crate) fn put_first(&mut self, task: TaskId, value: &[u8], buffer: &mut Vec<u8>) -> bool {
        // However many zeros it has: whoever reads it needs room for all of it.
        let fits = value.len() <= RECORD_BYTES_MAX;
        if fits {
            self.put(task, value, buffer);
        }
        fits && buffer.len() - self.body <= RECORD_BYTES_MAX
    }

    /// Adds a value.
    pub(crate) fn put(&mut self, TaskId(task): TaskId, value: &[u8], buffer: &mut Vec<u8>) {
        buffer.reserve(AROUND_BYTES_MAX + value.len());
        put_number(zigzag(task.wrapping_sub(self.next)), buffer);
        let kept = kept_of(value);
        match value.len() - kept {
            0 => put_number(2 * kept as u64, buffer),
            zeros => {
                put_number(2 * kept as u64 + 1, buffer);
                put_number(zeros as u64, buffer);
            }
        }
        buffer.extend_from_slice(&value[..kept]);
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

/// A value as it stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Value<'a> {
    kept: &'a [u8],
    zeros: usize,
}

impl Value<'_> {
    pub(crate) fn to_vec(self) -> Vec<u8> {
        let mut value = Vec::with_capacity(self.kept.len() + self.zeros);
        value.extend_from_slice(self.kept);
        value.resize(self.kept.len() + self.zeros, 0);
        value
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

    /// A number of bytes that a value can have.
    fn size(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok().filter(|bytes| *bytes <= RECORD_BYTES_MAX)
    }

    fn small_number(&mut self) -> Option<u32> {
        self.number()?.try_into().ok()
    }
}

impl<'a> Iterator for Each<'a> {
    type Item = (TaskId, Value<'a>);

    fn next(&mut self) -> Option<(TaskId, Value<'a>)> {
        let task = self.next.wrapping_add(unzigzag(self.number()?));
        let length = self.number()?;
        let zeros = if length % 2 == 1 { self.size()? } else { 0 };
        let (kept, rest) = self.rest.split_at_checked(usize::try_from(length / 2).ok()?)?;
        self.rest = rest;
        self.next = task.wrapping_add(1);
        Some((TaskId(task), Value { kept, zeros }))
    }
}

/// How many of these bytes are left without the zeros at their end: eight at a time, or it takes as long as all else here.
#[inline]
fn kept_of(value: &[u8]) -> usize {
    let (first, eights) = value.as_rchunks::<8>();
    let numbers = eights.iter().map(|eight| u64::from_le_bytes(*eight));
    match numbers.enumerate().rev().find(|(_, number)| *number != 0) {
        Some((at, number)) => first.len() + 8 * (at + 1) - number.leading_zeros() as usize / 8,
        None => first.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1),
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
            (u64::MAX, b"last\0\0"),
            (0, b"\0z"),
            (1 << 40, &[0; 300]),
            (7, &[9; 200]),
            (8, b"y"),
        ];
        let body = body(&all);
        let values = Values::read(&body[1..]).expect("it was just written");
        assert_eq!((body[0], values.author), (VALUES_TAG, AUTHOR));
        let found: Vec<_> = values.each().map(|(task, value)| (task.0, value.to_vec())).collect();
        assert_eq!(found, all.map(|(task, value)| (task, value.to_vec())));
    }

    #[test]
    fn tasks_that_follow_each_other_take_two_bytes_beside_their_values() {
        let bytes = |count: u64| body(&(0..count).map(|task| (task, &b"abcd"[..])).collect::<Vec<_>>()).len();
        assert_eq!(bytes(100) - bytes(1), 99 * (2 + 4));
    }

    #[test]
    fn zeros_at_the_end_take_a_byte_all_together() {
        let bytes = |value: &[u8]| body(&[(0, value)]).len() - body(&[(0, b"")]).len();
        assert_eq!(
            [b"abc".as_slice(), b"abc\0", b"a\0c", &[7, 0, 0, 0, 0, 0, 0, 0], &[0; 100]].map(bytes),
            [3, 4, 3, 2, 1]
        );
    }

    #[test]
    fn a_count_of_zeros_that_no_value_has_is_no_record() {
        let zeros = |bytes: u64| {
            let mut rest = vec![0, 1, 1, 0, 1];
            put_number(bytes, &mut rest);
            Values::read(&rest).is_some()
        };
        assert!(zeros(RECORD_BYTES_MAX as u64) && !zeros(RECORD_BYTES_MAX as u64 + 1) && !zeros(u64::MAX));
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
