//! Time is an argument: a point on the driver's monotonic clock.

use std::ops::{Add, Sub};
use std::time::Duration;

/// Monotonic time since the run began. Only the driver reads a clock; a test can be at any moment it likes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now(pub Duration);

impl Now {
    /// That many milliseconds after the run began.
    #[must_use]
    pub const fn millis(millis: u64) -> Now {
        Now(Duration::from_millis(millis))
    }

    /// How long ago `earlier` was; nothing if it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Now) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Now {
    type Output = Now;

    fn add(self, later: Duration) -> Now {
        Now(self.0.saturating_add(later))
    }
}

impl Sub for Now {
    type Output = Duration;

    fn sub(self, earlier: Now) -> Duration {
        self.since(earlier)
    }
}
