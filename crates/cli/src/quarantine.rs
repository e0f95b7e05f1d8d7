//! `supervisor quarantine`: which tasks took too many workers along, why, and what is to become of them.

use crate::args::{Common, Format};
use crate::exit::{self, Stop};
use crate::phrase;
use crate::table::table;
use crate::words::{counted, quoted, span};
use anyhow::Context;
use brigade_supervisor::quarantine::{Case, Chosen, Fate, QuarantineError, Tried, cases, decide};
use brigade_supervisor::rundir::{RunDir, RunDirError, RunEntry, Runs};
use brigade_wire::TaskId;
use clap::{Args, Subcommand};
use serde::Serialize;

/// What is asked about the quarantine of a run.
#[derive(Clone, Debug, Args)]
pub(crate) struct QuarantineArgs {
    #[command(subcommand)]
    verb: Asked,
}

#[derive(Clone, Debug, Subcommand)]
enum Asked {
    /// Show the tasks in quarantine, also of a live run
    List,
    /// Show what became of each attempt at a task: who, how, how long, and its last words
    Show {
        /// The task, by its number
        #[arg(value_name = "TASK")]
        task: u64,
    },
    /// Let `supervisor resume` do them again, as if they had never been tried
    Retry {
        /// The tasks, by their numbers, or all
        #[arg(value_name = "TASK|all", required = true, value_parser = which)]
        tasks: Vec<Which>,
    },
    /// Give them up for good: they are not listed any more, and stay missing from the total
    Drop {
        /// The tasks, by their numbers, or all
        #[arg(value_name = "TASK|all", required = true, value_parser = which)]
        tasks: Vec<Which>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    All,
    Task(u64),
}

fn which(text: &str) -> Result<Which, String> {
    match text {
        "all" => Ok(Which::All),
        task => task.parse().map(Which::Task).map_err(|_| "expected the number of a task, or all".into()),
    }
}

fn chosen(tasks: &[Which]) -> Chosen {
    let task = |which: &Which| match which {
        Which::All => None,
        Which::Task(task) => Some(TaskId(*task)),
    };
    tasks.iter().map(task).collect::<Option<Vec<TaskId>>>().map_or(Chosen::All, Chosen::These)
}

/// Shows or decides what was asked.
pub(crate) fn quarantine(common: &Common, args: &QuarantineArgs) -> Result<u8, Stop> {
    let run = run(common)?;
    let text = match &args.verb {
        Asked::List => list(&run, common.format)?,
        Asked::Show { task } => show(&run, TaskId(*task), common.format)?,
        Asked::Retry { tasks } => change(common, &run, &chosen(tasks), Fate::Again)?,
        Asked::Drop { tasks } => change(common, &run, &chosen(tasks), Fate::GivenUp)?,
    };
    exit::show(&text).map(|()| exit::OK)
}

/// The named run, or the latest that is live, or else the latest.
fn run(common: &Common) -> Result<RunEntry, Stop> {
    let state = common.state_dir();
    let found = Runs::find(&state, common.run.as_deref()).map_err(|error| Stop::usage(error.to_string()))?;
    found.ok_or_else(|| match &common.run {
        Some(name) => Stop::nobody(format!("no run {name} in {}", state.display())),
        None => Stop::nobody(format!("no supervisor ever ran in {}", state.display())),
    })
}

fn known(run: &RunEntry) -> Result<Vec<Case>, Stop> {
    let cases = cases(&run.path);
    Ok(cases.with_context(|| format!("read the quarantine of run {}", run.name))?)
}

/// All that is printed with `--format json`.
#[derive(Serialize)]
struct Document<'a, T> {
    v: u32,
    run: &'a str,
    live: bool,
    #[serde(flatten)]
    what: T,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum What<'a> {
    Quarantined(&'a [Case]),
    Reopened(&'a [TaskId]),
    Dropped(&'a [TaskId]),
}

fn json(run: &RunEntry, live: bool, what: What<'_>) -> Result<String, Stop> {
    let document = Document { v: 1, run: &run.name, live, what };
    Ok(serde_json::to_string(&document).context("write JSON")? + "\n")
}

fn list(run: &RunEntry, format: Format) -> Result<String, Stop> {
    let cases = known(run)?;
    if format == Format::Json {
        return json(run, run.live, What::Quarantined(&cases));
    }
    if cases.is_empty() {
        return Ok(nothing(run));
    }
    let row = |case: &Case| {
        let last = case.attempts.last();
        let end = last.map_or_else(String::new, |last| phrase::story(std::slice::from_ref(&last.failed)));
        let what = case.what.as_deref().map_or_else(String::new, quoted);
        vec![case.task.to_string(), case.attempts.len().to_string(), what, end]
    };
    let rows: Vec<Vec<String>> = cases.iter().map(row).collect();
    Ok(table(&[">TASK", ">ATTEMPTS", "WHAT", "LAST"], &rows))
}

fn nothing(run: &RunEntry) -> String {
    format!("no task of run {} is in quarantine\n", run.name)
}

fn show(run: &RunEntry, task: TaskId, format: Format) -> Result<String, Stop> {
    let case = known(run)?.into_iter().find(|case| case.task == task);
    let unknown = || QuarantineError::Unknown { task, run: run.name.clone() };
    let case = case.ok_or_else(|| refused(unknown()))?;
    if format == Format::Json {
        return json(run, run.live, What::Quarantined(&[case]));
    }
    let attempts = counted(case.attempts.len() as u64, "attempt");
    let what = case.what.as_ref().map(|what| format!(" · {}", quoted(what))).unwrap_or_default();
    let head = format!("task {task} of run {}{what} · in quarantine after {attempts}\n", run.name);
    Ok(case.attempts.iter().map(told).fold(head, |text, attempt| text + &attempt))
}

/// `attempt 1 lost worker 0.1 to SIGABRT · pid 4711 · SIGABRT · after 1.2 s`, and its last words.
fn told(tried: &Tried) -> String {
    let mut text = phrase::story(std::slice::from_ref(&tried.failed));
    text += &tried.pid.map(|pid| format!(" · pid {pid}")).unwrap_or_default();
    text += &tried.exit.map(|exit| format!(" · {exit}")).unwrap_or_default();
    text += &tried.seconds.map(|seconds| format!(" · after {}", span(seconds))).unwrap_or_default();
    tried.last_lines.iter().fold(text + "\n", |text, line| text + "  │ " + &quoted(line) + "\n")
}

/// Only of a run that nobody holds: its supervisor would not hear of it.
fn change(common: &Common, run: &RunEntry, chosen: &Chosen, fate: Fate) -> Result<String, Stop> {
    if run.live {
        return Err(live(&run.name));
    }
    let dir = RunDir::reopen(&common.state_dir(), &run.name).map_err(|error| match error {
        // Somebody resumes it at this moment.
        RunDirError::Live { name, .. } => live(&name),
        error => Stop::usage(error.to_string()),
    })?;
    let tasks = decide(&dir, chosen, fate).map_err(refused)?;
    if common.format == Format::Json {
        let what = match fate {
            Fate::Again => What::Reopened(&tasks),
            Fate::GivenUp => What::Dropped(&tasks),
        };
        return json(run, false, what);
    }
    let count = counted(tasks.len() as u64, "task");
    Ok(match fate {
        _ if tasks.is_empty() => nothing(run),
        Fate::Again => format!("{count} will be done again by 'supervisor resume {}'\n", run.name),
        Fate::GivenUp => format!("{count} given up for good\n"),
    })
}

fn live(run: &str) -> Stop {
    Stop::usage(format!("run {run} is live: end it first, then decide, then resume it"))
}

fn refused(error: QuarantineError) -> Stop {
    let code = match error {
        QuarantineError::Unknown { .. } => exit::NOBODY,
        _ => exit::JOURNAL,
    };
    Stop::Failed { code, why: error.into() }
}
