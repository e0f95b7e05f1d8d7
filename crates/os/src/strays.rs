//! Strays: descendants whose parents died, and who became children of ours by that. Nobody else will reap them.
//!
//! Whose status is whose is never in doubt: a stray is taken by its number, and that is its own until we reap it.

use crate::body::{Body, Pid, retry};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use std::fs;
use std::io;
use std::time::Duration;

/// Makes this process the one that orphaned descendants come to, instead of init.
///
/// # Errors
/// If the kernel refuses; it does not.
pub fn adopt() -> io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}

/// The children of this process, dead ones included. Empty where the kernel does not tell (`CONFIG_PROC_CHILDREN`).
///
/// Those of the first thread alone: that one makes our own, and orphans are given to it for as long as it lives.
#[must_use]
pub fn children() -> Vec<Pid> {
    let own = Pid::current();
    let told = fs::read_to_string(format!("/proc/self/task/{own}/children")).unwrap_or_default();
    told.split_ascii_whitespace().filter_map(|number| Pid::new(number.parse().ok()?)).collect()
}

/// Some child that is dead and not reaped, if there is one; it stays so. One system call.
#[must_use]
pub fn some_body() -> Option<Pid> {
    use nix::sys::wait::{Id, WaitPidFlag, waitid};
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
    Pid::new(waitid(Id::All, flags).ok()?.pid()?.as_raw())
}

/// Reaps a child that nobody waits for, if it is dead.
pub fn bury(pid: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    matches!(retry(|| waitid(WaitId::Pid(pid.to_rustix()), options)), Ok(Some(_)))
}

/// Ends a child that nobody waits for, and its group if it leads one.
pub fn end(pid: Pid) {
    // Without a descriptor for it, it is for the next look.
    let _ = Body::of(pid).map(|body| body.kill());
}

/// Waits until a child is dead, for so long at most.
pub fn await_end(pid: Pid, within: Duration) {
    let _ = Body::of(pid).map(|body| body.await_end(Some(within)));
}
