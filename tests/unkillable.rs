//! Workers that SIGKILL does not end: here, because the kernel's freezer (cgroup v1) holds them; elsewhere, because a disk
//! or a server does not answer.

use crate::stage::{Run, Stage, eventually, is_alive, kill};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// A group of the freezer. Whoever is in it hears nothing, SIGKILL included, until it is thawed.
struct Ice(PathBuf);

impl Ice {
    fn make() -> Option<Ice> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let path = own.lines().find_map(|line| line.split_once(":freezer:").map(|(_, path)| path.to_owned()));
        let Some(path) = path else {
            return skipped("there is no freezer (cgroup v1) here");
        };
        let name = format!("brigade-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let dir = PathBuf::from(format!("/sys/fs/cgroup/freezer{path}")).join(name);
        match fs::create_dir(&dir) {
            Ok(()) => Some(Ice(dir)),
            Err(error) => skipped(&format!("{} cannot be made: {error}", dir.display())),
        }
    }

    #[track_caller]
    fn freeze(&self, pid: u64) {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).expect("it lives");
        fs::write(self.0.join("freezer.state"), "FROZEN").expect("the freezer works");
        eventually("it is frozen", || {
            let state = fs::read_to_string(self.0.join("freezer.state")).ok()?;
            (state.trim() == "FROZEN").then_some(())
        });
    }

    fn thaw(&self) {
        let _ = fs::write(self.0.join("freezer.state"), "THAWED");
    }
}

impl Drop for Ice {
    fn drop(&mut self) {
        self.thaw();
        eventually("nobody is in the freezer", || {
            fs::read_to_string(self.0.join("cgroup.procs")).map_or(true, |pids| pids.is_empty()).then_some(())
        });
        let _ = fs::remove_dir(&self.0);
    }
}

fn skipped<T>(why: &str) -> Option<T> {
    eprintln!("SKIPPED: no worker that cannot be killed: {why}");
    None
}

fn is(line: &Value, ev: &str, pid: u64) -> bool {
    line["ev"] == ev && line["pid"] == pid
}

/// One of two busy workers is frozen; its task runs past its deadline, and it is killed for that, in vain.
#[track_caller]
fn unkillable(ice: &Ice, args: &str) -> (Run, u64) {
    let args = format!("--procs 2 --pace 20ms --range 0..10_000 --task-timeout 500ms --grace 1s {args}");
    let mut run = Stage::new().with(&args).start();
    let frozen = run.wait_ready(2)[0];
    ice.freeze(frozen);
    let told = run.wait_for("it is given up", |line| is(line, "worker_unkillable", frozen));
    assert_eq!(told["state"], "D", "{told}");
    (run, frozen)
}

fn told_at_the_end(story: &[Value], pid: u64) -> bool {
    let left = format!("left behind, for SIGKILL does not end it: pid {pid}");
    story.iter().any(|line| line["ev"] == "warning" && line["message"] == *left)
}

#[test]
fn a_worker_that_cannot_be_killed_is_replaced_in_another_slot_and_the_run_ends_without_it() {
    for method in ["fork", "spawn"] {
        let Some(ice) = Ice::make() else { return };
        let (mut run, frozen) = unkillable(&ice, &format!("--tasks 400 --start-method {method}"));
        let next =
            run.wait_for("another takes its place", |line| line["ev"] == "worker_ready" && line["slot"] == 2);
        let seen = run.stage.ask("ps --format json").stdout;
        let seen: Value = serde_json::from_str(&seen).expect("JSON");
        let rows = seen["runs"][0]["processes"].as_array().expect("processes").clone();
        let row = |pid: u64| rows.iter().find(|row| row["pid"] == pid).unwrap_or_else(|| panic!("{rows:?}"));
        assert_eq!(
            (&row(frozen)["state"], &row(frozen)["alive"]),
            (&"unkillable".into(), &true.into()),
            "{method}"
        );
        assert_eq!(row(next["pid"].as_u64().expect("a pid"))["state"], "ready", "{method}");
        let (finished, _run) = run.finish();
        finished.assert_exact(10_000);
        assert!(is_alive(frozen), "{method}: it was to be there to the end");
        assert!(told_at_the_end(&finished.story, frozen), "{method}: {:?}", finished.story);
        assert_eq!(finished.count("worker_unkillable"), 1, "{method}");
        ice.thaw();
        eventually("it dies of what it was sent", || (!is_alive(frozen)).then_some(()));
    }
}

#[test]
fn a_body_that_is_found_after_all_frees_its_slot() {
    let Some(ice) = Ice::make() else { return };
    let (mut run, frozen) = unkillable(&ice, "--tasks 600");
    ice.thaw();
    let exit = run.wait_for("its body", |line| is(line, "worker_exit", frozen));
    assert_eq!((&exit["exit"]["signal"], &exit["task"]), (&9.into(), &Value::Null), "{exit}");
    kill("TTIN", run.pid());
    run.wait_for("its slot is used again", |line| {
        line["ev"] == "worker_ready" && line["slot"] == exit["slot"] && line["incarnation"] == 2
    });
    let (finished, _run) = run.finish();
    finished.assert_exact(10_000);
    assert!(!told_at_the_end(&finished.story, frozen), "nobody was left behind");
}

#[test]
fn ctrl_c_twice_does_not_wait_for_ever_for_a_worker_that_cannot_be_killed() {
    let Some(ice) = Ice::make() else { return };
    let args = "--procs 2 --pace 20ms --range 0..10_000 --tasks 10_000 --grace 1s";
    let mut run = Stage::new().with(args).start();
    let frozen = run.wait_ready(2)[0];
    ice.freeze(frozen);
    kill("INT", run.pid());
    run.wait_for("it drains", |line| line["ev"] == "draining");
    kill("INT", run.pid());
    let (finished, _run) = run.finish();
    assert_eq!(finished.code, Some(130), "{}", finished.stderr);
    assert!(told_at_the_end(&finished.story, frozen), "{:?}", finished.story);
    assert_eq!(finished.done()["lost"], 0);
    ice.thaw();
    eventually("it dies of what it was sent", || (!is_alive(frozen)).then_some(()));
}

#[test]
fn a_template_that_cannot_be_killed_is_replaced_and_births_go_on() {
    let Some(ice) = Ice::make() else { return };
    let mut run = Stage::new().with("--procs 2 --pace 20ms --range 0..10_000 --tasks 800 --grace 1s").start();
    let (victim, template) = (run.wait_ready(2)[0], run.template());
    ice.freeze(template);
    kill("KILL", victim);
    run.wait_for("its place is filled", |line| line["ev"] == "worker_ready" && line["incarnation"] == 2);
    assert!(is_alive(template) && run.template() != template);
    let given_up = format!("SIGKILL does not end the template, pid {template}: it is given up");
    let (finished, _run) = run.finish();
    finished.assert_exact(10_000);
    assert_eq!(finished.count("template_exit"), 1, "{:?}", finished.story);
    assert!(finished.story.iter().any(|line| line["message"] == *given_up), "{:?}", finished.story);
    ice.thaw();
    eventually("it dies of what it was sent", || (!is_alive(template)).then_some(()));
}
