//! Which descriptors a program that we execute finds open: those named, and no other.

use rustix::io::{FdFlags, fcntl_setfd};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Marks everything that this process itself inherited, beyond stdio, as not to be passed on: what a shell or
/// a build tool left open is nothing for workers. Does nothing before Linux 5.11.
pub fn keep_to_ourselves() {
    const FIRST: libc::c_uint = 3;
    // SAFETY: descriptors stay open and keep their meaning; only a later exec closes them.
    unsafe { libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
}

/// Lets the program that `command` starts inherit `fd`, under the number returned; to be passed on as an
/// argument, and taken up there with [`take`].
///
/// The descriptor must stay open in this process until the command was spawned.
pub fn pass(command: &mut Command, fd: impl AsFd) -> RawFd {
    let number = fd.as_fd().as_raw_fd();
    let unlock = move || {
        // SAFETY: the caller keeps the descriptor open until the spawn, of which this is a part.
        let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
        Ok(fcntl_setfd(fd, FdFlags::empty())?)
    };
    // SAFETY: the closure makes one system call and neither allocates nor locks.
    unsafe { command.pre_exec(unlock) };
    number
}

/// Takes up a descriptor that this program's parent passed by [`pass`], once.
///
/// # Errors
/// If no such descriptor is open.
pub fn take(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: only borrowed for a system call that fails cleanly on a closed descriptor.
    let borrowed = unsafe { std::os::fd::BorrowedFd::borrow_raw(number.max(0)) };
    fcntl_setfd(borrowed, FdFlags::CLOEXEC)?;
    // SAFETY: it is open, and by the contract of `pass` it was opened for us: nobody else here owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
