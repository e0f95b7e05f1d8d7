//! Planned ends: who has had its tasks, its years or its memory makes room for another.

use crate::bugs::Bug;
use crate::core::Core;
use crate::hand::Tenure;
use crate::roster::{Cause, State, Terms};
use crate::{Effect, Note, Now, Recycle};
use brigade_wire::{SlotId, WorkerId};
use std::time::Duration;

impl Core {
    /// How long a worker that is ready now is kept, whose birth was to end by then: a tenth more or less, so that those who
    /// were born together do not leave together.
    pub(crate) fn tenure(&mut self, give_up_at: Now, now: Now) -> Tenure {
        let dice = &mut self.dice;
        let tasks_max = self.policy.tasks_per_worker_max.map(|max| dice.about(max).max(1));
        let age_max = self.policy.age_max.map(|max| u64::try_from(max.as_nanos()).unwrap_or(u64::MAX));
        let until = age_max.map(|max| now + Duration::from_nanos(dice.about(max)));
        let birth = self.policy.birth_timeout.saturating_sub(give_up_at.since(now));
        let back_after = self.policy.lookahead.back_after.max(birth);
        let threads = self.policy.threads as usize;
        Tenure { threads, tasks_max, until, stuck_after: self.policy.stuck_after, back_after }
    }

    /// It has served its time.
    pub(crate) fn recycle(&mut self, slot: SlotId, why: Recycle, now: Now, effects: &mut Vec<Effect>) {
        let (terms, hurry) = (self.terms(now), self.bug(Bug::HurryTheRecycled));
        let slot = self.roster.slot(slot);
        effects.extend(slot.recycle(why, terms.term_at).into_iter().flatten());
        if hurry {
            slot.stop(Terms { term_at: now, ..terms });
        }
    }

    /// It uses more memory than it may: harmless between two tasks, and else the fault of what it runs, if that is alone.
    pub(crate) fn bloated(&mut self, worker: WorkerId, running: bool, now: Now, effects: &mut Vec<Effect>) {
        let (bears, give_up_at) = (self.bug(Bug::BearTheBloated), self.give_up_at(now));
        let Some(slot) = self.roster.current(worker).filter(|_| !bears) else { return };
        match slot.state {
            State::Ready(_) | State::Draining { .. } if running => {
                effects.push(Effect::Tell(Note::Bloated(worker)));
                effects.extend(slot.shoot(Cause::Memory, give_up_at));
            }
            State::Ready(_) => self.recycle(worker.slot, Recycle::Memory, now, effects),
            // It leaves as it is.
            State::Draining { .. } | State::Dying { .. } | State::Lost { .. } => {}
            // It has had nothing to grow by, or it is dead.
            State::Waiting { .. } | State::Starting { .. } | State::Ended => {}
        }
    }
}
