//! Somebody waits behind a long task: who may be helped, and who must be.

use super::World;
use super::oracle::Oracle;
use super::process::{Body, Process};
use brigade_core::{Now, Schedule};
use brigade_wire::{TaskId, WorkerId};
use std::time::Duration;

/// The core may need so long to look again at somebody who was between two tasks when it looked.
const AGAIN: Duration = Duration::from_millis(10);

impl Oracle {
    /// Whoever is idle would take what another has.
    fn is_common(&self) -> bool {
        matches!(self.policy.schedule, Schedule::Dynamic | Schedule::Stealing)
    }

    fn is_idle(&self, process: &Process) -> bool {
        let takes = process.body == Body::Alive && process.hello && process.serves() && !process.stopped;
        let held = self.held(process.worker);
        let may = held.is_empty() || !process.full && !held.iter().any(|truth| truth.is_alone);
        takes && may && held.len() < self.policy.threads as usize
    }

    /// How long its tasks may take before they are long.
    fn back_after(&self, process: &Process) -> Duration {
        self.policy.lookahead.back_after.max(process.hello_at.since(process.wished_at))
    }

    /// When all that it runs is long; `None` if nothing waits behind that, or a thread of it is free.
    fn long_at(&self, process: &Process) -> Option<Now> {
        let (held, threads) = (self.held(process.worker).len(), self.policy.threads as usize);
        let latest = process.running.iter().map(|run| run.since + run.slept).max()?;
        let is_behind = process.running.len() == threads && held > threads + process.outbox.len();
        is_behind.then_some(latest + self.back_after(process))
    }

    /// All that it runs is long, and somebody has nothing to do.
    pub(super) fn is_uneven(&self, worker: WorkerId, processes: &[Process], now: Now) -> bool {
        let is_long = self.long_at(&processes[worker.slot.0 as usize]).is_some_and(|at| at <= now);
        self.is_common() && is_long && processes.iter().any(|process| self.is_idle(process))
    }

    /// It is lent anew while its worker lives: that must be known not to begin it.
    pub(super) fn judge_taken_back(&mut self, task: TaskId, process: &Process) {
        let truth = &mut self.tasks[task.0 as usize];
        if truth.holder != Some(process.worker) {
            return;
        }
        let is_begun = process.runs(task) || process.outbox.iter().any(|end| end.task == task);
        assert!(!is_begun, "task {task} is taken back, and {} has begun it", process.worker);
        let is_certain = process.recalled && self.certain == Some(process.worker);
        assert!(is_certain, "task {task} is taken back, and {} may begin it", process.worker);
        truth.holder = None;
    }
}

impl World {
    /// Whoever has more than the long task that it runs is looked at, if somebody else has nothing to do.
    pub(crate) fn assert_nobody_waits_in_vain(&self) {
        let (oracle, next) = (&self.oracle, self.core.next_deadline().unwrap_or(Now(Duration::MAX)));
        let may = oracle.is_common() && !oracle.is_ending() && self.refusals.is_empty();
        let recalled = self.processes.iter().any(|process| process.recalled);
        // While one waits that must be alone, whoever runs something is not idle: it makes room for that.
        let waits =
            oracle.tasks.iter().any(|truth| truth.is_alone && !truth.settled && truth.holder.is_none());
        if !may || recalled || waits || !self.processes.iter().any(|process| oracle.is_idle(process)) {
            return;
        }
        let unseen = |it: &&Process| it.body == Body::Alive && !it.asked && !it.is_condemned();
        for process in self.processes.iter().filter(unseen) {
            let heard = process.quiet_since.max(process.missed_at) + oracle.back_after(process);
            let due = oracle.long_at(process).map(|at| at.max(heard).max(self.now) + AGAIN);
            assert!(due.is_none_or(|due| next <= due), "nobody looks before {next:?}: {process:?}");
        }
    }
}
