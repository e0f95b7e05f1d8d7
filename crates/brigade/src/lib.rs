//! `multiprocessing` and `concurrent.futures` for Rust: functions of this program run in worker processes that may crash,
//! hang, leak or be killed, and the answer is exact nevertheless.
//!
//! ```standalone_crate
//! fn square(n: u64) -> u64 {
//!     n * n
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     brigade::init(); // first of all: in a worker it never returns
//!     let pool = brigade::Pool::builder().procs(4).build()?;
//!     let sum = pool.map_reduce(square, 0..10, 0, |sum, n| sum + n)?;
//!     assert_eq!(sum, 285);
//!     Ok(())
//! }
//! ```
//!
//! | Python                             | here                                               |
//! |------------------------------------|----------------------------------------------------|
//! | `Pool(4)`                          | [`Pool::builder`]`().procs(4).build()`             |
//! | `pool.map(f, xs)`                  | [`Pool::map`]                                      |
//! | `imap_unordered`                   | [`Pool::map_unordered`]                            |
//! | `starmap`                          | [`Pool::starmap`]                                  |
//! | `apply_async`, `submit`            | [`Pool::submit`], a [`Job`]                        |
//! | `ProcessPoolExecutor`              | [`ProcessExecutor`], an [`Executor`]               |
//! | `ThreadPoolExecutor`               | [`ThreadExecutor`], another                        |
//! | `as_completed`, `wait`             | [`as_completed`], [`wait`]                         |
//! | `Pool(initializer=…)`, an actor      | [`Builder::initializer`], [`Worker`]               |
//! | `future.cancel()`                  | [`Job::cancel`], and it stops what runs            |
//! | `Process(target=f, args=(a,))`     | [`Process::builder`]`(f, a)`                       |
//! | `active_children()` …              | [`active_children`], [`current_process`], [`parent_process`], [`cpu_count`] |
//! | `Pipe()`, `Pipe(False)`            | [`duplex`], [`pipe`]                               |
//! | `Queue`, `JoinableQueue`, `SimpleQueue` | [`Queue`]                                     |
//! | `multiprocessing.connection.wait`  | [`connection::wait`]                               |
//! | `if __name__ == "__main__"`        | [`init`]                                           |
//! | `Lock`, `RLock`, `Semaphore`, …    | [`sync`]                                           |
//! | `Value`, `Array`, `shared_memory`  | [`shared`]                                         |
//! | `Manager()`                        | [`manager`]                                        |
//!
//! What dies with a worker is one attempt at one call: it is tried again, three times in all, and then given up alone, with
//! its story ([`TaskError::Quarantined`]). A chunk of a map that kills is halved until the one bad item is alone.
//!
//! Functions go to workers by their place in this program, so they may capture nothing, and both are always of one build. What
//! they take and give is what serde can write and read without names: `untagged`, `flatten`, `skip_serializing_if` and
//! `serde_json::Value` are errors that say so.
//!
//! With the feature `tracing` a subscriber of that crate sees the life of each pool, and each call from its submission to its
//! result, with pid and attempts. Rust 1.95 or later, Linux 5.4 or later.
#![forbid(unsafe_code)]

mod actor;
mod afterwards;
mod call;
mod carry;
pub mod connection;
mod desk;
mod error;
mod executor;
mod handle;
mod hooks;
mod host;
mod init;
mod job;
mod load;
pub mod manager;
mod map;
mod order;
mod parcel;
mod pool;
mod process;
mod queue;
mod receipt;
mod share;
pub mod shared;
pub mod sync;
mod tasks;
mod threads;
mod trace;
mod watch;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/FROM_PYTHON.md")]
struct FromPython;

pub use actor::{Worker, WorkerPool};
pub use brigade_core::{Schedule, UnknownSchedule};
#[doc(hidden)]
pub use brigade_os::before_main;
pub use brigade_os::spread::Spread;
pub use brigade_supervisor::run::StartMethod;
pub use brigade_wire::{Attempt, Exit, FailedAttempt, Mishap, WorkerId};
pub use call::Value;
pub use connection::{Connection, ConnectionError, Receiver, Sender, duplex, pipe};
pub use error::{BuildError, Origin, TaskError};
pub use executor::{Executor, ProcessExecutor};
pub use hooks::Initialized;
pub use init::{init, init_in_tests, serve_in_tests};
pub use job::{AsCompleted, Job, Until, as_completed, wait};
pub use load::{Load, Loads};
pub use map::Map;
pub use pool::{Builder, Pool};
pub use process::child::{CurrentProcess, ParentProcess, current_process, parent_process};
pub use process::{Process, ProcessBuilder, ProcessError, active_children, cpu_count};
pub use queue::{JoinableQueue, Lease, Queue, QueueError, SimpleQueue};
pub use tasks::{Task, Tasks, worker};
pub use threads::ThreadExecutor;

/// The programs of the guide are tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/GUIDE.md")]
struct Guide;
