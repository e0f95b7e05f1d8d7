//! Somebody wants tasks no more: what is asked, and what must come of it.

use super::World;
use super::oracle::Oracle;
use super::process::Process;
use brigade_core::Event;
use brigade_wire::{Exit, TaskId, WorkerId};

impl World {
    /// Somebody cancels a few tasks, some of which are done with or do not exist.
    pub(crate) fn cancel(&mut self) {
        let (count, numbers) = (self.dice.between(1, 4), self.oracle.next().0 + 2);
        let tasks: Vec<TaskId> = (0..count).map(|_| TaskId(self.dice.below(numbers))).collect();
        let lent = self.dice.once_in(2);
        self.oracle.wants_no_more(&tasks, lent);
        self.tell(Event::Cancel { tasks, lent });
        assert!(self.oracle.unwanted.is_empty(), "{:?} go on", self.oracle.unwanted);
    }

    /// It was recalled: it says what it has to say, and leaves before it begins another.
    pub(crate) fn leave(&mut self, at: usize) {
        if !self.processes[at].outbox.is_empty() {
            return self.report(at);
        }
        let process = &self.processes[at];
        let is_sane = !process.garbled && !process.is_condemned();
        // Whoever was asked twice, or does not get around to leaving, is another matter.
        self.oracle.left = Some(process.worker).filter(|_| is_sane && !process.terminated);
        self.bury(at, Exit::RECYCLE);
    }
}

impl Oracle {
    /// These are to have their final word by that, if they have none.
    fn wants_no_more(&mut self, tasks: &[TaskId], lent: bool) {
        let truths = tasks.iter().filter_map(|task| Some((*task, self.tasks.get(task.0 as usize)?)));
        let open = truths.filter(|(_, truth)| !truth.settled && (lent || truth.holder.is_none()));
        self.unwanted = open.map(|(task, _)| task).collect();
    }

    pub(super) fn judge_cancelled(&mut self, task: TaskId) {
        assert!(self.unwanted.remove(&task), "task {task} is cancelled, and nobody asked for that");
        let truth = &mut self.tasks[task.0 as usize];
        assert!(!truth.settled, "task {task} is settled twice");
        (truth.settled, truth.cancelled, truth.late) = (true, true, truth.holder.take());
        self.tally.settled += 1;
        self.tally.cancelled += 1;
    }

    /// Whether it may still say how something ended that was cancelled.
    pub(super) fn is_late(&self, worker: WorkerId) -> bool {
        self.tasks.iter().any(|truth| truth.late == Some(worker))
    }

    /// Whether it runs what was cancelled.
    pub(crate) fn is_cancelled(&self, process: &Process) -> bool {
        process.running.iter().any(|run| self.tasks[run.lease.task.0 as usize].cancelled)
    }
}
