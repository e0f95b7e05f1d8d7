//! `Lock` and `RLock`.

use crate::handle::Handle;
use crate::sync::watch::{self, Holder, Record, Recorded};
use crate::sync::{Dead, OwnerDied, told};
use brigade_os::clock::Deadline;
use brigade_os::robust::{Held, Robust};
use brigade_os::shared;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::panic::Location;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

shared! {
    /// Who has a lock, for whoever gets it from the dead. Only written with the lock in hand.
    pub(crate) struct Owner {
        /// 0 if nobody has it, or has not said so yet.
        pid: AtomicU32,
        /// Guards that it has.
        guards: AtomicU32,
    }
}

impl Owner {
    /// One guard more. Whoever gets it from the dead begins anew, and learns who that was.
    fn begin(&self, died: bool) -> Option<Dead> {
        let dead = died.then(|| Dead::of(self.pid.load(Relaxed)));
        let guards = if died { 0 } else { self.guards.load(Relaxed) };
        if guards == 0 {
            self.pid.store(process::id(), Relaxed);
        }
        self.guards.store(guards + 1, Relaxed);
        dead
    }

    /// One less: with the last one it is free, and its next holder may die before it has said who it is.
    fn end(&self) {
        let guards = self.guards.load(Relaxed).saturating_sub(1);
        if guards == 0 {
            self.pid.store(0, Relaxed);
        }
        self.guards.store(guards, Relaxed);
    }
}

shared! {
    /// A lock as it lies in memory.
    pub(crate) struct LockState {
        mutex: Robust,
        owner: Owner,
        record: Record,
    }
}

shared! {
    /// A lock that its holder may take again, as it lies in memory.
    pub(crate) struct RLockState {
        mutex: Robust<true>,
        owner: Owner,
        record: Record,
    }
}

/// Mutual exclusion between all threads of all processes that have a handle on it.
///
/// Its guard belongs to the thread that acquired it. If that dies with the guard in hand, the next one is told
/// ([`OwnerDied`]) and has the lock. A thread that has it already does not get it again, and must not wait for it without a
/// time-out: see [`RLock`].
///
/// ```
/// use brigade::sync::Lock;
/// use std::thread;
/// use std::time::Duration;
///
/// let lock = Lock::named("accounts")?;
/// let guard = lock.acquire()?;
/// assert!(lock.try_acquire()?.is_none());
/// assert_eq!(lock.holder().map(|it| it.pid), Some(std::process::id()));
/// thread::scope(|scope| {
///     let other = scope.spawn(|| matches!(lock.acquire_timeout(Duration::from_millis(1)), Ok(None)));
///     assert!(other.join().expect("it does not panic"), "it has waited in vain");
/// });
/// drop(guard);
/// assert!(lock.try_acquire()?.is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Lock(Handle<LockState>);

/// A [`Lock`] that is held, until this is dropped.
///
/// ```
/// use brigade::sync::{Lock, LockGuard};
///
/// /// To be called with the lock in hand, and the compiler sees to that.
/// fn pay_out(_accounts: &LockGuard) {}
///
/// let lock = Lock::new()?;
/// pay_out(&lock.acquire()?);
/// assert_eq!(lock.holder(), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping it releases the lock"]
pub struct LockGuard {
    // Before `held`: it is told while it is still held.
    _watched: Option<watch::Watched>,
    held: Held<LockState>,
}

/// A [`Lock`] that the thread that holds it may acquire again; others have it when all its guards are dropped.
///
/// ```
/// use brigade::sync::RLock;
///
/// let lock = RLock::new()?;
/// let _outer = lock.acquire()?;
/// let _inner = lock.acquire()?;
/// assert!(lock.try_acquire()?.is_some(), "once more");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RLock(Handle<RLockState>);

/// An [`RLock`] that is held, until this and all others of this thread are dropped.
///
/// ```
/// use brigade::sync::{RLock, RLockGuard};
///
/// let lock = RLock::new()?;
/// let outer: RLockGuard = lock.acquire()?;
/// drop(lock.acquire()?);
/// assert!(lock.holder().is_some(), "the outer one is left");
/// drop(outer);
/// assert_eq!(lock.holder(), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping it releases the lock"]
pub struct RLockGuard {
    // As above.
    _watched: Option<watch::Watched>,
    held: Held<RLockState, true>,
}

/// What both can do.
macro_rules! lock {
    ($lock:ident, $guard:ident, $state:ident, $again:literal, $kind:literal, $own:literal) => {
        impl $lock {
            /// A lock that nobody holds.
            ///
            /// # Errors
            /// If there is no memory or no descriptor to be had.
            pub fn new() -> io::Result<$lock> {
                $lock::named($kind)
            }

            /// With a name for reports ([`watch_locks`](crate::sync::watch_locks)), of at most 249 bytes.
            ///
            /// # Errors
            /// As `new`, and if there can be no such name.
            pub fn named(name: &str) -> io::Result<$lock> {
                let handle = Handle::<$state>::create(name, 0)?;
                handle.record.begin();
                Ok($lock(handle))
            }

            /// Waits until nobody else has it.
            ///
            #[doc = $own]
            ///
            /// # Errors
            /// [`OwnerDied`], with the guard, if whoever had it died.
            #[track_caller]
            pub fn acquire(&self) -> Result<$guard, OwnerDied<$guard>> {
                match self.acquire_until(None).transpose() {
                    Some(guard) => guard,
                    None => unreachable!("it waits for ever"),
                }
            }

            /// `None` if somebody has it, be it this thread.
            ///
            /// # Errors
            /// As [`acquire`](Self::acquire).
            #[track_caller]
            pub fn try_acquire(&self) -> Result<Option<$guard>, OwnerDied<$guard>> {
                // Not in a closure, which has another caller.
                let at = Location::caller();
                let held = self.0.try_lock(|state| &state.mutex);
                held.map(|held| self.guard(held, at)).transpose()
            }

            /// `None` if somebody still has it after that time.
            ///
            /// # Errors
            /// As [`acquire`](Self::acquire).
            #[track_caller]
            pub fn acquire_timeout(&self, timeout: Duration) -> Result<Option<$guard>, OwnerDied<$guard>> {
                self.acquire_until(Some(Deadline::after(timeout)))
            }

            /// Who holds it now, by what the kernel sees.
            pub fn holder(&self) -> Option<Holder> {
                watch::holder(self.0.mutex.holder()?, &self.0.record)
            }

            #[track_caller]
            pub(crate) fn acquire_until(
                &self,
                until: Option<Deadline>,
            ) -> Result<Option<$guard>, OwnerDied<$guard>> {
                let at = Location::caller();
                let lock = |slice| match self.0.lock_or_own(|state| &state.mutex, slice) {
                    Ok(held) => held,
                    // Nobody can release it but who waits here.
                    Err(own) if until.is_none() => panic!("{own}"),
                    Err(_) => {
                        thread::sleep(slice.and_then(Deadline::left).unwrap_or_default());
                        None
                    }
                };
                let held = match watch::is_on(&self.0.record) {
                    false => lock(until),
                    true => watch::wait(self, at, until, lock),
                };
                held.map(|held| self.guard(held, at)).transpose()
            }

            fn guard(
                &self,
                held: Held<$state, $again>,
                at: &'static Location<'static>,
            ) -> Result<$guard, OwnerDied<$guard>> {
                let dead = held.owner.begin(held.owner_died());
                let watched = watch::is_on(&self.0.record).then(|| watch::taken(self, at));
                told($guard { _watched: watched, held }, dead)
            }
        }

        impl Drop for $guard {
            fn drop(&mut self) {
                self.held.owner.end();
            }
        }

        impl Recorded for $lock {
            fn record(&self) -> &Record {
                &self.0.record
            }

            fn id(&self) -> u64 {
                self.0.id()
            }

            fn name(&self) -> String {
                self.0.name()
            }

            fn holder(&self) -> Option<Holder> {
                $lock::holder(self)
            }

            fn boxed(&self) -> Box<dyn Recorded> {
                Box::new(self.clone())
            }
        }

        impl fmt::Debug for $guard {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($guard)).field("lock", &self.held.region().id()).finish()
            }
        }
    };
}

lock!(
    Lock,
    LockGuard,
    LockState,
    false,
    "lock",
    "# Panics\nIf this thread has it already: it would wait for itself, and for ever."
);
lock!(RLock, RLockGuard, RLockState, true, "rlock", "Whoever has it already gets it once more.");

impl LockGuard {
    /// Whether it is that lock that it holds.
    pub(crate) fn is_of(&self, lock: &Lock) -> bool {
        self.held.region().id() == lock.0.id()
    }
}
