//! Ends: the supervisor's own death, and being asked to end.

use crate::faults::left_behind;
use crate::stage::{Stage, eventually, is_alive, kill};
use std::time::{Duration, Instant};

/// Kills the supervisor and returns how long it took until none of `pids` was left.
fn all_gone_after_kill(supervisor: u64, pids: &[u64]) -> Duration {
    kill("KILL", supervisor);
    let began = Instant::now();
    eventually("everybody is gone", || (!pids.iter().any(|pid| is_alive(*pid))).then_some(()));
    began.elapsed()
}

/// The bar is 50 ms on an idle machine; tests run beside each other on two cores.
const SOON: Duration = Duration::from_millis(500);

#[test]
fn nobody_outlives_a_killed_supervisor_idle_busy_or_stopped() {
    for method in ["fork", "spawn"] {
        for work in ["--range 0..1000 --tasks 10 --hold", "--pace 20ms --range 0..100_000 --tasks 10_000"] {
            let mut run = Stage::new().with(&format!("--procs 4 --start-method {method} {work}")).start();
            let mut pids = run.wait_ready(4);
            kill("STOP", pids[0]);
            pids.push(run.template());
            let took = all_gone_after_kill(run.pid(), &pids);
            assert!(took < SOON, "{method}, {work}: {took:?}");
        }
    }
}

#[test]
fn grandchildren_in_a_workers_group_do_not_outlive_a_killed_supervisor() {
    for method in ["fork", "spawn"] {
        let stage = Stage::new().stunt("child@500").with("--procs 2 --range 0..1_000 --tasks 10 --hold");
        let mut run = stage.with(&format!("--start-method {method}")).start();
        run.wait_for("all is settled", |line| line["ev"] == "holding");
        let workers = run.wait_ready(2);
        let grandchild = eventually("the grandchild is named", || {
            workers.iter().find_map(|worker| left_behind(&run.log(*worker)))
        });
        assert!(is_alive(grandchild));
        let took = all_gone_after_kill(run.pid(), &[workers[0], workers[1], grandchild, run.template()]);
        assert!(took < SOON, "{method}: {took:?}");
    }
}

#[test]
fn workers_that_are_no_daemons_finish_the_task_in_hand_before_they_leave() {
    let stage = Stage::new().with("--procs 2 --pace 300ms --range 0..1_000 --tasks 100 --no-daemon");
    let mut run = stage.start();
    let workers = run.wait_ready(2);
    eventually("both have begun", || {
        workers.iter().all(|worker| run.log(*worker).contains("start task")).then_some(())
    });
    kill("KILL", run.pid());
    eventually("both have left", || (!workers.iter().any(|worker| is_alive(*worker))).then_some(()));
    for worker in workers {
        let log = run.log(worker);
        let (started, ended) = (log.matches("start task").count(), log.matches("end task").count());
        assert_eq!(started, ended, "a task was cut off:\n{log}");
        assert!(log.contains("the supervisor is gone"), "{log}");
    }
}

#[test]
fn what_a_worker_that_is_no_daemon_had_started_goes_when_its_task_is_done() {
    let stage = Stage::new().stunt("child@5").with("--procs 1 --pace 300ms --range 0..1_000 --tasks 100");
    let mut run = stage.with("--no-daemon").start();
    let worker = run.wait_ready(1)[0];
    let grandchild = eventually("the grandchild is named", || left_behind(&run.log(worker)));
    kill("KILL", run.pid());
    eventually("the worker has left", || (!is_alive(worker)).then_some(()));
    eventually("and its child with it", || (!is_alive(grandchild)).then_some(()));
}

#[test]
fn ctrl_c_is_heard_while_a_worker_binary_says_nothing() {
    let stage = Stage::new();
    let mute = stage.dir().join("mute");
    // Written by another process: a file that this one has open for writing cannot be executed (ETXTBSY), and
    // a test beside this one may fork at that very moment.
    let script = format!("printf '#!/bin/sh\\nexec sleep 600\\n' > {0} && chmod +x {0}", mute.display());
    assert!(std::process::Command::new("sh").args(["-c", &script]).status().expect("sh").success());
    let mut command = stage.command(&format!("--procs 1 --worker {}", mute.display()));
    let mut child = command.stderr(std::process::Stdio::piped()).spawn().expect("the supervisor starts");
    eventually("the mute one sleeps", || (stage.processes().len() == 2).then_some(()));
    kill("INT", child.id().into());
    assert_eq!(child.wait().expect("our child").code(), Some(130));
}

#[test]
fn a_run_under_nohup_outlives_a_hangup() {
    let stage = Stage::new();
    let supervisor = stage.command("--procs 1 --range 0..10 --hold -q");
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]).arg(supervisor.get_program());
    command.args(supervisor.get_args()).env_clear().stdout(std::process::Stdio::null());
    command.envs(supervisor.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child = command.spawn().expect("sh");
    stage.wait_holding();
    kill("HUP", child.id().into());
    kill("TERM", child.id().into());
    assert_eq!(child.wait().expect("our child").code(), Some(0), "TERM was the first signal that it heard");
}

#[test]
fn the_first_ctrl_c_drains_and_says_what_is_missing() {
    let stage = Stage::new().with("--procs 2 --pace 20ms --range 0..1_000 --tasks 1_000");
    let mut run = stage.start();
    run.wait_ready(2);
    kill("INT", run.pid());
    let (finished, _run) = run.finish();
    assert_eq!(finished.code, Some(130), "{}", finished.stderr);
    let done = finished.done();
    assert!(done["total"].is_null() && done["missing"].as_u64() > Some(0), "{done}");
    assert_eq!((&done["lost"], &done["abandoned"]), (&0.into(), &0.into()), "{done}");
}

#[test]
fn sigterm_drains_with_its_own_exit_code() {
    let mut run = Stage::new().with("--procs 2 --pace 20ms --range 0..1_000 --tasks 1_000").start();
    run.wait_ready(2);
    kill("TERM", run.pid());
    assert_eq!(run.finish().0.code, Some(143));
}

#[test]
fn the_second_ctrl_c_kills() {
    let stage = Stage::new().with("--procs 2 --pace 600s --range 0..1_000 --tasks 10 --grace 600s");
    let mut run = stage.start();
    run.wait_ready(2);
    kill("INT", run.pid());
    run.wait_for("the drain is told", |line| line["ev"] == "draining");
    kill("INT", run.pid());
    let (finished, _run) = run.finish();
    assert_eq!(finished.code, Some(130), "{}", finished.stderr);
}

#[test]
fn a_drain_that_gives_up_a_task_in_hand_says_so_with_exit_103() {
    let stage = Stage::new().with("--procs 2 --pace 600s --range 0..1_000 --tasks 10 --grace 100ms");
    let mut run = stage.start();
    let workers = run.wait_ready(2);
    eventually("both have begun", || {
        workers.iter().all(|worker| run.log(*worker).contains("start task")).then_some(())
    });
    kill("INT", run.pid());
    let (finished, _run) = run.finish();
    assert_eq!(finished.code, Some(103), "{}", finished.stderr);
    assert_eq!(finished.done()["abandoned"], 2);
}

#[test]
fn a_drain_prints_two_lines_and_tells_what_a_second_ctrl_c_does() {
    let stage = Stage::new();
    let mut command = stage.command("--procs 2 --pace 20ms --range 0..1_000 --tasks 1_000");
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let child = command.spawn().expect("the supervisor starts");
    eventually("workers are at work", || {
        let status = std::fs::read_to_string(stage.dir().join("s/latest/status.json")).ok()?;
        status.contains("\"life\":\"ready\"").then_some(())
    });
    kill("INT", child.id().into());
    let output = child.wait_with_output().expect("it ends");
    let told = String::from_utf8_lossy(&output.stderr);
    let at = told.lines().position(|line| line.contains("Draining")).unwrap_or_else(|| panic!("{told}"));
    assert!(told.lines().skip(at).take(2).any(|line| line.contains("Ctrl-C")), "{told}");
    assert!(output.stdout.is_empty(), "no total of a part: {:?}", output.stdout);
}

#[test]
fn a_reader_that_does_not_read_holds_up_nothing_but_the_last_words() {
    let stage = Stage::new();
    let (_unread, mut full) = std::io::pipe().expect("a pipe");
    std::io::Write::write_all(&mut full, &[b'\n'; 65_536]).expect("just as much as a pipe holds");
    let mut command = stage.command("--procs 2 --range 0..1_000 --tasks 10 --format json");
    let mut child = command.stdout(full).spawn().expect("the supervisor starts");
    eventually("the run is over", || {
        let status = std::fs::read_to_string(stage.dir().join("s/latest/status.json")).ok()?;
        status.contains(r#""state":"finished""#).then_some(())
    });
    eventually("nobody is left but the supervisor", || (stage.processes().len() == 1).then_some(()));
    // Again, as a person would: one that comes just before the signals are let go is for a loop that has ended.
    let status = eventually("a signal ends it", || {
        kill("INT", child.id().into());
        child.try_wait().expect("our child")
    });
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(2), "it would wait for ever");
}

#[test]
fn a_stopped_guard_is_woken_by_the_death_of_the_supervisor_and_does_its_part() {
    for _ in 0..10 {
        let mut run = Stage::new().with("--procs 2 --range 0..1_000 --tasks 10 --hold").start();
        let mut pids = run.wait_ready(2);
        pids.push(run.template());
        kill("STOP", run.template());
        kill("KILL", run.pid());
        eventually("nobody is left", || (!pids.iter().any(|pid| is_alive(*pid))).then_some(()));
    }
}
