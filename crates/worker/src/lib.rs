//! The other side: a program whose `main` hands its tasks to [`main`] is a worker.
//!
//! ```text
//! supervisor ── exec ──▶ template ── fork ──▶ worker ── serve ──▶ task ──▶ Ending
//!                           │                   ▲
//!                           └─ fork, exec ──────┘                  with --start-method spawn
//! ```
//!
//! The template is this program too: it has loaded everything, runs one thread, and forks a worker whenever
//! the supervisor asks. When the supervisor vanishes it is the guard, and ends what is left.
#![forbid(unsafe_code)]

mod allowance;
mod exit;
mod log;
mod panics;
mod progress;
mod serve;
mod start;
mod template;

pub use panics::{Caught, caught_call as caught};
pub use progress::progress;
use std::process::ExitCode;

/// A task function: encoded arguments to an encoded result, or to an error in its own words.
///
/// It runs in a worker process and may run more than once for the same arguments (a worker may die after the
/// work and before the word), so its side effects must bear repetition.
pub type TaskFn = fn(&[u8]) -> Result<Vec<u8>, String>;

/// The tasks that a worker binary offers, by name.
pub type Table<'a> = &'a [(&'a str, TaskFn)];

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
    match start::role(std::env::args().skip(1)) {
        Ok(role) => start::play(role, table),
        Err(told) => told.say(table),
    }
}

/// The same for a program that is a worker only where these words say so: those that a supervisor or a template has put
/// behind the program's own entry words. `None` if they say something else.
pub fn serve_as(words: impl Iterator<Item = String>, table: Table<'_>) -> Option<ExitCode> {
    start::role(words).ok().map(|role| start::play(role, table))
}
