//! Limits: ours raised, the workers' set.

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::OnceLock;

/// The limit of open files: raised for the supervisor, and as it was before for its workers, whose code may
/// use `select` and bitmaps of 1,024.
#[derive(Clone, Copy, Debug)]
pub struct OpenFiles {
    /// The limit in force here.
    pub most: u64,
    before: u64,
    hard: u64,
}

impl OpenFiles {
    /// Raises the soft limit to the hard one: each worker costs the supervisor five to seven files.
    #[must_use]
    pub fn raise() -> OpenFiles {
        // A program that hosts one pool after the other is started once.
        static FOUND: OnceLock<(u64, u64)> = OnceLock::new();
        let found = || getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1_024, 1_024));
        let (before, hard) = *FOUND.get_or_init(found);
        let most = if setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { before };
        OpenFiles { most, before, hard }
    }

    /// Gives the program that `command` starts the limit that this one was started with.
    pub fn give_back(self, command: &mut Command) {
        let lower = move || Ok(setrlimit(Resource::RLIMIT_NOFILE, self.before, self.hard)?);
        // SAFETY: the closure makes one system call; it neither allocates nor locks.
        unsafe { command.pre_exec(lower) };
    }
}

/// How many more processes and threads this user may have, as far as the system tells; the smallest of
/// RLIMIT_NPROC, `kernel.threads-max` and `kernel.pid_max`.
#[must_use]
pub fn processes_max() -> u64 {
    let own = getrlimit(Resource::RLIMIT_NPROC).map_or(RLIM_INFINITY, |(soft, _)| soft);
    let kernel = ["/proc/sys/kernel/threads-max", "/proc/sys/kernel/pid_max"];
    let kernel = kernel.iter().filter_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok());
    kernel.fold(own, u64::min)
}

/// The stack that the main thread of a program may have, for threads that are to be no worse off.
#[must_use]
pub fn stack_bytes() -> usize {
    const USUAL: u64 = 8 << 20;
    let limit = getrlimit(Resource::RLIMIT_STACK).map_or(USUAL, |(soft, _)| soft);
    usize::try_from(if limit == RLIM_INFINITY { USUAL } else { limit }).unwrap_or(USUAL as usize)
}

/// No core dumps: a worker of 50 MiB leaves 58 MiB on the disk. For this process and its children.
pub fn no_core_dumps() {
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
}

/// No more addresses than that, for this process and its children: an allocation beyond fails.
///
/// # Errors
/// If the hard limit is lower, and may not be raised.
pub fn bound_addresses(bytes: u64) -> io::Result<()> {
    Ok(setrlimit(Resource::RLIMIT_AS, bytes, bytes)?)
}

/// Tells the kernel to end this process and its children before the supervisor when memory runs out. With the
/// inherited score it was the supervisor that died.
pub fn be_killed_first() {
    // Raising one's own score needs no privilege; a score that is higher already is left alone.
    let path = "/proc/self/oom_score_adj";
    let now = fs::read_to_string(path).ok().and_then(|score| score.trim().parse::<i32>().ok());
    if now.is_some_and(|score| score < 500) {
        let _ = fs::write(path, "500");
    }
}

/// The number of the user whom this process acts for.
#[must_use]
pub fn user() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// How many processors this process may use (affinity and cgroup quota counted in).
#[must_use]
pub fn cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX))
}

/// Whether an error means that there is too little of something now, and later there may be enough.
#[must_use]
pub fn is_scarcity(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE | libc::ENOBUFS)
    )
}
