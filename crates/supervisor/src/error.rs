//! Why a run could not be held. What befalls a child is not here: that is data.

use crate::rundir::RunDirError;
use std::io;
use std::path::PathBuf;

/// Why a run could not begin or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The worker binary cannot be used.
    #[error("worker {}: {fault}", path.display())]
    Worker {
        /// The binary.
        path: PathBuf,
        /// What is wrong with it.
        fault: WorkerFault,
    },
    /// More workers than this machine or user may have.
    #[error(
        "--procs {procs} is more than the {what} allows ({limit}): ask for at most {most}, or raise the limit (ulimit)"
    )]
    TooManyWorkers {
        /// Asked for.
        procs: u32,
        /// The limit's name.
        what: &'static str,
        /// The limit.
        limit: u64,
        /// What would fit.
        most: u64,
    },
    /// Not even one worker.
    #[error("the {what} ({limit}) leaves no room for a worker: raise it to {least} at least (ulimit)")]
    NoRoom {
        /// The limit's name.
        what: &'static str,
        /// The limit.
        limit: u64,
        /// With so much there is room for all that were asked for.
        least: u64,
    },
    /// The journal cannot be begun or gone on with; nothing was lost by that.
    #[error("{0}")]
    Journal(String),
    /// The journal is of other work.
    #[error("{0}")]
    OtherWork(String),
    /// A signal came before the run had begun.
    #[error("ended by signal {signal} before the run began")]
    Interrupted {
        /// Which.
        signal: i32,
    },
    /// Whoever began the run does not want it any more.
    #[error("ended before the run began")]
    Dismissed,
    /// The run directory cannot be used.
    #[error(transparent)]
    RunDir(#[from] RunDirError),
    /// The system refused something that a run cannot do without.
    #[error("{what}")]
    Os {
        /// What was asked.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// What can be wrong with a worker binary.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerFault {
    /// It could not be executed: missing, a directory, not executable, or no program.
    #[error("{0}")]
    NotStarted(io::Error),
    /// It ended before it said hello.
    #[error("ended with {exit} before it said hello: is it a worker of this build?{}", lines(.last_lines))]
    Silent {
        /// How it ended.
        exit: brigade_wire::Exit,
        /// What it wrote.
        last_lines: Vec<String>,
    },
    /// It runs, but does not say hello.
    #[error("said no hello within {seconds} s: is it a worker of this build?")]
    Mute {
        /// How long was waited.
        seconds: u64,
    },
    /// It speaks another protocol.
    #[error("{0}: build supervisor and worker together")]
    OtherBuild(String),
    /// It does not know the task.
    #[error("has no task `{wanted}`; it has: {has}")]
    NoSuchTask {
        /// What was asked for.
        wanted: String,
        /// What it has.
        has: String,
    },
}

fn lines(last: &[String]) -> String {
    last.last().map(|line| format!(" Its last words: {line}")).unwrap_or_default()
}
