//! Those who descend from workers, and left their group: nobody outlives the run. Where this machine lacks what a
//! test needs, the test says so aloud.

use crate::faults::left_behind;
use crate::stage::{Run, Stage, eventually, is_alive, kill, stat, state};
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The bar is 50 ms on an idle machine; tests run beside each other on two cores.
const SOON: Duration = Duration::from_millis(500);

/// Past the harness, which keeps what passing tests print to itself.
fn not_tried(test: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "NOT TRIED: {test}: {why}");
}

/// The cgroup that a process of a run was born into, if it is one of ours.
fn cgroup_of(pid: u64) -> Option<PathBuf> {
    let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let own = cgroups.lines().find_map(|line| line.strip_prefix("0::/"))?.to_string();
    let mounts = fs::read_to_string("/proc/mounts").ok()?;
    let point = mounts.lines().find(|mount| mount.contains(" cgroup2 "))?.split(' ').nth(1)?.to_string();
    own.contains("brigade-").then(|| PathBuf::from(point).join(own))
}

fn cmdline(pid: u64) -> String {
    String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()).into_owned()
}

fn status(stage: &Stage) -> String {
    eventually("a status", || fs::read_to_string(stage.dir().join("s/latest/status.json")).ok())
}

/// The children of a process that are dead and not reaped.
fn bodies(pid: u64) -> Vec<u64> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|child| child.parse().ok());
    children.filter(|child| state(*child) == Some('Z')).collect()
}

/// A run with a cgroup, all settled and held, its workers, and a daemon that one of them has left behind.
fn with_an_escaped(args: &str) -> Option<(Run, Vec<u64>, u64)> {
    let found = with_a_daemon(args);
    Some(found).filter(|(run, ..)| status(&run.stage).contains(r#""descendants":"cgroup""#))
}

/// The same, with or without a cgroup. Two tasks, so that none waits behind another: who has such a one may be replaced.
fn with_a_daemon(args: &str) -> (Run, Vec<u64>, u64) {
    let stage = Stage::new().stunt("escape@500").with("--procs 2 --range 0..1_000 --tasks 2 --hold");
    let mut run = stage.with(args).start();
    run.wait_for("all is settled", |line| line["ev"] == "holding");
    let workers = run.wait_ready(2);
    let escaped = eventually("the escaped one is named", || {
        workers.iter().find_map(|worker| left_behind(&run.log(*worker)))
    });
    (run, workers, escaped)
}

#[test]
fn descendants_that_left_the_group_do_not_outlive_a_killed_supervisor() {
    for method in ["fork", "spawn"] {
        let Some((run, workers, escaped)) = with_an_escaped(&format!("--start-method {method}")) else {
            return not_tried("death of those who left the group", "no cgroup v2 may be written here");
        };
        let cgroup = cgroup_of(workers[0]).expect("the status says so");
        assert_eq!(cgroup_of(escaped).as_ref(), Some(&cgroup), "{method}");
        assert_eq!(cgroup_of(run.template()), None, "{method}: the guard is outside of what it ends");
        kill("KILL", run.pid());
        let began = Instant::now();
        let template = run.template();
        let all = [workers[0], workers[1], escaped, template];
        eventually("everybody is gone", || (!all.iter().any(|pid| is_alive(*pid))).then_some(()));
        assert!(began.elapsed() < SOON, "{method}: {:?}", began.elapsed());
        assert!(!cgroup.exists(), "{method}: {} is left", cgroup.display());
    }
}

#[test]
fn descendants_of_workers_that_are_no_daemons_go_when_the_task_in_hand_is_done() {
    let stage = Stage::new().stunt("escape@5").with("--procs 1 --pace 300ms --range 0..1_000 --tasks 100");
    let mut run = stage.with("--no-daemon").start();
    let worker = run.wait_ready(1)[0];
    let Some(cgroup) = cgroup_of(worker) else {
        return not_tried(
            "death of those who left the group, no daemons",
            "no cgroup v2 may be written here",
        );
    };
    let escaped = eventually("the escaped one is named", || left_behind(&run.log(worker)));
    eventually("a task has begun", || run.log(worker).contains("start task").then_some(()));
    kill("KILL", run.pid());
    eventually("the worker has left", || (!is_alive(worker)).then_some(()));
    let log = run.log(worker);
    assert_eq!(log.matches("start task").count(), log.matches("end task").count(), "cut off:\n{log}");
    eventually("the escaped one is gone", || (!is_alive(escaped)).then_some(()));
    eventually("the cgroup is removed", || (!cgroup.exists()).then_some(()));
}

#[test]
fn nobody_and_no_cgroup_is_left_when_a_run_ends_whether_or_not_its_guard_lives() {
    for victim in ["nobody", "guard"] {
        let Some((run, workers, escaped)) = with_an_escaped("") else {
            return not_tried("the end of a cgroup", "no cgroup v2 may be written here");
        };
        let (cgroup, template) = (cgroup_of(workers[0]).expect("the status says so"), run.template());
        if victim == "guard" {
            kill("KILL", template);
        }
        kill("INT", run.pid());
        run.finish().0.assert_exact(1_000);
        assert!(!is_alive(escaped), "{victim} was killed");
        assert!(!cgroup.exists(), "{victim} was killed: {} is left", cgroup.display());
    }
}

#[test]
fn what_a_killed_guard_leaves_behind_is_removed_by_the_next_run() {
    let mut run = Stage::new().with("--procs 2 --range 0..1_000 --tasks 10 --hold").start();
    let worker = run.wait_ready(2)[0];
    let Some(cgroup) = cgroup_of(worker) else {
        return not_tried("pruning of cgroups", "no cgroup v2 may be written here");
    };
    // Stopped first, so that it does not replace its guard.
    kill("STOP", run.pid());
    kill("KILL", run.template());
    kill("KILL", run.pid());
    eventually("its workers are gone", || run.stage.processes().is_empty().then_some(()));
    // Runs of other tests look through the same directory, and one that is just looking keeps others from removing.
    eventually("a later run removes it", || {
        Stage::new().with("--procs 1 --range 0..10").start().finish().0.assert_exact(10);
        (!cgroup.exists()).then_some(())
    });
}

#[test]
fn ps_says_whether_descendants_are_held_by_a_cgroup_or_by_their_group() {
    let mut run = Stage::new().with("--procs 1 --range 0..10 --hold").start();
    let worker = run.wait_ready(1)[0];
    let word = if cgroup_of(worker).is_some() { "cgroup" } else { "group" };
    run.stage.wait_holding();
    let seen = run.stage.ask("ps");
    assert!(seen.stdout.contains(&format!(" · holding · {word} · ")), "{}", seen.stdout);
    let seen = run.stage.ask("ps --format json");
    assert!(seen.stdout.contains(&format!(r#""descendants":"{word}""#)), "{}", seen.stdout);
    kill("INT", run.pid());
    run.finish().0.assert_exact(10);
}

/// In a mount namespace without cgroup v2.
#[test]
fn without_a_cgroup_a_run_goes_on_with_groups_and_says_so() {
    let script = "grep ' cgroup2 ' /proc/mounts | cut -d' ' -f2 | while read at; do umount -l $at; done; \
        ! grep -q ' cgroup2 ' /proc/mounts && exec \"$0\" \"$@\"; exit 77";
    let stage = Stage::new().stunt("escape@500");
    let supervisor =
        stage.command(&format!("--procs 2 --range 0..1_000 --tasks 10 --hold --worker {}", stage.stuntman()));
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).arg(supervisor.get_program()).args(supervisor.get_args());
    command.env_clear().envs(supervisor.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("unshare");
    let ended = eventually("it runs, or it may not", || {
        let held = stage.dir().join("s/latest/status.json").exists() && status(&stage).contains("holding");
        child.try_wait().expect("our child").map(Some).or(held.then_some(None))
    });
    if let Some(ended) = ended {
        return not_tried("a run without cgroups", &format!("unshare --mount or umount: {ended}"));
    }
    assert!(status(&stage).contains(r#""descendants":"group""#), "{}", status(&stage));
    // Supervisor, template, two workers, and the daemon, which the subreaper ends without a cgroup, too.
    assert_eq!(stage.processes().len(), 5);
    kill("INT", child.id().into());
    assert!(child.wait().expect("our child").success());
    assert_eq!(stage.processes(), Vec::<u64>::new());
}

#[test]
fn what_a_dead_worker_had_started_dies_wherever_it_went_and_leaves_no_body() {
    let (mut run, workers, escaped) = with_a_daemon("");
    assert_eq!(
        stat(escaped).expect("it lives")[1],
        run.pid().to_string(),
        "its orphan came to the supervisor"
    );
    // The other one may have started it, and it is nobody's: whoever dies takes it along.
    kill("KILL", workers[0]);
    eventually("it is dead and reaped", || state(escaped).is_none().then_some(()));
    run.wait_ready(2);
    kill("INT", run.pid());
    run.finish().0.assert_exact(1_000);
}

#[test]
fn the_bodies_of_strays_are_reaped_and_no_workers_status_is_taken_for_one() {
    let stage = Stage::new().stunt("flicker:300@500").with("--procs 2 --range 0..1_000 --tasks 2 --hold");
    let mut run = stage.start();
    run.wait_for("all is settled", |line| line["ev"] == "holding");
    for killed in 1..=20 {
        kill("KILL", run.wait_ready(2)[0]);
        eventually("its death is told", || {
            let told = run.story().iter().filter(|line| line["ev"] == "worker_exit").count();
            (told == killed).then_some(())
        });
    }
    run.wait_ready(2);
    eventually("no body is left", || bodies(run.pid()).is_empty().then_some(()));
    kill("INT", run.pid());
    let (finished, _run) = run.finish();
    finished.assert_exact(1_000);
    let exits = finished.story.iter().filter(|line| line["ev"] == "worker_exit" && line["planned"] == false);
    let exits: Vec<_> = exits.map(|line| line["exit"].clone()).collect();
    assert_eq!(exits, vec![json!({"signal": 9}); 20], "each status is its own");
}

#[test]
fn children_that_were_here_before_the_run_are_left_alone() {
    let stage = Stage::new();
    let supervisor = stage.command("--procs 2 --range 0..1_000 --tasks 10 --hold");
    let mut command = Command::new("sh");
    command.args(["-c", "sleep 4321 & echo $!; exec \"$0\" \"$@\" >/dev/null 2>&1"]);
    command.arg(supervisor.get_program()).args(supervisor.get_args()).env_clear();
    command.envs(supervisor.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child = command.stdout(Stdio::piped()).spawn().expect("sh");
    let mut guest = [0; 16];
    let read = child.stdout.take().expect("piped").read(&mut guest).expect("a number");
    let guest: u64 = String::from_utf8_lossy(&guest[..read]).trim().parse().expect("a number");
    stage.wait_holding();
    let parent = u64::from(child.id());
    assert_eq!(stat(guest).expect("it lives")[1], parent.to_string(), "it is the supervisor's child");
    let workers = || -> Vec<u64> {
        let all = stage.processes().into_iter().filter(|pid| cmdline(*pid).contains("worker"));
        all.filter(|pid| stat(*pid).is_some_and(|stat| stat[1] == parent.to_string())).collect()
    };
    let before = workers();
    kill("KILL", *before.last().expect("a template and two workers"));
    eventually("another is there", || workers().iter().any(|pid| !before.contains(pid)).then_some(()));
    kill("INT", parent);
    assert!(child.wait().expect("our child").success());
    assert!(is_alive(guest), "a guest was ended");
    kill("KILL", guest);
}

/// A supervisor that is PID 1 of a namespace of its own, and the number by which it is known outside.
struct Init {
    unshare: std::process::Child,
    pid: u64,
    stage: Stage,
}

impl Init {
    /// Held, with everything settled; none where no namespace may be made.
    fn start(test: &str, args: &str) -> Option<Init> {
        let stage = Stage::new();
        let supervisor = stage.command(&format!("--range 0..1_000 {args}"));
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--mount-proc"]).arg(supervisor.get_program());
        command.args(supervisor.get_args()).env_clear().stdout(Stdio::piped()).stderr(Stdio::null());
        command.envs(supervisor.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let mut unshare = command.spawn().expect("unshare");
        let own = u64::from(unshare.id());
        let begun = eventually("it runs, or it may not", || {
            let ended = unshare.try_wait().expect("our child");
            let ready = || status(&stage).contains(r#""life":"ready""#);
            let runs = stage.dir().join("s/latest/status.json").exists() && ready();
            ended.map(Some).or(runs.then_some(None))
        });
        if let Some(ended) = begun {
            not_tried(test, &format!("unshare --pid --mount-proc: {ended}"));
            return None;
        }
        let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).expect("it lives");
        Some(Init { unshare, pid: children.trim().parse().expect("one child"), stage })
    }

    /// Starts somebody in its namespace who is no descendant of its workers, and whose orphan comes to it.
    fn leave_a_stranger(&self, program: &str) {
        let mut command = Command::new("nsenter");
        command.args(["--pid", "--target", &self.pid.to_string(), "setsid", "-f"]);
        assert!(command.args(program.split(' ')).status().expect("nsenter").success());
    }

    fn children(&self) -> Vec<u64> {
        let pid = self.pid;
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        children.split_whitespace().filter_map(|child| child.parse().ok()).collect()
    }

    /// Its exit code, and what it said; its whole namespace is gone with it.
    fn end(mut self, signal: &str) -> (Option<i32>, String) {
        kill(signal, self.pid);
        let mut said = String::new();
        self.unshare.stdout.take().expect("piped").read_to_string(&mut said).expect("text");
        (self.unshare.wait().expect("our child").code(), said)
    }
}

#[test]
fn as_pid_1_it_hears_signals_and_its_exit_code_is_right() {
    let test = "signals to PID 1";
    for (args, signal, code, said) in [
        ("--procs 2 --tasks 10 --hold", "TERM", 0, "499500\n"),
        ("--procs 2 --tasks 10 --hold", "INT", 0, "499500\n"),
        ("--procs 2 --tasks 1000 --pace 20ms", "INT", 130, ""),
        ("--procs 2 --tasks 1000 --pace 20ms", "TERM", 143, ""),
    ] {
        let Some(init) = Init::start(test, args) else { return };
        if code == 0 {
            init.stage.wait_holding();
        }
        assert_eq!(init.end(signal), (Some(code), said.to_string()), "{args} {signal}");
    }
}

#[test]
fn as_pid_1_it_reaps_strangers_and_leaves_the_living_alone() {
    let Some(init) = Init::start("strangers of PID 1", "--procs 2 --tasks 10 --hold") else { return };
    init.stage.wait_holding();
    init.leave_a_stranger("sleep 4321");
    (0..20).for_each(|_| init.leave_a_stranger("true"));
    let is_stranger = |pid: &u64| cmdline(*pid).starts_with("sleep");
    let stranger = eventually("its orphan has come", || init.children().into_iter().find(is_stranger));
    eventually("no body is left", || bodies(init.pid).is_empty().then_some(()));
    let is_worker = |pid: &u64| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        name.starts_with("worker-") && !name.starts_with("worker-t")
    };
    let worker = init.children().into_iter().find(is_worker).expect("two workers");
    kill("KILL", worker);
    let restarted = || status(&init.stage).contains(r#""restarts":1"#).then_some(());
    eventually("another is there, and the dead is reaped", restarted);
    eventually("no body is left", || bodies(init.pid).is_empty().then_some(()));
    assert!(is_alive(stranger), "a stranger was ended");
    assert_eq!(init.end("INT").0, Some(0));
    eventually("the kernel has ended the stranger", || (!is_alive(stranger)).then_some(()));
}

/// All processes of a run, the supervisor first.
fn everybody(run: &Run) -> Vec<u64> {
    let others = run.stage.processes().into_iter().filter(|pid| *pid != run.pid());
    std::iter::once(run.pid()).chain(others).collect()
}

/// How often a worker was ended for its deadline, announced as stopped, or restarted.
fn false_alarms(story: &[Value]) -> Vec<&Value> {
    let alarms = ["task_timed_out", "worker_stopped", "worker_continued", "worker_exit", "template_exit"];
    let is_alarm = |line: &&Value| alarms.iter().any(|alarm| line["ev"] == *alarm) && line["planned"] != true;
    story.iter().filter(is_alarm).collect()
}

/// A run with a worker in the middle of a healthy task of 0.2 s, of the 0.3 that it may take.
fn paced() -> Run {
    let stage = Stage::new().stunt("stroll:15@500").with("--procs 2 --range 0..1_000 --tasks 16");
    let mut run = stage.with("--pace 200ms --task-timeout 300ms").start();
    let workers = run.wait_ready(2);
    eventually("it is on its way", || {
        workers.iter().any(|worker| run.log(*worker).contains("strolling")).then_some(())
    });
    run
}

/// Not a wait for a fact: it is the length of the freeze.
fn for_a_second() {
    std::thread::sleep(Duration::from_secs(1));
}

#[test]
fn a_freeze_of_everybody_kills_no_healthy_worker() {
    for _ in 0..3 {
        let run = paced();
        let all = everybody(&run);
        all.iter().for_each(|pid| kill("STOP", *pid));
        for_a_second();
        // The supervisor first: it has to know by itself that those who still stand were not late.
        all.iter().for_each(|pid| kill("CONT", *pid));
        let (finished, _run) = run.finish();
        finished.assert_exact(1_000);
        // It may have seen them stopped, which they were; and a template that is stopped is replaced.
        let harmless = ["worker_stopped", "worker_continued", "template_exit"];
        let is_harm = |line: &&&Value| !harmless.iter().any(|ev| line["ev"] == *ev);
        assert_eq!(false_alarms(&finished.story).iter().find(is_harm), None);
    }
}

#[test]
fn ctrl_z_stops_everybody_and_fg_kills_nobody() {
    for _ in 0..3 {
        let run = paced();
        kill("TSTP", run.pid());
        let all = everybody(&run);
        assert_eq!(all.len(), 4, "supervisor, template, two workers");
        let stopped = || all.iter().all(|pid| state(*pid) == Some('T'));
        eventually("everybody is stopped", || stopped().then_some(()));
        for_a_second();
        assert!(stopped(), "somebody went on");
        kill("CONT", run.pid());
        let (finished, _run) = run.finish();
        finished.assert_exact(1_000);
        assert_eq!(false_alarms(&finished.story), Vec::<&Value>::new());
    }
}

#[test]
fn whom_a_person_had_stopped_before_ctrl_z_stays_stopped_after_fg() {
    let mut run = Stage::new().with("--procs 2 --range 0..1_000 --tasks 10 --hold").start();
    run.wait_for("all is settled", |line| line["ev"] == "holding");
    let workers = run.wait_ready(2);
    kill("STOP", workers[0]);
    run.wait_for("it is announced", |line| line["ev"] == "worker_stopped");
    kill("TSTP", run.pid());
    eventually("the supervisor is stopped", || (state(run.pid()) == Some('T')).then_some(()));
    kill("CONT", run.pid());
    eventually("the other goes on", || (state(workers[1]) == Some('S')).then_some(()));
    // The loop has been through a turn when it answers a death.
    kill("KILL", workers[1]);
    run.wait_for("the loop is at work", |line| line["ev"] == "worker_exit");
    assert_eq!(state(workers[0]), Some('T'));
    kill("CONT", workers[0]);
    run.wait_for("it is announced", |line| line["ev"] == "worker_continued");
    run.wait_ready(2);
    kill("INT", run.pid());
    let (finished, _run) = run.finish();
    finished.assert_exact(1_000);
    assert_eq!((finished.count("worker_stopped"), finished.count("worker_continued")), (1, 1));
}

#[test]
fn ctrl_z_is_not_heard_where_it_was_ignored_from_the_start() {
    let stage = Stage::new();
    let supervisor = stage.command("--procs 1 --range 0..10 --hold -q");
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' TSTP; exec \"$0\" \"$@\""]).arg(supervisor.get_program());
    command.args(supervisor.get_args()).env_clear().stdout(Stdio::null());
    command.envs(supervisor.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child = command.spawn().expect("sh");
    stage.wait_holding();
    kill("TSTP", child.id().into());
    kill("INT", child.id().into());
    assert!(child.wait().expect("our child").success(), "it went on to hear the other signal");
}
