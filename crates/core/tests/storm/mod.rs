//! A world for the core to live in: processes that are born, work, hang and die as the dice say, and an
//! oracle that knows what the core may do about it.
//!
//! ```text
//! seed ─▶ Plan ─▶ World::step ─▶ Event ─▶ Core ─▶ Effects ─▶ World::fulfil ─▶ Oracle        until finished
//! ```

mod cancels;
pub(crate) mod dice;
mod faults;
mod oracle;
mod plan;
mod process;
mod takeback;

use brigade_core::{Core, Effect, Event, Lease, Note, Now, Policy, Recycle, Verdict};
use brigade_wire::{Ended, Exit, TaskId, WorkerId};
use dice::Dice;
use oracle::Oracle;
use plan::{Before, Chunk, Plan};
use process::{Body, Held, Process, Run};
use std::collections::BTreeMap;
use std::mem;
use std::time::Duration;

/// The longest of a million schedules needs 1,066; whoever needs more than this is going round in circles.
const STEPS_MAX: u32 = 3_000;

/// What a schedule brought, so that a storm can show that it was one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    pub(crate) events: u64,
    pub(crate) births: u64,
    pub(crate) deaths: u64,
    /// Of these, of whoever ran several tasks side by side.
    pub(crate) shared: u64,
    pub(crate) hangs: u64,
    pub(crate) echoes: u64,
    pub(crate) unsent: u64,
    pub(crate) unborn: u64,
    pub(crate) sleeps: u64,
    pub(crate) recycled: u64,
    pub(crate) resized: u64,
    pub(crate) lost: u64,
    pub(crate) found: u64,
    pub(crate) bloated: u64,
    pub(crate) retried: u64,
    pub(crate) recalled: u64,
    pub(crate) cancelled: u64,
    pub(crate) revoked: u64,
    pub(crate) taken_back: u64,
    pub(crate) timed_out: u64,
    /// Of these, beside others that were late as well.
    pub(crate) late_together: u64,
    pub(crate) stuck: u64,
    pub(crate) quarantined: u64,
    pub(crate) split: u64,
    pub(crate) complete: u64,
    pub(crate) halted: u64,
    pub(crate) steps_max: u64,
}

pub(crate) struct World {
    plan: Plan,
    dice: Dice,
    core: Core,
    now: Now,
    processes: Vec<Process>,
    /// What was split.
    parts: BTreeMap<TaskId, Chunk>,
    oracle: Oracle,
    /// What was delivered before, to be said again.
    said: Vec<(WorkerId, Ended)>,
    faults_left: u32,
    effects: Vec<Effect>,
    weather: Weather,
    /// Refusals that the core has not heard of yet.
    refusals: Vec<(WorkerId, Vec<TaskId>)>,
}

impl World {
    /// Lives through one schedule, and panics where the core breaks a promise.
    pub(crate) fn live(seed: u64, core: impl FnOnce(Policy) -> Core) -> Weather {
        let mut dice = Dice::new(seed);
        let plan = Plan::draw(seed, &mut dice);
        let mut world = World {
            core: core(plan.policy.clone()),
            now: Now::millis(0),
            processes: (0..plan.policy.procs).map(Process::nobody).collect(),
            parts: BTreeMap::new(),
            oracle: Oracle::new(&plan),
            said: Vec::new(),
            faults_left: plan.faults,
            effects: Vec::new(),
            weather: Weather::default(),
            refusals: Vec::new(),
            dice,
            plan,
        };
        world.run();
        world.weather
    }

    fn run(&mut self) {
        self.submit(self.plan.tasks);
        self.recall();
        self.core.start(self.now, &mut self.effects);
        self.fulfil();
        let mut steps = 0;
        while !self.core.is_finished() {
            steps += 1;
            assert!(steps < STEPS_MAX, "no end in sight: {:?}", self.core);
            self.step(steps);
        }
        self.weather.steps_max = u64::from(steps);
        self.verify();
    }

    /// One thing happens.
    fn step(&mut self, steps: u32) {
        self.assert_nobody_is_forgotten();
        self.assert_nobody_waits_in_vain();
        self.now = self.now + Duration::from_millis(self.dice.below(3));
        let late = self.core.next_deadline().is_some_and(|deadline| deadline <= self.now);
        if late && !self.dice.once_in(4) {
            return self.tick();
        }
        if !self.refusals.is_empty() && self.dice.once_in(2) {
            return self.refuse(0);
        }
        if self.faults_left > 0 && self.dice.once_in(64) {
            return self.oversleep();
        }
        if steps == self.plan.drain_at {
            return self.drain();
        }
        if steps == self.plan.abort_at {
            self.oracle.aborted = true;
            return self.tell(Event::Abort);
        }
        if self.plan.resizes > 0 && self.faults_left > 0 && self.dice.once_in(self.plan.resizes) {
            return self.resize();
        }
        if self.plan.cancels > 0 && self.dice.once_in(self.plan.cancels) {
            return self.cancel();
        }
        if mem::take(&mut self.oracle.holding) {
            return self.go_on_or_drain();
        }
        if !self.somebody_acts() {
            self.wait();
        }
    }

    /// Everybody waits for somebody: only a deadline can help.
    fn wait(&mut self) {
        if !self.refusals.is_empty() {
            return self.refuse(0);
        }
        let deadline = self.core.next_deadline();
        let deadline = deadline.unwrap_or_else(|| panic!("nothing to wait for: {:?}", self.core));
        self.now = self.now.max(deadline);
        self.tick();
    }

    /// Whoever runs something is looked at when that may have had its time, at the latest; or a little later, where others may
    /// have had it by then.
    fn assert_nobody_is_forgotten(&self) {
        let Some(timeout) = self.oracle.timeout() else { return };
        let next = self.core.next_deadline().unwrap_or(Now(Duration::MAX));
        let unseen = |process: &&Process| process.body == Body::Alive && !process.asked;
        for process in self.processes.iter().filter(unseen) {
            let heard = process.quiet_since.max(process.missed_at);
            let first = process.running.iter().map(|run| run.since + run.slept).min();
            let together = if self.plan.policy.threads > 1 { timeout / 10 } else { Duration::ZERO };
            let due = first.map(|since| since.max(heard) + timeout + together);
            let is_wanted = !process.is_condemned() && !self.oracle.is_cancelled(process);
            let forgotten = due.is_some_and(|due| due.max(self.now) < next) && is_wanted;
            assert!(!forgotten, "nobody looks before {next:?}: {process:?}");
        }
    }

    /// Time has passed, and what was due by now is done: one thing a slot, and then the other.
    fn tick(&mut self) {
        self.tell(Event::Tick);
        if self.core.next_deadline().is_some_and(|at| at <= self.now) {
            self.tell(Event::Tick);
        }
        let next = self.core.next_deadline();
        assert!(next.is_none_or(|at| at > self.now), "what was due at {next:?} is still to come");
    }

    fn go_on_or_drain(&mut self) {
        match self.plan.more.pop() {
            Some(more) => self.submit(more),
            None if self.dice.once_in(2) => {
                self.oracle.closed = true;
                self.tell(Event::Close);
            }
            None => self.drain(),
        }
    }

    fn drain(&mut self) {
        self.oracle.drained = true;
        if !self.dice.once_in(3) {
            return self.tell(Event::Drain);
        }
        self.tell(Event::Terminate);
        let untold =
            |it: &&Process| it.body == Body::Alive && it.stop && !it.terminated && !it.is_condemned();
        let untold = self.processes.iter().find(untold);
        assert!(untold.is_none(), "it was not told to end: {untold:?}");
    }

    fn submit(&mut self, count: u64) {
        let first = self.oracle.next().0;
        let items = (first..first + count).map(|task| self.plan.chunk(TaskId(task)).items).collect();
        self.oracle.submitted(items);
        let weights = (0..count).map(|_| self.dice.below(4)).collect();
        self.tell(Event::Submitted { count, weights });
    }

    /// Nothing at all happens for a while, and that is nobody's fault.
    fn oversleep(&mut self) {
        let by = Duration::from_millis(self.dice.between(1, 300));
        let due = self.core.next_deadline();
        self.faults_left -= 1;
        self.weather.sleeps += 1;
        self.now = self.now + by;
        self.processes.iter_mut().for_each(|process| process.sleep(by));
        self.oracle.sleep(by);
        self.tell(Event::Overslept(by));
        assert_eq!(self.core.next_deadline(), due.map(|at| at + by), "all deadlines shift alike");
    }

    /// Somebody asks for more workers or fewer, or for what cannot be.
    fn resize(&mut self) {
        let wanted = self.dice.below(u64::from(self.plan.policy.slots_max) + 3) as u32;
        self.faults_left -= 1;
        self.weather.resized += 1;
        self.oracle.asks_for(wanted);
        self.tell(Event::Resize(wanted));
        self.oracle.has_answered(&self.core);
    }

    /// The run goes on where an earlier supervisor left it.
    fn recall(&mut self) {
        let (mut values, mut failed, mut quarantined, mut attempts) = (vec![], vec![], vec![], vec![]);
        let mut splits = vec![];
        for (number, before) in (0..).zip(mem::take(&mut self.plan.before)) {
            let task = TaskId(number);
            match before {
                Before::Nowhere => continue,
                Before::Split if self.chunk(task).items == 1 => continue,
                Before::Split if task >= self.oracle.next() => continue,
                Before::Split => {
                    let parts = self.oracle.next();
                    splits.push((task, parts));
                    self.split(task, parts);
                    continue;
                }
                Before::Value => values.push(number..number + 1),
                Before::Failed => failed.push(task),
                Before::Quarantined => quarantined.push(task),
                Before::Tried { deaths: 0, failures: 0 } => continue,
                Before::Tried { deaths, failures } => attempts.push((task, oracle::story(deaths, failures))),
            }
            self.oracle.recalled(task, before);
        }
        self.tell(Event::Recalled { splits, values, failed, quarantined, attempts });
    }

    fn somebody_acts(&mut self) -> bool {
        let procs = self.processes.len();
        let first = self.dice.below(procs as u64) as usize;
        (0..procs).any(|turn| self.act((first + turn) % procs))
    }

    /// Does the one thing that this process would do next, or a fault instead.
    fn act(&mut self, at: usize) -> bool {
        if self.faults_left > 0 && self.dice.once_in(self.plan.calm) && self.fault(at) {
            self.faults_left = self.faults_left.saturating_sub(1);
            return true;
        }
        let process = &mut self.processes[at];
        match process.body {
            Body::Nobody => false,
            Body::Wished => self.is_born(at),
            Body::Alive if process.asked => self.answer(at),
            Body::Alive if process.hung => false,
            Body::Alive if process.stopped => self.sleep(at),
            Body::Alive => self.work(at),
            Body::Shot => match process.held {
                Held::ForEver => false,
                Held::ForAWhile if !self.dice.once_in(32) => false,
                Held::ForAWhile | Held::Not => {
                    self.bury(at, Exit::Signal(9));
                    true
                }
            },
        }
    }

    fn is_born(&mut self, at: usize) -> bool {
        let process = &mut self.processes[at];
        (process.body, process.born_at) = (Body::Alive, Some(self.now));
        let worker = process.worker;
        self.tell(Event::Born(worker));
        true
    }

    fn work(&mut self, at: usize) -> bool {
        let (threads, late) = (self.plan.policy.threads as usize, self.dice.once_in(3));
        let process = &mut self.processes[at];
        let worker = process.worker;
        if !process.hello {
            (process.hello, process.hello_at) = (true, self.now);
            self.tell(Event::Hello(worker));
        } else if !process.outbox.is_empty() && self.dice.once_in(2) {
            self.report(at);
        } else if process.running.len() == threads
            || !process.running.is_empty() && (process.recalled || process.queue.is_empty() || late)
        {
            self.finish(at);
        } else if process.recalled && !process.queue.is_empty() {
            self.leave(at);
        } else if let Some(lease) = process.queue.pop_front() {
            process.running.push(Run { lease, since: self.now, slept: Duration::ZERO });
        } else if !process.outbox.is_empty() {
            self.report(at);
        } else if process.stop {
            self.bury(at, Exit::DRAINED);
        } else {
            return false;
        }
        true
    }

    fn finish(&mut self, at: usize) {
        let which = self.dice.below(self.processes[at].running.len() as u64) as usize;
        let lease = self.processes[at].running[which].lease;
        if self.chunk(lease.task).is_poison() {
            return self.bury(at, Exit::Signal(11));
        }
        let process = &mut self.processes[at];
        process.running.remove(which);
        let elapsed_ns = if self.plan.short { 1_000 } else { (2 + lease.task.0 % 8) * 1_000_000 };
        let ending = plan::ending(lease.task, lease.attempt);
        process.outbox.push(Ended { task: lease.task, attempt: lease.attempt, elapsed_ns, ending });
    }

    /// What it has finished reaches the core.
    fn report(&mut self, at: usize) {
        let process = &mut self.processes[at];
        let worker = process.worker;
        let ended = mem::take(&mut process.outbox);
        (process.quiet_since, process.full) = (self.now, false);
        self.said.extend(ended.iter().map(|end| (worker, end.clone())));
        let (believed, lost) = (!process.garbled && !process.lost, process.lost);
        let leases: Vec<Lease> =
            ended.iter().map(|end| Lease { task: end.task, attempt: end.attempt }).collect();
        if believed {
            self.oracle.foresees(&ended);
            self.tell(Event::Ended { worker, ended });
            self.oracle.heard(&leases);
        } else {
            self.oracle.delivered += ended.len() as u64;
            self.tell(Event::Ended { worker, ended });
            // Whoever was given up has no leases any more: its words are echoes, and are counted as such.
            if !lost {
                self.oracle.ignored(worker, leases);
            }
        }
    }

    fn answer(&mut self, at: usize) -> bool {
        self.processes[at].asked = false;
        let process = &self.processes[at];
        let (worker, running) = (process.worker, process.page(|task| self.chunk(task).items));
        let recalled = process.recalled && !self.dice.once_in(4);
        if !recalled && process.recalled {
            // Another look, at a page that was read before: the answer to the wish is still to come.
            self.processes[at].asked = true;
        }
        self.oracle.certain = Some(worker).filter(|_| recalled);
        self.tell(Event::Seen { worker, running, recalled });
        self.oracle.certain = None;
        let process = &self.processes[at];
        let goes_on = self.oracle.is_cancelled(process) && !process.is_condemned();
        assert!(!goes_on, "{worker} goes on with what was cancelled");
        true
    }

    fn sleep(&mut self, at: usize) -> bool {
        if self.dice.once_in(16) {
            self.processes[at].stopped = false;
            let worker = self.processes[at].worker;
            self.tell(Event::Continued(worker));
        }
        true
    }

    /// The core hears that some leases never left.
    fn refuse(&mut self, at: usize) {
        let (worker, tasks) = self.refusals.remove(at);
        self.weather.unsent += 1;
        let now = self.now;
        let process = self.process(worker);
        (process.lent, process.missed_at) = (process.lent - tasks.len() as u64, now);
        process.full = true;
        if !process.lost {
            self.oracle.unsent(worker, &tasks);
        }
        self.tell(Event::Unsent { worker, tasks });
    }

    /// It is dead. What it had sent comes first; what it had only finished may be lost with it.
    fn bury(&mut self, at: usize, exit: Exit) {
        if !self.processes[at].outbox.is_empty() && self.dice.once_in(2) {
            self.report(at);
        }
        while let Some(late) = self.refusals.iter().position(|(worker, _)| worker.slot.0 as usize == at) {
            self.refuse(late);
        }
        let process = mem::replace(&mut self.processes[at], Process::nobody(at as u32));
        let worker = process.worker;
        let running: Vec<TaskId> = process.running.iter().map(|run| run.lease.task).collect();
        self.weather.deaths += 1;
        self.weather.shared += u64::from(running.len() > 1);
        self.weather.found += u64::from(process.lost);
        self.oracle.died(&process);
        self.oracle.may_be_hot(&process, exit, self.now);
        let divisible = self.core.in_hand(worker).filter(|task| self.chunk(*task).items > 1).collect();
        self.tell(Event::Gone { worker, exit, running, divisible });
    }

    pub(crate) fn chunk(&self, task: TaskId) -> Chunk {
        self.parts.get(&task).copied().unwrap_or_else(|| self.plan.chunk(task))
    }

    /// Two come in its place, the first with this number.
    fn split(&mut self, task: TaskId, first: TaskId) {
        let halves = self.chunk(task).split();
        self.oracle.split(task, first, halves.map(|half| half.items));
        self.parts.extend((first.0..).map(TaskId).zip(halves));
    }

    fn tell(&mut self, event: Event) {
        self.weather.events += 1;
        self.core.on(event, self.now, &mut self.effects);
        self.fulfil();
    }

    /// Does what the core wishes, after the oracle has seen that it may wish so.
    fn fulfil(&mut self) {
        self.core.check();
        if self.effects.is_empty() {
            return;
        }
        let mut effects = mem::take(&mut self.effects);
        for effect in effects.drain(..) {
            self.oracle.judge(&effect, &self.processes, self.now);
            self.fulfil_one(effect);
        }
        self.effects = effects;
        self.oracle.compare(&self.core.tally());
    }

    fn fulfil_one(&mut self, effect: Effect) {
        match effect {
            Effect::Spawn(worker) => {
                self.weather.births += 1;
                let (birth, at) = (self.weather.births, worker.slot.0 as usize);
                let slots = self.processes.len().max(at + 1) as u32;
                self.processes.extend((self.processes.len() as u32..slots).map(Process::nobody));
                self.processes[at] = Process { birth, ..Process::wished(worker, self.now) };
            }
            Effect::Run { worker, leases } => self.hand_over(worker, &leases),
            Effect::Stop(worker) => self.process(worker).stop = true,
            Effect::Tell(Note::Recycling { worker, why }) => {
                self.weather.recycled += 1;
                self.weather.taken_back += u64::from(why == Recycle::TakeBack);
                self.process(worker).recycled = true;
            }
            Effect::Terminate(worker) => {
                let obeys = self.dice.once_in(2);
                let process = self.process(worker);
                process.terminated = true;
                if obeys {
                    process.body = Body::Shot;
                }
            }
            Effect::Abort { worker, .. } => {
                let (dies, now) = (self.dice.once_in(2), self.now);
                let process = self.process(worker);
                process.aborted_at = Some(now);
                if dies {
                    process.body = Body::Shot;
                }
            }
            Effect::Kill(worker) => self.shoot(worker),
            Effect::Tell(Note::Unkillable(worker)) => {
                self.weather.lost += 1;
                self.process(worker).lost = true;
            }
            Effect::Look(worker) => self.process(worker).asked = true,
            Effect::Recall(worker) => {
                let process = self.process(worker);
                (process.recalled, process.asked) = (true, true);
            }
            Effect::Tell(Note::TimedOut { worker, .. }) => {
                self.weather.timed_out += 1;
                self.weather.late_together += u64::from(self.oracle.is_shot_beside(worker));
            }
            Effect::Split { task, parts, .. } => {
                self.weather.split += 1;
                self.split(task, parts);
            }
            Effect::Tell(Note::Stuck(_)) => self.weather.stuck += 1,
            Effect::Tell(Note::Revoked { .. }) => self.weather.revoked += 1,
            Effect::Settle { .. } | Effect::Cancelled(_) | Effect::Spend { .. } | Effect::Tell(_) => {}
        }
    }

    fn shoot(&mut self, worker: WorkerId) {
        let holds = self.plan.held > 0 && self.dice.once_in(self.plan.held);
        let held = match self.dice.once_in(2) {
            _ if !holds => Held::Not,
            true => Held::ForEver,
            false => Held::ForAWhile,
        };
        let now = self.now;
        let process = self.process(worker);
        // Whoever is not there yet cannot be held, and is always answered for.
        process.held = if process.body == Body::Wished { Held::Not } else { held };
        (process.shot, process.shot_at, process.body) = (true, now, Body::Shot);
    }

    fn process(&mut self, worker: WorkerId) -> &mut Process {
        let process = &mut self.processes[worker.slot.0 as usize];
        assert_eq!(process.worker, worker, "a wish about somebody else");
        process
    }

    fn verify(&mut self) {
        self.oracle.verify(&self.core);
        let tally = self.core.tally();
        self.weather.retried += tally.retried;
        self.weather.recalled += tally.recalled;
        self.weather.quarantined += tally.quarantined;
        self.weather.echoes += tally.echoes;
        self.weather.cancelled += tally.cancelled;
        self.weather.halted += u64::from(self.core.verdict() == Verdict::Halted);
        self.weather.complete += u64::from(self.core.verdict() == Verdict::Complete);
    }
}
