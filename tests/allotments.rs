//! Memory that the kernel holds workers to, where a memory cgroup may be made; where none may, the tests say so aloud.

use crate::stage::{Run, Stage, end, eventually, held, kill, state};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Past the harness, which keeps what passing tests print to itself.
fn not_tried(test: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "NOT TRIED: {test}: {why}");
}

/// The memory cgroup (v1) of a process.
fn memory_cgroup(pid: u64) -> Option<PathBuf> {
    let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let own =
        cgroups.lines().find_map(|line| line.split_once(":memory:/").map(|(_, path)| path.to_owned()))?;
    let mounts = fs::read_to_string("/proc/mounts").ok()?;
    let is_it = |mount: &&str| mount.contains(" cgroup ") && mount.contains(",memory");
    let point = mounts.lines().find(is_it)?.split(' ').nth(1)?.to_owned();
    Some(PathBuf::from(point).join(own))
}

/// That of a worker's slot, if the run has made one for it.
fn own_group(pid: u64) -> Option<PathBuf> {
    memory_cgroup(pid).filter(|path| path.to_string_lossy().contains("brigade-"))
}

/// A held run whose workers are held by the kernel, and the cgroup of its groups.
fn allotted(test: &str, args: &str) -> Option<(Run, PathBuf)> {
    let mut run = held(&format!("--max-rss 64M {args}"));
    let group = own_group(run.wait_ready(1)[0]).and_then(|group| Some(group.parent()?.to_path_buf()));
    if group.is_none() {
        not_tried(test, "there is no memory cgroup (v1) here that may be written");
    }
    Some((run, group?))
}

fn limits(run: &Run) -> String {
    let status =
        fs::read_to_string(run.stage.dir().join("s/latest/status.json")).expect("a held run has one");
    serde_json::from_str::<Value>(&status).expect("JSON")["memory_limits"]
        .as_str()
        .expect("a word")
        .to_owned()
}

fn told(run: &Run, ev: &str) -> Vec<Value> {
    run.story().into_iter().filter(|line| line["ev"] == ev).collect()
}

#[test]
fn who_takes_memory_while_nobody_looks_is_killed_by_the_kernel_and_named_for_it() {
    for method in ["fork", "spawn"] {
        let stage = Stage::new().stunt("ambush:1073741824@0").once().with("--procs 2 --range 0..1_000");
        let mut run = stage.with("--tasks 10 --max-rss 64M --start-method").with(method).start();
        let workers = run.wait_ready(2);
        if own_group(workers[0]).is_none() {
            return not_tried("a kill by the kernel", "there is no memory cgroup (v1) that may be written");
        }
        let begun = |pid: &&u64| run.log(**pid).contains("start task 0 ");
        eventually("the task has begun", || workers.iter().find(begun).map(drop));
        kill("STOP", run.pid());
        eventually("one is killed", || workers.iter().find(|pid| state(**pid) == Some('Z')).map(drop));
        kill("CONT", run.pid());
        let (finished, _run) = run.finish();
        finished.assert_exact(1_000);
        let bloated: Vec<&Value> =
            finished.story.iter().filter(|line| line["ev"] == "worker_bloated").collect();
        assert!(bloated.len() == 1 && bloated[0]["oom"] == true && bloated[0]["task"] == 0, "{bloated:?}");
        assert_eq!((&finished.done()["retried"], &finished.done()["restarts"]), (&json!(1), &json!(1)));
    }
}

#[test]
fn a_task_that_takes_memory_at_once_is_ended_at_the_limit_and_costs_nobody_else() {
    for method in ["fork", "spawn"] {
        let stage = Stage::new().stunt("grow:1073741824@5").with("--procs 2 --range 0..10 --tasks 10");
        let mut run = stage.with("--max-rss 64M --hold --start-method").with(method).start();
        run.wait_for("all is settled", |line| line["ev"] == "holding");
        let workers = run.wait_ready(2);
        let Some(groups) = own_group(workers[0]).and_then(|group| Some(group.parent()?.to_path_buf())) else {
            return not_tried("a kill by the kernel", "there is no memory cgroup (v1) that may be written");
        };
        let read = |file: &str| {
            fs::read_dir(&groups)
                .expect("it is there")
                .flatten()
                .filter_map(|group| fs::read_to_string(group.path().join(file)).ok()?.trim().parse().ok())
                .collect::<Vec<u64>>()
        };
        assert_eq!(read("memory.limit_in_bytes"), [80 << 20; 2], "a quarter more");
        assert!(read("memory.max_usage_in_bytes").iter().all(|bytes| *bytes <= 80 << 20));
        let quarantined = told(&run, "task_quarantined");
        let attempts = quarantined[0]["attempts"].as_array().expect("a list");
        assert_eq!((quarantined.len(), &quarantined[0]["task"], attempts.len()), (1, &json!(5), 3));
        assert!(attempts.iter().all(|attempt| attempt["end"] == "out_of_memory"), "{attempts:?}");
        let bloated = told(&run, "worker_bloated");
        assert!(bloated.len() == 3 && bloated.iter().all(|line| line["task"] == 5), "{bloated:?}");
        assert!(told(&run, "task_requeued").iter().all(|line| line["blamed"] == false || line["task"] == 5));
        assert_eq!(told(&run, "worker_exit").len(), 3, "nobody else has noticed");
        kill("INT", run.pid());
        let (finished, _run) = run.finish();
        assert_eq!(finished.code, Some(101), "{}", finished.stderr);
        assert!(!groups.exists(), "nothing is left");
    }
}

/// The same signal in the same memory cgroup, by nobody whom the kernel has counted there.
#[test]
fn a_kill_that_is_not_the_kernels_is_not_told_as_one() {
    let stage = Stage::new().stunt("kill@500").with("--procs 2 --range 0..1_000 --tasks 10 --max-rss 64M");
    let (finished, _run) = stage.start().finish();
    let quarantined =
        finished.story.iter().find(|line| line["ev"] == "task_quarantined").expect("it is told");
    let attempts = quarantined["attempts"].as_array().expect("a list");
    let crashed = json!({"crashed": {"signal": 9}});
    assert!(attempts.iter().all(|attempt| attempt["end"] == crashed), "{attempts:?}");
    assert_eq!(finished.count("worker_bloated"), 0);
}

#[test]
fn ps_says_whether_the_kernel_holds_workers_to_their_memory_or_only_looks_do() {
    let mut run = held("--procs 1 --max-rss 64M");
    let word = if own_group(run.wait_ready(1)[0]).is_some() { "cgroup" } else { "looked at" };
    run.stage.wait_holding();
    let seen = run.stage.ask("ps");
    assert!(seen.stdout.contains(&format!(" · memory limits: {word} · ")), "{}", seen.stdout);
    let seen = run.stage.ask("ps --format json");
    assert!(seen.stdout.contains(&format!(r#""memory_limits":"{word}""#)), "{}", seen.stdout);
    end(run);
    let run = held("--procs 1");
    run.stage.wait_holding();
    assert!(!run.stage.ask("ps").stdout.contains("memory limits"), "nobody asked for any");
    end(run);
}

#[test]
fn a_killed_supervisor_leaves_no_memory_cgroup_and_what_a_killed_guard_leaves_the_next_run_removes() {
    let Some((run, groups)) = allotted("the end by a guard", "--procs 2") else { return };
    run.murder();
    eventually("the guard has removed them", || (!groups.exists()).then_some(()));
    let Some((mut run, groups)) = allotted("the end without a guard", "--procs 2") else { return };
    run.wait_ready(2);
    // Whoever is stopped starts no other guard.
    kill("STOP", run.pid());
    kill("KILL", run.template());
    eventually("the guard is dead", || (state(run.template()) == Some('Z')).then_some(()));
    run.murder();
    // Or one of another test that has just begun.
    eventually("a later run removes them", || {
        end(held("--procs 1 --max-rss 64M"));
        (!groups.exists()).then_some(())
    });
}

#[test]
fn where_somebody_removes_the_memory_cgroups_the_run_goes_on_and_says_so_once() {
    let Some((mut run, groups)) = allotted("memory cgroups that vanish", "--procs 1") else { return };
    assert_eq!(limits(&run), "cgroup");
    let worker = run.wait_ready(1)[0];
    // So that nobody is born meanwhile.
    kill("STOP", run.pid());
    kill("KILL", worker);
    eventually("all are removed", || {
        let _ = fs::remove_dir(groups.join("slot-0"));
        fs::remove_dir(&groups).ok()
    });
    kill("CONT", run.pid());
    run.wait_for("it is replaced", |line| line["ev"] == "worker_ready" && line["incarnation"] == 2);
    kill("KILL", run.wait_ready(1)[0]);
    run.wait_for("once more", |line| line["ev"] == "worker_ready" && line["incarnation"] == 3);
    eventually("the status says so", || (limits(&run) == "looked at").then_some(()));
    let warnings = told(&run, "warning");
    let is_it = |line: &&Value| line["message"].to_string().contains("its memory is only looked at");
    assert_eq!(warnings.iter().filter(is_it).count(), 1, "{warnings:?}");
    end(run);
}

/// In a mount namespace without memory cgroups.
#[test]
fn without_a_memory_cgroup_a_run_goes_on_with_looks_and_says_so() {
    let script = "grep -E ' cgroup2? ' /proc/mounts | cut -d' ' -f2 | while read at; do umount -l $at; done; \
        ! grep -qE ' cgroup2? ' /proc/mounts && exec \"$0\" \"$@\"; exit 77";
    let stage = Stage::new().stunt("grow:100663296@500");
    let args = "--procs 2 --range 0..1_000 --tasks 10 --max-rss 64M --hold --worker";
    let supervisor = stage.command(&format!("{args} {}", stage.stuntman()));
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).arg(supervisor.get_program()).args(supervisor.get_args());
    command.env_clear().envs(supervisor.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("unshare");
    let status = || fs::read_to_string(stage.dir().join("s/latest/status.json")).unwrap_or_default();
    let ended = eventually("it runs, or it may not", || {
        let held = status().contains(r#""state":"holding""#);
        child.try_wait().expect("our child").map(Some).or(held.then_some(None))
    });
    if let Some(ended) = ended {
        return not_tried("a run without memory cgroups", &format!("unshare --mount or umount: {ended}"));
    }
    let status = status();
    assert!(
        status.contains(r#""memory_limits":"looked at""#) && status.contains(r#""quarantined":1"#),
        "{status}"
    );
    kill("INT", child.id().into());
    assert_eq!(child.wait().expect("our child").code(), Some(101));
}
