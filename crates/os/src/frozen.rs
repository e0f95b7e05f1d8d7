//! Bytes that nobody can write any more, for any number of processes to look at where they are.

use crate::map::{Map, reserve};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, memfd_create};
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::slice;

/// Such bytes, mapped.
#[derive(Debug)]
pub struct Frozen {
    /// None of no bytes.
    map: Option<Map>,
}

/// They neither change nor end, and that can never be undone.
const SEALS: SealFlags =
    SealFlags::WRITE.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::SEAL);

impl Frozen {
    /// Copies bytes into a file without a name and freezes them. Gives its descriptor, too, by which others open it; `name` is
    /// for `/proc/PID/maps` alone.
    ///
    /// # Errors
    /// If there is not so much memory, or no descriptor to be had.
    pub fn create(name: &CStr, bytes: &[u8]) -> io::Result<(Frozen, OwnedFd)> {
        let file = File::from(memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
        reserve(&file, bytes.len() as u64)?;
        file.write_all_at(bytes, 0)?;
        fcntl_add_seals(&file, SEALS)?;
        Ok((Frozen::open(&file)?, file.into()))
    }

    /// Maps those that a descriptor has.
    ///
    /// # Errors
    /// `InvalidData` if somebody could write them; what the kernel says, if it refuses the mapping.
    pub fn open(fd: impl AsFd) -> io::Result<Frozen> {
        if !fcntl_get_seals(&fd).is_ok_and(|seals| seals.contains(SEALS)) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "no frozen bytes: somebody could write them",
            ));
        }
        let bytes = usize::try_from(fstat(&fd)?.st_size).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let map = (bytes > 0).then(|| Map::read_only(fd.as_fd(), bytes)).transpose()?;
        Ok(Frozen { map })
    }

    /// The bytes; they begin at a page.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        let Some(map) = &self.map else { return &[] };
        // SAFETY: mapped as long as this lives, and by the seals nobody writes or shortens it.
        unsafe { slice::from_raw_parts(map.address.as_ptr().cast::<u8>(), map.bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_frozen_is_read_by_all_and_written_by_nobody() {
        let text: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
        let (first, fd) = Frozen::create(c"text", &text).unwrap();
        assert_eq!(Frozen::open(&fd).unwrap().bytes(), text);
        assert!(Map::shared(fd.as_fd(), text.len(), 0).is_err(), "no mapping that writes");
        let file = File::from(fd);
        assert!(file.write_at(b"x", 0).is_err() && file.set_len(5).is_err());
        drop(file);
        assert_eq!(first.bytes(), text);
        let (nothing, fd) = Frozen::create(c"nothing", &[]).unwrap();
        assert!(nothing.bytes().is_empty() && Frozen::open(&fd).unwrap().bytes().is_empty());
    }

    #[test]
    fn what_somebody_could_write_is_refused() {
        let open = memfd_create("open", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        assert_eq!(Frozen::open(&open).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert!(Frozen::open(File::open("/dev/null").unwrap()).is_err());
    }
}
