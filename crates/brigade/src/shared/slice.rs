//! `SharedSlice`.

use crate::carry::Carried;
use brigade_os::frozen::Frozen;
use brigade_os::lend::Access;
use bytemuck::Pod;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

/// A slice that any number of processes look at where it is. Nobody can write it any more, this process included.
///
/// ```
/// let numbers = brigade::shared::SharedSlice::new(&[1_u32, 2, 3])?;
/// assert_eq!(numbers.iter().sum::<u32>(), 6);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct SharedSlice<T: Pod> {
    carried: Carried,
    frozen: Arc<Frozen>,
    of: PhantomData<T>,
}

impl<T: Pod> SharedSlice<T> {
    /// Of a copy of these: the only one that is made.
    ///
    /// # Errors
    /// If there is not so much memory, or no descriptor to be had.
    pub fn new(values: &[T]) -> io::Result<SharedSlice<T>> {
        let (frozen, fd) = Frozen::create(c"shared-slice", bytemuck::cast_slice(values))?;
        Ok(SharedSlice { carried: Carried::new(fd, Access::Read), frozen: Arc::new(frozen), of: PhantomData })
    }
}

impl<T: Pod> Deref for SharedSlice<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self.frozen.bytes() {
            [] => &[],
            // It begins at a page.
            bytes => bytemuck::cast_slice(bytes),
        }
    }
}

impl<T: Pod> Clone for SharedSlice<T> {
    fn clone(&self) -> SharedSlice<T> {
        SharedSlice { carried: self.carried.clone(), frozen: Arc::clone(&self.frozen), of: PhantomData }
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for SharedSlice<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<T: Pod> Serialize for SharedSlice<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.carried.serialize(serializer)
    }
}

impl<'de, T: Pod> Deserialize<'de> for SharedSlice<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SharedSlice<T>, D::Error> {
        let carried = Carried::deserialize(deserializer)?;
        let frozen = Frozen::open(carried.fd());
        let frozen = frozen.map_err(|error| D::Error::custom(format!("shared slice: {error}")))?;
        match frozen.bytes() {
            [] => {}
            bytes => drop(bytemuck::try_cast_slice::<u8, T>(bytes).map_err(D::Error::custom)?),
        }
        Ok(SharedSlice { carried, frozen: Arc::new(frozen), of: PhantomData })
    }
}
