//! What people read, line by line.

use super::*;
use brigade_supervisor::story::{Survived, Unkillable};
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
            beside: vec![],
        };
        self.tell(told)
    }

    fn requeued(self, task: u64, blamed: bool) -> Stage {
        let (task, attempt) = (TaskId(task), Attempt(if blamed { 2 } else { 1 }));
        self.tell(Told::TaskRequeued { task, attempt, blamed, failed: false, slot: SlotId(2), pid: 21_843 })
    }

    fn respawned(self) -> Stage {
        self.tell(Told::WorkerReady { slot: SlotId(2), pid: 22_017, incarnation: 2, after: 0.000_4 })
    }

    fn done(self, done: Done) -> Stage {
        self.tell(Told::Done(done))
    }

    #[track_caller]
    fn shows(&self, screen: &str) {
        let expected: Vec<&str> =
            screen.lines().skip(1).map(|line| line.strip_prefix("        ").unwrap_or(line)).collect();
        let text = self.0.screen.text();
        assert_eq!(text.lines().collect::<Vec<_>>(), &expected[..expected.len().saturating_sub(1)], "{text}");
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
    let stage = Stage::begun(Voice::Verbose, 1).tell(Told::TemplateExit { pid: 9, exit: Exit::Signal(9) });
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
        beside: vec![],
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
    for exit in
        [Exit::Signal(9), Exit::Signal(11), Exit::Signal(15), Exit::Signal(40), Exit::Code(3), Exit::Unknown]
    {
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
    let stage = Stage::begun(Voice::Quiet, 1).tell(Told::TaskQuarantined {
        task: TaskId(3),
        what: "sum of 3..4".into(),
        attempts,
    });
    let stage =
        stage.tell(Told::TaskFailed { task: TaskId(4), attempt: Attempt(1), reason: "no\u{1b}[2J".into() });
    let reason = "worker 0 died 6 times in 10 s".to_owned();
    stage.tell(Told::GaveUp { reason, last_lines: vec!["libx.so: not found".into()] }).done(done).shows(
        "
          QUARANTINE task 3 · sum of 3..4 · attempt 1 lost worker 0.1 to SIGSEGV · attempt 2 timed out in worker 0.2
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
        beside: vec![],
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

#[test]
fn a_run_that_is_resized_and_a_worker_that_nothing_can_kill_are_announced() {
    let stage = Stage::new(Voice::Normal).tell(Told::Resized { from: 4, to: 5 });
    let stage = stage.tell(Told::Resized { from: 2, to: 1 });
    let lost = Unkillable { slot: SlotId(2), pid: 21_843, incarnation: 1, state: Some('D') };
    stage.tell(Told::WorkerUnkillable(lost)).shows(
        "
             Resized from 4 to 5 workers
             Resized from 2 to 1 worker
          UNKILLABLE worker 2 pid 21843 (state D) · does not die of SIGKILL · given up, its tasks go back
        ",
    );
}
