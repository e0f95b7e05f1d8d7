//! The other side: a program whose `main` hands its tasks to [`main`] is a worker.
//!
//! ```text
//! supervisor ── exec ──▶ template ── fork ──▶ worker ── serve ──▶ task ──▶ Ending
//!                           │                   ▲
//!                           └─ fork, exec ──────┘                  with --start-method spawn
//! ```
//!
//! A worker has one thread, or as many as its charter says: then each of them runs one task at a time, and the last word on
//! each task is its own.
//!
//! The template is this program too: it has loaded everything, runs one thread, and forks a worker whenever
//! the supervisor asks. When the supervisor vanishes it is the guard, and ends what is left.
#![forbid(unsafe_code)]

mod allowance;
mod exit;
mod flusher;
mod lane;
mod lanes;
mod log;
mod panics;
mod progress;
mod serve;
mod start;
mod template;

pub use panics::{Caught, caught_call as caught, remember as remember_panics};
pub use progress::progress;
pub use serve::retire;
use std::process::ExitCode;

/// A task function: encoded arguments to an encoded result, or to an error in its own words.
///
/// It runs in a worker process and may run more than once for the same arguments (a worker may die after the
/// work and before the word), so its side effects must bear repetition.
pub type TaskFn = fn(&[u8]) -> Result<Vec<u8>, String>;

/// The tasks that a worker binary offers, by name.
pub type Table<'a> = &'a [(&'a str, TaskFn)];

/// What a worker can do, and what it does before and after.
#[derive(Clone, Copy, Debug)]
pub struct Trade<'a> {
    /// Its tasks.
    pub tasks: Table<'a>,
    /// Called before its hello with what the run has to tell every worker, if it has. Whoever returns an error, or panics,
    /// cannot run here: the run is given up. It must be done within the time that a worker has to be born.
    pub begin: fn(&[u8]) -> Result<(), String>,
    /// Called when it is told to stop, or makes room for another: within the grace that a worker has.
    pub end: fn(),
}

impl<'a> Trade<'a> {
    /// Tasks, and nothing before or after.
    #[must_use]
    pub fn of(tasks: Table<'a>) -> Trade<'a> {
        Trade { tasks, begin: |_| Err("this worker takes no letters".into()), end: || {} }
    }
}

/// The `main` of a worker binary.
///
/// ```no_run
/// use std::process::ExitCode;
///
/// fn double(args: &[u8]) -> Result<Vec<u8>, String> {
///     Ok(args.iter().map(|byte| byte * 2).collect())
/// }
///
/// fn main() -> ExitCode {
///     brigade_worker::main(&[("double", double)])
/// }
/// ```
pub fn main(table: Table<'_>) -> ExitCode {
    main_of(Trade::of(table))
}

/// The same for one that has something to do before its first task and after its last.
#[must_use]
pub fn main_of(trade: Trade<'_>) -> ExitCode {
    match start::role(std::env::args().skip(1)) {
        Ok(role) => start::play(role, trade),
        Err(told) => told.say(trade.tasks),
    }
}

/// The same for a program that is a worker only where these words say so: those that a supervisor or a template has put
/// behind the program's own entry words. `None` if they say something else.
pub fn serve_as(words: impl Iterator<Item = String>, trade: Trade<'_>) -> Option<ExitCode> {
    start::role(words).ok().map(|role| start::play(role, trade))
}
