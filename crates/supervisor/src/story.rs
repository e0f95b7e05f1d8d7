//! The story of a run, as told to people and programs: one schema for stdout, `events.ndjson` and `-v`.

use brigade_wire::{Attempt, Exit, FailedAttempt, SlotId, TaskId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of the schema below; a field may be added within it, never renamed or dropped.
pub const SCHEMA: u32 = 1;

/// One line of the story.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// [`SCHEMA`].
    pub v: u32,
    /// Seconds since the run began, on the monotonic clock.
    pub t: f64,
    /// What happened.
    #[serde(flatten)]
    pub told: Told,
}

/// What can be told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ev", rename_all = "snake_case")]
pub enum Told {
    /// The run begins.
    RunStart {
        /// Its name.
        run: String,
        /// The supervisor's pid.
        pid: u32,
        /// Workers wished for.
        procs: u32,
        /// Processors that this process may use.
        cores: u32,
        /// Tasks submitted.
        tasks: u64,
        /// Tasks that an earlier supervisor of the run had settled.
        settled: u64,
        /// What the tasks do, for people: `sum of 0..1_000`.
        work: String,
        /// Whether the workers die with the supervisor.
        daemon: bool,
        /// `fork` or `spawn`.
        start_method: String,
        /// Where the per-PID logs are.
        logs: String,
    },
    /// A worker process exists.
    WorkerStart {
        /// Where it works.
        slot: SlotId,
        /// Its process.
        pid: u32,
        /// How many were born in the slot.
        incarnation: u32,
    },
    /// A worker said hello.
    WorkerReady {
        /// Where it works.
        slot: SlotId,
        /// Its process.
        pid: u32,
        /// How many were born in the slot.
        incarnation: u32,
        /// Seconds from the death of its predecessor (or from the wish, for the first) until now.
        after: f64,
    },
    /// A worker is dead.
    WorkerExit {
        /// Where it worked.
        slot: SlotId,
        /// Its process.
        pid: u32,
        /// How many were born in the slot.
        incarnation: u32,
        /// How it ended.
        exit: Exit,
        /// It was told to.
        planned: bool,
        /// Tasks it had settled.
        settled: u64,
        /// The task it was running: the one that began first.
        task: Option<TaskId>,
        /// What it ran beside that, on other threads.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        beside: Vec<TaskId>,
    },
    /// A worker was found stopped (state T).
    WorkerStopped {
        /// Where it works.
        slot: SlotId,
        /// Its process.
        pid: u32,
        /// How many were born in the slot.
        incarnation: u32,
        /// The task it is in the middle of: the one that began first.
        task: Option<TaskId>,
        /// What it runs beside that, on other threads.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        beside: Vec<TaskId>,
    },
    /// A stopped worker goes on.
    WorkerContinued {
        /// Where it works.
        slot: SlotId,
        /// Its process.
        pid: u32,
        /// How many were born in the slot.
        incarnation: u32,
    },
    /// A worker said what no worker of this build says; it is being killed.
    WorkerGarbled {
        /// Where it works.
        slot: SlotId,
        /// Its process.
        pid: u32,
        /// How many were born in the slot.
        incarnation: u32,
        /// What was wrong with its words.
        reason: String,
    },
    /// SIGKILL did not end a worker in time: it is given up, and another takes its place in another slot. A
    /// `worker_exit` follows if its body is found after all.
    WorkerUnkillable(Unkillable),
    /// Another number of workers is wanted.
    Resized {
        /// So many were.
        from: u32,
        /// So many are.
        to: u32,
    },
    /// A worker has served its time, and makes room for another; nobody is blamed.
    WorkerRecycled(Recycled),
    /// A worker has outgrown its memory in the middle of a task; it is ended for it, and the task is blamed.
    WorkerBloated(Bloated),
    /// No process could be made for a slot, or it never said hello.
    WorkerUnborn {
        /// Which slot.
        slot: SlotId,
        /// How many were to have been born there.
        incarnation: u32,
        /// Why.
        reason: String,
    },
    /// A slot waits before it is filled again.
    BackingOff {
        /// Which.
        slot: SlotId,
        /// Seconds.
        seconds: f64,
    },
    /// A task is back in the backlog.
    TaskRequeued {
        /// Which.
        task: TaskId,
        /// The attempt it will be lent as.
        attempt: Attempt,
        /// It was running when its worker died, or failed: an attempt is spent.
        blamed: bool,
        /// It failed in a worker that lives on.
        failed: bool,
        /// The slot it comes back from.
        slot: SlotId,
        /// The process it comes back from.
        pid: u32,
    },
    /// A task ran past its deadline.
    TaskTimedOut {
        /// Which.
        task: TaskId,
        /// Whose.
        slot: SlotId,
        /// Whose.
        pid: u32,
    },
    /// A task failed or panicked, for good.
    TaskFailed {
        /// Which.
        task: TaskId,
        /// Which try.
        attempt: Attempt,
        /// In its own words, with the location of a panic.
        reason: String,
    },
    /// A task took too many workers along.
    TaskQuarantined {
        /// Which.
        task: TaskId,
        /// What it was to do.
        what: String,
        /// The attempts, first to last.
        attempts: Vec<FailedAttempt>,
    },
    /// A task of several items took too many workers along: two others come in its place, until the bad item is
    /// alone.
    TaskSplit {
        /// Which.
        task: TaskId,
        /// What it was to do.
        what: String,
        /// Those that do half of it each.
        parts: [TaskId; 2],
        /// The attempts, first to last.
        attempts: Vec<FailedAttempt>,
    },
    /// The template was replaced.
    TemplateStart {
        /// Its process.
        pid: u32,
        /// Which one it is; the first is 1.
        incarnation: u32,
    },
    /// The template is gone; a new one is made when it is needed.
    TemplateExit {
        /// Its process.
        pid: u32,
        /// How it ended.
        exit: Exit,
    },
    /// The run threw a fault at itself (`--chaos`).
    Chaos {
        /// At whose worker; none if at the template.
        slot: Option<SlotId>,
        /// At which process.
        pid: u32,
        /// What: `KILL`, `SEGV`, `ABRT`, `TERM`, `STOP`, `slow`, `garbage`, `template KILL`, `template STOP`.
        fault: String,
    },
    /// How far the run is; at most one a second.
    Progress(Tallied),
    /// A drain began: no task starts any more.
    Draining {
        /// Tasks in hand.
        leased: u64,
        /// Tasks not started.
        backlog: u64,
    },
    /// Everything is settled and the workers are held.
    Holding {
        /// The total, if there is one.
        total: Option<String>,
    },
    /// The run ends early.
    GaveUp {
        /// Why, in a sentence.
        reason: String,
        /// The last lines that the worker wrote.
        last_lines: Vec<String>,
    },
    /// Something is not as it should be, and the run goes on.
    Warning {
        /// What, in a sentence.
        message: String,
    },
    /// The run is over.
    Done(Done),
}

/// A worker that makes room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recycled {
    /// Where it works.
    pub slot: SlotId,
    /// Its process.
    pub pid: u32,
    /// How many were born in the slot.
    pub incarnation: u32,
    /// `tasks`, `age`, `memory`, `own wish`, or `cancel` if it was lent what is cancelled; or `resize`, if nobody takes its place.
    pub why: String,
}

/// A worker that SIGKILL does not end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unkillable {
    /// Where it worked.
    pub slot: SlotId,
    /// Its process.
    pub pid: u32,
    /// How many were born in the slot.
    pub incarnation: u32,
    /// Its state, as `/proc` has it: `D` is a wait in the kernel that no signal ends.
    pub state: Option<char>,
}

/// A worker that has taken too much.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bloated {
    /// Where it works.
    pub slot: SlotId,
    /// Its process.
    pub pid: u32,
    /// How many were born in the slot.
    pub incarnation: u32,
    /// The task it is in the middle of.
    pub task: Option<TaskId>,
    /// What it had in RAM; none if the kernel has ended it.
    pub rss_bytes: Option<u64>,
    /// What it may have (`--max-rss`); none if the kernel has ended it.
    pub rss_bytes_max: Option<u64>,
    /// The kernel's OOM killer has ended it: its counter says so.
    pub oom: bool,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tallied {
    /// Tasks submitted.
    pub tasks: u64,
    /// Tasks with their final word.
    pub settled: u64,
    /// Tasks lent to a worker now.
    pub leased: u64,
    /// Tasks that nobody has.
    pub backlog: u64,
    /// Tasks that failed or panicked.
    pub failed: u64,
    /// Tasks in quarantine.
    pub quarantined: u64,
    /// Attempts spent by deaths and tried again.
    pub retried: u64,
    /// Workers born in the place of one that died unplanned.
    pub restarts: u64,
    /// Workers alive now.
    pub alive: u32,
}

/// How a run ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// The answer, if every task brought its value.
    pub total: Option<String>,
    /// Tasks submitted.
    pub tasks: u64,
    /// Tasks with their final word.
    pub settled: u64,
    /// Tasks submitted, neither settled nor still in the backlog: always 0.
    pub lost: u64,
    /// Tasks never settled, because the run ended first.
    pub missing: u64,
    /// Tasks that failed or panicked.
    pub failed: u64,
    /// Tasks in quarantine.
    pub quarantined: u64,
    /// Attempts spent by deaths and tried again.
    pub retried: u64,
    /// Workers born in the place of one that died unplanned.
    pub restarts: u64,
    /// Tasks in hand that a drain gave up.
    pub abandoned: u64,
    /// The answer was checked against a second way to it, and agrees.
    pub exact: bool,
    /// Seconds from the first wish to the last settled task.
    pub seconds: f64,
    /// What it was tried with (`--chaos`); its fields stand among these.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub survived: Option<Survived>,
}

/// What a run under chaos has thrown at itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survived {
    /// Faults thrown.
    pub faults: u64,
    /// Faults asked for; the tasks may run out before.
    pub faults_wanted: u64,
    /// The seed that throws them again.
    pub seed: u64,
    /// How many of each kind.
    pub fault_kinds: BTreeMap<String, u64>,
}
