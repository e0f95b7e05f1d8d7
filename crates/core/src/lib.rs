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
//!
//! | module      | knows                                                     |
//! |-------------|-----------------------------------------------------------|
//! | `core`      | the door, the phases of a run, what must hold in between  |
//! | `roster`    | slots and the lives of their workers                      |
//! | `hand`      | what one worker holds, and whether it gets on with it     |
//! | `backlog`   | what nobody holds, under each schedule                    |
//! | `ledger`    | what is settled, and what it took                         |
//! | `dispatch`  | who gets how much, and which results count                |
//! | `lives`     | births, deaths, blame, successors                         |
//! | `recall`    | what an earlier supervisor of the run has settled         |
//! | `cancel`    | what nobody wants any more                                |
//! | `recycle`   | workers that have served their time                       |
//! | `resize`    | more slots or fewer, and slots lost to the unkillable     |
//! | `restart`   | intensity and backoff                                     |
//! | `suspects`  | tasks that are known to be dangerous                      |
//! | `median`    | how long tasks usually take, for deadlines that follow it |
//! | `sleeps`    | when the loop itself did not run                          |
//! | `deadlines` | what is due, and what a look at a page tells              |
//! | `ending`    | conclude, halt, drain, abort, give up                     |
#![forbid(unsafe_code)]

mod backlog;
mod bugs;
mod cancel;
mod core;
mod deadlines;
mod dispatch;
mod effect;
mod ending;
mod event;
mod hand;
mod ledger;
mod lives;
mod median;
mod policy;
mod recall;
mod recycle;
mod resize;
mod restart;
mod roster;
mod sleeps;
mod suspects;
mod takeback;
mod time;
mod view;

#[cfg(feature = "seeded-bugs")]
pub use bugs::Bug;
pub use core::Core;
pub use effect::{Effect, GiveUp, Lease, Note, Recycle, Unresized};
pub use event::{Event, Running};
pub use policy::{
    Backoff, Halt, HaltLimit, HaltOn, HaltWhen, Intensity, Lookahead, Policy, Schedule, Timeout,
    UnknownSchedule,
};
pub use time::Now;
pub use view::{Life, SlotView, Tally, Verdict};
