//! What a caller hands to a run, and what it gets back.

use crate::chaos::Chaos;
use crate::status::Status;
use crate::story::{Done, Line, Tallied};
use brigade_core::{Policy, Verdict};
pub use brigade_journal::{Durability, Identity};
use brigade_wire::{Attempt, Outcome, SlotId, TaskId};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Everything that a run needs to know before it begins.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How to decide.
    pub policy: Policy,
    /// The worker binary.
    pub worker: PathBuf,
    /// What that binary gets before the words that make it a worker: it may be a program that is many things.
    pub entry: Vec<String>,
    /// What is put into its environment.
    pub environment: Vec<(String, String)>,
    /// What every worker is told before its first task, in its program's own language; nothing, if empty.
    pub letter: Arc<[u8]>,
    /// Whose process this is.
    pub host: Host,
    /// How workers are born.
    pub start_method: StartMethod,
    /// Whether the workers die with the supervisor; otherwise they finish the task in hand first.
    pub daemon: bool,
    /// How long every task lasts at least.
    pub pace: Duration,
    /// Faults that the run throws at its own workers. Needs a deadline for tasks: only that ends a stop.
    pub chaos: Option<Chaos>,
    /// What the journal promises; `None` keeps none. A resumed run keeps the promise that it was begun with.
    pub journal: Option<Durability>,
    /// How much memory a worker may have.
    pub memory: Memory,
}

/// Whose process a run is held in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Host {
    /// The supervisor's own: signals are for it, and orphans come to it.
    #[default]
    Supervisor,
    /// A program's that does other things as well: its signals, its children and its open files are left alone.
    Program,
}

/// How much memory a worker may have, in bytes; `None` is as much as there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// In RAM: past it a worker is recycled between two tasks, and killed in one.
    pub rss_bytes_max: Option<u64>,
    /// Of addresses (RLIMIT_AS): past it an allocation fails, and that is the end of the worker.
    pub as_bytes_max: Option<u64>,
}

/// How a worker is born.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartMethod {
    /// Forked from the template: everything is loaded already.
    #[default]
    Fork,
    /// Executed afresh from the binary on disk.
    Spawn,
}

/// The tasks of a run, by number: nothing is held in memory for a task that nobody has yet.
pub trait Work {
    /// The name of the task function in the worker's table.
    fn function(&self) -> &str;
    /// What the tasks do, for people.
    fn describe(&self) -> String;
    /// What the tasks are made of: enough to tell two pieces of work apart, and to make this one again.
    fn parameters(&self) -> String;
    /// A hash of what they read beside that; 0 if nothing.
    fn input_hash(&self) -> u64 {
        0
    }
    /// How many there are.
    fn count(&self) -> u64;
    /// What each weighs; empty if they are all alike.
    fn weights(&self) -> Vec<u64>;
    /// What one of them does, for people.
    fn describe_task(&self, task: TaskId) -> String;
    /// Whether it is of several items, and can be split in two. A worker may name any number.
    fn is_divisible(&self, task: TaskId) -> bool;
    /// It has taken too many workers along: `parts` and the number after it each do half of it from now on, and it is
    /// never settled. Called for a divisible task only.
    fn split(&mut self, task: TaskId, parts: TaskId);
    /// More tasks may have come, and somebody says so: the first of them gets this number, and they go on from it.
    fn arrivals(&mut self, _first: TaskId) -> Arrivals {
        Arrivals::default()
    }
    /// Some tasks may not be wanted any more, and somebody says so: which.
    fn cancels(&mut self) -> Cancels {
        Cancels::default()
    }
    /// It is lent to this process now.
    fn lent(&mut self, _task: TaskId, _attempt: Attempt, _pid: u32) {}
    /// The encoded arguments of one.
    fn args(&self, task: TaskId) -> Vec<u8>;
    /// Takes the final word on one; called exactly once for each. In a run without a journal nobody needs the bytes of a value
    /// afterwards: they may be taken out.
    ///
    /// # Errors
    /// If a value is not what this task can have returned: the run ends with exit code 105.
    fn settle(&mut self, task: TaskId, outcome: &mut Outcome) -> Result<(), String>;
    /// Nobody wants it any more: that is its final word, and [`settle`](Work::settle) is not called for it.
    fn cancelled(&mut self, _task: TaskId) {}
    /// The answer, once every task has brought its value.
    fn total(&self) -> Option<String>;
    /// Whether the answer agrees with a second way to it.
    fn is_exact(&self) -> bool;
}

/// Tasks that have come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrivals {
    /// How many.
    pub count: u64,
    /// What each weighs; empty if they are all alike.
    pub weights: Vec<u64>,
}

/// Tasks that are not wanted any more. What is none, or has its final word, does no harm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cancels {
    /// Wherever they are: a worker that runs one is killed.
    pub all: Vec<TaskId>,
    /// Only as long as nobody was lent them.
    pub waiting: Vec<TaskId>,
}

/// Who watches a run.
pub trait Witness {
    /// Something happened.
    fn tell(&mut self, line: &Line);
    /// The worker of this slot has ended so many attempts, whatever they brought, and this is how long they took: told before
    /// what they brought.
    fn worked(&mut self, _slot: SlotId, _attempts: u64, _busy: Duration) {}
    /// How far the run is: at most ten times a second.
    fn progress(&mut self, tally: &Tallied);
    /// Somebody asked what everybody does at this moment (SIGUSR2).
    fn show(&mut self, status: &Status);
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Report {
    /// In numbers.
    pub done: Done,
    /// In the core's words.
    pub verdict: Verdict,
    /// The signal that asked for the end, if one did.
    pub signal: Option<i32>,
    /// What was wrong with a result, if anything was.
    pub integrity: Option<String>,
    /// Why the journal could not be kept to the end, if so.
    pub journal: Option<String>,
}
