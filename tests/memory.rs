//! Memory and planned ends: who has had its share makes room for another, and only who takes too much is blamed.

use crate::stage::{Finished, Stage, kill};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::path::PathBuf;
use std::process::{Command, Stdio};

fn told<'a>(finished: &'a Finished, ev: &'a str) -> impl Iterator<Item = &'a Value> {
    finished.story.iter().filter(move |line| line["ev"] == ev)
}

/// The attempts of the one task that is in quarantine, when all others are settled.
#[track_caller]
fn only_in_quarantine(finished: &Finished) -> Vec<&Value> {
    assert_eq!(finished.code, Some(101), "{}", finished.stderr);
    let done = finished.done();
    let counts = (&done["settled"], &done["quarantined"], &done["lost"], &done["retried"]);
    assert_eq!(counts, (&json!(10), &json!(1), &json!(0), &json!(2)), "{done}");
    let quarantined = told(finished, "task_quarantined").next().expect("it is told");
    assert_eq!(quarantined["task"], 5);
    quarantined["attempts"].as_array().expect("a list").iter().collect()
}

/// Workers made room for others: nobody died unplanned, and no attempt is spent.
#[track_caller]
fn assert_recycled(finished: &Finished, why: &str, at_least: usize) {
    let done = finished.done();
    assert_eq!((&done["restarts"], &done["retried"]), (&json!(0), &json!(0)), "{done}");
    let recycled: Vec<&Value> = told(finished, "worker_recycled").collect();
    assert!(recycled.len() >= at_least, "{} were recycled", recycled.len());
    assert!(recycled.iter().all(|line| line["why"] == why), "{recycled:?}");
    assert!(told(finished, "worker_exit").all(|line| line["planned"] == true));
    assert!(told(finished, "task_requeued").all(|line| line["blamed"] == false));
    let pids: HashSet<u64> = told(finished, "worker_start").filter_map(|line| line["pid"].as_u64()).collect();
    assert!(pids.len() > at_least, "{} processes", pids.len());
}

/// More than it may have, and less than the kernel would kill it for.
#[test]
fn a_task_that_takes_too_much_memory_is_ended_for_it_and_costs_nobody_else() {
    for method in ["fork", "spawn"] {
        let stage = Stage::new().stunt("grow:75497472@5").with("--procs 2 --range 0..10 --tasks 10");
        let (finished, run) = stage.with("--max-rss 64M --start-method").with(method).start().finish();
        let attempts = only_in_quarantine(&finished);
        assert_eq!(attempts.len(), 3);
        assert!(attempts.iter().all(|attempt| attempt["end"] == "out_of_memory"), "{attempts:?}");
        let bloated: Vec<&Value> = told(&finished, "worker_bloated").collect();
        assert_eq!(bloated.len(), 3);
        for line in bloated {
            assert_eq!((&line["task"], &line["rss_bytes_max"]), (&json!(5), &json!(64 << 20)), "{line}");
            assert!(line["rss_bytes"].as_u64() > Some(64 << 20), "{line}");
            let log = run.log(line["pid"].as_u64().expect("a pid"));
            assert!(log.contains("bytes in RAM, of 67108864, in a task"), "{log}");
        }
    }
}

#[test]
fn whoever_takes_too_much_memory_is_told_of_with_the_sizes() {
    let stage = Stage::new().stunt("grow:75497472@500").once();
    let finished = stage.with("--procs 1 --range 0..1_000 --tasks 10 --max-rss 64MiB").run();
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(0), "499500\n"), "{}", finished.stderr);
    let line = finished.stderr.lines().find(|line| line.contains("BLOATED")).expect("a line");
    assert!(line.contains(" MiB of 64.0 MiB · task 5 is ended for it"), "{line}");
}

#[test]
fn a_worker_that_leaks_makes_room_between_two_tasks_and_nobody_is_blamed() {
    for method in ["fork", "spawn"] {
        let stage = Stage::new().stunt("leak:4194304@all").with("--procs 2 --range 0..1_000 --tasks 100");
        let (finished, _run) = stage.with("--max-rss 64M --start-method").with(method).start().finish();
        finished.assert_exact(1_000);
        // 25 workers could have had 4 tasks each; with 16 tasks each, 6 have had enough.
        assert_recycled(&finished, "memory", 4);
    }
}

#[test]
fn memory_that_is_let_be_bloats_nobody() {
    let stage = Stage::new().stunt("leak:4194304@all").with("--procs 2 --range 0..1_000 --tasks 20");
    let (finished, _run) = stage.with("--max-rss 1G --pace 10ms").start().finish();
    finished.assert_exact(1_000);
    assert_eq!(finished.count("worker_start"), 2);
}

#[test]
fn a_worker_makes_room_after_its_number_of_tasks_and_none_is_lost() {
    let stage = Stage::new().with("--procs 2 --range 0..1_000 --tasks 100 --max-tasks-per-worker 5");
    let (finished, _run) = stage.start().finish();
    finished.assert_exact(1_000);
    // Five, give or take a tenth, is five: twenty workers, of whom the last two need not be told to leave.
    assert_recycled(&finished, "tasks", 15);
    assert!(told(&finished, "worker_exit").all(|line| line["settled"].as_u64() <= Some(6)));
}

#[test]
fn a_worker_makes_room_when_it_has_reached_its_age() {
    let stage = Stage::new().with("--procs 2 --range 0..1_000 --tasks 100 --pace 10ms --max-age 100ms");
    let (finished, _run) = stage.start().finish();
    finished.assert_exact(1_000);
    assert_recycled(&finished, "age", 2);
}

#[test]
fn an_allocation_beyond_max_as_aborts_its_worker_and_is_blamed_as_a_crash() {
    for method in ["fork", "spawn"] {
        let stage = Stage::new().stunt("grow:4294967296@5").with("--procs 2 --range 0..10 --tasks 10");
        let (finished, run) = stage.with("--max-as 256M --start-method").with(method).start().finish();
        let crashed = json!({"crashed": {"signal": 6}});
        let attempts = only_in_quarantine(&finished);
        assert!(attempts.iter().all(|attempt| attempt["end"] == crashed), "{attempts:?}");
        let exit = told(&finished, "worker_exit").find(|line| line["task"] == 5).expect("it is told");
        let log = run.log(exit["pid"].as_u64().expect("a pid"));
        assert!(log.contains("memory allocation of 1048576 bytes failed"), "{log}");
    }
}

#[test]
fn the_limit_of_addresses_is_the_workers_alone() {
    let mut run = Stage::new().with("--procs 1 --range 0..10 --hold --max-as 1G").start();
    run.wait_for("all is settled", |line| line["ev"] == "holding");
    let limit = |pid: u64| {
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("it lives");
        let line =
            limits.lines().find(|line| line.starts_with("Max address space")).expect("a line").to_owned();
        line.split_whitespace().nth(3).map(ToString::to_string)
    };
    assert_eq!(limit(run.wait_ready(1)[0]).as_deref(), Some("1073741824"));
    let own = limit(std::process::id().into());
    assert_eq!((limit(run.pid()), limit(run.template())), (own.clone(), own));
    kill("INT", run.pid());
    run.finish().0.assert_exact(10);
}

#[test]
fn what_is_no_size_is_refused_in_one_line() {
    for flag in ["--max-rss 5X", "--max-as 0", "--max-rss -1M"] {
        let finished = Stage::new().with(flag).run();
        assert_eq!((finished.code, finished.stderr.lines().count()), (Some(2), 1), "{}", finished.stderr);
    }
}

/// A cgroup (v1) with so little memory, below the one that the tests are in; removed when it is dropped.
struct Narrow(PathBuf);

impl Narrow {
    fn make(bytes: u64) -> Option<Narrow> {
        let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
        let path =
            own.lines().find_map(|line| line.split_once(":memory:").map(|(_, path)| path.to_owned()))?;
        let name = format!("brigade-test-{}", std::process::id());
        let dir = PathBuf::from(format!("/sys/fs/cgroup/memory{path}")).join(name);
        std::fs::create_dir(&dir).ok()?;
        let narrow = Narrow(dir);
        std::fs::write(narrow.0.join("memory.limit_in_bytes"), bytes.to_string()).ok()?;
        Some(narrow)
    }

    /// Runs a command in it, to the end, and reads its story.
    fn run(&self, supervisor: &Command) -> Finished {
        let enter = format!("echo $$ > {}/cgroup.procs && exec \"$0\" \"$@\"", self.0.display());
        let mut command = Command::new("sh");
        command.args(["-c", &enter]).arg(supervisor.get_program()).args(supervisor.get_args());
        command.env_clear().envs(supervisor.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = command.stdin(Stdio::null()).output().expect("sh starts");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        let story = stdout.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
        Finished { code: output.status.code(), stdout, stderr, story }
    }
}

impl Drop for Narrow {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn whom_the_kernel_killed_for_want_of_memory_is_told_as_such_and_other_kills_are_not() {
    let Some(narrow) = Narrow::make(96 << 20) else {
        return eprintln!("SKIPPED: there is no memory cgroup (v1) here that may be written");
    };
    let args = "--procs 2 --range 0..10 --tasks 10 --format json";
    let stage = Stage::new().stunt("grow:268435456@5");
    let stuntman = format!("{args} --worker {}", stage.stuntman());
    let finished = narrow.run(&stage.command(&stuntman));
    let attempts = only_in_quarantine(&finished);
    assert!(attempts.iter().all(|attempt| attempt["end"] == "out_of_memory"), "{attempts:?}");
    let bloated: Vec<&Value> = told(&finished, "worker_bloated").collect();
    assert_eq!(bloated.len(), 3);
    assert!(bloated.iter().all(|line| line["oom"] == true && line["task"] == 5), "{bloated:?}");
    // Killed by the same signal in the same cgroup, by nobody that the kernel has counted.
    let stage = stage.env("STUNT", "kill@5");
    let finished = narrow.run(&stage.command(&stuntman));
    let crashed = json!({"crashed": {"signal": 9}});
    let attempts = only_in_quarantine(&finished);
    assert!(attempts.iter().all(|attempt| attempt["end"] == crashed), "{attempts:?}");
    assert_eq!(finished.count("worker_bloated"), 0);
}
