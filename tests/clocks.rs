//! Clocks that differ: a run in a time namespace, whose monotonic clock is eleven days ahead, as after a reboot it is behind.

use crate::stage::{Stage, eventually, is_alive, kill};
use serde_json::Value;
use std::fs;
use std::process::{Command, Stdio};

const AHEAD: [&str; 7] =
    ["--user", "--map-root-user", "--time", "--monotonic=1000000", "--boottime=1000000", "--fork", "--"];

/// A command whose clocks are ahead; `None`, said aloud, where that cannot be had.
fn ahead(stage: &Stage, args: &str) -> Option<Command> {
    let probe = Command::new("unshare").args(AHEAD).args(["cat", "/proc/uptime"]).output();
    let uptime = probe.as_ref().map_or("".into(), |probe| String::from_utf8_lossy(&probe.stdout));
    if uptime.split('.').next().and_then(|whole| whole.parse::<u64>().ok()).is_none_or(|now| now < 1_000_000)
    {
        eprintln!("SKIPPED: another clock: no time namespace can be had here: {probe:?}");
        return None;
    }
    let plain = stage.command(args);
    let mut command = Command::new("unshare");
    command.args(AHEAD).arg(plain.get_program()).args(plain.get_args()).env_clear().stdin(Stdio::null());
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Some(command)
}

/// The status of run `r`, once it says that a task is settled.
fn at_work(stage: &Stage) -> Value {
    eventually("a task is settled", || {
        let status = fs::read(stage.dir().join("s/runs/r/status.json")).ok()?;
        let status: Value = serde_json::from_slice(&status).ok()?;
        (status["tally"]["settled"].as_u64() > Some(0)).then_some(status)
    })
}

#[test]
fn a_run_whose_clock_is_ahead_is_seen_from_outside_and_resumed_behind_it() {
    let stage = Stage::new();
    let args = "--run r --procs 2 --range 0..1_000 --tasks 1_000 --pace 20ms --task-timeout 10s";
    let Some(mut command) = ahead(&stage, args) else { return };
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("unshare");
    let supervisor = at_work(&stage)["pid"].as_u64().expect("a number");
    let seen = stage.ask("ps");
    assert_eq!(seen.code, Some(0), "{}{}", seen.stdout, seen.stderr);
    assert!(seen.stdout.contains(&supervisor.to_string()), "{}", seen.stdout);
    kill("KILL", supervisor);
    child.wait().expect("our child");
    eventually("nobody is left", || stage.processes().is_empty().then_some(()));
    let (finished, _run) = stage.anew("resume r --pace 0ms --task-timeout 10s").start().finish();
    finished.assert_exact(1_000);
    assert_eq!(finished.count("task_timed_out"), 0);
}

#[test]
fn a_run_is_seen_and_resumed_by_whoever_has_a_clock_ahead() {
    let stage = Stage::new();
    let args = "--run r --procs 2 --range 0..1_000 --tasks 1_000 --pace 20ms";
    let Some(mut ps) = ahead(&stage, "ps") else { return };
    let mut child =
        stage.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    at_work(&stage);
    let seen = ps.output().expect("unshare");
    assert!(
        seen.status.success() && is_alive(child.id().into()),
        "{}",
        String::from_utf8_lossy(&seen.stderr)
    );
    child.kill().expect("our child");
    child.wait().expect("our child");
    eventually("nobody is left", || stage.processes().is_empty().then_some(()));
    let args = "resume r --pace 0ms --task-timeout 10s";
    let resumed = ahead(&stage, args).expect("it was had before").output().expect("unshare");
    let told = String::from_utf8_lossy(&resumed.stderr);
    assert_eq!((resumed.status.code(), &resumed.stdout[..]), (Some(0), &b"499500\n"[..]), "{told}");
}
