//! Packets between two processes of one program, with open files in them: how a template is told what its next child begins
//! with.

use crate::body::retry;
use crate::clock::Deadline;
use crate::ready::ready;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// The most files in one packet: the kernel's own limit, `SCM_MAX_FD`.
pub const FILES_MAX: usize = 253;

/// The most bytes in one packet.
pub const BYTES_MAX: usize = 1_024;

const SPACE: usize = rustix::cmsg_space!(ScmRights(FILES_MAX));

/// One end. A packet is one message; the end of the other side is seen.
#[derive(Debug)]
pub struct Post {
    socket: OwnedFd,
}

/// What was received.
#[derive(Debug)]
pub enum Received {
    /// One packet, with what it carried.
    Packet(Vec<u8>, Vec<OwnedFd>),
    /// The other end is closed.
    End,
    /// Nothing within the time.
    Nothing,
}

impl Post {
    /// Two ends.
    ///
    /// # Errors
    /// If there is no descriptor to be had.
    pub fn pair() -> io::Result<(Post, Post)> {
        let flags = SocketFlags::CLOEXEC;
        let (one, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        Ok((Post { socket: one }, Post { socket: other }))
    }

    /// An end that another process made.
    #[must_use]
    pub fn from_fd(socket: OwnedFd) -> Post {
        Post { socket }
    }

    /// What to pass on to another process.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Sends one packet of at least one byte, with these files.
    ///
    /// # Errors
    /// `BrokenPipe` if the other end is closed; `InvalidInput` if it is more than a packet may have.
    pub fn send(&self, bytes: &[u8], files: &[BorrowedFd<'_>]) -> io::Result<()> {
        if bytes.is_empty() || bytes.len() > BYTES_MAX || files.len() > FILES_MAX {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut space = [MaybeUninit::uninit(); SPACE];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() {
            ancillary.push(SendAncillaryMessage::ScmRights(files));
        }
        let (packet, flags) = ([IoSlice::new(bytes)], SendFlags::NOSIGNAL);
        retry(|| sendmsg(&self.socket, &packet, &mut ancillary, flags))?;
        Ok(())
    }

    /// Waits for a packet, for so long at most; for ever, if not said.
    ///
    /// # Errors
    /// What the kernel says, EMFILE in particular: a packet whose files have no room here is lost.
    pub fn receive(&self, within: Option<Duration>) -> io::Result<Received> {
        if ready(&[self.fd()], within.map(Deadline::after))?.is_empty() {
            return Ok(Received::Nothing);
        }
        let (mut bytes, mut space) = ([0; BYTES_MAX], [MaybeUninit::uninit(); SPACE]);
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut into = [IoSliceMut::new(&mut bytes)];
        let got = match retry(|| recvmsg(&self.socket, &mut into, &mut ancillary, RecvFlags::CMSG_CLOEXEC)) {
            Err(Errno::CONNRESET) => return Ok(Received::End),
            got => got?,
        };
        let files = ancillary.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(files) => Some(files),
            _ => None,
        });
        let files: Vec<OwnedFd> = files.flatten().collect();
        if got.flags.contains(rustix::net::ReturnFlags::CTRUNC) {
            return Err(Errno::MFILE.into());
        }
        Ok(if got.bytes == 0 { Received::End } else { Received::Packet(bytes[..got.bytes].to_vec(), files) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Read;

    #[test]
    fn a_file_goes_along_with_a_packet_and_the_end_is_seen() {
        let (here, there) = Post::pair().unwrap();
        let (reader, writer) = io::pipe().unwrap();
        here.send(b"take this", &[reader.as_fd()]).unwrap();
        here.send(b"no file", &[]).unwrap();
        drop(reader);
        let Ok(Received::Packet(bytes, mut files)) = there.receive(None) else { panic!("a packet") };
        assert_eq!((&bytes[..], files.len()), (&b"take this"[..], 1));
        drop(writer);
        let mut rest = vec![];
        File::from(files.pop().unwrap()).read_to_end(&mut rest).unwrap();
        assert!(
            matches!(there.receive(None), Ok(Received::Packet(bytes, files)) if bytes == b"no file" && files.is_empty())
        );
        assert!(matches!(there.receive(Some(Duration::ZERO)), Ok(Received::Nothing)));
        drop(here);
        assert!(matches!(there.receive(None), Ok(Received::End)));
    }

    #[test]
    fn a_packet_to_nobody_and_one_that_is_too_large_are_errors() {
        let (here, there) = Post::pair().unwrap();
        assert_eq!(here.send(&[0; BYTES_MAX + 1], &[]).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(here.send(&[], &[]).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        drop(there);
        assert_eq!(here.send(&[1], &[]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
