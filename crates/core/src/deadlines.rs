//! Time has passed: who is late, and what a look at their pages tells.

use crate::bugs::Bug;
use crate::core::Core;
use crate::hand::{Finding, Hand};
use crate::roster::{Cause, Patience, State};
use crate::{Effect, Note, Now, Running};
use brigade_wire::{SlotId, WorkerId};

/// What a slot wants, now that it is this late.
enum Due {
    Nothing,
    Fill { restart: bool },
    GiveUpBirth,
    Look,
    Terminate,
    Kill,
}

impl Core {
    /// Looks after every slot whose time has come.
    pub(crate) fn tick(&mut self, now: Now, effects: &mut Vec<Effect>) {
        for slot in self.roster.ids() {
            self.tick_slot(slot, now, effects);
        }
        self.lend_all(now, effects);
    }

    fn tick_slot(&mut self, id: SlotId, now: Now, effects: &mut Vec<Effect>) {
        let due = self.due(id, now);
        let slot = self.roster.slot(id);
        let worker = slot.worker;
        match due {
            Due::Nothing => {}
            Due::Fill { restart } => self.fill_slot(id, restart, now, effects),
            Due::GiveUpBirth => {
                let reason = format!("no hello within {:?}", self.policy.birth_timeout);
                effects.push(Effect::Tell(Note::NotBorn { worker, reason }));
                effects.extend(slot.shoot(Cause::Birth));
            }
            Due::Look if self.bugs.has(Bug::KillWithoutLook) => effects.extend(slot.shoot(Cause::Stuck)),
            Due::Look if self.bugs.has(Bug::NeverLook) => {}
            Due::Look => effects.push(Effect::Look(worker)),
            Due::Terminate => effects.push(Effect::Terminate(worker)),
            Due::Kill => effects.extend(slot.shoot(Cause::Grace)),
        }
    }

    /// The one thing that is due in this slot: patience before curiosity.
    fn due(&mut self, id: SlotId, now: Now) -> Due {
        let (no_grace, no_birth) = (self.bug(Bug::NoGrace), self.bug(Bug::NoBirthTimeout));
        match &mut self.roster.slot(id).state {
            State::Waiting { until, restart } if *until <= now => Due::Fill { restart: *restart },
            State::Starting { give_up_at } if *give_up_at <= now && !no_birth => Due::GiveUpBirth,
            State::Ready(hand) => Due::of_hand(hand, now),
            State::Draining { hand, patience } => match *patience {
                Patience::TermAt(at) if at <= now && !no_grace => {
                    *patience = Patience::KillAt(now + self.policy.grace);
                    Due::Terminate
                }
                Patience::KillAt(at) if at <= now => Due::Kill,
                Patience::TermAt(_) | Patience::KillAt(_) => Due::of_hand(hand, now),
            },
            // Not yet.
            State::Waiting { .. } | State::Starting { .. } => Due::Nothing,
            // Only a body is waited for, and no more than nothing.
            State::Dying { .. } | State::Ended => Due::Nothing,
        }
    }

    /// The answer to a look.
    pub(crate) fn seen(
        &mut self,
        worker: WorkerId,
        running: Option<Running>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(timeout) = self.policy.task_timeout else { return };
        let Some(slot) = self.roster.current(worker) else { return };
        let finding = match &mut slot.state {
            State::Ready(hand) | State::Draining { hand, .. } => hand.judge(running, now, timeout),
            // Nothing is in hand yet, or the body will tell.
            State::Waiting { .. } | State::Starting { .. } | State::Dying { .. } | State::Ended => return,
        };
        match finding {
            Finding::Fine => {}
            Finding::TimedOut(task) => {
                effects.push(Effect::Tell(Note::TimedOut { task, worker }));
                effects.extend(slot.shoot(Cause::TimedOut(task)));
            }
            Finding::Stuck => effects.extend(slot.shoot(Cause::Stuck)),
        }
    }
}

impl Due {
    fn of_hand(hand: &mut Hand, now: Now) -> Due {
        hand.reopen(now);
        if hand.wants_look(now) { Due::Look } else { Due::Nothing }
    }
}
