//! Too little of something: descriptors, processes, readers. A run goes on with what there is, or ends with the cause in
//! words; it never panics, never hangs, and leaves nobody behind (the stage looks).

use crate::bad_input::{on_disk, on_small_disk};
use crate::stage::{Run, Stage, eventually, is_alive, kill};
use serde_json::Value;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The limits of a process, changed while it runs; false where prlimit is missing or may not.
fn limit(pid: u64, what: &str) -> bool {
    let pid = pid.to_string();
    let done = Command::new("prlimit").args(["--pid", &pid, what]).status();
    done.is_ok_and(|status| status.success())
}

fn skipped(what: &str, why: &str) {
    eprintln!("SKIPPED: {what}: {why}");
}

/// `sh`, in which `$0` is the supervisor and `$1` the stage's directory.
fn shell(stage: &Stage, script: &str) -> Command {
    let plain = stage.command("");
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_supervisor")]).arg(stage.dir()).env_clear();
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?)))).stdin(Stdio::null());
    command
}

fn failures_of_birth(run: &Run) -> Vec<Value> {
    run.story().into_iter().filter(|line| line["ev"] == "worker_unborn").collect()
}

// Descriptors.

#[test]
fn with_forty_descriptors_a_run_is_refused_and_with_a_hundred_it_is_exact() {
    for (most, procs, code) in [(40, 2, 2), (60, 2, 2), (78, 2, 0), (100, 2, 0), (100, 5, 0), (100, 6, 2)] {
        for method in ["fork", "spawn"] {
            let stage = Stage::new();
            let args = format!("--procs {procs} --range 0..1_000 --tasks 100 --start-method {method}");
            let output = shell(&stage, &format!("ulimit -n {most}; exec $0 {args}")).output().expect("sh");
            let told = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "{most} {procs} {method}: {told}");
            assert!(!told.contains("panicked"), "{told}");
            let words = match most {
                100 => format!("limit of open files allows ({most}): ask for at most 5"),
                _ => format!(
                    "limit of open files ({most}) leaves no room for a worker: raise it to 78 at least"
                ),
            };
            let is_named = told.lines().count() == 1 && told.contains(&words);
            assert!(code == 0 || is_named, "{told}");
            assert!(code != 0 || output.stdout == b"499500\n", "{told}");
        }
    }
}

#[test]
fn a_supervisor_that_runs_out_of_descriptors_goes_on_and_fills_the_places_later() {
    for method in ["fork", "spawn"] {
        let args = format!("--procs 3 --range 0..10_000 --tasks 10_000 --pace 1ms --start-method {method}");
        let mut run = Stage::new().with(&args).start();
        let victims = run.wait_ready(3);
        // Those that are open stay open; no new one is to be had.
        if !limit(run.pid(), "--nofile=8:4096") {
            return skipped("a run without descriptors", "prlimit cannot be used");
        }
        kill("KILL", victims[0]);
        eventually("a birth fails, and says why", || {
            let failed = failures_of_birth(&run);
            failed.iter().any(|line| line["reason"].to_string().contains("open files")).then_some(())
        });
        assert!(victims[1..].iter().all(|pid| is_alive(*pid)), "nobody else is touched");
        assert!(limit(run.pid(), "--nofile=4096:4096"));
        run.wait_ready(3);
        let (finished, _run) = run.finish();
        finished.assert_exact(10_000);
        assert!(!finished.stderr.contains("panicked"), "{}", finished.stderr);
    }
}

#[test]
fn a_supervisor_that_never_gets_a_descriptor_again_ends_with_the_cause() {
    let mut run =
        Stage::new().with("--procs 2 --range 0..1_000 --tasks 10 --hold --max-restarts 2/10s").start();
    run.wait_for("all is settled", |line| line["ev"] == "holding");
    let victims = run.wait_ready(2);
    if !limit(run.pid(), "--nofile=8:8") {
        return skipped("a run without descriptors", "prlimit cannot be used");
    }
    victims.iter().for_each(|pid| kill("KILL", *pid));
    let (finished, _run) = run.finish();
    assert_eq!(finished.code, Some(102), "{}", finished.stderr);
    assert!(finished.stderr.contains("open files"), "{}", finished.stderr);
    assert!(!finished.stderr.contains("panicked"), "{}", finished.stderr);
}

// Processes.

/// A run of somebody to whom the limit of processes means something; `None`, said aloud, where there is nobody.
fn as_nobody(stage: &Stage, args: &str) -> Option<Child> {
    let open = stage.dir().join("open");
    fs::create_dir(&open).expect("our own directory");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o1777)).expect("our own directory");
    let is_root = fs::metadata("/proc/self").expect("/proc").uid() == 0;
    let drop = if is_root { "setpriv --reuid=65534 --regid=65534 --clear-groups" } else { "" };
    let probe = shell(stage, &format!("{drop} $0 --version")).output().expect("sh");
    if !is_root || !probe.status.success() {
        skipped("processes run out", "it takes root, setpriv, and a supervisor that nobody may execute");
        return None;
    }
    let script = format!("exec {drop} $0 {args} --state-dir {}/s", open.display());
    let mut command = shell(stage, &script);
    Some(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("sh"))
}

fn events(stage: &Stage) -> Vec<Value> {
    let story = fs::read_to_string(stage.dir().join("open/s/latest/events.ndjson")).unwrap_or_default();
    story.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// By nobody: root may not everywhere.
fn limit_nobodys(pid: u64, what: &str) -> bool {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "prlimit", "--pid"]);
    command.arg(pid.to_string()).arg(what).status().is_ok_and(|status| status.success())
}

/// As far as a process may raise its limit of processes.
fn processes_hard(pid: u64) -> String {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("/proc");
    let line = limits.lines().find(|line| line.starts_with("Max processes")).expect("the line");
    line.split_whitespace().nth(3).expect("the hard limit").to_owned()
}

#[test]
fn with_no_process_to_be_had_a_run_goes_on_with_the_workers_there_are() {
    for method in ["fork", "spawn"] {
        let stage = Stage::new();
        let args = format!("--procs 3 --range 0..3_000 --tasks 3_000 --pace 1ms --start-method {method}");
        let Some(child) = as_nobody(&stage, &args) else { return };
        let of = |ev: &str| -> Vec<u64> {
            let lines = events(&stage).into_iter().filter(|line| line["ev"] == ev);
            lines.filter_map(|line| line["pid"].as_u64()).collect()
        };
        let workers =
            eventually("three are ready", || Some(of("worker_ready")).filter(|pids| pids.len() == 3));
        let template = of("template_start")[0];
        let most = processes_hard(template);
        for pid in [child.id().into(), template] {
            assert!(limit_nobodys(pid, "--nproc=1:"), "its own user may");
        }
        kill("KILL", workers[0]);
        eventually("a birth fails, and says why", || {
            let failed = events(&stage).into_iter().find(|line| line["ev"] == "worker_unborn")?;
            failed["reason"].to_string().contains("temporarily unavailable").then_some(())
        });
        for pid in [child.id().into(), template] {
            assert!(limit_nobodys(pid, &format!("--nproc={most}:")), "its own user may");
        }
        let output = child.wait_with_output().expect("our child");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b"4498500\n"[..]), "{told}");
        assert!(!told.contains("panicked"), "{told}");
    }
}

#[test]
fn with_a_limit_of_processes_that_is_too_low_the_number_that_fits_is_named() {
    let stage = Stage::new();
    let Some(mut child) = as_nobody(&stage, "--version") else { return };
    child.wait().expect("our child");
    let drop = "setpriv --reuid=65534 --regid=65534 --clear-groups";
    let script =
        format!("exec prlimit --nproc=80:80 {drop} $0 --procs 50 --range 0..100 --state-dir $1/open/s");
    let output = shell(&stage, &script).output().expect("sh");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("limit of processes and threads allows (80): ask for at most 8"), "{told}");
}

/// strace in the template's way: so many of its forks fail.
fn refuse_forks(template: u64, forks: u32) -> Option<Child> {
    let inject = format!("inject=clone,clone3:error=EAGAIN:when=1..{forks}");
    let mut strace = Command::new("strace");
    strace.args(["-qq", "-o", "/dev/null", "-e", "trace=clone,clone3", "-e", &inject]);
    strace.args(["-p", &template.to_string()]).stdin(Stdio::null()).stderr(Stdio::null());
    let mut child = strace.spawn().ok()?;
    eventually("strace is in the way, or gives up", || {
        let status = fs::read_to_string(format!("/proc/{template}/status")).ok()?;
        let is_traced = status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"));
        (is_traced || !matches!(child.try_wait(), Ok(None))).then_some(())
    });
    matches!(child.try_wait(), Ok(None)).then_some(child)
}

#[test]
fn forks_that_the_system_refuses_are_tried_again() {
    for method in ["fork", "spawn"] {
        let args = format!("--procs 2 --range 0..2_000 --tasks 2_000 --pace 1ms --start-method {method}");
        let mut run = Stage::new().with(&args).start();
        let victim = run.wait_ready(2)[0];
        let Some(mut strace) = refuse_forks(run.template(), 2) else {
            return skipped("forks that fail", "strace cannot be used here");
        };
        kill("KILL", victim);
        run.wait_for("it is born in the end", |line| {
            line["ev"] == "worker_ready" && line["incarnation"] == 4
        });
        let failed = failures_of_birth(&run);
        assert_eq!(failed.len(), 2, "{failed:?}");
        assert!(failed.iter().all(|line| line["reason"].to_string().contains("temporarily unavailable")));
        let (finished, _run) = run.finish();
        let _ = strace.wait();
        finished.assert_exact(2_000);
        assert!(!finished.stderr.contains("panicked"), "{}", finished.stderr);
    }
}

// Memory.

#[test]
fn a_supervisor_that_gets_no_more_memory_goes_on_or_can_be_resumed_and_leaves_nobody() {
    for method in ["fork", "spawn"] {
        let args = "--run r --procs 3 --range 0..3_000 --tasks 3_000 --pace 1ms";
        let mut run = Stage::new().with(&format!("{args} --start-method {method}")).start();
        let victims = run.wait_ready(3);
        if !limit(run.pid(), "--as=1:") {
            return skipped("a supervisor without memory", "prlimit cannot be used");
        }
        kill("KILL", victims[0]);
        let (finished, run) = run.finish();
        if finished.code == Some(0) {
            finished.assert_exact(3_000);
            continue;
        }
        // The standard library aborts where it gets no memory.
        assert_eq!(finished.code, None, "{method}: {}", finished.stderr);
        let stage = run.leave();
        eventually("nobody is left", || stage.processes().is_empty().then_some(()));
        stage.anew("resume r --pace 0ms").start().finish().0.assert_exact(3_000);
    }
}

// Room.

/// A held run whose state directory has no room for another name, although it has room for bytes; and how many names filled it.
fn without_names(stage: &Stage, method: &str) -> Option<(Child, PathBuf, usize)> {
    let args = "--procs 2 --range 0..1_000 --tasks 10 --hold --state-dir $1/disk/s --format json";
    let script = format!("exec $0 {args} --start-method {method}");
    let mut command = on_disk(stage, "size=8m,nr_inodes=100", &script)?;
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("sh");
    let disk = PathBuf::from(format!("/proc/{}/root{}/disk", child.id(), stage.dir().display()));
    eventually("all is settled", || story_on(&disk).iter().any(|line| line["ev"] == "holding").then_some(()));
    let names = fill(&disk, 0);
    assert!((1..100).contains(&names), "{names} names had room");
    Some((child, disk, names))
}

/// Takes what names there are, after so many; says how many are taken then.
fn fill(disk: &Path, taken: usize) -> usize {
    taken + (taken..100).take_while(|n| File::create(disk.join(n.to_string())).is_ok()).count()
}

fn story_on(disk: &Path) -> Vec<Value> {
    let story = fs::read_to_string(disk.join("s/latest/events.ndjson")).unwrap_or_default();
    story.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn ready_on(disk: &Path, incarnation: u64) -> Option<u64> {
    let is_it = |line: &Value| line["ev"] == "worker_ready" && line["incarnation"] == incarnation;
    story_on(disk).iter().find(|line| is_it(line))?["pid"].as_u64()
}

#[track_caller]
fn assert_whole(child: Child) -> String {
    kill("INT", child.id().into());
    let output = child.wait_with_output().expect("our child");
    let (told, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(told.contains(r#""total":"499500""#) && !said.contains("panicked"), "{told}{said}");
    told.into_owned()
}

#[test]
fn without_room_for_a_name_forked_workers_are_replaced_without_a_log() {
    let stage = Stage::new();
    let Some((child, disk, mut names)) = without_names(&stage, "fork") else { return };
    for incarnation in 1..4 {
        let victim = eventually("a worker is ready", || ready_on(&disk, incarnation));
        // A status that was being replaced has given a name back.
        names = fill(&disk, names);
        kill("KILL", victim);
        let heir = eventually("it is replaced", || ready_on(&disk, incarnation + 1));
        assert!(!disk.join(format!("s/latest/logs/{heir}.log")).exists(), "there was room for a log");
    }
    assert!(assert_whole(child).contains("cannot write status.json"));
}

#[test]
fn without_room_for_a_name_spawned_workers_are_replaced_when_there_is_room_again() {
    let stage = Stage::new();
    let Some((child, disk, mut names)) = without_names(&stage, "spawn") else { return };
    let mut victims = Vec::new();
    eventually("a birth fails, and says why", || {
        // The doors of those who were born before give names back when they are closed.
        names = fill(&disk, names);
        let victim = ready_on(&disk, victims.len() as u64 + 1).filter(|pid| !victims.contains(pid));
        victim.iter().for_each(|pid| kill("KILL", *pid));
        victims.extend(victim);
        let failed = story_on(&disk).into_iter().find(|line| line["ev"] == "worker_unborn")?;
        failed["reason"].to_string().contains("No space left on device").then_some(())
    });
    (0..names).for_each(|n| fs::remove_file(disk.join(n.to_string())).expect("it was made"));
    eventually("its place is filled", || {
        let story = story_on(&disk);
        let failed = story.iter().position(|line| line["ev"] == "worker_unborn")?;
        story[failed..].iter().any(|line| line["ev"] == "worker_ready").then_some(())
    });
    assert_whole(child);
}

#[test]
fn a_disk_without_a_name_from_the_start_is_named_before_anything_begins() {
    let stage = Stage::new();
    // The root of the disk takes one.
    let script = "exec $0 --procs 2 --range 0..10 --state-dir $1/disk/s";
    let Some(mut command) = on_disk(&stage, "size=8m,nr_inodes=3", script) else { return };
    let output = command.output().expect("sh");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), told.lines().count()), (Some(2), 1), "{told}");
    assert!(told.contains("No space left on device"), "{told}");
}

#[test]
fn log_lines_that_a_full_disk_swallows_are_counted_and_told_at_the_end() {
    for method in ["fork", "spawn"] {
        let stage = Stage::new();
        let args = "--procs 2 --pace 10ms --range 0..1_000 --tasks 400 --hold --log-dir $1/disk/logs";
        let script = format!("exec $0 {args} --format json --start-method {method}");
        let Some(mut command) = on_small_disk(&stage, &script) else { return };
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("sh");
        let told = |ev: &str| {
            let story = fs::read_to_string(stage.dir().join("s/latest/events.ndjson")).unwrap_or_default();
            story.lines().filter(|line| line.contains(&format!(r#""ev":"{ev}""#))).count()
        };
        eventually("both are ready", || (told("worker_ready") == 2).then_some(()));
        let disk = PathBuf::from(format!("/proc/{}/root{}/disk", child.id(), stage.dir().display()));
        let mut ballast = File::create(disk.join("ballast")).expect("there is room for a name");
        while ballast.write_all(&[0; 4_096]).is_ok() {}
        eventually("all is settled", || (told("holding") == 1).then_some(()));
        let logs = fs::read_dir(disk.join("logs")).expect("a directory").flatten();
        let logs: String = logs.map(|log| fs::read_to_string(log.path()).unwrap_or_default()).collect();
        let is_of_task = |line: &&str| line.contains(" start task ") || line.contains(" end task ");
        let kept = logs.lines().filter(is_of_task).count();
        kill("INT", child.id().into());
        let mut story = String::new();
        child.stdout.take().expect("piped").read_to_string(&mut story).expect("text");
        assert_eq!(child.wait().expect("our child").code(), Some(0), "{story}");
        let line = story.lines().find(|line| line.contains("log lines were lost: No space left on device"));
        let words = line.and_then(|line| line.split_once(" log lines")).expect("a warning").0;
        let lost: usize = words.rsplit('"').next().expect("a part").parse().expect("a number");
        // Two lines for each task; beside them two words of farewell from each of two workers at most.
        assert!(lost > 0 && (800..=804).contains(&(kept + lost)), "{kept} kept, {lost} lost");
    }
}

// Readers.

#[test]
fn a_pipe_that_nobody_reads_holds_up_neither_the_run_nor_its_end_by_a_signal() {
    let stage = Stage::new();
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let mut filler = writer.try_clone().expect("a descriptor");
    let mut command = stage.command("--run r -v --procs 2 --range 0..100_000 --tasks 1_000");
    let mut child = command.stdout(Stdio::null()).stderr(writer).spawn().expect("the supervisor starts");
    drop(command);
    // Full within the first lines: whoever writes more waits.
    let stuffing = std::thread::spawn(move || filler.write_all(&[b'.'; 65_536]));
    eventually("all is settled all the same", || {
        let status = fs::read(stage.dir().join("s/runs/r/status.json")).ok()?;
        let status: Value = serde_json::from_slice(&status).ok()?;
        (status["state"] == "finished").then_some(())
    });
    eventually("its workers are gone", || {
        stage.processes().iter().all(|pid| *pid == u64::from(child.id())).then_some(())
    });
    // Again, as a person would: one that comes just before the signals are let go is for a loop that has ended.
    let status = eventually("a signal ends it", || {
        kill("TERM", child.id().into());
        child.try_wait().expect("our child")
    });
    assert!(status.code().is_none_or(|code| code == 0 || code == 143), "{status}");
    let mut told = String::new();
    reader.read_to_string(&mut told).expect("text");
    stuffing.join().expect("no panic").expect("it was read in the end");
    assert!(!told.contains("panicked"), "{told}");
    let story = fs::read_to_string(stage.dir().join("s/runs/r/events.ndjson")).expect("a story");
    assert!(story.lines().last().is_some_and(|done| done.contains(r#""total":"4999950000""#)), "{story}");
}
