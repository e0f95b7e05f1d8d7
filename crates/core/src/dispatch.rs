//! Who gets how much: breadth first, then ahead of the work; and what comes back.

use crate::bugs::Bug;
use crate::core::Core;
use crate::hand::{Flow, Hand};
use crate::roster::{Cause, State};
use crate::{Effect, Lease, Lookahead, Note, Now, Recycle, Timeout};
use brigade_wire::{Ended, FailedAttempt, Mishap, SlotId, TaskId, WorkerId};

/// How long a task takes, as far as we have seen.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    estimate_ns: Option<u64>,
}

impl Pace {
    /// One more attempt has ended. Upward in halves, downward in eighths: to lend too much of something
    /// long leaves siblings idle, to lend too little of something short only costs a message.
    pub(crate) fn observe(&mut self, elapsed_ns: u64) {
        self.estimate_ns = Some(match self.estimate_ns {
            None => elapsed_ns,
            Some(estimate) if elapsed_ns > estimate => estimate + (elapsed_ns - estimate) / 2,
            Some(estimate) => estimate - (estimate - elapsed_ns) / 8,
        });
    }

    /// How many tasks a worker of so many threads may hold, those it runs included.
    pub(crate) fn window(&self, lookahead: Lookahead, threads: u32) -> usize {
        let Some(estimate_ns) = self.estimate_ns else { return threads as usize };
        let ahead = lookahead.time.as_nanos() * u128::from(threads) / u128::from(estimate_ns.max(1));
        threads as usize + usize::try_from(ahead).unwrap_or(usize::MAX).min(lookahead.tasks)
    }
}

/// Why a task comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// It says itself that it failed, and is tried again.
    Failed,
    /// Its worker died of it.
    Died,
    /// Nothing that it did.
    Unblamed,
}

impl Core {
    /// Lends to everybody who can take something. Idle workers get their first task before anyone gets a second, and idle
    /// threads theirs before anyone gets look-ahead; what one worker gets travels as one wish.
    pub(crate) fn lend_all(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if !self.may_lend() {
            return;
        }
        let mut orders: Vec<_> = self.roster.ids().map(|slot| (slot, Vec::new())).collect();
        for each in 1..=self.policy.threads {
            for (slot, order) in &mut orders {
                self.lend_first(*slot, each, now, order);
            }
        }
        for (slot, mut order) in orders {
            self.lend_ahead(slot, now, &mut order);
            self.wish_run(slot, order, now, effects);
        }
    }

    /// Lends to one worker, when nobody else's hand has changed. What others had to leave because it is to be alone, it may
    /// take, and then there may be something for them.
    pub(crate) fn lend_to(&mut self, slot: SlotId, now: Now, effects: &mut Vec<Effect>) {
        if self.ledger.suspects.are_some_alone() {
            return self.lend_all(now, effects);
        }
        if !self.may_lend() {
            return;
        }
        let mut order = Vec::new();
        self.lend_first(slot, self.policy.threads, now, &mut order);
        self.lend_ahead(slot, now, &mut order);
        self.wish_run(slot, order, now, effects);
    }

    fn may_lend(&self) -> bool {
        (self.is_running() || self.bug(Bug::LendAfterDrain)) && self.backlog.len() > 0
    }

    /// As many as it has nothing for, of so many threads.
    fn lend_first(&mut self, slot: SlotId, threads: u32, now: Now, order: &mut Vec<Lease>) {
        let room = self.room(slot, threads as usize);
        self.lend(slot, room, now, order);
    }

    /// Beyond the first no more than a fair share of what is left, so that a tail ends everywhere at once.
    fn lend_ahead(&mut self, slot: SlotId, now: Now, order: &mut Vec<Lease>) {
        let room = self.room(slot, self.pace.window(self.policy.lookahead, self.policy.threads));
        if room == 0 {
            return;
        }
        let share = self.backlog.share(slot, self.roster.takers());
        self.lend(slot, room.min(usize::try_from(share).unwrap_or(usize::MAX)), now, order);
    }

    fn room(&mut self, slot: SlotId, window: usize) -> usize {
        match &self.roster.slot(slot).state {
            State::Ready(hand) if self.bugs.has(Bug::LendPastTheLimit) => hand.room(window),
            State::Ready(hand) => hand.room(window).min(usize::try_from(hand.left()).unwrap_or(usize::MAX)),
            // Not yet, no more, or never again.
            State::Draining { hand, .. } if self.bugs.has(Bug::LendAfterDrain) => hand.room(window),
            State::Waiting { .. } | State::Starting { .. } | State::Draining { .. } => 0,
            State::Dying { .. } | State::Lost { .. } | State::Ended => 0,
        }
    }

    /// Whether somebody else is at what is to be alone, or about to be: then whoever is busy need not make room for that.
    fn is_seen_to(&self, slot: SlotId) -> bool {
        let is_alone = |lease: &Lease| self.ledger.suspects.is_alone(lease.task);
        let sees_to = |state: &State| match state {
            State::Starting { .. } => true,
            State::Ready(hand) => hand.leases.front().is_none_or(is_alone),
            State::Waiting { .. } | State::Draining { .. } => false,
            State::Dying { .. } | State::Lost { .. } | State::Ended => false,
        };
        let mut others = self.roster.iter().filter(|it| it.worker.slot != slot && it.wanted && !it.stopped);
        self.ledger.suspects.are_some_alone() && others.any(|it| sees_to(&it.state))
    }

    fn lend(&mut self, slot: SlotId, count: usize, now: Now, order: &mut Vec<Lease>) {
        let timeout = self.task_timeout();
        let (beside, honest) = (self.bugs.has(Bug::LendBesideTheSuspect), self.bugs.has(Bug::NeverSteal));
        let is_seen_to = self.is_seen_to(slot);
        let Some(hand) = self.roster.slot(slot).state.hand_mut() else { return };
        let is_alone = |task: TaskId| self.ledger.suspects.is_alone(task) && !beside;
        for _ in 0..count {
            let is_apart = hand.leases.front().is_some_and(|it| is_alone(it.task));
            if is_apart {
                break;
            }
            if self.backlog.peek(slot).is_some_and(is_alone) && !hand.leases.is_empty() {
                let passed_by = if is_seen_to { self.backlog.take_beside(is_alone) } else { None };
                let Some(lease) = passed_by else { break };
                hand.lend(lease, now, timeout);
                order.push(lease);
                continue;
            }
            if honest && self.backlog.is_theft(slot) {
                break;
            }
            let Some(lease) = self.backlog.take(slot) else { break };
            hand.lend(lease, now, timeout);
            order.push(lease);
        }
    }

    /// Who has got the last task of its life is told so at once: the STOP arrives when the task is done.
    fn wish_run(&mut self, slot: SlotId, leases: Vec<Lease>, now: Now, effects: &mut Vec<Effect>) {
        if leases.is_empty() {
            return;
        }
        effects.push(Effect::Run { worker: self.roster.slot(slot).worker, leases });
        let is_spent = |hand: &Hand| hand.left() == 0;
        if self.roster.slot(slot).state.hand().is_some_and(is_spent) {
            self.recycle(slot, Recycle::Tasks, now, effects);
        }
    }

    /// Attempts ended while their worker lived, or before its death reached us: each counts if there is a
    /// lease for it, and only once, because that ends the lease. An end without a lease cannot come from a
    /// worker in its right mind, so neither it nor what follows it counts, and the worker is shot.
    pub(crate) fn ended(&mut self, worker: WorkerId, ended: Vec<Ended>, now: Now, effects: &mut Vec<Effect>) {
        let Some(holder) = self.holder(worker) else {
            self.ledger.echoes += ended.len() as u64;
            return self.distrust(worker, now, effects);
        };
        let (all, retried, before) = (ended.len(), self.ledger.retried, self.task_timeout());
        let apart = self.ledger.suspects.are_some_alone();
        let out = self.bug(Bug::HearTheLiarOut);
        let settled = ended.into_iter().map(|end| self.settle(holder, worker, end, effects));
        let sane = if out { settled.flatten().count() } else { settled.map_while(|it| it).count() };
        if sane < all {
            self.ledger.echoes += (all - sane) as u64;
            self.distrust(worker, now, effects);
        }
        let progress = sane > 0;
        self.refresh_deadlines(before, now);
        let timeout = self.task_timeout();
        let term_at = now + self.policy.grace;
        let slot = self.roster.slot(holder);
        if progress {
            slot.restarts.forgive();
        }
        if let Some(hand) = slot.state.hand_mut() {
            hand.heard(progress, now, timeout);
        }
        slot.hurry_idle(term_at);
        self.halt(now, effects);
        if self.ledger.retried > retried || apart {
            self.lend_all(now, effects);
        } else {
            self.lend_to(holder, now, effects);
        }
    }

    /// The slot whose hand this worker's words are about.
    fn holder(&mut self, worker: WorkerId) -> Option<SlotId> {
        let any = self.bugs.has(Bug::AcceptTheDead);
        let deaf = self.bugs.has(Bug::IgnoreTheDying);
        let slot = if any { Some(self.roster.slot(worker.slot)) } else { self.roster.current(worker) }?;
        match slot.state {
            State::Dying { .. } if deaf => None,
            // It has said what no worker says: nothing that it says is believed any more.
            State::Dying { cause: Cause::Garbled, .. } => None,
            State::Ready(_) | State::Draining { .. } | State::Dying { .. } => Some(worker.slot),
            // No lease was taken before its hello, and none outlives its body, or that it was given up.
            State::Waiting { .. } | State::Starting { .. } | State::Lost { .. } | State::Ended => None,
        }
    }

    /// Settles a task or tries it again, if there is a lease for it.
    fn settle(
        &mut self,
        holder: SlotId,
        worker: WorkerId,
        end: Ended,
        effects: &mut Vec<Effect>,
    ) -> Option<()> {
        let Ended { task, attempt, elapsed_ns, ending } = end;
        let gate = (!self.bug(Bug::AcceptAnyAttempt)).then_some(attempt);
        let (keep, believes) = (self.bug(Bug::KeepTheLease), self.bug(Bug::BelieveTheCancelled));
        let hand = self.roster.slot(holder).state.hand_mut().expect("a holder has a hand");
        let late = |hand: &mut Hand| if believes { hand.forget(task, gate) } else { None };
        let Some(lease) = hand.release(task, gate).or_else(|| late(hand)) else {
            // Cancelled, and that was the final word.
            hand.forget(task, gate)?;
            hand.ended += 1;
            return Some(());
        };
        if keep {
            hand.leases.push_front(lease);
        }
        hand.ended += 1;
        self.pace.observe(elapsed_ns);
        self.measure(elapsed_ns);
        let retries = self.policy.retries + u32::from(self.bug(Bug::RetryTooOften));
        let again = self.ledger.may_fail(task, retries).then(|| ending.mishap()).flatten();
        if let Some(end) = again {
            self.retry(lease, worker, end, effects);
            return Some(());
        }
        self.roster.slot(holder).state.hand_mut().expect("a holder has a hand").settled += 1;
        let story = self.ledger.settle(task, &ending);
        self.backlog.done(holder, task);
        self.forgive(&story);
        effects.push(Effect::Settle { task, attempt, worker, outcome: ending.into() });
        Some(())
    }

    /// Where the deadline follows the median, this is what it follows.
    fn measure(&mut self, elapsed_ns: u64) {
        match self.policy.task_timeout {
            Some(Timeout::OfMedian(_)) => self.lengths.observe(elapsed_ns),
            Some(Timeout::After(_)) | None => {}
        }
    }

    /// The task says that it cannot be done, and may say so once more.
    fn retry(&mut self, lease: Lease, worker: WorkerId, end: Mishap, effects: &mut Vec<Effect>) {
        let Lease { task, attempt } = lease;
        let next =
            Lease { task, attempt: if self.bug(Bug::RetryTheSame) { attempt } else { attempt.next() } };
        let spent = FailedAttempt { attempt, worker, end };
        self.ledger.fail(task, spent.clone());
        effects.push(Effect::Spend { task, attempt: spent });
        self.tell_requeued(worker, &[next], Why::Failed, effects);
        self.backlog.give_back(worker.slot, &[next]);
    }

    /// It spoke of a lease that it does not hold: no worker does so in its right mind.
    fn distrust(&mut self, worker: WorkerId, now: Now, effects: &mut Vec<Effect>) {
        let give_up_at = self.give_up_at(now);
        let bears = self.bug(Bug::BearTheLiar);
        let Some(slot) = self.roster.current(worker).filter(|_| !bears) else { return };
        match slot.state {
            State::Ready(_) | State::Draining { .. } => {
                effects.extend(slot.shoot(Cause::Garbled, give_up_at))
            }
            // That was to be a hello. The next one may do better, and if none does, births are counted.
            State::Starting { .. } => {
                let reason = "spoke of tasks before it said hello".to_owned();
                effects.push(Effect::Tell(Note::NotBorn { worker, reason }));
                effects.extend(slot.shoot(Cause::Birth, give_up_at));
            }
            // Already shot.
            State::Dying { .. } | State::Lost { .. } => {}
            // Gone is the last event of a worker.
            State::Waiting { .. } | State::Ended => {}
        }
    }

    /// Leases that the worker never saw go back, in order and unblamed.
    pub(crate) fn unsent(&mut self, worker: WorkerId, tasks: &[TaskId], now: Now, effects: &mut Vec<Effect>) {
        let (forget, silent) = (self.bug(Bug::ForgetUnsent), self.bug(Bug::WaitForTheSilent));
        let timeout = self.task_timeout();
        let Some(slot) = self.roster.current(worker) else { return };
        let dying = matches!(slot.state, State::Dying { .. });
        // Without a hand it was lent nothing.
        let Some(hand) = slot.state.hand_mut() else { return };
        if forget {
            return;
        }
        let first = hand.leases.front().copied();
        let mut take = |&task: &TaskId| {
            hand.forget(task, None);
            hand.release(task, None)
        };
        let back: Vec<Lease> = tasks.iter().filter_map(&mut take).collect();
        if hand.leases.front().copied() != first {
            // It cannot be held to what it never saw.
            hand.watch_from(now, timeout);
        }
        if silent {
            hand.flow = Flow::Full
        } else {
            hand.refuse(now)
        };
        slot.hurry_idle(now + self.policy.grace);
        self.backlog.give_back(worker.slot, &back);
        if dying {
            self.tell_requeued(worker, &back, Why::Unblamed, effects);
        }
        self.lend_all(now, effects);
    }

    /// For people: these came back.
    pub(crate) fn tell_requeued(
        &mut self,
        worker: WorkerId,
        back: &[Lease],
        why: Why,
        effects: &mut Vec<Effect>,
    ) {
        self.ledger.requeued += back.len() as u64;
        let (blamed, failed) = (why != Why::Unblamed, why == Why::Failed);
        if blamed {
            self.ledger.retried += back.len() as u64;
        }
        let note =
            |&Lease { task, attempt }: &Lease| Note::Requeued { task, attempt, blamed, failed, worker };
        effects.extend(back.iter().map(note).map(Effect::Tell));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const LOOKAHEAD: Lookahead =
        Lookahead { time: Duration::from_millis(2), tasks: 100, back_after: Duration::from_millis(10) };

    #[test]
    fn nothing_is_lent_ahead_while_the_length_of_a_task_is_unknown() {
        assert_eq!([1, 3].map(|threads| Pace::default().window(LOOKAHEAD, threads)), [1, 3]);
    }

    #[test]
    fn short_tasks_are_lent_ahead_up_to_the_limit_and_long_ones_not_at_all() {
        for (elapsed_ns, window) in [(1_000, 101), (100_000, 21), (1_999_999, 2), (2_000_001, 1), (0, 101)] {
            let mut pace = Pace::default();
            pace.observe(elapsed_ns);
            assert_eq!(pace.window(LOOKAHEAD, 1), window, "{elapsed_ns} ns");
        }
    }

    #[test]
    fn one_long_task_closes_the_window_at_once_and_short_ones_open_it_again() {
        let mut pace = Pace::default();
        pace.observe(1_000);
        pace.observe(100_000_000);
        assert_eq!(pace.window(LOOKAHEAD, 1), 1);
        (0..100).for_each(|_| pace.observe(1_000));
        assert!(pace.window(LOOKAHEAD, 1) > 90);
    }
}
