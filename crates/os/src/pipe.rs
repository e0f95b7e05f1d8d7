//! Pipes of packets: what is written at once is read at once, or not at all, whoever is killed when.
//!
//! A pipe's ends can be opened anew by whoever gets their numbers ([`crate::lend`]); those of a socket cannot.

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::param::page_size;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use std::io::{self, IoSlice};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::ptr;

use crate::signals;

/// The most bytes of a packet, and what [`read`] needs room for.
pub const PACKET_BYTES: usize = rustix::pipe::PIPE_BUF;

/// How many packets a pipe holds: each takes a page, however small it is. A user who is not privileged may have 16,384 such
/// pages in all; whoever has more has pipes of two.
pub const PACKETS: usize = 64;

/// The end to read from, and the end to write to. It holds [`PACKETS`], or where the system refuses that, as few as it likes.
///
/// # Errors
/// If there is no descriptor to be had.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::DIRECT)?;
    // A smaller one works as well: whoever writes waits sooner.
    let _ = fcntl_setpipe_size(&writer, PACKETS * page_size());
    Ok((reader, writer))
}

/// Lets an end to write to that was opened anew write packets, too.
///
/// # Errors
/// What `fcntl` says; it does not fail with a pipe.
pub fn write_packets(writer: BorrowedFd<'_>) -> io::Result<()> {
    Ok(fcntl_setfl(writer, fcntl_getfl(writer)? | OFlags::DIRECT)?)
}

/// Writes one packet, of some bytes and some more; waits until there is room for it.
///
/// # Errors
/// `BrokenPipe` if nobody is left to read it.
pub fn write(writer: BorrowedFd<'_>, head: &[u8], body: &[u8]) -> io::Result<()> {
    let count = head.len() + body.len();
    assert!((1..=PACKET_BYTES).contains(&count), "a packet of {count} bytes");
    loop {
        match rustix::io::writev(writer, &[IoSlice::new(head), IoSlice::new(body)]) {
            Ok(written) => {
                assert_eq!(written, count, "the kernel writes a packet whole");
                return Ok(());
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Writes these few bytes if there is room for them now; `writer` never waits again.
///
/// # Errors
/// `WouldBlock` if there is none, `BrokenPipe` if nobody is left to read it.
pub fn write_at_once(writer: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<()> {
    fcntl_setfl(writer, fcntl_getfl(writer)? | OFlags::NONBLOCK)?;
    let written = rustix::io::write(writer, bytes)?;
    debug_assert_eq!(written, bytes.len(), "the kernel writes so few whole");
    Ok(())
}

/// Reads one packet; waits for it. 0 bytes are the end: nobody is left to write.
///
/// # Errors
/// What `read` says.
pub fn read(reader: BorrowedFd<'_>, packet: &mut [u8; PACKET_BYTES]) -> io::Result<usize> {
    loop {
        match rustix::io::read(reader, &mut packet[..]) {
            Err(Errno::INTR) => {}
            read => return Ok(read?),
        }
    }
}

/// Lets a broken pipe be an error and no signal while `write` writes, also in a program that has not left SIGPIPE ignored as
/// the Rust runtime sets it, or has never come to that runtime.
///
/// # Errors
/// Those of `write`, and what the kernel says to a mask; it does not fail.
pub fn without_sigpipe(write: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    if signals::is_ignored(libc::SIGPIPE) {
        return write();
    }
    let sigpipe = SigSet::from(Signal::SIGPIPE);
    let before = sigpipe.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let written = write();
    if written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
        let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: both are valid for the call, and it may leave out what the signal had to say.
        unsafe { libc::sigtimedwait(sigpipe.as_ref(), ptr::null_mut(), &raw const at_once) };
    }
    before.thread_set_mask()?;
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lend::{Access, Loan};
    use std::os::fd::AsFd;

    #[test]
    fn packets_stay_apart_also_through_ends_that_were_opened_anew() {
        let (reader, writer) = pipe().unwrap();
        let again = Loan::of(&writer).unwrap().open(Access::Write).unwrap();
        write_packets(again.as_fd()).unwrap();
        let (mut packet, full) = ([0; PACKET_BYTES], [7; PACKET_BYTES]);
        write(writer.as_fd(), b"on", b"e").unwrap();
        write(again.as_fd(), &full, b"").unwrap();
        write(again.as_fd(), b"two", b"").unwrap();
        drop((writer, again));
        let reader = Loan::of(&reader).unwrap().open(Access::Read).unwrap();
        for expected in [b"one".as_slice(), &full, b"two", b""] {
            let count = read(reader.as_fd(), &mut packet).unwrap();
            assert_eq!(&packet[..count], expected);
        }
    }

    #[test]
    fn who_writes_at_once_into_a_full_pipe_does_not_wait() {
        let (reader, writer) = io::pipe().unwrap();
        let mut written = 0;
        while write_at_once(writer.as_fd(), &[7; 8]).is_ok() {
            written += 1;
        }
        let error = write_at_once(writer.as_fd(), &[7; 8]).unwrap_err();
        assert_eq!((written > 0, error.kind()), (true, io::ErrorKind::WouldBlock));
        drop(reader);
    }

    #[test]
    fn a_broken_pipe_is_an_error_also_where_sigpipe_would_kill() {
        // SAFETY: SIG_DFL and SIG_IGN are no handlers.
        let before = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        for _ in 0..2 {
            let error = without_sigpipe(|| write(writer.as_fd(), b"x", b"")).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        }
        // SAFETY: as above.
        unsafe { libc::signal(libc::SIGPIPE, before) };
    }
}
