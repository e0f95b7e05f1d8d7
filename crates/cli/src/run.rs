//! `supervisor run`: from the flags to a plan, from the report to an exit code.

use crate::answer::{Answer, Loss, Stdout};
use crate::args::{Common, Format, ResumeArgs, RunArgs, Voice};
use crate::exit::{self, Stop};
use crate::human::{Human, Terms};
use crate::json::Events;
use crate::now;
use crate::relay::Relay;
use crate::screen::Screen;
use crate::work::RangeSum;
use brigade_core::Policy;
use brigade_supervisor::error::{RunError, WorkerFault};
use brigade_supervisor::run::{Host, Identity, Memory, Plan, Report, Witness, Work};
use brigade_supervisor::rundir::{RUNS_KEPT, RunDir, RunDirError, Runs};
use brigade_supervisor::status::Status;
use brigade_supervisor::story::{Line, Tallied};
use brigade_tasks::range_sum;
use std::io::{self, Stderr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The least time that a killed worker has before it is taken for one that nothing can kill.
const KILL_GRACE_MIN: Duration = Duration::from_secs(1);

/// Holds a run and says its exit code.
pub(crate) fn run(common: &Common, args: &RunArgs) -> Result<u8, Stop> {
    let (range, tasks) = args.tasks()?;
    let plan = plan(args, tasks)?;
    brigade_os::signals::hold_back();
    args.log_dir.as_deref().map_or(Ok(()), no_link)?;
    let state = common.state_dir();
    let dir = RunDir::create(&state, common.run.as_deref(), args.log_dir.as_deref())
        .map_err(|error| refused(error.into()))?;
    let mut relay = relay(common, args, tasks, &dir)?;
    let ended = brigade_supervisor::run(plan, &mut RangeSum::new(range, tasks), dir, &mut relay);
    let code = said(relay, ended);
    // After the answer: nobody is to wait until thousands of old logs are gone.
    Runs::prune(&state, RUNS_KEPT);
    code
}

/// Goes on with a run, in its own directory, and says its exit code.
pub(crate) fn resume(common: &Common, args: &ResumeArgs) -> Result<u8, Stop> {
    brigade_os::signals::hold_back();
    let state = common.state_dir();
    let name = which(common, &state, &args.which)?;
    let dir = RunDir::reopen(&state, &name).map_err(|error| match error {
        RunDirError::Live { name, holder } => {
            Stop::usage(format!("run {name} is live ({holder}): end it first, or let it go on"))
        }
        error => refused(error.into()),
    })?;
    let mut work = match args.run.named_tasks()? {
        Some((range, tasks)) => RangeSum::new(range, tasks),
        None => work_of(&dir)?,
    };
    let (tasks, plan) = (work.count(), plan(&args.run, work.count())?);
    let mut relay = relay(common, &args.run, tasks, &dir)?;
    let ended = brigade_supervisor::resume(plan, &mut work, dir, &mut relay);
    said(relay, ended)
}

fn relay(common: &Common, args: &RunArgs, tasks: u64, dir: &RunDir) -> Result<Relay, Stop> {
    let relay = Relay::new(Voices::new(common, args, tasks, dir));
    relay.map_err(|error| anyhow::Error::new(error).context("start a thread to write with").into())
}

/// Everything has been said; the exit code, or why there was no run.
fn said(relay: Relay, ended: Result<Report, RunError>) -> Result<u8, Stop> {
    match ended {
        Ok(report) => Ok(relay.close(Some(report))),
        Err(error) => {
            relay.close(None);
            Err(refused(error))
        }
    }
}

/// The name of the run to go on with.
fn which(common: &Common, state: &Path, named: &str) -> Result<String, Stop> {
    match (named, &common.run) {
        ("last", Some(name)) => Ok(name.clone()),
        ("last", None) => {
            let runs = Runs::list(state).map_err(|error| refused(error.into()))?;
            let last = runs.into_iter().rev().find(|run| !run.live).map(|run| run.name);
            last.ok_or_else(|| Stop::nobody(format!("there is no run to resume in {}", state.display())))
        }
        (name, _) => Ok(name.to_owned()),
    }
}

/// The work of a run, as its journal describes it.
fn work_of(dir: &RunDir) -> Result<RangeSum, Stop> {
    let Identity { function, parameters, .. } = brigade_supervisor::identity(dir).map_err(refused)?;
    let known = function == range_sum::NAME;
    let work = known.then(|| RangeSum::of_parameters(&parameters)).flatten();
    let strange =
        || format!("run {} is of `{function}` with {parameters}, which this build does not know", dir.name());
    work.ok_or_else(|| Stop::usage(strange()))
}

fn plan(args: &RunArgs, tasks: u64) -> Result<Plan, Stop> {
    let policy = Policy {
        procs: args.procs,
        schedule: args.schedule(),
        task_timeout: args.task_timeout(tasks),
        retries: args.retries,
        attempts_max: args.max_attempts(),
        intensity: args.max_restarts,
        grace: args.grace,
        // Even the kernel takes its time to end a process, and whoever has no patience is to have that.
        kill_grace: args.grace.max(KILL_GRACE_MIN),
        tasks_per_worker_max: args.max_tasks_per_worker,
        age_max: args.max_age,
        lookahead: args.lookahead(),
        halt: args.halt,
        hold: args.hold,
        seed: args.chaos.map_or_else(|| u64::from(std::process::id()), |chaos| chaos.seed),
        ..Policy::default()
    };
    let worker = worker(args.worker.as_deref())?;
    let (start_method, daemon, pace) = (args.start_method(), !args.no_daemon, args.pace(tasks));
    let (chaos, journal) = (args.chaos, args.journal());
    let memory = Memory { rss_bytes_max: args.max_rss, as_bytes_max: args.max_as };
    Ok(Plan {
        policy,
        worker,
        entry: Vec::new(),
        environment: Vec::new(),
        letter: [].into(),
        host: Host::Supervisor,
        start_method,
        daemon,
        pace,
        chaos,
        journal,
        memory,
    })
}

/// The worker binary: the one that was named, or `worker` beside this program, or on PATH.
fn worker(named: Option<&Path>) -> Result<PathBuf, Stop> {
    if let Some(path) = named {
        // Absolute, because a name without a slash would be looked for on PATH.
        return Ok(std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf()));
    }
    let beside = std::env::current_exe().unwrap_or_default().with_file_name("worker");
    if beside.is_file() {
        return Ok(beside);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|dir| dir.join("worker")).find(|path| is_program(path)).ok_or_else(
        || {
            let beside = beside.display();
            Stop::usage(format!(
                "no worker at {beside} and none on PATH: build it, or name one with --worker"
            ))
        },
    )
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Logs are not written through links; said here, where the path is known.
fn no_link(log_dir: &Path) -> Result<(), Stop> {
    if log_dir.symlink_metadata().is_ok_and(|meta| meta.is_symlink()) {
        let path = log_dir.display();
        return Err(Stop::usage(format!("{path} is a link: name the directory itself with --log-dir")));
    }
    Ok(())
}

/// Why a worker binary could not be executed; the system's own words do not tell a file from what it needs.
fn unusable(path: &Path, error: &io::Error) -> String {
    match path.metadata() {
        Ok(meta) if meta.is_dir() => "is a directory".into(),
        Ok(meta) if meta.permissions().mode() & 0o111 == 0 => "is not executable (chmod +x)".into(),
        Ok(_) if error.kind() == io::ErrorKind::NotFound => "its interpreter or loader is missing".into(),
        Ok(_) | Err(_) => error.to_string(),
    }
}

/// What the user named cannot be used, unless the system itself failed us.
fn refused(error: RunError) -> Stop {
    match error {
        RunError::Os { .. } => Stop::Failed { code: exit::INTERNAL, why: error.into() },
        RunError::Worker { path, fault: WorkerFault::NotStarted(error) } => {
            let (worker, reason) = (path.display(), unusable(&path, &error));
            Stop::usage(format!("worker {worker}: {reason} · name another with --worker"))
        }
        RunError::Journal(_) => Stop::Failed { code: exit::JOURNAL, why: error.into() },
        RunError::Interrupted { signal } => Stop::Failed { code: exit::signalled(signal), why: error.into() },
        RunError::Worker { .. } => Stop::usage(format!("{error} · name another with --worker")),
        _ => Stop::Failed { code: exit::USAGE, why: error.into() },
    }
}

/// stderr for people, stdout for the answer or for programs.
pub(crate) struct Voices {
    people: Human<Stderr>,
    stdout: Box<dyn Stdout + Send>,
    voice: Voice,
    events: PathBuf,
    spoiled: bool,
}

impl Voices {
    fn new(common: &Common, args: &RunArgs, tasks: u64, dir: &RunDir) -> Voices {
        let (attempts_max, task_timeout) = (args.max_attempts(), args.task_timeout(tasks));
        let (trial, events) = (args.trial(tasks), dir.events_file());
        let terms = Terms { attempts_max, task_timeout, trial, events };
        let stdout: Box<dyn Stdout + Send> = match common.format {
            Format::Human => Box::new(Answer::new(io::stdout())),
            Format::Json => Box::new(Events::new(io::stdout())),
        };
        let people = Human::new(Screen::stderr(common.color), args.voice(), terms);
        Voices { people, stdout, voice: args.voice(), events: dir.events_file(), spoiled: false }
    }

    /// stdout takes no more: the run goes on, because what it does is in its directory as well.
    fn lose(&mut self, fault: &io::Error) {
        let events = self.events.display();
        match self.stdout.loss(fault) {
            Loss::Unread if self.voice == Voice::Quiet => {}
            Loss::Unread => {
                self.people.warn("Unread", &format!("stdout is closed · the story goes on in {events}"))
            }
            Loss::Answer => {
                self.people.warn("UNWRITTEN", &format!("the total, to stdout: {fault} · it is in {events}"));
                self.spoiled = true;
            }
            Loss::Events => {
                self.people.warn("UNWRITTEN", &format!("events, to stdout: {fault} · they are in {events}"));
                self.spoiled = true;
            }
        }
    }

    /// Says what was wrong with the answer, if anything was, and what the exit code is.
    pub(crate) fn close(&mut self, report: Option<&Report>, lost: u64) -> u8 {
        self.people.clear();
        let Some(report) = report else { return exit::OK };
        if lost > 0 {
            let events = self.events.display();
            self.people
                .warn("Unread", &format!("{lost} lines found no reader in time · they are in {events}"));
        }
        if let Some(fault) = &report.integrity {
            self.people.warn("WRONG", &format!("{fault} · see {}", self.events.display()));
        }
        match exit::code(report) {
            exit::OK if self.spoiled => exit::INTERNAL,
            code => code,
        }
    }
}

impl Witness for Voices {
    fn tell(&mut self, line: &Line) {
        self.people.tell(line);
        self.people.clear();
        self.stdout.tell(line);
        if let Some(fault) = self.stdout.fault() {
            self.lose(&fault);
        }
    }

    fn progress(&mut self, tally: &Tallied) {
        self.people.progress(tally);
    }

    fn show(&mut self, status: &Status) {
        now::lines(status).iter().for_each(|line| self.people.warn("Now", line));
    }
}
