//! What a pool's run tells of itself: what each worker has done, and why it was given up.

use crate::host::Desk;
use crate::trace;
use brigade_supervisor::run::Witness;
use brigade_supervisor::status::Status;
use brigade_supervisor::story::{Line, Tallied, Told};
use brigade_wire::SlotId;
use std::sync::Arc;
use std::time::Duration;

/// Keeps the loads up to date, and why the run was given up, if it was; what else happens is in `events.ndjson`.
pub(crate) struct Watcher {
    desk: Arc<Desk>,
    /// Why the last worker was not born that was not.
    unborn: Option<String>,
    pub(crate) why: Option<String>,
}

impl Watcher {
    pub(crate) fn new(desk: Arc<Desk>) -> Watcher {
        Watcher { desk, unborn: None, why: None }
    }
}

impl Witness for Watcher {
    fn tell(&mut self, line: &Line) {
        trace::tell(&line.told);
        let scale = &self.desk.scale;
        match &line.told {
            Told::WorkerUnborn { reason, .. } => self.unborn = Some(reason.clone()),
            Told::WorkerReady { slot, pid, .. } => {
                self.unborn = None;
                scale.change(slot.0, |load| load.pid = Some(*pid));
            }
            Told::WorkerExit { slot, planned, .. } => scale.change(slot.0, |load| {
                load.pid = None;
                load.deaths += u64::from(!planned);
            }),
            Told::GaveUp { reason, last_lines } => {
                let unborn = self.unborn.iter().map(String::as_str);
                let words = last_lines.last().map(|line| last_words(line));
                let all: Vec<&str> = [reason.as_str()].into_iter().chain(unborn).chain(words).collect();
                self.why = Some(all.join(": "));
            }
            _ => {}
        }
    }

    fn worked(&mut self, slot: SlotId, attempts: u64, busy: Duration) {
        self.desk.scale.change(slot.0, |load| {
            load.calls += attempts;
            load.busy += busy;
        });
    }

    fn progress(&mut self, _: &Tallied) {}
    fn show(&mut self, _: &Status) {}
}

/// A line of a worker's log without what stands before the words.
fn last_words(line: &str) -> &str {
    line.split_once("cannot run: ").map_or(line, |(_, words)| words)
}
