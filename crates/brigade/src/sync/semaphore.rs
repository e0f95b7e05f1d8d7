//! `Semaphore` and `BoundedSemaphore`.
//!
//! How many permits are free is nowhere written: it is what there are, less what the roster says that processes have.

use crate::handle::Handle;
use crate::sync::roster::Roster;
use crate::sync::{Dead, OwnerDied, mutex_until, told};
use brigade_os::clock::Deadline;
use brigade_os::futex::Bell;
use brigade_os::robust::Robust;
use brigade_os::shared;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

shared! {
    /// A semaphore as it lies in memory.
    struct State {
        mutex: Robust,
        bell: Bell,
        /// Permits that there are, free or not.
        all: AtomicU32,
        /// As many there may be.
        most: AtomicU32,
        /// Those that came back from the dead, and nobody was told.
        untold: AtomicU32,
        /// Who had the last of those.
        dead: AtomicU32,
        roster: Roster,
    }
}

/// A number of permits, between all threads of all processes that have a handle on it; at most 512 processes have some at
/// once, and further ones wait.
///
/// A permit is given back when it is dropped. Those of a process that died come back within some tens of milliseconds, for
/// those who wait; whoever gets one is told ([`OwnerDied`]).
///
/// ```
/// use brigade::sync::Semaphore;
///
/// let semaphore = Semaphore::new(2)?;
/// let (_one, two) = (semaphore.acquire()?, semaphore.acquire()?);
/// assert!(semaphore.try_acquire()?.is_none());
/// drop(two);
/// assert_eq!(semaphore.available(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Semaphore(Handle<State>);

/// A [`Semaphore`] that never has more permits than at first.
///
/// ```
/// use brigade::sync::BoundedSemaphore;
/// use std::time::Duration;
///
/// let semaphore = BoundedSemaphore::new(2)?;
/// let (one, _two) = (semaphore.acquire()?, semaphore.acquire()?);
/// assert!(semaphore.acquire_timeout(Duration::from_millis(1))?.is_none());
/// drop(one);
/// assert_eq!(semaphore.available(), 1);
/// assert!(semaphore.try_acquire()?.is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BoundedSemaphore(Semaphore);

/// One of a semaphore's permits, until it is dropped.
///
/// ```
/// use brigade::sync::{Permit, Semaphore};
///
/// let semaphore = Semaphore::new(3)?;
/// let permits: Result<Vec<Permit>, _> = (0..3).map(|_| semaphore.acquire()).collect();
/// assert_eq!(semaphore.available(), 0);
/// drop(permits);
/// assert_eq!(semaphore.available(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping it gives it back"]
pub struct Permit {
    semaphore: Semaphore,
    is_spent: bool,
}

/// More permits than there may be.
///
/// ```
/// use brigade::sync::{BoundedSemaphore, TooMany};
///
/// let semaphore = BoundedSemaphore::new(3)?;
/// assert_eq!(semaphore.release(), Err(TooMany { most: 3 }));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("released more often than acquired: {most} permits are the most")]
pub struct TooMany {
    /// As many there may be.
    pub most: u32,
}

type Acquired = Result<Permit, OwnerDied<Permit>>;

impl Semaphore {
    /// With so many permits at first; with none, others wait until somebody [releases](Semaphore::release) some.
    ///
    /// # Errors
    /// If there is no memory or no descriptor to be had.
    pub fn new(permits: u32) -> io::Result<Semaphore> {
        Semaphore::with(permits, u32::MAX)
    }

    fn with(permits: u32, most: u32) -> io::Result<Semaphore> {
        let handle = Handle::<State>::create("semaphore", 0)?;
        handle.all.store(permits, Relaxed);
        handle.most.store(most, Relaxed);
        Ok(Semaphore(handle))
    }

    /// Waits for a permit.
    ///
    /// # Errors
    /// [`OwnerDied`], with the permit, if it came back from a process that died.
    pub fn acquire(&self) -> Acquired {
        match self.acquire_until(None).transpose() {
            Some(permit) => permit,
            None => unreachable!("it waits for ever"),
        }
    }

    /// `None` if there is none.
    ///
    /// # Errors
    /// As [`Semaphore::acquire`].
    pub fn try_acquire(&self) -> Result<Option<Permit>, OwnerDied<Permit>> {
        self.acquire_timeout(Duration::ZERO)
    }

    /// `None` if there is none after that time.
    ///
    /// # Errors
    /// As [`Semaphore::acquire`].
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Option<Permit>, OwnerDied<Permit>> {
        self.acquire_until(Some(Deadline::after(timeout)))
    }

    fn acquire_until(&self, until: Option<Deadline>) -> Result<Option<Permit>, OwnerDied<Permit>> {
        loop {
            let locked = self.0.lock_until(|state| &state.mutex, mutex_until(until));
            let Some(state) = locked else { return Ok(None) };
            let mut taken = state.take();
            if taken.is_none() {
                state.bury_the_dead();
                taken = state.take();
            }
            if let Some(dead) = taken {
                drop(state);
                return told(Permit { semaphore: self.clone(), is_spent: false }, dead).map(Some);
            }
            let seen = state.bell.rings();
            drop(state);
            if until.is_some_and(Deadline::is_over) {
                return Ok(None);
            }
            self.0.bell.wait(seen, until);
        }
    }

    /// Adds permits.
    ///
    /// ```
    /// # use brigade::sync::Semaphore;
    /// # use std::time::Duration;
    /// let semaphore = Semaphore::new(0)?;
    /// assert!(semaphore.acquire_timeout(Duration::from_millis(1))?.is_none());
    /// semaphore.release(2);
    /// assert_eq!(semaphore.available(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// If there were 2^32 then.
    pub fn release(&self, permits: u32) {
        self.add(permits).unwrap_or_else(|error| panic!("{error}"));
    }

    fn add(&self, permits: u32) -> Result<(), TooMany> {
        let state = self.0.lock(|state| &state.mutex);
        let most = state.most.load(Relaxed);
        let all = state.all.load(Relaxed).checked_add(permits).filter(|all| *all <= most);
        state.all.store(all.ok_or(TooMany { most })?, Relaxed);
        drop(state);
        self.0.bell.ring();
        Ok(())
    }

    /// How many are free now.
    pub fn available(&self) -> u32 {
        self.0.lock(|state| &state.mutex).free()
    }
}

impl BoundedSemaphore {
    /// With so many permits.
    ///
    /// # Errors
    /// If there is no memory or no descriptor to be had.
    pub fn new(permits: u32) -> io::Result<BoundedSemaphore> {
        Semaphore::with(permits, permits).map(BoundedSemaphore)
    }

    /// As [`Semaphore::acquire`].
    ///
    /// # Errors
    /// As there.
    pub fn acquire(&self) -> Acquired {
        self.0.acquire()
    }

    /// As [`Semaphore::try_acquire`].
    ///
    /// # Errors
    /// As there.
    pub fn try_acquire(&self) -> Result<Option<Permit>, OwnerDied<Permit>> {
        self.0.try_acquire()
    }

    /// As [`Semaphore::acquire_timeout`].
    ///
    /// # Errors
    /// As there.
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Option<Permit>, OwnerDied<Permit>> {
        self.0.acquire_timeout(timeout)
    }

    /// Adds a permit in place of one that somebody [spent](Permit::forget).
    ///
    /// # Errors
    /// If nobody has.
    pub fn release(&self) -> Result<(), TooMany> {
        self.0.add(1)
    }

    /// How many are free now.
    pub fn available(&self) -> u32 {
        self.0.available()
    }
}

impl State {
    fn free(&self) -> u32 {
        self.all.load(Relaxed).saturating_sub(self.roster.sum())
    }

    /// Takes a permit for this process, if there is one; and says from whom, if that is dead.
    fn take(&self) -> Option<Option<Dead>> {
        if self.free() == 0 {
            return None;
        }
        self.roster.own_or_free()?.add(1);
        let untold = self.untold.load(Relaxed);
        self.untold.store(untold.saturating_sub(1), Relaxed);
        Some((untold > 0).then(|| Dead::of(self.dead.load(Relaxed))))
    }

    fn bury_the_dead(&self) {
        self.roster.strike_dead(|seat| {
            self.dead.store(seat.pid(), Relaxed);
            self.untold.store(self.untold.load(Relaxed) + seat.count.load(Relaxed), Relaxed);
        });
    }
}

impl Permit {
    /// Spends it: there is one less from now on, until somebody releases one.
    ///
    /// ```
    /// # use brigade::sync::BoundedSemaphore;
    /// let semaphore = BoundedSemaphore::new(2)?;
    /// semaphore.acquire()?.forget();
    /// assert_eq!(semaphore.available(), 1);
    /// semaphore.release()?;
    /// assert_eq!(semaphore.available(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn forget(mut self) {
        let state = self.semaphore.0.lock(|state| &state.mutex);
        if let Some(seat) = state.roster.own() {
            // In this order: who dies between the two has spent it.
            state.all.store(state.all.load(Relaxed).saturating_sub(1), Relaxed);
            seat.subtract(1);
        }
        drop(state);
        self.is_spent = true;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.is_spent {
            return;
        }
        let state = self.semaphore.0.lock(|state| &state.mutex);
        // Another process, made by a fork that is not ours, has none of its own.
        if let Some(seat) = state.roster.own() {
            seat.subtract(1);
        }
        drop(state);
        self.semaphore.0.bell.ring();
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("of", &self.semaphore.0.name()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn a_time_out_is_kept_though_somebody_is_stopped_with_the_mutex_in_hand() {
        let semaphore = Semaphore::new(2).unwrap();
        let held = semaphore.0.lock(|state| &state.mutex);
        thread::scope(|scope| {
            let timed =
                scope.spawn(|| semaphore.acquire_timeout(Duration::from_millis(1)).unwrap().is_none());
            let tried = scope.spawn(|| semaphore.try_acquire().unwrap().is_none());
            assert!(timed.join().unwrap() && tried.join().unwrap());
        });
        drop(held);
        assert!(semaphore.try_acquire().unwrap().is_some());
    }
}
