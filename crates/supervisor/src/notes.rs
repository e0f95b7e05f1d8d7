//! The core's notes, told in the story: pids in place of incarnations, and words for the logs of those concerned.

use crate::driver::Driver;
use crate::resize::not_resized;
use crate::story::Told;
use brigade_core::{GiveUp, Note};
use brigade_os::clock;
use brigade_wire::{Attempt, SlotId, TaskId, WorkerId};
use std::time::Duration;

/// What began first, and what ran beside it.
fn first_and_others(mut tasks: Vec<TaskId>) -> (Option<TaskId>, Vec<TaskId>) {
    let others = tasks.split_off(tasks.len().min(1));
    (tasks.pop(), others)
}

impl Driver<'_> {
    pub(crate) fn tell(&mut self, note: Note) {
        // Some of them say what was settled.
        self.books.commit();
        let told = match note {
            Note::Ready(worker) => self.ready(worker),
            Note::Exited { worker, exit, planned, settled, held } => {
                self.chronicle.complete_death(worker, planned, settled);
                let (slot, pid, incarnation) = self.who(worker);
                let (task, beside) = first_and_others(held);
                Told::WorkerExit { slot, pid, incarnation, exit, planned, settled, task, beside }
            }
            Note::Requeued { task, attempt, blamed, failed, worker } => {
                self.requeued(worker, (task, attempt), (blamed, failed))
            }
            Note::TimedOut { task, worker } => {
                let (slot, pid, _) = self.who(worker);
                self.chronicle.epitaph(pid, &format!("task {task} is past its deadline: killing the worker"));
                Told::TaskTimedOut { task, slot, pid }
            }
            Note::Revoked { task, worker } => {
                let words = format!("task {task} was cancelled: killing the worker");
                return self.chronicle.epitaph(self.chronicle.pid(worker), &words);
            }
            Note::Recycling { worker, why } => self.recycled(worker, why),
            Note::Bloated(worker) => self.bloated(worker),
            Note::Stuck(worker) => return self.stuck(worker),
            Note::Stopped(worker) => {
                let (slot, pid, incarnation) = self.who(worker);
                let (task, beside) = self.at_work(slot);
                Told::WorkerStopped { slot, pid, incarnation, task, beside }
            }
            Note::Continued(worker) => {
                let (slot, pid, incarnation) = self.who(worker);
                Told::WorkerContinued { slot, pid, incarnation }
            }
            Note::NotBorn { worker, reason } => {
                Told::WorkerUnborn { slot: worker.slot, incarnation: worker.incarnation, reason }
            }
            Note::BackingOff { slot, until } => {
                Told::BackingOff { slot, seconds: until.since(self.now()).as_secs_f64() }
            }
            Note::Unkillable(worker) => self.unkillable(worker),
            Note::Resized { from, to } => {
                self.publisher.lives_changed();
                Told::Resized { from, to }
            }
            Note::NotResized { wanted, why } => return self.chronicle.warn(not_resized(wanted, why)),
            Note::Unrecalled { tasks } => {
                return self.chronicle.warn(format!("{tasks} tasks of the journal are not of this run"));
            }
            Note::Holding => {
                self.is_holding = true;
                self.publisher.lives_changed();
                Told::Holding { total: self.work.total().filter(|_| self.has_all_values()) }
            }
            Note::Halting(_) => return self.chronicle.warn("enough has happened: the run halts".into()),
            Note::GaveUp(cause) => self.gave_up(&cause),
        };
        self.chronicle.tell(told);
    }

    /// What the worker of a slot runs now.
    fn at_work(&self, slot: SlotId) -> (Option<TaskId>, Vec<TaskId>) {
        first_and_others(self.pages.running(slot).into_iter().map(|page| page.task).collect())
    }

    fn stuck(&mut self, worker: WorkerId) {
        let (slot, pid, _) = self.who(worker);
        let what = "holds tasks, and neither runs nor reports them";
        self.chronicle.epitaph(pid, &format!("it {what}: killing it"));
        // Under chaos somebody has probably stopped it on purpose.
        if self.mischief.is_none() {
            self.chronicle.warn(format!("worker {slot} (pid {pid}) {what}: it is killed, nobody is blamed"));
        }
    }

    fn requeued(
        &mut self,
        worker: WorkerId,
        (task, attempt): (TaskId, Attempt),
        (blamed, failed): (bool, bool),
    ) -> Told {
        let (slot, pid, _) = self.who(worker);
        let how = if blamed { "an attempt is spent" } else { "not blamed" };
        self.chronicle.epitaph(pid, &format!("task {task} goes back as attempt {attempt}, {how}"));
        Told::TaskRequeued { task, attempt, blamed, failed, slot, pid }
    }

    fn has_all_values(&self) -> bool {
        let tally = self.core.tally();
        tally.values == tally.submitted
    }

    fn ready(&mut self, worker: WorkerId) -> Told {
        self.publisher.lives_changed();
        let (slot, pid, incarnation) = self.who(worker);
        let wished_ns = self.wished_ns.get(&slot).copied();
        let died_ns = self.chronicle.last_death_ns(worker);
        let since_ns = died_ns.max(wished_ns).unwrap_or(self.began_ns);
        let after = Duration::from_nanos(clock::monotonic_ns().saturating_sub(since_ns)).as_secs_f64();
        // Not for the first of a slot that was opened again.
        if died_ns > wished_ns {
            *self.restarts.entry(slot).or_default() += 1;
        }
        Told::WorkerReady { slot, pid, incarnation, after }
    }

    pub(crate) fn who(&self, worker: WorkerId) -> (SlotId, u32, u32) {
        (worker.slot, self.chronicle.pid(worker), worker.incarnation)
    }

    fn gave_up(&self, cause: &GiveUp) -> Told {
        let (reason, pid) = match cause {
            GiveUp::Intensity { slot, deaths, exit: None } => {
                (format!("worker {slot} could not be born, {deaths} times"), 0)
            }
            GiveUp::Intensity { slot, deaths, exit: Some(exit) } => {
                let last = format!("last by {exit}");
                let within = self.plan.policy.intensity.within.as_secs_f64();
                let reason = format!(
                    "worker {slot} died {deaths} times within {within} s without settling a task, {last}"
                );
                (reason, self.chronicle.last_pid(*slot))
            }
            GiveUp::Unkillable(worker) => {
                let reason = "nothing can kill the workers of all the slots that there may be";
                (reason.to_string(), self.chronicle.pid(*worker))
            }
            GiveUp::CannotRun(worker) => (
                format!("worker {} says that it cannot run here (exit code 78)", worker.slot),
                self.chronicle.pid(*worker),
            ),
            GiveUp::Refused { worker, reason } => {
                let reason = format!("worker {} is not of this build: it {reason}", worker.slot);
                (reason, self.chronicle.pid(*worker))
            }
        };
        Told::GaveUp { reason, last_lines: self.chronicle.last_lines(pid) }
    }
}
