//! Memory that the kernel holds a worker to: a memory cgroup for each slot, whose counter tells who was killed for it.
//!
//! ```text
//! v1   the supervisor's memory cgroup ── brigade-PID-n ── slot-k    a newborn enters it, before its first task
//! v2   the supervisor's cgroup        ── brigade-PID-n ── slot-k    a newborn is born into it
//! ```
//!
//! A newborn enters by a write of `0` to `tasks`: one thread that moves itself waits for nobody (0.03 ms, measured), while
//! a move by `cgroup.procs` waits for a grace period of the kernel (9 ms, 17 at worst). v2 has no such file for memory.

use crate::Pid;
use crate::cgroup::Cgroup;
use crate::oom::{OomKills, below_mount, memory_group, memory_v1};
use brigade_wire::SlotId;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Memory cgroups of a run, one a slot.
#[derive(Debug)]
pub struct MemoryGroups {
    home: Arc<Cgroup>,
    version: Version,
    bytes_max: u64,
}

/// Which kind of cgroups has the memory controller here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

/// The limit, how it is kept from swap, and the counter.
struct Files {
    limit: &'static str,
    swap: (&'static str, u64),
    counter: &'static str,
}

impl Version {
    fn files(self, bytes_max: u64) -> Files {
        match self {
            // Memory and swap together.
            Version::V1 => Files {
                limit: "memory.limit_in_bytes",
                swap: ("memory.memsw.limit_in_bytes", bytes_max),
                counter: "memory.oom_control",
            },
            // Swap alone.
            Version::V2 => {
                Files { limit: "memory.max", swap: ("memory.swap.max", 0), counter: "memory.events" }
            }
        }
    }
}

impl MemoryGroups {
    /// A place for them: of its own with v1, in the run's own cgroup with v2. A slot may have so many bytes.
    ///
    /// # Errors
    /// If there is no memory controller here that we may use.
    pub fn make(bytes_max: u64, run: Option<&Arc<Cgroup>>) -> io::Result<MemoryGroups> {
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let nowhere = || io::Error::new(io::ErrorKind::Unsupported, "no memory cgroup may be made here");
        let (home, version) = match memory_v1(&own) {
            Some(path) => {
                let (above, _) = below_mount(path, &mounts, "cgroup", "memory").ok_or_else(nowhere)?;
                (Arc::new(Cgroup::make_below(&above)?), Version::V1)
            }
            None => {
                let home = run.ok_or_else(nowhere)?;
                pass_on(home.path())?;
                (Arc::clone(home), Version::V2)
            }
        };
        let groups = MemoryGroups { home, version, bytes_max };
        groups.lay_out(SlotId(0)).map(|()| groups)
    }

    /// Makes the one of a slot, unless it is there; also if somebody has removed it meanwhile.
    ///
    /// # Errors
    /// What the kernel says: ENOENT if somebody has removed all of them, ENOSPC or ENOMEM if there are too many, EBUSY.
    pub fn lay_out(&self, slot: SlotId) -> io::Result<()> {
        let (group, files) = (of_slot(self.home.path(), slot), self.version.files(self.bytes_max));
        match fs::create_dir(&group) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
        fs::write(group.join(files.limit), self.bytes_max.to_string())?;
        let (swap, bytes) = files.swap;
        unless_missing(fs::write(group.join(swap), bytes.to_string()))?;
        match self.version {
            Version::V1 => Ok(()),
            // A worker and what it has started go together: half of a task is no task.
            Version::V2 => fs::write(group.join("memory.oom.group"), "1"),
        }
    }

    /// The kills in a slot's from now on.
    #[must_use]
    pub fn kills_from_now(&self, slot: SlotId) -> Option<OomKills> {
        OomKills::counted_in(of_slot(self.home.path(), slot).join(self.version.files(self.bytes_max).counter))
    }

    /// Whether a living process is in a slot's.
    #[must_use]
    pub fn holds(&self, slot: SlotId, pid: Pid) -> bool {
        let members = fs::read_to_string(of_slot(self.home.path(), slot).join("cgroup.procs"));
        members.is_ok_and(|members| members.lines().any(|member| member.parse() == Ok(pid.number())))
    }

    /// Where they are, for whoever is to be born.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.home.path()
    }

    /// Removes them as soon as nobody is in them, if that is soon enough.
    pub fn remove_within(&self, within: Duration) {
        self.home.remove_within(within);
    }
}

/// The memory cgroup of a slot, below that of its run.
#[must_use]
pub fn of_slot(run: &Path, slot: SlotId) -> PathBuf {
    run.join(format!("slot-{slot}"))
}

/// Memory that the cgroup of this process and those above it let it have without swapping, in bytes; none without limits.
pub(crate) fn left_bytes() -> Option<u64> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let (group, _) = memory_group(&own, &mounts)?;
    let version = if memory_v1(&own).is_some() { Version::V1 } else { Version::V2 };
    group.ancestors().filter_map(|group| left_in(group, version)).min()
}

/// The limit, less what is used and is no cache of files, which the kernel drops before it kills anybody.
fn left_in(group: &Path, version: Version) -> Option<u64> {
    let (limit, usage, caches) = match version {
        Version::V1 => {
            ("memory.limit_in_bytes", "memory.usage_in_bytes", ["total_inactive_file ", "total_active_file "])
        }
        Version::V2 => ("memory.max", "memory.current", ["inactive_file ", "active_file "]),
    };
    let read = |name| fs::read_to_string(group.join(name)).ok();
    // `max` is no number, and no limit.
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let (limit, used) = (number(&read(limit)?)?, number(&read(usage)?)?);
    let stat = read("memory.stat").unwrap_or_default();
    let cache = |line: &str| caches.iter().find_map(|cache| number(line.strip_prefix(cache)?));
    let cached: u64 = stat.lines().filter_map(cache).sum();
    Some(limit.saturating_sub(used.saturating_sub(cached)))
}

/// Moves this process, which has one thread, into a memory cgroup of v1.
///
/// # Errors
/// ENOENT if it is not there any more, EACCES …
pub fn enter(group: &Path) -> io::Result<()> {
    fs::write(group.join("tasks"), "0")
}

/// Lets a cgroup of v2 and the one below it, `run`, have memory limits in those below. The kernel refuses the first
/// (EBUSY) if somebody is in it and it is not the root, unless it was done before.
fn pass_on(run: &Path) -> io::Result<()> {
    let above = run.parent().ok_or(io::ErrorKind::NotFound)?;
    for group in [above, run] {
        let passed_on = fs::read_to_string(group.join("cgroup.subtree_control"))?;
        if !names_memory(&passed_on) {
            fs::write(group.join("cgroup.subtree_control"), "+memory")?;
        }
    }
    Ok(())
}

fn names_memory(controllers: &str) -> bool {
    controllers.split_whitespace().any(|name| name == "memory")
}

fn unless_missing(done: io::Result<()>) -> io::Result<()> {
    match done {
        // No account is kept of swap here.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {
            Ok(())
        }
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: u64 = 64 << 20;

    /// The version that is here, said aloud if it is none.
    fn made() -> Option<MemoryGroups> {
        let run = Cgroup::make().ok().map(Arc::new);
        let none =
            |error: &io::Error| eprintln!("not tried: there is no memory cgroup to be had here: {error}");
        MemoryGroups::make(BYTES, run.as_ref()).inspect_err(none).ok()
    }

    #[test]
    fn a_slot_has_its_limit_and_its_counter_and_whoever_is_elsewhere_is_not_held() {
        let Some(groups) = made() else { return };
        groups.lay_out(SlotId(3)).unwrap();
        groups.lay_out(SlotId(3)).unwrap();
        let (group, files) = (of_slot(groups.path(), SlotId(3)), groups.version.files(BYTES));
        assert_eq!(fs::read_to_string(group.join(files.limit)).unwrap().trim(), BYTES.to_string());
        assert!(OomKills::counted_in(group.join(files.counter)).is_some(), "it counts");
        assert!(groups.kills_from_now(SlotId(3)).is_some());
        assert!(!groups.holds(SlotId(3), Pid::current()), "we are elsewhere");
        let path = groups.path().to_path_buf();
        drop(groups);
        assert!(!path.exists());
    }

    #[test]
    fn what_somebody_removed_is_made_again_unless_all_is_gone() {
        let Some(groups) = made() else { return };
        fs::remove_dir(of_slot(groups.path(), SlotId(0))).unwrap();
        groups.lay_out(SlotId(0)).unwrap();
        groups.remove_within(Duration::ZERO);
        assert_eq!(groups.lay_out(SlotId(0)).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn memory_is_passed_on_unless_it_was() {
        let above = std::env::temp_dir().join(format!("brigade-memcg-{}", std::process::id()));
        let run = above.join("run");
        fs::create_dir_all(&run).unwrap();
        let control = |group: &Path| group.join("cgroup.subtree_control");
        fs::write(control(&above), "cpu memory pids\n").unwrap();
        fs::write(control(&run), "\n").unwrap();
        pass_on(&run).unwrap();
        assert_eq!(fs::read_to_string(control(&above)).unwrap(), "cpu memory pids\n", "it had been done");
        assert_eq!(fs::read_to_string(control(&run)).unwrap(), "+memory");
        fs::remove_dir_all(above).unwrap();
    }

    #[test]
    fn what_is_left_is_what_is_neither_used_nor_cache() {
        let group = std::env::temp_dir().join(format!("brigade-left-{}", std::process::id()));
        fs::create_dir_all(&group).unwrap();
        let write = |name: &str, text: &str| fs::write(group.join(name), text).unwrap();
        let stat = "inactive_file 1\nactive_file 2\ntotal_inactive_file 30\ntotal_active_file 40\nshmem 9\n";
        write("memory.stat", stat);
        write("memory.limit_in_bytes", "1000\n");
        write("memory.usage_in_bytes", "900\n");
        assert_eq!((left_in(&group, Version::V1), left_in(&group, Version::V2)), (Some(170), None));
        write("memory.current", "900\n");
        write("memory.max", "max\n");
        assert_eq!(left_in(&group, Version::V2), None);
        write("memory.max", "800\n");
        assert_eq!(left_in(&group, Version::V2), Some(0));
        fs::remove_dir_all(group).unwrap();
    }

    #[test]
    fn too_little_memory_in_a_cgroup_is_an_error_and_nobody_is_killed() {
        const TEST: &str = "memcg::tests::too_little_memory_in_a_cgroup_is_an_error_and_nobody_is_killed";
        if std::env::var_os("LITTLE_MEMORY").is_some() {
            let fd = rustix::fs::memfd_create("much", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
            let error = crate::map::reserve(&fd, 3 * BYTES).unwrap_err();
            return assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
        }
        let Some(groups) = made() else { return };
        let mut again = std::process::Command::new("sh");
        again.args(["-c", "echo 0 > \"$0\" && exec \"$1\" --exact \"$2\""]);
        again.arg(of_slot(groups.path(), SlotId(0)).join("cgroup.procs"));
        again.arg(std::env::current_exe().unwrap()).arg(TEST);
        let told = again.env("LITTLE_MEMORY", "1").output().unwrap();
        assert!(told.status.success(), "{told:?}");
    }

    #[test]
    fn memory_is_a_word_among_controllers() {
        assert!(names_memory("cpu memory pids\n"));
        assert!(!names_memory("memory_recursiveprot\n"));
        assert_eq!(memory_v1("5:devices:/x\n4:cpu,memory:/a:b/c\n0::/"), Some("/a:b/c"));
        assert_eq!(memory_v1("5:devices:/memory\n0::/"), None);
    }
}
