//! Births, deaths and what follows from them.

use crate::bugs::Bug;
use crate::core::Core;
use crate::dispatch::Why;
use crate::hand::Hand;
use crate::restart::Sentence;
use crate::roster::{Cause, Patience, Slot, State};
use crate::{Effect, GiveUp, Lease, Note, Now};
use brigade_wire::{Exit, FailedAttempt, Mishap, Outcome, SlotId, TaskId, WorkerId};

/// Who dies idle within this part of the first wait after its hello (10 ms by default) cannot live here. A person who
/// kills workers is slower than that, and is to see each replaced at once.
const NEWBORN_PART: u32 = 10;

/// What a worker was running when it died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) task: TaskId,
    /// It can be split in two.
    pub(crate) divisible: bool,
}

/// A dead worker, and what its state says about its death.
pub(crate) struct Body {
    pub(crate) worker: WorkerId,
    pub(crate) exit: Exit,
    pub(crate) hand: Hand,
    /// Whom to blame: one, or all that were late together.
    pub(crate) culprits: Vec<Ran>,
    /// What for.
    pub(crate) end: Mishap,
    /// What ran side by side when it died of its own: nobody knows which it was.
    suspects: Vec<TaskId>,
    /// It had said what no worker says.
    is_mad: bool,
    /// It was meant to die.
    pub(crate) planned: bool,
    /// The death counts for the restart intensity, unless a task explains it.
    pub(crate) counts: bool,
    /// It was given up on by a drain.
    pub(crate) abandoned: bool,
    /// It had said hello.
    was_ready: bool,
    /// It died of its own, with nothing in hand and nothing done.
    was_idle: bool,
}

impl Core {
    /// Wishes for a worker in every empty slot, if workers are wanted.
    pub(crate) fn fill(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if !self.wants_workers() {
            return;
        }
        let give_up_at = now + self.policy.birth_timeout;
        let births = self.roster.next_birth()..;
        for (slot, birth) in self.roster.iter_mut().filter(|slot| slot.is_ended() && slot.wanted).zip(births)
        {
            effects.push(slot.spawn(birth, give_up_at));
        }
    }

    /// It spoke our language.
    pub(crate) fn hello(&mut self, worker: WorkerId, now: Now, effects: &mut Vec<Effect>) {
        let Some(slot) = self.roster.current(worker) else { return };
        match slot.state {
            State::Starting { give_up_at } => {
                let tenure = self.tenure(give_up_at, now);
                self.roster.slot(worker.slot).state = State::Ready(Hand::new(now, tenure));
                effects.push(Effect::Tell(Note::Ready(worker)));
                self.lend_to(worker.slot, now, effects);
            }
            // It spoke after we shot it: wait for the body.
            State::Dying { .. } => {}
            // It said so before.
            State::Ready(_) | State::Draining { .. } => {}
            // Its body was found before: Gone is the last event of a worker; or it was given up.
            State::Waiting { .. } | State::Lost { .. } | State::Ended => {}
        }
    }

    /// It said something that no worker of this build says.
    pub(crate) fn garbled(&mut self, worker: WorkerId, reason: String, now: Now, effects: &mut Vec<Effect>) {
        let give_up_at = self.give_up_at(now);
        let Some(slot) = self.roster.current(worker) else { return };
        match slot.state {
            // The next one would say the same.
            State::Starting { .. } => self.give_up(GiveUp::Refused { worker, reason }, now, effects),
            State::Ready(_) | State::Draining { .. } => {
                effects.extend(slot.shoot(Cause::Garbled, give_up_at))
            }
            // Already shot.
            State::Dying { .. } | State::Lost { .. } => {}
            // Gone is the last event of a worker.
            State::Waiting { .. } | State::Ended => {}
        }
    }

    /// There is no process, and there will be none.
    pub(crate) fn unborn(&mut self, worker: WorkerId, reason: String, now: Now, effects: &mut Vec<Effect>) {
        let Some(slot) = self.roster.current(worker) else { return };
        match slot.take() {
            State::Starting { .. } => {
                effects.push(Effect::Tell(Note::NotBorn { worker, reason }));
                if !self.bug(Bug::NoRespawnAfterUnborn) {
                    self.replace_counted(worker.slot, None, false, now, effects);
                }
            }
            // It had its time before; that was told then.
            State::Dying { cause: Cause::Birth, .. } => {
                self.replace_counted(worker.slot, None, false, now, effects);
            }
            // Shot before it was born, because the run was ending; another may be wanted by now.
            State::Dying { cause: Cause::RunEnds, .. } => self.replace(worker.slot, now, false, now, effects),
            // It was born, or nobody wished for it: the driver contradicts itself.
            odd @ (State::Ready(_)
            | State::Draining { .. }
            | State::Dying { .. }
            | State::Lost { .. }
            | State::Waiting { .. }
            | State::Ended) => slot.state = odd,
        }
        self.open_slots(now, effects);
        self.lend_all(now, effects);
    }

    /// It is dead, and has said its last.
    pub(crate) fn gone(
        &mut self,
        worker: WorkerId,
        exit: Exit,
        (running, divisible): (&[TaskId], &[TaskId]),
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        if self.found(worker, exit, now, effects) {
            return;
        }
        let Some(slot) = self.roster.current(worker) else { return };
        let ran = |task: &TaskId| Ran { task: *task, divisible: divisible.contains(task) };
        let ran: Vec<Ran> = running.iter().map(ran).collect();
        let Some(mut body) = Body::find(slot, exit, &ran) else { return };
        if body.is_mad {
            body.culprits = body.only_lease(divisible).into_iter().collect();
        }
        self.excuse(&mut body);
        let held: Vec<_> = running.iter().copied().filter(|&task| body.hand.holds(task)).collect();
        let (planned, settled) = (body.planned, body.hand.settled);
        // What it had not begun is no more given up than what nobody had in hand.
        self.ledger.abandoned += if body.abandoned { held.len() as u64 } else { 0 };
        effects.push(Effect::Tell(Note::Exited { worker, exit, planned, settled, held }));
        let explained = self.take_back(&body, effects);
        self.halt(now, effects);
        self.succeed(&body, explained, now, effects);
        self.open_slots(now, effects);
        self.lend_all(now, effects);
    }

    /// Of several threads one may have left the memory behind that is too much now: the task that is there is only blamed
    /// if nothing ran beside it, from the first.
    fn excuse(&self, body: &mut Body) {
        let beside = |ran: &Ran| !self.ledger.suspects.is_alone(ran.task);
        let of_others = self.policy.threads > 1 && body.end == Mishap::OutOfMemory;
        if of_others && !self.bug(Bug::BlameTheLastForMemory) {
            body.suspects.extend(body.culprits.extract_if(.., |ran| beside(ran)).map(|ran| ran.task));
        }
    }

    /// Takes the leases from the dead: the culprits are blamed, the others go back as they were. Returns
    /// whether the blamed explain the death.
    pub(crate) fn take_back(&mut self, body: &Body, effects: &mut Vec<Effect>) -> bool {
        let worker = body.worker;
        let (everyone, all_lanes) = (self.bug(Bug::BlameEveryone), self.bug(Bug::BlameAllLanes));
        let (blamed, mut others): (Vec<Lease>, Vec<Lease>) = body.hand.leases.iter().partition(|lease| {
            let is_suspect = all_lanes && body.suspects.contains(&lease.task);
            body.culprit(lease.task).is_some() || everyone || is_suspect
        });
        if body.is_mad && body.culprits.is_empty() {
            self.ledger.suspects.isolate(others.iter().map(|lease| lease.task));
        }
        self.suspect(body);
        // It was not for the worker that these ran for so long, and each of them is an attempt nearer to its end.
        let mut explained = self.policy.threads > 1 && body.end == Mishap::TimedOut && !blamed.is_empty();
        let parts = blamed.iter().any(|lease| self.ledger.suspects.is_part(lease.task));
        explained |= parts && self.ledger.suspects.accuse();
        let mut back = Vec::new();
        for lease in blamed {
            let (next, explains) = self.blame(lease, body, effects);
            back.extend(next);
            explained |= explains;
        }
        if self.bug(Bug::LoseTheBlamed) {
            back.clear();
        }
        if self.bug(Bug::LoseTheUnblamed) {
            others.clear();
        }
        self.tell_requeued(worker, &back, Why::Died, effects);
        self.tell_requeued(worker, &others, Why::Unblamed, effects);
        back.append(&mut others);
        self.backlog.give_back(worker.slot, &back);
        explained
    }

    /// What ran side by side is tried again alone, and so is what has killed alone, lest it take others along.
    fn suspect(&mut self, body: &Body) {
        if self.policy.threads == 1 || self.bug(Bug::IsolateNothing) {
            return;
        }
        let culprits = body.culprits.iter().filter(|_| body.end != Mishap::TimedOut).map(|ran| ran.task);
        self.ledger.suspects.isolate(body.suspects.iter().copied().chain(culprits));
    }

    /// One attempt is spent. Returns the next one, unless this was the last, and whether the task explains the
    /// death: it is known by now that workers die of it, rather than of where they live.
    fn blame(&mut self, lease: Lease, body: &Body, effects: &mut Vec<Effect>) -> (Option<Lease>, bool) {
        let Lease { task, attempt } = lease;
        let worker = body.worker;
        let end = body.end.clone();
        let divisible = body.culprit(task).is_some_and(|ran| ran.divisible);
        let is_part = self.ledger.suspects.is_part(task);
        let next = if self.bug(Bug::ForgetTheAttempt) { attempt } else { attempt.next() };
        let next = Some(Lease { task, attempt: next });
        let spent = FailedAttempt { attempt, worker, end: end.clone() };
        let max = self.deaths_max(task, is_part && divisible);
        let Some(attempts) = self.ledger.blame(task, spent.clone(), max) else {
            effects.push(Effect::Spend { task, attempt: spent });
            return (next, false);
        };
        if !is_part {
            self.forgive(&attempts);
        }
        self.backlog.done(worker.slot, task);
        if divisible && !self.bug(Bug::NeverSplit) {
            let parts = self.backlog.split(worker.slot);
            self.ledger.split(task, parts);
            let is_known = self.policy.threads == 1 || end == Mishap::TimedOut;
            let alone = [parts, TaskId(parts.0 + 1)].into_iter().filter(|_| !is_known);
            self.ledger.suspects.isolate(alone);
            effects.push(Effect::Split { task, attempts, parts });
            return (next.filter(|_| self.bug(Bug::RequeueTheSplit)), !is_part);
        }
        self.ledger.quarantine(task);
        effects.push(Effect::Settle { task, attempt, worker, outcome: Outcome::Quarantined { attempts } });
        (next.filter(|_| self.bug(Bug::RequeueTheQuarantined)), !is_part)
    }

    /// Workers that may die of a task. That a part of what was split kills is expected: it is split at once, as long as
    /// there is something to split.
    fn deaths_max(&self, task: TaskId, is_part_of_many: bool) -> u32 {
        if is_part_of_many && !self.bug(Bug::SplitLate) {
            return 1;
        }
        let max = match self.policy.attempts_max {
            max if self.bug(Bug::QuarantineEarly) => max - 1,
            max if self.bug(Bug::QuarantineLate) => max + 1,
            max => max,
        };
        match self.bug(Bug::QuarantineTheFailed) {
            true => max.saturating_sub(self.ledger.failures(task)),
            false => max,
        }
    }

    /// A task that has its final word is no longer held against the slots whose workers died of it: a few
    /// poisonous tasks in a row must not look like a crash loop.
    pub(crate) fn forgive(&mut self, story: &[FailedAttempt]) {
        for failed in story {
            // Who died under an earlier supervisor may have had a slot that is not there any more.
            if let Some(slot) = self.roster.find(failed.worker.slot) {
                slot.restarts.forgive();
            }
        }
    }

    /// Sees to the slot of the dead.
    fn succeed(&mut self, body: &Body, explained: bool, now: Now, effects: &mut Vec<Effect>) {
        let Body { worker, exit, planned, was_ready, .. } = *body;
        if !self.wants(worker.slot) || self.bug(Bug::NoRespawnAfterDeath) {
            return;
        }
        if exit == Exit::CANNOT_RUN && !planned && body.culprits.is_empty() && body.suspects.is_empty() {
            return self.give_up(GiveUp::CannotRun(worker), now, effects);
        }
        let restarts = &mut self.roster.slot(worker.slot).restarts;
        if was_ready && now.since(body.hand.ready_at) >= self.policy.backoff.reset {
            restarts.forgive();
        }
        if exit == Exit::TRY_AGAIN && !planned {
            restarts.hurry_not();
        } else if !body.counts || explained {
            let until = self.may_fill_at(body, now);
            return self.replace(worker.slot, until, !planned, now, effects);
        }
        self.replace_counted(worker.slot, Some(exit), true, now, effects);
    }

    /// At once; but a worker that cannot live, in a run that has nothing to lend it, must not be born again and
    /// again as fast as the machine can. Nothing of that counts: it costs nobody anything.
    fn may_fill_at(&self, body: &Body, now: Now) -> Now {
        let (first, slot) = (self.policy.backoff.first, body.worker.slot);
        let newborn = body.was_idle && now.since(body.hand.ready_at) < first / NEWBORN_PART;
        let hot = newborn && self.backlog.len_for(slot) == 0 && !self.bug(Bug::ForkHot);
        if hot { now + first } else { now }
    }

    /// Fills the slot after a death that counts, unless it was one too many.
    pub(crate) fn replace_counted(
        &mut self,
        slot: SlotId,
        exit: Option<Exit>,
        restart: bool,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        if !self.wants(slot) {
            return;
        }
        let (intensity, backoff) = (self.policy.intensity, self.policy.backoff);
        match self.roster.slot(slot).restarts.count(now, intensity, backoff, &mut self.dice) {
            Sentence::Wait(wait) => self.replace(slot, now + wait, restart, now, effects),
            Sentence::TooMany(deaths) => self.give_up(GiveUp::Intensity { slot, deaths, exit }, now, effects),
        }
    }

    /// Fills the slot now, or lets it wait: another event can overtake it there.
    pub(crate) fn replace(
        &mut self,
        slot: SlotId,
        until: Now,
        restart: bool,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        if !self.wants(slot) {
            return;
        }
        self.roster.slot(slot).state = State::Waiting { until, restart };
        if until <= now {
            self.fill_slot(slot, restart, now, effects);
        } else {
            effects.push(Effect::Tell(Note::BackingOff { slot, until }));
        }
    }

    /// The wait of a slot is over.
    pub(crate) fn fill_slot(&mut self, slot: SlotId, restart: bool, now: Now, effects: &mut Vec<Effect>) {
        self.ledger.restarts += u64::from(restart);
        let birth = self.roster.next_birth();
        effects.push(self.roster.slot(slot).spawn(birth, now + self.policy.birth_timeout));
    }
}

impl Body {
    /// Takes the body out of its slot, if there is one.
    pub(crate) fn find(slot: &mut Slot, exit: Exit, ran: &[Ran]) -> Option<Body> {
        if !slot.has_process() {
            return None;
        }
        slot.stopped = false;
        let state = slot.take();
        let (culprits, end, suspects) = state.culprits(exit, ran);
        let recycled = recycles(&state, exit, !culprits.is_empty() || !suspects.is_empty());
        let mut body = Body {
            worker: slot.worker,
            exit,
            planned: state.was_to_die() || recycled,
            is_mad: matches!(state, State::Dying { cause: Cause::Garbled, .. }),
            culprits,
            end,
            suspects,
            counts: state.death_counts() && !recycled,
            abandoned: state.was_abandoned(),
            was_ready: state.was_ready(),
            was_idle: state.was_idle(),
            hand: Hand::default(),
        };
        body.hand = state.into_hand();
        Some(body)
    }

    /// The one to blame if it lost its mind. Of several tasks nobody knows which it was; each is lent alone from now on.
    fn only_lease(&self, divisible: &[TaskId]) -> Option<Ran> {
        let is_only = self.hand.leases.len() == 1 && !self.hand.is_revoked();
        let lease = self.hand.leases.front().filter(|_| is_only)?;
        Some(Ran { task: lease.task, divisible: divisible.contains(&lease.task) })
    }

    fn culprit(&self, task: TaskId) -> Option<&Ran> {
        self.culprits.iter().find(|ran| ran.task == task)
    }
}

/// It asked to be replaced, with nothing to hide: a task that makes its worker say so is to blame, and a
/// worker that does so with tasks in hand and none settled is a crash loop in disguise, unless it was told to.
fn recycles(state: &State, exit: Exit, culprit: bool) -> bool {
    match state {
        State::Ready(_) => exit == Exit::RECYCLE && !culprit && !state.death_counts(),
        State::Waiting { .. } | State::Starting { .. } | State::Lost { .. } | State::Ended => false,
        State::Draining { hand, .. } => exit == Exit::RECYCLE && !culprit && hand.recalled,
        State::Dying { .. } => false,
    }
}

impl State {
    /// Whom this death is to be held against, and as what: the task that was running, unless we had our own reasons. Of
    /// several nobody knows which it was: they are all suspected, and none is blamed.
    fn culprits(&self, exit: Exit, ran: &[Ran]) -> (Vec<Ran>, Mishap, Vec<TaskId>) {
        let crashed = Mishap::Crashed(exit);
        let Some(hand) = self.hand() else { return (Vec::new(), crashed, Vec::new()) };
        let end = match self {
            State::Ready(_) => crashed,
            State::Draining { patience: Patience::TermAt(_) | Patience::Unhurried, .. } => crashed,
            State::Draining { patience: Patience::KillAt(_), .. } => {
                return (Vec::new(), crashed, Vec::new());
            }
            State::Dying { cause, .. } => match cause {
                // Whatever the worker ran beside the tasks that we shot it for, or after them, we killed it, not that.
                Cause::TimedOut(late) => {
                    let late = late.iter().copied().filter(|late| hand.holds(late.task)).collect();
                    return (late, Mishap::TimedOut, Vec::new());
                }
                Cause::Memory => Mishap::OutOfMemory,
                // Its page is of a later moment.
                Cause::Garbled => return (Vec::new(), crashed, Vec::new()),
                Cause::Birth | Cause::Stuck | Cause::Grace | Cause::RunEnds | Cause::Cancelled => {
                    return (Vec::new(), crashed, Vec::new());
                }
            },
            State::Waiting { .. } | State::Starting { .. } | State::Lost { .. } | State::Ended => {
                return (Vec::new(), crashed, Vec::new());
            }
        };
        let held = ran.iter().copied().filter(|ran| hand.holds(ran.task));
        match ran {
            [_] => (held.collect(), end, Vec::new()),
            _ => (Vec::new(), end, held.map(|ran| ran.task).collect()),
        }
    }

    /// It drained, or was ended at the end of the run.
    fn was_to_die(&self) -> bool {
        match self {
            State::Draining { patience: Patience::TermAt(_) | Patience::Unhurried, hand } => {
                hand.leases.is_empty()
            }
            State::Draining { patience: Patience::KillAt(_), .. } => true,
            State::Dying { cause, .. } => matches!(cause, Cause::Grace | Cause::RunEnds | Cause::Cancelled),
            State::Waiting { .. } | State::Starting { .. } | State::Ready(_) => false,
            State::Lost { .. } | State::Ended => false,
        }
    }

    /// Before ready, or with work in hand and no attempt ended since birth. What befalls the idle, or after
    /// progress, or at the end of the run, is neutral.
    fn death_counts(&self) -> bool {
        // What was cancelled may be what it died of.
        let fruitless = |hand: &Hand| hand.ended == 0 && !hand.leases.is_empty() && !hand.is_revoked();
        match self {
            State::Starting { .. } => true,
            // The end of the run is no time to count, but a worker that is only recycled must have done something.
            State::Ready(hand) | State::Draining { hand, patience: Patience::Unhurried } => fruitless(hand),
            State::Dying { hand, cause, .. } => match cause {
                Cause::Birth => true,
                Cause::Garbled => hand.ended == 0,
                Cause::TimedOut(_) | Cause::Stuck | Cause::Memory => fruitless(hand),
                Cause::Grace | Cause::RunEnds | Cause::Cancelled => false,
            },
            State::Waiting { .. } | State::Draining { .. } | State::Lost { .. } | State::Ended => false,
        }
    }

    /// We told it twice, or shot it for not listening.
    fn was_abandoned(&self) -> bool {
        match self {
            State::Draining { patience, .. } => matches!(patience, Patience::KillAt(_)),
            State::Dying { cause, .. } => *cause == Cause::Grace,
            State::Waiting { .. } | State::Starting { .. } | State::Ready(_) => false,
            State::Lost { .. } | State::Ended => false,
        }
    }

    /// It had done nothing yet, and there was nothing for it to do.
    fn was_idle(&self) -> bool {
        match self {
            State::Ready(hand) => hand.leases.is_empty() && hand.ended == 0,
            State::Draining { .. } | State::Dying { .. } => false,
            State::Waiting { .. } | State::Starting { .. } | State::Lost { .. } | State::Ended => false,
        }
    }

    fn was_ready(&self) -> bool {
        match self {
            State::Ready(_) | State::Draining { .. } => true,
            State::Dying { cause, .. } => !matches!(cause, Cause::Birth | Cause::RunEnds),
            State::Waiting { .. } | State::Starting { .. } | State::Lost { .. } | State::Ended => false,
        }
    }

    fn into_hand(self) -> Hand {
        match self {
            State::Ready(hand) | State::Draining { hand, .. } | State::Dying { hand, .. } => hand,
            State::Waiting { .. } | State::Starting { .. } | State::Lost { .. } | State::Ended => {
                Hand::default()
            }
        }
    }
}
