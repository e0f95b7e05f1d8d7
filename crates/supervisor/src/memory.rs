//! Memory of workers, looked at from outside while they have tasks. Between two tasks each worker looks for itself.
//!
//! ```text
//! a worker between two tasks ─▶ too large ─▶ leaves with exit code 86 ─▶ replaced, nobody is blamed
//!   (of one of several threads: when no other runs anything, or, too large at two looks, when the loop says so)
//! the loop, ten times a second ─▶ too large in a task, and still so in that task 20 ms later ─▶ Event::Bloated
//!   ─▶ core: killed, the attempt ran out of memory
//! the kernel, at the limit of its memory cgroup or when there is none left ─▶ SIGKILL, and a counter has grown
//!   ─▶ Event::Bloated, before Event::Gone                                                       (allot.rs)
//! ```
//!
//! The second look is for the innocent: whoever crosses the line at the end of a task, with what earlier ones have
//! left, ends that task and leaves.

use crate::allot::Allotments;
use crate::driver::Driver;
use crate::story::{Bloated, Recycled, Told};
use brigade_core::{Event, Life, Recycle, SlotView};
use brigade_os::cgroup::Cgroup;
use brigade_os::page::OnPage;
use brigade_os::{clock, proc};
use brigade_wire::{Attempt, Exit, TaskId, WorkerId};
use std::sync::Arc;

/// A look costs 10 us a worker, and 100 ms let a task that grows by 2 GB/s take 200 MB more than it may.
const LOOK_EVERY_NS: u64 = 100_000_000;

/// How long a task that was found too large has to end.
const LOOK_AGAIN_AFTER_NS: u64 = 20_000_000;

/// When to look, and who was found too large at the last look.
#[derive(Debug)]
pub(crate) struct Watch {
    rss_bytes_max: Option<u64>,
    /// Of a worker.
    threads: u32,
    looked_ns: u64,
    suspects: Vec<Suspect>,
    /// What the core was told of last.
    excess: Excess,
    pub(crate) allotments: Allotments,
}

/// What a worker has taken too much of, and in what.
#[derive(Clone, Copy, Debug, Default)]
struct Excess {
    task: Option<TaskId>,
    /// `None` if the kernel has ended it.
    rss_bytes: Option<u64>,
}

/// An attempt that has taken too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Suspect {
    worker: WorkerId,
    task: TaskId,
    attempt: Attempt,
}

/// A worker that has taken too much.
struct Sight {
    worker: WorkerId,
    rss_bytes: u64,
    /// What it is in the middle of.
    suspects: Vec<Suspect>,
    /// It has nothing in hand, so it does not look for itself.
    is_idle: bool,
}

impl Watch {
    pub(crate) fn new(rss_bytes_max: Option<u64>, threads: u32, cgroup: Option<&Arc<Cgroup>>) -> Watch {
        let allotments = Allotments::new(rss_bytes_max, cgroup);
        let excess = Excess::default();
        Watch { rss_bytes_max, threads, looked_ns: 0, suspects: Vec::new(), excess, allotments }
    }

    fn due_ns(&self) -> Option<u64> {
        let after_ns = if self.suspects.is_empty() { LOOK_EVERY_NS } else { LOOK_AGAIN_AFTER_NS };
        self.rss_bytes_max.map(|_| self.looked_ns + after_ns)
    }
}

/// The task that it was, if there was no other.
fn only(mut tasks: impl Iterator<Item = TaskId>) -> Option<TaskId> {
    tasks.next().filter(|_| tasks.next().is_none())
}

impl Driver<'_> {
    /// When to look at the memory of workers: not while nobody has a task, so that an idle run is not woken for it.
    pub(crate) fn memory_due_ns(&self) -> Option<u64> {
        self.watch.due_ns().filter(|_| self.core.tally().leased > 0)
    }

    /// Looks if it is time to.
    pub(crate) fn look_at_memory(&mut self) {
        let now_ns = clock::monotonic_ns();
        let Some(max) = self.watch.rss_bytes_max else { return };
        if self.memory_due_ns().is_none_or(|due_ns| due_ns > now_ns) {
            return;
        }
        let sights: Vec<Sight> = self.core.slots().filter_map(|view| self.sight(&view, max)).collect();
        let before = std::mem::take(&mut self.watch.suspects);
        self.watch.looked_ns = now_ns;
        for Sight { worker, rss_bytes, suspects, is_idle } in sights {
            let running = match suspects.iter().any(|suspect| before.contains(suspect)) {
                true => true,
                false if suspects.is_empty() && is_idle => false,
                // Its threads are seldom between two tasks all at once: it makes room when what they have is done.
                false if self.watch.threads > 1 && before.iter().any(|it| it.worker == worker) => false,
                // Between two tasks, or after the first look: it looks for itself before it begins the next.
                false => {
                    self.watch.suspects.extend(suspects);
                    continue;
                }
            };
            let task = only(suspects.iter().map(|suspect| suspect.task));
            self.watch.excess = Excess { task, rss_bytes: Some(rss_bytes) };
            self.hear(Event::Bloated { worker, running });
            self.perform();
        }
    }

    /// A worker that has more than it may; nobody else.
    fn sight(&self, view: &SlotView, max: u64) -> Option<Sight> {
        let may_grow = matches!(view.life, Life::Ready | Life::Draining);
        let (body, _) = self.hands.in_slot(view.slot).filter(|_| may_grow)?;
        let pid = body.pid();
        // Should a task begin in between, the next look finds another than this one, and kills nobody.
        let page = self.pages.running(view.slot);
        let rss_bytes = proc::rss_bytes(pid.number()).ok().filter(|rss_bytes| *rss_bytes > max)?;
        // The page forgets the number before it is reaped: so long it was no stranger's.
        if self.pages.pid(view.slot) != Some(pid) {
            return None;
        }
        let worker = view.worker;
        let suspect = |page: &OnPage| Suspect { worker, task: page.task, attempt: page.attempt };
        let suspects = page.iter().map(suspect).collect();
        Some(Sight { worker, rss_bytes, suspects, is_idle: view.leases == 0 })
    }

    /// It outgrew its memory in a task: the core has shot it, or knows that the kernel has.
    pub(crate) fn bloated(&mut self, worker: WorkerId) -> Told {
        let (slot, pid, incarnation) = self.who(worker);
        let (rss_bytes_max, Excess { task, rss_bytes }) = (self.watch.rss_bytes_max, self.watch.excess);
        let words = match (rss_bytes, rss_bytes_max) {
            (Some(rss), Some(max)) => format!("it has {rss} bytes in RAM, of {max}, in a task: killing it"),
            _ => "the kernel had no memory left for it".to_owned(),
        };
        self.chronicle.epitaph(pid, &words);
        let (oom, rss_bytes_max) = (rss_bytes.is_none(), rss_bytes.and(rss_bytes_max));
        Told::WorkerBloated(Bloated { slot, pid, incarnation, task, rss_bytes, rss_bytes_max, oom })
    }

    /// Its body was found. The core is told before it hears of the death, if the kernel's OOM killer has a death to
    /// answer for that was like this one, and that we did not deal.
    pub(crate) fn ended_by_kernel(&mut self, worker: WorkerId, exit: Exit, running: &[TaskId]) {
        const SIGKILL: Exit = Exit::Signal(9);
        let was_shot = self
            .core
            .slots()
            .any(|view| view.worker == worker && matches!(view.life, Life::Dying | Life::Unkillable));
        if exit != SIGKILL || running.is_empty() || was_shot {
            return;
        }
        if self.watch.allotments.take_kill(worker.slot) {
            self.watch.excess = Excess { task: only(running.iter().copied()), rss_bytes: None };
            self.hear(Event::Bloated { worker, running: true });
            self.perform();
        }
    }

    /// It has served its time, and is asked to leave.
    pub(crate) fn recycled(&mut self, worker: WorkerId, why: Recycle) -> Told {
        let (slot, pid, incarnation) = self.who(worker);
        let (why, words) = match why {
            Recycle::Tasks => ("tasks", "it has had its number of tasks"),
            Recycle::Age => ("age", "it has reached its age"),
            Recycle::Memory => ("memory", "it has outgrown its memory"),
            Recycle::Resize => ("resize", "fewer workers are wanted"),
            Recycle::TakeBack => ("take_back", "others are idle, and do what it was lent and has not begun"),
            Recycle::Cancel => ("cancel", "it was lent what is cancelled, and begins nothing more"),
        };
        self.chronicle.epitaph(pid, &format!("to be replaced: {words}"));
        Told::WorkerRecycled(Recycled { slot, pid, incarnation, why: why.into() })
    }

    /// A worker that looks after its memory, or after what it keeps between tasks, leaves with this code between two of them;
    /// a task that does so is in the middle of itself.
    pub(crate) fn recycled_itself(&mut self, worker: WorkerId, exit: Exit, running: &[TaskId]) {
        // Whoever was told to leave was told of before.
        let is_ready = self.core.slots().any(|view| view.worker == worker && view.life == Life::Ready);
        if exit == Exit::RECYCLE && running.is_empty() && is_ready {
            let (slot, pid, incarnation) = self.who(worker);
            let why = if self.watch.rss_bytes_max.is_some() { "memory" } else { "own wish" }.into();
            self.chronicle.tell(Told::WorkerRecycled(Recycled { slot, pid, incarnation, why }));
        }
    }
}
