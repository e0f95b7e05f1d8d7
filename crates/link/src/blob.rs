//! What no frame holds lies in a file without a name, and a frame says where: offset, length and sum.
//!
//! ```text
//! Link        ══ arguments: made at the first of them; the loop alone writes and gives back ══▶ WorkerEnd, reading only
//! Ear, giving back ◀══ results: made at the birth; its worker alone writes ════════════════════ WorkerEnd
//! ```
//!
//! Two files for each worker, because a file has a lock and whoever writes or gives back holds it: the loop never waits
//! for one that a worker may hold, and no worker for another's.

use brigade_os::Pid;
use brigade_os::blob::{Access, BlobFile};
use brigade_wire::{BLOB_BYTES_MAX, Blob};
use serde::{Deserialize, Serialize};
use std::io;

/// A file as its owner has it, for whoever is to open it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Whose number it is.
    pub(crate) owner: u32,
    pub(crate) number: i32,
}

/// Where one side writes, one blob behind the other until all were read.
#[derive(Debug)]
pub(crate) struct Shelf {
    file: BlobFile,
    next: u64,
}

impl Shelf {
    pub(crate) fn new(file: BlobFile) -> Shelf {
        Shelf { file, next: 0 }
    }

    pub(crate) fn number(&self) -> i32 {
        self.file.number()
    }

    /// Writes them down.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> io::Result<Blob> {
        let count = bytes.len() as u64;
        if count > BLOB_BYTES_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{BLOB_BYTES_MAX} are the most"),
            ));
        }
        if self.is_empty() {
            self.next = 0;
        }
        self.file.write(bytes, self.next)?;
        let blob = Blob { offset: self.next, bytes: count, crc: crc32c::crc32c(bytes) };
        self.next += BlobFile::rounded(count);
        Ok(blob)
    }

    /// Whether everything that was put there was read.
    pub(crate) fn is_empty(&self) -> bool {
        self.file.is_empty()
    }

    /// It was read.
    pub(crate) fn give_back(&self, blob: Blob) {
        self.file.give_back(blob.offset, blob.bytes);
    }
}

/// What every worker of a run is to read before its first task: written once, and kept by whoever holds this.
#[derive(Debug)]
pub struct Letter {
    shelf: Shelf,
    blob: Blob,
}

/// Where such a letter lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    place: Place,
    blob: Blob,
}

impl Letter {
    /// Writes one.
    ///
    /// # Errors
    /// If there is no room for it, or it is larger than any.
    pub fn write(bytes: &[u8]) -> io::Result<Letter> {
        let mut shelf = Shelf::new(BlobFile::create()?);
        let blob = shelf.put(bytes)?;
        Ok(Letter { shelf, blob })
    }

    /// To be told to the children of this process.
    #[must_use]
    pub fn notice(&self) -> Notice {
        let place = Place { owner: Pid::current().number(), number: self.shelf.number() };
        Notice { place, blob: self.blob }
    }
}

impl Notice {
    /// Reads the letter.
    ///
    /// # Errors
    /// `NotConnected` if its writer is gone; otherwise if there is no room for it here, or it is damaged.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let Place { owner, number } = self.place;
        fetch(&BlobFile::open(owner, number, Access::Read)?, self.blob)
    }
}

/// Reads what a frame names, and holds it to its sum.
///
/// # Errors
/// `OutOfMemory` if there is no room for it here; any other if the frame lies, or the bytes are damaged.
pub(crate) fn fetch(file: &BlobFile, blob: Blob) -> io::Result<Vec<u8>> {
    let Blob { offset, bytes, crc } = blob;
    let wrong =
        |kind, what: String| io::Error::new(kind, format!("blob of {bytes} bytes at {offset}: {what}"));
    if bytes > BLOB_BYTES_MAX {
        return Err(wrong(io::ErrorKind::InvalidData, format!("{BLOB_BYTES_MAX} are the most")));
    }
    let read = file.read(offset, bytes).map_err(|error| wrong(error.kind(), error.to_string()))?;
    match crc32c::crc32c(&read) {
        sum if sum == crc => Ok(read),
        sum => Err(wrong(io::ErrorKind::InvalidData, format!("their sum is {sum:08x}, not {crc:08x}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_used_again_when_all_was_read() {
        let mut shelf = Shelf::new(BlobFile::create().unwrap());
        let (first, second) = (shelf.put(&[1; 10_000]).unwrap(), shelf.put(&[2; 10_000]).unwrap());
        assert!(second.offset >= first.offset + first.bytes);
        shelf.give_back(first);
        let third = shelf.put(&[3; 10_000]).unwrap();
        assert!(third.offset > second.offset, "one of them is unread");
        [second, third].into_iter().for_each(|blob| shelf.give_back(blob));
        assert_eq!(shelf.put(&[4; 10_000]).unwrap().offset, 0);
    }

    #[test]
    fn a_letter_is_read_by_whoever_has_its_notice_and_damage_is_told() {
        let letter = Letter::write(&[7; 10_000]).unwrap();
        assert_eq!(letter.notice().read().unwrap(), [7; 10_000]);
        letter.shelf.file.write(&[9], 5_000).unwrap();
        assert!(letter.notice().read().unwrap_err().to_string().contains("their sum is"));
        let stranger = Notice { place: Place { owner: u32::MAX, number: 0 }, blob: letter.blob };
        assert_eq!(stranger.read().unwrap_err().kind(), io::ErrorKind::NotConnected);
    }

    #[test]
    fn damage_and_lies_are_told_with_their_place() {
        let mut shelf = Shelf::new(BlobFile::create().unwrap());
        let blob = shelf.put(&[1; 10_000]).unwrap();
        assert_eq!(fetch(&shelf.file, blob).unwrap(), [1; 10_000]);
        let told = |lie: Blob| fetch(&shelf.file, lie).unwrap_err().to_string();
        assert!(
            told(Blob { offset: 1, bytes: 9_000, ..blob })
                .starts_with("blob of 9000 bytes at 1: their sum is")
        );
        assert!(told(Blob { offset: 1, ..blob }).contains("10000 bytes are there, not 10001"));
        assert!(told(Blob { crc: !blob.crc, ..blob }).contains("their sum is"));
        assert!(told(Blob { bytes: BLOB_BYTES_MAX + 1, ..blob }).ends_with("are the most"));
        shelf.file.write(&[9], 5_000).unwrap();
        assert!(told(blob).contains("their sum is"), "one byte of ten thousand");
    }
}
