//! What `/proc` says of a process.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

/// A few fields of `/proc/PID/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Its parent.
    pub ppid: u32,
    /// `R`, `S`, `D`, `T`, `Z` …
    pub state: char,
    /// When it was started, in clock ticks since boot: with the pid it names a process for ever.
    pub start_ticks: u64,
}

/// Reads `/proc/PID/stat`.
///
/// # Errors
/// If there is no such process.
pub fn stat(pid: u32) -> io::Result<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse(&text)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat: {text}")))
}

/// The name of a process as `ps` shows it, 15 bytes at most; empty if there is none.
#[must_use]
pub fn name(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm"))
        .map_or_else(|_| String::new(), |name| name.trim_end().to_owned())
}

/// One process for ever: its number may become another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// Its number.
    pub pid: u32,
    /// When it was started, as [`Stat::start_ticks`] has it; 0 if that is not known.
    pub start_ticks: u64,
}

impl Life {
    /// That of this process; when it was started is not known for as long as there is no descriptor left to read it.
    #[must_use]
    pub fn own() -> Life {
        // Asked once, and again by a child that got this as a copy.
        static PID: AtomicU32 = AtomicU32::new(0);
        static START: AtomicU64 = AtomicU64::new(0);
        let pid = crate::Pid::current().number();
        if PID.load(Acquire) != pid {
            let Ok(stat) = stat(pid) else { return Life { pid, start_ticks: 0 } };
            START.store(stat.start_ticks, Relaxed);
            PID.store(pid, Release);
        }
        Life { pid, start_ticks: START.load(Relaxed) }
    }

    /// Whether the two are one, as far as is known.
    #[must_use]
    pub fn is(self, other: Life) -> bool {
        let is_known = self.start_ticks != 0 && other.start_ticks != 0;
        self.pid == other.pid && (!is_known || self.start_ticks == other.start_ticks)
    }

    /// Whether it is over, as far as can be told. A process that is dead and not yet reaped has ended.
    #[must_use]
    pub fn has_ended(self) -> bool {
        match stat(self.pid) {
            Ok(stat) if !self.is(Life { start_ticks: stat.start_ticks, ..self }) => true,
            // Of a process with many threads the first may have ended alone: its pidfd knows.
            Ok(stat) if matches!(stat.state, 'Z' | 'X') => {
                let pid = i32::try_from(self.pid).ok().and_then(crate::Pid::new);
                pid.is_none_or(|pid| match crate::Body::of(pid) {
                    Ok(body) => body.has_ended(),
                    // Without a descriptor nobody can tell.
                    Err(error) => is_no_such_process(&error),
                })
            }
            Ok(_) => false,
            Err(error) => error.kind() == io::ErrorKind::NotFound || is_no_such_process(&error),
        }
    }
}

/// What a read of a file in `/proc` says, if the process ended after the file was opened.
fn is_no_such_process(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ESRCH)
}

/// The process of a thread, and the thread's name; none if there is no such thread.
#[must_use]
pub fn process_of_thread(tid: u32) -> Option<(u32, String)> {
    let status = fs::read_to_string(format!("/proc/{tid}/status")).ok()?;
    let field = |name| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    Some((field("Tgid:")?.parse().ok()?, field("Name:")?.to_owned()))
}

/// Memory of a process that is in RAM, in bytes.
///
/// # Errors
/// If there is no such process.
pub fn rss_bytes(pid: u32) -> io::Result<u64> {
    Ok(resident_bytes(&fs::read_to_string(format!("/proc/{pid}/statm"))?))
}

/// This process's own memory, to be looked at often: the file stays open, a look is one system call.
#[derive(Debug)]
pub struct OwnMemory {
    statm: File,
}

impl OwnMemory {
    /// Of whoever calls it, not of its children.
    ///
    /// # Errors
    /// If there is no `/proc`.
    pub fn open() -> io::Result<OwnMemory> {
        Ok(OwnMemory { statm: File::open("/proc/self/statm")? })
    }

    /// What is in RAM, in bytes.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn rss_bytes(&self) -> io::Result<u64> {
        let mut text = [0_u8; 128];
        let read = self.statm.read_at(&mut text, 0)?;
        Ok(resident_bytes(&String::from_utf8_lossy(&text[..read])))
    }
}

/// The second number of a `statm`.
fn resident_bytes(statm: &str) -> u64 {
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

/// The name in the second field may hold spaces and parentheses: count from the last one.
fn parse(text: &str) -> Option<Stat> {
    let mut fields = text[text.rfind(')')? + 1..].split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let ppid = fields.next()?.parse().ok()?;
    let start_ticks = fields.nth(17)?.parse().ok()?;
    Some(Stat { ppid, state, start_ticks })
}

/// Memory that the machine can still give without swapping, and the cgroups of this process let it have, in bytes; none
/// where neither tells.
#[must_use]
pub fn available_bytes() -> Option<u64> {
    let of_machine = fs::read_to_string("/proc/meminfo").ok().and_then(|meminfo| available(&meminfo));
    of_machine.into_iter().chain(crate::memcg::left_bytes()).min()
}

fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1_024)
}

/// Threads of this process; 1 where `/proc` does not tell.
#[must_use]
pub fn own_threads() -> usize {
    fs::read_dir("/proc/self/task").map_or(1, Iterator::count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_full_of_parentheses_confuses_nobody() {
        let text = "7 (a) b) (c) S 5 7 7 0 -1 1 2 3 4 5 6 7 8 9 20 0 1 0 4711 9 9";
        assert_eq!(parse(text), Some(Stat { ppid: 5, state: 'S', start_ticks: 4711 }));
    }

    #[test]
    fn this_process_is_the_child_of_its_parent() {
        let own = stat(std::process::id()).unwrap();
        assert_eq!(Some(own.ppid), crate::Pid::parent().map(crate::Pid::number));
        assert!(rss_bytes(std::process::id()).unwrap() > 0);
    }

    #[test]
    fn a_process_has_ended_when_it_is_dead_reaped_or_not() {
        let own = Life::own();
        assert!(!own.has_ended());
        assert!(Life { start_ticks: own.start_ticks + 1, ..own }.has_ended(), "its number is another's");
        assert!(!Life { start_ticks: 0, ..own }.has_ended(), "nobody knows when it was started");
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let life = Life { pid: child.id(), start_ticks: stat(child.id()).unwrap().start_ticks };
        assert!(!life.has_ended());
        child.kill().unwrap();
        while stat(child.id()).unwrap().state != 'Z' {
            std::thread::yield_now();
        }
        assert!(life.has_ended());
        child.wait().unwrap();
        assert!(life.has_ended());
    }

    #[test]
    fn a_thread_has_a_process_and_a_name() {
        let tid = rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs();
        assert_eq!(process_of_thread(tid).unwrap().0, std::process::id());
    }

    #[test]
    fn available_memory_is_a_line_of_many() {
        assert_eq!(available("MemTotal: 9 kB\nMemAvailable:    7 kB\nSwap: 1 kB\n"), Some(7_168));
        assert!(available_bytes().unwrap() > 0);
    }

    #[test]
    fn own_memory_grows_with_what_is_touched() {
        const BYTES: usize = 32 << 20;
        let memory = OwnMemory::open().unwrap();
        let before = memory.rss_bytes().unwrap();
        let touched = std::hint::black_box(vec![1_u8; BYTES]);
        assert!(memory.rss_bytes().unwrap() >= before + BYTES as u64 / 2);
        drop(touched);
    }
}
