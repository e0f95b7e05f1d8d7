//! Killing at an instruction of one's choice: what holds "whoever is killed where" to account, in tests.

use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill, raise};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

/// Lets a copy of this process do something, and kills it after so many instructions; `None` for never. Returns how many it
/// has done, and whether it came to its end.
///
/// The copy has the calling thread alone: what others may have locked here is not for it to take.
///
/// # Panics
/// If processes cannot be traced here, or it comes to another end.
pub fn killed_after(steps: Option<u64>, body: impl FnOnce()) -> (u64, bool) {
    // SAFETY: what the copy does beside `body` is system calls; glibc's allocator is made whole by its fork.
    let child = match unsafe { fork() }.expect("fork") {
        ForkResult::Child => {
            let is_traced = ptrace::traceme().and_then(|()| raise(Signal::SIGSTOP)).is_ok();
            if is_traced {
                body();
            }
            crate::birth::leave(i32::from(!is_traced));
        }
        ForkResult::Parent { child } => child,
    };
    assert_eq!(waitpid(child, None), Ok(WaitStatus::Stopped(child, Signal::SIGSTOP)));
    let mut done = 0;
    while steps.is_none_or(|steps| done < steps) {
        if !step(child) {
            return (done, true);
        }
        done += 1;
    }
    kill(child, Signal::SIGKILL).expect("it is a child");
    assert_eq!(waitpid(child, None), Ok(WaitStatus::Signaled(child, Signal::SIGKILL, false)));
    (done, false)
}

/// One instruction; false if it was the last.
fn step(child: Pid) -> bool {
    ptrace::step(child, None).expect("it is stopped");
    match waitpid(child, None) {
        Ok(WaitStatus::Stopped(_, Signal::SIGTRAP)) => true,
        Ok(WaitStatus::Exited(_, 0)) => false,
        other => panic!("{other:?} after a step"),
    }
}
