//! Descriptors that other processes of the same user open by their number: how shared memory and pipes get to a worker
//! without a name in any file system.

use rustix::fs::{Mode, OFlags, fstat, open};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use crate::Pid;

/// A descriptor of some process, for whoever is to open it. It can be opened as long as that process has it open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loan {
    /// Whose number it is.
    pub owner: u32,
    /// The number.
    pub number: i32,
    /// With `inode`, what it is: a number is soon somebody else's.
    pub device: u64,
    /// See `device`.
    pub inode: u64,
}

/// What it is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To read.
    Read,
    /// To write.
    Write,
    /// To do both.
    Both,
}

impl Loan {
    /// Of a descriptor of this process.
    ///
    /// # Errors
    /// What `fstat` says; it does not fail.
    pub fn of(fd: impl AsFd) -> io::Result<Loan> {
        let fd = fd.as_fd();
        let stat = fstat(fd)?;
        let owner = Pid::current().number();
        Ok(Loan { owner, number: fd.as_raw_fd(), device: stat.st_dev, inode: stat.st_ino })
    }

    /// Opens what it names, anew: positions and flags are not shared with the owner.
    ///
    /// # Errors
    /// `NotConnected` if the owner is gone or has closed it, by now perhaps to open something else under that number; what
    /// `open` says otherwise.
    pub fn open(self, access: Access) -> io::Result<OwnedFd> {
        let Loan { owner, number, device, inode } = self;
        let flags = match access {
            Access::Read => OFlags::RDONLY,
            Access::Write => OFlags::WRONLY,
            Access::Both => OFlags::RDWR,
        };
        // Looked at before it is opened: to open a stranger's may do something to it.
        let path = format!("/proc/{owner}/fd/{number}");
        let found = open(path.as_str(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let found = match found.and_then(|found| Ok((fstat(&found)?, found))) {
            Ok((stat, found)) if (stat.st_dev, stat.st_ino) == (device, inode) => found,
            Ok(_) | Err(rustix::io::Errno::NOENT | rustix::io::Errno::SRCH) => return Err(gone(owner)),
            Err(error) => return Err(io::Error::new(error.kind(), format!("open {path}: {error}"))),
        };
        let found = format!("/proc/self/fd/{}", found.as_raw_fd());
        let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY;
        Ok(open(found.as_str(), flags, Mode::empty())?)
    }
}

fn gone(owner: u32) -> io::Error {
    let words =
        format!("process {owner} is gone, or has closed it: whoever lends keeps it until it is taken");
    io::Error::new(io::ErrorKind::NotConnected, words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Write};

    #[test]
    fn a_pipe_is_opened_by_its_numbers() {
        let (reader, writer) = io::pipe().unwrap();
        let mut lent = File::from(Loan::of(&writer).unwrap().open(Access::Write).unwrap());
        drop(writer);
        lent.write_all(b"hello").unwrap();
        drop(lent);
        let mut text = String::new();
        File::from(OwnedFd::from(reader)).read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello", "and its end came, for nobody else can write");
    }

    #[test]
    fn what_was_closed_is_gone_whatever_has_its_number_now() {
        let (reader, _writer) = io::pipe().unwrap();
        let loan = Loan::of(&reader).unwrap();
        drop(reader);
        let others: Vec<File> = (0..4).map(|_| File::open("/dev/null").unwrap()).collect();
        assert_eq!(loan.open(Access::Read).unwrap_err().kind(), io::ErrorKind::NotConnected);
        let nobody = Loan { owner: u32::MAX >> 1, ..loan };
        assert_eq!(nobody.open(Access::Read).unwrap_err().kind(), io::ErrorKind::NotConnected);
        drop(others);
    }
}
