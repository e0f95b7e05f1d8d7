//! What a process that a template makes for its program begins with: that program's output and directory of now, no input, and
//! signals as a new program has them. And what is to be done when a program ends.

use crate::signals;
use rustix::fs::{Mode, OFlags, open};
use rustix::process::fchdir;
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Where a process writes and where it stands.
#[derive(Debug)]
pub struct Surroundings {
    stdout: OwnedFd,
    stderr: OwnedFd,
    dir: OwnedFd,
}

impl Surroundings {
    /// Those of this process, as they are now. Nowhere for an output that is closed.
    ///
    /// # Errors
    /// If there is no descriptor to be had, or no directory.
    pub fn current() -> io::Result<Surroundings> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Surroundings {
            stdout: or_nowhere(io::stdout().as_fd())?,
            stderr: or_nowhere(io::stderr().as_fd())?,
            dir: open(".", flags, Mode::empty())?,
        })
    }

    /// What to send to another process, in the order of [`Surroundings::received`].
    #[must_use]
    pub fn fds(&self) -> [BorrowedFd<'_>; 3] {
        [self.stdout.as_fd(), self.stderr.as_fd(), self.dir.as_fd()]
    }

    /// As another process has sent them.
    #[must_use]
    pub fn received([stdout, stderr, dir]: [OwnedFd; 3]) -> Surroundings {
        Surroundings { stdout, stderr, dir }
    }

    /// Makes them those of this process, whose stdin is `/dev/null` from now on.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn enter(self) -> io::Result<()> {
        dup2_stdin(File::open("/dev/null")?)?;
        dup2_stdout(&self.stdout)?;
        dup2_stderr(&self.stderr)?;
        Ok(fchdir(&self.dir)?)
    }
}

fn or_nowhere(output: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    match output.try_clone_to_owned() {
        Err(error) if error.raw_os_error() == Some(libc::EBADF) => {
            Ok(File::options().write(true).open("/dev/null")?.into())
        }
        own => own,
    }
}

/// Hears signals as a new program does: what had come meanwhile comes now. Ignored is what stays so for whoever a shell or
/// `nohup` has told (SIGHUP, SIGINT, SIGQUIT), and SIGPIPE, as in every program of Rust.
///
/// # Errors
/// If the kernel refuses; it does not.
pub fn hear_signals() -> io::Result<()> {
    signals::default_the_ignored()?;
    signals::hold_nothing()
}

/// Has a function called when this program returns from `main` or calls `exit`, on the thread that does. Not when it is killed
/// or aborts. What is thread-local is gone by then.
///
/// # Errors
/// If there is no memory for it.
pub fn at_exit(function: extern "C" fn()) -> io::Result<()> {
    // SAFETY: the function is of this program, which is not unloaded before it ends.
    match unsafe { libc::atexit(function) } {
        0 => Ok(()),
        _ => Err(io::ErrorKind::OutOfMemory.into()),
    }
}
