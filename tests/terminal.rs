//! A terminal, and what it sends: to the whole group in front, and to whoever leads the session when the line is cut.

use crate::stage::{Stage, eventually};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::process::{Child, Command, Stdio};

/// A run in a terminal of its own, once a worker is at work; `None`, said aloud, where there is no `script` to make one.
fn in_terminal(stage: &Stage, shell: &str) -> Option<Child> {
    let supervisor = stage.command("--run r --procs 2 --pace 20ms --range 0..1_000 --tasks 1_000");
    let words = std::iter::once(supervisor.get_program()).chain(supervisor.get_args());
    let line: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    let mut command = Command::new("script");
    command.args(["-qec", &shell.replace("RUN", &line.join(" ")), "/dev/null"]).env_clear();
    command
        .envs(supervisor.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .env("SHELL", "/bin/sh");
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let Ok(mut script) = spawned else {
        eprintln!("SKIPPED: a run in a terminal: there is no script(1) here");
        return None;
    };
    eventually("a task is settled", || {
        assert!(script.try_wait().expect("our child").is_none(), "it ended before it was at work");
        let status = fs::read(stage.dir().join("s/runs/r/status.json")).ok()?;
        let status: Value = serde_json::from_slice(&status).ok()?;
        (status["tally"]["settled"].as_u64() > Some(0)).then_some(())
    });
    Some(script)
}

fn story(stage: &Stage) -> Vec<Value> {
    let story = fs::read_to_string(stage.dir().join("s/runs/r/events.ndjson")).unwrap_or_default();
    story.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The run was drained, no worker noticed anything else, and it can be gone on with.
#[track_caller]
fn assert_drained(stage: &Stage, what: &str) {
    let story = story(stage);
    let done = story.last().expect("a story");
    assert!(done["missing"].as_u64() > Some(0), "{what}: {done}");
    assert_eq!(
        (&done["ev"], &done["lost"], &done["abandoned"]),
        (&"done".into(), &0.into(), &0.into()),
        "{what}"
    );
    let deaths: Vec<&Value> = story.iter().filter(|line| line["ev"] == "worker_exit").collect();
    assert!(deaths.iter().all(|death| death["planned"] == true), "{what}: {deaths:?}");
    let resumed = stage.ask("resume r --pace 0ms");
    assert_eq!((resumed.code, &resumed.stdout[..]), (Some(0), "499500\n"), "{what}: {}", resumed.stderr);
}

#[test]
fn a_cut_line_drains_the_run_and_leaves_nobody() {
    for shell in ["exec RUN", "RUN; true"] {
        let stage = Stage::new();
        let Some(mut script) = in_terminal(&stage, shell) else { return };
        script.kill().expect("our child");
        script.wait().expect("our child");
        eventually("nobody is left", || stage.processes().is_empty().then_some(()));
        let signals: Vec<Value> = story(&stage).into_iter().filter(|line| line["ev"] == "draining").collect();
        assert_eq!(signals.len(), 1, "{shell}: {signals:?}");
        assert_drained(&stage, shell);
    }
}

#[test]
fn ctrl_c_in_a_terminal_is_heard_by_the_supervisor_alone() {
    for (shell, code) in [("exec RUN", 130), ("RUN; exit $?", 130)] {
        let stage = Stage::new();
        let Some(mut script) = in_terminal(&stage, shell) else { return };
        script.stdin.as_mut().expect("piped").write_all(b"\x03").expect("it reads");
        let status = eventually("it ends", || script.try_wait().expect("our child"));
        assert_eq!(status.code(), Some(code), "{shell}");
        assert_drained(&stage, shell);
    }
}
