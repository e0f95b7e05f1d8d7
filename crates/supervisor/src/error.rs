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
    #[error("ended with {exit} before it said hello: is it a worker of this build?{}", last_words(.last_lines))]
    Silent {
        /// How it ended.
        exit: brigade_wire::Exit,
        /// What it wrote, at its end.
        last_lines: Vec<String>,
        /// Where that stands with the rest.
        log: PathBuf,
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

/// What a process said of its end, in one line, behind ` Its last words: `; nothing if it said nothing.
#[must_use]
pub fn last_words(lines: &[String]) -> String {
    let telling = telling(lines);
    if telling.is_empty() { String::new() } else { format!(" Its last words: {}", telling.join("; ")) }
}

/// The lines that say most: those of its last panic, or else the last few. Notes tell how to hear more.
fn telling(lines: &[String]) -> Vec<&str> {
    const LINES: usize = 3;
    let is_note = |line: &str| line.is_empty() || line.starts_with("note: ");
    let lines: Vec<&str> = lines.iter().map(|line| line.trim()).filter(|line| !is_note(line)).collect();
    let panic = lines.iter().rposition(|line| line.contains(" panicked at "));
    let from = panic.unwrap_or(lines.len().saturating_sub(LINES));
    let count = panic.map_or(LINES, |_| 2);
    lines[from..].iter().take(count).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        last_words(&text.lines().map(ToOwned::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn the_last_words_are_those_of_the_panic_and_no_notes_on_it() {
        let text = "begun\n\nthread 'main' (7) panicked at src/main.rs:3:5:\nno home\nstack backtrace:\n   0: rust_begin\n\
                    note: Some details are omitted, run with `RUST_BACKTRACE=full` for a verbose backtrace.\n";
        let words = " Its last words: thread 'main' (7) panicked at src/main.rs:3:5:; no home";
        assert_eq!(told(text), words);
    }

    #[test]
    fn the_last_words_of_who_did_not_panic_are_the_last_lines_in_one() {
        let text = "1\nerror: unexpected argument 'x'\n\nUsage: t [OPTIONS]\n\nnote: as always\n  For more, try '--help'.\n";
        let words = "error: unexpected argument 'x'; Usage: t [OPTIONS]; For more, try '--help'.";
        assert_eq!(told(text), format!(" Its last words: {words}"));
        assert_eq!(told("\n"), "");
    }
}
