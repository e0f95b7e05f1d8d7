//! One log per PID: who wrote it, what it did, how it ended; and `supervisor logs`, which reads them.

use crate::stage::{Run, Stage, end, eventually, held, is_alive, kill};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// All logs in a directory, by pid.
fn logs_in(dir: &Path) -> BTreeMap<u64, String> {
    let found = fs::read_dir(dir).expect("a log directory").flatten().map(|entry| entry.path());
    let pid = |path: &Path| path.file_name()?.to_str()?.strip_suffix(".log")?.parse().ok();
    let log = |path: PathBuf| Some((pid(&path)?, fs::read_to_string(&path).ok()?));
    found.map(|path| log(path.clone()).unwrap_or_else(|| panic!("no log: {}", path.display()))).collect()
}

fn logs_of(run: &Run) -> BTreeMap<u64, String> {
    logs_in(&run.stage.dir().join("s/latest/logs"))
}

/// The pids of a story's `ev` lines.
fn pids(story: &[Value], ev: &str) -> BTreeSet<u64> {
    story.iter().filter(|line| line["ev"] == ev).filter_map(|line| line["pid"].as_u64()).collect()
}

/// The time of day that a line begins with, in milliseconds.
#[track_caller]
fn time(line: &str) -> u64 {
    let (time, _) = line.split_once(' ').unwrap_or_else(|| panic!("no time: {line}"));
    let parts: Vec<u64> = time.split([':', '.']).filter_map(|part| part.parse().ok()).collect();
    assert!(parts.len() == 4 && time.len() == "hh:mm:ss.mmm".len(), "no time: {line}");
    ((parts[0] * 60 + parts[1]) * 60 + parts[2]) * 1_000 + parts[3]
}

/// What follows `word` in a line.
fn after<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    line.split_once(word)?.1.split([' ', ',', ':']).next()
}

// What is written.

#[test]
fn every_process_has_a_log_that_begins_with_who_it_is() {
    for (args, daemon) in [("", "yes"), ("--start-method spawn", "yes"), ("--no-daemon", "no")] {
        let mut run = held(&format!("--procs 3 {args}"));
        kill("KILL", run.wait_ready(3)[0]);
        run.wait_for("a successor", |line| line["ev"] == "worker_ready" && line["incarnation"] == 2);
        let (supervisor, template) = (run.pid(), run.template());
        kill("INT", supervisor);
        let (finished, run) = run.finish();
        let logs = logs_of(&run);
        let mut known = pids(&finished.story, "worker_start");
        for line in finished.story.iter().filter(|line| line["ev"] == "worker_start") {
            let (slot, incarnation, pid) = (&line["slot"], &line["incarnation"], &line["pid"]);
            let who = format!("worker slot {slot} incarnation {incarnation} pid {pid} ppid {supervisor}");
            let first = logs[&pid.as_u64().expect("a pid")].lines().next().expect("a line").to_string();
            assert!(first.contains(&format!(" {who} daemon {daemon} build ")), "{first}");
            assert!(after(&first, "build ").is_some_and(|build| !build.is_empty()), "{first}");
            time(&first);
        }
        let first = logs[&template].lines().next().expect("a line");
        assert!(
            first.contains(&format!(" template (and guard) pid {template} ppid {supervisor} ")),
            "{first}"
        );
        known.insert(template);
        assert_eq!(logs.into_keys().collect::<BTreeSet<u64>>(), known, "one log for each, and nothing else");
    }
}

#[test]
fn a_task_over_a_millisecond_has_its_start_and_its_end_with_the_time() {
    let stage = Stage::new().with("--procs 2 --pace 3ms --range 0..1_000 --tasks 40");
    let (finished, run) = stage.start().finish();
    finished.assert_exact(1_000);
    let mut ran = Vec::new();
    for (pid, log) in logs_of(&run) {
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(" task ")).collect();
        for pair in lines.chunks(2) {
            let [start, end] = pair else { panic!("pid {pid}: half a task:\n{log}") };
            assert!(start.contains("start task") && end.contains("end task"), "pid {pid}:\n{log}");
            assert_eq!(after(start, "task "), after(end, "task "), "pid {pid}:\n{log}");
            assert!(time(end) >= time(start) + 2, "pid {pid}: paced to 3 ms: {start} / {end}");
            let lasted = after(end, "value in ").and_then(|millis| millis.parse::<f64>().ok());
            assert!(lasted >= Some(3.0), "{end}");
            ran.extend(after(start, "task ").and_then(|task| task.parse::<u64>().ok()));
        }
    }
    ran.sort_unstable();
    assert_eq!(ran, (0..40).collect::<Vec<u64>>());
}

#[test]
fn tasks_under_a_millisecond_share_a_line_and_none_is_missing_from_it() {
    let stage = Stage::new().with("--procs 2 --range 0..20_000 --tasks 20_000");
    let (finished, run) = stage.start().finish();
    finished.assert_exact(20_000);
    let (mut tasks, mut lines) = (0, 0);
    for log in logs_of(&run).values() {
        for line in log.lines() {
            let packet = after(line, " ran ").map_or(0, |count| count.parse::<u64>().expect("a number"));
            tasks += packet + u64::from(line.contains(" end task "));
            lines += 1;
        }
    }
    assert_eq!(tasks, 20_000);
    assert!(lines < 10_000, "{lines} lines");
}

#[test]
fn the_log_of_a_dead_worker_ends_with_the_cause_and_where_its_task_went() {
    let mut run = Stage::new().with("--procs 2 --pace 50ms --range 0..1_000 --tasks 60").start();
    let victim = run.wait_ready(2)[0];
    eventually("it has begun", || run.log(victim).contains("start task").then_some(()));
    kill("STOP", victim);
    run.wait_for("it is stopped", |line| line["ev"] == "worker_stopped");
    kill("KILL", victim);
    let exit = run.wait_for("it is dead", |line| line["ev"] == "worker_exit" && line["pid"] == victim);
    let back =
        run.wait_for("its task is back", |line| line["ev"] == "task_requeued" && line["pid"] == victim);
    let (finished, run) = run.finish();
    finished.assert_exact(1_000);
    let log = run.log(victim);
    let words: Vec<&str> = log.lines().filter(|line| line.contains(" supervisor: ")).collect();
    let cause = format!("ended by SIGKILL after {} tasks", exit["settled"]);
    assert!(words[0].contains(&cause), "{log}");
    if exit["task"].is_u64() {
        assert!(words[0].ends_with(&format!(", while it ran task {}", exit["task"])), "{log}");
    }
    let whereabouts = format!("task {} goes back as attempt {}", back["task"], back["attempt"]);
    assert!(words[1..].iter().any(|line| line.contains(&whereabouts)), "{log}");
    assert!(
        log.lines().rev().zip(words.iter().rev()).all(|(line, word)| line == *word),
        "the last lines:\n{log}"
    );
    let times: Vec<u64> = words.iter().map(|line| time(line)).collect();
    assert!(times.is_sorted(), "{log}");
}

#[test]
fn a_worker_that_was_drained_says_so_and_the_supervisor_agrees() {
    let mut run = Stage::new().with("--procs 2 --pace 20ms --range 0..1_000 --tasks 20").start();
    // One that is still being born when all is done is killed instead.
    run.wait_ready(2);
    let (finished, run) = run.finish();
    for pid in pids(&finished.story, "worker_exit") {
        let log = run.log(pid);
        let last: Vec<&str> = log.lines().rev().take(2).collect();
        assert!(last[0].contains(" supervisor: ended by exit code 0 after "), "{log}");
        assert!(last[1].ends_with(" STOP: drained"), "{log}");
    }
}

#[test]
fn a_task_past_its_deadline_is_named_in_the_log_of_the_worker_that_was_killed_for_it() {
    let stage = Stage::new().stunt("hang@500").once().with("--procs 2 --range 0..1_000 --tasks 10");
    let (finished, run) = stage.with("--task-timeout 100ms").start().finish();
    finished.assert_exact(1_000);
    let told = finished.story.iter().find(|line| line["ev"] == "task_timed_out").expect("it is told");
    let log = run.log(told["pid"].as_u64().expect("a pid"));
    assert!(log.contains("supervisor: task 5 is past its deadline: killing the worker"), "{log}");
    // Of SIGABRT, unless it took too long to write where it was.
    let ended = |by| log.contains(&format!("supervisor: ended by {by} after"));
    assert!(ended("SIGABRT") || ended("SIGKILL"), "{log}");
}

#[test]
fn the_log_of_the_last_victim_says_that_its_task_went_into_quarantine() {
    let stage = Stage::new().stunt("abort@500").with("--procs 2 --range 0..1_000 --tasks 10");
    let (finished, run) = stage.start().finish();
    let last =
        finished.story.iter().rfind(|line| line["exit"] == json!({"signal": 6})).expect("three of them");
    let log = run.log(last["pid"].as_u64().expect("a pid"));
    assert!(log.lines().any(|line| line.contains(" supervisor: ") && line.contains("quarantine")), "{log}");
}

#[test]
fn the_words_of_a_panic_are_in_the_log_with_their_place() {
    for method in ["fork", "spawn"] {
        let stage = Stage::new().stunt("panic@500").with("--procs 2 --pace 3ms --range 0..1_000 --tasks 10");
        let (_, run) = stage.with(&format!("--start-method {method}")).start().finish();
        let logs = logs_of(&run);
        let log = logs.values().find(|log| log.contains("the stunt went wrong")).expect("one of them");
        assert!(log.contains("tests/stunt.rs:"), "{method}: {log}");
        let end = log.lines().find(|line| line.contains("end task 5 ")).expect("its own line");
        assert!(end.contains("panicked at ") && end.contains("the stunt went wrong"), "{method}: {end}");
    }
}

/// The loader speaks before the first instruction of the program, and a library need not know of any log.
#[test]
fn what_the_loader_complains_of_is_kept() {
    for method in ["fork", "spawn"] {
        let stage = Stage::new().env("LD_PRELOAD", "/no/such/library.so");
        let stage = stage.with(&format!("--procs 1 --range 0..10 --start-method {method}"));
        let (finished, run) = stage.start().finish();
        finished.assert_exact(10);
        let complains = |log: &String| log.contains("/no/such/library.so");
        let executed = if method == "fork" { 1 } else { 2 };
        let logs = logs_of(&run);
        if !complains(&finished.stderr) {
            eprintln!("SKIPPED: the loader here says nothing about a library that it cannot preload");
            return;
        }
        assert_eq!(logs.values().filter(|log| complains(log)).count(), executed, "{method}: {logs:?}");
    }
}

#[test]
fn logs_are_for_their_owner_alone_and_go_where_log_dir_says() {
    let stage = Stage::new();
    let dir = stage.dir().join("deep/logs");
    let stage = stage.with(&format!("--procs 2 --range 0..10 --log-dir {}", dir.display()));
    let (finished, run) = stage.start().finish();
    finished.assert_exact(10);
    let known = &pids(&finished.story, "worker_start") | &pids(&finished.story, "template_start");
    assert_eq!(logs_in(&dir).into_keys().collect::<BTreeSet<u64>>(), known);
    for pid in known {
        let mode = fs::metadata(dir.join(format!("{pid}.log"))).expect("a log").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{pid}");
        assert_eq!(run.stage.ask(&format!("logs {pid}")).stdout, run.log(pid), "found by the run's own link");
    }
}

#[test]
fn a_second_run_into_the_same_log_directory_appends() {
    let stage = Stage::new();
    let dir = stage.dir().join("logs");
    let args = format!("--procs 2 --range 0..10 --log-dir {}", dir.display());
    assert_eq!(stage.ask(&args).code, Some(0));
    let before = logs_in(&dir);
    assert_eq!(stage.ask(&args).code, Some(0));
    let after = logs_in(&dir);
    assert!(after.len() > before.len(), "pids are new as a rule");
    before.iter().for_each(|(pid, log)| assert!(after[pid].starts_with(log.as_str()), "{pid}"));
}

/// Pids are handed out in sequence, so whoever can write into a log directory knows the names to come.
#[test]
fn a_link_planted_where_a_log_will_be_is_not_followed() {
    for method in ["fork", "spawn"] {
        let stage = Stage::new();
        let (dir, victim) = (stage.dir().join("logs"), stage.dir().join("victim"));
        fs::write(&victim, "precious\n").expect("our own directory");
        let stage = stage.with(&format!("--start-method {method} --log-dir {}", dir.display()));
        let mut run = stage.with("--procs 2 --range 0..1_000 --tasks 10 --hold").start();
        run.wait_for("all is settled", |line| line["ev"] == "holding");
        let planted = plant(&dir, &victim);
        let trapped = eventually("a worker is born where a link is", || {
            let trapped = run.wait_ready(2).into_iter().find(|pid| planted.contains(pid));
            trapped.inspect(|pid| kill("KILL", *pid)).or_else(|| {
                kill("KILL", run.alive()[0]);
                None
            })
        });
        run.wait_for("its death is told", |line| line["ev"] == "worker_exit" && line["pid"] == trapped);
        run.wait_ready(2);
        let told = run.log(run.template());
        assert!(told.contains("has no log of its own"), "{method}: {told}");
        assert_eq!(fs::read_to_string(&victim).expect("it is there"), "precious\n", "{method}");
        assert!(fs::symlink_metadata(dir.join(format!("{trapped}.log"))).expect("it is there").is_symlink());
        let _run = end(run);
        assert_eq!(fs::read_to_string(&victim).expect("it is there"), "precious\n", "{method}");
    }
}

#[test]
fn a_pipe_planted_where_a_log_will_be_holds_nobody_up() {
    let stage = Stage::new();
    let dir = stage.dir().join("logs");
    let stage = stage.with(&format!("--log-dir {}", dir.display()));
    let mut run = stage.with("--procs 1 --range 0..1_000 --tasks 10 --hold").start();
    run.wait_for("all is settled", |line| line["ev"] == "holding");
    let load = fs::read_to_string("/proc/loadavg").expect("/proc");
    let last: u64 =
        load.split_whitespace().next_back().and_then(|pid| pid.parse().ok()).expect("the last pid");
    let names = (last + 1..last + 500).map(|pid| dir.join(format!("{pid}.log")));
    assert!(Command::new("mkfifo").args(names).status().is_ok_and(|status| status.success()));
    kill("KILL", run.wait_ready(1)[0]);
    run.wait_for("a successor", |line| line["ev"] == "worker_ready" && line["incarnation"] == 2);
    end(run);
}

/// Links at the names of the logs to come, as far as that can be known: the next 2,000. After the largest pid the
/// kernel goes on behind those that it keeps for early daemons.
fn plant(dir: &Path, victim: &Path) -> BTreeSet<u64> {
    const RESERVED_PIDS: u64 = 300;
    let number =
        |path: &str| fs::read_to_string(path).ok()?.split_whitespace().next_back()?.parse::<u64>().ok();
    let last = number("/proc/loadavg").expect("the last pid");
    let end = number("/proc/sys/kernel/pid_max").expect("the largest pid");
    let next = (last + 1..last + 2_001).map(|pid| if pid < end { pid } else { pid - end + RESERVED_PIDS });
    next.filter(|pid| symlink(victim, dir.join(format!("{pid}.log"))).is_ok()).collect()
}

// What is read.

#[test]
fn logs_are_read_by_pid_by_all_and_by_who_died_last_during_and_after_the_run() {
    let mut run = held("--procs 2");
    let dead = run.wait_ready(2)[0];
    kill("KILL", dead);
    run.wait_for("its successor", |line| line["ev"] == "worker_ready" && line["incarnation"] == 2);
    eventually("its death is published", || {
        let told = run.stage.ask("ps -a").stdout;
        told.contains("SIGKILL").then_some(())
    });
    let ask = |run: &Run, args: &str| {
        let finished = run.stage.ask(args);
        assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{args}");
        finished.stdout
    };
    for pid in run.alive() {
        assert!(is_alive(pid));
        assert_eq!(ask(&run, &format!("logs {pid}")), run.log(pid));
    }
    assert!(run.log(dead).contains("ended by SIGKILL"));
    assert_eq!(ask(&run, &format!("logs {dead}")), run.log(dead), "the dead speak");
    assert_eq!(ask(&run, "logs last"), run.log(dead));
    let last_two: Vec<String> = run.log(dead).lines().rev().take(2).map(ToString::to_string).collect();
    assert_eq!(ask(&run, &format!("logs {dead} -n 2")), format!("{}\n{}\n", last_two[1], last_two[0]));
    assert_eq!(ask(&run, &format!("logs {dead} -n 0")), "");
    assert_eq!(ask(&run, "logs all -n 1").lines().count(), logs_of(&run).len());
    let run = end(run);
    let all = ask(&run, "logs all");
    for (pid, log) in logs_of(&run) {
        let prefix = format!("{pid}│");
        let own: Vec<&str> = all.lines().filter_map(|line| line.strip_prefix(&prefix)).collect();
        assert_eq!(own, log.lines().collect::<Vec<_>>(), "{pid}");
        assert_eq!(ask(&run, &format!("logs {pid}")), log);
    }
}

#[test]
fn following_a_log_ends_with_the_run_and_misses_nothing() {
    let mut run = held("--procs 2");
    let worker = run.wait_ready(2)[0];
    let follow = |run: &Run, args: &str| {
        let mut command = run.stage.command(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the supervisor starts")
    };
    let (one, all) = (follow(&run, &format!("logs {worker} -f -n 1")), follow(&run, "logs all --follow"));
    kill("KILL", worker);
    run.wait_for("a successor", |line| line["ev"] == "worker_ready" && line["incarnation"] == 2);
    let run = end(run);
    let (one, all) = (one.wait_with_output().expect("it ends"), all.wait_with_output().expect("it ends"));
    for output in [&one, &all] {
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
    }
    let one = String::from_utf8(one.stdout).expect("text");
    assert!(run.log(worker).ends_with(&one) && one.contains("ended by SIGKILL"), "{one}");
    let all = String::from_utf8(all.stdout).expect("text");
    let lines: usize = logs_of(&run).values().map(|log| log.lines().count()).sum();
    assert_eq!(all.lines().count(), lines, "the successor's log and every last line:\n{all}");
}

#[test]
fn a_pid_or_run_that_nobody_knows_is_exit_3_and_says_who_is_known() {
    let stage = Stage::new();
    let assert_nobody = |args: &str, words: &[&str]| {
        let finished = stage.ask(args);
        assert_eq!((finished.code, finished.stdout.as_str()), (Some(3), ""), "{args}: {}", finished.stderr);
        assert_eq!(finished.stderr.lines().count(), 1, "{args}: {}", finished.stderr);
        words.iter().for_each(|word| assert!(finished.stderr.contains(word), "{args}: {}", finished.stderr));
    };
    for args in ["logs all", "logs last", "logs 1", "logs all -f"] {
        assert_nobody(args, &["no supervisor ever ran in", &stage.dir().display().to_string()]);
    }
    assert_eq!(stage.ask("--procs 1 --range 0..10 --run mine").code, Some(0));
    let known = logs_in(&stage.dir().join("s/latest/logs")).into_keys().map(|pid| pid.to_string());
    let known = known.collect::<Vec<_>>().join(" ");
    assert_nobody("logs 1", &["run mine has no log of pid 1", &known]);
    assert_nobody("logs 1 -f", &["run mine has no log of pid 1"]);
    assert_nobody("logs 1 --run mine", &["run mine has no log of pid 1"]);
    assert_nobody("logs all --run yours", &["no run yours in"]);
}

#[test]
fn a_pid_is_found_in_whichever_run_it_lived() {
    let stage = Stage::new();
    for name in ["one", "two"] {
        assert_eq!(stage.ask(&format!("--procs 1 --range 0..10 --run {name}")).code, Some(0));
    }
    for name in ["one", "two"] {
        for (pid, log) in logs_in(&stage.dir().join(format!("s/runs/{name}/logs"))) {
            assert_eq!(stage.ask(&format!("logs {pid}")).stdout, log, "{name}");
            assert_eq!(stage.ask(&format!("logs {pid} --run {name}")).stdout, log, "{name}");
        }
    }
}
