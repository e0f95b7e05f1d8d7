//! A cgroup of the run's own, below the supervisor's: whoever descends from a worker is in it, and nobody leaves it
//! by `setsid` or a double fork. One write to `cgroup.kill` ends them all.
//!
//! ```text
//! the supervisor's cgroup      supervisor, template (and guard): outside of what they end
//!   └─ brigade-PID             workers, born into it (CLONE_INTO_CGROUP), and all that they start
//! ```
//!
//! Nobody is ever moved: a move waits for a grace period of the kernel (12 ms, measured), a birth does not.

use crate::Pid;
use crate::body::retry;
use crate::clock::monotonic_ns;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

/// What the names of ours begin with.
const PREFIX: &str = "brigade-";

/// Names that are tried: another pid namespace may have a supervisor of our number in the same cgroup.
const NAMES_MAX: u32 = 16;

/// How often to look whether a cgroup is empty, should the kernel not tell: it may defer its telling.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// A cgroup, empty or not.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
    /// The maker's is locked for as long as it lives: whatever is not locked has no supervisor any more.
    dir: OwnedFd,
    is_own: bool,
}

impl Cgroup {
    /// Makes one below the cgroup of this process, and removes what killed supervisors have left there empty.
    ///
    /// # Errors
    /// If there is no cgroup v2, if it may not be written, or if its kernel cannot do what we need of it (`cgroup.kill`
    /// is of Linux 5.14).
    pub fn make() -> io::Result<Cgroup> {
        Cgroup::make_below(&own_directory()?)?.proven()
    }

    /// The same below another one, of either version: nobody has been born into it.
    pub(crate) fn make_below(above: &Path) -> io::Result<Cgroup> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        prune(above);
        let mut last = io::Error::other("every name is taken");
        for _ in 0..NAMES_MAX {
            // No name twice: the guard of a run that is over may come late, and would end those of another run.
            let n = MADE.fetch_add(1, Relaxed);
            match Cgroup::make_at(above.join(format!("{PREFIX}{}-{n}", Pid::current()))) {
                Ok(made) => return Ok(made),
                Err(error) if matches!(error.kind(), io::ErrorKind::AlreadyExists) => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    fn make_at(path: PathBuf) -> io::Result<Cgroup> {
        fs::create_dir(&path)?;
        let is_ours = || {
            let dir = open_directory(&path)?;
            flock(&dir, FlockOperation::NonBlockingLockExclusive)?;
            // Another run may have pruned it between its making and its lock.
            fs::metadata(path.join("cgroup.procs")).map(|_| dir)
        };
        let taken = |_| io::Error::from(io::ErrorKind::AlreadyExists);
        let dir = is_ours().map_err(taken)?;
        Ok(Cgroup { path, dir, is_own: true })
    }

    /// Only what was tried is believed: somebody is born into it, and leaves.
    fn proven(self) -> io::Result<Cgroup> {
        fs::metadata(self.path.join("cgroup.kill"))?;
        crate::birth::try_birth_into(&self)?;
        Ok(self)
    }

    /// The one that a supervisor made: for births into it, and for its guard.
    ///
    /// # Errors
    /// If there is none.
    pub fn open(path: &Path) -> io::Result<Cgroup> {
        Ok(Cgroup { path: path.to_path_buf(), dir: open_directory(path)?, is_own: false })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Ends all that is in it, waits (for so long at most) until nobody is left, and removes it. Does nothing if
    /// somebody else has done so.
    pub fn end(&self, within: Duration) {
        // In this one and no other, should its name have been given anew.
        let kill = self.open_file("cgroup.kill", OFlags::WRONLY);
        if kill.and_then(|mut kill| kill.write_all(b"1")).is_ok() {
            self.await_empty(within);
        }
        remove(&self.path);
    }

    /// Removes it as soon as nobody is in it any more, if that is soon enough: v1 does not end anybody, nor tell.
    pub fn remove_within(&self, within: Duration) {
        let until_ns = monotonic_ns() + within.as_nanos() as u64;
        let look_again = Timespec::try_from(LOOK_EVERY).expect("a few milliseconds fit");
        remove(&self.path);
        while self.path.exists() && monotonic_ns() < until_ns {
            let _ = retry(|| poll(&mut [], Some(&look_again)));
            remove(&self.path);
        }
    }

    /// Whether a process is in it, or in one below it.
    #[must_use]
    pub fn holds(&self, pid: Pid) -> bool {
        let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let Some(theirs) = unified(&cgroups) else { return false };
        let name = self.path.file_name().and_then(|name| name.to_str()).unwrap_or(PREFIX);
        theirs.split('/').any(|part| part == name)
    }

    fn open_file(&self, name: &str, access: OFlags) -> io::Result<File> {
        Ok(rustix::fs::openat(&self.dir, name, access | OFlags::CLOEXEC, Mode::empty())?.into())
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    fn await_empty(&self, within: Duration) {
        let until_ns = monotonic_ns() + within.as_nanos() as u64;
        let Ok(events) = self.open_file("cgroup.events", OFlags::RDONLY) else { return };
        let look_again = Timespec::try_from(LOOK_EVERY).expect("a few milliseconds fit");
        while is_populated(&events) && monotonic_ns() < until_ns {
            // The kernel says PRI when the file reads otherwise than at the last look.
            let _ = retry(|| poll(&mut [PollFd::new(&events, PollFlags::PRI)], Some(&look_again)));
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if self.is_own {
            remove(&self.path);
        }
    }
}

fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

fn is_populated(events: &File) -> bool {
    use std::os::unix::fs::FileExt;
    let mut text = [0_u8; 256];
    let read = events.read_at(&mut text, 0).unwrap_or(0);
    text[..read].split(|byte| *byte == b'\n').any(|line| line == b"populated 1")
}

/// Removes a cgroup and what its members may have made below it. The kernel refuses while anybody is in it.
fn remove(path: &Path) {
    if fs::remove_dir(path).is_ok() {
        return;
    }
    for below in fs::read_dir(path).into_iter().flatten().flatten() {
        if below.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&below.path());
        }
    }
    let _ = fs::remove_dir(path);
}

/// Removes what has no supervisor any more and nobody in it.
fn prune(above: &Path) {
    for below in fs::read_dir(above).into_iter().flatten().flatten() {
        let is_ours = below.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        let unlocked = |dir: OwnedFd| flock(&dir, FlockOperation::NonBlockingLockExclusive).map(|()| dir);
        if is_ours && let Ok(_lock) = open_directory(&below.path()).and_then(|dir| Ok(unlocked(dir)?)) {
            remove(&below.path());
        }
    }
}

/// Where the cgroup v2 of this process is.
fn own_directory() -> io::Result<PathBuf> {
    let nowhere = || io::Error::new(io::ErrorKind::Unsupported, "no cgroup v2 is mounted here");
    let own = fs::read_to_string("/proc/self/cgroup")?;
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    directory(unified(&own).ok_or_else(nowhere)?, &mounts).ok_or_else(nowhere)
}

/// The path of a process in the one hierarchy of version 2, from its `/proc/PID/cgroup`.
fn unified(cgroups: &str) -> Option<&str> {
    cgroups.lines().find_map(|line| line.strip_prefix("0::"))
}

/// Where a cgroup is seen, by the mounts that there are: `own` may be outside of what is mounted.
fn directory(own: &str, mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|mount| {
        let (fields, kind) = mount.split_once(" - ")?;
        let mut fields = fields.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        // Names with spaces and the like are written in octal, and not worth the trouble here.
        let is_plain = kind.starts_with("cgroup2 ") && !mount.contains('\\');
        let below = Path::new(own).strip_prefix(root).ok().filter(|_| is_plain)?;
        (!own.contains("/..")).then(|| Path::new(point).join(below))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
41 31 0:31 /user /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw
";

    #[test]
    fn a_cgroup_is_found_where_it_is_mounted_and_not_where_it_is_hidden() {
        let found = |own| directory(own, MOUNTS).map(|path| path.display().to_string());
        assert_eq!(found("/user/1000/a").as_deref(), Some("/sys/fs/cgroup/unified/1000/a"));
        assert_eq!(found("/user").as_deref(), Some("/sys/fs/cgroup/unified/"));
        assert_eq!(found("/system"), None, "not below what is mounted");
        assert_eq!(found("/user/../../a"), None, "outside of our namespace");
        assert_eq!(directory("/", "32 31 0:29 / /sys rw - cgroup cgroup rw,cpu\n"), None, "only version 1");
    }

    #[test]
    fn only_the_line_without_controllers_is_of_version_2() {
        assert_eq!(unified("4:memory:/a\n0::/b/c\n"), Some("/b/c"));
        assert_eq!(unified("4:memory:/a\n"), None);
    }

    #[test]
    fn what_was_made_is_locked_against_pruning_and_goes_when_it_is_dropped() {
        let made = match Cgroup::make() {
            Ok(made) => made,
            Err(error) => return eprintln!("not tried, since there is no cgroup to be had here: {error}"),
        };
        prune(made.path().parent().unwrap());
        assert!(made.path().exists(), "a live one was pruned");
        assert!(!made.holds(Pid::current()), "its maker is outside");
        let path = made.path().to_path_buf();
        drop(made);
        assert!(!path.exists());
    }

    #[test]
    fn whoever_ends_a_cgroup_that_is_gone_ends_nobody_in_another() {
        let Ok(made) = Cgroup::make() else {
            return eprintln!("not tried: there is no cgroup to be had here");
        };
        let late = Cgroup::open(made.path()).unwrap();
        drop(made);
        let next = Cgroup::make().unwrap();
        assert_ne!(next.path(), late.path());
        let mut sleeper = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        // Another test may prune it before somebody is in it.
        let enter = || {
            fs::create_dir_all(late.path())?;
            fs::write(late.path().join("cgroup.procs"), sleeper.id().to_string())
        };
        let until_ns = monotonic_ns() + 5_000_000_000;
        while let Err(error) = enter() {
            assert!(monotonic_ns() < until_ns, "{error}");
        }
        late.end(Duration::ZERO);
        assert!(late.path().exists() && sleeper.try_wait().unwrap().is_none(), "it was killed for its name");
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        late.remove_within(Duration::from_secs(5));
    }

    #[test]
    fn what_a_killed_supervisor_left_empty_is_pruned() {
        let Ok(made) = Cgroup::make() else {
            return eprintln!("not tried: there is no cgroup to be had here");
        };
        let left = made.path().with_file_name(format!("{PREFIX}left-{}", Pid::current()));
        // Another test may prune it between the two.
        while let Err(error) = fs::create_dir_all(left.join("below")) {
            assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}");
        }
        // Who prunes meanwhile has it locked for a moment, as a supervisor that lives.
        let until_ns = monotonic_ns() + 5_000_000_000;
        while left.exists() {
            assert!(monotonic_ns() < until_ns, "it is left");
            prune(made.path().parent().unwrap());
        }
    }
}
