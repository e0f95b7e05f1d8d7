//! A child process held by its pidfd, so that no signal can reach a stranger that got its number.

use crate::clock::Deadline;
use crate::ready::ready;
use brigade_wire::Exit;
use rustix::process::{PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid};
use std::fmt;
use std::io;
use std::num::NonZeroI32;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;
use std::time::Duration;

/// A process id: good for showing, and for asking `/proc`; never for sending a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pid(NonZeroI32);

impl Pid {
    /// A process id from the kernel's number; none for numbers that name no single process.
    #[must_use]
    pub fn new(raw: i32) -> Option<Pid> {
        (raw > 0).then(|| NonZeroI32::new(raw).map(Pid))?
    }

    /// This process.
    #[must_use]
    pub fn current() -> Pid {
        Pid(rustix::process::getpid().as_raw_nonzero())
    }

    /// The parent of this process; none if it lives in another pid namespace.
    #[must_use]
    pub fn parent() -> Option<Pid> {
        rustix::process::getppid().map(|pid| Pid(pid.as_raw_nonzero()))
    }

    /// The number to show.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0.get().unsigned_abs()
    }

    pub(crate) fn to_rustix(self) -> rustix::process::Pid {
        rustix::process::Pid::from_raw(self.0.get()).expect("a Pid is never zero")
    }

    pub(crate) fn to_nix(self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(self.0.get())
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whether a living child moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Motion {
    /// It was stopped (state T).
    Stopped,
    /// It goes on.
    Continued,
}

/// One child of this process, from its birth until it is reaped.
#[derive(Debug)]
pub struct Body {
    pid: Pid,
    pidfd: OwnedFd,
    /// Held while the group is signalled by number and while the leader is reaped: a number is the child's
    /// own exactly until then.
    reaped: Mutex<bool>,
}

impl Body {
    /// Takes hold of a child that has not been reaped yet.
    ///
    /// # Errors
    /// What `pidfd_open` says, in particular ESRCH if there is no such process.
    pub fn of(pid: Pid) -> io::Result<Body> {
        let pidfd = pidfd_open(pid.to_rustix(), PidfdFlags::empty())?;
        Ok(Body { pid, pidfd, reaped: Mutex::new(false) })
    }

    /// Ends and reaps a child that cannot be held, because descriptors are scarce. By its number, which is its
    /// own for as long as it is not reaped.
    pub fn end_unheld(pid: Pid) {
        let _ = nix::sys::signal::kill(pid.to_nix(), nix::sys::signal::Signal::SIGKILL);
        let _ = nix::sys::wait::waitpid(pid.to_nix(), None);
    }

    /// Its number, for showing.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Makes it the leader of its own process group. The child does the same on its side: whoever comes
    /// first, nobody ever finds it in ours.
    pub fn lead_own_group(&self) {
        // EACCES (it has executed another program, so it did so itself) and ESRCH are both fine.
        let _ = nix::unistd::setpgid(self.pid.to_nix(), self.pid.to_nix());
    }

    /// Ends it and everything in its process group, with SIGKILL.
    pub fn kill(&self) {
        self.signal_group(Signal::KILL);
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// Ends it with SIGKILL, and nobody else: for a child in the group of its parent.
    pub fn kill_alone(&self) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// Ends it with SIGABRT, which it may answer with what it was doing: the thread that this is sent to, if one is named. A
    /// stopped one does not hear it.
    pub fn abort(&self, thread: Option<Pid>) {
        let reaped = self.reaped.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // A thread that is gone is no reason not to end its process.
        let was_sent = !*reaped && thread.is_some_and(|thread| self.abort_thread(thread));
        if !was_sent {
            let _ = pidfd_send_signal(&self.pidfd, Signal::ABORT);
        }
    }

    /// While its number is its own.
    fn abort_thread(&self, thread: Pid) -> bool {
        let (pid, thread) = (self.pid.to_nix().as_raw(), thread.to_nix().as_raw());
        // SAFETY: takes numbers only; a thread that is none of this process's is an error.
        unsafe { libc::syscall(libc::SYS_tgkill, pid, thread, libc::SIGABRT) == 0 }
    }

    /// Asks it to open its log anew, with SIGUSR1: only when it is known to listen, or it dies of it.
    pub fn reopen_log(&self) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::USR1);
    }

    /// Asks it to end, with SIGTERM, and lets it hear that if it is stopped.
    pub fn terminate(&self) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::TERM);
        let _ = pidfd_send_signal(&self.pidfd, Signal::CONT);
    }

    /// Stops it and everything in its process group; false if it was stopped before, and is for somebody else to continue.
    #[must_use]
    pub fn pause(&self) -> bool {
        let state = crate::proc::stat(self.pid.number()).map(|stat| stat.state);
        if matches!(state, Ok('T' | 't')) {
            return false;
        }
        self.signal_group(Signal::STOP);
        true
    }

    /// Continues it and its group. Neither the stop nor this is news afterwards.
    pub fn go_on(&self) {
        self.signal_group(Signal::CONT);
        // The kernel notes both when the signal is sent, and forgets a stop for a continuation.
        let _ = self.moved();
    }

    /// Ends what is left of its process group after its death. Only before [`Body::reap`]: until then the
    /// number is still its own.
    pub fn sweep_group(&self) {
        self.signal_group(Signal::KILL);
    }

    /// Whether it was stopped or continued since the last call; `None` if neither, or if it is dead.
    #[must_use]
    pub fn moved(&self) -> Option<Motion> {
        let options = WaitIdOptions::STOPPED | WaitIdOptions::CONTINUED | WaitIdOptions::NOHANG;
        let status = retry(|| waitid(WaitId::PidFd(self.pidfd.as_fd()), options)).ok()??;
        match (status.stopped(), status.continued()) {
            (true, _) => Some(Motion::Stopped),
            (_, true) => Some(Motion::Continued),
            (false, false) => None,
        }
    }

    /// Whether it has ended, reaped or not; also for a process that is no child of ours.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.await_end(Some(Duration::ZERO))
    }

    /// Waits for its end, for so long at most, and for ever if not said; false if it has not ended.
    #[must_use]
    pub fn await_end(&self, within: Option<Duration>) -> bool {
        ready(&[self.pidfd()], within.map(Deadline::after)).is_ok_and(|ended| !ended.is_empty())
    }

    /// Waits for its end and takes its status; at once if its pidfd is readable.
    #[must_use]
    pub fn reap(&self) -> Exit {
        let mut reaped = self.reaped.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *reaped = true;
        let status = retry(|| waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED));
        let Ok(Some(status)) = status else { return Exit::Unknown };
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, Some(signal)) => Exit::Signal(signal),
            (None, None) => Exit::Unknown,
        }
    }

    /// Readable when it has ended.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    fn signal_group(&self, signal: Signal) {
        if send_to_group(self.pidfd.as_fd(), signal)
            .is_err_and(|error| error.raw_os_error() == Some(libc::EINVAL))
        {
            let reaped = self.reaped.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if !*reaped {
                let _ = nix::sys::signal::killpg(self.pid.to_nix(), nix_signal(signal));
            }
        }
    }
}

/// `PIDFD_SIGNAL_PROCESS_GROUP`, since Linux 6.9; older kernels answer EINVAL.
fn send_to_group(pidfd: BorrowedFd<'_>, signal: Signal) -> io::Result<()> {
    const PIDFD_SIGNAL_PROCESS_GROUP: libc::c_uint = 1 << 2;
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: the descriptor is borrowed for the call, and a null siginfo asks the kernel to fill in its own.
    let sent = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal.as_raw(),
            no_info,
            PIDFD_SIGNAL_PROCESS_GROUP,
        )
    };
    if sent == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn nix_signal(signal: Signal) -> nix::sys::signal::Signal {
    nix::sys::signal::Signal::try_from(signal.as_raw()).expect("only named signals are sent to groups")
}

/// Repeats a call that a signal interrupted.
pub(crate) fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match call() {
            Err(rustix::io::Errno::INTR) => {}
            done => return done,
        }
    }
}
