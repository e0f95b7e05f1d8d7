//! Where a journal lies: six verbs, so that the storms can have a disk that lies, tears and fills up.

use std::io;
use std::path::Path;

/// Bytes that grow at the end. [`JournalFile`](crate::JournalFile) is the real one.
pub trait Storage {
    /// What to call it when something is wrong with it.
    fn path(&self) -> &Path;

    /// How many bytes it has.
    ///
    /// # Errors
    /// What the system says.
    fn len(&self) -> io::Result<u64>;

    /// Whether it has none.
    ///
    /// # Errors
    /// What the system says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Puts all these bytes at the end; they survive this process from then on.
    ///
    /// # Errors
    /// What the system says. Any number of the bytes, from the first on, may be there then.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Fills the whole slice with what stands at `at`.
    ///
    /// # Errors
    /// What the system says, or `UnexpectedEof` if it ends before.
    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()>;

    /// Cuts off everything from `len` on.
    ///
    /// # Errors
    /// What the system says.
    fn truncate(&mut self, len: u64) -> io::Result<()>;

    /// Returns when all its bytes are on the disk; they survive loss of power from then on.
    ///
    /// # Errors
    /// What the system says. It is not known then which bytes are on the disk, and a second try would say that all is
    /// well: the kernel forgets what it could not write.
    fn fdatasync(&mut self) -> io::Result<()>;

    /// Returns when its name is on the disk, too; needed once, after it was made.
    ///
    /// # Errors
    /// What the system says.
    fn sync_name(&mut self) -> io::Result<()>;
}
