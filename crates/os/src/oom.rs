//! Whether the kernel's OOM killer was here: the counter of a memory cgroup. That of a slot's own ([`crate::memcg`]) names
//! the dead; without one there is that of the cgroup that this process is in.
//!
//! With v2 the counter holds the cgroups below as well (`memory.events`), and workers are born into one of those; with v1
//! it is the cgroup's own (`memory.oom_control`), and workers are in the same. That of the root is everybody's, and
//! proves nothing.

use std::fs;
use std::path::{Path, PathBuf};

/// How many processes of the cgroup the kernel has killed for want of memory.
///
/// Others may be in the cgroup, too, so what was counted long ago explains no death of today: it is forgotten. But a
/// process that was killed with much memory is not dead at once, so it is forgotten only after a second.
#[derive(Debug)]
pub struct OomKills {
    file: PathBuf,
    /// Not to be taken any more.
    spent: u64,
    /// What had been counted then.
    counted: (u64, u64),
}

/// Longer than the kernel takes to give back what the dead had.
const KEPT_NS: u64 = 1_000_000_000;

impl OomKills {
    /// `None` where the kernel does not count, or only for the whole machine.
    #[must_use]
    pub fn of_own_cgroup() -> Option<OomKills> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        OomKills::counted_in(counter(&own, &mounts)?)
    }

    /// From now on, what this file counts; `None` if it does not.
    pub(crate) fn counted_in(file: PathBuf) -> Option<OomKills> {
        let count = read(&file)?;
        Some(OomKills { file, spent: count, counted: (count, 0) })
    }

    /// Time passes: what had been counted a second ago is too old.
    pub fn forget(&mut self, now_ns: u64) {
        let (count, at_ns) = self.counted;
        if now_ns.saturating_sub(at_ns) >= KEPT_NS {
            self.spent = self.spent.max(count);
            self.counted = (read(&self.file).unwrap_or(count), now_ns);
        }
    }

    /// Whether the kernel has killed one more than was taken or forgotten; takes one.
    pub fn take_one(&mut self) -> bool {
        let has_grown = read(&self.file).is_some_and(|count| count > self.spent);
        self.spent += u64::from(has_grown);
        has_grown
    }
}

/// The file that counts, by `/proc/self/cgroup` and `/proc/self/mountinfo`.
fn counter(own: &str, mounts: &str) -> Option<PathBuf> {
    let name = if memory_v1(own).is_some() { "memory.oom_control" } else { "memory.events" };
    let (group, is_root) = memory_group(own, mounts)?;
    (!is_root).then(|| group.join(name))
}

/// Where the cgroup is that has the memory of this process, by the same two, and whether it is the root.
pub(crate) fn memory_group(own: &str, mounts: &str) -> Option<(PathBuf, bool)> {
    match memory_v1(own) {
        Some(path) => below_mount(path, mounts, "cgroup", "memory"),
        None => below_mount(own.lines().find_map(|line| line.strip_prefix("0::"))?, mounts, "cgroup2", ""),
    }
}

/// The path of a process in the hierarchy (v1) that has the memory controller, if there is one.
pub(crate) fn memory_v1(cgroups: &str) -> Option<&str> {
    cgroups.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        controllers.split(',').any(|name| name == "memory").then_some(path)
    })
}

/// Where a cgroup is in the file system, and whether it is the root of its hierarchy.
pub(crate) fn below_mount(path: &str, mounts: &str, kind: &str, option: &str) -> Option<(PathBuf, bool)> {
    mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (root, point) = (left.next()?, left.next()?);
        let mut right = right.split(' ');
        let is_it = right.next()? == kind
            && (option.is_empty() || right.nth(1)?.split(',').any(|name| name == option));
        let rest = path.strip_prefix(if root == "/" { "" } else { root })?;
        let (is_below, rest) = (rest.is_empty() || rest.starts_with('/'), rest.trim_start_matches('/'));
        let is_root = root == "/" && rest.is_empty();
        (is_it && is_below).then(|| (PathBuf::from(point).join(rest), is_root))
    })
}

/// The line `oom_kill N`.
fn read(file: &Path) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
        35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw";
    const V2: &str = "30 23 0:26 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate";

    #[test]
    fn the_counter_is_that_of_the_own_cgroup_in_either_version() {
        let path = |text: &str| Some(PathBuf::from(text));
        let own = "5:devices:/x\n4:memory:/a/b\n0::/";
        assert_eq!(counter(own, V1), path("/sys/fs/cgroup/memory/a/b/memory.oom_control"));
        assert_eq!(counter("0::/user.slice/s", V2), path("/sys/fs/cgroup/user.slice/s/memory.events"));
        let bound = "30 23 0:26 /docker/1 /sys/fs/cgroup ro - cgroup cgroup rw,memory";
        assert_eq!(counter("4:memory:/docker/1\n0::/", bound), path("/sys/fs/cgroup/memory.oom_control"));
        assert_eq!(counter("4:memory:/docker/12\n0::/", bound), None, "another's");
    }

    #[test]
    fn a_kill_is_taken_once_and_forgotten_after_a_second() {
        let file = std::env::temp_dir().join(format!("brigade-oom-{}", std::process::id()));
        let count = |kills: u64| fs::write(&file, format!("under_oom 0\noom_kill {kills}\n")).unwrap();
        count(5);
        let mut kills = OomKills { file: file.clone(), spent: 5, counted: (5, 0) };
        assert!(!kills.take_one());
        count(7);
        assert_eq!((kills.take_one(), kills.take_one(), kills.take_one()), (true, true, false));
        count(8);
        kills.forget(KEPT_NS);
        kills.forget(2 * KEPT_NS - 1);
        assert!(kills.take_one(), "not yet too old");
        count(9);
        kills.forget(2 * KEPT_NS);
        kills.forget(3 * KEPT_NS);
        assert!(!kills.take_one(), "too old");
        fs::remove_file(file).unwrap();
    }

    #[test]
    fn the_counter_of_the_whole_machine_proves_nothing() {
        assert_eq!(counter("4:memory:/\n0::/", V1), None);
        assert_eq!(counter("0::/", V2), None);
        assert_eq!((counter("", V2), counter("0::/a", "")), (None, None));
    }
}
