//! What a worker has in hand, and how we tell whether it gets on with it.

use crate::backlog::names;
use crate::{Lease, Now, Running};
use brigade_wire::{Attempt, TaskId};
use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

/// After a look that found nothing wrong yet, or brought no answer.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A worker that refused a task with nothing in hand cannot speak first: it is asked again after this time.
pub(crate) const ASK_AGAIN: Duration = Duration::from_millis(10);

/// A page says "nothing" for an instant between two tasks: only so many looks in a row mean it.
const IDLE_LOOKS_MAX: u32 = 2;

/// This part of a deadline is waited for others that have nearly had their time, too.
const LATE_TOGETHER_PART: u32 = 10;

/// One worker's leases and what is known of its progress.
#[derive(Debug, Default)]
pub(crate) struct Hand {
    /// When it said hello.
    pub(crate) ready_at: Now,
    /// In the order lent, which is the order begun.
    pub(crate) leases: VecDeque<Lease>,
    /// What of it was cancelled, and may come to an end here nevertheless.
    revoked: Vec<Lease>,
    /// It begins nothing any more.
    pub(crate) recalled: bool,
    /// Tasks it settled.
    pub(crate) settled: u64,
    /// Attempts that ended while it lived: those that are tried again as well.
    pub(crate) ended: u64,
    pub(crate) flow: Flow,
    /// How long it is kept.
    pub(crate) tenure: Tenure,
    watch: Watch,
    /// When all that it runs may have turned out to be long.
    pub(crate) long_at: Now,
}

/// What a worker may have before it is recycled; without a limit, for ever.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tenure {
    /// How many tasks it runs at the same time.
    pub(crate) threads: usize,
    pub(crate) tasks_max: Option<u64>,
    pub(crate) until: Option<Now>,
    /// How long it may hold tasks and run none.
    pub(crate) stuck_after: Duration,
    /// How long all that it runs may take before what waits behind that is taken back for somebody else.
    pub(crate) back_after: Duration,
}

/// Whether it can be handed anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Yes.
    #[default]
    Open,
    /// Not before it has spoken, which it will: it has something in hand.
    Full,
    /// Not before then.
    RetryAt(Now),
}

/// Whether it is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Watch {
    /// It has nothing in hand.
    #[default]
    Off,
    /// Nothing has been heard of its work since `quiet_since`, and since `idle_since` it was seen to do none.
    On { quiet_since: Now, idle_since: Option<Now>, look_at: Now, idle_looks: u32 },
}

/// What a look at its page tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// Nothing that calls for action.
    Fine,
    /// These tasks have had their time, the earliest first.
    TimedOut(Vec<TaskId>),
    /// It holds tasks and does not start them, though it could.
    Stuck,
}

impl Hand {
    /// The empty hand of a worker that just said hello.
    pub(crate) fn new(now: Now, tenure: Tenure) -> Hand {
        Hand { ready_at: now, tenure, ..Hand::default() }
    }

    /// How many tasks it runs at the same time.
    pub(crate) fn threads(&self) -> usize {
        self.tenure.threads.max(1)
    }

    /// How many more tasks it may have in its life: those it has in hand count.
    pub(crate) fn left(&self) -> u64 {
        let had = self.ended + self.leases.len() as u64;
        self.tenure.tasks_max.map_or(u64::MAX, |max| max.saturating_sub(had))
    }

    /// Whether it has been here for long enough.
    pub(crate) fn is_old(&self, now: Now) -> bool {
        self.tenure.until.is_some_and(|until| until <= now)
    }

    /// Whether it holds this task, whatever the attempt.
    pub(crate) fn holds(&self, task: TaskId) -> bool {
        self.leases.iter().any(|lease| lease.task == task)
    }

    /// Takes a lease out: the one gate of exactly once. Nearly always the first.
    pub(crate) fn release(&mut self, task: TaskId, attempt: Option<Attempt>) -> Option<Lease> {
        let is_it = |lease: &Lease| lease.task == task && attempt.is_none_or(|it| it == lease.attempt);
        let at = self.leases.iter().position(is_it)?;
        self.leases.remove(at)
    }

    /// Takes what is named out of its leases. Returns what that was.
    pub(crate) fn revoke(&mut self, tasks: &[Range<u64>]) -> Vec<TaskId> {
        let before = self.revoked.len();
        self.revoked.extend(self.leases.iter().filter(|lease| names(tasks, lease.task)));
        self.leases.retain(|lease| !names(tasks, lease.task));
        if self.leases.is_empty() && self.revoked.len() > before {
            (self.watch, self.flow) = (Watch::Off, Flow::Open);
        }
        self.revoked[before..].iter().map(|lease| lease.task).collect()
    }

    /// Whether it may be running what was cancelled.
    pub(crate) fn is_revoked(&self) -> bool {
        !self.revoked.is_empty()
    }

    /// Whether this was cancelled while it held it.
    pub(crate) fn has_revoked(&self, task: TaskId) -> bool {
        self.revoked.iter().any(|lease| lease.task == task)
    }

    /// What was cancelled has come to an end here, or has never come here.
    pub(crate) fn forget(&mut self, task: TaskId, attempt: Option<Attempt>) -> Option<Lease> {
        let is_it = |lease: &Lease| lease.task == task && attempt.is_none_or(|it| it == lease.attempt);
        let at = self.revoked.iter().position(is_it)?;
        Some(self.revoked.swap_remove(at))
    }

    /// Takes out what it was lent behind these, which it runs, and which are the last that it begins. While each of its
    /// threads has one, the last that it has begun is among them, so what it was lent before that it runs or has done. Else
    /// it may have done what was begun later, and its body will tell.
    pub(crate) fn take_behind(&mut self, running: &[Running], careless: bool) -> Vec<Lease> {
        let is_begun = |lease: &Lease| running.iter().any(|it| it.task == lease.task);
        let busy = self.leases.iter().filter(|lease| is_begun(lease)).count();
        let all_busy = careless || busy >= self.threads();
        let last = self.leases.iter().rposition(is_begun).filter(|_| all_busy);
        last.map_or_else(Vec::new, |at| self.leases.split_off(at + 1).into())
    }

    /// Lends it one more; a hand that was empty is watched from now.
    pub(crate) fn lend(&mut self, lease: Lease, now: Now, timeout: Option<Duration>) {
        self.leases.push_back(lease);
        if self.leases.len() == 1 {
            self.watch_from(now, timeout);
        }
    }

    /// It was heard to get on with its work: the clock of its silence starts again. Of several tasks that it runs only one
    /// has got on, and the look that is due for another stays.
    pub(crate) fn watch_from(&mut self, now: Now, timeout: Option<Duration>) {
        let look_at = now + self.look_after(timeout);
        let look_at = match self.watch {
            Watch::On { look_at: due, .. } if self.threads() > 1 => due.min(look_at),
            Watch::On { .. } | Watch::Off => look_at,
        };
        self.long_at = now + self.tenure.back_after;
        self.watch = match self.leases.is_empty() {
            true => Watch::Off,
            false => Watch::On { quiet_since: now, idle_since: None, look_at, idle_looks: 0 },
        };
    }

    /// How long nobody needs to look at it, if nothing is heard.
    fn look_after(&self, timeout: Option<Duration>) -> Duration {
        timeout.map_or(self.tenure.stuck_after, |timeout| timeout.min(self.tenure.stuck_after))
    }

    /// A deadline runs from now on, and its task may have begun long ago: its page is to be read at once.
    pub(crate) fn watch_at_once(&mut self, now: Now) {
        if !self.leases.is_empty() {
            self.watch = Watch::On { quiet_since: now, idle_since: None, look_at: now, idle_looks: 0 };
        }
    }

    /// It was stopped, or goes on: what was seen before says nothing about what it will do.
    pub(crate) fn forget_idleness(&mut self) {
        match &mut self.watch {
            Watch::On { idle_since, .. } => *idle_since = None,
            Watch::Off => {}
        }
    }

    /// The deadline that runs is so much shorter now, and so is the wait for others.
    pub(crate) fn hasten(&mut self, by: Duration) {
        let by = if self.threads() > 1 { by + by / LATE_TOGETHER_PART } else { by };
        match &mut self.watch {
            Watch::On { look_at, .. } => *look_at = Now(look_at.0.saturating_sub(by)),
            Watch::Off => {}
        }
    }

    /// The loop slept for so long: nobody could be heard.
    pub(crate) fn shift(&mut self, by: Duration) {
        (self.ready_at, self.long_at) = (self.ready_at + by, self.long_at + by);
        self.tenure.until = self.tenure.until.map(|until| until + by);
        if let Flow::RetryAt(at) = &mut self.flow {
            *at = *at + by;
        }
        if let Watch::On { quiet_since, idle_since, look_at, .. } = &mut self.watch {
            (*quiet_since, *look_at) = (*quiet_since + by, *look_at + by);
            *idle_since = idle_since.map(|since| since + by);
        }
    }

    /// It spoke, so it can be handed something again; with `progress`, it got on with its work.
    pub(crate) fn heard(&mut self, progress: bool, now: Now, timeout: Option<Duration>) {
        self.flow = Flow::Open;
        if progress {
            self.watch_from(now, timeout);
        }
    }

    /// Leases came back unsent. Who has others in hand will speak; who has none must be asked again.
    pub(crate) fn refuse(&mut self, now: Now) {
        self.flow = Flow::Full;
        if self.leases.is_empty() {
            self.watch = Watch::Off;
            self.flow = Flow::RetryAt(now + ASK_AGAIN);
        }
    }

    /// Opens it again if its time has come.
    pub(crate) fn reopen(&mut self, now: Now) {
        match self.flow {
            Flow::RetryAt(at) if at <= now => self.flow = Flow::Open,
            Flow::RetryAt(_) | Flow::Open | Flow::Full => {}
        }
    }

    /// How many more it may hold. A refill waits until half of the window is used up, so that leases
    /// travel in packets; but no thread waits for that.
    pub(crate) fn room(&self, window: usize) -> usize {
        let held = self.leases.len();
        match self.flow {
            Flow::Open if held <= window / 2 || held < self.threads() => window.saturating_sub(held),
            Flow::Open | Flow::Full | Flow::RetryAt(_) => 0,
        }
    }

    /// How many of its threads have nothing, and could be given something.
    pub(crate) fn idle_threads(&self) -> usize {
        self.room(self.threads())
    }

    /// Whether its page is to be read now; the next time is set in case no answer comes.
    pub(crate) fn wants_look(&mut self, now: Now) -> bool {
        match &mut self.watch {
            Watch::On { look_at, .. } if *look_at <= now => {
                *look_at = now + LOOK_AGAIN;
                true
            }
            Watch::On { .. } | Watch::Off => false,
        }
    }

    /// Judges what its page says, each running task by itself. A deadline runs from the start of the attempt, which only the
    /// page knows. Who holds tasks and runs none has the time of a task, or `stuck_after` from the first such look; that is
    /// for whoever runs fewer than it could as well, unless it was told to begin no more; but nobody who is stopped can be
    /// held to it. Of several, those whose time ends soon after that of the first are waited for: a death that one of them
    /// costs is that of all of them.
    pub(crate) fn judge(
        &mut self,
        running: &[Running],
        stopped: bool,
        now: Now,
        timeout: Option<Duration>,
    ) -> Finding {
        // A page that names a task not in hand is a moment old: as good as none.
        let mut held: Vec<_> = running.iter().filter(|running| self.holds(running.task)).collect();
        held.sort_by_key(|running| running.since);
        let (count, first) = (held.len(), held.first());
        let could = if self.recalled { 1 } else { self.threads().min(self.leases.len()) };
        let (stuck_after, look_after) = (self.tenure.stuck_after, self.look_after(timeout));
        let Watch::On { quiet_since, idle_since, look_at, idle_looks } = &mut self.watch else {
            return Finding::Fine;
        };
        let began = first.map_or(*quiet_since, |first| first.since);
        let late_at = timeout.map(|timeout| {
            let nearly = began + timeout / LATE_TOGETHER_PART;
            held.iter().map(|it| it.since).filter(|since| *since <= nearly).max().unwrap_or(began) + timeout
        });
        if count > 0 {
            if let Some(timeout) = timeout.filter(|_| late_at.is_some_and(|at| at <= now)) {
                let late = held.iter().filter(|it| it.since + timeout <= now);
                return Finding::TimedOut(late.map(|it| it.task).collect());
            }
            *quiet_since = now;
        }
        if count >= could {
            (*idle_since, *idle_looks) = (None, 0);
            *look_at = late_at.map_or(now + stuck_after, |at| at.min(now + stuck_after));
            return Finding::Fine;
        }
        *idle_since = (!stopped).then(|| idle_since.unwrap_or(now));
        let stuck_at = idle_since.map(|since| since + stuck_after);
        match late_at.into_iter().chain(stuck_at).min() {
            Some(due) if due <= now => {
                *idle_looks += 1;
                // What it does run still has its own time.
                let late_at = late_at.filter(|_| count > 0);
                *look_at = late_at.map_or(*look_at, |at| at.min(*look_at));
            }
            due => *look_at = due.map_or(now + look_after, |due| due.min(now + look_after)),
        }
        if *idle_looks >= IDLE_LOOKS_MAX { Finding::Stuck } else { Finding::Fine }
    }

    /// Whether it is held to anything: else it is only looked at now and then.
    pub(crate) fn is_pressed(&self, timeout: Option<Duration>) -> bool {
        let watched = match self.watch {
            Watch::On { idle_since, .. } => timeout.is_some() || idle_since.is_some(),
            Watch::Off => false,
        };
        watched || matches!(self.flow, Flow::RetryAt(_))
    }

    /// When it wants to be looked after: a look, or another try to hand it something.
    pub(crate) fn deadline(&self) -> Option<Now> {
        let look_at = match self.watch {
            Watch::On { look_at, .. } => Some(look_at),
            Watch::Off => None,
        };
        let retry_at = match self.flow {
            Flow::RetryAt(at) => Some(at),
            Flow::Open | Flow::Full => None,
        };
        look_at.into_iter().chain(retry_at).min()
    }

    /// It is watched while it holds something, and blocked only while something will end that.
    pub(crate) fn check(&self) {
        let (watched, due) = (self.watch != Watch::Off, !self.leases.is_empty());
        assert_eq!(watched, due, "it must be looked at exactly while tasks are in hand: {self:?}");
        assert!(self.flow != Flow::Full || !self.leases.is_empty(), "it could never speak again: {self:?}");
    }
}
