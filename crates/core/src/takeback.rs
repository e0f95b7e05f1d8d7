//! What waits behind a task that turned out long is taken back, when somebody else has nothing to do.
//!
//! It costs the worker its life as soon as that task is done, so it is asked for by three facts: a worker is idle and nothing
//! waits for it, another has more than it runs, and its page says that all it runs has gone on for long, on each of its threads.

use crate::bugs::Bug;
use crate::core::Core;
use crate::dispatch::Why;
use crate::hand::{Hand, LOOK_AGAIN};
use crate::roster::{Slot, State};
use crate::{Effect, Lease, Now, Recycle, Running, Schedule};
use brigade_wire::SlotId;

impl Core {
    /// When somebody's task may have turned out long; `None` while nobody would have anything from that.
    pub(crate) fn take_back_at(&self) -> Option<Now> {
        let hands = self.roster.iter().filter_map(Slot::ahead);
        hands.map(|hand| hand.long_at).min().filter(|_| self.may_take_back())
    }

    /// Whose task may have turned out long is looked at.
    pub(crate) fn look_behind(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if !self.may_take_back() {
            return;
        }
        for slot in self.roster.iter_mut().filter(|slot| slot.ahead().is_some_and(|hand| hand.long_at <= now))
        {
            effects.push(Effect::Look(slot.worker));
            slot.state.hand_mut().into_iter().for_each(|hand| hand.long_at = now + LOOK_AGAIN);
        }
    }

    /// Its page says what it runs. If it was recalled before that was read, it begins nothing of what it was lent behind that.
    /// A thread that has nothing will take what waits, so nothing is taken back from a worker with one.
    pub(crate) fn seen_running(
        &mut self,
        id: SlotId,
        running: &[Running],
        recalled: bool,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let (may, unseen) = (self.may_take_back(), self.bug(Bug::TakeBackUnseen));
        let slot = self.roster.slot(id);
        let (Some(latest), Some(hand)) = (running.iter().max_by_key(|it| it.began), slot.state.hand_mut())
        else {
            return;
        };
        if recalled || unseen && hand.recalled {
            return self.give_away(id, running, now, effects);
        }
        let all_busy = running.iter().filter(|it| hand.holds(it.task)).count() >= hand.threads();
        let long_at = latest.began + hand.tenure.back_after;
        hand.long_at = if long_at <= now { now + LOOK_AGAIN } else { long_at };
        let is_last = |last: &Lease| running.iter().any(|it| it.task == last.task);
        let is_behind = !hand.leases.back().is_none_or(is_last);
        if long_at <= now && may && all_busy && is_behind && slot.ahead().is_some() {
            self.pace.observe(u64::try_from(now.since(latest.began).as_nanos()).unwrap_or(u64::MAX));
            self.recall(id, Recycle::TakeBack, now, effects);
        }
    }

    /// Whoever has nothing to do gets what this worker will not begin.
    fn give_away(&mut self, id: SlotId, running: &[Running], now: Now, effects: &mut Vec<Effect>) {
        let (begun, careless) = (self.bug(Bug::TakeBackTheBegun), self.bug(Bug::TakeBackBesideTheIdle));
        let slot = self.roster.slot(id);
        let worker = slot.worker;
        let Some(hand) = slot.state.hand_mut() else { return };
        let mut back = hand.take_behind(running, careless);
        if begun {
            back.extend(running.iter().filter_map(|it| hand.release(it.task, None)));
        }
        self.backlog.give_back(id, &back);
        self.tell_requeued(worker, &back, Why::Unblamed, effects);
        self.lend_all(now, effects);
    }

    /// More have nothing to do than something is on its way to. Where each task is a slot's own, nobody else could take it.
    fn may_take_back(&self) -> bool {
        let is_common = match self.policy.schedule {
            Schedule::Dynamic | Schedule::Stealing => true,
            Schedule::Static | Schedule::RoundRobin | Schedule::Weighted => false,
        };
        let may = is_common && self.is_running() && self.backlog.len() == 0 && !self.bug(Bug::NeverTakeBack);
        let is_apart =
            |hand: &Hand| hand.leases.front().is_some_and(|it| self.ledger.suspects.is_alone(it.task));
        let is_idle = |slot: &Slot| slot.idler().is_some_and(|hand| !is_apart(hand));
        may && self.count(is_idle) > self.count(Slot::is_giving_back)
    }

    fn count(&self, is_so: impl Fn(&Slot) -> bool) -> usize {
        self.roster.iter().filter(|slot| is_so(slot)).count()
    }
}

impl Slot {
    /// The hand of a worker that would begin a task at once.
    fn idler(&self) -> Option<&Hand> {
        match &self.state {
            State::Ready(hand) => Some(hand).filter(|hand| hand.idle_threads() > 0 && !self.stopped),
            State::Waiting { .. } | State::Starting { .. } | State::Draining { .. } => None,
            State::Dying { .. } | State::Lost { .. } | State::Ended => None,
        }
    }

    /// It was recalled, and its page or its body will tell what it has not begun.
    fn is_giving_back(&self) -> bool {
        matches!(&self.state, State::Draining { hand, .. } if hand.recalled && hand.leases.len() > hand.threads())
    }

    /// The hand of a worker that may have more than it runs.
    fn ahead(&self) -> Option<&Hand> {
        match &self.state {
            State::Ready(hand) | State::Draining { hand, .. } => {
                Some(hand).filter(|hand| hand.leases.len() > hand.threads() && !hand.recalled)
            }
            State::Waiting { .. } | State::Starting { .. } => None,
            State::Dying { .. } | State::Lost { .. } | State::Ended => None,
        }
    }
}
