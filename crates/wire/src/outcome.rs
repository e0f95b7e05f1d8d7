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
    /// The worker binary could not be executed; later it may be there again.
    pub const NOT_EXECUTED: Exit = Exit::Code(127);
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

/// How an attempt ended that did not bring a value: with a word of the task, or with the death of its worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mishap {
    /// The task returned an error, in its own words.
    Failed(String),
    /// The task panicked; its worker lives on.
    Panicked {
        /// What the panic said.
        message: String,
        /// `file:line:column`, or empty.
        location: String,
    },
    /// The worker died while it ran the task.
    Crashed(Exit),
    /// The task ran past its deadline, and its worker was ended for it.
    TimedOut,
    /// The worker outgrew its memory while it ran the task, and was ended for it.
    OutOfMemory,
}

impl Mishap {
    /// Whether it took its worker along.
    ///
    /// ```
    /// # use brigade_wire::Mishap;
    /// assert!(Mishap::TimedOut.is_death() && !Mishap::Failed("no".into()).is_death());
    /// ```
    #[must_use]
    pub fn is_death(&self) -> bool {
        match self {
            Mishap::Crashed(_) | Mishap::TimedOut | Mishap::OutOfMemory => true,
            Mishap::Failed(_) | Mishap::Panicked { .. } => false,
        }
    }
}

impl Ending {
    /// What went wrong; `None` for a value.
    #[must_use]
    pub fn mishap(&self) -> Option<Mishap> {
        match self {
            Ending::Value(_) => None,
            Ending::Failed(message) => Some(Mishap::Failed(message.clone())),
            Ending::Panicked { message, location } => {
                Some(Mishap::Panicked { message: message.clone(), location: location.clone() })
            }
        }
    }
}

/// One line of the story of a task that was tried more than once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedAttempt {
    /// Which try it was.
    pub attempt: Attempt,
    /// Who ran it.
    pub worker: WorkerId,
    /// How it ended.
    pub end: Mishap,
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
    /// Too many attempts took a worker along.
    Quarantined {
        /// All attempts, first to last, those as well that failed and were tried again.
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

impl fmt::Display for Mishap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mishap::Failed(message) => write!(f, "failed: {message}"),
            Mishap::Panicked { message, location } if location.is_empty() => write!(f, "panicked: {message}"),
            Mishap::Panicked { message, location } => write!(f, "panicked at {location}: {message}"),
            Mishap::Crashed(exit) => write!(f, "crashed: {exit}"),
            Mishap::TimedOut => f.write_str("timed out"),
            Mishap::OutOfMemory => f.write_str("out of memory"),
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
