//! The story of a run for people, on stderr.
//!
//! A death is told at once. What it cost is told with the line of the successor, so what came back from the
//! dead waits for that line, or goes without it when no successor comes.

use crate::args::Voice;
use crate::chaos;
use crate::phrase::{self, Returned};
use crate::screen::{Hue, Screen};
use crate::words::{counted, span};
use brigade_core::Timeout;
use brigade_supervisor::story::{Done, Line, Tallied, Told};
use brigade_wire::{Attempt, Exit, SlotId, TaskId};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

/// What the story needs to know of the plan.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// Attempts before quarantine.
    pub(crate) attempts_max: u32,
    /// How long an attempt may run.
    pub(crate) task_timeout: Option<Timeout>,
    /// What the run is tried with: then deaths are no news.
    pub(crate) trial: Option<String>,
    /// Where the whole story is.
    pub(crate) events: PathBuf,
}

/// Tells people.
#[derive(Debug)]
pub(crate) struct Human<W> {
    screen: Screen<W>,
    voice: Voice,
    terms: Terms,
    logs: String,
    template: &'static str,
    unborn: u32,
    first: BTreeMap<SlotId, u32>,
    returned: BTreeMap<SlotId, Returned>,
    ending: bool,
}

/// Whose line it is.
struct Who {
    slot: SlotId,
    pid: u32,
}

impl<W: Write> Human<W> {
    /// Tells them there.
    pub(crate) fn new(screen: Screen<W>, voice: Voice, terms: Terms) -> Human<W> {
        Human {
            screen,
            voice,
            terms,
            logs: String::new(),
            template: "Template",
            unborn: 0,
            first: BTreeMap::new(),
            returned: BTreeMap::new(),
            ending: false,
        }
    }

    /// Something happened.
    pub(crate) fn tell(&mut self, line: &Line) {
        if self.was_to_be_expected(&line.told) {
            return;
        }
        match &line.told {
            Told::RunStart { procs, cores, tasks, settled, work, logs, start_method, .. } => {
                self.template = if start_method == "fork" { "Template" } else { "Guard" };
                self.run_start((*procs, *cores), (*tasks, *settled), work, logs);
            }
            Told::WorkerStart { slot, pid, incarnation } => {
                self.detail("Born", &format!("worker {slot} pid {pid}, number {incarnation} in its slot"));
            }
            &Told::WorkerReady { slot, pid, incarnation, after } => {
                self.worker_ready(Who { slot, pid }, incarnation, after);
            }
            &Told::WorkerExit { slot, pid, exit, planned, settled, task, ref beside, .. } => {
                let moments = phrase::last_moments(exit, settled, task, beside);
                self.worker_exit(&Who { slot, pid }, exit, planned, &moments);
            }
            &Told::WorkerStopped { slot, pid, task, .. } => self.worker_stopped(&Who { slot, pid }, task),
            &Told::WorkerContinued { slot, pid, .. } => self.worker_continued(&Who { slot, pid }),
            Told::WorkerGarbled { slot, pid, reason, .. } => {
                self.warn("GARBLED", &format!("worker {slot} pid {pid} · {reason} · killing it"));
            }
            Told::WorkerUnkillable(who) => self.bad("UNKILLABLE", &phrase::unkillable(who)),
            &Told::Resized { from, to } => self.resized(from, to),
            Told::WorkerRecycled(who) => self.detail("Recycled", &phrase::recycled(who)),
            Told::WorkerBloated(who) => self.bad("BLOATED", &phrase::bloated(who)),
            Told::WorkerUnborn { slot, reason, .. } => {
                self.warn("UNBORN", &format!("worker {slot} · {}", phrase::reason(reason)));
            }
            &Told::BackingOff { slot, seconds } => self.backing_off(slot, seconds),
            &Told::TaskRequeued { task, attempt, slot, pid, failed: true, .. } => {
                self.warn("Retry", &phrase::retry(task, attempt, (slot, pid)));
            }
            &Told::TaskRequeued { task, attempt, blamed, slot, .. } => {
                self.task_requeued(slot, (task, attempt), blamed);
            }
            &Told::TaskTimedOut { task, slot, pid } => self.task_timed_out(task, &Who { slot, pid }),
            Told::TaskFailed { task, attempt, reason } => {
                self.bad("FAILED", &phrase::failed(*task, *attempt, reason));
            }
            told @ (Told::TaskQuarantined { .. } | Told::TaskSplit { .. }) => self.too_often(told),
            Told::TemplateStart { pid, incarnation } => {
                self.detail(self.template, &format!("pid {pid}, number {incarnation}"));
            }
            Told::TemplateExit { pid, exit } => {
                self.detail(self.template, &format!("pid {pid} is gone ({exit}) · workers do not notice"));
            }
            Told::Chaos { slot, pid, fault } => self.detail("Chaos", &phrase::thrown(fault, *slot, *pid)),
            Told::Progress(tally) => self.detail("Progress", &phrase::progress(tally)),
            &Told::Draining { leased, backlog } => self.draining(leased, backlog),
            Told::Holding { total } => self.holding(total.is_some()),
            Told::Warning { message } => self.warn("Warning", &phrase::reason(message)),
            Told::GaveUp { reason, last_lines } => self.gave_up(reason, last_lines),
            Told::Done(done) => self.done(done),
        }
    }

    /// A task took too many workers along.
    fn too_often(&mut self, told: &Told) {
        match told {
            Told::TaskQuarantined { task, what, attempts } => {
                self.bad("QUARANTINE", &phrase::quarantined(*task, what, attempts));
            }
            Told::TaskSplit { task, what, parts, attempts } => {
                self.warn("Split", &phrase::split((*task, what), *parts, attempts));
            }
            _ => {}
        }
    }

    /// Under chaos only a verbose run tells what each fault led to; the summary counts them.
    fn was_to_be_expected(&self, told: &Told) -> bool {
        chaos::leads_to(told) && self.terms.trial.is_some() && self.voice < Voice::Verbose
    }

    /// How far the run is.
    pub(crate) fn progress(&mut self, tally: &Tallied) {
        if self.voice >= Voice::Normal && tally.settled < tally.tasks {
            self.screen.draw("Running", &phrase::progress(tally));
        }
    }

    /// Takes the progress line away.
    pub(crate) fn clear(&mut self) {
        self.screen.clear();
    }

    /// Something that needs attention.
    pub(crate) fn warn(&mut self, verb: &str, text: &str) {
        self.screen.line(Hue::Warn, verb, text);
    }

    fn bad(&mut self, verb: &str, text: &str) {
        self.screen.line(Hue::Bad, verb, text);
    }

    fn note(&mut self, hue: Hue, verb: &str, text: &str) {
        if self.voice >= Voice::Normal {
            self.screen.line(hue, verb, text);
        }
    }

    fn detail(&mut self, verb: &str, text: &str) {
        if self.voice >= Voice::Verbose {
            self.screen.line(Hue::Good, verb, text);
        }
    }

    fn run_start(
        &mut self,
        (procs, cores): (u32, u32),
        (tasks, settled): (u64, u64),
        work: &str,
        logs: &str,
    ) {
        self.unborn = procs;
        logs.clone_into(&mut self.logs);
        let (workers, cores) = (counted(procs.into(), "worker"), counted(cores.into(), "core"));
        let all = format!("{work} in {}", counted(tasks, "task"));
        let (word, text) = match settled {
            0 => ("Starting", format!("{workers} on {cores} · {all}")),
            _ if settled == tasks => ("Over", format!("{all} · settled before, nothing is left to do")),
            _ => ("Resuming", format!("{workers} on {cores} · {all} · {settled} of them settled before")),
        };
        self.note(Hue::Good, word, &text);
        if let Some(trial) = self.terms.trial.clone() {
            self.note(Hue::Warn, "Chaos", &trial);
        }
    }

    fn worker_ready(&mut self, Who { slot, pid }: Who, incarnation: u32, after: f64) {
        if incarnation > 1 {
            let returned = self.returned.remove(&slot).unwrap_or_default().phrase(self.terms.attempts_max);
            let text = format!("worker {slot} pid {pid} in {}{returned}", span(after));
            match self.terms.trial {
                Some(_) => self.detail("Respawn", &text),
                None => self.note(Hue::Good, "Respawn", &text),
            }
        } else {
            self.detail("Ready", &format!("worker {slot} pid {pid} in {}", span(after)));
        }
        if self.unborn > 0
            && self.first.insert(slot, pid).is_none()
            && self.first.len() >= self.unborn as usize
        {
            self.unborn = 0;
            let pids: Vec<u32> = std::mem::take(&mut self.first).into_values().collect();
            let text = format!("{} · logs in {}", phrase::pids(&pids), self.logs);
            self.note(Hue::Good, "Workers", &text);
        }
    }

    fn worker_exit(&mut self, who: &Who, exit: Exit, planned: bool, moments: &str) {
        let text = format!("worker {} pid {} · {moments}", who.slot, who.pid);
        if planned {
            self.detail("Ended", &text);
        } else {
            self.note(Hue::Bad, phrase::death(exit), &text);
        }
    }

    fn worker_stopped(&mut self, who: &Who, task: Option<TaskId>) {
        let fate = match (task, self.terms.task_timeout) {
            (Some(task), Some(limit)) => format!("task {task} times out after {}", phrase::limit(limit)),
            (Some(task), None) => format!("it keeps task {task} until it is continued or killed"),
            (None, _) => "between two tasks".to_owned(),
        };
        self.warn("STOPPED", &format!("worker {} pid {} (state T) · {fate}", who.slot, who.pid));
    }

    fn worker_continued(&mut self, who: &Who) {
        self.warn("Continued", &format!("worker {} pid {}", who.slot, who.pid));
    }

    fn resized(&mut self, from: u32, to: u32) {
        if self.unborn > 0 {
            self.unborn = to;
        }
        self.note(Hue::Good, "Resized", &format!("from {from} to {}", counted(u64::from(to), "worker")));
    }

    fn backing_off(&mut self, slot: SlotId, seconds: f64) {
        let returned = self.returned.remove(&slot).unwrap_or_default().phrase(self.terms.attempts_max);
        self.warn("Backing off", &format!("worker {slot} for {}{returned}", span(seconds)));
    }

    fn task_requeued(&mut self, slot: SlotId, (task, attempt): (TaskId, Attempt), blamed: bool) {
        let returned = self.returned.entry(slot).or_default();
        if blamed {
            returned.running.push((task, attempt));
        } else {
            returned.unblamed += 1;
        }
        if self.ending {
            self.flush();
        }
    }

    /// Tells what came back without waiting for a successor any longer.
    fn flush(&mut self) {
        for (slot, returned) in std::mem::take(&mut self.returned) {
            // At the end every worker hands back what it has: only what a death cost is news.
            if returned.running.is_empty() && self.voice < Voice::Verbose {
                continue;
            }
            let text = format!("from worker {slot}{}", returned.phrase(self.terms.attempts_max));
            self.note(Hue::Good, "Requeued", &text);
        }
    }

    fn task_timed_out(&mut self, task: TaskId, who: &Who) {
        let limit =
            self.terms.task_timeout.map(|limit| format!(" {}", phrase::limit(limit))).unwrap_or_default();
        let text = format!(
            "task {task} ran past{limit} in worker {} pid {}, which is killed for it",
            who.slot, who.pid
        );
        self.note(Hue::Bad, "TIMED OUT", &text);
    }

    fn draining(&mut self, leased: u64, backlog: u64) {
        self.ending = true;
        self.flush();
        let rest = match (leased, backlog) {
            (0, 0) => "nothing is left to do · the workers leave".to_owned(),
            _ => format!("{} in hand to the end · {backlog} not begun stay undone", counted(leased, "task")),
        };
        self.note(Hue::Warn, "Draining", &rest);
        if self.voice >= Voice::Normal {
            self.screen.more("a second Ctrl-C kills the workers at once");
        }
    }

    fn holding(&mut self, known: bool) {
        self.flush();
        let total = if known { "total known" } else { "all settled, but there is no total" };
        self.note(Hue::Good, "Holding", &format!("{total} · workers stay: Ctrl-C ends them"));
    }

    fn gave_up(&mut self, reason: &str, last_lines: &[String]) {
        self.ending = true;
        self.flush();
        self.bad("GAVE UP", &phrase::reason(reason));
        for line in last_lines {
            self.screen.more(&format!("│ {}", phrase::reason(line)));
        }
    }

    fn done(&mut self, done: &Done) {
        self.flush();
        if done.total.is_some() && done.exact {
            self.note(Hue::Good, "Done", &phrase::done(done));
            return;
        }
        self.bad("UNFINISHED", &phrase::unfinished(done));
        self.screen.more(&format!("no total · the whole story is in {}", self.terms.events.display()));
    }
}

#[cfg(test)]
mod tests;
