//! A core on a bench: words for what happens to it, and for what it wishes.

use brigade_core::{Core, Effect, Event, Lease, Note, Now, Policy, Running, Tally};
use brigade_wire::{Attempt, Ended, Ending, Exit, FailedAttempt, SlotId, TaskId, WorkerId};
use std::time::Duration;

pub(crate) const CRASH: Exit = Exit::Signal(11);

/// The n-th incarnation in a slot.
pub(crate) fn w(slot: u32, incarnation: u32) -> WorkerId {
    WorkerId { slot: SlotId(slot), incarnation }
}

pub(crate) fn lease(task: u64, attempt: u32) -> Lease {
    Lease { task: TaskId(task), attempt: Attempt(attempt) }
}

/// First attempts at these tasks, lent in one wish.
pub(crate) fn run(worker: WorkerId, tasks: impl IntoIterator<Item = u64>) -> Effect {
    Effect::Run { worker, leases: tasks.into_iter().map(|task| lease(task, 1)).collect() }
}

pub(crate) fn requeued(task: u64, attempt: u32, blamed: bool, worker: WorkerId) -> Effect {
    Effect::Tell(Note::Requeued {
        task: TaskId(task),
        attempt: Attempt(attempt),
        blamed,
        failed: false,
        worker,
    })
}

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) struct Bench {
    pub(crate) core: Core,
    now: Now,
    lent: Vec<(WorkerId, Lease)>,
    /// What is to be remembered of attempts that came to nothing; kept apart from the other wishes.
    pub(crate) spent: Vec<(TaskId, FailedAttempt)>,
}

impl Bench {
    /// Started, with so many tasks; nobody has spoken yet. Every method returns what the core wished for.
    pub(crate) fn new(tasks: u64, policy: Policy) -> Bench {
        let mut bench = Bench::idle(policy);
        bench.submit(tasks);
        bench.start();
        bench
    }

    /// Not started, and without a task.
    pub(crate) fn idle(policy: Policy) -> Bench {
        Bench { core: Core::new(policy), now: Now::millis(0), lent: Vec::new(), spent: Vec::new() }
    }

    pub(crate) fn start(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.core.start(self.now, &mut effects);
        effects
    }

    /// The same, and everybody has said hello.
    pub(crate) fn ready(tasks: u64, policy: Policy) -> Bench {
        let procs = policy.procs;
        let mut bench = Bench::new(tasks, policy);
        (0..procs).for_each(|slot| _ = bench.hello(w(slot, 1)));
        bench
    }

    pub(crate) fn on(&mut self, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.core.on(event, self.now, &mut effects);
        self.core.check();
        self.note_leases(&effects);
        effects.retain(|effect| match effect {
            Effect::Spend { task, attempt } => {
                self.spent.push((*task, attempt.clone()));
                false
            }
            _ => true,
        });
        effects
    }

    fn note_leases(&mut self, effects: &[Effect]) {
        for effect in effects {
            if let Effect::Run { worker, leases } = effect {
                self.lent.extend(leases.iter().map(|&lease| (*worker, lease)));
            }
        }
    }

    /// What this worker was lent and has not been asked for here.
    pub(crate) fn held(&mut self, worker: WorkerId) -> Vec<Lease> {
        self.lent.extract_if(.., |(holder, _)| *holder == worker).map(|(_, lease)| lease).collect()
    }

    /// What this worker holds, as the core sees it.
    pub(crate) fn in_hand(&self, worker: WorkerId) -> Vec<u64> {
        self.core.in_hand(worker).map(|task| task.0).collect()
    }

    /// The clock stands at this millisecond; nothing happens by that.
    pub(crate) fn at(&mut self, millis: u64) -> &mut Bench {
        self.now = Now::millis(millis);
        self
    }

    /// The clock moves to the next deadline, and the core is told.
    pub(crate) fn tick(&mut self) -> Vec<Effect> {
        self.now = self.now.max(self.core.next_deadline().expect("something is waited for"));
        self.on(Event::Tick)
    }

    pub(crate) fn now_ms(&self) -> u128 {
        self.now.0.as_millis()
    }

    pub(crate) fn submit(&mut self, count: u64) -> Vec<Effect> {
        self.on(Event::Submitted { count, weights: Vec::new() })
    }

    pub(crate) fn hello(&mut self, worker: WorkerId) -> Vec<Effect> {
        self.on(Event::Hello(worker))
    }

    pub(crate) fn unborn(&mut self, worker: WorkerId) -> Vec<Effect> {
        self.on(Event::Unborn { worker, reason: "no room".to_owned() })
    }

    pub(crate) fn garbled(&mut self, worker: WorkerId) -> Vec<Effect> {
        self.on(Event::Garbled { worker, reason: "noise".to_owned() })
    }

    pub(crate) fn gone(&mut self, worker: WorkerId, exit: Exit, running: Option<u64>) -> Vec<Effect> {
        self.died_of(worker, exit, running)
    }

    /// The same, while it ran all of these.
    pub(crate) fn died_of(
        &mut self,
        worker: WorkerId,
        exit: Exit,
        running: impl IntoIterator<Item = u64>,
    ) -> Vec<Effect> {
        let running = running.into_iter().map(TaskId).collect();
        self.on(Event::Gone { worker, exit, running, divisible: vec![] })
    }

    /// It crashed while it ran this task, which is of several items.
    pub(crate) fn died_of_chunk(&mut self, worker: WorkerId, task: u64) -> Vec<Effect> {
        self.on(Event::Gone {
            worker,
            exit: CRASH,
            running: vec![TaskId(task)],
            divisible: vec![TaskId(task)],
        })
    }

    /// First attempts that ended well, each after so many microseconds.
    pub(crate) fn done(
        &mut self,
        worker: WorkerId,
        tasks: impl IntoIterator<Item = u64>,
        micros: u64,
    ) -> Vec<Effect> {
        self.ended(worker, tasks.into_iter().map(|task| lease(task, 1)), micros)
    }

    pub(crate) fn ended(
        &mut self,
        worker: WorkerId,
        leases: impl IntoIterator<Item = Lease>,
        micros: u64,
    ) -> Vec<Effect> {
        let end = |Lease { task, attempt }: Lease| Ended {
            task,
            attempt,
            elapsed_ns: micros * 1_000,
            ending: Ending::Value(vec![]),
        };
        self.on(Event::Ended { worker, ended: leases.into_iter().map(end).collect() })
    }

    /// An attempt that ended with an error.
    pub(crate) fn failed(&mut self, worker: WorkerId, Lease { task, attempt }: Lease) -> Vec<Effect> {
        let ending = Ending::Failed("no".to_owned());
        self.on(Event::Ended { worker, ended: vec![Ended { task, attempt, elapsed_ns: 2_500_000, ending }] })
    }

    pub(crate) fn unsent(&mut self, worker: WorkerId, tasks: impl IntoIterator<Item = u64>) -> Vec<Effect> {
        self.on(Event::Unsent { worker, tasks: tasks.into_iter().map(TaskId).collect() })
    }

    /// Its page says that it has been running this task since then.
    pub(crate) fn seen(&mut self, worker: WorkerId, task: u64, since_ms: u64) -> Vec<Effect> {
        self.seen_all(worker, [(task, since_ms)])
    }

    /// It runs each of these since then.
    pub(crate) fn seen_all(
        &mut self,
        worker: WorkerId,
        tasks: impl IntoIterator<Item = (u64, u64)>,
    ) -> Vec<Effect> {
        let running = tasks.into_iter().map(|(task, since_ms)| running(task, since_ms)).collect();
        self.on(Event::Seen { worker, running, recalled: false })
    }

    /// The same of a page that was read after its worker was recalled: it begins nothing more.
    pub(crate) fn seen_last(&mut self, worker: WorkerId, task: u64, since_ms: u64) -> Vec<Effect> {
        self.seen_last_of(worker, [(task, since_ms)])
    }

    pub(crate) fn seen_last_of(
        &mut self,
        worker: WorkerId,
        tasks: impl IntoIterator<Item = (u64, u64)>,
    ) -> Vec<Effect> {
        let running = tasks.into_iter().map(|(task, since_ms)| running(task, since_ms)).collect();
        self.on(Event::Seen { worker, running, recalled: true })
    }

    pub(crate) fn seen_idle(&mut self, worker: WorkerId) -> Vec<Effect> {
        self.on(Event::Seen { worker, running: vec![], recalled: false })
    }

    pub(crate) fn tally(&self) -> Tally {
        self.core.tally()
    }
}

/// What a page says that names this task, begun then.
fn running(task: u64, since_ms: u64) -> Running {
    let since = Now::millis(since_ms);
    Running { task: TaskId(task), divisible: false, since, began: since }
}

/// The wishes without the notes.
pub(crate) fn deeds(effects: Vec<Effect>) -> Vec<Effect> {
    effects.into_iter().filter(|effect| !matches!(effect, Effect::Tell(_))).collect()
}

/// The wishes that are neither notes nor final words.
pub(crate) fn orders(effects: Vec<Effect>) -> Vec<Effect> {
    deeds(effects).into_iter().filter(|effect| !matches!(effect, Effect::Settle { .. })).collect()
}

/// Who was lent what, task by task.
pub(crate) fn lent(effects: &[Effect]) -> Vec<u64> {
    let leases = effects.iter().filter_map(|effect| match effect {
        Effect::Run { leases, .. } => Some(leases),
        Effect::Spawn(_) | Effect::Stop(_) | Effect::Terminate(_) => None,
        Effect::Abort { .. } | Effect::Kill(_) | Effect::Split { .. } => None,
        Effect::Recall(_) | Effect::Cancelled(_) => None,
        Effect::Look(_) | Effect::Settle { .. } | Effect::Spend { .. } | Effect::Tell(_) => None,
    });
    leases.flatten().map(|lease| lease.task.0).collect()
}
