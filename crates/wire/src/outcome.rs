//! How an attempt, a task and a process can end. Death is data here, not an error.

use crate::{Attempt, WorkerId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How a worker process ended, decoded from the kernel's status exactly once (in `os`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// It called `exit` with this code (0..=255).
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// It is dead, but somebody else took its status.
    Unknown,
}

impl Exit {
    /// Drained: it was told to stop and had nothing left to do.
    pub const DRAINED: Exit = Exit::Code(0);
    /// The worker asks to be started again, but not at once (`EX_TEMPFAIL`).
    pub const TRY_AGAIN: Exit = Exit::Code(75);
    /// The worker can never run here: starting it again is useless (`EX_CONFIG`).
    pub const CANNOT_RUN: Exit = Exit::Code(78);
    /// The worker asks to be replaced; nothing is wrong.
    pub const RECYCLE: Exit = Exit::Code(86);
}

/// How an attempt ended, told by a worker that is still alive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// The task's encoded result.
    Value(#[serde(with = "serde_bytes")] Vec<u8>),
    /// The task returned an error, in its own words.
    Failed(String),
    /// The task panicked; the worker lives on.
    Panicked {
        /// What the panic said.
        message: String,
        /// `file:line:column`, or empty where the panic named none.
        location: String,
    },
}

/// How an attempt ended that took its worker along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fatality {
    /// The worker died while it ran the task.
    Crashed(Exit),
    /// The task ran past its deadline, and its worker was ended for it.
    TimedOut,
}

/// One line of a quarantined task's story.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedAttempt {
    /// Which try it was.
    pub attempt: Attempt,
    /// Who died of it.
    pub worker: WorkerId,
    /// How.
    pub end: Fatality,
}

/// The final word on a task. Each task gets exactly one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The encoded result.
    Value(#[serde(with = "serde_bytes")] Vec<u8>),
    /// The task itself says that it cannot be done, in its own words.
    Failed(String),
    /// The task panicked, and would do so again.
    Panicked {
        /// What the panic said.
        message: String,
        /// `file:line:column`, or empty.
        location: String,
    },
    /// Every attempt took a worker along.
    Quarantined {
        /// All of them, first to last.
        attempts: Vec<FailedAttempt>,
    },
}

impl From<Ending> for Outcome {
    fn from(ending: Ending) -> Outcome {
        match ending {
            Ending::Value(bytes) => Outcome::Value(bytes),
            Ending::Failed(message) => Outcome::Failed(message),
            Ending::Panicked { message, location } => Outcome::Panicked { message, location },
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exit code {code}"),
            Exit::Signal(signal) => match signal_name(*signal) {
                Some(name) => f.write_str(name),
                None => write!(f, "signal {signal}"),
            },
            Exit::Unknown => f.write_str("unknown cause"),
        }
    }
}

impl fmt::Display for Fatality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fatality::Crashed(exit) => write!(f, "crashed: {exit}"),
            Fatality::TimedOut => f.write_str("timed out"),
        }
    }
}

/// Linux numbers on x86-64 and arm64; wire does no IO and asks no libc.
fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        10 => "SIGUSR1",
        11 => "SIGSEGV",
        12 => "SIGUSR2",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_reads_as_a_person_would_say_it() {
        assert_eq!(Exit::Code(3).to_string(), "exit code 3");
        assert_eq!(Exit::Signal(9).to_string(), "SIGKILL");
        assert_eq!(Exit::Signal(40).to_string(), "signal 40");
    }
}
