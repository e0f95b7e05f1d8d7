//! What a worker may have in RAM. It looks between two tasks, when nobody is to blame, and makes room for another.

use crate::log;
use brigade_os::proc::OwnMemory;
use std::io;

/// A limit, and how much is taken of it.
#[derive(Debug)]
pub(crate) struct Allowance {
    memory: OwnMemory,
    bytes_max: u64,
}

impl Allowance {
    /// With no limit there is nothing to look at; where `/proc` does not tell, the supervisor looks alone.
    pub(crate) fn of(bytes_max: Option<u64>) -> Option<Allowance> {
        let bytes_max = bytes_max?;
        let unseen = |error: &io::Error| log::line(format_args!("cannot see own memory: {error}"));
        let memory = OwnMemory::open().inspect_err(unseen).ok()?;
        Some(Allowance { memory, bytes_max })
    }

    /// Whoever has more than it may when it is born, can never live.
    pub(crate) fn admit(bytes_max: Option<u64>) -> io::Result<()> {
        let Some(Allowance { memory, bytes_max }) = Allowance::of(bytes_max) else { return Ok(()) };
        let bytes = memory.rss_bytes()?;
        if bytes <= bytes_max {
            return Ok(());
        }
        let least = bytes.div_ceil(1_024);
        Err(io::Error::other(format!(
            "a memory limit of {bytes_max} B is less than a worker needs to live ({least} KiB)"
        )))
    }

    /// Whether more is taken than may be; says so in the log.
    pub(crate) fn is_spent(&self) -> bool {
        let Ok(bytes) = self.memory.rss_bytes() else { return false };
        let is_spent = bytes > self.bytes_max;
        if is_spent {
            let max = self.bytes_max;
            log::line(format_args!("has {bytes} bytes in RAM, of {max}: leaving, to be replaced"));
        }
        is_spent
    }
}
