//! What the command line can say: one definition for the parser, `--help` and the environment.

use crate::chaos;
use crate::exit::{self, Stop};
use crate::parse;
use crate::quarantine::QuarantineArgs;
use crate::size;
use brigade_core::{Halt, Intensity, Schedule, Timeout};
use brigade_supervisor::chaos::Chaos;
use brigade_supervisor::run::{Durability, StartMethod};
use brigade_supervisor::rundir::Runs;
use clap::builder::{FalseyValueParser, PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

/// Tasks that a range is cut into when nobody says otherwise: enough to see a death cost little, few enough to
/// cost nothing.
const TASKS_DEFAULT: u64 = 1_000;

/// A few seconds of work: time enough to kill a child.
const RANGE_DEFAULT: Range<u64> = 0..20_000_000_000;

/// Keep worker processes alive, lend them tasks, and bring every result home exactly once
///
/// Sums the integers of a range in worker processes. Any of them may be killed at any time: the sum stays
/// exact. It is printed on stdout, the story of the run on stderr.
#[derive(Debug, Parser)]
#[command(name = "supervisor", version, after_help = exit::HELP, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) run: RunArgs,
    #[command(subcommand)]
    pub(crate) verb: Option<Verb>,
}

/// The other things to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run the tasks; the same as no command at all
    Run(RunArgs),
    /// Go on with a run whose supervisor died or drained: nothing that was settled is done or counted again
    Resume(ResumeArgs),
    /// Show the processes of the live runs
    Ps(PsArgs),
    /// Show what a worker wrote, also after its death
    Logs(LogsArgs),
    /// Show which tasks took too many workers along, and decide about them
    Quarantine(QuarantineArgs),
}

/// Which run to go on with.
#[derive(Clone, Debug, Args)]
pub(crate) struct ResumeArgs {
    /// The run, by its name; last is the latest that is not live
    #[arg(value_name = "RUN|last", default_value = "last")]
    pub(crate) which: String,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// Flags of every command.
#[derive(Clone, Debug, Args)]
pub(crate) struct Common {
    /// Where runs keep their directories [default: $XDG_STATE_HOME/brigade]
    #[arg(long, global = true, value_name = "DIR", env = "SUPERVISOR_STATE_DIR", hide_env_values = true)]
    pub(crate) state_dir: Option<PathBuf>,
    /// The name of the run: of the new one, or of the one to read about [default: by time and pid, or the latest]
    #[arg(long, global = true, value_name = "ID", env = "SUPERVISOR_RUN", hide_env_values = true)]
    pub(crate) run: Option<String>,
    /// What stdout carries: the answer or a table for people, or JSON for programs
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        env = "SUPERVISOR_FORMAT",
        hide_env_values = true
    )]
    pub(crate) format: Format,
    /// Whether stderr is coloured; auto also heeds NO_COLOR and TERM=dumb
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        value_enum,
        default_value_t,
        env = "SUPERVISOR_COLOR",
        hide_env_values = true
    )]
    pub(crate) color: When,
}

impl Common {
    /// Where the runs are.
    pub(crate) fn state_dir(&self) -> PathBuf {
        self.state_dir.clone().unwrap_or_else(Runs::default_state_dir)
    }
}

/// What a run is to do.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Run options")]
pub(crate) struct RunArgs {
    /// Worker processes to keep alive; auto is one for each processor
    #[arg(long, value_name = "N|auto", default_value = "auto", value_parser = parse::procs, env = "SUPERVISOR_PROCS", hide_env_values = true)]
    pub(crate) procs: u32,
    /// The integers to add, B not included [default: 0..20_000_000_000]
    #[arg(long, value_name = "A..B", value_parser = parse::range, allow_hyphen_values = true, env = "SUPERVISOR_RANGE", hide_env_values = true)]
    range: Option<Range<u64>>,
    /// Tasks to cut the range into [default: 1000, or one for each number if they are fewer]
    #[arg(long, value_name = "N", value_parser = parse::tasks, env = "SUPERVISOR_TASKS", hide_env_values = true)]
    tasks: Option<u64>,
    /// Which worker a task is lent to
    #[arg(
        long,
        value_name = "P",
        value_parser = schedules(),
        default_value_t,
        env = "SUPERVISOR_SCHEDULE",
        hide_env_values = true
    )]
    schedule: Schedule,
    /// How workers are born: forked from a template that has loaded everything, or executed afresh
    #[arg(
        long,
        value_name = "HOW",
        value_enum,
        default_value_t,
        env = "SUPERVISOR_START_METHOD",
        hide_env_values = true
    )]
    start_method: StartMethodArg,
    /// The worker binary [default: worker beside this program, or on PATH]
    #[arg(long, value_name = "PATH", env = "SUPERVISOR_WORKER", hide_env_values = true)]
    pub(crate) worker: Option<PathBuf>,
    /// How long one attempt at a task may run before its worker is ended: a time, or a part of the median length of
    /// the tasks so far [default: for ever; 100ms beyond the pace with --chaos]
    #[arg(long, value_name = "DUR|N%", value_parser = parse::timeout, env = "SUPERVISOR_TASK_TIMEOUT", hide_env_values = true)]
    pub(crate) task_timeout: Option<Timeout>,
    /// Workers that may die of a task before it is split or, if it is of one item, quarantined [default: 3; 1000 with --chaos]
    #[arg(long, value_name = "N", value_parser = parse::at_least_one, env = "SUPERVISOR_MAX_ATTEMPTS", hide_env_values = true)]
    pub(crate) max_attempts: Option<u32>,
    /// Times that a task which returns an error or panics is tried again
    #[arg(long, value_name = "N", default_value = "0", value_parser = parse::count, env = "SUPERVISOR_RETRIES", hide_env_values = true)]
    pub(crate) retries: u32,
    /// Deaths of one worker's slot that are borne in that time; those that follow progress do not count
    #[arg(long, value_name = "N/DUR", default_value = "5/10s", value_parser = parse::intensity, env = "SUPERVISOR_MAX_RESTARTS", hide_env_values = true)]
    pub(crate) max_restarts: Intensity,
    /// How long a worker may take to finish after STOP, again to die after SIGTERM, and (1 s at least) after SIGKILL
    #[arg(long, value_name = "DUR", default_value = "5s", value_parser = parse::duration, env = "SUPERVISOR_GRACE", hide_env_values = true)]
    pub(crate) grace: Duration,
    /// Replace a worker after so many tasks, give or take a tenth
    #[arg(long, value_name = "N", value_parser = parse::tasks, env = "SUPERVISOR_MAX_TASKS_PER_WORKER", hide_env_values = true)]
    pub(crate) max_tasks_per_worker: Option<u64>,
    /// Replace a worker after that time, give or take a tenth
    #[arg(long, value_name = "DUR", value_parser = parse::some_duration, env = "SUPERVISOR_MAX_AGE", hide_env_values = true)]
    pub(crate) max_age: Option<Duration>,
    /// Replace a worker that has so much memory in RAM; in the middle of a task it is killed, and the task blamed
    #[arg(long, value_name = "SIZE", value_parser = size::size, env = "SUPERVISOR_MAX_RSS", hide_env_values = true)]
    pub(crate) max_rss: Option<u64>,
    /// Let a worker have no more than so many addresses (RLIMIT_AS): an allocation beyond is the end of it
    #[arg(long, value_name = "SIZE", value_parser = size::size, env = "SUPERVISOR_MAX_AS", hide_env_values = true)]
    pub(crate) max_as: Option<u64>,
    /// End the run early: now or soon, on so many (or so many percent) failed, successful or done tasks
    #[arg(long, value_name = "WHEN,WHAT=N", value_parser = parse::halt, env = "SUPERVISOR_HALT", hide_env_values = true)]
    pub(crate) halt: Option<Halt>,
    /// Keep no journal: a run that dies cannot be gone on with
    #[arg(long, value_parser = FalseyValueParser::new(), env = "SUPERVISOR_NO_JOURNAL", hide_env_values = true)]
    no_journal: bool,
    /// Put the journal onto the disk before anything is told: safe against loss of power, and slower
    #[arg(long, value_parser = FalseyValueParser::new(), conflicts_with = "no_journal", env = "SUPERVISOR_DURABLE", hide_env_values = true)]
    durable: bool,
    /// Let workers finish the task in hand when the supervisor dies, instead of dying with it
    #[arg(long, value_parser = FalseyValueParser::new(), env = "SUPERVISOR_NO_DAEMON", hide_env_values = true)]
    pub(crate) no_daemon: bool,
    /// Make every task last at least that long [default: 0; with --chaos what the faults need]
    #[arg(long, value_name = "DUR", value_parser = parse::duration, env = "SUPERVISOR_PACE", hide_env_values = true)]
    pub(crate) pace: Option<Duration>,
    /// Throw N faults at our own workers while the run lasts, and see the sum stay exact: KILL, SEGV, ABRT, TERM,
    /// STOP, slowness, garbage
    ///
    /// A worker is hit once it has settled a task; when the tasks run out first, fewer are thrown. The same SEED
    /// draws the same faults for the same workers in the same order; what each was doing is the kernel's affair.
    /// Unless they are given, --task-timeout, --max-attempts and --pace become what the faults need.
    #[arg(long, value_name = "N[,SEED]", value_parser = chaos::chaos, env = "SUPERVISOR_CHAOS", hide_env_values = true)]
    pub(crate) chaos: Option<Chaos>,
    /// Print the total when it is known, and keep the workers until Ctrl-C
    #[arg(long, value_parser = FalseyValueParser::new(), env = "SUPERVISOR_HOLD", hide_env_values = true)]
    pub(crate) hold: bool,
    /// Where the per-PID logs go [default: logs in the run's directory]
    #[arg(long, value_name = "DIR", env = "SUPERVISOR_LOG_DIR", hide_env_values = true)]
    pub(crate) log_dir: Option<PathBuf>,
    /// Say only what needs attention: nothing if all goes well
    #[arg(short, long, value_parser = FalseyValueParser::new(), env = "SUPERVISOR_QUIET", hide_env_values = true)]
    quiet: bool,
    /// Say everything that happens
    #[arg(short, long, value_parser = FalseyValueParser::new(), env = "SUPERVISOR_VERBOSE", hide_env_values = true)]
    verbose: bool,
}

/// What `ps` is to show.
#[derive(Clone, Debug, Args)]
pub(crate) struct PsArgs {
    /// Show the dead and how they died as well; without a live run, those of the latest
    #[arg(short, long)]
    pub(crate) all: bool,
}

/// What `logs` is to show.
#[derive(Clone, Debug, Args)]
pub(crate) struct LogsArgs {
    /// Whose log: a pid, all, or last (the one that died last, or else wrote last)
    #[arg(value_name = "PID|all|last", value_parser = which)]
    pub(crate) which: Which,
    /// Go on until the run is over
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Begin with the last N lines of each log
    #[arg(short = 'n', long, value_name = "N", value_parser = parse::number)]
    pub(crate) lines: Option<u64>,
}

/// Whose log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// Of this process.
    Pid(u32),
    /// Of everybody.
    All,
    /// Of who died last.
    Last,
}

fn which(text: &str) -> Result<Which, String> {
    match text {
        "all" => Ok(Which::All),
        "last" => Ok(Which::Last),
        pid => pid.parse().map(Which::Pid).map_err(|_| "expected a pid, all or last".into()),
    }
}

/// What stdout carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// The answer alone, or a table
    #[default]
    Human,
    /// One JSON object a line
    Json,
}

/// When to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    /// On a terminal
    #[default]
    Auto,
    /// Into files as well
    Always,
    /// Not at all
    Never,
}

/// Every [`Schedule`] by its name.
fn schedules() -> impl TypedValueParser<Value = Schedule> {
    let named = |schedule: Schedule| {
        PossibleValue::new(schedule.name()).help(match schedule {
            Schedule::Dynamic => "Whoever is free takes the next task",
            Schedule::Static => "Each worker owns one contiguous part of the tasks",
            Schedule::RoundRobin => "Each worker owns every n-th task",
            Schedule::Weighted => "Heaviest first, each to the worker with the least to do",
            Schedule::Stealing => {
                "As static, and who has nothing left takes from the end of the longest part"
            }
        })
    };
    PossibleValuesParser::new(Schedule::ALL.map(named)).try_map(|name| name.parse::<Schedule>())
}

/// [`StartMethod`], for the command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum StartMethodArg {
    /// Forked from the template
    #[default]
    Fork,
    /// Executed afresh
    Spawn,
}

/// How much is said on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Voice {
    /// What needs attention.
    Quiet,
    /// What matters.
    Normal,
    /// Everything.
    Verbose,
}

impl RunArgs {
    /// The integers to add, and into how many tasks they are cut.
    pub(crate) fn tasks(&self) -> Result<(Range<u64>, u64), Stop> {
        let range = self.range.clone().unwrap_or(RANGE_DEFAULT);
        let length = range.end - range.start;
        let tasks = self.tasks.unwrap_or(TASKS_DEFAULT.min(length));
        if tasks <= length {
            return Ok((range, tasks));
        }
        let (from, to) = (range.start, range.end);
        let advice = "ask for fewer --tasks or a longer --range";
        Err(Stop::usage(format!(
            "{tasks} tasks are more than the {length} numbers of {from}..{to}: {advice}"
        )))
    }

    /// How much is said on stderr.
    pub(crate) fn voice(&self) -> Voice {
        match (self.quiet, self.verbose) {
            (true, _) => Voice::Quiet,
            (false, true) => Voice::Verbose,
            (false, false) => Voice::Normal,
        }
    }

    /// Which worker a task is lent to.
    pub(crate) fn schedule(&self) -> Schedule {
        self.schedule
    }

    /// The work, if the command line names any.
    pub(crate) fn named_tasks(&self) -> Result<Option<(Range<u64>, u64)>, Stop> {
        let is_named = self.range.is_some() || self.tasks.is_some();
        is_named.then(|| self.tasks()).transpose()
    }

    /// What the journal promises.
    pub(crate) fn journal(&self) -> Option<Durability> {
        match (self.no_journal, self.durable) {
            (true, _) => None,
            (false, true) => Some(Durability::Power),
            (false, false) => Some(Durability::Kill),
        }
    }

    /// How workers are born.
    pub(crate) fn start_method(&self) -> StartMethod {
        match self.start_method {
            StartMethodArg::Fork => StartMethod::Fork,
            StartMethodArg::Spawn => StartMethod::Spawn,
        }
    }

    fn check(&self) -> Result<(), Stop> {
        if self.quiet && self.verbose {
            return Err(Stop::usage("--quiet and --verbose exclude each other: leave one of them out"));
        }
        self.tasks().map(drop)
    }
}

/// Reads the command line; what cannot be used is refused in one line.
pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Cli, Stop> {
    let matches = Cli::command().try_get_matches_from(words).map_err(|error| compact(&error))?;
    misplaced(&matches)?;
    let cli = Cli::from_arg_matches(&matches).map_err(|error| compact(&error))?;
    match &cli.verb {
        None => cli.run.check()?,
        Some(Verb::Run(run)) => run.check()?,
        Some(Verb::Resume(resume)) => resume.run.check()?,
        Some(Verb::Ps(_) | Verb::Logs(_) | Verb::Quarantine(_)) => {}
    }
    Ok(cli)
}

/// A flag of `run` in front of a command would be taken and forgotten: refuse it.
fn misplaced(matches: &ArgMatches) -> Result<(), Stop> {
    let Some(verb) = matches.subcommand_name() else { return Ok(()) };
    let command = Cli::command();
    for arg in command.get_arguments().filter(|arg| !arg.is_global_set()) {
        let id = arg.get_id().as_str();
        let given =
            matches.try_contains_id(id).is_ok() && matches.value_source(id) == Some(ValueSource::CommandLine);
        if let (true, Some(flag)) = (given, arg.get_long()) {
            let advice = if verb == "run" { "put it after it" } else { "leave it out" };
            return Err(Stop::usage(format!("--{flag} stands before `{verb}`: {advice}")));
        }
    }
    Ok(())
}

/// clap explains itself over many lines; a person wants the first of them, and a program one.
fn compact(error: &clap::Error) -> Stop {
    let text = error.render().to_string();
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return Stop::Shown(text);
    }
    let mut paragraphs = text.split("\n\n");
    let joined = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut line = joined(paragraphs.next().unwrap_or_default());
    let tips = paragraphs.filter_map(|text| text.trim().strip_prefix("tip: "));
    for tip in tips.filter(|tip| tip.contains("similar")) {
        line = format!("{line} · {}", joined(tip));
    }
    let line = line.strip_prefix("error: ").unwrap_or(&line);
    let source = variable(error).map(|name| format!(" (from ${name})")).unwrap_or_default();
    Stop::usage(format!("{line}{source} · try 'supervisor --help'"))
}

/// The environment variable that a bad value came from, if it came from one: clap names only the flag, which
/// nobody typed.
fn variable(error: &clap::Error) -> Option<String> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        Some(_) | None => None,
    };
    let (flag, value) = (text(ContextKind::InvalidArg)?, text(ContextKind::InvalidValue)?);
    let mut command = Cli::command();
    command.build();
    let arg = command.get_arguments().find(|arg| arg.to_string() == flag)?;
    let name = arg.get_env()?;
    (std::env::var_os(name)? == value).then(|| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Cli, Stop> {
        parse(std::iter::once("supervisor").chain(line.split_whitespace()).map(OsString::from))
    }

    fn run(line: &str) -> RunArgs {
        match parsed(line).unwrap() {
            Cli { verb: Some(Verb::Run(run)), .. } => run,
            Cli { verb: None, run, .. } => run,
            other => panic!("{other:?}"),
        }
    }

    fn refusal(line: &str) -> String {
        match parsed(line).unwrap_err() {
            Stop::Failed { code: 2, why } => format!("{why:#}"),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn without_flags_it_is_the_main_job() {
        let run = run("");
        assert_eq!(run.tasks().unwrap(), (0..20_000_000_000, 1_000));
        assert_eq!((run.max_attempts(), run.grace), (3, Duration::from_secs(5)));
        assert_eq!((run.task_timeout(1_000), run.pace(1_000)), (None, Duration::ZERO));
        assert_eq!((run.schedule(), run.start_method()), (Schedule::Dynamic, StartMethod::Fork));
        assert_eq!((run.voice(), run.hold, run.no_daemon), (Voice::Normal, false, false));
    }

    #[test]
    fn flags_alone_and_the_command_run_are_the_same() {
        let line = "--procs 4 --range 0..100_000_000 --tasks 20000 --schedule round-robin --start-method spawn \
            --worker /w --task-timeout 200ms --max-attempts 50 --max-restarts 3/1m --grace 0s --no-daemon \
            --pace 2ms --chaos 200,7 --hold --log-dir /l --run a --state-dir /s --format json --color never -v";
        assert_eq!(format!("{:?}", run(line)), format!("{:?}", run(&format!("run {line}"))));
        let run = run(line);
        assert_eq!((run.procs, run.pace(1), run.voice()), (4, Duration::from_millis(2), Voice::Verbose));
        assert_eq!(run.max_restarts, Intensity { restarts: 3, within: Duration::from_secs(60) });
    }

    #[test]
    fn chaos_sets_what_it_needs_and_leaves_what_was_given() {
        let tasks = 1_000_000;
        let trial = run("--chaos 10_000,7 --procs 4 --tasks 1_000_000");
        assert_eq!((trial.max_attempts(), trial.pace(tasks)), (1_000, Duration::from_micros(16)));
        assert_eq!(trial.task_timeout(tasks), Some(Timeout::After(Duration::from_micros(100_016))));
        let given = run("--chaos 10_000,7 --task-timeout 1s --max-attempts 100 --pace 0");
        assert_eq!((given.max_attempts(), given.pace(tasks)), (100, Duration::ZERO));
        assert_eq!(given.task_timeout(tasks), Some(Timeout::After(Duration::from_secs(1))));
        let endless = run("--chaos 18446744073709551615 --procs 1000");
        assert_eq!(endless.pace(1), Duration::from_millis(50));
    }

    #[test]
    fn common_flags_may_stand_before_or_after_the_command() {
        for line in
            ["--state-dir /s --run a --format json ps -a", "ps --state-dir /s --run a --format json -a"]
        {
            let cli = parsed(line).unwrap();
            assert_eq!(cli.common.state_dir(), PathBuf::from("/s"));
            assert_eq!((cli.common.run.as_deref(), cli.common.format), (Some("a"), Format::Json));
            assert!(matches!(cli.verb, Some(Verb::Ps(PsArgs { all: true }))));
        }
    }

    #[test]
    fn a_small_range_has_a_task_for_each_number_and_an_empty_one_has_none() {
        assert_eq!(run("--range 0..7").tasks().unwrap(), (0..7, 7));
        assert_eq!(run("--range 7..7").tasks().unwrap(), (7..7, 0));
        assert_eq!(run("--range 0..18446744073709551615").tasks().unwrap().1, 1_000);
    }

    #[test]
    fn logs_are_chosen_by_pid_or_word() {
        let which = |line| match parsed(line).unwrap().verb {
            Some(Verb::Logs(logs)) => (logs.which, logs.follow, logs.lines),
            other => panic!("{other:?}"),
        };
        assert_eq!(which("logs 42"), (Which::Pid(42), false, None));
        assert_eq!(which("logs all -f -n 10"), (Which::All, true, Some(10)));
        assert_eq!(which("logs last"), (Which::Last, false, None));
    }

    #[test]
    fn bad_input_is_refused_in_one_line_that_says_what_to_do() {
        let table = [
            ("--procs 0", "invalid value '0' for '--procs <N|auto>': expected 1 or more, or auto"),
            ("--range 5..1", "invalid value '5..1' for '--range <A..B>': 5 is more than 1: write 1..5"),
            (
                "--range -5..1",
                "invalid value '-5..1' for '--range <A..B>': '-5' is no whole number from 0 up",
            ),
            ("--tasks 0", "invalid value '0' for '--tasks <N>': expected 1 or more"),
            ("--max-attempts 0", "invalid value '0' for '--max-attempts <N>': expected 1 or more"),
            ("--chaos many", "expected N or N,SEED, as 200 or 200,7"),
            ("--grace 5", "expected a number and a unit, as 2ms, 1.5s or 2m"),
            ("--max-restarts 5", "expected N/DUR, as 5/10s"),
            ("--prcos 3", "unexpected argument '--prcos' found · a similar argument exists: '--procs'"),
            ("--format xml", "invalid value 'xml' for '--format <FORMAT>' [possible values: human, json]"),
            ("--task-timeout 0s", "nothing can be done in no time"),
            ("--range 0..7 --tasks 8", "8 tasks are more than the 7 numbers of 0..7: ask for fewer --tasks"),
            ("--range 7..7 --tasks 1", "1 tasks are more than the 0 numbers of 7..7: ask for fewer --tasks"),
            ("-q -v", "--quiet and --verbose exclude each other"),
            ("--procs 3 ps", "--procs stands before `ps`: leave it out"),
            ("--procs 3 run", "--procs stands before `run`: put it after it"),
            ("ps --procs 3", "unexpected argument '--procs' found"),
            ("logs", "the following required arguments were not provided: <PID|all|last>"),
            ("logs some", "invalid value 'some' for '<PID|all|last>': expected a pid, all or last"),
            ("nonsense", "unrecognized subcommand 'nonsense'"),
        ];
        for (line, expected) in table {
            let said = refusal(line);
            assert!(said.contains(expected), "{line}: {said}");
            assert!(!said.contains('\n'), "{line}: {said}");
        }
    }

    #[test]
    fn help_and_version_are_no_errors() {
        for (line, expected) in
            [("--help", "--max-restarts"), ("--version", "supervisor "), ("ps -h", "--all")]
        {
            match parsed(line).unwrap_err() {
                Stop::Shown(text) => assert!(text.contains(expected), "{text}"),
                other => panic!("{other:?}"),
            }
        }
    }
}
