//! `Barrier`.
//!
//! How many have arrived is nowhere written: each process has on the roster how many of its threads arrived in which round.
//! The round is over by one store, which makes all of that old.

use crate::handle::Handle;
use crate::sync::mutex_until;
use crate::sync::roster::{Roster, Seat};
use brigade_os::clock::Deadline;
use brigade_os::futex::Bell;
use brigade_os::robust::{Held, Robust};
use brigade_os::shared;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

shared! {
    /// A barrier as it lies in memory.
    struct State {
        mutex: Robust,
        bell: Bell,
        parties: AtomicU32,
        round: AtomicU32,
        /// Why it is broken, as [`BarrierError::number`] has it; 0 if it is whole.
        broken: AtomicU32,
        /// Who died, if that is why.
        dead: AtomicU32,
        /// Of the last 64 rounds, those that came to nothing: one bit each.
        failed: AtomicU64,
        roster: Roster,
    }
}

/// Where a number of threads of any processes wait for each other, round after round.
///
/// A process is one of its parties from its first wait until it drops its handle. If it dies meanwhile, in a wait or between
/// two, the barrier is broken: all who wait are told, and all who come, until somebody [resets](Barrier::reset) it.
///
/// ```
/// use brigade::sync::Barrier;
/// use std::thread;
///
/// let barrier = Barrier::new(2)?;
/// thread::scope(|scope| {
///     let other = scope.spawn(|| barrier.wait());
///     let mut arrived = [barrier.wait(), other.join().expect("it waits, too")].map(Result::unwrap);
///     arrived.sort();
///     assert_eq!(arrived, [0, 1]);
/// });
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Barrier(Arc<Party>);

#[derive(Debug)]
struct Party {
    handle: Handle<State>,
    /// It has waited here: it counts.
    is_in: AtomicBool,
}

/// Why a wait came to nothing. The barrier is broken then, until it is reset.
///
/// ```
/// # brigade::test_entry!(init); init();
/// use brigade::Process;
/// use brigade::sync::{Barrier, BarrierError};
///
/// fn come_once(barrier: Barrier) {
///     let _ = barrier.wait();
///     std::process::exit(1); // with its handle in hand
/// }
///
/// let barrier = Barrier::new(2)?;
/// let party = Process::builder(come_once, barrier.clone()).start()?;
/// assert!(barrier.wait().is_ok());
/// party.join();
/// assert_eq!(barrier.wait(), Err(BarrierError::Died { pid: party.pid() }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BarrierError {
    /// Somebody called [`Barrier::abort`].
    #[error("the barrier was aborted: reset it before it is used again")]
    Aborted,
    /// Somebody waited longer than it wanted to.
    #[error("a wait at the barrier timed out: reset it before it is used again")]
    TimedOut,
    /// A process that is a party died.
    #[error("process {pid}, a party of the barrier, has died: reset it before it is used again")]
    Died {
        /// Which.
        pid: u32,
    },
    /// Somebody reset it during this wait.
    #[error("the barrier was reset while this one waited")]
    Reset,
}

impl BarrierError {
    fn number(self) -> u32 {
        match self {
            BarrierError::Aborted => 1,
            BarrierError::TimedOut => 2,
            BarrierError::Died { .. } => 3,
            BarrierError::Reset => 4,
        }
    }
}

/// A round as notes have it: zero is none.
fn note(round: u32, arrived: u32) -> u64 {
    u64::from(round) << 32 | u64::from(arrived)
}

impl State {
    fn arrived_of(&self, seat: &Seat) -> u32 {
        let noted = seat.note.load(Relaxed);
        if (noted >> 32) as u32 == self.round.load(Relaxed) { noted as u32 } else { 0 }
    }

    fn arrived(&self) -> u32 {
        self.roster.taken().map(|seat| self.arrived_of(seat)).sum()
    }

    fn broken(&self) -> Option<BarrierError> {
        match self.broken.load(Relaxed) {
            0 => None,
            1 => Some(BarrierError::Aborted),
            2 => Some(BarrierError::TimedOut),
            3 => Some(BarrierError::Died { pid: self.dead.load(Relaxed) }),
            _ => Some(BarrierError::Reset),
        }
    }

    fn break_it(&self, why: BarrierError) -> BarrierError {
        if let BarrierError::Died { pid } = why {
            self.dead.store(pid, Relaxed);
        }
        self.broken.store(why.number(), Relaxed);
        why
    }

    fn bury_the_dead(&self) {
        self.roster.strike_dead(|seat| self.bury(seat));
    }

    fn bury_those_dead_by_now(&self) {
        self.roster.strike_dead_now(|seat| self.bury(seat));
    }

    fn bury(&self, seat: &Seat) {
        if self.broken().is_none() {
            self.break_it(BarrierError::Died { pid: seat.pid() });
        }
    }

    /// The round is over; the next one begins.
    fn turn(&self, has_failed: bool) {
        let round = self.round.load(Relaxed);
        let bit = 1 << (round % 64);
        let failed = self.failed.load(Relaxed);
        self.failed.store(if has_failed { failed | bit } else { failed & !bit }, Relaxed);
        self.round.store(round.wrapping_add(1), Relaxed);
    }

    /// What became of a round that is over.
    fn outcome(&self, round: u32) -> Result<(), BarrierError> {
        let since = self.round.load(Relaxed).wrapping_sub(round);
        let has_failed = since > 64 || self.failed.load(Relaxed) & 1 << (round % 64) != 0;
        if has_failed { Err(BarrierError::Reset) } else { Ok(()) }
    }
}

impl Barrier {
    /// For so many waits at once.
    ///
    /// # Errors
    /// If that is none, or there is no memory or no descriptor to be had.
    pub fn new(parties: u32) -> io::Result<Barrier> {
        if parties == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a barrier has at least one party"));
        }
        let handle = Handle::<State>::create("barrier", 0)?;
        handle.parties.store(parties, Relaxed);
        // Zero is what stands on a fresh seat.
        handle.round.store(1, Relaxed);
        Ok(Barrier::of(handle))
    }

    fn of(handle: Handle<State>) -> Barrier {
        Barrier(Arc::new(Party { handle, is_in: AtomicBool::new(false) }))
    }

    fn state(&self) -> Held<State> {
        self.0.handle.lock(|state| &state.mutex)
    }

    /// The same, if it can be had by then, or soon.
    fn state_until(&self, until: Option<Deadline>) -> Option<Held<State>> {
        self.0.handle.lock_until(|state| &state.mutex, mutex_until(until))
    }

    /// Waits until as many do as there are parties. Returns the how-manieth to arrive this one was, from 0 on. (Who is
    /// stopped for 64 rounds of others is told that the barrier was reset.)
    ///
    /// # Errors
    /// If the barrier is broken, or breaks meanwhile.
    pub fn wait(&self) -> Result<u32, BarrierError> {
        self.wait_until(None)
    }

    /// As [`Barrier::wait`]; after that time the barrier is broken.
    ///
    /// ```
    /// # use brigade::sync::{Barrier, BarrierError};
    /// # use std::time::Duration;
    /// let barrier = Barrier::new(2)?;
    /// assert_eq!(barrier.wait_timeout(Duration::from_millis(1)), Err(BarrierError::TimedOut));
    /// assert_eq!(barrier.wait(), Err(BarrierError::TimedOut), "it stays broken");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// As there.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<u32, BarrierError> {
        self.wait_until(Some(Deadline::after(timeout)))
    }

    fn wait_until(&self, until: Option<Deadline>) -> Result<u32, BarrierError> {
        // Nobody has seen it come: the others may wait on.
        let mut state = self.state_until(until).ok_or(BarrierError::TimedOut)?;
        state.bury_the_dead();
        state.broken().map_or(Ok(()), Err)?;
        let (round, before) = (state.round.load(Relaxed), state.arrived());
        let is_last = before + 1 >= state.parties.load(Relaxed);
        if is_last {
            // Whoever waits here is among those who are let through, so it must live now, whenever it was last looked for.
            state.bury_those_dead_by_now();
            if let Some(why) = state.broken() {
                drop(state);
                self.0.handle.bell.ring();
                return Err(why);
            }
        }
        if !self.arrive(&state) {
            return Err(state.break_it(BarrierError::Aborted));
        }
        if is_last {
            state.turn(false);
            drop(state);
            self.0.handle.bell.ring();
            return Ok(before);
        }
        loop {
            let seen = state.bell.rings();
            drop(state);
            let is_over = until.is_some_and(Deadline::is_over);
            let has_rung = self.0.handle.bell.wait(seen, until);
            state = match self.state_until(until) {
                Some(state) => state,
                None => return Err(self.break_unlocked()),
            };
            if state.round.load(Relaxed) != round {
                return state.outcome(round).map(|()| before);
            }
            if !has_rung {
                state.bury_the_dead();
            }
            let broken = match state.broken() {
                None if is_over => Some(state.break_it(BarrierError::TimedOut)),
                broken => broken,
            };
            if let Some(why) = broken {
                drop(state);
                self.0.handle.bell.ring();
                return Err(why);
            }
        }
    }

    /// For who has arrived, has no more time, and does not get the mutex: somebody is stopped with it. One word says that the
    /// barrier is broken, and nobody who has the mutex writes it twice in one go.
    fn break_unlocked(&self) -> BarrierError {
        let state = &self.0.handle;
        // Whatever broke it before is told to the others.
        let _ = state.broken.compare_exchange(0, BarrierError::TimedOut.number(), Relaxed, Relaxed);
        state.bell.ring();
        BarrierError::TimedOut
    }

    /// Writes on the seat of this process that one more has arrived; false if there is no seat.
    fn arrive(&self, state: &State) -> bool {
        let Some(seat) = state.roster.own_or_free() else { return false };
        let arrived = state.arrived_of(seat);
        if !self.0.is_in.swap(true, Relaxed) {
            seat.add(1);
        }
        seat.note.store(note(state.round.load(Relaxed), arrived + 1), Relaxed);
        true
    }

    /// Breaks it: all who wait, and all who come, get an error.
    pub fn abort(&self) {
        self.state().break_it(BarrierError::Aborted);
        self.0.handle.bell.ring();
    }

    /// Makes it whole and empty; who waits gets an error.
    ///
    /// ```
    /// # use brigade::sync::{Barrier, BarrierError};
    /// let barrier = Barrier::new(2)?;
    /// barrier.abort();
    /// assert_eq!(barrier.broken(), Some(BarrierError::Aborted));
    /// barrier.reset();
    /// assert_eq!(barrier.broken(), None);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn reset(&self) {
        let state = self.state();
        state.turn(true);
        state.broken.store(0, Relaxed);
        drop(state);
        self.0.handle.bell.ring();
    }

    /// How many must wait at once.
    pub fn parties(&self) -> u32 {
        self.0.handle.parties.load(Relaxed)
    }

    /// How many wait now.
    ///
    /// ```
    /// # use brigade::sync::Barrier;
    /// # use std::thread;
    /// let barrier = Barrier::new(2)?;
    /// assert_eq!((barrier.parties(), barrier.n_waiting()), (2, 0));
    /// thread::scope(|scope| {
    ///     scope.spawn(|| barrier.wait());
    ///     while barrier.n_waiting() == 0 {
    ///         thread::yield_now();
    ///     }
    ///     assert_eq!(barrier.wait(), Ok(1));
    /// });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn n_waiting(&self) -> u32 {
        let state = self.state();
        if state.broken().is_some() { 0 } else { state.arrived() }
    }

    /// Why it is broken, if it is.
    pub fn broken(&self) -> Option<BarrierError> {
        let state = self.state();
        state.bury_the_dead();
        state.broken()
    }
}

impl Drop for Party {
    fn drop(&mut self) {
        if *self.is_in.get_mut() {
            let state = self.handle.lock(|state| &state.mutex);
            if let Some(seat) = state.roster.own() {
                seat.subtract(1);
            }
        }
    }
}

impl Serialize for Barrier {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.handle.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Barrier {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Barrier, D::Error> {
        Handle::deserialize(deserializer).map(Barrier::of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn a_time_out_is_kept_though_somebody_is_stopped_with_the_mutex_in_hand() {
        let barrier = Barrier::new(3).unwrap();
        let timed = |after| barrier.wait_timeout(Duration::from_millis(after));
        thread::scope(|scope| {
            let waiting = scope.spawn(|| timed(300));
            while barrier.n_waiting() == 0 {
                thread::yield_now();
            }
            let held = barrier.state();
            let coming = scope.spawn(|| timed(1));
            assert_eq!(coming.join().unwrap(), Err(BarrierError::TimedOut));
            assert_eq!(waiting.join().unwrap(), Err(BarrierError::TimedOut));
            drop(held);
        });
        assert_eq!(barrier.broken(), Some(BarrierError::TimedOut), "others do not wait for one who has gone");
        barrier.reset();
        assert_eq!((barrier.broken(), barrier.n_waiting()), (None, 0));
    }
}
