//! Shared memory for plain old data: mapped by every process that has a handle on it, copied to none.
//!
//! | Python                               | here                                                                |
//! |--------------------------------------|---------------------------------------------------------------------|
//! | `shared_memory` that is only read    | [`SharedSlice`]: a `&[T]`, frozen when it is made                   |
//! | `Array(typecode, …, lock=True)`      | [`SharedArray`]: a fixed number of elements, and a lock             |
//! | `Value(typecode, …)`                 | [`SharedValue`]: one, and a lock                                    |
//!
//! Handles are cloned and sent to workers as arguments or parts of them. The memory has no name, so nothing is left anywhere,
//! and goes with the last handle. All of it is taken when it is made: too little is an error then, and no signal later.
//!
//! Whoever is killed while it writes an element has written it or not, and never half of it; the next one writes it to its end.
//!
//! What an element may be is for `bytemuck` to say: numbers, arrays of them, and structs that derive its `Pod`.
//!
//! ```
//! # brigade::test_entry!(init); init();
//! use brigade::shared::{SharedSlice, SharedValue};
//!
//! fn sum((numbers, part, total): (SharedSlice<u64>, usize, SharedValue<u64>)) {
//!     let part: u64 = numbers.chunks(250_000).nth(part).map_or(0, |part| part.iter().sum());
//!     total.fetch_add(part);
//! }
//!
//! let pool = brigade::Pool::new()?;
//! let (numbers, total) = (pool.share((0..1_000_000).collect::<Vec<u64>>())?, SharedValue::new(0)?);
//! pool.for_each(sum, (0..4).map(|part| (numbers.clone(), part, total.clone())))?;
//! assert_eq!(total.get(), 499_999_500_000);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod array;
mod slice;
mod value;

pub use array::{ArrayGuard, SharedArray};
pub use slice::SharedSlice;
pub use value::SharedValue;
