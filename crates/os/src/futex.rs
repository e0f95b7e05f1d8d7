//! Waiting for a word in shared memory to change, and waking who waits.

use crate::clock::Deadline;
use rustix::thread::futex::{Flags, wait, wake};
use rustix::time::Timespec;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

/// How often those who wait look whether somebody died who was to wake them.
pub const LOOK: Duration = Duration::from_millis(40);

/// What rings for those who wait, in whichever process. They wait for the *next* ring after a number that they have seen,
/// so none is missed between a look and the wait.
///
/// Whoever is killed while it waits costs the others nothing but needless system calls: it stays among those counted.
/// Whoever is killed between the ring and the waking costs them [`LOOK`]: each looks itself so often.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Bell {
    rings: AtomicU32,
    waiting: AtomicU32,
}

impl Bell {
    /// How often it has rung, to be waited past; it begins again after 2^32.
    #[must_use]
    pub fn rings(&self) -> u32 {
        self.rings.load(SeqCst)
    }

    /// Rings, and wakes all who wait. To wake one is not offered: it could be killed before it has looked.
    pub fn ring(&self) {
        self.rings.fetch_add(1, SeqCst);
        if self.waiting.load(SeqCst) > 0 {
            // It fails for an address that is none.
            let _ = wake(&self.rings, Flags::empty(), i32::MAX as u32);
        }
    }

    /// Waits until it has rung since `seen` was, until that time, or for [`LOOK`], whichever is first; sooner if a signal
    /// comes. Says whether it has rung.
    pub fn wait(&self, seen: u32, until: Option<Deadline>) -> bool {
        let left = until.map_or(LOOK, |until| until.left().unwrap_or_default().min(LOOK));
        self.waiting.fetch_add(1, SeqCst);
        if !left.is_zero() && self.rings() == seen {
            let slice = Timespec { tv_sec: 0, tv_nsec: left.subsec_nanos().into() };
            // Woken, interrupted, or the time is over: the count says which.
            let _ = wait(&self.rings, Flags::empty(), seen, Some(&slice));
        }
        self.waiting.fetch_sub(1, SeqCst);
        self.rings() != seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::monotonic_ns;
    use std::thread;

    #[test]
    fn who_waits_is_woken_by_the_next_ring_and_misses_none() {
        let (there, back) = (Bell::default(), Bell::default());
        let await_ring = |bell: &Bell, n| while !bell.wait(n, None) {};
        thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0..1_000 {
                    await_ring(&there, n);
                    back.ring();
                }
            });
            for n in 0..1_000 {
                there.ring();
                await_ring(&back, n);
            }
        });
    }

    #[test]
    fn a_wait_ends_when_its_time_is_over_or_it_is_time_to_look() {
        let bell = Bell::default();
        let before = monotonic_ns();
        let until = Some(Deadline::after(Duration::from_millis(30)));
        while !until.is_some_and(Deadline::is_over) {
            assert!(!bell.wait(0, until));
        }
        assert!(monotonic_ns() - before >= 30_000_000);
        assert!(!bell.wait(0, None) && !bell.wait(0, until));
        assert!(bell.wait(7, None), "it has not the number that was seen");
    }
}
