//! Which descriptors a program that we execute finds open: those named, and no other.

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Marks everything that this process itself inherited, beyond stdio, as not to be passed on: what a shell or
/// a build tool left open is nothing for workers. Does nothing before Linux 5.11.
pub fn keep_to_ourselves() {
    const FIRST: libc::c_uint = 3;
    // SAFETY: descriptors stay open and keep their meaning; only a later exec closes them.
    unsafe { libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
}

/// Lets the program that `command` starts inherit nothing but stdio, and what is [passed](pass) after this call. A program that
/// hosts a pool may have opened anything in any way. Does nothing before Linux 5.11.
pub fn nothing_else(command: &mut Command) {
    // SAFETY: the closure makes one system call and neither allocates nor locks.
    unsafe {
        command.pre_exec(|| {
            keep_to_ourselves();
            Ok(())
        });
    }
}

/// Lets the program that `command` starts inherit a duplicate of `fd`, under the number returned; to be passed on as
/// an argument, and taken up there with [`take`].
///
/// # Errors
/// If there is no descriptor to be had.
pub fn pass(command: &mut Command, fd: impl AsFd) -> io::Result<RawFd> {
    let own = fd.as_fd().try_clone_to_owned()?;
    let number = own.as_raw_fd();
    // SAFETY: the closure makes one system call and neither allocates nor locks. It owns the duplicate, so this
    // is open for as long as the command may be started.
    unsafe { command.pre_exec(move || Ok(fcntl_setfd(&own, FdFlags::empty())?)) };
    Ok(number)
}

/// Takes up a descriptor that this program's parent passed by [`pass`], once.
///
/// Whatever Rust opens is closed on exec; only what was inherited is not. So a number can be taken here only if nobody
/// in this program owns it, and only once, for taking it changes that.
///
/// # Errors
/// If no such descriptor was passed.
pub fn take(number: RawFd) -> io::Result<OwnedFd> {
    const FIRST: RawFd = 3;
    if number < FIRST {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: only borrowed for system calls that fail cleanly on a closed descriptor.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    if fcntl_getfd(borrowed)?.contains(FdFlags::CLOEXEC) {
        return Err(io::Error::other("this descriptor was opened here, not passed"));
    }
    fcntl_setfd(borrowed, FdFlags::CLOEXEC)?;
    // SAFETY: it is open, and as said above nobody here owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Another descriptor for what this process has open under a number; for looking at one's own channels.
///
/// # Errors
/// If there is nothing under that number.
pub fn duplicate(number: RawFd) -> io::Result<OwnedFd> {
    let own = pidfd_open(getpid(), PidfdFlags::empty())?;
    Ok(pidfd_getfd(own, number, PidfdGetfdFlags::empty())?)
}
