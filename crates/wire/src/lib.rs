//! What crosses a process boundary, and nothing that does the crossing.
//!
//! ```text
//! supervisor ── Command { Run, Stop } ──▶ encode ──▶ one packet ──▶ decode ──▶ worker
//! supervisor ◀── decode ◀── one packet ◀── encode ◀── Report { Hello, Done } ── worker
//! ```
//!
//! A call or a value that is larger than a frame is named by one, `RunLarge` or `DoneLarge`: the bytes lie elsewhere.
//! What is kept for a later supervisor instead has a codec of its own, `encode_record`, with a limit of its own. Everything else
//! that crosses is a value behind its sum, `encode_summed`.
//!
//! Both programs must have been built from the same protocol: [`PROTOCOL`] is a fingerprint of the very
//! sources in this crate, so nobody has to remember to raise a version number.
#![forbid(unsafe_code)]

mod codec;
mod frame;
mod ids;
mod outcome;
mod plain;
mod record;
mod summed;
mod value;
mod whole;

pub use codec::{Batch, DecodeError, EncodeError, FRAME_BYTES_MAX, Item, decode, encode, seal};
pub use frame::{BLOB_BYTES_MAX, Blob, Call, Command, Ended, Hello, LargeCall, LargeEnded, PROTOCOL, Report};
pub use ids::{Attempt, SlotId, TaskId, WorkerId};
pub use outcome::{Ending, Exit, FailedAttempt, Mishap, Outcome};
pub use record::{RECORD_BYTES_MAX, RecordError, decode_record, encode_record};
pub use summed::{Damage, SummedError, decode_summed, encode_summed, hold_to};
pub use value::{VALUE_BYTES_MAX, ValueError, decode_value, encode_value};
