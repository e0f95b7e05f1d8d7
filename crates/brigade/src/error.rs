//! What can go wrong, with a task and with a pool.

use crate::init;
use brigade_supervisor::error::{RunError, WorkerFault, last_words};
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
        "workers are {}, another program: its tasks are called by name (Pool::task); functions of this program cannot be sent to it",
        one_line(&worker.display())
    )]
    OtherProgram {
        /// That program.
        worker: PathBuf,
    },
    /// The worker program has no task of that name.
    #[error("{}", one_line(&format!("worker {} has no task `{name}`; it has: {has}", worker.display())))]
    NoSuchTask {
        /// The program.
        worker: PathBuf,
        /// What was asked for.
        name: String,
        /// What it has.
        has: String,
    },
    /// The worker program has a task of that name, which takes or gives something else.
    #[error("{}", one_line(&format!("worker {} has the task `{found}`, and not `{wanted}`", worker.display())))]
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
    #[error("the pool has ended: {}", one_line(&**.0))]
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
    #[error(
        "brigade::init() was not called: call it first in main, before any thread is started {USUAL_CASES}"
    )]
    NoInit,
    /// A worker of a pool may have a pool, whose workers may have one, and so on; this one would be too deep.
    #[error("pools are nested {depth} deep already: {most} is the most")]
    TooDeep {
        /// How deep this process is.
        depth: u32,
        /// The most.
        most: u32,
    },
    /// What each worker is to call first, or last, cannot be sent to it.
    #[error("{what}: {source}")]
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

/// Where first in `main` is, for those who do not see their `main`.
pub(crate) const USUAL_CASES: &str =
    "(under #[tokio::main]: before the runtime; in tests: brigade::test_entry!)";

/// The error and what it came of. What is a flag of the command is a setting here.
fn all_of(error: &(dyn Error + 'static)) -> String {
    let told = error.downcast_ref::<RunError>().and_then(never_a_worker);
    let mut words = told.unwrap_or_else(|| error.to_string());
    let mut cause = error.source();
    while let Some(error) = cause {
        words += &format!(": {error}");
        cause = error.source();
    }
    one_line(&words).replace("--procs", "procs").replace("--state-dir", "state_dir")
}

/// A program that was started as a worker and did not become one: what it said is in a log, and this one knows what is missing.
fn never_a_worker(error: &RunError) -> Option<String> {
    let RunError::Worker { path, fault } = error else { return None };
    let is_own = path == Path::new(init::OWN);
    match fault {
        WorkerFault::Silent { exit, last_lines, log } if is_own => {
            let (words, log) = (last_words(last_lines), log.display());
            Some(format!(
                "this program ended with {exit} before it was a worker: does it call brigade::init() first in main?{words} (log: {log})"
            ))
        }
        WorkerFault::Silent { log, .. } => Some(format!("{error} (log: {})", log.display())),
        WorkerFault::Mute { seconds } if is_own => Some(init::never_came(*seconds)),
        _ => None,
    }
}

/// An error is one line, whatever somebody else has put into it.
pub(crate) fn one_line(words: &(impl ToString + ?Sized)) -> String {
    words.to_string().lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

fn at(location: &str) -> String {
    if location.is_empty() { String::new() } else { format!(" at {location}") }
}

/// Nobody, if it never left this process.
fn by(origin: &Option<Box<Origin>>) -> String {
    let Some(Origin { attempt, pid, log }) = origin.as_deref() else { return String::new() };
    let log = log.as_ref().map_or_else(String::new, |log| format!(", log: {}", one_line(&log.display())));
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
    format!("attempt {attempt} {end}, pid {pid} (log: {})", one_line(&log.display()))
}

/// Of an error into which its test has put two lines wherever it has words of somebody else.
#[cfg(test)]
pub(crate) fn assert_one_line(error: &dyn Error) {
    let words = error.to_string();
    assert!(words.lines().count() == 1 && !words.ends_with('\n'), "{words:?}");
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
    fn what_somebody_else_has_put_into_an_error_makes_no_second_line() {
        let two = || "a\nb".to_owned();
        let worker = || PathBuf::from(two());
        let all = [
            TaskError::Foreign,
            TaskError::OtherProgram { worker: worker() },
            TaskError::NoSuchTask { worker: worker(), name: two(), has: two() },
            TaskError::Shape { worker: worker(), wanted: two(), found: two() },
            TaskError::Cancelled,
            TaskError::Shutdown,
            TaskError::Pool(two().into()),
        ];
        all.iter().for_each(|error| assert_one_line(error));
        let panicked = Mishap::Panicked { message: two(), location: String::new() };
        for end in [Mishap::Failed(two()), panicked, Mishap::Crashed(Exit::Code(3)), Mishap::TimedOut] {
            let worker = WorkerId { slot: SlotId(0), incarnation: 3 };
            let spent = FailedAttempt { attempt: Attempt::FIRST, worker, end };
            assert_one_line(&TaskError::given_up(vec![spent], 42, "/l\nm".into()));
        }
        let start = BuildError::start(io::Error::other(two()));
        let hook = BuildError::Hook { what: "initializer", source: TaskError::Pool(two().into()) };
        let setting = BuildError::Setting { what: "procs", given: 0, wanted: "at least 1" };
        for error in [start, hook, setting, BuildError::NoInit, BuildError::TooDeep { depth: 10, most: 10 }] {
            assert_one_line(&error);
        }
    }

    #[test]
    fn a_program_that_was_no_worker_is_told_what_is_missing_and_where_its_words_are() {
        let silent = |path: &str| {
            let last_lines = vec!["thread 'main' (7) panicked at m.rs:1:2:".to_owned(), "no home".into()];
            let fault = WorkerFault::Silent { exit: Exit::Code(101), last_lines, log: "/l/42.log".into() };
            BuildError::start(RunError::Worker { path: path.into(), fault }).to_string()
        };
        let words = "Its last words: thread 'main' (7) panicked at m.rs:1:2:; no home (log: /l/42.log)";
        let own = "this program ended with exit code 101 before it was a worker: does it call brigade::init() first in main?";
        assert_eq!(silent(init::OWN), format!("{own} {words}"));
        let other =
            "worker ./w: ended with exit code 101 before it said hello: is it a worker of this build?";
        assert_eq!(silent("./w"), format!("{other} {words}"));
        let mute = RunError::Worker { path: init::OWN.into(), fault: WorkerFault::Mute { seconds: 10 } };
        let told = "this program did not come to brigade::init() within 10 s: call it first in main";
        assert_eq!(BuildError::start(mute).to_string(), told);
    }

    #[test]
    fn a_pool_that_is_not_built_keeps_what_it_came_of_and_names_no_flags() {
        let refused = io::Error::other("refused: choose another --state-dir");
        let error = BuildError::start(refused);
        assert_eq!(error.to_string(), "refused: choose another state_dir");
        assert!(error.source().is_some_and(|source| source.downcast_ref::<io::Error>().is_some()));
    }
}
