//! Vectors of plain numbers, as they lie in memory: serde would walk through them number by number, at a hundred megabytes a
//! second and less, where a copy of them goes at several gigabytes.
//!
//! ```text
//! numbers, in the byte order of the machine │ nothing after them
//! ```
//!
//! Only where the value is such a vector and nothing else; within others they are written as all else is.

use crate::value::ValueError;
use std::any::Any;

/// Which numbers these are; for each of the two directions.
macro_rules! of_plain_numbers {
    ($($number:ty),* $(,)?) => {
        /// Writes the value behind what the buffer holds, if it is such a vector.
        #[inline]
        pub(crate) fn write<T: 'static>(value: &T, buffer: &mut Vec<u8>) -> bool {
            // Of a type that is known here: for all others nothing is left of this.
            let value: &dyn Any = value;
            $(if let Some(numbers) = value.downcast_ref::<Vec<$number>>() {
                buffer.extend_from_slice(bytemuck::cast_slice(numbers));
                return true;
            })*
            false
        }

        /// Reads the value, if it is to be such a vector.
        #[inline]
        pub(crate) fn read<T: 'static>(bytes: &[u8]) -> Option<Result<T, ValueError>> {
            let mut value = None::<T>;
            let place: &mut dyn Any = &mut value;
            $(if let Some(numbers) = place.downcast_mut::<Option<Vec<$number>>>() {
                match bytes.len() % size_of::<$number>() {
                    0 => *numbers = Some(bytemuck::pod_collect_to_vec(bytes)),
                    rest => return Some(Err(ValueError::Trailing(rest))),
                }
            })*
            value.map(Ok)
        }
    };
}

of_plain_numbers!(u8, i8, u16, i16, u32, i32, u64, i64, u128, i128, usize, isize, f32, f64);
