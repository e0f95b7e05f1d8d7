//! The journal: what a run has settled, in one file, so that a later supervisor can go on.
//!
//! ```text
//! Record ─▶ append ─▶ buffer ─▶ flush: one write ─▶ the kernel has it: safe against any kill of this process
//!                                        └▶ sync: fdatasync ─▶ the disk has it: safe against loss of power
//! open ─▶ Replay: whose is it? ─▶ check ─▶ each record ─▶ a torn tail is cut, damage in the middle refused ─▶ Journal
//! ```
//!
//! # The file
//!
//! ```text
//! BRIGADEJ │ version u32 │ length u32 │ sum of these 16 │ sum of these 20 and the body │ body: Identity, Durability
//! length u32 │ sum u32 │ body: Record            as often as there are
//! length u32 │ sum u32 │ 249, values             of one worker, as many as were appended at one go
//! length u32 │ sum u32 │ 250, end u64            a mark: all before `end` is on the disk
//! ```
//!
//! Everything is little endian, every sum a CRC-32C. A record's sum is that of its body; it starts from the header's
//! sum, xored with where the record stands and how long it is. So a record that lies inside some task's result, a block
//! of another run's journal, or one that landed at the wrong place, is not taken for a record of this run.
//!
//! # What is cut and what is refused
//!
//! Reading stops at the first record that is not whole. If it can be proved that the bytes there had been written
//! properly once, the file is damaged, and [`OpenError::Damaged`] names the byte; a refused journal is not touched.
//! Otherwise it is the torn tail of the last write, and is cut off. The proof depends on what the run was promised:
//!
//! - [`Durability::Kill`]: any whole record behind it, for the kernel takes bytes in order. (After a loss of power, for
//!   which nothing was promised, such a journal may be refused.)
//! - [`Durability::Power`]: a mark behind it that covers it. Without one the disk may well have kept a later block and
//!   lost an earlier one, and nobody has been told that those were safe.
//!
//! The run directory's lock sees to it that a journal has one writer; this crate has none of its own.
//!
//! ```
//! use brigade_journal::{Durability, Identity, Journal, JournalFile, Record, Settled};
//! use brigade_wire::{Attempt, Outcome, PROTOCOL, SlotId, TaskId, WorkerId};
//!
//! # let path = std::env::temp_dir().join(format!("brigade-journal-doc-{}", std::process::id()));
//! let identity = Identity {
//!     run: "20261120-093012-4711".into(),
//!     function: "range-sum".into(),
//!     parameters: "1..=1000 in 2 tasks".into(),
//!     tasks: 2,
//!     input_hash: 0x5eed,
//!     protocol: PROTOCOL,
//! };
//! let mut journal = Journal::create(JournalFile::create(&path)?, &identity, Durability::Kill)?;
//! let settled = Settled {
//!     task: TaskId(1),
//!     attempt: Attempt::FIRST,
//!     worker: WorkerId { slot: SlotId(0), incarnation: 1 },
//!     outcome: Outcome::Value(vec![42]),
//! };
//! journal.append(&Record::Settled(settled.clone()))?;
//! journal.commit()?; // from here on it may be told to others
//! drop(journal); // or kill -9
//!
//! let replay = Journal::open(JournalFile::open(&path)?)?;
//! replay.check(&identity)?;
//! let (journal, recovered, known) = replay.collect()?;
//! assert_eq!(known, [settled]);
//! assert_eq!((recovered.records, recovered.torn_bytes), (1, 0));
//! # drop(journal);
//! # std::fs::remove_file(&path)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod error;
mod file;
mod format;
mod identity;
mod journal;
mod record;
mod replay;
mod storage;
mod values;
mod window;

pub use error::{JournalError, OpenError};
pub use file::JournalFile;
pub use identity::{Difference, Identity, IdentityError};
pub use journal::{BUFFER_BYTES_MAX, Journal};
pub use record::{Durability, Record, Settled};
pub use replay::{Recovered, Replay};
pub use storage::Storage;
