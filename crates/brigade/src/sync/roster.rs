//! Which processes have how much of something: a table in shared memory of which the dead are struck.
//!
//! Everything here is done under the mutex of what the table belongs to, and each change is one store, so it does not
//! matter at which instruction somebody is killed.

use brigade_os::clock::monotonic_ns;
use brigade_os::futex::LOOK;
use brigade_os::proc::Life;
use brigade_os::shared;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Processes that may have something at once.
const SEATS: usize = 512;

shared! {
    /// One process.
    pub(crate) struct Seat {
        pid: AtomicU32,
        /// How much it has; with nothing, the seat is free.
        pub(crate) count: AtomicU32,
        start_ticks: AtomicU64,
        /// For whoever keeps the roster; zero when the seat is taken.
        pub(crate) note: AtomicU64,
    }
}

shared! {
    /// All of them.
    pub(crate) struct Roster {
        seats: [Seat; SEATS],
        /// Seats that were ever taken.
        used: AtomicU32,
        looked_ns: AtomicU64,
    }
}

impl Seat {
    fn life(&self) -> Life {
        Life { pid: self.pid.load(Relaxed), start_ticks: self.start_ticks.load(Relaxed) }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid.load(Relaxed)
    }

    pub(crate) fn add(&self, count: u32) {
        self.count.store(self.count.load(Relaxed) + count, Relaxed);
    }

    pub(crate) fn subtract(&self, count: u32) {
        self.count.store(self.count.load(Relaxed).saturating_sub(count), Relaxed);
    }
}

impl Roster {
    /// Those with something.
    pub(crate) fn taken(&self) -> impl Iterator<Item = &Seat> {
        self.used().iter().filter(|seat| seat.count.load(Relaxed) > 0)
    }

    /// How much all have together.
    pub(crate) fn sum(&self) -> u32 {
        self.used().iter().map(|seat| seat.count.load(Relaxed)).sum()
    }

    fn used(&self) -> &[Seat] {
        &self.seats[..(self.used.load(Relaxed) as usize).min(SEATS)]
    }

    /// That of this process, if it has something.
    pub(crate) fn own(&self) -> Option<&Seat> {
        let own = Life::own();
        self.taken().find(|seat| seat.life().is(own))
    }

    /// That of this process, or a free one, which is its own from the moment that it has something; none if all are taken.
    pub(crate) fn own_or_free(&self) -> Option<&Seat> {
        self.own().or_else(|| {
            let used = self.used.load(Relaxed) as usize;
            let free = self.used().iter().position(|seat| seat.count.load(Relaxed) == 0).unwrap_or(used);
            let seat = self.seats.get(free)?;
            let own = Life::own();
            seat.pid.store(own.pid, Relaxed);
            seat.start_ticks.store(own.start_ticks, Relaxed);
            seat.note.store(0, Relaxed);
            self.used.store(used.max(free + 1) as u32, Relaxed);
            Some(seat)
        })
    }

    /// Looks for the dead, if nobody has just done so: shows each to `bury`, and frees its seat.
    pub(crate) fn strike_dead(&self, bury: impl FnMut(&Seat)) {
        let now = monotonic_ns();
        if now.saturating_sub(self.looked_ns.load(Relaxed)) < LOOK.as_nanos() as u64 / 2 {
            return;
        }
        self.strike_dead_now(bury);
    }

    /// The same, even if somebody has just done so.
    pub(crate) fn strike_dead_now(&self, mut bury: impl FnMut(&Seat)) {
        for seat in self.taken().filter(|seat| seat.life().has_ended()) {
            bury(seat);
            seat.count.store(0, Relaxed);
        }
        self.looked_ns.store(monotonic_ns(), Relaxed);
    }
}
