//! `SharedArray`.

use crate::handle::Handle;
use crate::sync::{Dead, OwnerDied, told};
use brigade_os::clock::Deadline;
use brigade_os::robust::{Held, Robust};
use brigade_os::shared;
use bytemuck::Pod;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::any::type_name;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::process;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst, fence};
use std::time::Duration;

shared! {
    /// What is before the elements. Behind them is room for one more: what is being written.
    pub(super) struct State {
        mutex: Robust,
        /// The process whose guard holds the mutex: what it does is more than one write. 0 if none.
        guarded_by: AtomicU32,
        /// The process that died with a guard, and nobody was told.
        orphaned_by: AtomicU32,
        /// The element that is being written, plus one.
        writing: AtomicU64,
    }
}

/// A fixed number of elements that any number of processes read and write, one at a time.
///
/// [`SharedArray::lock`] keeps the others out for as long as its guard lives, also if its process is merely stopped:
/// [`SharedArray::lock_timeout`] is for whoever does not wait for that.
///
/// ```
/// use brigade::shared::SharedArray;
///
/// let array = SharedArray::new(&[1.5, 2.5])?;
/// array.set(0, 9.0);
/// let guard = array.lock()?;
/// guard.set(1, guard.get(0) + guard.get(1));
/// drop(guard);
/// assert_eq!(array.to_vec(), [9.0, 11.5]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SharedArray<T: Pod> {
    handle: Handle<State>,
    len: usize,
    of: PhantomData<T>,
}

/// A [`SharedArray`] that nobody else reads or writes until this is dropped. If whoever has one dies, the next one that
/// locks is told.
///
/// ```
/// use brigade::shared::{ArrayGuard, SharedArray};
///
/// let array = SharedArray::new(&[3, 1, 2])?;
/// let guard: ArrayGuard<i32> = array.lock()?;
/// let mut sorted = guard.to_vec();
/// sorted.sort();
/// guard.copy_from_slice(&sorted); // and nobody has written meanwhile
/// assert_eq!((guard.len(), guard.is_empty(), guard.get(0)), (3, false, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping it unlocks"]
pub struct ArrayGuard<T: Pod> {
    array: SharedArray<T>,
    // Before the mutex: nobody guards it when it is free.
    _guarded: Guarded,
    held: Held<State>,
}

/// Says that somebody has a guard, as long as this lives.
struct Guarded(Handle<State>);

impl Guarded {
    fn begin(handle: &Handle<State>) -> Guarded {
        handle.guarded_by.store(process::id(), SeqCst);
        Guarded(handle.clone())
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.0.guarded_by.store(0, SeqCst);
    }
}

impl<T: Pod> SharedArray<T> {
    /// Of these elements.
    ///
    /// # Errors
    /// If there is not so much memory, or no descriptor to be had.
    pub fn new(values: &[T]) -> io::Result<SharedArray<T>> {
        let array = SharedArray::zeroed(values.len())?;
        array.handle.copy_in(0, bytemuck::cast_slice(values));
        Ok(array)
    }

    /// Of so many elements that are all zero bits.
    ///
    /// ```
    /// # use brigade::shared::SharedArray;
    /// let array = SharedArray::<u64>::zeroed(1_000)?;
    /// assert_eq!((array.len(), array.is_empty(), array.get(999)), (1_000, false, 0));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`SharedArray::new`].
    pub fn zeroed(len: usize) -> io::Result<SharedArray<T>> {
        const { assert!(size_of::<T>() > 0, "elements without bytes need no shared memory") };
        let bytes = len.checked_add(1).and_then(|len| len.checked_mul(size_of::<T>()));
        let handle = Handle::create("shared-array", bytes.ok_or(io::ErrorKind::OutOfMemory)?)?;
        Ok(SharedArray { handle, len, of: PhantomData })
    }

    /// How many elements it has.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The element at that index.
    ///
    /// # Panics
    /// If there is none, or this thread has a guard of it.
    pub fn get(&self, index: usize) -> T {
        let _held = self.held();
        self.read(index)
    }

    /// Replaces the element at that index.
    ///
    /// # Panics
    /// As [`SharedArray::get`].
    pub fn set(&self, index: usize, value: T) {
        let _held = self.held();
        self.write(index, value);
    }

    /// A copy of all, as they are at one moment.
    ///
    /// # Panics
    /// If this thread has a guard of it.
    pub fn to_vec(&self) -> Vec<T> {
        let _held = self.held();
        self.read_all()
    }

    /// Waits until nobody else has it.
    ///
    /// # Errors
    /// [`OwnerDied`], with the guard, if somebody died with one: elements that belong together may not do so any more.
    ///
    /// # Panics
    /// If this thread has a guard of it.
    pub fn lock(&self) -> Result<ArrayGuard<T>, OwnerDied<ArrayGuard<T>>> {
        self.guard(self.held())
    }

    /// `None` if somebody has it, be it this thread, or reads or writes an element just then.
    ///
    /// ```
    /// # use brigade::shared::SharedArray;
    /// let array = SharedArray::new(&[1, 2])?;
    /// let guard = array.try_lock()?.expect("nobody has it");
    /// assert!(array.try_lock()?.is_none());
    /// drop(guard);
    /// assert!(array.try_lock()?.is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`SharedArray::lock`].
    pub fn try_lock(&self) -> Result<Option<ArrayGuard<T>>, OwnerDied<ArrayGuard<T>>> {
        let held = self.handle.try_lock(|state| &state.mutex);
        held.map(|held| self.guard(self.finished(held))).transpose()
    }

    /// `None` if somebody still has it after that time: one that is stopped keeps it until it goes on.
    ///
    /// ```
    /// # use brigade::shared::SharedArray;
    /// # use std::thread;
    /// # use std::time::Duration;
    /// let array = SharedArray::new(&[1, 2])?;
    /// let guard = array.lock()?;
    /// thread::scope(|scope| {
    ///     let other = scope.spawn(|| matches!(array.lock_timeout(Duration::from_millis(1)), Ok(None)));
    ///     assert!(other.join().expect("it does not panic"), "it has waited in vain");
    /// });
    /// drop(guard);
    /// assert!(array.lock_timeout(Duration::from_millis(1))?.is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`SharedArray::lock`].
    ///
    /// # Panics
    /// As [`SharedArray::lock`].
    pub fn lock_timeout(&self, timeout: Duration) -> Result<Option<ArrayGuard<T>>, OwnerDied<ArrayGuard<T>>> {
        let held = self.handle.lock_until(|state| &state.mutex, Some(Deadline::after(timeout)));
        held.map(|held| self.guard(self.finished(held))).transpose()
    }

    fn guard(&self, held: Held<State>) -> Result<ArrayGuard<T>, OwnerDied<ArrayGuard<T>>> {
        // In this order: whoever dies between the two has died with a guard.
        let guarded = Guarded::begin(&self.handle);
        let orphaned_by = held.orphaned_by.swap(0, SeqCst);
        let dead = (orphaned_by != 0).then(|| Dead::of(orphaned_by));
        told(ArrayGuard { array: self.clone(), _guarded: guarded, held }, dead)
    }

    /// Locks, and writes to its end what the dead began.
    pub(super) fn held(&self) -> Held<State> {
        self.finished(self.handle.lock(|state| &state.mutex))
    }

    fn finished(&self, held: Held<State>) -> Held<State> {
        if held.owner_died() {
            if let Some(index) = held.writing.load(SeqCst).checked_sub(1) {
                self.finish(index as usize, self.read_at(self.len));
            }
            // In this order: whoever dies between the two leaves it to be told.
            let pid = held.guarded_by.load(SeqCst);
            if pid != 0 {
                held.orphaned_by.store(pid, SeqCst);
                held.guarded_by.store(0, SeqCst);
            }
        }
        held
    }

    pub(super) fn read(&self, index: usize) -> T {
        self.check(index);
        self.read_at(index)
    }

    /// First behind the elements, then in its place.
    pub(super) fn write(&self, index: usize, value: T) {
        self.check(index);
        self.write_at(self.len, value);
        fence(SeqCst);
        self.handle.writing.store(index as u64 + 1, SeqCst);
        self.finish(index, value);
    }

    fn finish(&self, index: usize, value: T) {
        self.write_at(index, value);
        fence(SeqCst);
        self.handle.writing.store(0, SeqCst);
    }

    fn check(&self, index: usize) {
        assert!(index < self.len, "index {index} of a shared array of {}", self.len);
    }

    fn read_at(&self, index: usize) -> T {
        let mut value = T::zeroed();
        self.handle.copy_out(index * size_of::<T>(), bytemuck::bytes_of_mut(&mut value));
        value
    }

    fn write_at(&self, index: usize, value: T) {
        self.handle.copy_in(index * size_of::<T>(), bytemuck::bytes_of(&value));
    }

    fn read_all(&self) -> Vec<T> {
        let mut all = vec![T::zeroed(); self.len];
        self.handle.copy_out(0, bytemuck::cast_slice_mut(&mut all));
        all
    }
}

impl<T: Pod> ArrayGuard<T> {
    /// The element at that index.
    ///
    /// # Panics
    /// If there is none.
    pub fn get(&self, index: usize) -> T {
        self.array.read(index)
    }

    /// Replaces the element at that index.
    ///
    /// # Panics
    /// If there is none.
    pub fn set(&self, index: usize, value: T) {
        self.array.write(index, value);
    }

    /// A copy of all.
    pub fn to_vec(&self) -> Vec<T> {
        self.array.read_all()
    }

    /// Replaces all, one after the other.
    ///
    /// # Panics
    /// If these are not as many.
    pub fn copy_from_slice(&self, values: &[T]) {
        assert_eq!(values.len(), self.array.len, "as many as there are");
        for (index, value) in values.iter().enumerate() {
            self.array.write(index, *value);
        }
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.array.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.array.is_empty()
    }
}

impl<T: Pod> Clone for SharedArray<T> {
    fn clone(&self) -> SharedArray<T> {
        SharedArray { handle: self.handle.clone(), len: self.len, of: PhantomData }
    }
}

impl<T: Pod> fmt::Debug for SharedArray<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedArray").field("of", &type_name::<T>()).field("len", &self.len).finish()
    }
}

impl<T: Pod> fmt::Debug for ArrayGuard<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArrayGuard").field("id", &self.held.region().id()).field("len", &self.len()).finish()
    }
}

impl<T: Pod> Serialize for SharedArray<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.handle.serialize(serializer)
    }
}

impl<'de, T: Pod> Deserialize<'de> for SharedArray<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SharedArray<T>, D::Error> {
        let handle: Handle<State> = Handle::deserialize(deserializer)?;
        let bytes = handle.tail_bytes();
        let len = bytes.checked_div(size_of::<T>()).filter(|_| bytes.is_multiple_of(size_of::<T>()));
        let len = len.and_then(|len| len.checked_sub(1));
        let strange =
            || D::Error::custom(format!("shared array: {bytes} bytes are none of {}", type_name::<T>()));
        Ok(SharedArray { handle, len: len.ok_or_else(strange)?, of: PhantomData })
    }
}
