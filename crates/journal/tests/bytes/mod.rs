//! A journal in memory, for whoever bends it: the test beside this, and the fuzz target.

use brigade_journal::Storage;
use std::io;
use std::path::Path;

/// Bytes, as a file has them.
#[derive(Debug, Default)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl Storage for &mut Bytes {
    fn path(&self) -> &Path {
        Path::new("bytes")
    }
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.extend(bytes);
        Ok(())
    }
    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let from = self.0.get(at as usize..).and_then(|rest| rest.get(..into.len()));
        into.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.0.truncate(len as usize);
        Ok(())
    }
    fn fdatasync(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn sync_name(&mut self) -> io::Result<()> {
        Ok(())
    }
}
