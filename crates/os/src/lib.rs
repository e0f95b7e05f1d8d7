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
//! ```

pub mod birth;
pub mod blob;
pub mod blow;
pub mod body;
pub mod cgroup;
pub mod clock;
pub mod death;
mod entry;
pub mod heap;
pub mod inherit;
pub mod kin;
pub mod limits;
pub mod logfile;
pub mod memcg;
pub mod oom;
pub mod page;
pub mod post;
pub mod proc;
pub mod signals;
pub mod spread;
pub mod strays;
pub mod text;

pub use blow::Blow;
pub use body::{Body, Motion, Pid};
