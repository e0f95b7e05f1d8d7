//! Lines in this process's own log, which lies under its stdout and stderr.
//!
//! A line is one `write` to a file opened for appending, so lines never mix with the supervisor's epitaph. A
//! line that cannot be written (disk full) is dropped and counted on the worker's page: the work matters more.

use crate::progress;
use brigade_os::{Pid, clock, logfile, signals};
use brigade_wire::{Ending, PROTOCOL, WorkerId};
use std::fmt::Arguments;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::OnceLock;

/// This process's log, once it serves.
static OWN: OnceLock<Own> = OnceLock::new();

/// What is needed to begin it anew.
#[derive(Debug)]
struct Own {
    path: PathBuf,
    who: String,
    parent: Pid,
    daemon: bool,
}

/// Remembers where the log is, before anybody renames it. A worker without a log of its own has nothing to open anew.
pub(crate) fn keep(worker: WorkerId, daemon: bool) {
    if let (Some(path), Some(parent)) = (logfile::own_path(), Pid::parent()) {
        let _ = OWN.set(Own { path, who: name(worker), parent, daemon });
    }
}

/// Somebody renamed the log: what follows goes into a fresh one. If none can be had, the old one takes it.
fn reopen_if_asked() {
    if let Some(Own { path, who, parent, daemon }) = OWN.get()
        && signals::asked_to_reopen()
        && logfile::reopen(path).is_ok_and(|is_fresh| is_fresh)
    {
        header(io::stderr(), who, *parent, *daemon).unwrap_or_else(|error| count_lost(&error));
    }
}

/// Writes a line with the time of day before it.
pub(crate) fn line(what: Arguments<'_>) {
    reopen_if_asked();
    let line = format!("{} {what}\n", clock::time_of_day());
    io::stderr().write_all(line.as_bytes()).unwrap_or_else(|error| count_lost(&error));
}

/// Of a worker that serves; nobody counts for others.
fn count_lost(error: &io::Error) {
    progress::page().into_iter().for_each(|page| page.lose_line(error));
}

/// The first line of every log: who this is.
pub(crate) fn header(mut log: impl Write, who: &str, parent: Pid, daemon: bool) -> io::Result<()> {
    let (time, pid, build) = (clock::time_of_day(), Pid::current(), env!("CARGO_PKG_VERSION"));
    let daemon = if daemon { "yes" } else { "no" };
    let line = format!(
        "{time} {who} pid {pid} ppid {parent} daemon {daemon} build {build} protocol {PROTOCOL:016x}\n"
    );
    log.write_all(line.as_bytes())
}

/// How a worker is named in its header.
pub(crate) fn name(worker: WorkerId) -> String {
    format!("worker slot {} incarnation {}", worker.slot, worker.incarnation)
}

/// One word for how an attempt ended.
pub(crate) fn word(ending: &Ending) -> String {
    match ending {
        Ending::Value(_) => "value".into(),
        Ending::Failed(message) => format!("failed: {message}"),
        Ending::Panicked { message, location } => format!("panicked at {location}: {message}"),
    }
}
