//! A mapping of a whole descriptor, or of a part of it: mapped once, unmapped when it is dropped.

use crate::proc;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use rustix::fs::{FallocateFlags, fallocate, ftruncate};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::ffi::c_void;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::NonNull;

/// Such a mapping. What it holds is the matter of whoever has it.
#[derive(Debug)]
pub(crate) struct Map {
    pub(crate) address: NonNull<c_void>,
    pub(crate) bytes: usize,
}

impl Map {
    /// To read and write, shared with whoever maps the same.
    pub(crate) fn shared(fd: BorrowedFd<'_>, bytes: usize, offset: u64) -> io::Result<Map> {
        Map::new(fd, bytes, offset, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED)
    }

    /// To read. What nobody can write any more is the same pages for all, private or not, and a private mapping is the
    /// only one that kernels before 6.7 give of a descriptor that was opened to write and sealed since.
    pub(crate) fn read_only(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<Map> {
        Map::new(fd, bytes, 0, ProtFlags::READ, MapFlags::PRIVATE)
    }

    fn new(
        fd: BorrowedFd<'_>,
        bytes: usize,
        offset: u64,
        protection: ProtFlags,
        flags: MapFlags,
    ) -> io::Result<Map> {
        // SAFETY: a fresh mapping at an address of the kernel's choice overlaps nothing of ours.
        let address = unsafe { mmap(std::ptr::null_mut(), bytes, protection, flags, fd, offset) }?;
        Ok(Map { address: NonNull::new(address).expect("mmap maps nothing at zero"), bytes })
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: exactly what `new` mapped; whoever borrowed from it borrowed this value.
        let _ = unsafe { munmap(self.address.as_ptr(), self.bytes) };
    }
}

// SAFETY: the mapping may be used from any thread: it is only touched through atomics, or nobody can write it.
unsafe impl Send for Map {}
// SAFETY: as above.
unsafe impl Sync for Map {}

/// Makes a fresh memfd so long, and takes the memory for it: nobody gets a SIGBUS for want of it later.
pub(crate) fn reserve(fd: impl AsFd, bytes: u64) -> io::Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    may_be_so_long(bytes)?;
    // Asked first where it is much: the kernel takes page after page until there is none, and ends somebody for that.
    const MUCH: u64 = 1 << 20;
    if let Some(there) = proc::available_bytes().filter(|there| bytes > MUCH && bytes > *there) {
        let words = format!("{bytes} bytes of shared memory: there are {there} to be had");
        return Err(io::Error::new(io::ErrorKind::OutOfMemory, words));
    }
    ftruncate(&fd, bytes)?;
    Ok(fallocate(&fd, FallocateFlags::empty(), 0, bytes)?)
}

/// Whether a file may be so long by the limit of this process: whoever crosses that gets SIGXFSZ.
pub(crate) fn may_be_so_long(bytes: u64) -> io::Result<()> {
    let most = getrlimit(Resource::RLIMIT_FSIZE).map_or(RLIM_INFINITY, |(soft, _)| soft);
    if bytes > most {
        let words = format!("the limit of the size of files is {most} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, words));
    }
    Ok(())
}
