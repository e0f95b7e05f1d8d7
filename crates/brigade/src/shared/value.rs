//! `SharedValue`.

use crate::shared::SharedArray;
use bytemuck::Pod;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::io;

/// One value that any number of processes read and write, one at a time.
///
/// ```
/// let count = brigade::shared::SharedValue::new(40_u64)?;
/// count.fetch_add(1);
/// assert_eq!(count.update(|count| count + 1), 42);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct SharedValue<T: Pod>(SharedArray<T>);

impl<T: Pod> SharedValue<T> {
    /// Of this one.
    ///
    /// # Errors
    /// If there is no memory or no descriptor to be had.
    pub fn new(value: T) -> io::Result<SharedValue<T>> {
        SharedArray::new(&[value]).map(SharedValue)
    }

    /// A copy of it.
    pub fn get(&self) -> T {
        self.0.get(0)
    }

    /// Replaces it.
    ///
    /// ```
    /// # let count = brigade::shared::SharedValue::new(40_u64)?;
    /// count.set(7);
    /// assert_eq!(count.get(), 7);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set(&self, value: T) {
        self.0.set(0, value);
    }

    /// Replaces it by what `of` makes of it, and nobody else comes between. Returns the new one. Whoever dies in `of` has
    /// changed nothing, nor has a panic. Whoever is stopped in it keeps all others waiting; for time-outs there is
    /// [`SharedArray::lock_timeout`], of an array of one.
    ///
    /// # Panics
    /// If `of` asks for the value by a handle, which is locked: it has it already.
    pub fn update(&self, of: impl FnOnce(T) -> T) -> T {
        let _held = self.0.held();
        let value = of(self.0.read(0));
        self.0.write(0, value);
        value
    }
}

/// What numbers can do.
macro_rules! fetch_add {
    ($($number:ty)*) => {$(
        impl SharedValue<$number> {
            /// Adds to it, around the end of the type as atomics do. Returns what it was before.
            pub fn fetch_add(&self, number: $number) -> $number {
                self.update(|value| value.wrapping_add(number)).wrapping_sub(number)
            }
        }
    )*};
}

fetch_add!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize);

impl<T: Pod> Clone for SharedValue<T> {
    fn clone(&self) -> SharedValue<T> {
        SharedValue(self.0.clone())
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for SharedValue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedValue")
    }
}

impl<T: Pod> Serialize for SharedValue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: Pod> Deserialize<'de> for SharedValue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SharedValue<T>, D::Error> {
        SharedArray::deserialize(deserializer).map(SharedValue)
    }
}
