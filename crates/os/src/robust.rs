//! A mutex in shared memory whose next holder is told when the last one died: the C library's robust one.
//!
//! Each thread has a list of those that it holds, and the kernel goes through it when the thread ends, by whatever. So a
//! process that was made by a raw clone must be given its list (`List`), as the C library's `fork` does.

use crate::clock::Deadline;
use crate::futex::LOOK;
use crate::region::{Region, Shared};
use std::cell::UnsafeCell;
use std::ffi::c_int;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Such a mutex, which its holder may take again if `AGAIN`. There is none but in a [`Region`], which locks it.
#[repr(C)]
pub struct Robust<const AGAIN: bool = false>(UnsafeCell<libc::pthread_mutex_t>);

// SAFETY: it is made for threads, and for those of other processes, too.
unsafe impl<const AGAIN: bool> Sync for Robust<AGAIN> {}

// SAFETY: nobody but the C library touches its bytes after `begin`, in whichever process.
unsafe impl<const AGAIN: bool> Shared for Robust<AGAIN> {
    fn begin(&self) -> io::Result<()> {
        let kind = if AGAIN { libc::PTHREAD_MUTEX_RECURSIVE } else { libc::PTHREAD_MUTEX_ERRORCHECK };
        // SAFETY: the attributes are begun before they are used and live until the end; the mutex is fresh, and nobody
        // else knows it yet.
        unsafe {
            let mut attributes = std::mem::zeroed();
            done(libc::pthread_mutexattr_init(&raw mut attributes))?;
            done(libc::pthread_mutexattr_settype(&raw mut attributes, kind))?;
            done(libc::pthread_mutexattr_setpshared(&raw mut attributes, libc::PTHREAD_PROCESS_SHARED))?;
            done(libc::pthread_mutexattr_setrobust(&raw mut attributes, libc::PTHREAD_MUTEX_ROBUST))?;
            done(libc::pthread_mutex_init(self.0.get(), &raw const attributes))
        }
    }
}

fn done(error: c_int) -> io::Result<()> {
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}

impl<const AGAIN: bool> Robust<AGAIN> {
    /// The thread that holds it, by the kernel's number; for showing.
    #[must_use]
    pub fn holder(&self) -> Option<u32> {
        const TID: u32 = 0x3fff_ffff;
        // Where the word is that the kernel looks at: first in glibc, second in musl.
        let at = if cfg!(target_env = "musl") { 1 } else { 0 };
        // SAFETY: the word is inside, aligned, and written by atomics only.
        let word = unsafe { AtomicU32::from_ptr(self.0.get().cast::<u32>().add(at)) };
        Some(word.load(Relaxed) & TID).filter(|tid| *tid > 0)
    }
}

impl<T: Shared> Region<T> {
    /// Locks a mutex of this region; waits for it.
    ///
    /// # Panics
    /// If this thread holds it already, and it is none that may be taken again.
    pub fn lock<const AGAIN: bool>(&self, which: Which<T, AGAIN>) -> Held<T, AGAIN> {
        self.lock_until(which, None).unwrap_or_else(|| unreachable!("it waits until it is free"))
    }

    /// Locks it if nobody holds it.
    #[must_use]
    pub fn try_lock<const AGAIN: bool>(&self, which: Which<T, AGAIN>) -> Option<Held<T, AGAIN>> {
        let mutex = self.mutex(which);
        // SAFETY: as in `lock`.
        let error = unsafe { libc::pthread_mutex_trylock(mutex.as_ref().0.get()) };
        self.held(mutex, error).ok().flatten()
    }

    /// Locks it; waits until that time at most.
    ///
    /// # Panics
    /// As [`Region::lock`].
    #[must_use]
    pub fn lock_until<const AGAIN: bool>(
        &self,
        which: Which<T, AGAIN>,
        until: Option<Deadline>,
    ) -> Option<Held<T, AGAIN>> {
        self.lock_or_own(which, until).unwrap_or_else(|own| panic!("{own}"))
    }

    /// As [`Region::lock_until`], for whoever knows what is to be done then.
    ///
    /// # Errors
    /// [`Own`], at once, if this thread holds it already, and it is none that may be taken again.
    pub fn lock_or_own<const AGAIN: bool>(
        &self,
        which: Which<T, AGAIN>,
        until: Option<Deadline>,
    ) -> Result<Option<Held<T, AGAIN>>, Own> {
        let mutex = self.mutex(which);
        // SAFETY: it was begun when its region was created, and stays mapped while it is held.
        let mut error = unsafe { libc::pthread_mutex_trylock(mutex.as_ref().0.get()) };
        // Who is killed after it was woken, while somebody else has just taken the lock, takes the note along that others wait:
        // nobody wakes them. So they look themselves.
        while matches!(error, libc::EBUSY | libc::ETIMEDOUT) && !until.is_some_and(Deadline::is_over) {
            let look = Deadline::after(LOOK);
            // SAFETY: as above.
            error =
                unsafe { lock_until(mutex.as_ref().0.get(), until.map_or(look, |until| until.min(look))) };
        }
        self.held(mutex, error)
    }

    fn mutex<const AGAIN: bool>(&self, which: Which<T, AGAIN>) -> NonNull<Robust<AGAIN>> {
        let mutex = which(self);
        assert!(self.holds(ptr::from_ref(mutex).cast()), "a mutex of another region");
        NonNull::from_ref(mutex)
    }

    fn held<const AGAIN: bool>(
        &self,
        mutex: NonNull<Robust<AGAIN>>,
        error: c_int,
    ) -> Result<Option<Held<T, AGAIN>>, Own> {
        let died = match error {
            0 => false,
            libc::EBUSY | libc::ETIMEDOUT => return Ok(None),
            libc::EDEADLK => return Err(Own),
            libc::EOWNERDEAD => {
                // SAFETY: this thread has it now. What it guards is looked at by whoever gets it.
                let error = unsafe { libc::pthread_mutex_consistent(mutex.as_ref().0.get()) };
                assert!(error == 0, "pthread_mutex_consistent: {}", io::Error::from_raw_os_error(error));
                true
            }
            error => panic!("lock in shared memory: {}", io::Error::from_raw_os_error(error)),
        };
        Ok(Some(Held { region: self.clone(), mutex, died, thread: PhantomData }))
    }
}

/// This thread holds it already.
#[derive(Clone, Copy, Debug)]
pub struct Own;

impl fmt::Display for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "this thread holds the lock already, and would wait for itself: an RLock may be taken again",
        )
    }
}

/// Which mutex of a region's value.
pub type Which<T, const AGAIN: bool> = for<'a> fn(&'a T) -> &'a Robust<AGAIN>;

type ClockLock =
    unsafe extern "C" fn(*mut libc::pthread_mutex_t, libc::clockid_t, *const libc::timespec) -> c_int;

/// By the monotonic clock where the C library can (glibc since 2.30), otherwise by the wall clock, which may be set.
///
/// # Safety
/// The mutex must be one that was begun.
unsafe fn lock_until(mutex: *mut libc::pthread_mutex_t, until: Deadline) -> c_int {
    static CLOCK_LOCK: OnceLock<Option<ClockLock>> = OnceLock::new();
    let timespec = |ns: u64| libc::timespec {
        tv_sec: (ns / 1_000_000_000) as libc::time_t,
        tv_nsec: (ns % 1_000_000_000) as libc::c_long,
    };
    let clock_lock = CLOCK_LOCK.get_or_init(|| {
        // SAFETY: a look into the symbols that are loaded.
        let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"pthread_mutex_clocklock".as_ptr()) };
        // SAFETY: the function of that name has this type, and a null pointer is none.
        unsafe { std::mem::transmute::<*mut libc::c_void, Option<ClockLock>>(found) }
    });
    if let Some(clock_lock) = clock_lock {
        let until = timespec(until.at_ns);
        // SAFETY: by the caller's promise; the time lives as long as the call.
        return unsafe { clock_lock(mutex, libc::CLOCK_MONOTONIC, &raw const until) };
    }
    let left = until.left().unwrap_or_default().as_nanos() as u64;
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let now = now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64;
    let until = timespec(now.saturating_add(left));
    // SAFETY: by the caller's promise; the time lives as long as the call.
    unsafe { libc::pthread_mutex_timedlock(mutex, &raw const until) }
}

/// A mutex that this thread holds, until this is dropped. Its region stays mapped meanwhile, even if this is forgotten.
#[must_use = "dropping it unlocks"]
pub struct Held<T: Shared, const AGAIN: bool = false> {
    region: Region<T>,
    mutex: NonNull<Robust<AGAIN>>,
    died: bool,
    /// It is the thread that holds it.
    thread: PhantomData<*const ()>,
}

impl<T: Shared, const AGAIN: bool> Held<T, AGAIN> {
    /// Whether the holder before died with it in hand: what it guards may be half done.
    #[must_use]
    pub fn owner_died(&self) -> bool {
        self.died
    }

    /// Whose mutex it is.
    #[must_use]
    pub fn region(&self) -> &Region<T> {
        &self.region
    }
}

impl<T: Shared, const AGAIN: bool> Deref for Held<T, AGAIN> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.region
    }
}

impl<T: Shared, const AGAIN: bool> Drop for Held<T, AGAIN> {
    fn drop(&mut self) {
        // SAFETY: this thread holds it, and it is mapped.
        let error = unsafe { libc::pthread_mutex_unlock(self.mutex.as_ref().0.get()) };
        debug_assert_eq!(error, 0, "this thread held it");
    }
}

/// Where the kernel finds what this thread holds; the same address in a copy of this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List {
    head: *mut libc::c_void,
    bytes: usize,
}

impl List {
    /// This thread's, if it has one.
    pub(crate) fn own() -> Option<List> {
        let (mut head, mut bytes) = (ptr::null_mut::<libc::c_void>(), 0_usize);
        const OWN_THREAD: c_int = 0;
        // SAFETY: the kernel writes a pointer and a length, or nothing.
        let told =
            unsafe { libc::syscall(libc::SYS_get_robust_list, OWN_THREAD, &raw mut head, &raw mut bytes) };
        (told == 0 && !head.is_null()).then_some(List { head, bytes })
    }

    /// Gives it to the kernel again, in the child of a raw clone: the kernel gives children none.
    ///
    /// # Safety
    /// This process must be a copy of the one that asked, with that thread, and that one held none.
    pub(crate) unsafe fn take_up(self) {
        // SAFETY: by the caller's promise it is where the C library keeps the list of this thread.
        unsafe { libc::syscall(libc::SYS_set_robust_list, self.head, self.bytes) };
    }
}
