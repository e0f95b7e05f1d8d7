//! How workers come into the world, what they bring along, and what a dead template costs.

use crate::stage::{Run, Stage, eventually, is_alive, kill, stat, state};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

#[test]
fn a_worker_has_its_two_channels_and_its_stdio_and_no_other_descriptor() {
    for method in ["fork", "spawn"] {
        let mut run =
            Stage::new().with(&format!("--procs 3 --range 0..10 --hold --start-method {method}")).start();
        run.wait_for("all is settled", |line| line["ev"] == "holding");
        for worker in run.wait_ready(3) {
            let open = fs::read_dir(format!("/proc/{worker}/fd")).expect("it lives").flatten();
            let open: Vec<String> = open
                .map(|entry| fs::read_link(entry.path()).map_or("gone".into(), |to| to.display().to_string()))
                .collect();
            let sockets = open.iter().filter(|to| to.starts_with("socket:")).count();
            assert_eq!((open.len(), sockets), (5, 2), "{method}: {open:?}");
        }
        kill("INT", run.pid());
        run.finish().0.assert_exact(10);
    }
}

#[test]
fn a_worker_leads_its_own_group_dies_first_of_memory_and_dumps_no_core() {
    for method in ["fork", "spawn"] {
        let mut run =
            Stage::new().with(&format!("--procs 2 --range 0..10 --hold --start-method {method}")).start();
        run.wait_for("all is settled", |line| line["ev"] == "holding");
        for worker in run.wait_ready(2) {
            let stat = stat(worker).expect("it lives");
            assert_eq!(stat[2], worker.to_string(), "{method}: Ctrl-C in the terminal is not for it");
            assert_eq!(stat[1], run.pid().to_string(), "{method}: the supervisor is its real parent");
            let score = fs::read_to_string(format!("/proc/{worker}/oom_score_adj")).expect("it lives");
            assert_eq!(score.trim(), "500", "{method}");
            let limits = fs::read_to_string(format!("/proc/{worker}/limits")).expect("it lives");
            let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit");
            assert_eq!(core.split_whitespace().nth(4), Some("0"), "{method}: {core}");
        }
        kill("INT", run.pid());
        run.finish().0.assert_exact(10);
    }
}

#[test]
fn a_worker_has_the_limit_of_open_files_that_its_supervisor_was_started_with() {
    let stage = Stage::new();
    let supervisor = stage.command("--procs 1 --range 0..10 --hold -q");
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "ulimit -Sn 300; exec \"$0\" \"$@\""]).arg(supervisor.get_program());
    command.args(supervisor.get_args()).env_clear().stdout(std::process::Stdio::null());
    command.envs(supervisor.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child = command.spawn().expect("sh");
    let soft = |pid: u64| {
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
        let line = limits.lines().find(|line| line.starts_with("Max open files"))?.to_string();
        line.split_whitespace().nth(3)?.parse::<u64>().ok()
    };
    let own = u64::from(child.id());
    let others = eventually("a template and a worker", || {
        let others: Vec<u64> = stage.processes().into_iter().filter(|pid| *pid != own).collect();
        (others.len() == 2).then_some(others)
    });
    assert!(soft(own) > Some(300), "the supervisor raises its own");
    assert_eq!(others.into_iter().filter_map(soft).collect::<Vec<u64>>(), [300, 300]);
    stage.wait_holding();
    kill("INT", own);
    assert!(child.wait().expect("our child").success());
}

#[test]
fn a_killed_template_is_replaced_and_running_workers_do_not_notice() {
    for method in ["fork", "spawn"] {
        let stage = Stage::new().with("--procs 2 --pace 5ms --range 0..1_000 --tasks 200");
        let mut run = stage.with(&format!("--start-method {method}")).start();
        let workers: BTreeSet<u64> = run.wait_ready(2).into_iter().collect();
        let template = run.template();
        kill("KILL", template);
        run.wait_for("a new template", |line| line["ev"] == "template_start" && line["incarnation"] == 2);
        assert_eq!(run.alive().into_iter().collect::<BTreeSet<u64>>(), workers, "{method}");
        let victim = *workers.first().expect("two");
        kill("KILL", victim);
        run.wait_for("the next birth works", |line| line["ev"] == "worker_ready" && line["incarnation"] == 2);
        let (finished, _run) = run.finish();
        finished.assert_exact(1_000);
        assert_eq!(finished.done()["restarts"], 1, "{method}");
    }
}

/// A worker whose next so many templates are killed before they say anything: a file of the stage says how many.
fn mortal(stage: &Stage) -> (PathBuf, PathBuf) {
    let (path, left) = (stage.dir().join("mortal"), stage.dir().join("left"));
    // Written by another process: a file that this one has open for writing cannot be executed (ETXTBSY).
    let script = r#"printf '%s\n' '#!/bin/sh' "[ \$1 = template ] && read n < $2 && [ \$n -gt 0 ] && echo \$((n - 1)) > $2 && kill -9 \$\$" "exec $3 \"\$@\"" > $1 && chmod +x $1"#;
    let mut command = std::process::Command::new("sh");
    command.args(["-c", script, "sh"]).arg(&path).arg(&left).arg(env!("CARGO_BIN_EXE_worker"));
    assert!(command.status().expect("sh").success());
    (path, left)
}

#[test]
fn templates_killed_before_their_hello_are_replaced_until_it_is_the_fifth_in_a_row() {
    for (dead, code) in [(4, 0), (5, 2)] {
        let stage = Stage::new();
        let (worker, left) = mortal(&stage);
        fs::write(&left, format!("{dead}\n")).expect("our own directory");
        let finished = stage.ask(&format!("--procs 2 --range 0..1_000 --worker {}", worker.display()));
        assert_eq!(finished.code, Some(code), "{}", finished.stderr);
        assert_eq!(finished.stdout, if code == 0 { "499500\n" } else { "" });
        let is_named = finished.stderr.lines().count() == 1 && finished.stderr.contains("ended with SIGKILL");
        assert!(code == 0 || is_named, "{}", finished.stderr);
    }
}

#[test]
fn templates_killed_before_their_hello_in_the_middle_of_a_run_cost_nothing() {
    for method in ["fork", "spawn"] {
        let stage = Stage::new();
        let (worker, left) = mortal(&stage);
        fs::write(&left, "0\n").expect("our own directory");
        let args = format!("--procs 2 --range 0..1_000 --tasks 1_000 --pace 1ms --start-method {method}");
        let mut run = stage.with(&format!("{args} --worker {} --hold", worker.display())).start();
        let victim = run.wait_ready(2)[0];
        fs::write(&left, "4\n").expect("our own directory");
        kill("KILL", run.template());
        kill("KILL", victim);
        run.wait_for("the sixth lives", |line| line["ev"] == "template_start" && line["incarnation"] == 6);
        run.wait_ready(2);
        kill("INT", run.pid());
        let (finished, _run) = run.finish();
        assert_eq!((finished.count("template_exit"), finished.count("worker_unborn")), (5, 0));
    }
}

/// The kernel lists children by the thread that made them, and it is that thread's end that they die with.
#[test]
fn templates_and_workers_are_bound_to_the_thread_that_ends_last() {
    let mut run = Stage::new().with("--procs 2 --range 0..1_000 --tasks 10 --hold").start();
    run.wait_for("all is settled", |line| line["ev"] == "holding");
    let (victim, first, own) = (run.wait_ready(2)[0], run.template(), run.pid());
    kill("KILL", first);
    run.wait_for("a new template", |line| line["ev"] == "template_start" && line["incarnation"] == 2);
    kill("KILL", victim);
    run.wait_for("the next birth works", |line| line["ev"] == "worker_ready" && line["incarnation"] == 2);
    let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).expect("it lives");
    let of_first: BTreeSet<u64> = children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
    let all: BTreeSet<u64> = run.alive().into_iter().chain([run.template()]).collect();
    assert_eq!((all.len(), &of_first), (3, &all), "children of the first thread");
    kill("INT", own);
    run.finish().0.assert_exact(1_000);
}

#[test]
fn a_stopped_template_is_replaced_and_the_next_birth_works() {
    let mut run = Stage::new().with("--procs 2 --range 0..1_000 --tasks 10 --hold").start();
    let victim = run.wait_ready(2)[0];
    let template = run.template();
    kill("STOP", template);
    kill("KILL", victim);
    run.wait_for("the next birth works", |line| line["ev"] == "worker_ready" && line["incarnation"] == 2);
    eventually("the stopped template is gone", || (!is_alive(template)).then_some(()));
    kill("INT", run.pid());
    run.finish().0.assert_exact(1_000);
}

#[test]
fn templates_killed_in_the_middle_of_births_lose_no_worker() {
    let mut run = Stage::new().with("--procs 4 --range 0..1_000 --tasks 10 --hold").start();
    run.wait_for("all is settled", |line| line["ev"] == "holding");
    for _ in 0..25 {
        let workers = run.wait_ready(4);
        let template = run.template();
        workers.iter().for_each(|worker| kill("KILL", *worker));
        kill("KILL", template);
        eventually("nobody of the old is left", || {
            let ready = run.alive();
            (!workers.iter().any(|worker| ready.contains(worker))).then_some(())
        });
    }
    run.wait_ready(4);
    eventually("only those that are known are alive", || {
        let known: BTreeSet<u64> = run.alive().into_iter().chain([run.pid(), run.template()]).collect();
        let here: BTreeSet<u64> = run.stage.processes().into_iter().collect();
        here.is_subset(&known).then_some(())
    });
    kill("INT", run.pid());
    run.finish().0.assert_exact(1_000);
}

#[test]
fn a_supervisor_started_with_sigchld_ignored_still_knows_how_its_workers_died() {
    let stage = Stage::new().stunt("abort@500").once();
    let script = format!(
        "trap '' CHLD; exec {} --worker {} --procs 2 --range 0..1000 --tasks 10 --format json",
        env!("CARGO_BIN_EXE_supervisor"),
        std::path::Path::new(env!("CARGO_BIN_EXE_worker")).with_file_name("examples").join("stunt").display(),
    );
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &script]).env_clear().env("PATH", "/usr/bin:/bin").env("STUNT", "abort@500");
    command.env("SUPERVISOR_STATE_DIR", stage.dir().join("s")).env("STUNT_MARK", stage.dir().join("mark"));
    let output = command.output().expect("sh");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains(r#""exit":{"signal":6}"#), "{told}");
    assert_eq!(output.status.code(), Some(0), "{told}");
}

#[test]
fn a_stolen_status_is_an_unknown_death_that_costs_nothing() {
    for method in ["fork", "spawn"] {
        let args = "--procs 2 --range 0..1_000 --tasks 1_000 --pace 1ms --hold";
        let stage = Stage::new().beside_a_thief().with(&format!("{args} --start-method {method}"));
        let mut run = stage.start();
        let exits = |run: &Run| -> Vec<Value> {
            let story = run.story().into_iter();
            story.filter(|line| line["ev"] == "worker_exit").map(|line| line["exit"].clone()).collect()
        };
        eventually("three statuses were stolen", || {
            let told = exits(&run).len();
            kill("KILL", run.wait_ready(2)[0]);
            eventually("its death is told", || (exits(&run).len() > told).then_some(()));
            (exits(&run).iter().filter(|exit| **exit == "unknown").count() >= 3).then_some(())
        });
        run.wait_for("all is settled", |line| line["ev"] == "holding");
        kill("INT", run.pid());
        let (finished, _run) = run.finish();
        finished.assert_exact(1_000);
        assert!(!finished.stderr.contains("panicked"), "{}", finished.stderr);
    }
}

/// Signals that a process has blocked; SIGTTIN and SIGTTOU are bits 20 and 21.
fn blocked(pid: u64) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).expect("the line");
    u64::from_str_radix(mask.trim(), 16).expect("a mask")
}

#[test]
fn a_supervisor_started_with_signals_blocked_hears_them_and_its_workers_have_none_blocked() {
    for method in ["fork", "spawn"] {
        let stage = Stage::new();
        let args = format!("--procs 2 --range 0..1_000 --tasks 10 --hold -q --start-method {method}");
        let supervisor = stage.command(&args);
        let mut command = std::process::Command::new("env");
        command.arg("--block-signal").arg(supervisor.get_program()).args(supervisor.get_args()).env_clear();
        command.envs(supervisor.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let probe = std::process::Command::new("env").args(["--block-signal", "true"]).output();
        if !probe.is_ok_and(|probe| probe.status.success()) {
            return eprintln!("SKIPPED: a mask left blocked: env has no --block-signal here");
        }
        let mut child = command.stdout(std::process::Stdio::null()).spawn().expect("env");
        stage.wait_holding();
        let own = u64::from(child.id());
        let others: Vec<u64> = stage.processes().into_iter().filter(|pid| *pid != own).collect();
        assert_eq!((others.len(), blocked(own)), (3, 0b11 << 20), "{method}");
        assert!(others.iter().all(|pid| blocked(*pid) == 0), "{method}: template and workers");
        kill("TERM", own);
        assert_eq!(child.wait().expect("our child").code(), Some(0), "{method}: it heard it");
    }
}

#[test]
fn every_dead_worker_is_reaped_and_nobody_is_a_zombie() {
    let mut run = Stage::new().with("--procs 4 --range 0..1_000 --tasks 10 --hold").start();
    run.wait_for("all is settled", |line| line["ev"] == "holding");
    let mut dead = Vec::new();
    for _ in 0..10 {
        for worker in run.wait_ready(4) {
            kill("KILL", worker);
            dead.push(worker);
        }
        eventually("they are told dead", || {
            let alive = run.alive();
            (!dead.iter().any(|pid| alive.contains(pid))).then_some(())
        });
    }
    let parent = run.pid().to_string();
    for pid in dead {
        let is_body = state(pid) == Some('Z') && stat(pid).is_some_and(|stat| stat[1] == parent);
        assert!(!is_body, "pid {pid} was told dead and is a zombie");
    }
    kill("INT", run.pid());
    run.finish().0.assert_exact(1_000);
}

/// From the death to `worker_ready`, in milliseconds: the bar is for release builds, on an idle machine.
#[test]
fn a_replacement_is_ready_soon_after_a_kill() {
    let mut run = Stage::new().with("--procs 2 --range 0..1_000 --tasks 10 --hold").start();
    run.wait_for("all is settled", |line| line["ev"] == "holding");
    let began = Instant::now();
    for _ in 0..20 {
        let victim = run.wait_ready(2)[0];
        kill("KILL", victim);
        run.wait_for("the death is told", |line| line["ev"] == "worker_exit" && line["pid"] == victim);
    }
    run.wait_ready(2);
    let mut after: Vec<f64> = run
        .story()
        .iter()
        .filter(|line| line["incarnation"].as_u64() > Some(1))
        .filter_map(|line| line["after"].as_f64())
        .collect();
    after.sort_by(f64::total_cmp);
    assert_eq!(after.len(), 20);
    assert!(after[10] < 0.2, "median {} s of {after:?}, {:?} in all", after[10], began.elapsed());
    kill("INT", run.pid());
    run.finish().0.assert_exact(1_000);
}
