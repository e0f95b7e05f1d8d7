//! The kit of all tests here that need one: pools that do not give up, marks that outlive workers, signals, and facts to wait for.
#![allow(dead_code, reason = "each program takes what it needs")]

use brigade::{Pool, StartMethod};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than anything here takes on a slow machine under load; reached only when something hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const METHODS: [StartMethod; 2] = [StartMethod::Fork, StartMethod::Spawn];

/// Whose calls are never given up, however often somebody kills their workers.
pub(crate) fn tireless(procs: u32, method: StartMethod) -> Pool {
    crate::in_tests();
    Pool::builder().procs(procs).attempts(100_000).start_method(method).build().expect("a pool")
}

/// Waits for a fact.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut fact: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = fact() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// A directory of marks: what workers leave behind for others, and for their next attempt. Gone with the test.
pub(crate) struct Marks(PathBuf);

impl Marks {
    pub(crate) fn new() -> Marks {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("brigade-marks-{}-{}", process::id(), NEXT.fetch_add(1, Relaxed));
        let dir = std::env::temp_dir().join(name);
        fs::create_dir(&dir).expect("a fresh directory");
        Marks(dir)
    }

    /// Where a mark of that name is put, to be said to a worker.
    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    pub(crate) fn put(&self, name: &str) {
        File::create_new(self.0.join(name)).expect("a fresh mark");
    }

    pub(crate) fn take(&self, name: &str) {
        fs::remove_file(self.0.join(name)).expect("it was put");
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.join(name).exists()
    }

    /// A directory of marks among them.
    pub(crate) fn dir(&self, name: &str) {
        fs::create_dir(self.0.join(name)).expect("a fresh directory");
    }

    /// Their names.
    pub(crate) fn all(&self) -> Vec<String> {
        let marks = fs::read_dir(&self.0).expect("our directory").flatten();
        marks.map(|mark| mark.file_name().to_string_lossy().into_owned()).collect()
    }
}

impl Drop for Marks {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Whether nobody has been here before.
pub(crate) fn is_first(mark: &str) -> bool {
    File::create_new(mark).is_ok()
}

/// Sends a signal as people do.
pub(crate) fn kill(signal: &str, pid: u32) {
    let mut command = Command::new("kill");
    command.args([&format!("-{signal}"), &pid.to_string()]);
    let _ = command.stderr(Stdio::null()).status();
}

/// The letter of a process's state; `None` if there is no such process.
pub(crate) fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

pub(crate) fn is_alive(pid: u32) -> bool {
    state(pid).is_some_and(|state| state != 'Z' && state != 'X')
}

/// Ends when the mark is there, or its test is over.
pub(crate) fn wait_for(mark: String) -> u32 {
    let dir = Path::new(&mark).parent().expect("a mark is in a directory");
    while !fs::exists(&mark).expect("it can be looked for") && dir.exists() {
        thread::sleep(Duration::from_millis(1));
    }
    process::id()
}
