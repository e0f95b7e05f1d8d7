//! How a worker comes into the world: `clone(CLONE_PARENT)` in the template, so that the supervisor is its
//! real parent (its death, its status, PDEATHSIG) although the template made it.

use crate::body::{Body, Pid, retry};
use crate::cgroup::Cgroup;
use crate::page::Pages;
use crate::robust::List;
use brigade_wire::SlotId;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Which side of a birth this is.
#[derive(Debug)]
pub enum Side {
    /// The template, and the process that it made.
    Template(Pid),
    /// The child.
    Child,
}

/// Forks a child of this process's *parent*. Its pid is on the slot's page before it runs, even if this
/// process dies in the middle of the call.
///
/// # Errors
/// What `clone` says: EAGAIN or ENOMEM where processes are scarce. Refused if this process has more than one
/// thread: a lock held by another one would be held in the child for ever (150 of 150 times, when tried).
///
/// With a cgroup it is born into that.
pub fn fork_sibling(pages: &Pages, slot: SlotId, into: Option<&Cgroup>) -> io::Result<Side> {
    if threads()? != 1 {
        return Err(io::Error::other("only a process with one thread may fork"));
    }
    let flags = libc::CLONE_PARENT | libc::CLONE_PARENT_SETTID;
    let tid = libc_tid_address();
    let flags =
        if tid.is_null() { flags } else { flags | libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID };
    let pid = pages.pid_address(slot);
    let robust = List::own();
    // SAFETY: without CLONE_VM the child gets a copy of everything, as with fork, and this is the only thread.
    // The pid's address is inside the shared mapping, the tid's is libc's own.
    let made = unsafe {
        match into {
            Some(cgroup) => clone_into(cgroup, flags, pid, tid),
            None => clone(flags | libc::SIGCHLD, pid, tid),
        }
    };
    match made {
        0 => {
            // SAFETY: a copy of this process, and its one thread holds no lock of shared memory.
            robust.inspect(|list| unsafe { list.take_up() });
            Ok(Side::Child)
        }
        pid => match Pid::new(pid as i32) {
            Some(pid) => Ok(Side::Template(pid)),
            None => Err(io::Error::last_os_error()),
        },
    }
}

/// How many threads this process has: what its `task` directory counts as links, beyond the usual two.
fn threads() -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    Ok(std::fs::metadata("/proc/self/task")?.nlink().saturating_sub(2))
}

/// The raw call, because libc's `fork` cannot say CLONE_PARENT. The kernel takes the last two arguments in
/// another order on x86-64 than elsewhere.
unsafe fn clone(
    flags: libc::c_int,
    parent_tid: *mut libc::pid_t,
    child_tid: *mut libc::pid_t,
) -> libc::c_long {
    let (no_stack, no_tls) = (0_usize, 0_usize);
    let flags = flags as libc::c_ulong;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: by the caller's promise.
    let made = unsafe { libc::syscall(libc::SYS_clone, flags, no_stack, parent_tid, child_tid, no_tls) };
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: by the caller's promise.
    let made = unsafe { libc::syscall(libc::SYS_clone, flags, no_stack, parent_tid, no_tls, child_tid) };
    made
}

/// The younger call, which can say CLONE_INTO_CGROUP. A sibling's exit signal is its parent's own.
unsafe fn clone_into(
    cgroup: &Cgroup,
    flags: libc::c_int,
    parent_tid: *mut libc::pid_t,
    child_tid: *mut libc::pid_t,
) -> libc::c_long {
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    // SAFETY: all zero asks for nothing, and is a valid value of this struct of numbers.
    let mut asked: libc::clone_args = unsafe { std::mem::zeroed() };
    asked.flags = CLONE_INTO_CGROUP | u64::from(flags.cast_unsigned());
    asked.parent_tid = parent_tid.expose_provenance() as u64;
    asked.child_tid = child_tid.expose_provenance() as u64;
    asked.cgroup = cgroup.fd().as_raw_fd() as u64;
    // SAFETY: by the caller's promise; the kernel reads as much of the struct as it is told.
    unsafe { libc::syscall(libc::SYS_clone3, &raw const asked, size_of::<libc::clone_args>()) }
}

/// Lets somebody be born into a cgroup and leave at once: whether that can be done here is known afterwards.
///
/// # Errors
/// What `clone3` says: ENOSYS, EACCES, EOPNOTSUPP …
pub(crate) fn try_birth_into(cgroup: &Cgroup) -> io::Result<()> {
    let nobody = std::ptr::null_mut();
    // SAFETY: the child has a copy of everything and makes one system call, so it needs no lock that another
    // thread may have held.
    let made = unsafe { clone_into(cgroup, 0, nobody, nobody) };
    match i32::try_from(made).ok().and_then(Pid::new) {
        None if made == 0 => leave(0),
        None => Err(io::Error::last_os_error()),
        Some(pid) => {
            // Without an exit signal it is a "clone child", which only __WALL or __WCLONE waits for.
            let all = nix::sys::wait::WaitPidFlag::__WALL;
            while nix::sys::wait::waitpid(pid.to_nix(), Some(all)) == Err(nix::errno::Errno::EINTR) {}
            Ok(())
        }
    }
}

/// Where libc keeps the id of this thread. A raw clone leaves the template's there, and a robust mutex that
/// the child holds would never be released; `fork` lets the kernel write the child's own, and so do we. Null
/// where the kernel does not tell (it needs CONFIG_CHECKPOINT_RESTORE).
fn libc_tid_address() -> *mut libc::pid_t {
    let mut address: *mut libc::pid_t = std::ptr::null_mut();
    // SAFETY: the kernel writes one pointer into `address`, or nothing.
    let told = unsafe { libc::prctl(libc::PR_GET_TID_ADDRESS, &raw mut address) };
    if told == 0 { address } else { std::ptr::null_mut() }
}

/// Makes this process the leader of its own group: Ctrl-C reaches the supervisor alone, and a kill of the
/// group reaches whatever this process will have started.
pub fn lead_own_group() {
    // The supervisor does the same on its side; whoever is second is told EACCES at worst.
    let own = nix::unistd::Pid::from_raw(0);
    let _ = nix::unistd::setpgid(own, own);
}

/// Dies with `parent`: by SIGKILL when the thread that made us ends, and at once if that has happened before
/// the kernel was asked (192 of 200 children survived that race unchecked, 0 of 200 with the check).
///
/// # Errors
/// If `parent` is no longer our parent: leave.
pub fn die_with(parent: Pid) -> io::Result<()> {
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
    match Pid::parent() {
        Some(pid) if pid == parent => Ok(()),
        _ => Err(io::Error::new(io::ErrorKind::NotFound, "the supervisor is gone")),
    }
}

/// Binds the program that `command` starts to this thread's life, from its first instruction on; [`part`] undoes it.
pub fn bind(command: &mut Command) {
    let bind = || Ok(nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?);
    // SAFETY: the closure makes one system call; it neither allocates nor locks.
    unsafe { command.pre_exec(bind) };
}

/// Lives on when the parent dies, and is woken by that if it is stopped.
///
/// # Errors
/// If the kernel refuses; it does not.
pub fn part() -> io::Result<()> {
    Ok(nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGCONT)?)
}

/// Ends the process groups of `leaders`, SIGKILL: the guard's last act. Each is held by its pidfd from the start, so that
/// no number is used that a stranger may have got meanwhile; and whoever was started after `last_birth` (in
/// [`boot_ticks`](crate::clock::boot_ticks)) is a stranger who got one before. With `patience` a group is ended when its leader has
/// ended of its own accord, otherwise now.
pub fn end_groups(leaders: impl Iterator<Item = Pid>, last_birth: u64, patience: bool) {
    let is_stranger =
        |pid: Pid| crate::proc::stat(pid.number()).is_ok_and(|stat| stat.start_ticks > last_birth);
    let mut held = Vec::new();
    for leader in leaders {
        match Body::of(leader) {
            Ok(_) if is_stranger(leader) => {}
            Ok(body) => held.push(body),
            // It is gone already: a number is safe as long as its group has a member, and without one it names
            // nobody until the kernel has gone once around all its numbers.
            Err(_) => drop(nix::sys::signal::killpg(leader.to_nix(), nix::sys::signal::Signal::SIGKILL)),
        }
    }
    while !held.is_empty() {
        if patience {
            await_one_of(&held);
        }
        held.retain(|body| {
            let is_due = !patience || body.has_ended();
            if is_due {
                body.sweep_group();
            }
            !is_due
        });
    }
}

/// Waits until one of these has ended, whoever its parent is now: its pidfd is readable then.
fn await_one_of(bodies: &[Body]) {
    use rustix::event::{PollFd, PollFlags, poll};
    let mut waited: Vec<PollFd<'_>> =
        bodies.iter().map(|body| PollFd::from_borrowed_fd(body.pidfd(), PollFlags::IN)).collect();
    let _ = retry(|| poll(&mut waited, None));
}

/// The name that `ps` and `top` show for this process; 15 bytes are kept.
pub fn set_name(name: &str) {
    if let Ok(name) = std::ffi::CString::new(name) {
        let _ = nix::sys::prctl::set_name(&name);
    }
}

/// Leaves at once: no destructor, no exit handler, nothing of the template's is flushed twice.
pub fn leave(code: i32) -> ! {
    // SAFETY: `_exit` is always allowed.
    unsafe { libc::_exit(code) }
}
