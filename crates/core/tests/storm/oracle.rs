//! What the core may do: kept apart from the core, from what the world knows and the core does not.

use super::plan::{Before, Plan, ending};
use super::process::{Body, Process};
use brigade_core::{
    Core, Effect, GiveUp, Halt, HaltLimit, HaltOn, Lease, Note, Now, Policy, Recycle, Tally, Timeout,
    Unresized, Verdict,
};
use brigade_wire::{Attempt, Ended, Ending, Exit, FailedAttempt, Mishap, Outcome, SlotId, TaskId, WorkerId};
use std::collections::BTreeSet;
use std::time::Duration;

/// One task, as it must be.
#[derive(Clone, Debug)]
pub(super) struct Truth {
    pub(super) attempt: u32,
    /// Workers that died of it.
    deaths: u32,
    /// Attempts that failed and were tried again.
    failures: u32,
    pub(super) holder: Option<WorkerId>,
    pub(super) settled: bool,
    /// Nobody wants it any more.
    pub(super) cancelled: bool,
    /// Who held it then, and may still say how it ended.
    pub(super) late: Option<WorkerId>,
    items: u32,
    /// It came in the place of one that was split.
    is_part: bool,
    /// It is to be lent to somebody who has nothing else in hand.
    pub(super) is_alone: bool,
    /// Two others came in its place.
    is_split: bool,
    /// What of it an earlier supervisor saw.
    before: Before,
}

impl Truth {
    fn new(items: u32) -> Truth {
        Truth {
            attempt: 1,
            deaths: 0,
            failures: 0,
            holder: None,
            settled: false,
            cancelled: false,
            late: None,
            items,
            is_part: false,
            is_alone: false,
            is_split: false,
            before: Before::Nowhere,
        }
    }
}

/// What an earlier supervisor, with more slots than this one, saw of a task.
pub(crate) fn story(deaths: u32, failures: u32) -> Vec<FailedAttempt> {
    let worker = WorkerId { slot: SlotId(9), incarnation: 7 };
    let end = |at| if at < deaths { Mishap::TimedOut } else { Mishap::Failed("before".to_owned()) };
    let tried = |at| FailedAttempt { attempt: Attempt(at + 1), worker, end: end(at) };
    (0..deaths + failures).map(tried).collect()
}

pub(crate) struct Oracle {
    pub(super) policy: Policy,
    pub(super) tasks: Vec<Truth>,
    /// Of all tasks.
    items: u64,
    pub(super) tally: Tally,
    sum: u64,
    /// Ends of attempts that the core has heard.
    pub(crate) delivered: u64,
    /// How long those took that counted, in the order heard.
    lengths: Vec<u64>,
    /// Of these, failures that are tried again.
    tried_again: u64,
    /// Tasks that were to be recalled and are not of this run.
    strangers: u64,
    pub(crate) drained: bool,
    pub(crate) aborted: bool,
    /// Nothing more is submitted: nobody is held.
    pub(crate) closed: bool,
    gave_up: bool,
    /// The core says that it holds.
    pub(crate) holding: bool,
    /// Who is being shot for which tasks.
    timed_out: Vec<(WorkerId, TaskId)>,
    shot_for: Vec<(WorkerId, TaskId)>,
    /// Who is being told to stop because it has served its time.
    recycling: Option<WorkerId>,
    halted: bool,
    /// The last of those who are killed because the run gives up.
    given_up: u64,
    /// How many workers are wanted.
    procs: u32,
    /// What was asked for, and is to be answered in one note.
    asked: Option<u32>,
    /// So many may be taken away for that.
    to_go: u32,
    /// What is to be cancelled at once.
    pub(super) unwanted: BTreeSet<TaskId>,
    /// Ends of what was cancelled before.
    unheard: u64,
    /// Who is being shot for what was cancelled.
    revoked: Option<WorkerId>,
    /// Who leaves because it was recalled.
    pub(super) left: Option<WorkerId>,
    /// Whose page is told that was read after it was recalled.
    pub(crate) certain: Option<WorkerId>,
    /// The parts of what is split are to be alone: others may run beside what kills.
    is_unclear: bool,
    /// A slot and the moment before which nobody may be born there.
    hot: Vec<(SlotId, Now)>,
}

impl Oracle {
    pub(crate) fn new(plan: &Plan) -> Oracle {
        Oracle {
            policy: plan.policy.clone(),
            tasks: Vec::new(),
            items: 0,
            tally: Tally::default(),
            sum: 0,
            delivered: 0,
            lengths: Vec::new(),
            tried_again: 0,
            strangers: 0,
            drained: false,
            aborted: false,
            closed: false,
            gave_up: false,
            holding: false,
            timed_out: Vec::new(),
            shot_for: Vec::new(),
            recycling: None,
            halted: false,
            given_up: u64::MAX,
            procs: plan.policy.procs,
            asked: None,
            to_go: 0,
            unwanted: BTreeSet::new(),
            unheard: 0,
            revoked: None,
            left: None,
            certain: None,
            is_unclear: false,
            hot: Vec::new(),
        }
    }

    /// The number of the next task.
    pub(crate) fn next(&self) -> TaskId {
        TaskId(self.tasks.len() as u64)
    }

    /// Tasks of so many items each.
    pub(crate) fn submitted(&mut self, items: Vec<u32>) {
        self.tally.submitted += items.len() as u64;
        self.items += items.iter().map(|items| u64::from(*items)).sum::<u64>();
        self.tasks.extend(items.into_iter().map(Truth::new));
    }

    /// Two come in its place, with so many items each.
    pub(crate) fn split(&mut self, task: TaskId, first: TaskId, halves: [u32; 2]) {
        assert_eq!(first, self.next(), "a number that is not free");
        let truth = self.truth(task);
        assert!(truth.items > 1 && !truth.settled, "task {task} cannot be split");
        (truth.settled, truth.is_split) = (true, true);
        self.tally.submitted += 1;
        let is_alone = std::mem::take(&mut self.is_unclear);
        let part = |items| Truth { is_part: true, is_alone, ..Truth::new(items) };
        self.tasks.extend(halves.map(part));
    }

    /// Not by this core: it must neither do nor tell this again.
    pub(crate) fn recalled(&mut self, task: TaskId, before: Before) {
        let Some(truth) = self.tasks.get_mut(task.0 as usize) else {
            self.strangers += 1;
            return;
        };
        truth.before = before;
        truth.settled = match before {
            Before::Nowhere => false,
            Before::Tried { deaths, failures } => {
                (truth.attempt, truth.deaths, truth.failures) = (1 + deaths + failures, deaths, failures);
                false
            }
            Before::Value | Before::Failed | Before::Quarantined => true,
            Before::Split => unreachable!("its parts are recalled"),
        };
        self.tally.values += u64::from(before == Before::Value);
        self.tally.failed += u64::from(before == Before::Failed);
        self.tally.quarantined += u64::from(before == Before::Quarantined);
        self.tally.recalled += u64::from(truth.settled);
        self.tally.settled += u64::from(truth.settled);
    }

    fn truth(&mut self, task: TaskId) -> &mut Truth {
        &mut self.tasks[task.0 as usize]
    }

    /// How long a task may run by now.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        match self.policy.task_timeout? {
            Timeout::After(limit) => Some(limit),
            Timeout::OfMedian(percent) => {
                let mut last: Vec<u64> = self.lengths.iter().rev().take(101).copied().collect();
                last.sort_unstable();
                let median = *last.get(last.len() / 2).filter(|_| last.len() >= 5)?;
                Some(Duration::from_nanos(median * u64::from(percent) / 100).max(Duration::from_millis(10)))
            }
        }
    }

    pub(super) fn is_ending(&self) -> bool {
        self.drained || self.aborted || self.gave_up || self.halted
    }

    fn holds_workers(&self) -> bool {
        self.policy.hold && !self.closed
    }

    fn all_settled(&self) -> bool {
        self.tasks.iter().all(|truth| truth.settled)
    }

    /// Leases that never left.
    pub(crate) fn unsent(&mut self, worker: WorkerId, tasks: &[TaskId]) {
        for &task in tasks {
            let truth = self.truth(task);
            // What was taken back meanwhile may be another's.
            truth.holder = truth.holder.filter(|holder| *holder != worker);
            truth.late = truth.late.filter(|late| *late != worker);
        }
    }

    /// The holder of their leases has said how these ended: that has to count, even if it was shot before.
    pub(crate) fn heard(&self, leases: &[Lease]) {
        for Lease { task, attempt } in leases {
            let truth = &self.tasks[task.0 as usize];
            assert!(truth.settled || truth.attempt > attempt.0, "task {task} ended, and nobody took note");
        }
    }

    /// The core is about to hear from the holder how these ended: which of them are to be tried again?
    pub(crate) fn foresees(&mut self, ended: &[Ended]) {
        self.delivered += ended.len() as u64;
        for Ended { task, ending, elapsed_ns, .. } in ended {
            if self.truth(*task).late.take().is_some() {
                self.unheard += 1;
                continue;
            }
            self.lengths.push(*elapsed_ns);
            let retries = self.policy.retries;
            let truth = self.truth(*task);
            if !matches!(ending, Ending::Value(_)) && truth.failures < retries {
                (truth.failures, truth.attempt, truth.holder) = (truth.failures + 1, truth.attempt + 1, None);
                self.tried_again += 1;
            }
        }
    }

    /// Whoever has lied has said how these ended: that must not count.
    pub(crate) fn ignored(&self, worker: WorkerId, leases: impl IntoIterator<Item = Lease>) {
        for Lease { task, attempt } in leases {
            let believed = !self.has_lease(worker, task, attempt);
            assert!(!believed, "task {task}: {worker} lied before, and is believed");
        }
    }

    /// Whether it may say how this attempt ended.
    pub(crate) fn has_lease(&self, worker: WorkerId, task: TaskId, attempt: Attempt) -> bool {
        let truth = self.tasks.get(task.0 as usize);
        let is_its = |truth: &Truth| truth.holder == Some(worker) || truth.late == Some(worker);
        truth.is_some_and(|truth| is_its(truth) && truth.attempt == attempt.0)
    }

    /// The core believes that it has something in hand: what was refused is so until the core hears of it.
    pub(super) fn holds(&self, worker: WorkerId) -> bool {
        self.tasks.iter().any(|truth| truth.holder == Some(worker))
    }

    /// What the core believes that it has in hand.
    pub(super) fn held(&self, worker: WorkerId) -> Vec<&Truth> {
        self.tasks.iter().filter(|truth| truth.holder == Some(worker)).collect()
    }

    /// It holds more than it runs, and has a thread for that.
    fn is_idle_with_work(&self, process: &Process) -> bool {
        let is_held = |task: TaskId| self.tasks[task.0 as usize].holder == Some(process.worker);
        let runs = process.running.iter().filter(|run| is_held(run.lease.task)).count();
        let threads = if process.recalled { 1 } else { self.policy.threads as usize };
        runs < threads.min(self.held(process.worker).len())
    }

    /// It has nothing in hand any more, or the run ends: whoever is only recycled has all the time before that.
    pub(crate) fn lets_go(&self, worker: WorkerId) -> bool {
        self.is_ending() || !self.holds(worker)
    }

    /// The only task that ran is to blame, or those that its worker was shot for. Not yet if the core has already heard how
    /// it ended; and for memory not if it was lent beside others.
    pub(crate) fn died(&mut self, process: &Process) {
        let running: Vec<TaskId> = process.running.iter().map(|run| run.lease.task).collect();
        let ours = process.terminated || process.is_condemned();
        let by_itself = !ours || process.garbled || process.bloated == Some(true);
        match process.garbled {
            true => self.lost_its_mind(process.worker, true),
            false => {
                let several = self.policy.threads > 1 && by_itself;
                let of_others = |task: &TaskId| {
                    several && process.bloated == Some(true) && !self.tasks[task.0 as usize].is_alone
                };
                let only = running.first().copied().filter(|_| running.len() == 1);
                let only = only.filter(|task| !of_others(task));
                self.isolate(process.worker, running.iter().filter(|_| several));
                self.died_for(process.worker, only, !by_itself);
            }
        }
    }

    /// It is not known which of these it was, or it is, and that takes along what runs beside it.
    fn isolate<'a>(&mut self, worker: WorkerId, tasks: impl Iterator<Item = &'a TaskId>) {
        for task in tasks {
            let truth = self.truth(*task);
            truth.is_alone |= truth.holder == Some(worker);
        }
    }

    /// Of several tasks that it held nobody knows which it was; and while it may live, nobody is blamed.
    fn lost_its_mind(&mut self, worker: WorkerId, is_dead: bool) {
        let is_held = |at: &usize| self.tasks[*at].holder == Some(worker);
        let suspects: Vec<usize> = (0..self.tasks.len()).filter(is_held).collect();
        let is_sure = self.tasks.iter().all(|truth| truth.late != Some(worker));
        let only = (is_dead && is_sure && suspects.len() == 1).then(|| TaskId(suspects[0] as u64));
        if only.is_none() || self.policy.threads > 1 {
            suspects.into_iter().for_each(|at| self.tasks[at].is_alone = true);
        }
        self.died_for(worker, only, false);
    }

    fn died_for(&mut self, worker: WorkerId, running: Option<TaskId>, is_ours: bool) {
        let shot_for: Vec<TaskId> =
            self.shot_for.extract_if(.., |(shot, _)| *shot == worker).map(|(_, task)| task).collect();
        let culprits = if is_ours { shot_for } else { running.into_iter().collect() };
        for (at, truth) in self.tasks.iter_mut().enumerate() {
            truth.late = truth.late.filter(|late| *late != worker);
            if truth.holder == Some(worker) {
                truth.holder = None;
                let blamed = u32::from(culprits.contains(&TaskId(at as u64)));
                (truth.attempt, truth.deaths) = (truth.attempt + blamed, truth.deaths + blamed);
            }
        }
    }

    /// Who dies idle right after its hello, with nothing in the world for it to do, is not replaced at once.
    pub(crate) fn may_be_hot(&mut self, process: &Process, exit: Exit, now: Now) {
        self.hot.retain(|(slot, _)| *slot != process.worker.slot);
        let first = self.policy.backoff.first;
        let of_its_own = !process.stop && !process.is_condemned() && exit != Exit::TRY_AGAIN;
        let idle = process.hello && process.lent == 0 && now < process.hello_at + first / 10;
        let nothing = self.tasks.iter().all(|truth| truth.settled || truth.holder.is_some());
        if of_its_own && idle && nothing && !self.holds(process.worker) {
            self.hot.push((process.worker.slot, now + first));
        }
    }

    /// Somebody wants so many workers.
    pub(crate) fn asks_for(&mut self, wanted: u32) {
        self.asked = (wanted != self.procs || self.is_ending()).then_some(wanted);
    }

    pub(crate) fn has_answered(&self, core: &Core) {
        assert_eq!(self.asked, None, "nobody was told");
        assert_eq!(core.procs(), self.procs, "another number of workers is wanted");
    }

    /// What was asked for can be, if nothing was said against it.
    fn judge_resize(&mut self, wanted: u32, why: Option<Unresized>) {
        assert_eq!(self.asked.take(), Some(wanted), "nobody asked for that");
        let most = self.policy.slots_max;
        let fault = match wanted {
            _ if self.is_ending() => Some(Unresized::Ending),
            0 => Some(Unresized::TooFew),
            wanted if wanted > most => Some(Unresized::TooMany { most }),
            _ => None,
        };
        assert_eq!(why, fault, "{wanted} workers are another matter");
        if why.is_none() {
            self.to_go = self.procs.saturating_sub(wanted);
            self.procs = wanted;
            // Somebody who takes slots away and opens them again wants workers at once.
            self.hot.clear();
        }
    }

    /// It was shot and did not die in time. Nobody is blamed, but the task that it was shot for.
    fn judge_loss(&mut self, process: &Process, now: Now) {
        let since = process.born_at.map(|at| at.max(process.shot_at));
        let late = since.is_some_and(|at| at + self.policy.kill_grace <= now);
        assert!(late && process.shot && !process.lost, "given up too early: {process:?}");
        match process.garbled {
            true => self.lost_its_mind(process.worker, false),
            false => self.died_for(process.worker, None, true),
        }
    }

    pub(crate) fn sleep(&mut self, by: Duration) {
        self.hot.iter_mut().for_each(|(_, at)| *at = *at + by);
    }

    /// Whether what this core has settled is enough for a halt.
    fn has_enough(&self) -> bool {
        let Some(Halt { on, limit, .. }) = self.policy.halt else { return false };
        let before = |which| self.tasks.iter().filter(|truth| truth.before == which).count() as u64;
        let values = self.tally.values - before(Before::Value);
        let failed = self.tally.failed + self.tally.quarantined;
        let failed = failed - before(Before::Failed) - before(Before::Quarantined);
        let count = match on {
            HaltOn::Fail => failed,
            HaltOn::Success => values,
            HaltOn::Done => failed + values,
        };
        match limit {
            HaltLimit::Count(limit) => count >= limit,
            HaltLimit::Percent(percent) => {
                values + failed >= 3 && count > 0 && count * 100 >= self.tally.submitted * u64::from(percent)
            }
        }
    }

    /// May it wish this?
    pub(crate) fn judge(&mut self, effect: &Effect, processes: &[Process], now: Now) {
        let of = |worker: &WorkerId| &processes[worker.slot.0 as usize];
        match effect {
            Effect::Spawn(worker) => {
                let before = processes.get(worker.slot.0 as usize).map_or(Body::Nobody, |it| it.body);
                assert_eq!(before, Body::Nobody, "{worker} would be the second in its slot");
                let serving = processes.iter().filter(|process| process.serves()).count();
                assert!(serving < self.procs as usize, "{worker} is one more than is wanted");
                assert!(worker.slot.0 < self.policy.slots_max, "{worker} has no page");
                let needless = self.is_ending() || self.all_settled() && !self.holds_workers();
                assert!(!needless, "{worker} is born for nothing");
                let hot = self.hot.iter().position(|(slot, _)| *slot == worker.slot);
                let not_before = hot.map(|at| self.hot.swap_remove(at).1);
                assert!(not_before.is_none_or(|at| at <= now), "{worker} is born hot");
            }
            Effect::Run { worker, leases } => self.judge_run(*worker, of(worker), leases),
            Effect::Stop(worker) => {
                let done = self.all_settled() && !self.holds_workers();
                let recycled = self.recycling.take() == Some(*worker);
                assert!(self.is_ending() || done || recycled, "told to stop though work is left");
            }
            Effect::Terminate(worker) => {
                assert!(of(worker).stop, "{worker} was never asked");
                assert!(!of(worker).recycled || self.lets_go(*worker), "{worker} has time, and work in hand");
            }
            Effect::Abort { worker, task } => {
                let process = of(worker);
                assert!(!process.stopped && !self.policy.abort_grace.is_zero(), "{worker} cannot hear it");
                assert_eq!(self.timed_out.first(), Some(&(*worker, *task)), "its task has had its time");
                self.judge_late(process, now);
            }
            Effect::Kill(worker) => self.judge_kill(of(worker), now),
            Effect::Look(worker) => {
                assert!(self.holds(*worker) || self.is_late(*worker), "nothing to see at {worker}");
            }
            Effect::Recall(worker) => {
                let due = self.is_late(*worker) || self.is_uneven(*worker, processes, now);
                assert!(due, "{worker} is recalled for nothing");
            }
            Effect::Cancelled(tasks) => tasks.iter().for_each(|&task| self.judge_cancelled(task)),
            Effect::Settle { task, attempt, worker, outcome } => {
                self.judge_settle(*task, *attempt, *worker, outcome);
            }
            Effect::Split { task, attempts, .. } => self.judge_split(*task, attempts),
            Effect::Spend { task, .. } => {
                assert!(!self.tasks[task.0 as usize].settled, "task {task} has its final word")
            }
            Effect::Tell(note) => self.judge_note(note, processes, now),
        }
    }

    fn judge_run(&mut self, worker: WorkerId, process: &Process, leases: &[Lease]) {
        assert!(!self.is_ending(), "a task starts though the run ends");
        assert!(process.hello && !process.stop && !process.shot, "{worker} takes no tasks");
        let most = self.policy.tasks_per_worker_max.map_or(u64::MAX, |max| max + max / 10);
        assert!(process.lent + leases.len() as u64 <= most, "{worker} has had enough");
        for Lease { task, attempt } in leases {
            let truth = self.truth(*task);
            assert!(!truth.settled, "task {task} is settled, and lent");
            assert_eq!(truth.holder, None, "task {task} is lent to two");
            assert_eq!(truth.attempt, attempt.0, "task {task} is lent as the wrong attempt");
            truth.holder = Some(worker);
        }
        let held = self.held(worker);
        let is_apart = held.len() == 1 || held.iter().all(|truth| !truth.is_alone);
        assert!(is_apart, "{worker} has others beside a task that may have made somebody speak nonsense");
    }

    /// Nobody is shot without a reason that the world can confirm.
    fn judge_kill(&mut self, process: &Process, now: Now) {
        if self.gave_up && !self.aborted {
            assert!(process.birth < self.given_up, "{} is older, and goes first", process.worker);
            self.given_up = process.birth;
        }
        let late = |since: Now, timeout: Duration| since + timeout <= now;
        let unborn = !process.hello && late(process.wished_at, self.policy.birth_timeout);
        let at_once = process.stopped || self.policy.abort_grace.is_zero();
        let timed_out = at_once && self.timed_out.iter().any(|(worker, _)| *worker == process.worker);
        let deaf = process.aborted_at.is_some_and(|at| late(at, self.policy.abort_grace));
        let idle = self.is_idle_with_work(process);
        let out_of_time = process.running.is_empty()
            && self.timeout().is_some_and(|timeout| late(process.quiet_since, timeout));
        let stuck =
            idle && (out_of_time || !process.stopped && late(process.quiet_since, self.policy.stuck_after));
        let ends = self.is_ending() || self.all_settled();
        let outgrown = process.bloated == Some(true) || process.recycled && process.terminated;
        let revoked = self.revoked.take() == Some(process.worker);
        let reason = revoked || unborn || timed_out || deaf || stuck || ends || outgrown || process.garbled;
        if !reason {
            assert!(self.to_go > 0 && !process.hello, "shot for nothing: {process:?}");
            self.to_go -= 1;
        }
        self.judge_late(process, now);
    }

    /// It is to be shot for more than one.
    pub(crate) fn is_shot_beside(&self, worker: WorkerId) -> bool {
        self.timed_out.iter().filter(|(late, _)| *late == worker).count() > 1
    }

    /// Those that it is shot for are all that are late, and no other would be a moment later.
    fn judge_late(&mut self, process: &Process, now: Now) {
        let late = std::mem::take(&mut self.timed_out);
        if late.is_empty() {
            return;
        }
        let timeout = self.timeout().expect("tasks have a deadline");
        let is_held = |task: TaskId| self.tasks[task.0 as usize].holder == Some(process.worker);
        let held = process.running.iter().filter(|run| is_held(run.lease.task));
        let due: Vec<_> = held.map(|run| (run.lease.task, run.since + run.slept + timeout)).collect();
        let first = due.iter().map(|(_, at)| *at).min().expect("it runs what is late");
        for (task, at) in due {
            let blamed = late.contains(&(process.worker, task));
            assert_eq!(blamed, at <= now, "task {task} is due at {at:?}, and those are late: {late:?}");
            assert!(blamed || at > first + timeout / 10, "task {task} is late a moment later: {at:?}");
        }
        self.shot_for.extend(late);
    }

    /// So many workers have died of it, and nobody holds it.
    fn judge_last_death(&mut self, task: TaskId, attempts: &[FailedAttempt]) {
        let max = self.policy.attempts_max;
        let truth = self.truth(task);
        let numbers: Vec<u32> = attempts.iter().map(|failed| failed.attempt.0).collect();
        assert_eq!(numbers, (1..truth.attempt).collect::<Vec<u32>>(), "task {task} has another story");
        let deaths = attempts.iter().filter(|failed| failed.end.is_death()).count() as u32;
        let (carried, _) = truth.before.tried();
        let max = if truth.is_part && truth.items > 1 { 1 } else { max };
        let enough = max.max(carried + 1);
        assert_eq!((truth.deaths, deaths), (enough, enough), "task {task} has attempts left");
        assert_eq!(truth.holder, None, "its worker is dead");
        let last = attempts.last().expect("at least one attempt");
        assert_ne!(last.end, Mishap::Crashed(Exit::Unknown));
    }

    fn judge_split(&mut self, task: TaskId, attempts: &[FailedAttempt]) {
        assert!(!self.truth(task).settled, "task {task} has its final word, and is split");
        self.judge_last_death(task, attempts);
        let is_known = attempts.last().is_some_and(|last| last.end == Mishap::TimedOut);
        self.is_unclear = self.policy.threads > 1 && !is_known;
    }

    fn judge_settle(&mut self, task: TaskId, attempt: Attempt, worker: WorkerId, outcome: &Outcome) {
        let truth = &mut self.tasks[task.0 as usize];
        assert!(!truth.settled, "task {task} is settled twice");
        truth.settled = true;
        self.tally.settled += 1;
        if let Outcome::Quarantined { attempts } = outcome {
            assert_eq!(truth.items, 1, "task {task} is of many items, and not all of them are bad");
            assert_eq!(truth.attempt, attempt.0 + 1, "task {task} ends with another attempt");
            assert_eq!(attempts.last().map(|last| last.worker), Some(worker));
            self.judge_last_death(task, attempts);
            self.tally.quarantined += 1;
            return;
        }
        assert_eq!((truth.holder, truth.attempt), (Some(worker), attempt.0), "task {task}: no lease for it");
        truth.holder = None;
        self.judge_outcome(task, attempt, outcome);
    }

    fn judge_outcome(&mut self, task: TaskId, attempt: Attempt, outcome: &Outcome) {
        assert_eq!(*outcome, Outcome::from(ending(task, attempt)), "task {task} ends as another");
        match outcome {
            Outcome::Value(bytes) => {
                let bytes = bytes.as_slice().try_into().expect("a value has eight bytes");
                self.sum += u64::from_le_bytes(bytes);
                self.tally.values += 1;
            }
            Outcome::Failed(_) | Outcome::Panicked { .. } => {
                let (failures, (_, carried)) = (self.truth(task).failures, self.truth(task).before.tried());
                assert_eq!(failures, self.policy.retries.max(carried), "task {task} could be tried again");
                self.tally.failed += 1;
            }
            Outcome::Quarantined { .. } => unreachable!("quarantine is judged elsewhere"),
        }
    }

    fn judge_note(&mut self, note: &Note, processes: &[Process], now: Now) {
        match note {
            Note::Requeued { task, attempt, blamed, failed, worker } => {
                if !blamed && !failed {
                    self.judge_taken_back(*task, &processes[worker.slot.0 as usize]);
                }
                assert_eq!(
                    self.truth(*task).attempt,
                    attempt.0,
                    "task {task} comes back as the wrong attempt"
                );
                self.tally.requeued += 1;
                self.tally.retried += u64::from(*blamed);
            }
            Note::TimedOut { task, worker } => {
                let timeout = self.timeout().expect("tasks have a deadline");
                let process = &processes[worker.slot.0 as usize];
                let run = process.running.iter().find(|run| run.lease.task == *task).expect("it runs that");
                assert!(run.since + run.slept + timeout <= now, "task {task} has time left");
                self.timed_out.push((*worker, *task));
            }
            Note::Recycling { worker, why } => {
                let process = &processes[worker.slot.0 as usize];
                let due = match why {
                    Recycle::Tasks => {
                        self.policy.tasks_per_worker_max.is_some_and(|max| process.lent >= max - max / 10)
                    }
                    Recycle::Age => {
                        self.policy.age_max.is_some_and(|max| process.hello_at + max / 10 * 9 <= now)
                    }
                    Recycle::Memory => process.bloated == Some(false),
                    Recycle::Cancel => self.is_late(*worker),
                    Recycle::TakeBack => self.is_uneven(*worker, processes, now),
                    Recycle::Resize => {
                        let idler = |other: &&Process| {
                            other.serves() && other.hello && !other.recycled && !self.holds(other.worker)
                        };
                        let idle = !self.holds(*worker) || processes.iter().find(idler).is_none();
                        self.to_go = self.to_go.checked_sub(1).expect("somebody is to go");
                        idle
                    }
                };
                assert!(due && !process.stop, "{worker} is recycled for nothing: {why:?}");
                self.recycling = Some(*worker);
            }
            Note::Revoked { task, worker } => {
                let process = &processes[worker.slot.0 as usize];
                assert!(
                    process.runs(*task) && self.tasks[task.0 as usize].cancelled,
                    "{worker} is revoked for nothing"
                );
                self.revoked = Some(*worker);
            }
            Note::Exited { worker, planned, .. } => {
                let left = self.left.take() == Some(*worker);
                assert!(*planned || !left, "{worker} was told to leave, and that is held against it");
            }
            Note::Bloated(worker) => {
                assert_eq!(
                    processes[worker.slot.0 as usize].bloated,
                    Some(true),
                    "{worker} is no fatter than it was"
                );
            }
            Note::Stuck(worker) => {
                let process = &processes[worker.slot.0 as usize];
                assert!(self.is_idle_with_work(process), "{worker} is not stuck");
            }
            Note::Resized { from, to } => {
                assert_eq!(*from, self.procs, "another number was wanted before");
                self.judge_resize(*to, None);
            }
            Note::NotResized { wanted, why } => self.judge_resize(*wanted, Some(*why)),
            Note::Unkillable(worker) => self.judge_loss(&processes[worker.slot.0 as usize], now),
            Note::Unrecalled { tasks } => {
                assert_eq!(*tasks, self.strangers, "others were unknown");
                self.strangers = 0;
            }
            Note::Halting(halt) => {
                assert!(self.has_enough() && Some(*halt) == self.policy.halt, "halted for nothing: {halt:?}");
                assert!(!self.is_ending() && !self.all_settled(), "it ends as it is");
                self.halted = true;
            }
            Note::Holding => {
                assert!(self.all_settled() && self.holds_workers(), "holding with work left");
                self.holding = true;
            }
            Note::GaveUp(GiveUp::Unkillable(worker)) => {
                let lost = processes.iter().filter(|it| it.lost || it.worker == *worker).count();
                assert_eq!(lost, self.policy.slots_max as usize, "there is a slot for another");
                self.gave_up = true;
            }
            Note::GaveUp(_) => {
                assert!(self.policy.intensity.restarts < 1_000, "gave up a run that could go on: {note:?}");
                self.gave_up = true;
            }
            Note::Ready(_) | Note::Stopped(_) | Note::Continued(_) => {}
            Note::NotBorn { .. } | Note::BackingOff { .. } => {}
        }
    }

    /// Between two events the counts agree.
    pub(crate) fn compare(&self, tally: &Tally) {
        let ours = &self.tally;
        assert_eq!(
            (tally.submitted, tally.settled, tally.values, tally.failed, tally.quarantined, tally.cancelled),
            (ours.submitted, ours.settled, ours.values, ours.failed, ours.quarantined, ours.cancelled)
        );
        assert_eq!((tally.requeued, tally.retried), (ours.requeued, ours.retried), "notes and counts differ");
        let late = self.has_enough() && !self.is_ending() && !self.all_settled();
        assert!(!late, "enough has happened, and the run goes on");
        assert_eq!(tally.recalled, ours.recalled, "what was settled before is another matter");
        let before = |which| self.tasks.iter().filter(|truth| truth.before == which).count() as u64;
        let heard = tally.values + tally.failed + tally.echoes + self.tried_again + self.unheard;
        let heard = heard - before(Before::Value) - before(Before::Failed);
        assert_eq!(heard, self.delivered, "what is said either counts or is an echo");
        let held = self.tasks.iter().filter(|truth| truth.holder.is_some()).count() as u64;
        assert_eq!(tally.leased, held, "the core thinks that somebody else holds them");
    }

    /// The run is over: was it what it had to be?
    pub(crate) fn verify(&self, core: &Core) {
        assert_eq!(self.strangers, 0, "nobody was told of tasks that are not of this run");
        self.compare(&core.tally());
        assert_eq!(core.tally().leased, 0, "somebody took a task to the grave");
        match core.verdict() {
            Verdict::Complete => self.verify_sum(),
            Verdict::Drained => assert!(self.drained, "nobody asked it to drain"),
            Verdict::Aborted => assert!(self.aborted, "nobody asked it to abort"),
            Verdict::Halted => assert!(self.halted, "it halted in silence"),
            Verdict::GaveUp(_) => assert!(self.gave_up, "it gave up in silence"),
        }
    }

    /// Every task has its word, and the values add up exactly.
    fn verify_sum(&self) {
        assert!(self.all_settled(), "complete, with tasks left");
        let whole = self.tasks.iter().filter(|truth| !truth.is_split);
        assert_eq!(whole.map(|truth| u64::from(truth.items)).sum::<u64>(), self.items, "items are missing");
        let quarantined = |task: &usize| {
            let truth = &self.tasks[*task];
            let (carried, _) = truth.before.tried();
            let before = !matches!(truth.before, Before::Nowhere | Before::Tried { .. });
            before
                || truth.is_split
                || truth.cancelled
                || truth.deaths >= self.policy.attempts_max.max(carried + 1)
        };
        let value = |task: usize| match ending(TaskId(task as u64), Attempt(self.tasks[task].attempt)) {
            Ending::Value(_) => task as u64 + 1,
            Ending::Failed(_) | Ending::Panicked { .. } => 0,
        };
        let sum: u64 = (0..self.tasks.len()).filter(|task| !quarantined(task)).map(value).sum();
        assert_eq!(self.sum, sum, "wrong sum");
    }
}
