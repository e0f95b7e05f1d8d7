//! What a seed has in store.

use super::dice::Dice;
use brigade_core::{
    Backoff, Halt, HaltLimit, HaltOn, HaltWhen, Intensity, Lookahead, Policy, Schedule, Timeout,
};
use brigade_wire::{Attempt, Ending, TaskId};
use std::time::Duration;

pub(crate) struct Plan {
    pub(crate) policy: Policy,
    /// Tasks at the start.
    pub(crate) tasks: u64,
    /// Tasks that come when the run holds.
    pub(crate) more: Vec<u64>,
    /// An earlier supervisor got somewhere with these.
    pub(crate) before: Vec<Before>,
    /// Bit k: whoever runs task k dies of an item of it.
    poison: u64,
    /// Tasks are of several items.
    chunky: bool,
    /// The tasks are short, so they are lent ahead.
    pub(crate) short: bool,
    /// How many faults there will be. After the last one the run must end.
    pub(crate) faults: u32,
    /// One act in so many is a fault.
    pub(crate) calm: u64,
    /// Processes only hang, so nothing but a deadline saves the run.
    pub(crate) only_hangs: bool,
    /// One kill in so many meets somebody whom the kernel holds; 0 is none.
    pub(crate) held: u64,
    /// One step in so many asks for more workers or fewer; 0 is none.
    pub(crate) resizes: u64,
    /// One step in so many cancels something; 0 is none.
    pub(crate) cancels: u64,
    /// The step at which the run is told to drain; 0 is never.
    pub(crate) drain_at: u32,
    /// The step at which the run is told to abort; 0 is never.
    pub(crate) abort_at: u32,
}

/// How far an earlier supervisor got with a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    Nowhere,
    Value,
    Failed,
    Quarantined,
    /// Two others came in its place.
    Split,
    /// So many died of it, and so often it failed.
    Tried {
        deaths: u32,
        failures: u32,
    },
}

impl Before {
    /// How many died of it, and how often it failed.
    pub(crate) fn tried(self) -> (u32, u32) {
        match self {
            Before::Tried { deaths, failures } => (deaths, failures),
            Before::Nowhere | Before::Value | Before::Failed => (0, 0),
            Before::Quarantined | Before::Split => (0, 0),
        }
    }

    fn draw(dice: &mut Dice) -> Before {
        match dice.below(9) {
            0..=2 => Before::Nowhere,
            8 => Before::Split,
            3..=4 => Before::Value,
            5 => Before::Failed,
            6 => Before::Quarantined,
            _ => Before::Tried { deaths: dice.below(4) as u32, failures: dice.below(3) as u32 },
        }
    }
}

impl Plan {
    pub(crate) fn draw(seed: u64, dice: &mut Dice) -> Plan {
        let policy = policy(seed, dice);
        let more =
            if policy.hold { (0..dice.below(3)).map(|_| dice.between(1, 4)).collect() } else { Vec::new() };
        let tasks = dice.below(20);
        // Two more than there are: nothing is believed of those.
        let before =
            if dice.once_in(4) { (0..tasks + 2).map(|_| Before::draw(dice)).collect() } else { vec![] };
        Plan {
            tasks,
            before,
            more,
            poison: if dice.once_in(2) { 1 << dice.below(16) | 1 << dice.below(16) } else { 0 },
            chunky: dice.once_in(3),
            short: dice.once_in(2),
            faults: dice.below(24) as u32,
            calm: dice.between(2, 8),
            only_hangs: matches!(policy.task_timeout, Some(Timeout::After(_))) && dice.once_in(3),
            held: if dice.once_in(4) { dice.between(1, 6) } else { 0 },
            resizes: if dice.once_in(3) { dice.between(4, 40) } else { 0 },
            cancels: if dice.once_in(4) { dice.between(4, 40) } else { 0 },
            drain_at: if dice.once_in(6) { dice.between(1, 80) as u32 } else { 0 },
            abort_at: if dice.once_in(20) { dice.between(1, 100) as u32 } else { 0 },
            policy,
        }
    }

    /// What this task is of, until it is split.
    pub(crate) fn chunk(&self, TaskId(task): TaskId) -> Chunk {
        let items = if self.chunky { 1 + (task * 3 % 8) as u32 } else { 1 };
        let is_poison = self.poison.checked_shr(task as u32).is_some_and(|bits| bits & 1 == 1);
        let bad =
            if is_poison { 1 << (task % u64::from(items)) | 1 << (task / 2 % u64::from(items)) } else { 0 };
        Chunk { items, bad }
    }
}

/// The items of a task, of which some kill.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunk {
    pub(crate) items: u32,
    /// Bit k: whoever comes to the k-th item dies.
    bad: u64,
}

impl Chunk {
    pub(crate) fn is_poison(self) -> bool {
        self.bad != 0
    }

    /// Both halves.
    pub(crate) fn split(self) -> [Chunk; 2] {
        let half = self.items / 2;
        let first = Chunk { items: half, bad: self.bad & ((1 << half) - 1) };
        [first, Chunk { items: self.items - half, bad: self.bad >> half }]
    }
}

fn policy(seed: u64, dice: &mut Dice) -> Policy {
    let strict = dice.once_in(8);
    let procs = dice.between(1, 4) as u32;
    Policy {
        procs,
        slots_max: procs + dice.below(4) as u32,
        threads: if dice.once_in(2) { 1 } else { dice.between(2, 3) as u32 },
        schedule: match dice.below(6) {
            0 => Schedule::Static,
            1 => Schedule::RoundRobin,
            2 => Schedule::Weighted,
            3 => Schedule::Stealing,
            _ => Schedule::Dynamic,
        },
        task_timeout: match dice.below(6) {
            0..=2 => None,
            3 => Some(Timeout::OfMedian(dice.between(100, 400) as u32)),
            _ => Some(Timeout::After(Duration::from_millis(60))),
        },
        abort_grace: Duration::from_millis(if dice.once_in(4) { 0 } else { dice.between(3, 30) }),
        attempts_max: dice.between(1, 3) as u32,
        retries: dice.below(3) as u32,
        intensity: Intensity { restarts: if strict { 2 } else { 1_000 }, within: Duration::from_secs(10) },
        backoff: Backoff {
            first: Duration::from_millis(5),
            max: Duration::from_millis(40),
            reset: Duration::from_millis(500),
        },
        grace: Duration::from_millis(50),
        kill_grace: Duration::from_millis(40),
        birth_timeout: Duration::from_millis(100),
        tasks_per_worker_max: dice.once_in(4).then(|| dice.between(1, 16)),
        age_max: dice.once_in(6).then(|| Duration::from_millis(dice.between(20, 100))),
        lookahead: Lookahead {
            time: Duration::from_millis(2),
            tasks: dice.below(4) as usize,
            back_after: Duration::from_millis(dice.below(8)),
        },
        halt: dice.once_in(6).then(|| halt(dice)),
        hold: dice.once_in(5),
        stuck_after: Duration::from_millis(dice.between(5, 120)),
        seed,
    }
}

fn halt(dice: &mut Dice) -> Halt {
    Halt {
        when: if dice.once_in(2) { HaltWhen::Now } else { HaltWhen::Soon },
        on: [HaltOn::Fail, HaltOn::Success, HaltOn::Done][dice.below(3) as usize],
        limit: match dice.once_in(2) {
            true => HaltLimit::Count(dice.between(1, 6)),
            false => HaltLimit::Percent(dice.between(1, 100) as u32),
        },
    }
}

/// How an attempt ends when its worker lives: two tasks never succeed, two not at once. The value is its
/// number plus one, so that a lost task 0 shows.
pub(crate) fn ending(task: TaskId, attempt: Attempt) -> Ending {
    match task.0 {
        1 if attempt == Attempt::FIRST => Ending::Failed("one".to_owned()),
        11 if attempt < Attempt(3) => {
            Ending::Panicked { message: "eleven".to_owned(), location: String::new() }
        }
        3 => Ending::Failed("three".to_owned()),
        7 => Ending::Panicked { message: "seven".to_owned(), location: String::new() },
        number => Ending::Value((number + 1).to_le_bytes().to_vec()),
    }
}
