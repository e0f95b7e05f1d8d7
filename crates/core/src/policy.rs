//! The knobs, with the defaults that a run has when nobody turns them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How the core decides. Every field has a flag of `supervisor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Workers to keep alive, until somebody asks for more or fewer.
    pub procs: u32,
    /// The most slots that there may be, those included that are taken away and not empty yet, or lost to a worker
    /// that nothing can kill; never fewer than `procs`.
    pub slots_max: u32,
    /// How many tasks a worker runs at the same time; one at least.
    pub threads: u32,
    /// Which worker a task is lent to.
    pub schedule: Schedule,
    /// How long one attempt may run, from its start.
    pub task_timeout: Option<Timeout>,
    /// How long a worker whose task has had its time may take to die of SIGABRT, after it has written where it
    /// hangs; none, and it is killed at once.
    pub abort_grace: Duration,
    /// How long a worker may hold tasks while its page says that it runs fewer than it could, and nothing is heard of it. It is
    /// looked at as often, however long its tasks.
    pub stuck_after: Duration,
    /// Attempts that may die of a task before it is quarantined, the first included.
    pub attempts_max: u32,
    /// Attempts that may fail or panic and are tried again; one more, and that is the final word.
    pub retries: u32,
    /// How many deaths of a slot that count are too many.
    pub intensity: Intensity,
    /// How long a slot waits before it is filled again.
    pub backoff: Backoff,
    /// How long a worker may take to drain after STOP, and again to die after SIGTERM.
    pub grace: Duration,
    /// How long a worker may take to die of SIGKILL before it is given up: something in the kernel holds it.
    pub kill_grace: Duration,
    /// How long a worker may take from the wish to its hello.
    pub birth_timeout: Duration,
    /// Tasks after which a worker is recycled, a tenth more or less.
    pub tasks_per_worker_max: Option<u64>,
    /// The age at which a worker is recycled, a tenth more or less: so that those who were born together do not
    /// leave together.
    pub age_max: Option<Duration>,
    /// How much is lent ahead of the work.
    pub lookahead: Lookahead,
    /// When to end the run before all is settled.
    pub halt: Option<Halt>,
    /// Keep the workers when all is settled, until told to drain.
    pub hold: bool,
    /// Where the jitter starts.
    pub seed: u64,
}

/// How long one attempt may run, from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// So long.
    After(Duration),
    /// So many percent of the median length of the last 101 attempts, and never less than 10 ms. Before five
    /// lengths are known a task may run for ever.
    OfMedian(u32),
}

/// Which worker a task is lent to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Schedule {
    /// Whoever is free takes the next task.
    #[default]
    Dynamic,
    /// Slot k owns the k-th contiguous part of the tasks that come together, and whoever was given least so far gets the longer
    /// one.
    Static,
    /// Slot k owns the tasks k, k + procs, k + 2 procs, …
    RoundRobin,
    /// Of the tasks that come together the heaviest first, each to the slot with the least weight still to be done.
    Weighted,
    /// As [`Static`](Schedule::Static); but who has nothing left takes what is last in the longest lane.
    Stealing,
}

impl Schedule {
    /// All of them.
    pub const ALL: [Schedule; 5] =
        [Schedule::Dynamic, Schedule::Static, Schedule::RoundRobin, Schedule::Weighted, Schedule::Stealing];

    /// What it is called, on the command line and in settings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Schedule::Dynamic => "dynamic",
            Schedule::Static => "static",
            Schedule::RoundRobin => "round-robin",
            Schedule::Weighted => "weighted",
            Schedule::Stealing => "stealing",
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// By its name.
///
/// ```
/// use brigade_core::Schedule;
///
/// assert_eq!("round-robin".parse(), Ok(Schedule::RoundRobin));
/// assert!(Schedule::ALL.iter().all(|schedule| schedule.to_string().parse() == Ok(*schedule)));
/// ```
impl FromStr for Schedule {
    type Err = UnknownSchedule;

    fn from_str(name: &str) -> Result<Schedule, UnknownSchedule> {
        let named = Schedule::ALL.into_iter().find(|schedule| schedule.name() == name);
        named.ok_or_else(|| UnknownSchedule { name: name.to_owned() })
    }
}

/// No schedule has that name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownSchedule {
    /// The name.
    pub name: String,
}

impl fmt::Display for UnknownSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Schedule::ALL.map(Schedule::name).join(", ");
        write!(f, "no schedule is called {:?}: there are {names}", self.name)
    }
}

impl std::error::Error for UnknownSchedule {}

/// OTP's restart intensity: more than `restarts` deaths that count, of one slot, `within` that time, and the
/// run gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intensity {
    /// Deaths that are still borne.
    pub restarts: u32,
    /// The sliding time.
    pub within: Duration,
}

/// The wait before a slot is filled again: none after the first death that counts, then `first`, doubling
/// up to `max`, with jitter; from the start again after `reset` of health or a settled task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The second restart's wait.
    pub first: Duration,
    /// The longest wait.
    pub max: Duration,
    /// The health after which everything is forgiven.
    pub reset: Duration,
}

/// How many tasks are lent to a worker beyond those it runs: as many as take it about `time`, never more than
/// `tasks`, and none while the length of a task is unknown, so that long tasks never queue behind each other
/// while a sibling is idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lookahead {
    /// The work that may wait in a worker.
    pub time: Duration,
    /// The tasks that may wait in a worker.
    pub tasks: usize,
    /// How long all that a worker runs may take before what waits behind that is taken back for somebody who has nothing to
    /// do. That costs the worker its life when the task is done: so it is never sooner than that worker took to be born.
    pub back_after: Duration,
}

/// When enough has happened to end a run before its work, as GNU parallel's `--halt` has it:
/// `soon,fail=3%` is `Halt { when: Soon, on: Fail, limit: Percent(3) }`. What an earlier supervisor of the run
/// settled does not count: a run that was halted can be resumed under the same policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Halt {
    /// How.
    pub when: HaltWhen,
    /// What is counted.
    pub on: HaltOn,
    /// How many are enough.
    pub limit: HaltLimit,
}

/// How a run halts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HaltWhen {
    /// The workers are killed; nobody is blamed.
    Now,
    /// No task starts any more, those in hand finish.
    Soon,
}

/// What counts towards a halt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HaltOn {
    /// Tasks that failed, panicked or were quarantined.
    Fail,
    /// Tasks with a value.
    Success,
    /// Both.
    Done,
}

/// How many are enough for a halt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HaltLimit {
    /// So many; none is as good as one.
    Count(u64),
    /// So many percent of all that were submitted, and not before three tasks are done.
    Percent(u32),
}

impl HaltLimit {
    /// Before so many are done a percentage means nothing.
    const DONE_MIN: u64 = 3;

    /// Whether so many are enough, with this many `done` of so many `submitted`.
    pub(crate) fn is_reached(self, count: u64, done: u64, submitted: u64) -> bool {
        let part = |percent: u32| u128::from(submitted) * u128::from(percent);
        match self {
            HaltLimit::Count(limit) => count >= limit.max(1),
            HaltLimit::Percent(percent) => {
                count > 0 && done >= HaltLimit::DONE_MIN && u128::from(count) * 100 >= part(percent)
            }
        }
    }
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            procs: 1,
            slots_max: 1_000,
            threads: 1,
            schedule: Schedule::Dynamic,
            task_timeout: None,
            abort_grace: Duration::from_millis(30),
            stuck_after: Duration::from_secs(5),
            attempts_max: 3,
            retries: 0,
            intensity: Intensity { restarts: 5, within: Duration::from_secs(10) },
            backoff: Backoff {
                first: Duration::from_millis(100),
                max: Duration::from_secs(15),
                reset: Duration::from_secs(30),
            },
            grace: Duration::from_secs(5),
            kill_grace: Duration::from_secs(5),
            birth_timeout: Duration::from_secs(10),
            tasks_per_worker_max: None,
            age_max: None,
            lookahead: Lookahead {
                time: Duration::from_millis(2),
                tasks: 1_024,
                // As long as somebody may wait for a turn on a busy machine, and fifty births of a forked worker.
                back_after: Duration::from_millis(40),
            },
            halt: None,
            hold: false,
            seed: 1,
        }
    }
}
