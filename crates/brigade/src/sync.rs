//! Locks, semaphores, events, conditions and barriers between processes, and between threads just as well.
//!
//! Each is a handle on a little shared memory without a name. Clone it, and send it to workers as an argument or a part of
//! one. The memory goes when the last handle goes, whatever became of the processes.
//!
//! Any process may be killed at any instruction, and nobody waits for it longer than some tens of milliseconds:
//!
//! | who is killed                 | what the others see                                                    |
//! |-------------------------------|------------------------------------------------------------------------|
//! | the holder of a [`Lock`]      | the next gets it, as [`OwnerDied`] with the guard inside               |
//! | the holder of a [`Permit`]    | the permit comes back; whoever gets it is told so                      |
//! | who waits, for whatever       | nothing: no wake-up was meant for it alone                             |
//! | a party of a [`Barrier`]      | the barrier is broken, for those who wait and those who come           |
//! | who sets an [`Event`]         | it is set, or it is not                                                |
//! | who notifies a [`Condition`]  | what it has done: they look themselves                                 |
//!
//! Whoever is merely stopped (SIGSTOP) keeps what it has until it goes on: time-outs are for that. One that is
//! stopped in the few nanoseconds that it holds the mutex inside of a semaphore or a barrier keeps also those waiting who have a
//! time-out, but not longer than that, or a second.
//!
//! ```
//! # brigade::test_entry!(init); init();
//! use brigade::sync::Lock;
//! use std::fs;
//! use std::path::PathBuf;
//!
//! fn add((lock, file): (Lock, PathBuf)) {
//!     let _guard = lock.acquire().unwrap_or_else(|died| died.into_inner());
//!     let count: u64 = fs::read_to_string(&file).unwrap().parse().unwrap();
//!     fs::write(file, (count + 1).to_string()).unwrap();
//! }
//!
//! let dir = tempfile::tempdir()?;
//! let file = dir.path().join("count");
//! fs::write(&file, "0")?;
//! let (pool, lock) = (brigade::Pool::new()?, Lock::new()?);
//! pool.for_each(add, vec![(lock, file.clone()); 100])?;
//! assert_eq!(fs::read_to_string(file)?, "100");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod barrier;
mod condition;
mod event;
mod lock;
mod roster;
mod semaphore;
mod watch;

pub use barrier::{Barrier, BarrierError};
pub use condition::Condition;
pub use event::Event;
pub use lock::{Lock, LockGuard, RLock, RLockGuard};
pub use semaphore::{BoundedSemaphore, Permit, Semaphore, TooMany};
pub use watch::{Holder, LockReport, watch_locks, watch_locks_with};

use brigade_os::clock::Deadline;
use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

/// How long one who has no time waits for a mutex nevertheless under which others only look and count: nobody holds it longer
/// than it takes to copy a few words, unless it is stopped just then.
const MUTEX_WITHIN: Duration = Duration::from_secs(1);

/// Until when such a mutex is waited for by whoever waits until then for what it guards.
pub(crate) fn mutex_until(until: Option<Deadline>) -> Option<Deadline> {
    until.map(|until| until.max(Deadline::after(MUTEX_WITHIN)))
}

/// Got, but from the dead: whoever had it before was killed, crashed or ended with it in hand, so what it stands for may be
/// half done. As std's `PoisonError` it has what was asked for inside; the next one is not told any more.
///
/// ```
/// # brigade::test_entry!(init); init();
/// use brigade::Process;
/// use brigade::sync::{Lock, LockGuard, OwnerDied};
///
/// fn die(lock: Lock) {
///     let _guard = lock.acquire();
///     std::process::exit(1); // and nothing is dropped
/// }
///
/// let lock = Lock::new()?;
/// Process::builder(die, lock.clone()).start()?.join();
/// let died: OwnerDied<LockGuard> = lock.acquire().expect_err("it died with the lock in hand");
/// println!("process {:?} is dead: {:?}", died.pid(), died.get_ref());
/// let guard = died.into_inner();
/// drop(guard);
/// assert!(lock.acquire().is_ok(), "it was told once");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct OwnerDied<T> {
    got: T,
    dead: Dead,
}

/// The process of whoever died with it; none if it had no time to say who it was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dead(Option<NonZeroU32>);

impl Dead {
    /// By its pid, 0 if that is not known.
    pub(crate) fn of(pid: u32) -> Dead {
        Dead(NonZeroU32::new(pid))
    }
}

impl<T> OwnerDied<T> {
    /// The process that died; of several that gave permits back, the last one that was found. `None` if it was killed at the
    /// very moment that it got what it died with.
    pub fn pid(&self) -> Option<u32> {
        self.dead.0.map(NonZeroU32::get)
    }

    /// What was asked for.
    pub fn into_inner(self) -> T {
        self.got
    }

    /// What was asked for.
    pub fn get_ref(&self) -> &T {
        &self.got
    }

    fn map<U>(self, f: impl FnOnce(T) -> U) -> OwnerDied<U> {
        OwnerDied { got: f(self.got), dead: self.dead }
    }
}

impl<T> fmt::Debug for OwnerDied<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnerDied").field("pid", &self.pid()).finish_non_exhaustive()
    }
}

impl<T> fmt::Display for OwnerDied<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid() {
            Some(pid) => write!(f, "process {pid}")?,
            None => f.write_str("whoever had it")?,
        }
        f.write_str(" died with it in hand: see to what it guards, and go on with into_inner()")
    }
}

impl<T> std::error::Error for OwnerDied<T> {}

/// It came from the dead, if from anybody.
pub(crate) fn told<T>(got: T, dead: Option<Dead>) -> Result<T, OwnerDied<T>> {
    match dead {
        Some(dead) => Err(OwnerDied { got, dead }),
        None => Ok(got),
    }
}
