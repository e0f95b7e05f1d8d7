//! The door: every event comes in here, and every wish leaves from here.

use crate::backlog::Backlog;
use crate::bugs::{Bug, Bugs};
use crate::dispatch::Pace;
use crate::hand::Hand;
use crate::ledger::Ledger;
use crate::median::Median;
use crate::recall::Recall;
use crate::restart::Dice;
use crate::roster::{Roster, State};
use crate::sleeps::Sleeps;
use crate::{Effect, Event, GiveUp, Note, Now, Policy, SlotView, Tally, Verdict};
use brigade_wire::{SlotId, TaskId, WorkerId};

/// Decides what to do next, and does nothing itself.
///
/// The driver keeps three promises: it fulfils the wishes in order; it answers every
/// [`Effect::Spawn`] with `Born` or `Unborn`, and every [`Effect::Kill`] with `Gone` or `Unborn`, however
/// late, or never for one that was born and that nothing can kill (an [`Effect::Abort`] may have no effect at all); and it sends [`Event::Tick`] when [`Core::next_deadline`] has passed, however busy it is.
///
/// ```
/// use brigade_core::{Core, Effect, Event, Now, Policy, Verdict};
/// use brigade_wire::{Attempt, Ended, Ending, Exit, SlotId, TaskId, WorkerId};
///
/// let worker = WorkerId { slot: SlotId(0), incarnation: 1 };
/// let mut core = Core::new(Policy::default());
/// let mut effects = Vec::new();
/// core.on(Event::Submitted { count: 1, weights: vec![] }, Now::millis(0), &mut effects);
/// core.start(Now::millis(0), &mut effects);
/// assert_eq!(effects, [Effect::Spawn(worker)]);
///
/// core.on(Event::Born(worker), Now::millis(1), &mut effects);
/// core.on(Event::Hello(worker), Now::millis(1), &mut effects);
/// assert!(matches!(effects.last(), Some(Effect::Run { .. })));
///
/// let ending = Ending::Value(vec![42]);
/// let ended = vec![Ended { task: TaskId(0), attempt: Attempt::FIRST, elapsed_ns: 1_000, ending }];
/// core.on(Event::Ended { worker, ended }, Now::millis(2), &mut effects);
/// assert_eq!(effects.last(), Some(&Effect::Stop(worker)));
///
/// core.on(Event::Gone { worker, exit: Exit::DRAINED, running: vec![], divisible: vec![] }, Now::millis(3), &mut effects);
/// assert!(core.is_finished());
/// assert_eq!(core.verdict(), Verdict::Complete);
/// ```
#[derive(Debug)]
pub struct Core {
    pub(crate) policy: Policy,
    /// Slots that are wanted.
    pub(crate) procs: u32,
    pub(crate) phase: Phase,
    pub(crate) roster: Roster,
    pub(crate) backlog: Backlog,
    pub(crate) ledger: Ledger,
    pub(crate) pace: Pace,
    pub(crate) lengths: Median,
    pub(crate) sleeps: Sleeps,
    pub(crate) dice: Dice,
    pub(crate) bugs: Bugs,
}

/// Where the run as a whole stands. It only moves down this list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nobody has been wished for.
    New,
    /// Workers are kept alive as long as they are wanted. `holding`: people know that all is settled.
    Running { holding: bool },
    /// No task starts any more.
    Draining,
    /// Enough has happened: no task starts any more, and those in hand finish, or everybody was shot.
    Halted,
    /// Everybody was shot.
    Aborted,
    /// Everybody was shot, for this.
    GaveUp(GiveUp),
}

impl Core {
    /// A core that has no tasks and has not started. A run has at least one slot.
    #[must_use]
    pub fn new(policy: Policy) -> Core {
        let procs = policy.procs.max(1);
        Core {
            procs,
            phase: Phase::New,
            roster: Roster::new(procs),
            backlog: Backlog::new(policy.schedule, procs),
            ledger: Ledger::default(),
            pace: Pace::default(),
            lengths: Median::default(),
            sleeps: Sleeps::default(),
            dice: Dice(policy.seed),
            bugs: Bugs::default(),
            policy: Policy {
                slots_max: policy.slots_max.max(procs),
                threads: policy.threads.max(1),
                ..policy
            },
        }
    }

    /// The same with one known bug in it.
    #[cfg(feature = "seeded-bugs")]
    #[must_use]
    pub fn with_bug(policy: Policy, bug: Bug) -> Core {
        Core { bugs: Bugs { seeded: Some(bug) }, ..Core::new(policy) }
    }

    /// Wishes for a worker in every slot, unless there is nothing to do and no reason to wait for it. To be
    /// called once, after the first tasks were submitted.
    pub fn start(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.phase == Phase::New {
            self.phase = Phase::Running { holding: false };
            self.fill(now, effects);
            self.conclude(now, effects);
        }
    }

    /// Takes one event and pushes what is to be done about it.
    pub fn on(&mut self, event: Event, now: Now, effects: &mut Vec<Effect>) {
        match event {
            Event::Submitted { count, weights } => self.submitted(count, &weights, now, effects),
            Event::Recalled { splits, values, failed, quarantined, attempts } => {
                self.recalled(Recall { splits, values, failed, quarantined, attempts }, effects);
            }
            Event::Born(worker) => self.born(worker, now),
            Event::Unborn { worker, reason } => self.unborn(worker, reason, now, effects),
            Event::Hello(worker) => self.hello(worker, now, effects),
            Event::Garbled { worker, reason } => self.garbled(worker, reason, now, effects),
            Event::Ended { worker, ended } => self.ended(worker, ended, now, effects),
            Event::Unsent { worker, tasks } => self.unsent(worker, &tasks, now, effects),
            Event::Seen { worker, running, recalled } => self.seen(worker, running, recalled, now, effects),
            Event::Stopped(worker) => self.frozen(worker, true, effects),
            Event::Continued(worker) => self.frozen(worker, false, effects),
            Event::Bloated { worker, running } => self.bloated(worker, running, now, effects),
            Event::Gone { worker, exit, running, divisible } => {
                self.gone(worker, exit, (&running, &divisible), now, effects);
            }
            Event::Tick => self.tick(now, effects),
            Event::Overslept(by) => self.overslept(by, now),
            Event::Close => self.policy.hold = false,
            Event::Cancel { tasks, lent } => self.cancel(tasks, lent, now, effects),
            Event::Drain => self.drain(now, effects),
            Event::Terminate => self.terminate(now, effects),
            Event::Resize(wanted) => self.resize(wanted, now, effects),
            Event::Abort => self.abort(now, effects),
        }
        self.conclude(now, effects);
    }

    /// The earliest of all deadlines; `None` if only an event can change anything.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Now> {
        self.roster.iter().filter_map(|slot| slot.deadline()).chain(self.take_back_at()).min()
    }

    /// Whether anybody is held to a deadline, so that the loop must notice when it slept. Who runs a task that may take for
    /// ever is only looked at now and then.
    #[must_use]
    pub fn is_pressed(&self) -> bool {
        let timeout = self.task_timeout();
        self.roster.iter().any(|slot| slot.is_pressed(timeout))
    }

    /// Nobody is alive but those who were given up, nobody is to be born, and nothing is left that would be done.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.phase != Phase::New && self.roster.iter().all(|slot| slot.is_ended() || slot.is_lost())
    }

    /// How the run ended.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match &self.phase {
            Phase::Aborted => Verdict::Aborted,
            Phase::GaveUp(cause) => Verdict::GaveUp(cause.clone()),
            Phase::New | Phase::Running { .. } | Phase::Draining | Phase::Halted if self.all_settled() => {
                Verdict::Complete
            }
            Phase::New | Phase::Running { .. } | Phase::Draining => Verdict::Drained,
            Phase::Halted => Verdict::Halted,
        }
    }

    /// How many workers are wanted.
    #[must_use]
    pub fn procs(&self) -> u32 {
        self.procs
    }

    /// What was done so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.ledger.tally(self.backlog.submitted(), self.backlog.len(), self.roster.leased())
    }

    /// What this worker was lent and has not answered for.
    pub fn in_hand(&self, worker: WorkerId) -> impl Iterator<Item = TaskId> {
        let slot = self.roster.iter().find(move |slot| slot.worker == worker);
        let hand = slot.and_then(|slot| slot.state.hand());
        hand.into_iter().flat_map(|hand| hand.leases.iter().map(|lease| lease.task))
    }

    /// The number that the next task gets.
    #[must_use]
    pub fn next_task(&self) -> TaskId {
        self.backlog.next()
    }

    /// The slots in order, for status.
    pub fn slots(&self) -> impl Iterator<Item = SlotView> {
        self.roster.iter().map(|slot| slot.view())
    }

    /// The conservation law, and what else must hold between two events.
    ///
    /// # Panics
    /// If the core has lost or doubled a task, or waits for something that nobody will bring about.
    pub fn check(&self) {
        let (backlog, leased, settled) = (self.backlog.len(), self.roster.leased(), self.ledger.settled());
        let submitted = self.backlog.submitted();
        assert_eq!(
            backlog + leased + settled,
            submitted,
            "backlog {backlog} + leased {leased} + settled {settled} != submitted {submitted}"
        );
        self.backlog.check();
        self.check_lives();
        self.check_slots();
    }

    fn check_lives(&self) {
        let wants = self.wants_workers();
        for slot in self.roster.iter() {
            let (worker, wanted) = (slot.worker, wants && slot.wanted);
            match &slot.state {
                State::Ended => assert!(!wanted, "slot {} is empty though work is left", worker.slot),
                State::Waiting { .. } | State::Starting { .. } => assert!(wanted, "{worker} is not wanted"),
                State::Ready(hand) => {
                    assert!(wanted, "{worker} was not told to stop");
                    hand.check();
                    assert!(!hand.is_revoked(), "{worker} has what was cancelled, and goes on");
                    let may = hand.leases.is_empty() || !self.ledger.suspects.are_some_alone();
                    let idle = hand.idle_threads() > 0 && may && self.backlog.len_for(worker.slot) > 0;
                    assert!(!idle, "{worker} is idle though tasks wait");
                }
                State::Draining { hand, .. } => hand.check(),
                // Whatever it holds, its body will bring it back.
                State::Dying { .. } => {}
                State::Lost { .. } => assert!(!slot.wanted, "{worker} was given up, and its slot was not"),
            }
        }
    }

    /// There are as many slots as are wanted, unless no number is left; and a worker for each, or the run ends.
    fn check_slots(&self) {
        let (slots, procs) = (self.roster.wanted(), self.procs);
        let is_short = slots < procs && self.roster.is_full(self.policy.slots_max);
        assert!(slots == procs || is_short, "{slots} slots, and {procs} are wanted");
        let nobody = self.roster.iter().all(|slot| slot.is_lost());
        assert!(!(nobody && self.wants_workers()), "work is left, and nobody will ever do it");
    }

    /// Tasks may be lent and workers born.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running { .. })
    }

    pub(crate) fn all_settled(&self) -> bool {
        self.ledger.settled() == self.backlog.submitted()
    }

    /// Whether an empty slot is to be filled.
    pub(crate) fn wants_workers(&self) -> bool {
        self.is_running() && (self.policy.hold || !self.all_settled())
    }

    /// Whether this slot is to be filled when it is empty.
    pub(crate) fn wants(&mut self, slot: SlotId) -> bool {
        let refill = self.bug(Bug::RefillTheTakenAway);
        self.wants_workers() && (self.roster.slot(slot).wanted || refill)
    }

    pub(crate) fn bug(&self, bug: Bug) -> bool {
        self.bugs.has(bug)
    }

    /// Tasks came in: they may wake a run that was about to end.
    fn submitted(&mut self, count: u64, weights: &[u64], now: Now, effects: &mut Vec<Effect>) {
        self.backlog.submit(count, weights);
        if self.is_running() && count > 0 {
            self.phase = Phase::Running { holding: false };
            self.halt(now, effects);
            self.fill(now, effects);
            self.lend_all(now, effects);
        }
    }

    /// Whoever is found stopped or going on again: told once per change.
    fn frozen(&mut self, worker: WorkerId, stopped: bool, effects: &mut Vec<Effect>) {
        let Some(slot) = self.roster.current(worker) else { return };
        if slot.has_process() && slot.stopped != stopped {
            slot.stopped = stopped;
            slot.state.hand_mut().into_iter().for_each(Hand::forget_idleness);
            effects.push(Effect::Tell(if stopped { Note::Stopped(worker) } else { Note::Continued(worker) }));
        }
    }
}
