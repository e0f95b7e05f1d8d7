//! A window onto the storage, for reading a file of any size with a little memory.

use crate::Storage;
use std::io;

/// Bytes read at once. Larger ones made replay no faster.
const CHUNK_BYTES: u64 = 256 * 1024;

pub(crate) struct Window {
    bytes: Vec<u8>,
    start: u64,
    /// As long as the storage was at first: nobody else writes to it.
    pub(crate) end: u64,
}

impl Window {
    pub(crate) fn new(end: u64) -> Window {
        Window { bytes: Vec::new(), start: 0, end }
    }

    /// The bytes from `at` on: `len` of them, or as many as there are.
    pub(crate) fn at(&mut self, storage: &impl Storage, at: u64, len: usize) -> io::Result<&[u8]> {
        let len = (len as u64).min(self.end.saturating_sub(at));
        let is_inside = at >= self.start && at + len <= self.start + self.bytes.len() as u64;
        if !is_inside {
            let wanted = len.max(CHUNK_BYTES).min(self.end - at);
            self.bytes.resize(wanted as usize, 0);
            self.start = at;
            storage.read(at, &mut self.bytes).inspect_err(|_| self.bytes.clear())?;
        }
        let from = (at - self.start) as usize;
        Ok(&self.bytes[from..from + len as usize])
    }
}
