//! The core's wishes, fulfilled.

use crate::driver::Driver;
use crate::story::Told;
use brigade_core::{Effect, Event, GiveUp, Lease, Note, Now, Recycle, Running};
use brigade_link::Sent;
use brigade_os::clock;
use brigade_wire::{Attempt, Call, Outcome, TaskId, WorkerId};
use std::sync::Arc;
use std::time::Duration;

impl Driver<'_> {
    /// Fulfils all wishes, and those that come of them.
    pub(crate) fn perform(&mut self) {
        loop {
            let mut effects = std::mem::take(&mut self.effects);
            for effect in effects.drain(..) {
                self.fulfil(effect);
            }
            // The allocation is kept; `fulfil` may have pushed events, but only the core pushes effects.
            if self.effects.is_empty() {
                self.effects = effects;
            }
            self.order_births();
            match self.echoes.pop_front() {
                Some(event) => self.hear(event),
                None if self.effects.is_empty() => break,
                None => {}
            }
        }
        if cfg!(debug_assertions) {
            self.core.check();
        }
    }

    fn fulfil(&mut self, effect: Effect) {
        match effect {
            Effect::Spawn(worker) => self.wish(worker),
            Effect::Run { worker, leases } => self.lend(worker, &leases),
            Effect::Stop(worker) => self.say_stop(worker),
            Effect::Terminate(worker) => {
                let hand = self.hands.get(worker);
                hand.and_then(|hand| hand.body()).inspect(|body| body.terminate());
            }
            Effect::Abort(worker) => {
                let hand = self.hands.get(worker);
                hand.and_then(|hand| hand.body()).inspect(|body| body.abort());
            }
            Effect::Kill(worker) => self.kill(worker),
            Effect::Look(worker) => self.look(worker),
            Effect::Settle { task, attempt, outcome, worker: _ } => self.settle(task, attempt, &outcome),
            Effect::Tell(note) => self.tell(note),
        }
    }

    fn lend(&mut self, worker: WorkerId, leases: &[Lease]) {
        let Some(hand) = self.hands.get(worker) else {
            let tasks = leases.iter().map(|lease| lease.task).collect();
            return self.echoes.push_back(Event::Unsent { worker, tasks });
        };
        let Some(body) = hand.body().map(Arc::clone) else { return };
        let work = &self.work;
        let call =
            |lease: &Lease| Call { task: lease.task, attempt: lease.attempt, args: work.args(lease.task) };
        let sent = self.backstop.over(&body, || hand.link.run(leases.iter().map(call)));
        match sent {
            Sent::All => {}
            Sent::Full(tasks) | Sent::Gone(tasks) => self.echoes.push_back(Event::Unsent { worker, tasks }),
        }
    }

    fn say_stop(&mut self, worker: WorkerId) {
        let Some(hand) = self.hands.get(worker) else { return };
        let Some(body) = hand.body().map(Arc::clone) else { return };
        self.backstop.over(&body, || hand.link.stop());
    }

    fn look(&mut self, worker: WorkerId) {
        let page = self.pages.running(worker.slot);
        let since = |since_ns: u64| Now(Duration::from_nanos(since_ns.saturating_sub(self.began_ns)));
        let running = page.map(|page| Running { task: page.task, since: since(page.since_ns) });
        self.echoes.push_back(Event::Seen { worker, running });
    }

    fn settle(&mut self, task: TaskId, attempt: Attempt, outcome: &Outcome) {
        self.settled_ns = clock::monotonic_ns();
        if let Err(reason) = self.work.settle(task, outcome) {
            self.integrity.get_or_insert(reason);
            self.echoes.push_back(Event::Abort);
        }
        match outcome {
            Outcome::Value(_) => {}
            Outcome::Failed(reason) => {
                self.chronicle.tell(Told::TaskFailed { task, attempt, reason: reason.clone() });
            }
            Outcome::Panicked { message, location } => {
                let reason = format!("panicked at {location}: {message}");
                self.chronicle.tell(Told::TaskFailed { task, attempt, reason });
            }
            Outcome::Quarantined { attempts } => {
                self.chronicle.tell(Told::TaskQuarantined { task, attempts: attempts.clone() });
            }
        }
    }

    fn tell(&mut self, note: Note) {
        let told = match note {
            Note::Ready(worker) => self.ready(worker),
            Note::Exited { worker, exit, planned, settled, held } => {
                self.chronicle.complete_death(worker, planned, settled);
                let (slot, pid, incarnation) = self.who(worker);
                Told::WorkerExit { slot, pid, incarnation, exit, planned, settled, task: held }
            }
            Note::Requeued { task, attempt, blamed, worker } => {
                let (slot, pid, _) = self.who(worker);
                let how = if blamed { "an attempt is spent" } else { "not blamed" };
                self.chronicle.epitaph(pid, &format!("task {task} goes back as attempt {attempt}, {how}"));
                Told::TaskRequeued { task, attempt, blamed, slot, pid }
            }
            Note::TimedOut { task, worker } => {
                let (slot, pid, _) = self.who(worker);
                self.chronicle.epitaph(pid, &format!("task {task} is past its deadline: killing the worker"));
                Told::TaskTimedOut { task, slot, pid }
            }
            Note::Recycling { worker, why } => return self.told_to_leave(worker, recycled_for(why)),
            Note::Bloated(worker) => {
                return self
                    .told_to_leave(worker, "it outgrew its memory while it ran a task, and is killed");
            }
            Note::Stopped(worker) => {
                let (slot, pid, incarnation) = self.who(worker);
                let task = self.pages.running(slot).map(|page| page.task);
                Told::WorkerStopped { slot, pid, incarnation, task }
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

    /// In the log of the worker itself.
    fn told_to_leave(&mut self, worker: WorkerId, why: &str) {
        let pid = self.chronicle.pid(worker);
        self.chronicle.epitaph(pid, &format!("to be replaced: {why}"));
    }

    fn has_all_values(&self) -> bool {
        let tally = self.core.tally();
        tally.values == tally.submitted
    }

    fn ready(&mut self, worker: WorkerId) -> Told {
        self.publisher.lives_changed();
        let (slot, pid, incarnation) = self.who(worker);
        let since_ns = self.chronicle.last_death_ns(worker).unwrap_or(self.began_ns);
        let after = Duration::from_nanos(clock::monotonic_ns().saturating_sub(since_ns)).as_secs_f64();
        if incarnation > 1 {
            self.restarts[slot.0 as usize] += 1;
        }
        Told::WorkerReady { slot, pid, incarnation, after }
    }

    fn who(&self, worker: WorkerId) -> (brigade_wire::SlotId, u32, u32) {
        (worker.slot, self.chronicle.pid(worker), worker.incarnation)
    }

    fn gave_up(&self, cause: &GiveUp) -> Told {
        let (reason, pid) = match cause {
            GiveUp::Intensity { slot, deaths, exit } => {
                let last = exit.map_or("it was never born".into(), |exit| format!("last by {exit}"));
                let within = self.plan.policy.intensity.within.as_secs_f64();
                let reason = format!(
                    "worker {slot} died {deaths} times within {within} s without settling a task, {last}"
                );
                (reason, self.chronicle.last_pid(*slot))
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

fn recycled_for(why: Recycle) -> &'static str {
    match why {
        Recycle::Tasks => "it has had its number of tasks",
        Recycle::Age => "it has reached its age",
        Recycle::Memory => "it has outgrown its memory",
    }
}
