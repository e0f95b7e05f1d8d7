//! Where in the file the bytes of an item may go: between those of others.

use super::lists::{BYTES, Kind, LENGTH, get, set, set_long};
use super::{Guard, SMALL_BYTES, Table};
use brigade_os::blob::give_back_at;
use brigade_os::rows::{ROWS_AT_ONCE, Rows};
use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;

/// What is so large is given back to the kernel at once, so it shares no page with others.
pub(in crate::queue) const LARGE_BYTES: u64 = 65_536;

/// How much of the file is given out between two looks at what is free, at least; what was used beyond is given back.
pub(super) const WINDOW_BYTES: u64 = 1 << 20;

/// How much of the file so many bytes take.
pub(in crate::queue) fn size(bytes: u64) -> u64 {
    bytes.next_multiple_of(align(bytes))
}

/// Where they may begin.
pub(super) fn align(bytes: u64) -> u64 {
    const LINE_BYTES: u64 = 64;
    if bytes < LARGE_BYTES { LINE_BYTES } else { LARGE_BYTES }
}

/// Of what is free of the first `capacity` bytes: the lowest that has `wanted`, or else the largest that has so many bytes at
/// all, from where these may begin. `live` is sorted.
pub(super) fn gap(live: &[Range<u64>], bytes: u64, wanted: u64, capacity: u64) -> Option<Range<u64>> {
    let ends = std::iter::once(0).chain(live.iter().map(|one| one.end));
    let starts = live.iter().map(|one| one.start).chain(std::iter::once(capacity));
    let free = ends.zip(starts).map(|(end, start)| end.next_multiple_of(align(bytes))..start);
    let length = |gap: &Range<u64>| gap.end.saturating_sub(gap.start);
    let mut found: Option<Range<u64>> = None;
    for gap in free.filter(|gap| length(gap) >= size(bytes)) {
        if length(&gap) >= wanted {
            return Some(gap);
        }
        if found.as_ref().is_none_or(|found| length(found) < length(&gap)) {
            found = Some(gap);
        }
    }
    found
}

impl Table {
    /// Where in the file an offset is.
    pub(super) fn at(&self, offset: u64) -> u64 {
        Rows::bytes(get(&self.head.places)) + offset
    }

    pub(super) fn give_back(&self, extent: Range<u64>) {
        give_back_at(self.files.1.fd(), self.at(extent.start), extent.end - extent.start);
    }

    /// What of the file belongs to a row.
    pub(super) fn extent(&self, row: u32) -> Option<Range<u64>> {
        let words = self.row(row);
        let (offset, bytes) = (words[BYTES].load(Relaxed), words[LENGTH].load(Relaxed));
        let is_outside = self.state(row).kind != Kind::Free && bytes > SMALL_BYTES;
        is_outside.then(|| offset..offset + size(bytes))
    }

    /// Finds a place in the file.
    pub(super) fn allot(&self, guard: &Guard, bytes: u64) -> Option<u64> {
        let capacity = guard.capacity.load(Relaxed);
        let start = guard.window_start.load(Relaxed).next_multiple_of(align(bytes));
        let end = guard.window_end.load(Relaxed);
        let window = match start + size(bytes) <= end {
            true => start..end,
            false => {
                let live = self.live(guard);
                self.give_back_beyond(guard, live.last().map_or(0, |last| last.end));
                // The more there is to look at, the less often.
                let total: u64 = live.iter().map(|one| one.end - one.start).sum();
                let wanted = size(bytes).max(WINDOW_BYTES).max(total / 4);
                let gap = gap(&live, bytes, wanted, capacity)?;
                gap.start..gap.end.min(gap.start + wanted)
            }
        };
        let next = window.start + size(bytes);
        set_long(&guard.window_start, next);
        set_long(&guard.window_end, window.end);
        if next > guard.high.load(Relaxed) {
            set_long(&guard.high, next);
        }
        Some(window.start)
    }

    pub(super) fn live(&self, guard: &Guard) -> Vec<Range<u64>> {
        let mut live: Vec<Range<u64>> = (0..get(&guard.used)).filter_map(|row| self.extent(row)).collect();
        live.sort_unstable_by_key(|extent| extent.start);
        live
    }

    pub(super) fn give_back_beyond(&self, guard: &Guard, end: u64) {
        let (end, high) = (end.next_multiple_of(LARGE_BYTES), guard.high.load(Relaxed));
        if high > end + WINDOW_BYTES {
            set_long(&guard.high, end);
            self.give_back(end..high);
        }
    }

    /// Nothing is there: rows and bytes are given out from the first again, and what was used beyond is given back.
    pub(super) fn begin_anew(&self, guard: &Guard) {
        set_long(&guard.window_start, 0);
        set_long(&guard.window_end, 0);
        let (high, used) = (guard.high.load(Relaxed), get(&guard.used));
        if high > WINDOW_BYTES {
            set_long(&guard.high, 0);
            self.give_back(0..high);
        }
        if used > ROWS_AT_ONCE {
            set(&guard.free, 0);
            set(&guard.used, 0);
            let kept = Rows::bytes(ROWS_AT_ONCE);
            give_back_at(self.files.1.fd(), kept, Rows::bytes(used) - kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_gap_that_is_long_enough_is_found_or_the_longest() {
        let live = [0..64, 128..640, 1_024..1_088, 4_096..4_160];
        assert_eq!(gap(&live, 64, 64, 8_192), Some(64..128));
        assert_eq!(gap(&live, 65, 65, 8_192), Some(640..1_024));
        assert_eq!(gap(&live, 64, 4_000, 8_192), Some(4_160..8_192));
        assert_eq!(gap(&live, 64, 5_000, 8_192), Some(4_160..8_192), "the longest");
        assert_eq!(gap(&live, 64, 5_000, 4_200), Some(1_088..4_096), "the longest");
        assert_eq!(gap(&live, 5_000, 5_000, 8_192), None);
        assert_eq!(gap(&[], 8_192, 1, 8_192), Some(0..8_192));
    }

    #[test]
    fn what_is_large_has_pages_of_its_own() {
        let live = [0..64, 3 * LARGE_BYTES..3 * LARGE_BYTES + 64];
        assert_eq!(gap(&live, LARGE_BYTES + 1, 1, 4 * LARGE_BYTES), Some(LARGE_BYTES..3 * LARGE_BYTES));
        assert_eq!(gap(&live, 2 * LARGE_BYTES + 1, 1, 4 * LARGE_BYTES), None);
    }
}
