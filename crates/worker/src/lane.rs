//! One thread of a worker: a task at a time, its place on the page, its lines in the log.

use crate::{TaskFn, log, panics, progress};
use brigade_os::page::OwnCell;
use brigade_wire::{Call, Ended, TaskId};
use std::thread;
use std::time::Duration;

/// Tasks shorter than this are logged by the packet, not one by one: a line costs 0.8 us.
const LOG_SINGLY_NS: u64 = 1_000_000;

/// A sleep costs 20 us of a processor and ends 60 us late, so shorter paces are slept together: it is kept by a few tasks in
/// all, and not by each of them.
const SLEEP_MIN_NS: u64 = 300_000;

/// Where tasks are run, one after the other.
#[derive(Debug)]
pub(crate) struct Lane {
    task: TaskFn,
    pace_ns: u64,
    /// How much shorter than the pace the tasks since the last sleep were.
    owed_ns: u64,
    cell: OwnCell<'static>,
    /// How long the last task took: whether the next one is worth a line of its own.
    length_ns: u64,
}

impl Lane {
    /// The lane of this thread, which has that number among those of its worker.
    pub(crate) fn of(thread: u32, task: TaskFn, pace_ns: u64) -> Lane {
        let cell = progress::settle_in(thread);
        cell.sign();
        Lane { task, pace_ns, owed_ns: 0, cell, length_ns: LOG_SINGLY_NS }
    }

    /// Runs one task, unless the worker was recalled; a long one has its own two lines in the log, written when it begins and
    /// when it ends.
    pub(crate) fn run(&mut self, call: Call, packet: &mut Packet) -> Option<Ended> {
        let Call { task, attempt, args } = call;
        let singly = self.length_ns >= LOG_SINGLY_NS;
        if singly {
            packet.log();
            log::line(format_args!("start task {task} attempt {attempt}"));
        }
        let began_ns = self.cell.begin(task, attempt)?;
        let ending = panics::caught(|| (self.task)(&args));
        self.keep_pace(began_ns);
        let elapsed_ns = self.cell.end() - began_ns;
        self.length_ns = elapsed_ns;
        if singly {
            let millis = elapsed_ns as f64 / 1e6;
            log::line(format_args!(
                "end task {task} attempt {attempt}: {} in {millis:.3} ms",
                log::word(&ending)
            ));
        } else {
            packet.count(task, elapsed_ns);
        }
        Some(Ended { task, attempt, elapsed_ns, ending })
    }

    /// Makes the task last as long as `--pace` says.
    fn keep_pace(&mut self, began_ns: u64) {
        let lasted_ns = brigade_os::clock::monotonic_ns() - began_ns;
        self.owed_ns += self.pace_ns.saturating_sub(lasted_ns);
        let due_ns = if self.pace_ns < SLEEP_MIN_NS { SLEEP_MIN_NS } else { 1 };
        if self.owed_ns >= due_ns {
            thread::sleep(Duration::from_nanos(std::mem::take(&mut self.owed_ns)));
        }
    }
}

/// Short tasks that share a line.
#[derive(Debug, Default)]
pub(crate) struct Packet {
    tasks: u64,
    elapsed_ns: u64,
    span: Option<(TaskId, TaskId)>,
}

impl Packet {
    fn count(&mut self, task: TaskId, elapsed_ns: u64) {
        self.tasks += 1;
        self.elapsed_ns += elapsed_ns;
        let (first, _) = self.span.unwrap_or((task, task));
        self.span = Some((first, task));
    }

    /// Writes the line and starts anew.
    pub(crate) fn log(&mut self) {
        if let Some((first, last)) = self.span {
            let (tasks, millis) = (self.tasks, self.elapsed_ns as f64 / 1e6);
            let plural = if tasks == 1 { "" } else { "s" };
            log::line(format_args!("ran {tasks} task{plural}, {first} to {last}, in {millis:.3} ms"));
        }
        *self = Packet::default();
    }
}
