//! What a pool's run tells of itself: what each worker has done, and why it was given up.

use crate::desk::Desk;
use crate::hooks;
use crate::trace;
use brigade_supervisor::run::{Plan, Witness};
use brigade_supervisor::status::Status;
use brigade_supervisor::story::{Line, Tallied, Told};
use brigade_wire::SlotId;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Keeps the loads up to date, and why the run was given up, if it was; what else happens is in `events.ndjson`.
pub(crate) struct Watcher {
    desk: Arc<Desk>,
    has_initializer: bool,
    /// The processes of those that have not said hello yet.
    newborn: BTreeMap<SlotId, u32>,
    /// Why the last worker was not ready that never was.
    unready: Option<String>,
    pub(crate) why: Option<String>,
}

impl Watcher {
    pub(crate) fn new(desk: Arc<Desk>, plan: &Plan) -> Watcher {
        let has_initializer = hooks::has_initializer(&plan.letter);
        Watcher { desk, has_initializer, newborn: BTreeMap::new(), unready: None, why: None }
    }

    /// It was born and is no more, or is about to be no more, and was never ready.
    fn never_ready(&mut self, pid: u32, ended: bool, how: &str) {
        let what = match (self.has_initializer, ended) {
            (true, true) => "the initializer ended the worker",
            (true, false) => "the initializer did not return in time",
            (false, true) => "a worker ended before it was ready",
            (false, false) => "a worker was not ready in time",
        };
        self.unready = Some(format!("{what}: {how}, pid {pid}"));
    }
}

impl Witness for Watcher {
    fn tell(&mut self, line: &Line) {
        trace::tell(&line.told);
        let scale = &self.desk.scale;
        match &line.told {
            Told::WorkerStart { slot, pid, .. } => drop(self.newborn.insert(*slot, *pid)),
            Told::WorkerUnborn { slot, reason, .. } => match self.newborn.remove(slot) {
                Some(pid) => self.never_ready(pid, false, reason),
                None => self.unready = Some(reason.clone()),
            },
            Told::WorkerReady { slot, pid, .. } => {
                self.newborn.remove(slot);
                self.unready = None;
                scale.change(slot.0, |load| load.pid = Some(*pid));
            }
            Told::WorkerExit { slot, pid, exit, planned, .. } => {
                scale.change(slot.0, |load| {
                    load.pid = None;
                    load.deaths += u64::from(!planned);
                });
                if self.newborn.remove(slot).is_some() {
                    self.never_ready(*pid, true, &exit.to_string());
                }
            }
            Told::GaveUp { reason, last_lines } => {
                let words = last_lines.last().map(|line| last_words(line));
                // Who could say why has done so.
                let unready = self.unready.as_deref().filter(|_| !words.is_some_and(|words| words.is_why));
                let words = words.map(|words| words.said);
                let all: Vec<&str> = unready.into_iter().chain([reason.as_str()]).chain(words).collect();
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

/// What a worker's log ends with.
#[derive(Clone, Copy)]
struct LastWords<'a> {
    said: &'a str,
    /// It has said why it cannot run.
    is_why: bool,
}

/// A line of a worker's log without what stands before the words.
fn last_words(line: &str) -> LastWords<'_> {
    match line.split_once("cannot run: ") {
        Some((_, said)) => LastWords { said, is_why: true },
        None => LastWords { said: line, is_why: false },
    }
}
