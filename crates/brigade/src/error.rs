//! What can go wrong, with a task and with a pool.

use brigade_wire::{Attempt, FailedAttempt, Mishap};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a task brought no value. Clone it freely: it is data.
///
/// ```
/// # brigade::test_entry!(init); init();
/// use brigade::{Pool, TaskError};
///
/// let pool = Pool::builder().procs(1).build()?;
/// match pool.apply_async(|a: u32, b: u32| a / b, (1, 0)).join() {
///     Err(TaskError::Panicked { message, .. }) => assert_eq!(message, "attempt to divide by zero"),
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), brigade::BuildError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The function panicked; its worker lives on.
    #[error("panicked{}: {}{}", at(.location), one_line(.message), by(.origin))]
    Panicked {
        /// What the panic said.
        message: String,
        /// `file:line:column`, or empty.
        location: String,
        /// Where it was called from, line by line; empty unless [`Builder::backtraces`](crate::Builder::backtraces), or
        /// `RUST_BACKTRACE`, asked for it.
        backtrace: String,
        /// Which attempt, and in which process.
        origin: Option<Box<Origin>>,
    },
    /// Too many workers died of it: it is not tried again.
    #[error("given up after {}: {}", counted(.attempts.len()), told(.attempts, *.pid, .logs))]
    Quarantined {
        /// Every attempt, first to last.
        attempts: Vec<FailedAttempt>,
        /// The process of the last one; 0 if there was none.
        pid: u32,
        /// Where the workers' logs are, each as `<pid>.log`.
        logs: PathBuf,
    },
    /// Every attempt was ended at its deadline ([`Builder::task_timeout`](crate::Builder::task_timeout)).
    #[error("timed out, given up after {}: {}", counted(.attempts.len()), told(.attempts, *.pid, .logs))]
    TimedOut {
        /// Every attempt, first to last.
        attempts: Vec<FailedAttempt>,
        /// The process of the last one.
        pid: u32,
        /// Where the workers' logs are, each as `<pid>.log`.
        logs: PathBuf,
    },
    /// The worker could not call the function.
    #[error("failed: {}{}", one_line(.message), by(.origin))]
    Failed {
        /// What it said.
        message: String,
        /// Which attempt, and in which process.
        origin: Option<Box<Origin>>,
    },
    /// The argument, or the result, cannot be written as bytes.
    #[error("cannot be encoded: {}{}", one_line(.message), by(.origin))]
    Encode {
        /// What serde said.
        message: String,
        /// Whose result it is; `None` of an argument, which goes nowhere.
        origin: Option<Box<Origin>>,
    },
    /// The argument, or the result, cannot be read from its bytes.
    #[error("cannot be decoded: {}{}", one_line(.message), by(.origin))]
    Decode {
        /// What serde said.
        message: String,
        /// Who was to read the argument, or has written the result.
        origin: Option<Box<Origin>>,
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

impl TaskError {
    /// Of a call that is not tried again.
    pub(crate) fn given_up(attempts: Vec<FailedAttempt>, pid: u32, logs: PathBuf) -> TaskError {
        let timed_out = !attempts.is_empty() && attempts.iter().all(|it| it.end == Mishap::TimedOut);
        match timed_out {
            true => TaskError::TimedOut { attempts, pid, logs },
            false => TaskError::Quarantined { attempts, pid, logs },
        }
    }
}

/// Whose words an error brings.
///
/// ```
/// # brigade::test_entry!(init); init();
/// use brigade::{Attempt, Origin, Pool, TaskError};
///
/// let pool = Pool::builder().procs(1).build()?;
/// let told = pool.submit(|n: u32| assert!(n > 7, "{n} is too few"), 7).join();
/// let Err(TaskError::Panicked { message, origin: Some(origin), .. }) = told else { panic!("{told:?}") };
/// let Origin { attempt, pid, log, .. } = *origin;
/// assert_eq!((message.as_str(), attempt), ("7 is too few", Attempt::FIRST));
/// assert!(log.is_some_and(|log| log.ends_with(format!("{pid}.log")) && log.exists()));
/// # Ok::<(), brigade::BuildError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Origin {
    /// Which try of the call.
    pub attempt: Attempt,
    /// The process that made it: this one, if the call ran on a thread.
    pub pid: u32,
    /// The log of that process; it is there for as long as the pool is, and after that if any call was given up. Threads have
    /// none.
    pub log: Option<PathBuf>,
}

/// Why there is no pool.
///
/// ```
/// # brigade::test_entry!(init);
/// use brigade::{BuildError, Pool};
///
/// assert!(matches!(Pool::new(), Err(BuildError::NoInit)));
/// # init();
/// let told = Pool::builder().procs(0).build().expect_err("nobody to call anything");
/// assert_eq!(told.to_string(), "procs is 0; it must be at least 1");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A number that no pool can have. Where there is no `Result` to say so, as in [`Pool::resize`](crate::Pool::resize), it is
    /// a panic.
    #[error("{what} is {given}; it must be {wanted}")]
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
    /// The system, the machine's limits, or what is no worker.
    #[error("{}", all_of(&**.0))]
    Start(#[source] Box<dyn Error + Send + Sync>),
}

impl BuildError {
    pub(crate) fn start(error: impl Into<Box<dyn Error + Send + Sync>>) -> BuildError {
        BuildError::Start(error.into())
    }
}

/// The error and what it came of. What is a flag of the command is a setting here.
fn all_of(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words += &format!(": {error}");
        cause = error.source();
    }
    one_line(&words).replace("--procs", "procs").replace("--state-dir", "state_dir")
}

/// An error is one line, whatever somebody else has put into it.
fn one_line(words: &str) -> String {
    words.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

fn at(location: &str) -> String {
    if location.is_empty() { String::new() } else { format!(" at {location}") }
}

/// Nobody, if it never left this process.
fn by(origin: &Option<Box<Origin>>) -> String {
    let Some(Origin { attempt, pid, log }) = origin.as_deref() else { return String::new() };
    let log = log.as_ref().map_or_else(String::new, |log| format!(", log: {}", log.display()));
    format!(" (attempt {attempt}, pid {pid}{log})")
}

fn counted(attempts: usize) -> String {
    if attempts == 1 { "1 attempt".to_owned() } else { format!("{attempts} attempts") }
}

/// How the last attempt ended.
fn told(attempts: &[FailedAttempt], pid: u32, logs: &Path) -> String {
    let Some(FailedAttempt { attempt, worker, end }) = attempts.last() else {
        return "never tried".to_owned();
    };
    let end = match end {
        Mishap::Failed(message) => format!("failed in worker {worker}: {}", one_line(message)),
        Mishap::Panicked { message, .. } => format!("panicked in worker {worker}: {}", one_line(message)),
        Mishap::Crashed(exit) => format!("lost worker {worker} to {exit}"),
        Mishap::TimedOut => format!("timed out in worker {worker}"),
        Mishap::OutOfMemory => format!("ran out of memory in worker {worker}"),
    };
    let log = logs.join(format!("{pid}.log"));
    format!("attempt {attempt} {end}, pid {pid} (log: {})", log.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use brigade_wire::{Exit, SlotId, WorkerId};
    use std::io;

    #[test]
    fn every_error_is_one_line_with_pid_cause_attempt_and_log() {
        let message = "assertion failed\n  left: 1\n right: 2".to_owned();
        let origin = Origin { attempt: Attempt(2), pid: 42, log: Some("/l/42.log".into()) };
        let (told, origin) = (" (attempt 2, pid 42, log: /l/42.log)", Some(Box::new(origin)));
        let (location, backtrace) = ("a.rs:1:2".to_owned(), "1\n2".to_owned());
        let panicked = TaskError::Panicked { message, location, backtrace, origin: origin.clone() };
        let words = "panicked at a.rs:1:2: assertion failed; left: 1; right: 2";
        assert_eq!(panicked.to_string(), format!("{words}{told}"));
        let message = || "two\nlines\n".to_owned();
        let failed = TaskError::Failed { message: message(), origin: origin.clone() };
        assert_eq!(failed.to_string(), format!("failed: two; lines{told}"));
        let encode = TaskError::Encode { message: message(), origin: None };
        assert_eq!(encode.to_string(), "cannot be encoded: two; lines");
        let decode = TaskError::Decode { message: message(), origin };
        assert_eq!(decode.to_string(), format!("cannot be decoded: two; lines{told}"));
        let worker = WorkerId { slot: SlotId(0), incarnation: 3 };
        let spent = FailedAttempt { attempt: Attempt::FIRST, worker, end: Mishap::Crashed(Exit::Signal(6)) };
        let given_up = TaskError::Quarantined { attempts: vec![spent], pid: 42, logs: "/l".into() };
        assert_eq!(
            given_up.to_string(),
            "given up after 1 attempt: attempt 1 lost worker 0.3 to SIGABRT, pid 42 (log: /l/42.log)"
        );
    }

    #[test]
    fn a_pool_that_is_not_built_keeps_what_it_came_of_and_names_no_flags() {
        let refused = io::Error::other("refused: choose another --state-dir");
        let error = BuildError::start(refused);
        assert_eq!(error.to_string(), "refused: choose another state_dir");
        assert!(error.source().is_some_and(|source| source.downcast_ref::<io::Error>().is_some()));
    }
}
