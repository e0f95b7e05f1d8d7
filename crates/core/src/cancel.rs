//! What nobody wants any more: it leaves the backlog, or the hand of whoever was to do it, and that is its final word.

use crate::bugs::Bug;
use crate::core::Core;
use crate::recall::{ascending, one};
use crate::roster::State;
use crate::{Effect, Now, Recycle};
use brigade_wire::{SlotId, TaskId};

impl Core {
    /// These are done with, those that are lent as well if `lent` says so.
    pub(crate) fn cancel(&mut self, tasks: Vec<TaskId>, lent: bool, now: Now, effects: &mut Vec<Effect>) {
        let apart = self.ledger.suspects.are_some_alone();
        let named = ascending(tasks.into_iter().map(one).collect());
        let mut cancelled = self.backlog.withdraw(&named, !self.bug(Bug::CancelOnlyTheFresh));
        let mut holders = Vec::new();
        for slot in self.roster.ids().filter(|_| lent) {
            let hand = self.roster.slot(slot).state.hand_mut();
            let revoked = hand.map(|hand| hand.revoke(&named)).filter(|revoked| !revoked.is_empty());
            let Some(revoked) = revoked else { continue };
            holders.push(slot);
            revoked.iter().for_each(|&task| self.backlog.done(slot, task));
            cancelled.extend(revoked);
        }
        if cancelled.is_empty() {
            return;
        }
        cancelled.iter().for_each(|&task| self.ledger.cancel(task));
        effects.push(Effect::Cancelled(cancelled));
        holders.into_iter().for_each(|slot| self.recall(slot, Recycle::Cancel, now, effects));
        if apart {
            self.lend_all(now, effects);
        }
    }

    /// It has what was cancelled, or what others are to have. Nobody can take that out of its hand, so it leaves before it
    /// begins anything more; and if it has begun what was cancelled, it is killed as soon as its page says so; what it ran beside that is done again.
    pub(crate) fn recall(&mut self, id: SlotId, why: Recycle, now: Now, effects: &mut Vec<Effect>) {
        let (is_running, counts) = (self.is_running(), self.bug(Bug::CountTheRecalled));
        if matches!(self.roster.slot(id).state, State::Ready(_)) {
            self.recycle(id, why, now, effects);
        }
        let term_at = now + self.policy.grace;
        let slot = self.roster.slot(id);
        let worker = slot.worker;
        slot.hurry_idle(term_at);
        match &mut slot.state {
            State::Ready(hand) | State::Draining { hand, .. } if is_running => {
                hand.recalled = !counts;
                effects.push(Effect::Recall(worker));
            }
            // A run that ends lets those in hand finish: what is not cancelled must not come back to where nobody takes it.
            State::Ready(_) | State::Draining { .. } => effects.push(Effect::Look(worker)),
            // Whatever it ran, it does so no more; and whoever has no process has nothing in hand.
            State::Dying { .. } | State::Lost { .. } => {}
            State::Waiting { .. } | State::Starting { .. } | State::Ended => {}
        }
    }
}
