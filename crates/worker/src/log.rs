//! Lines in this process's own log, which lies under its stdout and stderr.
//!
//! A line is one `write` to a file opened for appending, so lines never mix with the supervisor's epitaph. A
//! line that cannot be written (disk full) is dropped: the work matters more.

use brigade_os::{Pid, clock};
use brigade_wire::{Ending, PROTOCOL, WorkerId};
use std::fmt::Arguments;
use std::io::{self, Write};

/// Writes a line with the time of day before it.
pub(crate) fn line(what: Arguments<'_>) {
    let line = format!("{} {what}\n", clock::time_of_day());
    let _ = io::stderr().write_all(line.as_bytes());
}

/// The first line of every log: who this is.
pub(crate) fn header(mut log: impl Write, who: &str, parent: Pid, daemon: bool) {
    let (time, pid, build) = (clock::time_of_day(), Pid::current(), env!("CARGO_PKG_VERSION"));
    let daemon = if daemon { "yes" } else { "no" };
    let line = format!(
        "{time} {who} pid {pid} ppid {parent} daemon {daemon} build {build} protocol {PROTOCOL:016x}\n"
    );
    let _ = log.write_all(line.as_bytes());
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
