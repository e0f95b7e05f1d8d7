//! What can go wrong, with a task and with a pool.

use brigade_wire::{FailedAttempt, Mishap};
use std::path::PathBuf;
use std::sync::Arc;

/// Why a task brought no value. Clone it freely: it is data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The function panicked; its worker lives on.
    #[error("panicked{}: {message}", at(.location))]
    Panicked {
        /// What the panic said.
        message: String,
        /// `file:line:column`, or empty.
        location: String,
    },
    /// Too many workers died of it: it is not tried again.
    #[error("given up after {}: {}", counted(.attempts.len()), told(.attempts))]
    Quarantined {
        /// Every attempt, first to last.
        attempts: Vec<FailedAttempt>,
        /// Where the workers' logs are.
        logs: PathBuf,
    },
    /// The argument, or the result, cannot be written as bytes.
    #[error("cannot be encoded: {message}")]
    Encode {
        /// What serde said.
        message: String,
    },
    /// The argument, or the result, cannot be read from its bytes.
    #[error("cannot be decoded: {message}")]
    Decode {
        /// What serde said.
        message: String,
    },
    /// The function is not of this program but of a shared library, which lies elsewhere in a worker.
    #[error(
        "the function is of a shared library: only functions of the program itself can be called in a worker"
    )]
    Foreign,
    /// The workers are another program: only what it names can be called.
    #[error(
        "the pool's workers are {}: its tasks are called by name, with Pool::task, and no functions of this program",
        worker.display()
    )]
    OtherProgram {
        /// That program.
        worker: PathBuf,
    },
    /// The worker program has no task of that name.
    #[error("worker {} has no task `{name}`; it has: {has}", worker.display())]
    NoSuchTask {
        /// The program.
        worker: PathBuf,
        /// What was asked for.
        name: String,
        /// What it has.
        has: String,
    },
    /// The worker program has a task of that name, which takes or gives something else.
    #[error("worker {} has the task `{found}`, and not `{wanted}`", worker.display())]
    Shape {
        /// The program.
        worker: PathBuf,
        /// What was asked for.
        wanted: String,
        /// What it has.
        found: String,
    },
    /// Somebody wanted it no more: [`Job::cancel`](crate::Job::cancel).
    #[error("cancelled")]
    Cancelled,
    /// The pool takes nothing any more.
    #[error("the pool is shut down")]
    Shutdown,
    /// The pool has ended before its time.
    #[error("the pool has ended: {0}")]
    Pool(Arc<str>),
}

/// Why there is no pool.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A number that no pool can have.
    #[error("{what} {given}: {wanted}")]
    Setting {
        /// Which setting.
        what: &'static str,
        /// What was asked for.
        given: u64,
        /// What may be.
        wanted: &'static str,
    },
    /// Nobody has called [`init`](crate::init) in this program.
    #[error("brigade::init() was not called: call it first in main, before any thread is started")]
    NoInit,
    /// Pools in workers of pools in workers … deeper than that.
    #[error("pools are nested {depth} deep already: {most} is the most")]
    TooDeep {
        /// How deep this process is.
        depth: u32,
        /// The most.
        most: u32,
    },
    /// What each worker is to call first, or last, cannot be sent to it.
    #[error("the {what} {source}")]
    Hook {
        /// Which.
        what: &'static str,
        /// Why not.
        source: TaskError,
    },
    /// The system, or the machine's limits.
    #[error("{0}")]
    Start(String),
}

fn at(location: &str) -> String {
    if location.is_empty() { String::new() } else { format!(" at {location}") }
}

fn counted(attempts: usize) -> String {
    if attempts == 1 { "1 attempt".to_owned() } else { format!("{attempts} attempts") }
}

/// How the last attempt ended.
fn told(attempts: &[FailedAttempt]) -> String {
    let Some(FailedAttempt { attempt, worker, end }) = attempts.last() else {
        return "never tried".to_owned();
    };
    match end {
        Mishap::Failed(message) => format!("attempt {attempt} failed: {message}"),
        Mishap::Panicked { message, .. } => format!("attempt {attempt} panicked: {message}"),
        Mishap::Crashed(exit) => format!("attempt {attempt} lost worker {worker} to {exit}"),
        Mishap::TimedOut => format!("attempt {attempt} timed out in worker {worker}"),
        Mishap::OutOfMemory => format!("attempt {attempt} ran out of memory in worker {worker}"),
    }
}
