//! The loop: one thread that owns all state, waits in one place, and asks the core what to do.
//!
//! ```text
//! ears, doors, undertaker, bell ──▶ Inbox ──▶ Core::on ──▶ Effects ──▶ links, template, story, status
//!                                     ▲                                  │
//!                                     └────────── the world ◀────────────┘
//! ```
//!
//! [`run()`] is the whole of it: a [`Plan`](run::Plan) says how, a [`Work`](run::Work) says what, a
//! [`Witness`](run::Witness) watches.
#![forbid(unsafe_code)]

mod allot;
mod asked;
mod backstop;
mod births;
mod books;
pub mod chaos;
mod chronicle;
mod descent;
mod driver;
mod effects;
pub mod error;
mod hands;
mod inbox;
mod incoming;
mod meeting;
mod memory;
mod notes;
mod pauses;
mod publish;
pub mod quarantine;
pub mod remote;
mod resize;
pub mod run;
pub mod rundir;
pub mod status;
pub mod story;
mod template;
mod wreak;

pub use driver::{identity, resume, run, serve};
