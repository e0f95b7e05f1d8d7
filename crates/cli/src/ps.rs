//! `supervisor ps`: the processes of a run, from its published status and checked against `/proc`.

use crate::args::{Common, Format, PsArgs};
use crate::exit::{self, Stop};
use crate::sight::{self, Sight};
use crate::table::table;
use crate::words::{bytes, span};
use anyhow::Context;
use brigade_os::clock::monotonic_ns;
use brigade_supervisor::rundir::{RunEntry, Runs};
use brigade_supervisor::status::{Dead, Slot, Status};
use serde::Serialize;
use std::time::Duration;

/// How long a run that has just begun may take to publish its first status.
const FIRST_STATUS: Duration = Duration::from_millis(500);

/// Columns of the living.
const HEAD: [&str; 12] = [
    "NAME",
    ">SLOT",
    ">PID",
    "DAEMON",
    "ALIVE",
    "STATE",
    ">TASK",
    ">AGE",
    ">DONE",
    ">RESTARTS",
    ">RSS",
    ">SIGN",
];

/// Columns of the dead.
const HEAD_DEAD: [&str; 8] = ["DEAD", ">SLOT", ">PID", "CAUSE", ">TASK", ">LIVED", ">DONE", "DIED"];

/// Shows the live runs, or the one that was asked for.
pub(crate) fn ps(common: &Common, args: &PsArgs) -> Result<u8, Stop> {
    let (mut sights, mut fault) = (Vec::new(), None);
    for run in chosen(common, args.all)? {
        match first_status(&run) {
            Ok(status) => sights.push(look(&status, run.is_live_now(), args.all, monotonic_ns())),
            Err(stop) => fault = Some(stop),
        }
    }
    // A run that still waits for its worker binary has nothing to show, and hides nobody who has.
    if let (true, Some(stop)) = (sights.is_empty(), fault) {
        return Err(stop);
    }
    let text = match common.format {
        Format::Human => sights.iter().map(RunSight::text).collect::<Vec<_>>().join("\n"),
        Format::Json => {
            serde_json::to_string(&Document { v: 1, runs: &sights }).context("write JSON")? + "\n"
        }
    };
    exit::show(&text).map(|()| exit::OK)
}

/// The runs to show: the named one, or every live one, or with `-a` the latest.
fn chosen(common: &Common, all: bool) -> Result<Vec<RunEntry>, Stop> {
    let state = common.state_dir();
    let runs = Runs::list(&state).map_err(|error| Stop::usage(error.to_string()))?;
    let latest = runs.last().cloned();
    if let Some(name) = &common.run {
        let found = runs.into_iter().find(|run| run.name == *name);
        let run = found.ok_or_else(|| Stop::nobody(format!("no run {name} in {}", state.display())))?;
        let over = format!("run {name} is over: ps -a shows how its workers died");
        return if run.live || all { Ok(vec![run]) } else { Err(Stop::nobody(over)) };
    }
    let live: Vec<RunEntry> = runs.into_iter().filter(|run| run.live).collect();
    match latest {
        Some(latest) if live.is_empty() && all => Ok(vec![latest]),
        Some(_) if live.is_empty() => Err(Stop::nobody(format!(
            "no supervisor runs in {}: ps -a shows the latest run",
            state.display()
        ))),
        Some(_) => Ok(live),
        None => Err(Stop::nobody(format!("no supervisor ever ran in {}", state.display()))),
    }
}

/// The status of a run, which a run that has just begun may not have published yet.
fn first_status(run: &RunEntry) -> Result<Status, Stop> {
    let begun = std::time::Instant::now();
    loop {
        match status(run) {
            Ok(status) => return Ok(status),
            Err(_) if run.is_live_now() && begun.elapsed() < FIRST_STATUS => {}
            Err(error) => return Err(Stop::nobody(format!("run {}: {error:#}", run.name))),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The published status of a run.
pub(crate) fn status(run: &RunEntry) -> anyhow::Result<Status> {
    let path = run.status_file();
    let text = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    let status: Status =
        serde_json::from_slice(&text).with_context(|| format!("understand {}", path.display()))?;
    anyhow::ensure!(status.is_readable(), "{} is of another version ({})", path.display(), status.v);
    Ok(status)
}

/// All that is printed with `--format json`.
#[derive(Serialize)]
struct Document<'a> {
    v: u32,
    runs: &'a [RunSight],
}

/// A run as it is seen now.
#[derive(Debug, Serialize)]
struct RunSight {
    run: String,
    pid: u32,
    live: bool,
    state: String,
    work: String,
    procs: u32,
    start_method: &'static str,
    descendants: String,
    memory_limits: String,
    logs: String,
    age: f64,
    tasks: u64,
    settled: u64,
    processes: Vec<Row>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dead: Option<Vec<DeadRow>>,
}

/// A process as it is seen now; ages are in seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
struct Row {
    name: String,
    slot: Option<u32>,
    incarnation: Option<u32>,
    pid: Option<u32>,
    daemon: Option<bool>,
    alive: bool,
    state: String,
    task: Option<u64>,
    attempt: Option<u32>,
    /// What it runs beside that, on other threads.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    beside: Vec<u64>,
    age: Option<f64>,
    done: Option<u64>,
    restarts: Option<u64>,
    rss: Option<u64>,
    sign: Option<f64>,
}

/// One of the dead.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct DeadRow {
    name: String,
    slot: u32,
    incarnation: u32,
    pid: u32,
    exit: brigade_wire::Exit,
    cause: String,
    planned: bool,
    task: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    beside: Vec<u64>,
    lived: f64,
    done: u64,
    ago: f64,
}

/// What a run shows, at `now`.
fn look(status: &Status, live: bool, all: bool, now: u64) -> RunSight {
    let processes = if live { processes(status, now) } else { Vec::new() };
    let until = if live { now } else { status.written_ns };
    RunSight {
        run: status.run.clone(),
        pid: status.pid,
        live,
        state: if live { status.state.clone() } else { "over".to_owned() },
        work: status.work.clone(),
        procs: status.procs,
        start_method: if is_fork(status) { "fork" } else { "spawn" },
        descendants: status.descendants.clone(),
        memory_limits: status.memory_limits.clone(),
        logs: status.logs.clone(),
        age: seconds(status.began_ns, until),
        tasks: status.tally.tasks,
        settled: status.tally.settled,
        processes,
        dead: all.then(|| status.dead.iter().map(|dead| dead_row(dead, now)).collect()),
    }
}

fn is_fork(status: &Status) -> bool {
    status.start_method == "fork"
}

fn processes(status: &Status, now: u64) -> Vec<Row> {
    let template = status.template.iter().map(|template| {
        let name = if is_fork(status) { "template+guard" } else { "guard" };
        let age = Some(seconds(template.born_ns, now));
        let row = Row { name: name.into(), age, incarnation: Some(template.incarnation), ..Row::default() };
        seen(row, template.pid, "ready", sight::child(template.pid, status.pid))
    });
    let workers = status.slots.iter().map(|slot| worker_row(slot, status, now));
    std::iter::once(supervisor_row(status, now)).chain(template).chain(workers).collect()
}

fn supervisor_row(status: &Status, now: u64) -> Row {
    let row = Row {
        name: "supervisor".into(),
        age: Some(seconds(status.began_ns, now)),
        done: Some(status.tally.settled),
        restarts: Some(status.tally.restarts),
        sign: Some(seconds(status.written_ns, now)),
        ..Row::default()
    };
    seen(row, status.pid, &status.state, sight::process(status.pid))
}

fn worker_row(slot: &Slot, status: &Status, now: u64) -> Row {
    let row = Row {
        name: format!("worker-{}", slot.slot),
        slot: Some(slot.slot.0),
        incarnation: Some(slot.incarnation),
        daemon: Some(status.daemon),
        state: slot.life.clone(),
        done: Some(slot.settled),
        restarts: Some(u64::from(slot.restarts)),
        sign: slot.sign_ns.map(|sign| seconds(sign, now)),
        ..Row::default()
    };
    let Some(pid) = slot.pid else { return row };
    let row = Row {
        age: slot.born_ns.map(|born| seconds(born, now)),
        task: slot.task.map(|task| task.task.0),
        attempt: slot.task.map(|task| task.attempt.0),
        beside: slot.beside.iter().map(|task| task.task.0).collect(),
        ..row
    };
    seen(row, pid, &slot.life, sight::child(pid, status.pid))
}

/// A row with what `/proc` says: a process that is gone is not alive, whatever was published of it.
fn seen(row: Row, pid: u32, life: &str, sight: Option<Sight>) -> Row {
    let (alive, state, rss) = match sight {
        None => (false, "dead", None),
        Some(Sight { is_stopped: true, rss_bytes }) if life != "unkillable" => {
            (true, "stopped", Some(rss_bytes))
        }
        Some(Sight { rss_bytes, .. }) => (true, life, Some(rss_bytes)),
    };
    Row { pid: Some(pid), alive, state: state.to_owned(), rss, ..row }
}

fn dead_row(dead: &Dead, now: u64) -> DeadRow {
    DeadRow {
        name: format!("worker-{}", dead.slot),
        slot: dead.slot.0,
        incarnation: dead.incarnation,
        pid: dead.pid,
        exit: dead.exit,
        cause: dead.exit.to_string(),
        planned: dead.planned,
        task: dead.task.map(|task| task.0),
        beside: dead.beside.iter().map(|task| task.0).collect(),
        lived: seconds(dead.born_ns, dead.died_ns),
        done: dead.settled,
        ago: seconds(dead.died_ns, now),
    }
}

fn seconds(since_ns: u64, until_ns: u64) -> f64 {
    Duration::from_nanos(until_ns.saturating_sub(since_ns)).as_secs_f64()
}

impl RunSight {
    fn text(&self) -> String {
        let RunSight { run, pid, state, descendants, memory_limits, settled, tasks, age, work, .. } = self;
        let age = span(*age);
        let said = |before: &str, word: &str| match word {
            "" => String::new(),
            word => format!(" · {before}{word}"),
        };
        // Of the living only: whoever is over holds nobody.
        let held = if self.live {
            said("", descendants) + &said("memory limits: ", memory_limits)
        } else {
            String::new()
        };
        let mut text = format!(
            "run {run} · supervisor {pid} · {state}{held} · {work}: {settled} of {tasks} tasks in {age}\n"
        );
        if self.live {
            text += &table(&HEAD, &self.processes.iter().map(Row::cells).collect::<Vec<_>>());
        }
        match self.dead.as_deref() {
            None => {}
            Some([]) => text += "nobody has died\n",
            Some(dead) => text += &table(&HEAD_DEAD, &dead.iter().map(DeadRow::cells).collect::<Vec<_>>()),
        }
        text
    }
}

impl Row {
    fn cells(&self) -> Vec<String> {
        let task = self.task.map(|task| match self.attempt {
            Some(attempt) if attempt > 1 => format!("{task} (attempt {attempt})"),
            Some(_) | None => task.to_string(),
        });
        vec![
            self.name.clone(),
            cell(self.slot),
            cell(self.pid),
            cell(self.daemon.map(yes)),
            yes(self.alive).to_owned(),
            if self.state.is_empty() { "-".to_owned() } else { self.state.clone() },
            cell(task.map(|task| and(task, &self.beside))),
            cell(self.age.map(span)),
            cell(self.done),
            cell(self.restarts),
            cell(self.rss.map(bytes)),
            cell(self.sign.map(|sign| format!("{} ago", span(sign)))),
        ]
    }
}

impl DeadRow {
    fn cells(&self) -> Vec<String> {
        let cause = if self.planned { format!("{} (planned)", self.cause) } else { self.cause.clone() };
        vec![
            format!("{}.{}", self.name, self.incarnation),
            self.slot.to_string(),
            self.pid.to_string(),
            cause,
            cell(self.task.map(|task| and(task.to_string(), &self.beside))),
            span(self.lived),
            self.done.to_string(),
            format!("{} ago", span(self.ago)),
        ]
    }
}

/// All that it runs.
fn and(task: String, beside: &[u64]) -> String {
    beside.iter().fold(task, |tasks, task| format!("{tasks}, {task}"))
}

fn cell(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn yes(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use brigade_supervisor::status::{Task, Template};
    use brigade_supervisor::story::Tallied;
    use brigade_wire::{Attempt, Exit, SlotId, TaskId};

    /// No pid is that large.
    const NOBODY: u32 = u32::MAX;
    const SECOND: u64 = 1_000_000_000;

    fn slot(n: u32, pid: Option<u32>) -> Slot {
        let task = pid.map(|_| Task { task: TaskId(287), attempt: Attempt(2), since_ns: 9 * SECOND });
        Slot {
            slot: SlotId(n),
            incarnation: 2,
            pid,
            life: if pid.is_some() { "ready".into() } else { "waiting".into() },
            stopped: false,
            born_ns: pid.map(|_| 8 * SECOND),
            task,
            beside: vec![],
            leased: 1,
            settled: 71,
            restarts: 1,
            sign_ns: Some(10 * SECOND - SECOND / 2),
        }
    }

    fn published(slots: Vec<Slot>) -> Status {
        Status {
            v: 1,
            run: "r".into(),
            pid: std::process::id(),
            state: "running".into(),
            work: "sum of 0..9".into(),
            procs: 2,
            daemon: true,
            start_method: "fork".into(),
            descendants: "cgroup".into(),
            memory_limits: "looked at".into(),
            logs: "/r/logs".into(),
            began_ns: 5 * SECOND,
            written_ns: 10 * SECOND,
            tally: Tallied { tasks: 1_000, settled: 286, restarts: 1, ..Tallied::default() },
            template: Some(Template { pid: NOBODY, incarnation: 1, born_ns: 5 * SECOND }),
            slots,
            dead: vec![Dead {
                slot: SlotId(0),
                incarnation: 1,
                pid: 4_711,
                exit: Exit::Signal(9),
                planned: false,
                task: Some(TaskId(287)),
                beside: vec![TaskId(288)],
                task_since_ns: Some(7 * SECOND),
                settled: 71,
                born_ns: 5 * SECOND,
                died_ns: 8 * SECOND,
            }],
        }
    }

    #[test]
    fn whoever_is_gone_is_not_alive_whatever_was_published() {
        let seen = look(&published(vec![slot(0, Some(NOBODY)), slot(1, None)]), true, false, 10 * SECOND);
        let text = seen.text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            format!(
                "run r · supervisor {} · running · cgroup · memory limits: looked at · sum of 0..9: 286 of 1000 tasks in 5.0 s",
                seen.pid
            )
        );
        let words = |line: &str| line.split_whitespace().map(String::from).collect::<Vec<_>>().join(" ");
        assert_eq!(words(lines[1]), "NAME SLOT PID DAEMON ALIVE STATE TASK AGE DONE RESTARTS RSS SIGN");
        assert!(
            words(lines[2]).starts_with(&format!("supervisor - {} - yes running - 5.0 s 286 1", seen.pid))
        );
        assert_eq!(words(lines[3]), format!("template+guard - {NOBODY} - no dead - 5.0 s - - - -"));
        assert_eq!(
            words(lines[4]),
            format!("worker-0 0 {NOBODY} yes no dead 287 (attempt 2) 2.0 s 71 1 - 500 ms ago")
        );
        assert_eq!(words(lines[5]), "worker-1 1 - yes no waiting - - 71 1 - 500 ms ago");
    }

    #[test]
    fn a_living_child_is_alive_and_a_stranger_with_its_pid_is_not() {
        let mut cat = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let rows = processes(&published(vec![slot(0, Some(cat.id())), slot(1, Some(1))]), 10 * SECOND);
        assert_eq!((rows[2].alive, rows[2].state.as_str()), (true, "ready"));
        assert_eq!((rows[3].alive, rows[3].state.as_str()), (false, "dead"));
        drop(cat.stdin.take());
        cat.wait().unwrap();
    }

    #[test]
    fn of_a_run_that_is_over_only_the_dead_are_shown() {
        let text = look(&published(vec![slot(0, Some(NOBODY))]), false, true, 10 * SECOND).text();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].contains("· over ·"), "{text}");
        assert_eq!(lines[1], "DEAD        SLOT   PID  CAUSE        TASK  LIVED  DONE  DIED");
        assert_eq!(lines[2], "worker-0.1     0  4711  SIGKILL  287, 288  3.0 s    71  2.0 s ago");
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn for_programs_every_fact_has_a_name() {
        let seen = [look(&published(vec![slot(0, None)]), true, true, 10 * SECOND)];
        let json = serde_json::to_value(Document { v: 1, runs: &seen }).unwrap();
        let run = &json["runs"][0];
        assert_eq!((&run["run"], &run["settled"], &run["live"]), (&"r".into(), &286.into(), &true.into()));
        assert_eq!(
            (&run["processes"][2]["name"], &run["processes"][2]["alive"]),
            (&"worker-0".into(), &false.into())
        );
        assert_eq!((&run["dead"][0]["exit"]["signal"], &run["dead"][0]["ago"]), (&9.into(), &2.0.into()));
    }
}
