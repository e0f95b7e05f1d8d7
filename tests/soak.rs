//! However often workers are replaced, the supervisor stays as it was: 2,000 times in each test run, 100,000 times by
//! `make soak`; `SOAK=n` says how many.
//!
//! It is looked at after a tenth of them and at the end, many times each, because a birth under way has descriptors and a
//! thread of its own, and shares all memory for a moment. What was usual then must have been seen again at the end.

use crate::stage::{Stage, eventually, kill, stat};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};

/// What of a process and its run could grow, in KiB or by number.
const NAMES: [&str; 7] =
    ["descriptors", "threads", "bodies", "mappings of shared memory", "cgroups", "files of the run", "KiB"];
const LOOKS: usize = 100;
/// Before so many, the heap has not seen everything yet.
const EARLY_MIN: u64 = 200;
const GROWTH_KIB_MAX: u64 = 1_024;

/// The logs of so many dead are kept; of the files of a run, these alone may grow until then.
const LOGS_MAX: u64 = 10_000;

fn restarts() -> u64 {
    std::env::var("SOAK").map_or(2_000, |text| text.parse().expect("SOAK is a number"))
}

fn count(dir: impl AsRef<Path>) -> u64 {
    fs::read_dir(dir).map_or(0, |entries| entries.count() as u64)
}

fn lines_with(path: String, names: &[&str]) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().filter(|line| names.iter().any(|name| line.contains(name))).count() as u64
}

/// Dead children that nobody has reaped.
fn bodies(pid: u64) -> u64 {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let states = children.split_whitespace().filter_map(|child| stat(child.parse().ok()?));
    states.filter(|stat| stat[0] == "Z").count() as u64
}

/// Cgroups in that of the run; the template was told which that is.
fn cgroups(template: Option<u64>) -> u64 {
    let told = template.and_then(|pid| fs::read(format!("/proc/{pid}/cmdline")).ok()).unwrap_or_default();
    let path = told.split(|byte| *byte == 0).nth(2).unwrap_or_default();
    let below = fs::read_dir(String::from_utf8_lossy(path).as_ref()).into_iter().flatten().flatten();
    below.filter(|entry| entry.path().is_dir()).count() as u64
}

/// What it has written: its program's own pages are shared with another supervisor for as long as there is one.
fn private_kib(pid: u64) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let private = text.lines().filter(|line| line.starts_with("Private_Dirty"));
    private.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum()
}

/// A supervisor that replaces its workers all the time.
struct Soaked {
    supervisor: Child,
    stage: Stage,
}

impl Soaked {
    fn start(args: &str) -> Soaked {
        let stage = Stage::new();
        let mut command = stage.command(&format!("-q --procs 4 {args}"));
        let supervisor = command.stdout(Stdio::null()).spawn().expect("the supervisor starts");
        Soaked { supervisor, stage }
    }

    fn status(&self) -> Option<Value> {
        serde_json::from_slice(&fs::read(self.stage.dir().join("s/latest/status.json")).ok()?).ok()
    }

    /// How many were born beyond the first of each slot.
    fn replaced(&self) -> Option<u64> {
        let status = self.status()?;
        let born = status["slots"].as_array()?.iter().filter_map(|slot| slot["incarnation"].as_u64());
        Some(born.map(|incarnation| incarnation - 1).sum())
    }

    /// Waits until so many were; less than the patience of the kit between two signs of progress.
    #[track_caller]
    fn wait_replaced(&self, wanted: u64) {
        let mut so_far = 0;
        while so_far < wanted {
            let next = (so_far + 1).max(so_far + wanted / 100).min(wanted);
            so_far = eventually("workers are replaced", || self.replaced().filter(|count| *count >= next));
        }
    }

    fn look(&self) -> [u64; 7] {
        let pid = u64::from(self.supervisor.id());
        let template = self.status().and_then(|status| status["template"]["pid"].as_u64());
        let run = self.stage.dir().join("s/latest");
        [
            count(format!("/proc/{pid}/fd")),
            count(format!("/proc/{pid}/task")),
            bodies(pid),
            lines_with(format!("/proc/{pid}/maps"), &["/dev/shm", "memfd"]),
            cgroups(template),
            count(&run),
            private_kib(pid),
        ]
    }

    /// What was seen of each in many looks, a worker's life apart; least first.
    fn looks(&self) -> [Vec<u64>; 7] {
        let mut looks: [Vec<u64>; 7] = Default::default();
        for _ in 0..LOOKS {
            let before = self.replaced();
            eventually("another is replaced", || (self.replaced() > before).then_some(()));
            looks.iter_mut().zip(self.look()).for_each(|(all, one)| all.push(one));
        }
        looks.iter_mut().for_each(|all| all.sort_unstable());
        looks
    }

    fn end(mut self) {
        (0..2).for_each(|_| kill("INT", self.supervisor.id().into()));
        self.supervisor.wait().expect("our child");
    }
}

/// Looks after a tenth and at the end of so many replacements, while they go on.
fn assert_stays_as_it_was(what: &str, args: &str, restarts: u64) {
    let soaked = Soaked::start(args);
    let early = (restarts / 10).max(EARLY_MIN);
    soaked.wait_replaced(early);
    let before = soaked.looks();
    soaked.wait_replaced(restarts);
    let after = soaked.looks();
    for ((name, was), is) in NAMES.iter().zip(before).zip(after) {
        let (usual, least, middle) = (was[LOOKS / 2], is[0], is[LOOKS / 2]);
        println!("{what}: {name} {usual} after {early}, {middle} ({least} at least) after {restarts}");
        match *name {
            "KiB" => assert!(middle <= usual + GROWTH_KIB_MAX, "{what}: the memory has grown"),
            name => assert!(least <= usual, "{what}: there are more {name}"),
        }
    }
    let logs = count(soaked.stage.dir().join("s/latest/logs"));
    assert!(logs <= LOGS_MAX + 100, "{what}: {logs} logs");
    soaked.end();
}

/// More work than will be done, so that it ends when it was looked at.
const ENDLESS: &str = "--range 0..1_000_000_000_000 --tasks 1_000_000_000";

#[test]
fn workers_that_make_room_leave_nothing_in_the_supervisor() {
    let planned = format!("{ENDLESS} --max-tasks-per-worker 1");
    assert_stays_as_it_was("fork, planned", &planned, restarts() * 3 / 10);
    assert_stays_as_it_was("spawn, planned", &format!("{planned} --start-method spawn"), restarts() / 5);
}

#[test]
fn workers_that_die_leave_nothing_in_the_supervisor() {
    // More than there will be, thrown as fast as there is somebody to be hit.
    let deaths = "--range 0..1_000_000_000 --tasks 1_000_000_000 --chaos 1_000_000_000,7";
    assert_stays_as_it_was("fork, deaths", deaths, restarts() * 3 / 10);
    assert_stays_as_it_was("spawn, deaths", &format!("{deaths} --start-method spawn"), restarts() / 5);
}
