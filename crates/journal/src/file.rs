//! The real storage: one file, written at its end, for its owner only.

use crate::Storage;
use crate::error::JournalError;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A journal's file.
#[derive(Debug)]
pub struct JournalFile {
    file: File,
    path: PathBuf,
}

impl JournalFile {
    /// Makes a new file, mode 0600. It follows no link and overwrites nothing.
    ///
    /// # Errors
    /// If there is something of that name, or the system refuses.
    pub fn create(path: &Path) -> Result<JournalFile, JournalError> {
        let file = OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).open(path);
        file.map(|file| JournalFile { file, path: path.into() })
            .map_err(|cause| JournalError::io("create", path, cause))
    }

    /// Opens what is there.
    ///
    /// # Errors
    /// If there is none, if it is no regular file, or if the system refuses.
    pub fn open(path: &Path) -> Result<JournalFile, JournalError> {
        // Looked at first: to open a fifo would wait for its other end.
        let looked_at = std::fs::symlink_metadata(path).and_then(|it| match it.is_file() {
            true => Ok(()),
            false => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
        });
        let opened = looked_at.and_then(|()| OpenOptions::new().read(true).append(true).open(path));
        opened
            .map(|file| JournalFile { file, path: path.into() })
            .map_err(|cause| JournalError::io("open", path, cause))
    }
}

impl Storage for JournalFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, at)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn fdatasync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn sync_name(&mut self) -> io::Result<()> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}
