//! `Condition`.

use crate::handle::Handle;
use crate::sync::{Lock, LockGuard, OwnerDied};
use brigade_os::clock::Deadline;
use brigade_os::futex::Bell;
use brigade_os::shared;
use serde::{Deserialize, Serialize};
use std::io;
use std::time::Duration;

shared! {
    /// What is beside the lock.
    struct State {
        bell: Bell,
    }
}

/// Where threads of all processes wait until what a [`Lock`] guards is as they want it.
///
/// Who waits may be killed right after it was chosen to be woken, and with it the wake-up would be lost. So nobody is chosen:
/// all who wait are woken and look. Who was to notify may be killed before it does: so all look every 40 milliseconds as well.
/// A wait may thus end without a reason; [`Condition::wait_for`] does the looking.
///
/// ```
/// use brigade::sync::Condition;
/// use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
/// use std::thread;
///
/// let (condition, is_ready) = (Condition::new()?, AtomicBool::new(false));
/// thread::scope(|scope| {
///     scope.spawn(|| {
///         let _guard = condition.acquire();
///         is_ready.store(true, SeqCst);
///         condition.notify_all();
///     });
///     let guard = condition.acquire().expect("nobody died");
///     let _guard = condition.wait_for(guard, || is_ready.load(SeqCst)).expect("nobody died");
/// });
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Condition {
    lock: Lock,
    state: Handle<State>,
}

type Waited = (LockGuard, bool);

impl Condition {
    /// With a lock of its own.
    ///
    /// # Errors
    /// If there is no memory or no descriptor to be had.
    pub fn new() -> io::Result<Condition> {
        Condition::on(&Lock::named("condition")?)
    }

    /// On a lock that others may use, too.
    ///
    /// ```
    /// # use brigade::sync::{Condition, Lock};
    /// let lock = Lock::new()?;
    /// let (has_room, has_items) = (Condition::on(&lock)?, Condition::on(&lock)?);
    /// let _guard = has_room.acquire()?;
    /// assert!(has_items.lock().try_acquire()?.is_none(), "it is one lock");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Condition::new`].
    pub fn on(lock: &Lock) -> io::Result<Condition> {
        Ok(Condition { lock: lock.clone(), state: Handle::create("condition", 0)? })
    }

    /// Its lock.
    pub fn lock(&self) -> &Lock {
        &self.lock
    }

    /// As [`Lock::acquire`] of its lock.
    ///
    /// # Errors
    /// As there.
    #[track_caller]
    pub fn acquire(&self) -> Result<LockGuard, OwnerDied<LockGuard>> {
        self.lock.acquire()
    }

    /// Releases the lock, waits until somebody notifies, for some tens of milliseconds at most, and acquires it again.
    ///
    /// ```
    /// # use brigade::sync::Condition;
    /// # use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
    /// # use std::thread;
    /// # let (condition, is_ready) = (Condition::new()?, AtomicBool::new(false));
    /// # thread::scope(|scope| {
    /// # scope.spawn(|| { let _guard = condition.acquire(); is_ready.store(true, SeqCst); condition.notify(); });
    /// let mut guard = condition.acquire()?;
    /// while !is_ready.load(SeqCst) {
    ///     guard = condition.wait(guard)?;
    /// }
    /// # drop(guard); Ok::<(), brigade::sync::OwnerDied<brigade::sync::LockGuard>>(()) }).expect("nobody died");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`OwnerDied`], with the guard, if somebody died with the lock in hand: it may have been about to notify.
    ///
    /// # Panics
    /// If the guard is of another lock.
    #[track_caller]
    pub fn wait(&self, guard: LockGuard) -> Result<LockGuard, OwnerDied<LockGuard>> {
        self.wait_until(guard, None).map(|(guard, _)| guard).map_err(|died| died.map(|(guard, _)| guard))
    }

    /// As [`Condition::wait`], and false with the guard if that time is over and nobody notified.
    ///
    /// ```
    /// # use brigade::sync::Condition;
    /// # use std::time::Duration;
    /// let condition = Condition::new()?;
    /// let guard = condition.acquire()?;
    /// let (_guard, is_notified) = condition.wait_timeout(guard, Duration::from_millis(1))?;
    /// assert!(!is_notified);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As there.
    #[track_caller]
    pub fn wait_timeout(&self, guard: LockGuard, timeout: Duration) -> Result<Waited, OwnerDied<Waited>> {
        self.wait_until(guard, Some(Deadline::after(timeout)))
    }

    /// Waits until `is_so`, which is asked with the lock held.
    ///
    /// # Errors
    /// As [`Condition::wait`].
    #[track_caller]
    pub fn wait_for(
        &self,
        mut guard: LockGuard,
        mut is_so: impl FnMut() -> bool,
    ) -> Result<LockGuard, OwnerDied<LockGuard>> {
        while !is_so() {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// As [`Condition::wait_for`], and false with the guard if it is not so after that time.
    ///
    /// ```
    /// # use brigade::sync::Condition;
    /// # use std::time::Duration;
    /// let condition = Condition::new()?;
    /// let guard = condition.acquire()?;
    /// let (_guard, is_so) = condition.wait_for_timeout(guard, Duration::from_millis(1), || false)?;
    /// assert!(!is_so);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As there.
    #[track_caller]
    pub fn wait_for_timeout(
        &self,
        mut guard: LockGuard,
        timeout: Duration,
        mut is_so: impl FnMut() -> bool,
    ) -> Result<Waited, OwnerDied<Waited>> {
        let until = Some(Deadline::after(timeout));
        loop {
            if is_so() {
                return Ok((guard, true));
            }
            let is_awake;
            (guard, is_awake) = self.wait_until(guard, until)?;
            if !is_awake {
                return Ok((guard, is_so()));
            }
        }
    }

    /// Wakes all who wait, so that they look. Python's wakes one, which might die of it.
    pub fn notify(&self) {
        self.state.bell.ring();
    }

    /// Wakes all who wait.
    pub fn notify_all(&self) {
        self.notify();
    }

    #[track_caller]
    fn wait_until(&self, guard: LockGuard, until: Option<Deadline>) -> Result<Waited, OwnerDied<Waited>> {
        assert!(guard.is_of(&self.lock), "the guard is of another lock than the condition");
        let seen = self.state.bell.rings();
        drop(guard);
        // It ends without a ring, too: nobody will ring who was killed before it could.
        let is_awake = self.state.bell.wait(seen, until) || !until.is_some_and(Deadline::is_over);
        match self.lock.acquire() {
            Ok(guard) => Ok((guard, is_awake)),
            Err(died) => Err(died.map(|guard| (guard, is_awake))),
        }
    }
}
