//! Quarantine: the stories of tasks that took too many workers along, kept where a later command finds them.
//!
//! ```text
//! an attempt is spent ─▶ Tales (pid, exit, seconds) ─▶ the last one ─▶ quarantine/<task>.json, with the last lines of each
//! retry, drop: a record in the journal, then the file goes          resume: the files are made to agree with the journal
//! ```
//!
//! The journal decides who is in quarantine; the files tell why, and can be read while the run is live.

use crate::driver::Driver;
use crate::rundir::RunDir;
use crate::story::SCHEMA;
use brigade_journal::{Journal, JournalFile, Record, Settled};
use brigade_wire::{Exit, FailedAttempt, Outcome, PROTOCOL, TaskId, WorkerId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Lines that are kept of each attempt's log.
pub const LINES_MAX: usize = 10;

/// Attempts whose last lines are kept: the last ones. `--max-attempts` may be a thousand.
pub const LOGS_MAX: usize = 10;

/// Characters that are kept of such a line.
const LINE_CHARS_MAX: usize = 300;

/// The story of one task in quarantine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// [`SCHEMA`].
    pub v: u32,
    /// Which task.
    pub task: TaskId,
    /// What it was to do; not known where an earlier supervisor was killed before it wrote that.
    pub what: Option<String>,
    /// Everything that was tried, first to last.
    pub attempts: Vec<Tried>,
}

/// One attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tried {
    /// Which it was, who ran it, how it ended.
    #[serde(flatten)]
    pub failed: FailedAttempt,
    /// The process that ran it; not known of an attempt under an earlier supervisor.
    pub pid: Option<u32>,
    /// How that process ended, if it did.
    pub exit: Option<Exit>,
    /// How long the attempt ran.
    pub seconds: Option<f64>,
    /// The last lines of the process's log.
    pub last_lines: Vec<String>,
}

/// The stories that stand in a run's directory, by task. What cannot be understood is passed over.
///
/// # Errors
/// If the directory is there and cannot be read.
pub fn cases(run: &Path) -> io::Result<Vec<Case>> {
    let found = match fs::read_dir(home(run)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        found => found?,
    };
    let files = found.flatten().filter(|file| task_of(&file.path()).is_some());
    let texts = files.filter_map(|file| fs::read(file.path()).ok());
    let cases = texts.filter_map(|text| serde_json::from_slice::<Case>(&text).ok());
    let mut cases: Vec<Case> = cases.filter(|case| case.v == SCHEMA).collect();
    cases.sort_by_key(|case| case.task);
    Ok(cases)
}

// Deciding about them.

/// Which tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// Whatever is in quarantine.
    All,
    /// These.
    These(Vec<TaskId>),
}

/// What becomes of a task in quarantine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The next resume does it again, as if it had never been tried.
    Again,
    /// It is given up for good: its word stands, and it is not listed any more.
    GivenUp,
}

/// Why nothing was decided.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuarantineError {
    /// At least one of them is not in quarantine; nothing was done to any.
    #[error("task {task} of run {run} is not in quarantine: see what is with 'quarantine list'")]
    Unknown {
        /// The first of them.
        task: TaskId,
        /// The run.
        run: String,
    },
    /// The journal cannot be read or written.
    #[error("{0}")]
    Journal(String),
}

/// Decides about tasks in quarantine, and says which they were. It is in the journal when this returns.
///
/// # Errors
/// If one of them is not in quarantine, or the journal cannot be read or written.
pub fn decide(dir: &RunDir, chosen: &Chosen, fate: Fate) -> Result<Vec<TaskId>, QuarantineError> {
    let file = JournalFile::open(&dir.journal_file()).map_err(unusable)?;
    let replay = Journal::open(file).map_err(unusable)?;
    if replay.identity().protocol != PROTOCOL {
        let path = dir.journal_file();
        return Err(unusable(format!("journal {} is of another build of supervisor", path.display())));
    }
    let mut here = BTreeMap::new();
    let (mut journal, recovered) = replay.each(|settled| take(settled, &mut here)).map_err(unusable)?;
    here.retain(|task, _| recovered.quarantined.get(task) == Some(&false));
    // An earlier decision may have been killed before it came to the files.
    agree(dir, &here);
    let tasks = match chosen {
        Chosen::All => here.keys().copied().collect(),
        Chosen::These(tasks) => among(tasks, &here, dir.name())?,
    };
    for &task in &tasks {
        let record = match fate {
            Fate::Again => Record::Reopened { task },
            Fate::GivenUp => Record::Dropped { task },
        };
        journal.append(&record).map_err(unusable)?;
    }
    journal.commit().map_err(unusable)?;
    tasks.iter().for_each(|task| drop(here.remove(task)));
    agree(dir, &here);
    Ok(tasks)
}

fn take(settled: Settled, here: &mut BTreeMap<TaskId, Vec<FailedAttempt>>) {
    if let Outcome::Quarantined { attempts } = settled.outcome {
        here.insert(settled.task, attempts);
    }
}

fn unusable(error: impl ToString) -> QuarantineError {
    QuarantineError::Journal(error.to_string())
}

/// These, each once, if all of them are there.
fn among<T>(tasks: &[TaskId], here: &BTreeMap<TaskId, T>, run: &str) -> Result<Vec<TaskId>, QuarantineError> {
    if let Some(&task) = tasks.iter().find(|task| !here.contains_key(task)) {
        return Err(QuarantineError::Unknown { task, run: run.into() });
    }
    let each: BTreeSet<TaskId> = tasks.iter().copied().collect();
    Ok(each.into_iter().collect())
}

// Telling them.

/// What is known of the attempts that were spent on tasks which are not settled yet.
#[derive(Debug, Default)]
pub(crate) struct Tales {
    spent: BTreeMap<TaskId, Vec<Tried>>,
    /// How long the failures took that were heard last; a frame holds few.
    heard: Vec<(WorkerId, TaskId, u64)>,
}

impl Tales {
    /// A worker reports that these did not succeed.
    pub(crate) fn heard(&mut self, failures: impl Iterator<Item = (WorkerId, TaskId, u64)>) {
        self.heard.clear();
        self.heard.extend(failures);
    }

    fn took_ns(&self, worker: WorkerId, task: TaskId) -> Option<u64> {
        self.heard.iter().find(|(who, of, _)| (*who, *of) == (worker, task)).map(|(.., ns)| *ns)
    }
}

impl Driver<'_> {
    /// An attempt came to nothing, and was not the last.
    pub(crate) fn remember_attempt(&mut self, task: TaskId, failed: &FailedAttempt) {
        let tried = self.tried(task, failed);
        self.tales.spent.entry(task).or_default().push(tried);
    }

    /// A task has its final word.
    pub(crate) fn forget_attempts(&mut self, task: TaskId) {
        self.tales.spent.remove(&task);
    }

    /// A task is in quarantine, and the journal has it: its story is written.
    pub(crate) fn keep_case(&mut self, task: TaskId, what: &str, attempts: &[FailedAttempt]) {
        let mut known = self.tales.spent.remove(&task).unwrap_or_default();
        known.extend(attempts.last().map(|last| self.tried(task, last)));
        let told = |failed: &FailedAttempt| {
            let told = known.iter().find(|tried| tried.failed == *failed).cloned();
            told.unwrap_or_else(|| untold(failed))
        };
        let mut attempts: Vec<Tried> = attempts.iter().map(told).collect();
        let without = attempts.len().saturating_sub(LOGS_MAX);
        for tried in &mut attempts[without..] {
            tried.last_lines = self.last_lines_of(task, tried);
        }
        let what = Some(what.to_owned());
        let written = write(&self.run_path, &Case { v: SCHEMA, task, what, attempts });
        if let Err(error) = written {
            let what = format!("cannot write {}: {error}", case_file(&self.run_path, task).display());
            self.chronicle.warn(format!("{what}; the story of task {task} is in events.ndjson only"));
        }
    }

    /// What is known now of an attempt that has just ended.
    fn tried(&self, task: TaskId, failed: &FailedAttempt) -> Tried {
        let worker = failed.worker;
        let dead = self.chronicle.dead.iter().rev();
        let dead = dead.take_while(|_| failed.end.is_death()).find(|dead| dead.is(worker));
        let pid = dead.map_or_else(|| self.chronicle.pid(worker), |dead| dead.pid);
        let took_ns = match dead {
            Some(dead) => dead.task_since_ns.map(|since_ns| dead.died_ns.saturating_sub(since_ns)),
            None => self.tales.took_ns(worker, task),
        };
        Tried {
            pid: Some(pid).filter(|pid| *pid != 0),
            exit: dead.map(|dead| dead.exit),
            seconds: took_ns.map(|ns| std::time::Duration::from_nanos(ns).as_secs_f64()),
            ..untold(failed)
        }
    }

    /// The log of the dead ends with the attempt; that of a worker which lives on does not.
    fn last_lines_of(&self, task: TaskId, tried: &Tried) -> Vec<String> {
        let Some(pid) = tried.pid else { return Vec::new() };
        let end = format!(" end task {task} attempt {}: ", tried.failed.attempt);
        let until = tried.exit.is_none().then_some(end.as_str());
        let lines = self.chronicle.own_lines(pid, LINES_MAX, until);
        lines.iter().map(|line| line.chars().take(LINE_CHARS_MAX).collect()).collect()
    }
}

/// Nothing is known but that it was.
fn untold(failed: &FailedAttempt) -> Tried {
    Tried { failed: failed.clone(), pid: None, exit: None, seconds: None, last_lines: Vec::new() }
}

// The files.

/// Makes the files agree with the journal: what is no more in quarantine goes, and what a killed supervisor had no time
/// to write is written. The stories are a comfort: what cannot be done is left undone.
pub(crate) fn agree(dir: &RunDir, quarantined: &BTreeMap<TaskId, Vec<FailedAttempt>>) {
    let found = fs::read_dir(home(dir.path())).into_iter().flatten().flatten();
    let stale =
        found.filter(|file| task_of(&file.path()).is_none_or(|task| !quarantined.contains_key(&task)));
    stale.for_each(|file| drop(fs::remove_file(file.path())));
    for (&task, attempts) in quarantined.iter().filter(|(task, _)| !case_file(dir.path(), **task).exists()) {
        let attempts = attempts.iter().map(untold).collect();
        drop(write(dir.path(), &Case { v: SCHEMA, task, what: None, attempts }));
    }
}

fn home(run: &Path) -> PathBuf {
    run.join("quarantine")
}

fn case_file(run: &Path, task: TaskId) -> PathBuf {
    home(run).join(format!("{task}.json"))
}

fn task_of(path: &Path) -> Option<TaskId> {
    path.file_name()?.to_str()?.strip_suffix(".json")?.parse().ok().map(TaskId)
}

/// By one rename, so that a reader never sees half of it.
fn write(run: &Path, case: &Case) -> io::Result<()> {
    DirBuilder::new().mode(0o700).recursive(true).create(home(run))?;
    let (path, fresh) = (case_file(run, case.task), home(run).join(".new"));
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh);
    file?.write_all(&serde_json::to_vec(case)?)?;
    fs::rename(fresh, path)
}
