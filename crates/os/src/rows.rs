//! Rows of words that processes share, at the start of a file without a name: they may be many, and take memory only from when
//! they are [taken](Rows::take). What is behind them in the file is for [`crate::blob::write_at`] and `read_at`.

use crate::map::{Map, may_be_so_long};
use rustix::fs::{
    FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate,
    memfd_create,
};
use std::ffi::CStr;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::AtomicU64;

/// A row; all zero at first.
pub type Row = [AtomicU64; 8];

const ROW_BYTES: u64 = size_of::<Row>() as u64;

/// What is given back or taken at once.
const PAGE_BYTES: u64 = 65_536;

/// How many rows are best taken at once.
pub const ROWS_AT_ONCE: u32 = (PAGE_BYTES / ROW_BYTES) as u32;

/// The rows that a file has, and keeps; it may grow.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::SEAL);

/// Such rows, mapped.
#[derive(Debug)]
pub struct Rows {
    map: Map,
    count: u32,
}

impl Rows {
    /// Makes a file of so many rows. `name` is for `/proc/PID/maps` alone.
    ///
    /// # Errors
    /// If there is no descriptor or no address to be had, or the limit of the size of files (`ulimit -f`) is in the way.
    pub fn create(name: &CStr, count: u32) -> io::Result<(Rows, OwnedFd)> {
        let file = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        may_be_so_long(Rows::bytes(count))?;
        ftruncate(&file, Rows::bytes(count))?;
        fcntl_add_seals(&file, SEALS)?;
        Ok((Rows::open(&file, count)?, file))
    }

    /// Maps the rows of a file.
    ///
    /// # Errors
    /// `InvalidData` if it is no such file, or has fewer.
    pub fn open(file: impl AsFd, count: u32) -> io::Result<Rows> {
        let bytes = Rows::bytes(count);
        let is_sealed = fcntl_get_seals(&file).is_ok_and(|seals| seals.contains(SEALS));
        if !is_sealed || (fstat(&file)?.st_size as u64) < bytes {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("not a file of {count} rows")));
        }
        Ok(Rows { map: Map::shared(file.as_fd(), bytes as usize, 0)?, count })
    }

    /// Where in the file other things may begin.
    #[must_use]
    pub fn bytes(count: u32) -> u64 {
        (u64::from(count.max(1)) * ROW_BYTES).next_multiple_of(PAGE_BYTES)
    }

    /// Takes the memory of these rows, before they are used: nobody gets a signal for want of it later.
    ///
    /// # Errors
    /// If there is none.
    pub fn take(&self, file: impl AsFd, rows: Range<u32>) -> io::Result<()> {
        let at = |row: u32| u64::from(row.min(self.count)) * ROW_BYTES;
        Ok(fallocate(&file, FallocateFlags::empty(), at(rows.start), at(rows.end) - at(rows.start))?)
    }

    /// One of them.
    ///
    /// # Panics
    /// If there are not so many.
    #[must_use]
    pub fn row(&self, at: u32) -> &Row {
        assert!(at < self.count, "row {at} of {}", self.count);
        // SAFETY: inside the mapping by the assertion, aligned, since the mapping is to a page; of atomics, sound for any bits.
        unsafe { self.map.address.cast::<Row>().add(at as usize).as_ref() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering::Relaxed;

    #[test]
    fn rows_are_shared_and_take_memory_when_they_are_taken() {
        let (rows, file) = Rows::create(c"rows", 1_000_000).unwrap();
        let blocks = || fstat(&file).unwrap().st_blocks as u64 * 512;
        assert_eq!(blocks(), 0);
        rows.take(&file, 0..ROWS_AT_ONCE).unwrap();
        assert_eq!(blocks(), PAGE_BYTES);
        let again = Rows::open(&file, 1_000_000).unwrap();
        rows.row(3)[7].store(11, Relaxed);
        assert_eq!(again.row(3)[7].load(Relaxed), 11);
        assert!(Rows::open(&file, 2_000_000).is_err() && ftruncate(&file, 0).is_err());
    }

    #[test]
    #[should_panic(expected = "row 2 of 2")]
    fn a_row_that_is_not_there_is_refused() {
        let (rows, _file) = Rows::create(c"rows", 2).unwrap();
        let _ = rows.row(2);
    }
}
