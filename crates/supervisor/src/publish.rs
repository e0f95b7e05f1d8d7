//! Publishing the state: one rename, so that a reader never sees half of it. A rename costs 120 us: who lives is
//! published at once, counters ten times a second at most.

use crate::run::Host;
use crate::rundir::RunDir;
use crate::status::Status;
use brigade_os::clock;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Duration;

/// In a program that has other things to do, those who are born together cost one rename.
const LIVES_AFTER_IN_PROGRAM: Duration = Duration::from_millis(10);
const COUNTERS_EVERY: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Publisher {
    path: PathBuf,
    fresh: PathBuf,
    lives_after: Duration,
    published_ns: u64,
    /// Since when somebody lives or lives no more of whom nobody can read.
    lives_changed_ns: Option<u64>,
    counters_changed: bool,
    is_broken: bool,
}

impl Publisher {
    pub(crate) fn new(dir: &RunDir, host: Host) -> Publisher {
        let path = dir.status_file();
        let fresh = path.with_extension("json.new");
        let lives_after = match host {
            Host::Supervisor => Duration::ZERO,
            Host::Program => LIVES_AFTER_IN_PROGRAM,
        };
        Publisher {
            path,
            fresh,
            lives_after,
            published_ns: 0,
            lives_changed_ns: Some(0),
            counters_changed: true,
            is_broken: false,
        }
    }

    /// Somebody was born, became ready, stopped, died …
    pub(crate) fn lives_changed(&mut self) {
        self.lives_changed_ns.get_or_insert_with(clock::monotonic_ns);
    }

    /// Tasks moved.
    pub(crate) fn counters_changed(&mut self) {
        self.counters_changed = true;
    }

    /// When there is something to publish, if there is.
    pub(crate) fn due_ns(&self) -> Option<u64> {
        let lives_ns = self.lives_changed_ns.map(|since| since + self.lives_after.as_nanos() as u64);
        let counters_ns = self.counters_changed.then(|| self.published_ns + COUNTERS_EVERY.as_nanos() as u64);
        lives_ns.into_iter().chain(counters_ns).min()
    }

    /// Whether there is something to publish now.
    pub(crate) fn is_due(&self, now_ns: u64) -> bool {
        self.due_ns().is_some_and(|due| due <= now_ns)
    }

    /// Publishes.
    ///
    /// # Errors
    /// What the system says, the first time in a row: a full disk costs the file, not the run.
    pub(crate) fn publish(&mut self, status: &Status) -> io::Result<()> {
        self.published_ns = clock::monotonic_ns();
        self.lives_changed_ns = None;
        self.counters_changed = false;
        let written = self.write(status);
        let was_broken = std::mem::replace(&mut self.is_broken, written.is_err());
        written.or_else(|error| if was_broken { Ok(()) } else { Err(error) })
    }

    fn write(&self, status: &Status) -> io::Result<()> {
        let fresh = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&self.fresh);
        let mut file = fresh?;
        file.write_all(&serde_json::to_vec(status)?)?;
        fs::rename(&self.fresh, &self.path)
    }
}
