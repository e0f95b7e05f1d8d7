//! The state that anybody may read: `status.json` of a run, replaced by one rename.
//!
//! `ps` therefore asks nobody. Times are nanoseconds of CLOCK_MONOTONIC, which all processes of a machine
//! share, so an age is a subtraction and no step of the wall clock disturbs it.

use crate::story::{SCHEMA, Tallied};
use brigade_wire::{Attempt, Exit, SlotId, TaskId, WorkerId};
use serde::{Deserialize, Serialize};

/// A run at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// [`SCHEMA`].
    pub v: u32,
    /// Name of the run.
    pub run: String,
    /// The supervisor.
    pub pid: u32,
    /// `running`, `holding`, `draining` or `finished`.
    pub state: String,
    /// What the tasks do.
    pub work: String,
    /// Workers wanted now. 0 in what an older build wrote.
    #[serde(default)]
    pub procs: u32,
    /// Daemonic workers die with the supervisor.
    pub daemon: bool,
    /// `fork` or `spawn`.
    pub start_method: String,
    /// How far those who descend from workers are followed: `cgroup` (wherever they go) or `group` (while they stay
    /// in their worker's process group). Empty in what an older build wrote.
    #[serde(default)]
    pub descendants: String,
    /// What holds workers to `--max-rss`: the kernel (`cgroup`), or the loop alone, ten times a second (`looked at`).
    /// Empty without a limit.
    #[serde(default)]
    pub memory_limits: String,
    /// Where the per-PID logs are.
    pub logs: String,
    /// When the run began.
    pub began_ns: u64,
    /// When this was written.
    pub written_ns: u64,
    /// How far it is.
    pub tally: Tallied,
    /// The process that workers are forked from, which is also the guard; none while it is being replaced.
    pub template: Option<Template>,
    /// A row per slot, but for those that were taken away and are empty.
    pub slots: Vec<Slot>,
    /// The dead, latest last; the oldest are dropped after [`DEAD_MAX`].
    pub dead: Vec<Dead>,
}

/// How many of the dead a status names.
pub const DEAD_MAX: usize = 256;

/// The template.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Template {
    /// Its process.
    pub pid: u32,
    /// Which one it is; the first is 1.
    pub incarnation: u32,
    /// When it was born.
    pub born_ns: u64,
}

/// One slot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slot {
    /// Its index.
    pub slot: SlotId,
    /// Who works there, or comes next.
    pub incarnation: u32,
    /// The process, if there is one.
    pub pid: Option<u32>,
    /// `waiting`, `starting`, `ready`, `draining`, `dying`, `unkillable` or `ended`.
    pub life: String,
    /// Found in state T.
    pub stopped: bool,
    /// When the process was born.
    pub born_ns: Option<u64>,
    /// What it runs now: the task that began first.
    pub task: Option<Task>,
    /// What it runs beside that, on other threads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<Task>,
    /// Tasks in its hands, the running ones included.
    pub leased: u64,
    /// Tasks that this incarnation has settled.
    pub settled: u64,
    /// How often this slot was filled again after a death.
    pub restarts: u32,
    /// Its last sign of life.
    pub sign_ns: Option<u64>,
}

/// A task that runs now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Which.
    pub task: TaskId,
    /// Which try.
    pub attempt: Attempt,
    /// When the attempt began.
    pub since_ns: u64,
}

/// One of the dead.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dead {
    /// Where it worked.
    pub slot: SlotId,
    /// How many were born there before it, and itself.
    pub incarnation: u32,
    /// Its pid.
    pub pid: u32,
    /// How it ended.
    pub exit: Exit,
    /// It was told to.
    pub planned: bool,
    /// What it was running: the task that began first.
    pub task: Option<TaskId>,
    /// What it ran beside that, on other threads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<TaskId>,
    /// When that attempt began. Empty in what an older build wrote.
    #[serde(default)]
    pub task_since_ns: Option<u64>,
    /// Tasks it had settled.
    pub settled: u64,
    /// When it was born.
    pub born_ns: u64,
    /// When it was found dead.
    pub died_ns: u64,
}

impl Dead {
    /// Whether it is this very worker.
    #[must_use]
    pub fn is(&self, worker: WorkerId) -> bool {
        (self.slot, self.incarnation) == (worker.slot, worker.incarnation)
    }
}

impl Status {
    /// Whether this build can read it.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.v == SCHEMA
    }
}
