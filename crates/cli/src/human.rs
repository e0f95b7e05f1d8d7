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
            &Told::WorkerExit { slot, pid, exit, planned, settled, task, .. } => {
                let moments = phrase::last_moments(exit, settled, task);
                self.worker_exit(&Who { slot, pid }, exit, planned, &moments);
            }
            &Told::WorkerStopped { slot, pid, task, .. } => self.worker_stopped(&Who { slot, pid }, task),
            &Told::WorkerContinued { slot, pid, .. } => {
                self.warn("Continued", &format!("worker {slot} pid {pid}"));
            }
            Told::WorkerGarbled { slot, pid, reason, .. } => {
                self.warn("GARBLED", &format!("worker {slot} pid {pid} · {reason} · killing it"));
            }
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
            Told::TaskQuarantined { task, attempts } => {
                self.bad("QUARANTINE", &format!("task {task} · {}", phrase::story(attempts)));
            }
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
            && self.first.len() == self.unborn as usize
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
mod tests {
    use super::*;
    use brigade_supervisor::story::Survived;
    use brigade_wire::{FailedAttempt, Mishap, WorkerId};

    struct Stage(Human<Vec<u8>>);

    impl Stage {
        fn new(voice: Voice) -> Stage {
            let events = "/r/events.ndjson".into();
            let terms = Terms { attempts_max: 3, task_timeout: None, trial: None, events };
            Stage(Human::new(Screen::of_bytes(false, true), voice, terms))
        }

        fn tell(mut self, told: Told) -> Stage {
            self.0.tell(&Line { v: 1, t: 0.0, told });
            self
        }

        fn begun(voice: Voice, procs: u32) -> Stage {
            let mut stage = Stage::new(voice).tell(Told::RunStart {
                run: "r".into(),
                pid: 1,
                procs,
                cores: 2,
                tasks: 1_000,
                settled: 0,
                work: "sum of 0..20_000_000_000".into(),
                daemon: true,
                start_method: "fork".into(),
                logs: "/r/logs".into(),
            });
            for n in 0..procs {
                let (slot, pid) = (SlotId(n), 21_841 + n);
                stage = stage.tell(Told::WorkerStart { slot, pid, incarnation: 1 });
                stage = stage.tell(Told::WorkerReady { slot, pid, incarnation: 1, after: 0.0012 });
            }
            stage
        }

        fn killed(self, exit: Exit, task: Option<u64>) -> Stage {
            let task = task.map(TaskId);
            let told = Told::WorkerExit {
                slot: SlotId(2),
                pid: 21_843,
                incarnation: 1,
                exit,
                planned: false,
                settled: 71,
                task,
            };
            self.tell(told)
        }

        fn requeued(self, task: u64, blamed: bool) -> Stage {
            let (task, attempt) = (TaskId(task), Attempt(if blamed { 2 } else { 1 }));
            self.tell(Told::TaskRequeued {
                task,
                attempt,
                blamed,
                failed: false,
                slot: SlotId(2),
                pid: 21_843,
            })
        }

        fn respawned(self) -> Stage {
            self.tell(Told::WorkerReady { slot: SlotId(2), pid: 22_017, incarnation: 2, after: 0.000_4 })
        }

        fn done(self, done: Done) -> Stage {
            self.tell(Told::Done(done))
        }

        #[track_caller]
        fn shows(&self, screen: &str) {
            let expected: Vec<&str> = screen
                .lines()
                .skip(1)
                .map(|line| line.strip_prefix("            ").unwrap_or(line))
                .collect();
            let text = self.0.screen.text();
            assert_eq!(
                text.lines().collect::<Vec<_>>(),
                &expected[..expected.len().saturating_sub(1)],
                "{text}"
            );
        }
    }

    fn exact() -> Done {
        let (retried, restarts) = (1, 1);
        Done {
            total: Some("45".into()),
            tasks: 1_000,
            settled: 1_000,
            retried,
            restarts,
            exact: true,
            seconds: 2.9,
            ..Done::default()
        }
    }

    #[test]
    fn a_session_with_a_killed_worker_reads_like_the_readme() {
        let stage = Stage::begun(Voice::Normal, 4).killed(Exit::Signal(9), Some(287)).requeued(287, true);
        stage.respawned().done(exact()).shows(
            "
                Starting 4 workers on 2 cores · sum of 0..20_000_000_000 in 1000 tasks
                 Workers 21841 21842 21843 21844 · logs in /r/logs
                  KILLED worker 2 pid 21843 · SIGKILL · after 71 tasks · held task 287
                 Respawn worker 2 pid 22017 in 0.4 ms · task 287 requeued, attempt 2 of 3
                    Done 1000 tasks in 2.9 s · 0 lost · 1 retried · 1 restart · sum exact
            ",
        );
    }

    #[test]
    fn a_quiet_run_that_makes_its_deaths_good_says_nothing() {
        let stage = Stage::begun(Voice::Quiet, 4).killed(Exit::Signal(9), Some(287)).requeued(287, true);
        stage.respawned().done(exact()).shows("\n");
    }

    #[test]
    fn a_verbose_run_says_everything() {
        let stage =
            Stage::begun(Voice::Verbose, 1).tell(Told::TemplateExit { pid: 9, exit: Exit::Signal(9) });
        let stage = stage.tell(Told::TemplateStart { pid: 10, incarnation: 2 });
        let (slot, exit) = (SlotId(0), Exit::DRAINED);
        let stage = stage.tell(Told::WorkerExit {
            slot,
            pid: 21_841,
            incarnation: 1,
            exit,
            planned: true,
            settled: 1_000,
            task: None,
        });
        stage.done(exact()).shows(
            "
                Starting 1 worker on 2 cores · sum of 0..20_000_000_000 in 1000 tasks
                    Born worker 0 pid 21841, number 1 in its slot
                   Ready worker 0 pid 21841 in 1.2 ms
                 Workers 21841 · logs in /r/logs
                Template pid 9 is gone (SIGKILL) · workers do not notice
                Template pid 10, number 2
                   Ended worker 0 pid 21841 · exit code 0 · after 1000 tasks · idle
                    Done 1000 tasks in 2.9 s · 0 lost · 1 retried · 1 restart · sum exact
            ",
        );
    }

    #[test]
    fn under_chaos_deaths_are_no_news_and_the_summary_counts_them() {
        let mut stage = Stage::new(Voice::Normal);
        stage.0.terms.trial = Some("2 faults over the run, seed 7".into());
        stage = stage.tell(Told::WorkerReady { slot: SlotId(2), pid: 21_843, incarnation: 1, after: 0.001 });
        stage = stage.tell(Told::Chaos { slot: Some(SlotId(2)), pid: 21_843, fault: "KILL".into() });
        stage = stage.killed(Exit::Signal(9), Some(287)).requeued(287, true).respawned();
        let fault_kinds = [("KILL".to_string(), 1)].into_iter().collect();
        let survived = Some(Survived { faults: 1, faults_wanted: 2, seed: 7, fault_kinds });
        stage.done(Done { survived, ..exact() }).shows(
            "
                    Done 1000 tasks in 2.9 s · 0 lost · 1 retried · 1 restart · sum exact · survived 1 of 2 faults (seed 7: 1 KILL)
            ",
        );
    }

    #[test]
    fn each_death_has_its_verb_and_no_culprit() {
        let mut stage = Stage::new(Voice::Normal);
        for exit in [
            Exit::Signal(9),
            Exit::Signal(11),
            Exit::Signal(15),
            Exit::Signal(40),
            Exit::Code(3),
            Exit::Unknown,
        ] {
            stage = stage.killed(exit, None);
        }
        stage.shows(
            "
                  KILLED worker 2 pid 21843 · SIGKILL · after 71 tasks · idle
                 CRASHED worker 2 pid 21843 · SIGSEGV · after 71 tasks · idle
                   ENDED worker 2 pid 21843 · SIGTERM · after 71 tasks · idle
                   ENDED worker 2 pid 21843 · signal 40 · after 71 tasks · idle
                  EXITED worker 2 pid 21843 · exit code 3 · after 71 tasks · idle
                    DIED worker 2 pid 21843 · unknown cause · after 71 tasks · idle
            ",
        );
    }

    #[test]
    fn what_came_back_is_told_even_if_no_successor_comes() {
        let stage = Stage::new(Voice::Normal).requeued(5, true).requeued(6, false).requeued(7, false);
        let stage = stage.tell(Told::BackingOff { slot: SlotId(2), seconds: 0.1 });
        let stage = stage.requeued(8, true).tell(Told::Draining { leased: 4, backlog: 12 }).requeued(9, true);
        let stage = stage.requeued(10, false);
        stage.shows(
            "
             Backing off worker 2 for 100 ms · task 5 requeued, attempt 2 of 3 · 2 tasks handed back
                Requeued from worker 2 · task 8 requeued, attempt 2 of 3
                Draining 4 tasks in hand to the end · 12 not begun stay undone
                         a second Ctrl-C kills the workers at once
                Requeued from worker 2 · task 9 requeued, attempt 2 of 3
            ",
        );
    }

    #[test]
    fn many_workers_are_counted_instead_of_named() {
        let stage = Stage::begun(Voice::Normal, 18);
        let text = stage.0.screen.text();
        assert!(text.ends_with(" 21855 21856 … and 2 more · logs in /r/logs\n"), "{text}");
    }

    #[test]
    fn what_is_missing_and_where_to_look_is_said_even_quietly() {
        let worker = WorkerId { slot: SlotId(0), incarnation: 1 };
        let attempts = vec![
            FailedAttempt { attempt: Attempt(1), worker, end: Mishap::Crashed(Exit::Signal(11)) },
            FailedAttempt { attempt: Attempt(2), worker: worker.successor(), end: Mishap::TimedOut },
        ];
        let done = Done {
            tasks: 10,
            settled: 7,
            failed: 1,
            quarantined: 1,
            missing: 3,
            seconds: 1.2,
            ..Done::default()
        };
        let stage = Stage::begun(Voice::Quiet, 1).tell(Told::TaskQuarantined { task: TaskId(3), attempts });
        let stage = stage.tell(Told::TaskFailed {
            task: TaskId(4),
            attempt: Attempt(1),
            reason: "no\u{1b}[2J".into(),
        });
        let reason = "worker 0 died 6 times in 10 s".to_owned();
        stage.tell(Told::GaveUp { reason, last_lines: vec!["libx.so: not found".into()] }).done(done).shows(
            "
              QUARANTINE task 3 · attempt 1 lost worker 0.1 to SIGSEGV · attempt 2 timed out in worker 0.2
                  FAILED task 4 in attempt 1 · no\\u{1b}[2J
                 GAVE UP worker 0 died 6 times in 10 s
                         │ libx.so: not found
              UNFINISHED 7 of 10 tasks settled in 1.2 s · 1 failed · 1 in quarantine · 3 not done · 0 lost
                         no total · the whole story is in /r/events.ndjson
            ",
        );
    }

    #[test]
    fn a_stopped_worker_a_hold_and_its_end_are_announced() {
        let stage = Stage::new(Voice::Normal).tell(Told::WorkerStopped {
            slot: SlotId(1),
            pid: 7,
            incarnation: 1,
            task: Some(TaskId(12)),
        });
        let stage = stage.tell(Told::WorkerContinued { slot: SlotId(1), pid: 7, incarnation: 1 });
        let stage = stage.tell(Told::Holding { total: Some("45".into()) });
        stage.tell(Told::Draining { leased: 0, backlog: 0 }).shows(
            "
                 STOPPED worker 1 pid 7 (state T) · it keeps task 12 until it is continued or killed
               Continued worker 1 pid 7
                 Holding total known · workers stay: Ctrl-C ends them
                Draining nothing is left to do · the workers leave
                         a second Ctrl-C kills the workers at once
            ",
        );
    }

    #[test]
    fn the_progress_line_is_drawn_on_a_terminal_and_not_when_all_is_settled() {
        let mut stage = Stage::new(Voice::Normal);
        stage.0.progress(&Tallied {
            tasks: 9,
            settled: 3,
            alive: 4,
            retried: 1,
            restarts: 2,
            ..Tallied::default()
        });
        stage.0.clear();
        stage.0.progress(&Tallied { tasks: 9, settled: 9, ..Tallied::default() });
        assert_eq!(stage.0.screen.text(), "     Running 3 of 9 tasks · 4 workers ·\r\x1b[K");
    }
}
