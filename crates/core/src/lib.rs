//! What to do next. The core decides and touches nothing: no IO, no clock, no thread, no file descriptor.
//!
//! ```text
//! submit ─▶ Backlog ─▶ Lease(worker) ─▶ Ended ─▶ Ledger          a death sends the lease back to the front
//! Event ──▶ Core::on(event, now) ──▶ Effects                     the one door
//! ```
//!
//! Whatever happens comes in as one [`Event`]; whatever is to be done goes out as [`Effect`]s, which are
//! wishes: the core believes that a worker is dead when [`Event::Gone`] says so, not when it asked for it.
//! So the same core runs in the supervisor and, a million times over, in the seeded storms of its tests.
//!
//! After every event `backlog + leased + settled == submitted`.
#![forbid(unsafe_code)]

mod effect;
mod event;
mod policy;
mod time;

pub use effect::{Effect, GiveUp, Lease, Note};
pub use event::{Event, Running};
pub use policy::{Backoff, Intensity, Lookahead, Policy, Schedule};
pub use time::Now;
