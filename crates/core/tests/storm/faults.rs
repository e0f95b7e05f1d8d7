//! What goes wrong.

use super::World;
use super::process::{Body, Held, Process};
use brigade_core::{Event, Lease};
use brigade_wire::{Attempt, Ended, Exit, TaskId, WorkerId};
use std::mem;

impl World {
    /// One weighted fault befalls this process. False if it is not one for it.
    pub(crate) fn fault(&mut self, at: usize) -> bool {
        match self.processes[at].body {
            Body::Nobody => false,
            Body::Wished if self.plan.only_hangs => false,
            Body::Wished => self.fault_at_birth(at),
            Body::Alive if self.plan.only_hangs => self.hang(at),
            Body::Alive => match self.dice.below(15) {
                0..=3 => self.die(at),
                4 => self.hang(at),
                5 => self.stop(at),
                6 => self.garble(at),
                7 => self.stale(at),
                8..=9 => self.babble(at),
                10 => self.bloat(at),
                _ => self.echo(),
            },
            Body::Shot => match self.dice.below(3) {
                0 => self.echo(),
                1 => self.last_words(at),
                _ => self.die_before_birth(at),
            },
        }
    }

    fn fault_at_birth(&mut self, at: usize) -> bool {
        let worker = self.processes[at].worker;
        match self.dice.below(3) {
            0 => self.is_never_born(at),
            1 => {
                self.processes[at].body = Body::Alive;
                self.processes[at].born_at = Some(self.now);
                self.processes[at].hung = true;
                self.weather.hangs += 1;
                self.tell(Event::Born(worker));
            }
            _ => self.bury(at, Exit::Code(1)),
        }
        true
    }

    fn is_never_born(&mut self, at: usize) {
        let worker = self.processes[at].worker;
        self.processes[at] = Process::nobody(at as u32);
        self.weather.unborn += 1;
        self.tell(Event::Unborn { worker, reason: "no room".to_owned() });
    }

    /// At whatever it is doing: idle, running, or finished and not yet heard.
    fn die(&mut self, at: usize) -> bool {
        let exit = match self.dice.below(8) {
            0 => Exit::TRY_AGAIN,
            1 => Exit::RECYCLE,
            2 => Exit::DRAINED,
            _ => Exit::Signal(9),
        };
        self.bury(at, exit);
        true
    }

    /// Where no deadline runs for tasks, only who runs none may hang: else nothing could save the run. Who hangs between two
    /// of them, or whose words do not arrive any more, is found out by its page.
    fn hang(&mut self, at: usize) -> bool {
        if self.dice.once_in(4) {
            return self.stop(at);
        }
        let process = &mut self.processes[at];
        let saved = self.oracle.timeout().is_some()
            || !process.hello
            || process.running.is_empty() && !process.stopped
            || process.stop && (!process.recycled || self.oracle.lets_go(process.worker))
            || process.aborted_at.is_some();
        if saved && !process.hung {
            process.hung = true;
            self.weather.hangs += 1;
        }
        saved
    }

    fn stop(&mut self, at: usize) -> bool {
        self.processes[at].stopped = true;
        self.processes[at].hung = false;
        let worker = self.processes[at].worker;
        self.tell(Event::Stopped(worker));
        true
    }

    fn bloat(&mut self, at: usize) -> bool {
        let process = &mut self.processes[at];
        if !process.hello || process.is_condemned() || process.bloated.is_some() {
            return false;
        }
        let (worker, running) = (process.worker, !process.running.is_empty());
        process.bloated = Some(running);
        self.weather.bloated += 1;
        self.tell(Event::Bloated { worker, running });
        let process = self.process(worker);
        let gone = if running { process.shot } else { process.stop };
        assert!(gone, "{worker} has outgrown its memory and goes on");
        true
    }

    fn garble(&mut self, at: usize) -> bool {
        let process = &mut self.processes[at];
        if !process.hello {
            return false;
        }
        process.garbled |= !process.is_condemned();
        let worker = process.worker;
        self.tell(Event::Garbled { worker, reason: "noise".to_owned() });
        true
    }

    /// Something that was said before is heard again: as it was, as another attempt, or from another mouth.
    fn echo(&mut self) -> bool {
        if self.said.is_empty() {
            return false;
        }
        let which = self.dice.below(self.said.len() as u64) as usize;
        let (mut worker, mut end) = self.said[which].clone();
        match self.dice.below(4) {
            0 => {}
            1 => end.attempt = Attempt(end.attempt.0 ^ 1),
            2 => worker = self.somebody(),
            _ => return self.forge(),
        }
        self.say(worker, end)
    }

    /// One word that nobody can have meant: from a worker that lives it is the last that is believed.
    fn say(&mut self, worker: WorkerId, end: Ended) -> bool {
        if self.oracle.has_lease(worker, end.task, end.attempt) {
            // That would be no lie, and its own word would be one later.
            return false;
        }
        let process = &mut self.processes[worker.slot.0 as usize];
        let lies = process.worker == worker && process.body != Body::Nobody;
        process.garbled |= lies && !process.is_condemned();
        self.oracle.delivered += 1;
        self.tell(Event::Ended { worker, ended: vec![end] });
        assert!(!lies || self.process(worker).is_condemned(), "{worker} lied, and lives on");
        true
    }

    /// What it has finished reaches the core with a lie in between: a duplicate, or something of nobody.
    fn babble(&mut self, at: usize) -> bool {
        let process = &mut self.processes[at];
        if process.outbox.is_empty() || process.garbled || process.body != Body::Alive {
            return false;
        }
        let (worker, mut ended) = (process.worker, mem::take(&mut process.outbox));
        process.garbled |= !process.is_condemned();
        let before = self.dice.below(ended.len() as u64 + 1) as usize;
        let strange = before == 0 || self.dice.once_in(2);
        let lie = Ended { task: TaskId(ended[0].task.0 + 32 * u64::from(strange)), ..ended[0].clone() };
        ended.insert(before, lie);
        let leases: Vec<Lease> =
            ended.iter().map(|end| Lease { task: end.task, attempt: end.attempt }).collect();
        self.oracle.foresees(&ended[..before]);
        self.oracle.delivered += (ended.len() - before) as u64;
        self.tell(Event::Ended { worker, ended });
        assert!(self.process(worker).is_condemned(), "{worker} lied, and lives on");
        self.oracle.heard(&leases[..before]);
        self.oracle.ignored(worker, leases[before + 1..].iter().copied());
        true
    }

    /// A word about a task that somebody else holds, or that has moved on to another attempt.
    fn forge(&mut self) -> bool {
        let Some((holder, lease)) = self.some_lease() else { return false };
        let before = WorkerId { incarnation: holder.incarnation.saturating_sub(1), ..holder };
        let other = WorkerId { slot: self.somebody().slot, ..holder };
        let (worker, attempt) = match self.dice.below(3) {
            0 => (holder, lease.attempt.next()),
            1 => (before, lease.attempt),
            _ if other != holder => (other, lease.attempt),
            _ => (before, lease.attempt),
        };
        let ending = super::plan::ending(TaskId(0), Attempt::FIRST);
        let end = Ended { task: lease.task, attempt, elapsed_ns: 1, ending };
        self.say(worker, end)
    }

    fn some_lease(&mut self) -> Option<(WorkerId, Lease)> {
        let process = &self.processes[self.dice.below(self.processes.len() as u64) as usize];
        let lease =
            process.running.first().map(|run| run.lease).or_else(|| process.queue.front().copied())?;
        Some((process.worker, lease))
    }

    fn somebody(&mut self) -> WorkerId {
        let at = self.dice.below(self.processes.len() as u64) as usize;
        self.processes[at].worker
    }

    /// Tasks on their way to a worker: they arrive, or the last of them find no room.
    pub(crate) fn hand_over(&mut self, worker: WorkerId, leases: &[Lease]) {
        let refuses = self.faults_left > 0 && !self.plan.only_hangs && self.dice.once_in(self.plan.calm * 2);
        let now = self.now;
        let arrive = if refuses { self.dice.below(leases.len() as u64) as usize } else { leases.len() };
        let process = self.process(worker);
        process.full = false;
        if process.is_empty() {
            process.quiet_since = now;
        }
        process.queue.extend(&leases[..arrive]);
        process.lent += leases.len() as u64;
        if refuses {
            self.faults_left -= 1;
            self.refusals.push((worker, leases[arrive..].iter().map(|lease| lease.task).collect()));
        }
    }

    /// News of the dead, or of somebody who was never there: it must change nothing.
    fn stale(&mut self, at: usize) -> bool {
        let worker = self.processes[at].worker;
        let worker = WorkerId { incarnation: worker.incarnation.wrapping_sub(1), ..worker };
        let before = self.core.tally();
        let news = match self.dice.below(7) {
            0 => Event::Born(worker),
            1 => Event::Unborn { worker, reason: String::new() },
            2 => Event::Hello(worker),
            3 => Event::Garbled { worker, reason: String::new() },
            4 => Event::Seen { worker, running: vec![], recalled: true },
            5 => Event::Stopped(worker),
            _ => Event::Gone { worker, exit: Exit::Signal(9), running: vec![], divisible: vec![] },
        };
        self.tell(news);
        assert_eq!(before, self.core.tally(), "the dead are heard");
        true
    }

    /// The last words of somebody who was shot, or a look at its page that nobody asked for.
    fn last_words(&mut self, at: usize) -> bool {
        let process = &self.processes[at];
        let (worker, running) = (process.worker, process.page(|task| self.chunk(task).items));
        let process = &mut self.processes[at];
        let recalled = process.recalled;
        let words = match self.dice.below(3) {
            0 => Event::Hello(worker),
            1 => {
                // Unless SIGKILL is on its way, this is news: it has only been asked so far.
                process.garbled |= !process.is_condemned();
                Event::Garbled { worker, reason: "aargh".to_owned() }
            }
            _ => Event::Seen { worker, running, recalled },
        };
        self.tell(words);
        true
    }

    /// It was shot before it was born.
    fn die_before_birth(&mut self, at: usize) -> bool {
        let never_spoke = !self.processes[at].hello && self.processes[at].held == Held::Not;
        if never_spoke {
            self.is_never_born(at);
        }
        never_spoke
    }
}
