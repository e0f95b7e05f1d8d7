//! The knobs, with the defaults that a run has when nobody turns them.

use std::time::Duration;

/// How the core decides. Every field has a flag of `supervisor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Workers to keep alive.
    pub procs: u32,
    /// Which worker a task is lent to.
    pub schedule: Schedule,
    /// How long one attempt may run, from its start.
    pub task_timeout: Option<Timeout>,
    /// How long a worker whose task has had its time may take to die of SIGABRT, after it has written where it
    /// hangs; none, and it is killed at once.
    pub abort_grace: Duration,
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
    /// How long a worker may take from the wish to its hello.
    pub birth_timeout: Duration,
    /// Tasks after which a worker is recycled, a tenth more or less.
    pub tasks_per_worker_max: Option<u64>,
    /// The age at which a worker is recycled, a tenth more or less: so that those who were born together do not
    /// leave together.
    pub age_max: Option<Duration>,
    /// How much is lent ahead of the work.
    pub lookahead: Lookahead,
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
    /// Slot k owns the k-th contiguous part of the tasks.
    Static,
    /// Slot k owns the tasks k, k + procs, k + 2 procs, …
    RoundRobin,
    /// Heaviest task first, each to the slot with the least weight so far.
    Weighted,
}

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

/// How many tasks are lent to a worker beyond the one it runs: as many as take about `time`, never more than
/// `tasks`, and none while the length of a task is unknown, so that long tasks never queue behind each other
/// while a sibling is idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lookahead {
    /// The work that may wait in a worker.
    pub time: Duration,
    /// The tasks that may wait in a worker.
    pub tasks: usize,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            procs: 1,
            schedule: Schedule::Dynamic,
            task_timeout: None,
            abort_grace: Duration::from_millis(30),
            attempts_max: 3,
            retries: 0,
            intensity: Intensity { restarts: 5, within: Duration::from_secs(10) },
            backoff: Backoff {
                first: Duration::from_millis(100),
                max: Duration::from_secs(15),
                reset: Duration::from_secs(30),
            },
            grace: Duration::from_secs(5),
            birth_timeout: Duration::from_secs(10),
            tasks_per_worker_max: None,
            age_max: None,
            lookahead: Lookahead { time: Duration::from_millis(2), tasks: 1_024 },
            hold: false,
            seed: 1,
        }
    }
}
