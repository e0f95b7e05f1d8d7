//! The one clock: CLOCK_MONOTONIC, whose readings all processes of a machine share.

use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Nanoseconds of CLOCK_MONOTONIC. Comparable between processes, stands still during suspend.
#[must_use]
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    (now.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec as u64)
}

/// A moment to wait for, and no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline {
    pub(crate) at_ns: u64,
}

impl Deadline {
    /// So long from now on. What is more than 500 years is for ever.
    #[must_use]
    pub fn after(patience: Duration) -> Deadline {
        let patience_ns = u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX);
        Deadline { at_ns: monotonic_ns().saturating_add(patience_ns) }
    }

    /// How long it is until then; `None` once it is over.
    #[must_use]
    pub fn left(self) -> Option<Duration> {
        let left_ns = self.at_ns.checked_sub(monotonic_ns()).filter(|left_ns| *left_ns > 0)?;
        Some(Duration::from_nanos(left_ns))
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_over(self) -> bool {
        self.left().is_none()
    }
}

/// Now in the unit in which `/proc` says when a process was started: clock ticks since boot, suspend included.
#[must_use]
pub fn boot_ticks() -> u64 {
    let (now, each) = (clock_gettime(ClockId::Boottime), rustix::param::clock_ticks_per_second());
    let ns = (now.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec as u64);
    ns / (1_000_000_000 / each.clamp(1, 1_000_000_000))
}

/// Seconds since 1970 by the wall clock: for people only, no decision is taken by it.
#[must_use]
pub fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

/// Time of day in UTC, `hh:mm:ss.mmm`: for the eyes of people only, no decision is taken by it.
#[must_use]
pub fn time_of_day() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let seconds = since.as_secs();
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{hour:02}:{minute:02}:{second:02}.{:03}", since.subsec_millis())
}
