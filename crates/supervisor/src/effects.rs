//! The core's wishes, fulfilled.

use crate::driver::Driver;
use crate::story::Told;
use brigade_core::{Effect, Event, Lease, Now, Running};
use brigade_journal::Settled;
use brigade_link::Sent;
use brigade_os::clock;
use brigade_wire::{Call, FailedAttempt, Outcome, TaskId, WorkerId};
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
            Effect::Abort { worker, task } => {
                let thread = self.pages.thread_of(worker.slot, task);
                let hand = self.hands.get(worker);
                hand.and_then(|hand| hand.body()).inspect(|body| body.abort(thread));
            }
            Effect::Kill(worker) => self.kill(worker),
            Effect::Look(worker) => self.look(worker),
            Effect::Recall(worker) => {
                self.pages.recall(worker.slot);
                self.look(worker);
            }
            Effect::Settle { task, attempt, outcome, worker } => {
                self.settle(Settled { task, attempt, worker, outcome });
            }
            Effect::Cancelled(tasks) => self.cancelled(&tasks),
            Effect::Split { task, attempts, parts } => self.split(task, attempts, parts),
            Effect::Spend { task, attempt } => {
                self.remember_attempt(task, &attempt);
                self.books.spent(task, attempt);
            }
            Effect::Tell(note) => self.tell(note),
        }
    }

    fn lend(&mut self, worker: WorkerId, leases: &[Lease]) {
        let hand = self.hands.get(worker).and_then(|hand| Some((Arc::clone(hand.body()?), hand)));
        let Some((body, hand)) = hand else {
            let tasks = leases.iter().map(|lease| lease.task).collect();
            return self.echoes.push_back(Event::Unsent { worker, tasks });
        };
        let work = &self.work;
        let calls = leases.iter().map(|&Lease { task, attempt, .. }| {
            (task, move || Call { task, attempt, args: work.args(task) })
        });
        // Before the backstop looks: large arguments take their time, and wait for nobody.
        let mut packets = hand.link.pack(calls);
        let ended = std::mem::take(&mut packets.refused);
        let pid = body.pid().number();
        leases.iter().for_each(|lease| self.work.lent(lease.task, lease.attempt, pid));
        let sent = self.backstop.over(&body, || hand.link.run(packets));
        if !ended.is_empty() {
            self.echoes.push_back(Event::Ended { worker, ended });
        }
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
        // In this order: what was recalled before it was read names the last that begin.
        let (recalled, page) = (self.pages.is_recalled(worker.slot), self.pages.running(worker.slot));
        let since = |since_ns: u64| Now(Duration::from_nanos(since_ns.saturating_sub(self.began_ns)));
        let running = page.into_iter().map(|page| Running {
            task: page.task,
            divisible: self.work.is_divisible(page.task),
            since: since(page.progress_ns),
            began: since(page.since_ns),
        });
        let running = running.collect();
        self.echoes.push_back(Event::Seen { worker, running, recalled });
    }

    fn settle(&mut self, mut settled: Settled) {
        self.settled_ns = clock::monotonic_ns();
        let Settled { task, attempt, worker, .. } = settled;
        let is_quarantined = matches!(settled.outcome, Outcome::Quarantined { .. });
        let what = if is_quarantined { self.work.describe_task(task) } else { String::new() };
        if let Err(reason) = self.work.settle(task, &mut settled.outcome) {
            self.integrity.get_or_insert(reason);
            self.echoes.push_back(Event::Abort);
        }
        let told = match &settled.outcome {
            Outcome::Value(_) => None,
            Outcome::Failed(reason) => Some(Told::TaskFailed { task, attempt, reason: reason.clone() }),
            Outcome::Panicked { message, location } => {
                let reason = format!("panicked at {location}: {message}");
                Some(Told::TaskFailed { task, attempt, reason })
            }
            Outcome::Quarantined { attempts } => {
                let words = format!("task {task} goes into quarantine, attempt {attempt} was its last");
                self.chronicle.epitaph(self.chronicle.pid(worker), &words);
                Some(Told::TaskQuarantined { task, what, attempts: attempts.clone() })
            }
        };
        self.books.settled(settled);
        let Some(told) = told else { return self.forget_attempts(task) };
        // Written before it is told; an error is told by the next commit.
        self.books.commit();
        if let Told::TaskQuarantined { attempts, what, .. } = &told {
            self.keep_case(task, what, attempts);
        }
        self.forget_attempts(task);
        self.chronicle.tell(told);
    }

    /// Nobody wants these any more. Only a run in a program hears of such a thing, and that keeps no journal.
    fn cancelled(&mut self, tasks: &[TaskId]) {
        self.settled_ns = clock::monotonic_ns();
        for &task in tasks {
            self.work.cancelled(task);
            self.forget_attempts(task);
        }
    }

    /// Two tasks come in the place of one. Written before it is told, or lent.
    fn split(&mut self, task: TaskId, attempts: Vec<FailedAttempt>, parts: TaskId) {
        let what = self.work.describe_task(task);
        self.work.split(task, parts);
        self.books.split(task, parts);
        self.books.commit();
        self.forget_attempts(task);
        let parts = [parts, TaskId(parts.0 + 1)];
        if let Some(last) = attempts.last() {
            let words = format!("task {task} is split into tasks {} and {}", parts[0], parts[1]);
            self.chronicle.epitaph(self.chronicle.pid(last.worker), &words);
        }
        self.chronicle.tell(Told::TaskSplit { task, what, parts, attempts });
    }
}
