//! How a run ends: when all is settled, when told to, or when it is hopeless.

use crate::bugs::Bug;
use crate::core::{Core, Phase};
use crate::roster::Cause;
use crate::{Effect, GiveUp, Note, Now};

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
            Phase::New | Phase::Draining | Phase::Aborted | Phase::GaveUp(_) => {}
        }
    }

    /// No task starts any more; those in hand finish, the backlog stays.
    pub(crate) fn drain(&mut self, now: Now, effects: &mut Vec<Effect>) {
        match self.phase {
            Phase::New | Phase::Running { .. } => {
                self.phase = Phase::Draining;
                self.stop_all(now, effects);
            }
            // Nothing starts any more as it is.
            Phase::Draining | Phase::Aborted | Phase::GaveUp(_) => {}
        }
    }

    /// Everybody ends now.
    pub(crate) fn abort(&mut self, effects: &mut Vec<Effect>) {
        match self.phase {
            Phase::New | Phase::Running { .. } | Phase::Draining => {
                self.phase = Phase::Aborted;
                self.shoot_all(effects);
            }
            // Everybody has been shot.
            Phase::Aborted | Phase::GaveUp(_) => {}
        }
    }

    /// There is no point in going on.
    pub(crate) fn give_up(&mut self, cause: GiveUp, effects: &mut Vec<Effect>) {
        self.phase = Phase::GaveUp(cause.clone());
        effects.push(Effect::Tell(Note::GaveUp(cause)));
        self.shoot_all(effects);
    }

    fn stop_all(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let term_at = now + self.policy.grace;
        effects.extend(self.roster.iter_mut().filter_map(|slot| slot.stop(term_at)));
    }

    fn shoot_all(&mut self, effects: &mut Vec<Effect>) {
        effects.extend(self.roster.iter_mut().filter_map(|slot| slot.shoot(Cause::RunEnds)));
    }
}
