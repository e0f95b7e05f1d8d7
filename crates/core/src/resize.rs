//! More slots or fewer while the run lasts, and slots that are lost to a worker that nothing can kill.

use crate::bugs::Bug;
use crate::core::{Core, Phase};
use crate::lives::{Body, Ran};
use crate::restart::Restarts;
use crate::roster::{Cause, State, Terms};
use crate::{Effect, GiveUp, Note, Now, Recycle, Unresized};
use brigade_wire::{Exit, Mishap, SlotId, WorkerId};
use std::mem;

impl Core {
    /// So many workers are wanted.
    pub(crate) fn resize(&mut self, wanted: u32, now: Now, effects: &mut Vec<Effect>) {
        if let Some(why) = self.is_unfit(wanted) {
            return effects.push(Effect::Tell(Note::NotResized { wanted, why }));
        }
        let from = mem::replace(&mut self.procs, wanted);
        if from == wanted {
            return;
        }
        effects.push(Effect::Tell(Note::Resized { from, to: wanted }));
        while self.roster.wanted() > wanted {
            self.take_away_one(now, effects);
        }
        if wanted < from && !self.bug(Bug::LeaveTheLane) {
            self.backlog.deal(&self.roster.owners());
        }
        self.open_slots(now, effects);
        self.lend_all(now, effects);
    }

    fn is_unfit(&self, wanted: u32) -> Option<Unresized> {
        let most = self.policy.slots_max;
        match self.phase {
            Phase::New | Phase::Running { .. } if wanted == 0 => Some(Unresized::TooFew),
            Phase::New | Phase::Running { .. } if wanted > most => Some(Unresized::TooMany { most }),
            Phase::New | Phase::Running { .. } => None,
            Phase::Draining | Phase::Halted | Phase::Aborted | Phase::GaveUp(_) => Some(Unresized::Ending),
        }
    }

    /// Nobody will be in this slot any more. Whoever is there and of use finishes what it has in hand; whoever is not
    /// there yet, or on its way out, is only not replaced.
    fn take_away_one(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let (terms, kill) = (self.terms(now), self.bug(Bug::KillTheTakenAway));
        let Some(slot) = self.roster.cheapest() else { return };
        slot.wanted = false;
        match slot.state {
            State::Ready(_) if kill => effects.extend(slot.shoot(Cause::RunEnds, terms.give_up_at)),
            State::Ready(_) => {
                effects.extend(slot.recycle(Recycle::Resize, terms.term_at).into_iter().flatten());
            }
            State::Waiting { .. } | State::Starting { .. } => effects.extend(slot.stop(terms)),
            State::Draining { .. } | State::Dying { .. } | State::Lost { .. } | State::Ended => {}
        }
    }

    /// Opens as many slots as are wanted and there are numbers for, and fills them; what waits has moved by that, and is
    /// still to be lent.
    pub(crate) fn open_slots(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let before = self.roster.wanted();
        while self.roster.wanted() < self.procs && self.roster.open(self.policy.slots_max).is_some() {}
        if self.roster.wanted() > before {
            self.backlog.deal(&self.roster.owners());
            self.fill(now, effects);
        }
    }

    /// Its process exists.
    pub(crate) fn born(&mut self, worker: WorkerId, now: Now) {
        let give_up_at = self.give_up_at(now);
        self.roster.current(worker).into_iter().for_each(|slot| slot.exists(give_up_at));
    }

    /// When a worker that is killed now is given up.
    pub(crate) fn give_up_at(&self, now: Now) -> Now {
        now + self.policy.kill_grace
    }

    /// What becomes of a worker that is told now to stop.
    pub(crate) fn terms(&self, now: Now) -> Terms {
        Terms { term_at: now + self.policy.grace, give_up_at: self.give_up_at(now) }
    }

    /// SIGKILL has not ended it, and it is waited for no longer. Its tasks go back, and nobody is blamed but the task
    /// that it was killed for: which one ran, its page will only say for certain when it is dead.
    pub(crate) fn lose(&mut self, id: SlotId, now: Now, effects: &mut Vec<Effect>) {
        let (refill, blame) = (self.bug(Bug::RefillTheLost), self.bug(Bug::BlameTheLost));
        let slot = self.roster.slot(id);
        let worker = slot.worker;
        let Some(mut body) = Body::find(slot, Exit::Unknown, &[]) else { return };
        let history = mem::take(&mut slot.restarts);
        let was_wanted = mem::replace(&mut slot.wanted, false);
        if !refill {
            slot.state = State::Lost { settled: body.hand.settled };
        }
        if blame {
            let ran = body.hand.leases.front().map(|lease| Ran { task: lease.task, divisible: false });
            body.culprits = ran.into_iter().collect();
            body.end = Mishap::Crashed(Exit::Unknown);
        }
        effects.push(Effect::Tell(Note::Unkillable(worker)));
        // Whoever has something in hand is in the middle of it.
        let begun = body.hand.leases.len().min(body.hand.threads()) as u64;
        self.ledger.abandoned += if body.abandoned { begun } else { 0 };
        let explained = self.take_back(&body, effects);
        self.halt(now, effects);
        if was_wanted {
            self.replace_elsewhere(&body, (history, explained), now, effects);
        }
        if self.wants_workers() && self.roster.iter().all(|slot| slot.is_lost()) {
            self.give_up(GiveUp::Unkillable(worker), now, effects);
        }
        self.lend_all(now, effects);
    }

    /// Another slot is opened in the place of the lost one, if there is a number for it, and has its history.
    fn replace_elsewhere(
        &mut self,
        body: &Body,
        (history, explained): (Restarts, bool),
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let next = self.roster.open(self.policy.slots_max);
        self.backlog.deal(&self.roster.owners());
        let Some(next) = next else { return };
        self.roster.slot(next).restarts = history;
        match body.counts && !explained {
            true => self.replace_counted(next, Some(body.exit), !body.planned, now, effects),
            false => self.replace(next, now, !body.planned, now, effects),
        }
    }

    /// The body of one that was given up is found at last: its slot is free again.
    pub(crate) fn found(
        &mut self,
        worker: WorkerId,
        exit: Exit,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let Some(slot) = self.roster.current(worker) else { return false };
        let State::Lost { settled } = slot.state else { return false };
        (slot.state, slot.stopped) = (State::Ended, false);
        effects.push(Effect::Tell(Note::Exited { worker, exit, planned: false, settled, held: vec![] }));
        self.open_slots(now, effects);
        self.lend_all(now, effects);
        true
    }
}
