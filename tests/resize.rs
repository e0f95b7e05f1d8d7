//! One worker more, one worker fewer, while everybody is at work; and the terminal, which sends the same signals and
//! means something else.

use crate::stage::{Run, Stage, eventually, kill, state};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Asks for one worker more or fewer, and waits until the story says so.
#[track_caller]
fn resize(run: &mut Run, signal: &str, from: u64, to: u64) {
    let before = run.story().len();
    kill(signal, run.pid());
    eventually("resized", || {
        let line = run.story().into_iter().skip(before).find(|line| line["ev"] == "resized")?;
        (line["from"] == from && line["to"] == to).then_some(())
    });
}

#[track_caller]
fn wait_workers(run: &Run, workers: usize) {
    eventually("that many workers", || (run.alive().len() == workers).then_some(()));
}

fn status(dir: &Path) -> Option<Value> {
    serde_json::from_slice(&fs::read(dir.join("s/latest/status.json")).ok()?).ok()
}

#[test]
fn sigttin_adds_a_worker_and_sigttou_takes_one_away_and_no_task_is_lost_by_it() {
    for method in ["fork", "spawn"] {
        let args = format!("--procs 2 --pace 20ms --range 0..10_000 --tasks 400 --start-method {method}");
        let mut run = Stage::new().with(&args).start();
        run.wait_ready(2);
        resize(&mut run, "TTIN", 2, 3);
        resize(&mut run, "TTIN", 3, 4);
        wait_workers(&run, 4);
        let dir = run.stage.dir().to_path_buf();
        let shown = |procs: u64, rows: usize| {
            status(&dir)
                .filter(|it| it["procs"] == procs && it["slots"].as_array().map(Vec::len) == Some(rows))
        };
        eventually("the status has four", || shown(4, 4));
        for (from, to) in [(4, 3), (3, 2), (2, 1)] {
            resize(&mut run, "TTOU", from, to);
        }
        wait_workers(&run, 1);
        eventually("the status has one", || shown(1, 1));
        resize(&mut run, "TTIN", 1, 2);
        wait_workers(&run, 2);
        for worker in run.alive() {
            let status = fs::read_to_string(format!("/proc/{worker}/status")).expect("it lives");
            let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
            assert_eq!(
                blocked.map(str::trim),
                Some("0000000000000000"),
                "{method}: what is ours is not theirs"
            );
        }
        let (finished, _run) = run.finish();
        finished.assert_exact(10_000);
        let done = finished.done();
        assert_eq!(
            (&done["restarts"], &done["retried"]),
            (&Value::from(0), &Value::from(0)),
            "{method}: {done}"
        );
        let exits = finished.story.iter().filter(|line| line["ev"] == "worker_exit");
        let unplanned: Vec<_> = exits.filter(|line| line["planned"] != true).collect();
        assert!(unplanned.is_empty(), "{method}: {unplanned:?}");
        assert_eq!(finished.count("warning"), 0, "{method}");
    }
}

#[test]
fn every_schedule_can_be_resized() {
    for schedule in ["dynamic", "static", "round-robin", "weighted", "stealing"] {
        let args = format!("--procs 3 --pace 10ms --range 0..10_000 --tasks 300 --schedule {schedule}");
        let mut run = Stage::new().with(&args).start();
        run.wait_ready(3);
        resize(&mut run, "TTOU", 3, 2);
        resize(&mut run, "TTOU", 2, 1);
        wait_workers(&run, 1);
        resize(&mut run, "TTIN", 1, 2);
        let newest = eventually("another worker", || run.alive().into_iter().nth(1));
        eventually("it works", || run.log(newest).contains(" end task ").then_some(()));
        let (finished, _run) = run.finish();
        finished.assert_exact(10_000);
        assert_eq!(finished.done()["retried"], 0, "{schedule}");
    }
}

#[test]
fn fewer_than_one_and_more_than_there_can_be_are_refused_in_words() {
    let mut run = Stage::new().with("--procs 1 --hold --range 0..10 --tasks 2").start();
    run.wait_for("all is settled", |line| line["ev"] == "holding");
    kill("TTOU", run.pid());
    let warned = |text: &'static str| {
        move |line: &Value| line["message"].as_str().is_some_and(|message| message.contains(text))
    };
    run.wait_for("one stays", warned("one worker is the least"));
    crate::stage::end(run);

    let stage = Stage::new();
    let plain = stage.command("--procs 5 --hold --range 0..10 --tasks 5 --format json");
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 100; exec \"$0\" \"$@\""]).arg(plain.get_program()).args(plain.get_args());
    command.env_clear().envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("sh starts");
    stage.wait_holding();
    kill("TTIN", child.id().into());
    eventually("five are all", || {
        let told = fs::read_to_string(stage.dir().join("s/latest/events.ndjson")).ok()?;
        told.contains("not resized to 6: 5 workers are the most that this run can have").then_some(())
    });
    kill("INT", child.id().into());
    assert_eq!(child.wait().expect("our child").code(), Some(0));
}

#[test]
fn a_worker_that_is_one_too_many_leaves_at_once_when_it_is_idle() {
    let mut run = crate::stage::held("--procs 3");
    resize(&mut run, "TTOU", 3, 2);
    wait_workers(&run, 2);
    resize(&mut run, "TTIN", 2, 3);
    wait_workers(&run, 3);
    let run = crate::stage::end(run);
    let recycled = run.story().into_iter().filter(|line| line["ev"] == "worker_recycled").collect::<Vec<_>>();
    assert!(recycled.len() == 1 && recycled[0]["why"] == "resize", "{recycled:?}");
}

/// In the background of a terminal that stops whoever writes to it there, beside a program that reads from it: the
/// kernel sends SIGTTIN to both.
#[test]
fn the_terminal_neither_resizes_nor_stops_a_supervisor_in_the_background() {
    let stage = Stage::new();
    let plain = stage.command("");
    let args = "--procs 2 --pace 10ms --range 0..10_000 --tasks 300 --color never -v";
    let begun = "until test -e $SUPERVISOR_STATE_DIR/latest/status.json; do sleep 0.01; done";
    let job = format!("{} {args} & {begun}; cat </dev/tty & wait", env!("CARGO_BIN_EXE_supervisor"));
    let session = format!("set -m; stty tostop; sh -c '{job}' & cat >/dev/null");
    let mut command = Command::new("script");
    let screen = stage.dir().join("screen");
    command.args(["-qefc", &session]).arg(&screen).env_clear().env("SHELL", "/bin/sh");
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut terminal = match spawned {
        Ok(terminal) => terminal,
        Err(error) => {
            return eprintln!("SKIPPED: no terminal can be had here, for want of `script`: {error}");
        }
    };
    let supervisor = eventually("a supervisor", || status(stage.dir())?["pid"].as_u64());
    eventually("the terminal has stopped somebody", || {
        stage.processes().iter().any(|pid| state(*pid) == Some('T')).then_some(())
    });
    let told = eventually("it is done", || {
        assert_ne!(state(supervisor), Some('T'), "the supervisor was stopped");
        let told = fs::read_to_string(stage.dir().join("s/latest/events.ndjson")).ok()?;
        told.contains(r#""ev":"done""#).then_some(told)
    });
    assert!(told.contains(r#""exact":true"#) && !told.contains(r#""ev":"resized""#), "{told}");
    assert!(!told.contains("not resized"), "{told}");
    let story = "it has told its story to the terminal, which would stop whoever hears it";
    eventually(story, || (!crate::stage::is_alive(supervisor)).then_some(()));
    // Whoever holds the terminal writes it down when it comes to it.
    let whole = || fs::read_to_string(&screen).ok().filter(|shown| shown.contains("sum exact"));
    let shown = eventually("the terminal has shown the end", whole);
    assert!(!shown.contains("Unread"), "{shown}");
    stage.processes().iter().for_each(|pid| kill("KILL", *pid));
    let _ = terminal.wait();
}
