//! Memory that processes share as equals: a memfd that can neither shrink nor grow, with one value at its start and bytes
//! behind it. It has no name anywhere, and its memory is taken when it is made, so that nobody gets a signal for want of it.
//!
//! ```text
//! Prologue │ T, of atomics and mutexes │ bytes, copied in and out
//! ```

use crate::futex::Bell;
use crate::map::{Map, reserve};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, memfd_create};
use std::any::type_name;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::ops::{Deref, Range};
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};

/// What may lie in shared memory: it is all zero at first, then [begun](Shared::begin) once, and other processes write it at
/// any time. Structs of such are made by [`shared!`](crate::shared).
///
/// # Safety
/// Sound for any bits, used by reference only and written through atomics only, `repr(C)`, without pointers and without a
/// drop. What is more than that is the business of the mutexes.
pub unsafe trait Shared: Sized + Send + Sync + 'static {
    /// Makes of zeros what it is to be at first.
    ///
    /// # Errors
    /// If the system refuses what that needs.
    fn begin(&self) -> io::Result<()> {
        Ok(())
    }
}

// SAFETY: an atomic.
unsafe impl Shared for AtomicU8 {}
// SAFETY: an atomic.
unsafe impl Shared for AtomicU32 {}
// SAFETY: an atomic.
unsafe impl Shared for AtomicI32 {}
// SAFETY: an atomic.
unsafe impl Shared for AtomicU64 {}
// SAFETY: two atomics.
unsafe impl Shared for Bell {}
// SAFETY: of what is sound itself.
unsafe impl<T: Shared, const N: usize> Shared for [T; N] {
    fn begin(&self) -> io::Result<()> {
        self.iter().try_for_each(T::begin)
    }
}

/// A struct that may lie in shared memory, for all its fields may.
///
/// ```
/// use brigade_os::region::Region;
/// use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
///
/// brigade_os::shared! {
///     /// Counts.
///     struct Counter {
///         lock: brigade_os::robust::Robust,
///         count: AtomicU64,
///     }
/// }
///
/// let (counter, _fd) = Region::<Counter>::create(c"counter", 0)?;
/// let held = counter.lock(|counter| &counter.lock);
/// held.count.store(held.count.load(Relaxed) + 1, Relaxed);
/// # Ok::<(), std::io::Error>(())
/// ```
#[macro_export]
macro_rules! shared {
    ($(#[$of:meta])* $see:vis struct $name:ident {
        $($(#[$of_field:meta])* $see_field:vis $field:ident: $type:ty),* $(,)?
    }) => {
        $(#[$of])*
        #[repr(C)]
        $see struct $name { $($(#[$of_field])* $see_field $field: $type),* }

        // SAFETY: `begin` compiles only if each field is sound itself, and a struct has no drop of its own unless
        // somebody writes one, which the next line refuses.
        unsafe impl $crate::region::Shared for $name {
            fn begin(&self) -> ::std::io::Result<()> {
                const { assert!(!::std::mem::needs_drop::<$name>()) };
                $(<$type as $crate::region::Shared>::begin(&self.$field)?;)*
                Ok(())
            }
        }
    };
}

/// What stands before the value.
#[repr(C, align(64))]
struct Prologue {
    /// Of which type the value is, and that it was begun.
    mark: AtomicU64,
    tail_bytes: AtomicU64,
    /// The memory's own, as long as it is there.
    id: AtomicU64,
}

/// Such memory, mapped; a clone is the same mapping.
pub struct Region<T: Shared> {
    map: Arc<Map>,
    tail_bytes: usize,
    of: PhantomData<fn() -> T>,
}

/// Its seals: whoever maps it can rely on its length.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// Where the value is; the bytes behind it begin at a multiple of that.
const AT: usize = size_of::<Prologue>();

impl<T: Shared> Region<T> {
    /// Makes one, with so many bytes behind the value, all zero. Gives its descriptor, too, by which others open it;
    /// `name` is for `/proc/PID/maps` alone.
    ///
    /// # Errors
    /// If there is not so much memory, or no descriptor to be had.
    pub fn create(name: &std::ffi::CStr, tail_bytes: usize) -> io::Result<(Region<T>, OwnedFd)> {
        const { assert!(align_of::<T>() <= AT) };
        let bytes = tail_bytes.checked_add(tail_at::<T>()).and_then(|bytes| u64::try_from(bytes).ok());
        let bytes = bytes.filter(|bytes| *bytes < 1 << 62).ok_or(io::ErrorKind::OutOfMemory)?;
        let fd = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        reserve(&fd, bytes)?;
        fcntl_add_seals(&fd, SEALS)?;
        let map = Arc::new(Map::shared(fd.as_fd(), bytes as usize, 0)?);
        let region = Region::<T> { map, tail_bytes, of: PhantomData };
        region.begin()?;
        region.prologue().tail_bytes.store(tail_bytes as u64, Relaxed);
        region.prologue().id.store(fstat(&fd)?.st_ino, Relaxed);
        region.prologue().mark.store(mark::<T>(), Release);
        Ok((region, fd))
    }

    /// Maps the one that a descriptor has.
    ///
    /// # Errors
    /// `InvalidData` if it holds something else; what the kernel says, if it refuses the mapping.
    pub fn open(fd: impl AsFd) -> io::Result<Region<T>> {
        let other = || io::Error::new(io::ErrorKind::InvalidData, format!("no shared {}", type_name::<T>()));
        let seals = fcntl_get_seals(&fd).map_err(|_| other())?;
        let bytes = usize::try_from(fstat(&fd)?.st_size).map_err(|_| other())?;
        let tail_bytes = bytes.checked_sub(tail_at::<T>());
        let (true, Some(tail_bytes)) = (seals.contains(SEALS), tail_bytes) else { return Err(other()) };
        let map = Arc::new(Map::shared(fd.as_fd(), bytes, 0)?);
        let region = Region::<T> { map, tail_bytes, of: PhantomData };
        let (mark_there, tail_there) = (&region.prologue().mark, &region.prologue().tail_bytes);
        if mark_there.load(Acquire) != mark::<T>() || tail_there.load(Relaxed) != tail_bytes as u64 {
            return Err(other());
        }
        Ok(region)
    }

    /// How many bytes are behind the value.
    #[must_use]
    pub fn tail_bytes(&self) -> usize {
        self.tail_bytes
    }

    /// Copies bytes into the tail. Whoever copies there meanwhile gets a mixture: a mutex says who may.
    ///
    /// # Panics
    /// If they do not fit.
    pub fn copy_in(&self, at: usize, bytes: &[u8]) {
        let to = self.tail(at..at + bytes.len());
        let (head, rest) = bytes.split_at(to.align_offset(8).min(bytes.len()));
        let (words, last) = rest.as_chunks::<8>();
        // SAFETY: inside the mapping by `tail`; the words are aligned, since the head ends where they begin.
        unsafe {
            for (n, byte) in head.iter().enumerate() {
                AtomicU8::from_ptr(to.add(n)).store(*byte, Relaxed);
            }
            let to = to.add(head.len());
            for (n, word) in words.iter().enumerate() {
                AtomicU64::from_ptr(to.cast::<u64>().add(n)).store(u64::from_ne_bytes(*word), Relaxed);
            }
            let to = to.add(words.len() * 8);
            for (n, byte) in last.iter().enumerate() {
                AtomicU8::from_ptr(to.add(n)).store(*byte, Relaxed);
            }
        }
    }

    /// Copies bytes out of the tail; see [`Region::copy_in`].
    ///
    /// # Panics
    /// If there are not so many.
    pub fn copy_out(&self, at: usize, bytes: &mut [u8]) {
        let from = self.tail(at..at + bytes.len());
        let (head, rest) = bytes.split_at_mut(from.align_offset(8).min(bytes.len()));
        let (words, last) = rest.as_chunks_mut::<8>();
        // SAFETY: as in `copy_in`.
        unsafe {
            for (n, byte) in head.iter_mut().enumerate() {
                *byte = AtomicU8::from_ptr(from.add(n)).load(Relaxed);
            }
            let from = from.add(head.len());
            for (n, word) in words.iter_mut().enumerate() {
                *word = AtomicU64::from_ptr(from.cast::<u64>().add(n)).load(Relaxed).to_ne_bytes();
            }
            let from = from.add(words.len() * 8);
            for (n, byte) in last.iter_mut().enumerate() {
                *byte = AtomicU8::from_ptr(from.add(n)).load(Relaxed);
            }
        }
    }

    fn tail(&self, range: Range<usize>) -> *mut u8 {
        assert!(
            range.start <= range.end && range.end <= self.tail_bytes,
            "bytes {range:?} of {} in shared memory",
            self.tail_bytes
        );
        // SAFETY: inside the mapping by the assertion.
        unsafe { self.map.address.as_ptr().cast::<u8>().add(tail_at::<T>() + range.start) }
    }

    /// A number that is this memory's own, whoever has mapped it, as long as it is there.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.prologue().id.load(Relaxed)
    }

    /// Whether that is an address in here.
    pub(crate) fn holds(&self, address: *const u8) -> bool {
        let first = self.map.address.as_ptr().addr();
        (first..first + self.map.bytes).contains(&address.addr())
    }

    fn prologue(&self) -> &Prologue {
        // SAFETY: the mapping begins with it, aligned to a page; of atomics, sound for any bits.
        unsafe { self.map.address.cast::<Prologue>().as_ref() }
    }

    fn value(&self) -> NonNull<T> {
        // SAFETY: inside the mapping, which is as long as `tail_at` at least.
        unsafe { self.map.address.cast::<u8>().add(AT).cast() }
    }
}

fn tail_at<T>() -> usize {
    AT + size_of::<T>().next_multiple_of(AT)
}

/// A number of the type, by its name and size; never zero. Whoever opens a region is of the same build.
fn mark<T>() -> u64 {
    let seed = 0xcbf2_9ce4_8422_2325 ^ size_of::<T>() as u64;
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    type_name::<T>().bytes().fold(seed, mix) | 1
}

impl<T: Shared> Deref for Region<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: mapped as long as this lives, aligned to AT, and by the trait sound for any bits that others write.
        unsafe { self.value().as_ref() }
    }
}

impl<T: Shared> Clone for Region<T> {
    fn clone(&self) -> Region<T> {
        Region { map: Arc::clone(&self.map), tail_bytes: self.tail_bytes, of: PhantomData }
    }
}

impl<T: Shared> fmt::Debug for Region<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region").field("of", &type_name::<T>()).field("tail_bytes", &self.tail_bytes).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::robust::Robust;
    use rustix::fs::ftruncate;
    use std::process;
    use std::thread;

    shared! {
        struct Tally {
            lock: Robust,
            again: Robust<true>,
            count: AtomicU64,
            parts: [AtomicU32; 3],
        }
    }

    shared! {
        struct Other {
            count: AtomicU64,
        }
    }

    fn tally() -> (Region<Tally>, OwnedFd) {
        Region::create(c"tally", 100).unwrap()
    }

    #[test]
    fn two_mappings_are_one_memory() {
        let (first, fd) = tally();
        let second = Region::<Tally>::open(&fd).unwrap();
        first.parts[2].store(7, Relaxed);
        assert_eq!(second.parts[2].load(Relaxed), 7);
        assert!(first.id() == second.id() && first.id() != tally().0.id());
        let text: Vec<u8> = (0..100).collect();
        for at in 0..20 {
            first.copy_in(at, &text[..100 - at]);
            let mut read = vec![0; 100 - at];
            second.copy_out(at, &mut read);
            assert_eq!(read, text[..100 - at], "at {at}");
        }
        assert!(ftruncate(&fd, 0).is_err() && ftruncate(&fd, 1 << 20).is_err());
    }

    #[test]
    #[should_panic(expected = "bytes 90..101 of 100")]
    fn bytes_that_do_not_fit_are_refused() {
        tally().0.copy_in(90, &[0; 11]);
    }

    #[test]
    fn what_is_of_another_type_or_not_sealed_is_refused() {
        let (_tally, fd) = tally();
        assert_eq!(Region::<Other>::open(&fd).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let unsealed = memfd_create("unsealed", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&unsealed, 4_096).unwrap();
        assert_eq!(Region::<Other>::open(&unsealed).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn more_memory_than_there_is_is_an_error_and_no_signal() {
        for bytes in [1 << 50, usize::MAX] {
            assert!(Region::<Other>::create(c"huge", bytes).is_err());
        }
    }

    #[test]
    fn one_thread_at_a_time_holds_a_mutex_whichever_mapping_it_has() {
        let (first, fd) = tally();
        let second = Region::<Tally>::open(&fd).unwrap();
        let add = |region: &Region<Tally>| {
            for _ in 0..10_000 {
                let held = region.lock(|tally| &tally.lock);
                held.count.store(held.count.load(Relaxed) + 1, Relaxed);
            }
        };
        thread::scope(|scope| {
            scope.spawn(|| add(&first));
            scope.spawn(|| add(&second));
        });
        assert_eq!(first.count.load(Relaxed), 20_000);
    }

    #[test]
    fn a_mutex_is_tried_and_waited_for_and_one_kind_is_taken_again() {
        let (region, _fd) = tally();
        let held = region.lock(|tally| &tally.lock);
        assert_eq!(held.lock.holder(), Some(rustix::thread::gettid().as_raw_nonzero().get() as u32));
        assert!(region.try_lock(|tally| &tally.lock).is_none(), "by its own thread");
        let other = region.clone();
        let waited = thread::spawn(move || {
            let until = Some(crate::clock::Deadline::after(std::time::Duration::from_millis(20)));
            other.try_lock(|tally| &tally.lock).is_none()
                && other.lock_until(|tally| &tally.lock, until).is_none()
        });
        assert!(waited.join().unwrap());
        drop(held);
        assert_eq!(region.lock.holder(), None);
        let (first, second) = (region.lock(|tally| &tally.again), region.lock(|tally| &tally.again));
        drop(first);
        let other = region.clone();
        assert!(thread::spawn(move || other.try_lock(|tally| &tally.again).is_none()).join().unwrap());
        drop(second);
        assert!(region.try_lock(|tally| &tally.again).is_some());
    }

    #[test]
    #[should_panic(expected = "holds the lock already")]
    fn a_mutex_that_its_thread_holds_is_no_deadlock_but_a_panic() {
        let (region, _fd) = tally();
        let _held = region.lock(|tally| &tally.lock);
        let _again = region.lock(|tally| &tally.lock);
    }

    #[test]
    fn a_thread_that_ends_with_a_mutex_in_hand_is_dead_to_the_next() {
        let (region, _fd) = tally();
        let other = region.clone();
        thread::spawn(move || std::mem::forget(other.lock(|tally| &tally.lock))).join().unwrap();
        assert!(region.lock(|tally| &tally.lock).owner_died());
        assert!(!region.lock(|tally| &tally.lock).owner_died(), "it was told once");
    }

    #[test]
    fn a_process_that_dies_with_a_mutex_in_hand_is_dead_to_the_next() {
        const TEST: &str = "region::tests::a_process_that_dies_with_a_mutex_in_hand_is_dead_to_the_next";
        if let Ok(loan) = std::env::var("LENDER") {
            let numbers: Vec<u64> = loan.split(' ').map(|number| number.parse().unwrap()).collect();
            let loan = crate::lend::Loan {
                owner: numbers[0] as u32,
                number: numbers[1] as i32,
                device: numbers[2],
                inode: numbers[3],
            };
            let region = Region::<Tally>::open(loan.open(crate::lend::Access::Both).unwrap()).unwrap();
            let _held = region.lock(|tally| &tally.lock);
            process::abort();
        }
        let (region, fd) = tally();
        let crate::lend::Loan { owner, number, device, inode } = crate::lend::Loan::of(&fd).unwrap();
        let told = process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", TEST])
            .env("LENDER", format!("{owner} {number} {device} {inode}"))
            .output()
            .unwrap();
        assert!(!told.status.success());
        assert!(region.lock(|tally| &tally.lock).owner_died(), "{told:?}");
    }
}
