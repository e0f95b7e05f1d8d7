//! A file without a name, for what no packet holds: one process writes at offsets of its choice, another one reads.
//!
//! Both by system calls and not through a mapping: whatever becomes of the file, a read comes back with less or with an
//! error, and with no signal. It is a memfd that cannot shrink, so what was once written to stays there to be read.

use rustix::fs::{
    FallocateFlags, MemfdFlags, SealFlags, SeekFrom, fallocate, fcntl_add_seals, fcntl_get_seals, fstat,
    memfd_create, seek,
};
use rustix::io::{Errno, pread, pwrite};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::Pid;
use crate::map::may_be_so_long;

/// What is between two blobs is given back in pages. Larger than the page size of the machine is fine.
const PAGE_BYTES: u64 = 65_536;

/// The seals that such a file has, and keeps.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::SEAL);

/// Such a file.
#[derive(Debug)]
pub struct BlobFile {
    file: File,
}

/// Whether somebody only reads it. Whoever cannot write cannot hold up the writer either: a write has the file's lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reads.
    Read,
    /// Reads and writes.
    Write,
}

impl BlobFile {
    /// Makes one; empty, it takes no memory.
    ///
    /// # Errors
    /// If there is no descriptor to be had.
    pub fn create() -> io::Result<BlobFile> {
        let fd = memfd_create("brigade-blobs", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        fcntl_add_seals(&fd, SEALS)?;
        Ok(BlobFile { file: File::from(fd) })
    }

    /// As another process has sent or passed it.
    ///
    /// # Errors
    /// If it is no such file.
    pub fn received(fd: OwnedFd) -> io::Result<BlobFile> {
        match fcntl_get_seals(&fd) {
            Ok(seals) if seals.contains(SEALS) => Ok(BlobFile { file: File::from(fd) }),
            Ok(_) | Err(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a sealed memfd")),
        }
    }

    /// What was written so far, from its beginning.
    ///
    /// # Errors
    /// `OutOfMemory` if there is no room for it here.
    pub fn read_all(&self) -> io::Result<Vec<u8>> {
        self.read(0, self.file.metadata()?.len())
    }

    /// What to send or pass to another process.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Its number in this process.
    #[must_use]
    pub fn number(&self) -> i32 {
        self.file.as_raw_fd()
    }

    /// Opens the one that this process or its parent has under that number. The parent is the only stranger whose numbers
    /// cannot become somebody else's: it is asked before and after whether it still is.
    ///
    /// # Errors
    /// `NotConnected` if the owner is gone; otherwise if `/proc` does not show it, or it is no such file.
    pub fn open(owner: u32, number: i32, access: Access) -> io::Result<BlobFile> {
        is_ours(owner)?;
        let path = format!("/proc/{owner}/fd/{number}");
        let opened = File::options().read(true).write(access == Access::Write).open(&path);
        is_ours(owner)?;
        let file = opened.map_err(|error| io::Error::new(error.kind(), format!("open {path}: {error}")))?;
        BlobFile::received(file.into())
            .map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))
    }

    /// Writes at an offset. What a failed write left there is given back.
    ///
    /// # Errors
    /// As [`write_at`].
    pub fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        write_at(&self.file, bytes, offset).inspect_err(|_| self.give_back(offset, bytes.len() as u64))
    }

    /// Reads so many bytes from an offset.
    ///
    /// # Errors
    /// As [`read_at`].
    pub fn read(&self, offset: u64, bytes: u64) -> io::Result<Vec<u8>> {
        read_at(&self.file, offset, bytes)
    }

    /// Gives the memory of these bytes back to the kernel, and of the rest of their last page.
    pub fn give_back(&self, offset: u64, bytes: u64) {
        give_back_at(&self.file, offset, BlobFile::rounded(bytes));
    }

    /// Whether everything that was written was given back.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        seek(&self.file, SeekFrom::Data(0)) == Err(Errno::NXIO)
    }

    /// How much of the file is taken by so many bytes: whole pages.
    #[must_use]
    pub fn rounded(bytes: u64) -> u64 {
        bytes.next_multiple_of(PAGE_BYTES)
    }
}

/// Writes at an offset of such a file.
///
/// # Errors
/// If there is no memory, or the limit of the size of files (`ulimit -f`) is in the way.
pub fn write_at(file: impl AsFd, bytes: &[u8], offset: u64) -> io::Result<()> {
    may_be_so_long(offset.saturating_add(bytes.len() as u64))?;
    let mut written = 0;
    while written < bytes.len() {
        match pwrite(&file, &bytes[written..], offset + written as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(more) => written += more,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Reads so many bytes from an offset of such a file. Takes no memory for what the file is too short for.
///
/// # Errors
/// `UnexpectedEof` if they are not there, `OutOfMemory` if there is no room for them here.
pub fn read_at(file: impl AsFd, offset: u64, bytes: u64) -> io::Result<Vec<u8>> {
    let end = offset.checked_add(bytes).ok_or(io::ErrorKind::UnexpectedEof)?;
    let there = fstat(&file)?.st_size as u64;
    if end > there {
        let words = format!("{there} bytes are there, not {end}");
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, words));
    }
    let bytes = usize::try_from(bytes).map_err(|_| io::ErrorKind::OutOfMemory)?;
    let mut read = Vec::new();
    read.try_reserve_exact(bytes).map_err(|_| io::ErrorKind::OutOfMemory)?;
    while read.len() < bytes {
        let at = offset + read.len() as u64;
        match pread(&file, rustix::buffer::spare_capacity(&mut read), at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // The allocator may have given more room than was asked for.
    read.truncate(bytes);
    Ok(read)
}

/// Gives the memory of these bytes of such a file back to the kernel; of a page that they fill in part nothing but zeros is
/// left there.
pub fn give_back_at(file: impl AsFd, offset: u64, bytes: u64) {
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    // If this fails they are kept until the file goes.
    let _ = fallocate(&file, hole, offset, bytes);
}

fn is_ours(owner: u32) -> io::Result<()> {
    let is = |pid: Pid| pid.number() == owner;
    match is(Pid::current()) || Pid::parent().is_some_and(is) {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::NotConnected, format!("process {owner} is gone"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(file: &BlobFile, access: Access) -> io::Result<BlobFile> {
        BlobFile::open(Pid::current().number(), file.number(), access)
    }

    #[test]
    fn what_is_written_by_one_is_read_by_the_other_and_given_back() {
        let file = BlobFile::create().unwrap();
        let reader = opened(&file, Access::Read).unwrap();
        file.write(&[7; 100_000], 65_536).unwrap();
        assert_eq!(reader.read(65_536, 100_000).unwrap(), [7; 100_000]);
        assert!(!file.is_empty());
        file.give_back(65_536, 100_000);
        assert!(file.is_empty() && reader.is_empty());
        assert_eq!(
            file.file.metadata().map(|data| std::os::unix::fs::MetadataExt::blocks(&data)).unwrap(),
            0
        );
    }

    #[test]
    fn who_only_reads_cannot_write() {
        let file = BlobFile::create().unwrap();
        assert!(opened(&file, Access::Read).unwrap().write(&[1], 0).is_err());
        assert!(opened(&file, Access::Write).unwrap().write(&[1], 0).is_ok());
    }

    #[test]
    fn nobody_can_shrink_blobs_under_a_reader() {
        let file = BlobFile::create().unwrap();
        file.write(&[1; 10], 0).unwrap();
        assert!(file.file.set_len(5).is_err());
    }

    #[test]
    fn bytes_that_are_not_there_take_no_memory() {
        let file = BlobFile::create().unwrap();
        file.write(&[1; 10], 0).unwrap();
        for (offset, bytes) in [(0, 11), (11, 0), (1 << 50, 1 << 50), (u64::MAX, 2)] {
            let error = file.read(offset, bytes).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{bytes} bytes at {offset}: {error}");
        }
    }

    #[test]
    fn an_unsealed_memfd_and_the_number_of_a_stranger_are_no_blobs() {
        let unsealed = memfd_create("unsealed", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        let own = Pid::current().number();
        let error = BlobFile::open(own, unsealed.as_raw_fd(), Access::Read).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
        let file = BlobFile::create().unwrap();
        // Neither this process nor its parent has such a number: it is above any.
        let error = BlobFile::open(u32::MAX, file.number(), Access::Read).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotConnected, "{error}");
    }
}
