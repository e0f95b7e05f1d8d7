//! How a run ends: when all is settled, when told to, or when it is hopeless.

use crate::bugs::Bug;
use crate::core::{Core, Phase};
use crate::roster::Cause;
use crate::{Effect, GiveUp, Halt, HaltOn, HaltWhen, Note, Now};
use std::cmp::Reverse;

impl Core {
    /// Ends the run, or holds it, once every task has its final word.
    pub(crate) fn conclude(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let early = self.bug(Bug::StopEarly) && self.backlog.len() == 0;
        if !self.all_settled() && !early {
            return;
        }
        match &mut self.phase {
            Phase::Running { .. } if !self.policy.hold => self.stop_all(now, effects),
            Phase::Running { holding } => {
                if !*holding {
                    *holding = true;
                    effects.push(Effect::Tell(Note::Holding));
                }
            }
            // Not begun, or on its way out already.
            Phase::New | Phase::Draining | Phase::Halted | Phase::Aborted | Phase::GaveUp(_) => {}
        }
    }

    /// Ends the run if enough has happened: before anything else is lent, and only while something is left.
    pub(crate) fn halt(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let left = self.is_running() && !self.all_settled();
        let Some(halt) = self.policy.halt.filter(|&halt| left && self.has_enough(halt)) else { return };
        effects.push(Effect::Tell(Note::Halting(halt)));
        self.phase = Phase::Halted;
        match halt.when {
            HaltWhen::Soon => self.stop_all(now, effects),
            HaltWhen::Now => self.shoot_all(now, effects),
        }
    }

    fn has_enough(&self, halt: Halt) -> bool {
        let (failures, values) = self.ledger.own(self.bug(Bug::HaltTheRecalled));
        let count = match halt.on {
            HaltOn::Fail => failures,
            HaltOn::Success => values,
            HaltOn::Done => failures + values,
        };
        let count = count.saturating_sub(u64::from(self.bug(Bug::HaltLate)));
        halt.limit.is_reached(count, failures + values, self.backlog.submitted())
    }

    /// No task starts any more; those in hand finish, the backlog stays.
    pub(crate) fn drain(&mut self, now: Now, effects: &mut Vec<Effect>) {
        match self.phase {
            Phase::New | Phase::Running { .. } => {
                self.phase = Phase::Draining;
                self.stop_all(now, effects);
            }
            // Nothing starts any more as it is.
            Phase::Draining | Phase::Halted | Phase::Aborted | Phase::GaveUp(_) => {}
        }
    }

    /// No task starts any more, and those in hand are told to end.
    pub(crate) fn terminate(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.drain(now, effects);
        let (kill_at, late) = (now + self.policy.grace, self.bug(Bug::TerminateLate));
        effects.extend(self.roster.iter_mut().filter(|_| !late).filter_map(|slot| slot.terminate(kill_at)));
    }

    /// Everybody ends now.
    pub(crate) fn abort(&mut self, now: Now, effects: &mut Vec<Effect>) {
        match self.phase {
            Phase::New | Phase::Running { .. } | Phase::Draining | Phase::Halted => {
                self.phase = Phase::Aborted;
                self.shoot_all(now, effects);
            }
            // Everybody has been shot.
            Phase::Aborted | Phase::GaveUp(_) => {}
        }
    }

    /// There is no point in going on.
    pub(crate) fn give_up(&mut self, cause: GiveUp, now: Now, effects: &mut Vec<Effect>) {
        let (oldest_first, give_up_at) = (self.bug(Bug::OldestFirst), self.give_up_at(now));
        self.phase = Phase::GaveUp(cause.clone());
        effects.push(Effect::Tell(Note::GaveUp(cause)));
        // As a supervisor of Erlang's: whoever came last, and may lean on the others, goes first.
        let mut slots: Vec<_> = self.roster.iter_mut().collect();
        slots.sort_by_key(|slot| Reverse(slot.birth));
        if oldest_first {
            slots.reverse();
        }
        effects.extend(slots.into_iter().filter_map(|slot| slot.shoot(Cause::RunEnds, give_up_at)));
    }

    fn stop_all(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let terms = self.terms(now);
        effects.extend(self.roster.iter_mut().filter_map(|slot| slot.stop(terms)));
    }

    fn shoot_all(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let give_up_at = self.give_up_at(now);
        effects.extend(self.roster.iter_mut().filter_map(|slot| slot.shoot(Cause::RunEnds, give_up_at)));
    }
}
