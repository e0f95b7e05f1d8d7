//! The kill sweep: the supervisor is killed in front of its n-th system call of each name, its resume as well, and what
//! was told is there after either.
//!
//! ```text
//! strace, nobody killed ─▶ the calls that the loop makes, by name and number
//!   ─▶ each: run, killed there ─▶ resume, killed there ─▶ resume to the end: exact, nothing told is lost or done again
//! ```
//!
//! strace looks at the loop's thread alone: it owns all state and writes all files but the workers' logs. Some forty points
//! are tried in every test run, all of them by `make sweep`.

use crate::stage::{Finished, Stage, eventually};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

const TASKS: u64 = 20;
const LENGTH: u64 = 1_000;
const TOTAL: &str = "499500";
const POINTS_BY_DEFAULT: usize = 40;

/// One call of the supervisor.
#[derive(Clone, Debug)]
struct Point {
    call: String,
    number: usize,
}

/// The run that is killed, or a supervisor that goes on with it.
fn begin(method: &str) -> String {
    format!("--run r --procs 2 --pace 1ms --range 0..{LENGTH} --tasks {TASKS} {method}")
}

fn resume(method: &str) -> String {
    let method = method.replace("--durable", "");
    format!("resume r --procs 2 --pace 1ms {method}")
}

/// The supervisor under strace, with these options for it.
fn under_strace(stage: &Stage, options: &[&str], args: &str) -> Output {
    let plain = stage.command(args);
    let mut command = Command::new("strace");
    command.args(["-qq", "-o"]).arg(stage.dir().join("trace")).args(options);
    command.arg(plain.get_program()).args(plain.get_args()).env_clear();
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(std::process::Stdio::null()).output().expect("strace starts")
}

/// Whether strace is here and may trace; said aloud if not.
fn can_trace() -> bool {
    let probe = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).output();
    let can = probe.as_ref().is_ok_and(|output| output.status.success());
    if !can {
        eprintln!("SKIPPED: no kill sweep, for strace cannot be used here: {probe:?}");
    }
    can
}

/// Every call that the loop makes in a run, by name and number.
fn points(method: &str) -> Vec<Point> {
    let stage = Stage::new();
    let output = under_strace(&stage, &["-e", "trace=all"], &begin(method));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let trace = fs::read_to_string(stage.dir().join("trace")).expect("a trace");
    let mut counts = BTreeMap::new();
    for line in trace.lines() {
        let name = line.split('(').next().unwrap_or_default();
        if name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
            *counts.entry(name.to_owned()).or_insert(0) += 1;
        }
    }
    // The call that begins the program, and the one that ends it and does not return.
    counts.remove("execve");
    let named = |(call, count)| (1..=count).map(move |number| Point { call: String::clone(&call), number });
    counts.into_iter().flat_map(named).collect()
}

/// So many of them, evenly spread over names and numbers.
fn thinned(points: Vec<Point>, most: usize) -> Vec<Point> {
    let step = points.len().div_ceil(most).max(1);
    points.into_iter().step_by(step).collect()
}

/// Runs until the point, and waits until nobody is left; says how it ended and how long the others outlived it.
fn killed_at(stage: &Stage, point: &Point, args: &str) -> (Output, Duration) {
    let Point { call, number } = point;
    let inject = format!("inject={call}:signal=KILL:when={number}");
    let output = under_strace(stage, &["-e", &format!("trace={call}"), "-e", &inject], args);
    let dead = Instant::now();
    eventually("nobody is left", || stage.processes().is_empty().then_some(()));
    (output, dead.elapsed())
}

/// The supervisor is asked to end in front of a call: it does so in order, or at once where nothing has begun or all is told.
fn ended_at(point: &Point, method: &str) -> Option<i32> {
    let at = format!("{method} {} #{}", point.call, point.number);
    let (stage, Point { call, number }) = (Stage::new(), point);
    let inject = format!("inject={call}:signal=TERM:when={number}");
    let output = under_strace(&stage, &["-e", &format!("trace={call}"), "-e", &inject], &begin(method));
    eventually("nobody is left", || stage.processes().is_empty().then_some(()));
    assert_no_panic(&output, &at);
    let run = stage.dir().join("s/runs/r");
    let story = fs::read_to_string(run.join("events.ndjson")).unwrap_or_default();
    let is_told = story.lines().last().is_some_and(|line| line.contains(r#""ev":"done""#));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let is_at_once = output.status.signal() == Some(15);
    assert!(!is_at_once || is_told || !run.exists(), "{at}: it was cut off: {story}{said}");
    assert!(is_at_once || matches!(output.status.code(), Some(0 | 143)), "{at}: {:?} {said}", output.status);
    output.status.code()
}

#[test]
fn a_signal_at_any_of_its_system_calls_ends_a_supervisor_in_order() {
    if !can_trace() {
        return;
    }
    for method in ["--start-method fork", "--start-method spawn"] {
        let ends: Vec<_> =
            thinned(points(method), points_wanted()).iter().map(|point| ended_at(point, method)).collect();
        let count = |end| ends.iter().filter(|found| **found == end).count();
        println!("{method}: {} drained, {} whole, {} at once", count(Some(143)), count(Some(0)), count(None));
        assert!(count(Some(143)) > 0 && count(None) > 0, "{ends:?}");
    }
}

/// What had been told as settled, in any way: the status, or a total.
fn told(stage: &Stage, output: &Output) -> u64 {
    let status = fs::read(stage.dir().join("s/runs/r/status.json")).unwrap_or_default();
    let status: Value = serde_json::from_slice(&status).unwrap_or_default();
    let has_total = String::from_utf8_lossy(&output.stdout).lines().any(|line| line == TOTAL);
    if has_total { TASKS } else { status["tally"]["settled"].as_u64().unwrap_or(0) }
}

#[track_caller]
fn assert_no_panic(output: &Output, at: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains("panicked"), "{at}: {stderr}");
}

/// What a sweep saw.
#[derive(Debug, Default)]
struct Seen {
    points: usize,
    kills: usize,
    unborn: usize,
    resumed: usize,
    slowest: Duration,
}

/// One point, from the first kill to the exact end.
fn try_point(point: &Point, method: &str, seen: &mut Seen) {
    let at = format!("{method} {} #{}", point.call, point.number);
    let stage = Stage::new();
    let (first, alone) = killed_at(&stage, point, &begin(method));
    assert_no_panic(&first, &at);
    let was_killed = first.status.signal() == Some(9);
    assert!(was_killed || first.status.success(), "{at}: {}", String::from_utf8_lossy(&first.stderr));
    seen.points += 1;
    seen.kills += usize::from(was_killed);
    seen.slowest = seen.slowest.max(alone);
    let known = told(&stage, &first);
    let (second, alone) = killed_at(&stage, point, &resume(method));
    assert_no_panic(&second, &at);
    seen.kills += usize::from(second.status.signal() == Some(9));
    seen.slowest = seen.slowest.max(alone);
    let known = known.max(told(&stage, &second));
    let (last, run) = stage.anew(&resume(method)).start().finish();
    assert!(!last.stderr.contains("panicked"), "{at}: {}", last.stderr);
    if last.code == Some(0) {
        seen.resumed += 1;
        assert_exact(&last, known, &at);
    } else {
        seen.unborn += 1;
        assert_unborn(&last, known, &at);
        assert_fresh_run_works(&run.leave(), &at);
    }
}

/// Whatever the dead one has left there.
#[track_caller]
fn assert_fresh_run_works(stage: &Stage, at: &str) {
    let fresh = stage.ask(&begin("").replace("--run r", "--run s"));
    assert_eq!((fresh.code, fresh.stdout.trim_end()), (Some(0), TOTAL), "{at}: {}", fresh.stderr);
}

#[track_caller]
fn assert_exact(last: &Finished, known: u64, at: &str) {
    last.assert_exact(LENGTH.into());
    let recalled = last.story[0]["settled"].as_u64().expect("a number");
    assert!(recalled >= known, "{at}: {known} were told, {recalled} are known");
    let exits = last.story.iter().filter(|line| line["ev"] == "worker_exit");
    let done: u64 = exits.filter_map(|line| line["settled"].as_u64()).sum();
    assert_eq!(done, TASKS - recalled, "{at}: something was done again");
}

/// Killed before the run's directory or its journal's header was there: said in one line, and nothing had been told.
#[track_caller]
fn assert_unborn(last: &Finished, known: u64, at: &str) {
    assert!(matches!(last.code, Some(2 | 104)), "{at}: {:?} {}", last.code, last.stderr);
    assert_eq!((known, last.stderr.lines().count()), (0, 1), "{at}: {}", last.stderr);
}

fn sweep(method: &str, most: usize) {
    if !can_trace() {
        return;
    }
    let all = points(method);
    let count = all.len();
    let mut seen = Seen::default();
    for point in thinned(all, most) {
        try_point(&point, method, &mut seen);
    }
    println!("sweep {method:?}: {count} calls, {seen:?}");
    assert!(seen.kills >= seen.points / 2, "{seen:?}: hardly anybody was killed");
    assert!(seen.resumed > 0, "{seen:?}");
}

fn points_wanted() -> usize {
    let named = std::env::var("SWEEP_POINTS").ok();
    named.map_or(POINTS_BY_DEFAULT, |points| points.parse().unwrap_or(usize::MAX))
}

#[test]
fn a_supervisor_killed_at_any_system_call_loses_nothing_that_was_told() {
    sweep("--start-method fork", points_wanted());
    if points_wanted() > POINTS_BY_DEFAULT {
        sweep("--start-method spawn", points_wanted());
        sweep("--start-method fork --durable", points_wanted());
    }
}

#[test]
fn a_run_that_died_before_its_journal_began_is_said_to_be_unborn_and_a_fresh_one_works() {
    let stage = Stage::new();
    assert_eq!(stage.ask(&begin("")).code, Some(0));
    let journal = stage.dir().join("s/runs/r/journal");
    let whole = fs::read(&journal).expect("a journal");
    for cut in [0, 1, 23, 40] {
        fs::write(&journal, &whole[..cut]).expect("our own file");
        let refused = stage.ask("resume r");
        assert_eq!((refused.code, refused.stderr.lines().count()), (Some(104), 1), "{}", refused.stderr);
        assert!(refused.stderr.contains("died before it began, start it again"), "{}", refused.stderr);
    }
    assert_fresh_run_works(&stage, "beside one that is unborn");
}
