//! How Unix does it. Raw pids, errnos, wait statuses and file descriptors stop in this crate, and so does
//! `unsafe`: every block says why it is sound.
//!
//! ```text
//! supervisor ── exec ──▶ template ── clone(CLONE_PARENT) ──▶ worker        birth.rs
//!     ▲                                                        │
//!     └── pidfd ◀── epoll ◀── death ◀─────────────────────────┘           death.rs, body.rs
//! page.rs   one shared page per slot: what a worker runs, readable after its death
//! blob.rs   files without a name: what no packet holds
//! post.rs, kin.rs   the children of a program that has a template for its own processes
//! frozen.rs bytes that many look at and nobody writes
//! region.rs shared memory of equals, with robust.rs and futex.rs for who may write it and who waits
//! rows.rs   the same where it may be much and is taken as it is needed; seat.rs says who of them is still there
//! ```

pub mod birth;
pub mod blob;
pub mod blow;
pub mod body;
pub mod cgroup;
pub mod clock;
pub mod death;
pub mod dial;
mod entry;
pub mod frozen;
pub mod futex;
pub mod heap;
pub mod inherit;
pub mod kin;
pub mod lend;
pub mod limits;
pub mod logfile;
mod map;
pub mod memcg;
pub mod oom;
pub mod page;
pub mod pipe;
pub mod post;
pub mod proc;
pub mod ready;
pub mod region;
pub mod robust;
pub mod rows;
pub mod seat;
pub mod signals;
pub mod spread;
#[cfg(feature = "steps")]
pub mod steps;
pub mod strays;
pub mod text;

pub use blow::Blow;
pub use body::{Body, Motion, Pid};
