//! The slots and the lives of their workers.

use crate::hand::Hand;
use crate::lives::Ran;
use crate::restart::Restarts;
use crate::{Effect, Life, Note, Now, Recycle, SlotView};
use brigade_wire::{SlotId, TaskId, WorkerId};
use std::cmp::Reverse;
use std::mem;
use std::time::Duration;

/// A place for one worker at a time.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) worker: WorkerId,
    pub(crate) state: State,
    pub(crate) stopped: bool,
    /// It is one of those that the run is to have: a worker that leaves is replaced.
    pub(crate) wanted: bool,
    /// Its worker's process is known to exist.
    pub(crate) born: bool,
    pub(crate) restarts: Restarts,
    /// The how-manieth wish for a worker its worker was.
    pub(crate) birth: u64,
}

/// A life, and in each state only what that state needs.
#[derive(Debug)]
pub(crate) enum State {
    /// Nobody is there; the next worker is wished for at `until`, as a `restart` or as the first.
    Waiting { until: Now, restart: bool },
    /// Wished for. The driver answers the wish with `Born` or `Unborn`, and a kill with `Gone` or `Unborn`.
    Starting { give_up_at: Now },
    /// It takes tasks.
    Ready(Hand),
    /// It was told to stop.
    Draining { hand: Hand, patience: Patience },
    /// We shot it.
    Dying { hand: Hand, cause: Cause, force: Force },
    /// It did not die of SIGKILL in time, and was given up. Its words do not count any more, and nobody else takes
    /// its place, for its page is its own until its body is found.
    Lost { settled: u64 },
    /// Nobody is there, and nobody is to come.
    Ended,
}

/// Ask, wait, kill: where a worker that was told to stop stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Asked, but it may take its time with what it has in hand: it is only recycled.
    Unhurried,
    /// Asked; SIGTERM comes then.
    TermAt(Now),
    /// Told; SIGKILL comes then.
    KillAt(Now),
}

/// How hard we shot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Force {
    /// SIGABRT, so that it writes where it hangs; SIGKILL comes then.
    Abort { kill_at: Now },
    /// SIGKILL: a body follows, or it is given up then. Who is not known to exist yet has no such deadline: the
    /// driver guarantees an answer.
    Kill { give_up_at: Option<Now> },
}

/// What becomes of whoever is told to stop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// SIGTERM comes then.
    pub(crate) term_at: Now,
    /// If it is killed instead: it is given up then, unless its body is found.
    pub(crate) give_up_at: Now,
}

/// Why we shot a worker: decides whom its death is held against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// It did not say hello in time.
    Birth,
    /// It said what no worker says.
    Garbled,
    /// These tasks ran past their deadline.
    TimedOut(Vec<Ran>),
    /// It held work for too long, and neither ran nor reported it.
    Stuck,
    /// It was told to stop and did not.
    Grace,
    /// It outgrew its memory while it ran something.
    Memory,
    /// It runs what was cancelled.
    Cancelled,
    /// The run ends, or its slot is taken away before it was of any use.
    RunEnds,
}

impl Slot {
    fn new(slot: SlotId) -> Slot {
        Slot {
            worker: WorkerId { slot, incarnation: 0 },
            state: State::Ended,
            stopped: false,
            wanted: true,
            born: false,
            restarts: Restarts::default(),
            birth: 0,
        }
    }

    /// Wishes for the next incarnation.
    pub(crate) fn spawn(&mut self, birth: u64, give_up_at: Now) -> Effect {
        self.birth = birth;
        self.worker = self.worker.successor();
        (self.stopped, self.born) = (false, false);
        self.state = State::Starting { give_up_at };
        Effect::Spawn(self.worker)
    }

    /// Asks it to finish what it has and leave; whoever has nothing yet leaves at once.
    pub(crate) fn stop(&mut self, Terms { term_at, give_up_at }: Terms) -> Option<Effect> {
        match self.take() {
            State::Ready(hand) => {
                self.state = State::Draining { hand, patience: Patience::TermAt(term_at) };
                Some(Effect::Stop(self.worker))
            }
            // A kill is quicker than to wait for its hello, and it has nothing to lose.
            starting @ State::Starting { .. } => {
                self.state = starting;
                self.shoot(Cause::RunEnds, give_up_at)
            }
            lost @ State::Lost { .. } => {
                self.state = lost;
                None
            }
            State::Waiting { .. } | State::Ended => None,
            // Asked before, but now there is a hurry.
            State::Draining { hand, patience: Patience::Unhurried } => {
                self.state = State::Draining { hand, patience: Patience::TermAt(term_at) };
                None
            }
            // Already on its way out.
            leaving @ (State::Draining { .. } | State::Dying { .. }) => {
                self.state = leaving;
                None
            }
        }
    }

    /// Asks it to leave when it has finished what it has in hand, however long that takes.
    pub(crate) fn recycle(&mut self, why: Recycle, term_at: Now) -> Option<[Effect; 2]> {
        self.state = match self.take() {
            State::Ready(hand) => State::Draining { hand, patience: Patience::Unhurried },
            // Not there yet, or on its way out.
            other @ (State::Waiting { .. } | State::Starting { .. } | State::Ended) => {
                self.state = other;
                return None;
            }
            leaving @ (State::Draining { .. } | State::Dying { .. } | State::Lost { .. }) => {
                self.state = leaving;
                return None;
            }
        };
        self.hurry_idle(term_at);
        let note = Note::Recycling { worker: self.worker, why };
        Some([Effect::Tell(note), Effect::Stop(self.worker)])
    }

    /// Who has nothing in hand any more needs no more time than it takes to leave.
    pub(crate) fn hurry_idle(&mut self, term_at: Now) {
        if let State::Draining { hand, patience: patience @ Patience::Unhurried } = &mut self.state
            && hand.leases.is_empty()
        {
            *patience = Patience::TermAt(term_at);
        }
    }

    /// SIGTERM, for one that was asked to leave and not told yet.
    pub(crate) fn terminate(&mut self, kill_at: Now) -> Option<Effect> {
        match &mut self.state {
            State::Draining { patience: patience @ (Patience::TermAt(_) | Patience::Unhurried), .. } => {
                *patience = Patience::KillAt(kill_at);
                Some(Effect::Terminate(self.worker))
            }
            State::Draining { patience: Patience::KillAt(_), .. } => None,
            State::Waiting { .. } | State::Starting { .. } | State::Ready(_) => None,
            State::Dying { .. } | State::Lost { .. } | State::Ended => None,
        }
    }

    /// SIGKILL. Its leases stay with the body until that is found: what it has said until then counts.
    pub(crate) fn shoot(&mut self, cause: Cause, give_up_at: Now) -> Option<Effect> {
        let force = Force::Kill { give_up_at: Some(give_up_at) };
        self.state = match self.take() {
            State::Starting { .. } => {
                let force = Force::Kill { give_up_at: self.born.then_some(give_up_at) };
                State::Dying { hand: Hand::default(), cause, force }
            }
            State::Ready(hand) | State::Draining { hand, .. } => State::Dying { hand, cause, force },
            // Shot before, only softer: the first cause is the true one.
            State::Dying { hand, cause, force: Force::Abort { .. } } => State::Dying { hand, cause, force },
            dying @ (State::Dying { force: Force::Kill { .. }, .. } | State::Lost { .. }) => {
                self.state = dying;
                return None;
            }
            State::Waiting { .. } | State::Ended => return None,
        };
        Some(Effect::Kill(self.worker))
    }

    /// SIGABRT, and time to write where it hangs. Whoever is stopped could not hear it: SIGKILL at once.
    pub(crate) fn abort(&mut self, cause: Cause, task: TaskId, kill_at: Now) -> Option<Effect> {
        self.state = match self.take() {
            State::Ready(hand) | State::Draining { hand, .. } => {
                State::Dying { hand, cause, force: Force::Abort { kill_at } }
            }
            // Not to be asked, shot before, or nobody there.
            other @ (State::Waiting { .. } | State::Starting { .. } | State::Ended) => {
                self.state = other;
                return None;
            }
            leaving @ (State::Dying { .. } | State::Lost { .. }) => {
                self.state = leaving;
                return None;
            }
        };
        Some(Effect::Abort { worker: self.worker, task })
    }

    /// Its process exists: from now on a body can be waited for.
    pub(crate) fn exists(&mut self, give_up: Now) {
        self.born = true;
        if let State::Dying { force: Force::Kill { give_up_at: at @ None }, .. } = &mut self.state {
            *at = Some(give_up);
        }
    }

    /// The loop slept for so long: no deadline counts that time.
    pub(crate) fn shift(&mut self, by: Duration) {
        match &mut self.state {
            State::Waiting { until: at, .. } | State::Starting { give_up_at: at } => *at = *at + by,
            State::Ready(hand) => hand.shift(by),
            State::Draining { hand, patience } => {
                hand.shift(by);
                match patience {
                    Patience::TermAt(at) | Patience::KillAt(at) => *at = *at + by,
                    Patience::Unhurried => {}
                }
            }
            State::Dying { hand, force: Force::Abort { kill_at }, .. } => {
                hand.shift(by);
                *kill_at = *kill_at + by;
            }
            State::Dying { hand, force: Force::Kill { give_up_at }, .. } => {
                hand.shift(by);
                *give_up_at = give_up_at.map(|at| at + by);
            }
            State::Lost { .. } | State::Ended => {}
        }
    }

    /// Takes the state out and leaves `Ended`.
    pub(crate) fn take(&mut self) -> State {
        mem::replace(&mut self.state, State::Ended)
    }

    /// A process that may still be heard.
    pub(crate) fn has_process(&self) -> bool {
        match self.state {
            State::Starting { .. } | State::Ready(_) | State::Draining { .. } | State::Dying { .. } => true,
            State::Waiting { .. } | State::Lost { .. } | State::Ended => false,
        }
    }

    pub(crate) fn is_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    pub(crate) fn is_lost(&self) -> bool {
        matches!(self.state, State::Lost { .. })
    }

    /// Nobody is there, and it was taken away: its number may be used again.
    fn is_free(&self) -> bool {
        self.is_ended() && !self.wanted
    }

    /// What it costs to take this slot away: nothing where nobody works anyhow, and a worker that is idle before
    /// one that has something in hand.
    fn price(&self) -> (u8, usize) {
        match &self.state {
            State::Ended | State::Lost { .. } | State::Waiting { .. } => (0, 0),
            State::Dying { .. } | State::Draining { .. } => (1, 0),
            State::Starting { .. } => (2, 0),
            State::Ready(hand) => (3, hand.leases.len()),
        }
    }

    /// The earliest moment at which this slot wants to be looked after.
    pub(crate) fn deadline(&self) -> Option<Now> {
        match &self.state {
            State::Waiting { until, .. } => Some(*until),
            State::Starting { give_up_at } => Some(*give_up_at),
            State::Ready(hand) => hand.deadline().into_iter().chain(hand.tenure.until).min(),
            State::Draining { hand, patience: Patience::Unhurried } => hand.deadline(),
            State::Draining { hand, patience: Patience::TermAt(at) | Patience::KillAt(at) } => {
                Some(hand.deadline().map_or(*at, |look_at| look_at.min(*at)))
            }
            State::Dying { force: Force::Abort { kill_at }, .. } => Some(*kill_at),
            State::Dying { force: Force::Kill { give_up_at }, .. } => *give_up_at,
            State::Lost { .. } | State::Ended => None,
        }
    }

    /// Whether its worker is held to a deadline, or its emptiness to one.
    pub(crate) fn is_pressed(&self, timeout: Option<Duration>) -> bool {
        match &self.state {
            State::Ready(hand) => hand.is_pressed(timeout) || hand.tenure.until.is_some(),
            State::Draining { hand, patience: Patience::Unhurried } => hand.is_pressed(timeout),
            State::Draining { patience: Patience::TermAt(_) | Patience::KillAt(_), .. } => true,
            State::Waiting { .. } | State::Starting { .. } => true,
            State::Dying { force: Force::Abort { .. }, .. } => true,
            State::Dying { force: Force::Kill { give_up_at }, .. } => give_up_at.is_some(),
            State::Lost { .. } | State::Ended => false,
        }
    }

    pub(crate) fn view(&self) -> SlotView {
        let hand = self.state.hand();
        SlotView {
            slot: self.worker.slot,
            worker: self.worker,
            life: self.state.life(),
            leases: hand.map_or(0, |hand| hand.leases.len()),
            settled: self.state.settled(),
            stopped: self.stopped && !self.is_lost(),
            wanted: self.wanted,
        }
    }
}

impl State {
    /// What the worker holds: a dying one still does.
    pub(crate) fn hand(&self) -> Option<&Hand> {
        match self {
            State::Ready(hand) | State::Draining { hand, .. } | State::Dying { hand, .. } => Some(hand),
            State::Waiting { .. } | State::Starting { .. } | State::Lost { .. } | State::Ended => None,
        }
    }

    /// Whether its worker may be running this, which was cancelled; not if it is dying anyhow.
    pub(crate) fn has_revoked(&self, task: TaskId) -> bool {
        match self {
            State::Ready(hand) | State::Draining { hand, .. } => hand.has_revoked(task),
            State::Waiting { .. } | State::Starting { .. } => false,
            State::Dying { .. } | State::Lost { .. } | State::Ended => false,
        }
    }

    fn settled(&self) -> u64 {
        match self {
            State::Lost { settled } => *settled,
            other => other.hand().map_or(0, |hand| hand.settled),
        }
    }

    /// The same, to change it.
    pub(crate) fn hand_mut(&mut self) -> Option<&mut Hand> {
        match self {
            State::Ready(hand) | State::Draining { hand, .. } | State::Dying { hand, .. } => Some(hand),
            State::Waiting { .. } | State::Starting { .. } | State::Lost { .. } | State::Ended => None,
        }
    }

    fn life(&self) -> Life {
        match *self {
            State::Waiting { until, .. } => Life::Waiting { until },
            State::Starting { .. } => Life::Starting,
            State::Ready(_) => Life::Ready,
            State::Draining { .. } => Life::Draining,
            State::Dying { .. } => Life::Dying,
            State::Lost { .. } => Life::Unkillable,
            State::Ended => Life::Ended,
        }
    }
}

/// All slots.
#[derive(Debug)]
pub(crate) struct Roster(Vec<Slot>);

impl Roster {
    pub(crate) fn new(procs: u32) -> Roster {
        Roster((0..procs).map(|slot| Slot::new(SlotId(slot))).collect())
    }

    /// The slot whose worker this is now. A message about any other incarnation is about the dead, and
    /// belongs to nobody.
    pub(crate) fn current(&mut self, worker: WorkerId) -> Option<&mut Slot> {
        self.0.get_mut(worker.slot.0 as usize).filter(|slot| slot.worker == worker)
    }

    /// A slot by a number that may come from elsewhere.
    pub(crate) fn find(&mut self, slot: SlotId) -> Option<&mut Slot> {
        self.0.get_mut(slot.0 as usize)
    }

    /// A slot by its number.
    pub(crate) fn slot(&mut self, slot: SlotId) -> &mut Slot {
        self.0.get_mut(slot.0 as usize).expect("a slot id comes from this roster")
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = SlotId> + use<> {
        (0..).take(self.0.len()).map(SlotId)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.0.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.0.iter_mut()
    }

    /// The number of the next wish for a worker.
    pub(crate) fn next_birth(&self) -> u64 {
        self.iter().map(|slot| slot.birth).max().unwrap_or(0) + 1
    }

    /// Tasks in the hands of workers.
    pub(crate) fn leased(&self) -> u64 {
        self.iter().filter_map(|slot| slot.state.hand()).map(|hand| hand.leases.len() as u64).sum()
    }

    /// Slots that the run is to have.
    pub(crate) fn wanted(&self) -> u32 {
        u32::try_from(self.iter().filter(|slot| slot.wanted).count()).unwrap_or(u32::MAX)
    }

    /// One slot more: one that was taken away and is empty, or a new one, as long as there are numbers.
    pub(crate) fn open(&mut self, slots_max: u32) -> Option<SlotId> {
        if let Some(slot) = self.iter_mut().find(|slot| slot.is_free()) {
            (slot.wanted, slot.restarts) = (true, Restarts::default());
            return Some(slot.worker.slot);
        }
        let next = u32::try_from(self.0.len()).ok().filter(|next| *next < slots_max).map(SlotId)?;
        self.0.push(Slot::new(next));
        Some(next)
    }

    /// The slot that is taken away at the least cost, the last of equals.
    pub(crate) fn cheapest(&mut self) -> Option<&mut Slot> {
        self.iter_mut()
            .filter(|slot| slot.wanted)
            .min_by_key(|slot| (slot.price(), Reverse(slot.worker.slot)))
    }

    /// Those who own lanes: the one that has least in hand first.
    pub(crate) fn owners(&self) -> Vec<SlotId> {
        let held = |slot: &Slot| slot.state.hand().map_or(0, |hand| hand.leases.len());
        let mut owners: Vec<_> =
            self.iter().filter(|slot| slot.wanted).map(|slot| (held(slot), slot.worker.slot)).collect();
        owners.sort_unstable();
        owners.into_iter().map(|(_, slot)| slot).collect()
    }

    /// No number is left for another slot, and none is free.
    pub(crate) fn is_full(&self, slots_max: u32) -> bool {
        self.0.len() >= slots_max as usize && !self.iter().any(Slot::is_free)
    }

    /// Workers that take tasks, or will shortly: a tail is shared among them.
    pub(crate) fn takers(&self) -> u64 {
        let takes = |slot: &&Slot| matches!(slot.state, State::Starting { .. } | State::Ready(_));
        self.iter().filter(takes).count() as u64
    }
}
