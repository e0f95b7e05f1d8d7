//! What everybody does at this moment: the answer to SIGUSR2.

use crate::phrase;
use crate::words::span;
use brigade_supervisor::status::{Slot, Status};
use std::time::Duration;

/// A line for the supervisor, and one for each worker.
pub(crate) fn lines(status: &Status) -> Vec<String> {
    let supervisor =
        format!("supervisor {} · {} · {}", status.pid, status.state, phrase::progress(&status.tally));
    let workers = status.slots.iter().map(|slot| line(slot, status.written_ns));
    std::iter::once(supervisor).chain(workers).collect()
}

/// `worker 2 pid 27946 · ready · task 368 (attempt 1) for 1.2 s · 106 done`.
fn line(slot: &Slot, now_ns: u64) -> String {
    let pid = slot.pid.map(|pid| format!(" pid {pid}")).unwrap_or_default();
    let state = if slot.stopped { "stopped" } else { slot.life.as_str() };
    let task = match slot.task {
        Some(task) => {
            let since = Duration::from_nanos(now_ns.saturating_sub(task.since_ns)).as_secs_f64();
            format!("task {} (attempt {}) for {}", task.task, task.attempt, span(since))
        }
        None => "idle".into(),
    };
    format!("worker {}{pid} · {state} · {task} · {} done", slot.slot, slot.settled)
}
