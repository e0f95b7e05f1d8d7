//! Time has passed: who is late, and what a look at their pages tells.

use crate::bugs::Bug;
use crate::core::Core;
use crate::hand::{Finding, Hand};
use crate::lives::Ran;
use crate::roster::{Cause, Force, Patience, State};
use crate::{Effect, Note, Now, Recycle, Running, Timeout};
use brigade_wire::{SlotId, TaskId, WorkerId};
use std::time::Duration;

/// What a slot wants, now that it is this late.
enum Due {
    Nothing,
    Fill { restart: bool },
    GiveUpBirth,
    Recycle,
    Look,
    Terminate,
    Kill,
    Lose,
}

impl Core {
    /// Looks after every slot whose time has come.
    pub(crate) fn tick(&mut self, now: Now, effects: &mut Vec<Effect>) {
        for slot in self.roster.ids() {
            self.tick_slot(slot, now, effects);
        }
        self.lend_all(now, effects);
        self.look_behind(now, effects);
    }

    fn tick_slot(&mut self, id: SlotId, now: Now, effects: &mut Vec<Effect>) {
        let (due, give_up_at) = (self.due(id, now), self.give_up_at(now));
        let slot = self.roster.slot(id);
        let worker = slot.worker;
        match due {
            Due::Nothing => {}
            Due::Fill { restart } => self.fill_slot(id, restart, now, effects),
            Due::GiveUpBirth => {
                let reason = format!("no hello within {:?}", self.policy.birth_timeout);
                effects.push(Effect::Tell(Note::NotBorn { worker, reason }));
                effects.extend(slot.shoot(Cause::Birth, give_up_at));
            }
            Due::Look if self.bugs.has(Bug::KillWithoutLook) => {
                effects.extend(slot.shoot(Cause::Stuck, give_up_at))
            }
            Due::Look if self.bugs.has(Bug::NeverLook) => {}
            Due::Look => effects.push(Effect::Look(worker)),
            Due::Recycle => self.recycle(id, Recycle::Age, now, effects),
            Due::Terminate => effects.push(Effect::Terminate(worker)),
            Due::Kill => effects.extend(slot.shoot(Cause::Grace, give_up_at)),
            Due::Lose => self.lose(id, now, effects),
        }
    }

    /// The one thing that is due in this slot: patience before curiosity.
    fn due(&mut self, id: SlotId, now: Now) -> Due {
        let (no_grace, no_birth) = (self.bug(Bug::NoGrace), self.bug(Bug::NoBirthTimeout));
        let (no_force, ageless) = (self.bug(Bug::AbortForEver), self.bug(Bug::NeverTooOld));
        let patient = self.bug(Bug::WaitForTheUnkillable);
        match &mut self.roster.slot(id).state {
            State::Waiting { until, restart } if *until <= now => Due::Fill { restart: *restart },
            State::Starting { give_up_at } if *give_up_at <= now && !no_birth => Due::GiveUpBirth,
            State::Ready(hand) if hand.is_old(now) && !ageless => Due::Recycle,
            State::Ready(hand) => Due::of_hand(hand, now),
            State::Draining { hand, patience } => match *patience {
                Patience::TermAt(at) if at <= now && !no_grace => {
                    *patience = Patience::KillAt(now + self.policy.grace);
                    Due::Terminate
                }
                Patience::KillAt(at) if at <= now => Due::Kill,
                Patience::TermAt(_) | Patience::KillAt(_) | Patience::Unhurried => Due::of_hand(hand, now),
            },
            // Not yet.
            State::Waiting { .. } | State::Starting { .. } => Due::Nothing,
            State::Dying { force: Force::Abort { kill_at }, .. } if *kill_at <= now && !no_force => Due::Kill,
            State::Dying { force: Force::Kill { give_up_at: Some(at) }, .. } if *at <= now && !patient => {
                Due::Lose
            }
            // Only a body is waited for, and no more than nothing.
            State::Dying { .. } | State::Lost { .. } | State::Ended => Due::Nothing,
        }
    }

    /// How long an attempt may run; `None`: for ever, or until more is known.
    #[must_use]
    pub fn task_timeout(&self) -> Option<Duration> {
        match self.policy.task_timeout? {
            Timeout::After(limit) => Some(limit),
            Timeout::OfMedian(percent) => self.lengths.percent(percent),
        }
    }

    /// Attempts have ended, and what others may take has changed with them.
    pub(crate) fn refresh_deadlines(&mut self, before: Option<Duration>, now: Now) {
        let after = self.task_timeout();
        if before == after || self.bug(Bug::IgnoreTheMedian) {
            return;
        }
        for slot in self.roster.iter_mut() {
            match &mut slot.state {
                State::Ready(hand) | State::Draining { hand, .. } => match (before, after) {
                    (None, Some(_)) => hand.watch_at_once(now),
                    (Some(before), Some(after)) => hand.hasten(before.saturating_sub(after)),
                    (_, None) => {}
                },
                // Nothing is in hand yet, or the body will tell.
                State::Waiting { .. } | State::Starting { .. } => {}
                State::Dying { .. } | State::Lost { .. } | State::Ended => {}
            }
        }
    }

    /// The loop did not run for so long, so nobody could be heard: no deadline counts that time.
    pub(crate) fn overslept(&mut self, by: Duration, now: Now) {
        self.sleeps.add(now, by);
        let births = self.bug(Bug::OversleepTheBirth);
        for slot in self.roster.iter_mut() {
            if !(births && matches!(slot.state, State::Starting { .. })) {
                slot.shift(by);
            }
        }
    }

    /// The answer to a look.
    pub(crate) fn seen(
        &mut self,
        worker: WorkerId,
        running: Vec<Running>,
        recalled: bool,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let timeout = self.task_timeout();
        let (trusts, holds) = (self.bug(Bug::TrustTheIdle), self.bug(Bug::ShootTheStopped));
        let (kill_at, asleep) = (now + self.policy.abort_grace, !self.bug(Bug::OversleepTheTask));
        let give_up_at = self.give_up_at(now);
        let soft = !self.policy.abort_grace.is_zero();
        let (deaf, one) = (!self.bug(Bug::AbortTheStopped), self.bug(Bug::BlameOneOfTheLate));
        let later = |at: Now| at + self.sleeps.since(at);
        let awake = |it: Running| Running { since: later(it.since), began: later(it.began), ..it };
        let mut running: Vec<_> = running.into_iter().map(|it| if asleep { awake(it) } else { it }).collect();
        if self.bug(Bug::JudgeOneLane) {
            running.sort_unstable_by_key(|it| it.since);
            running.drain(..running.len().saturating_sub(1));
        }
        let spares = self.bug(Bug::SpareTheCancelled);
        let Some(slot) = self.roster.current(worker) else { return };
        let mut revoked = running.iter().map(|running| running.task).filter(|_| !spares);
        if let Some(task) = revoked.find(|&task| slot.state.has_revoked(task)) {
            if let Some(kill) = slot.shoot(Cause::Cancelled, give_up_at) {
                effects.extend([Effect::Tell(Note::Revoked { task, worker }), kill]);
            }
            return;
        }
        let finding = match &mut slot.state {
            State::Ready(hand) | State::Draining { hand, .. } => {
                hand.judge(&running, slot.stopped && !holds, now, timeout)
            }
            // Nothing is in hand yet, or the body will tell.
            State::Waiting { .. } | State::Starting { .. } => return,
            State::Dying { .. } | State::Lost { .. } | State::Ended => return,
        };
        match finding {
            Finding::Fine => self.seen_running(worker.slot, &running, recalled, now, effects),
            Finding::TimedOut(late) => {
                let late: Vec<TaskId> = late.into_iter().take(if one { 1 } else { usize::MAX }).collect();
                effects.extend(late.iter().map(|&task| Effect::Tell(Note::TimedOut { task, worker })));
                let is_divisible = |task| running.iter().any(|it| it.task == task && it.divisible);
                let ran = |task| Ran { task, divisible: is_divisible(task) };
                let cause = Cause::TimedOut(late.iter().copied().map(ran).collect());
                effects.extend(match late.first().filter(|_| soft && !(slot.stopped && deaf)) {
                    Some(&first) => slot.abort(cause, first, kill_at),
                    None => slot.shoot(cause, give_up_at),
                });
            }
            Finding::Stuck if trusts && timeout.is_none() => {}
            Finding::Stuck => {
                effects.push(Effect::Tell(Note::Stuck(worker)));
                effects.extend(slot.shoot(Cause::Stuck, give_up_at));
            }
        }
    }
}

impl Due {
    fn of_hand(hand: &mut Hand, now: Now) -> Due {
        hand.reopen(now);
        if hand.wants_look(now) { Due::Look } else { Due::Nothing }
    }
}
