//! The figures that we hold ourselves to, measured on this machine: `make figures`.
//!
//! Prints what was seen beside the bar and judges nothing: machines are noisy. Medians of several, with their
//! spread; the sum of one thread and of two workers are taken in turn, so that their ratio means something.

#[path = "stage.rs"]
#[allow(dead_code)]
mod stage;

use brigade_os::{Blow, Body, Pid, clock};
use brigade_tasks::range_sum;
use serde_json::Value;
use stage::{Run, Stage, eventually, is_alive, kill, stat};
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A long run of short tasks: workers are busy for as long as we look at them.
const BUSY: &str = "--range 0..4_000_000_000_000 --tasks 1_000_000 --max-attempts 1_000";
const IDLE: &str = "--range 0..1_000 --tasks 10 --hold";

fn main() {
    println!("{:<58} {:<44} bar", "figure", "seen");
    whole_command();
    journal();
    resume_halfway();
    for method in ["fork", "spawn"] {
        replacement(method, "1 busy worker", &format!("--procs 1 {BUSY}"), "p50 1.5 ms, p99 15 ms");
        replacement(method, "4 busy workers", &format!("--procs 4 {BUSY}"), "p50 4 ms, p99 20 ms");
        replacement(method, "4 idle workers", &format!("--procs 4 {IDLE}"), "p50 1.5 ms, p99 15 ms");
    }
    for method in ["fork", "spawn"] {
        recovery(method);
    }
    for (what, act) in [("asleep", "hang"), ("spinning", "spin"), ("stopped", "stop")] {
        end_of_the_hung(what, act);
    }
    for method in ["fork", "spawn"] {
        death_of_the_supervisor(method, "busy", BUSY);
        death_of_the_supervisor(method, "idle", IDLE);
    }
    idle_footprint();
}

fn row(figure: &str, seen: &str, bar: &str) {
    println!("{figure:<58} {seen:<44} {bar}");
}

/// Median, 99th percentile and maximum.
fn spread(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
    format!("p50 {:.2}  p99 {:.2}  max {:.2} ms  n {}", at(0.5), at(0.99), at(1.0), values.len())
}

fn whole_command() {
    let range = 0..100_000_000;
    let mut ratios = Vec::new();
    for _ in 0..9 {
        let began = Instant::now();
        assert_eq!(range_sum::sum(range.clone()), range_sum::closed_form(&range));
        let loop_ms = began.elapsed().as_secs_f64() * 1e3;
        let stage = Stage::new().with("-q --procs 2 --range 0..100_000_000");
        let began = Instant::now();
        assert_eq!(stage.run().stdout, "4999999950000000\n");
        let command_ms = began.elapsed().as_secs_f64() * 1e3;
        ratios.push(((command_ms - 10.0) / (loop_ms / 2.0), loop_ms, command_ms));
    }
    ratios.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (ratio, loop_ms, command_ms) = ratios[4];
    let (least, most) = (ratios[0].0, ratios[8].0);
    let seen = format!("loop {loop_ms:.1} ms, command {command_ms:.1} ms: {ratio:.2} ({least:.2}-{most:.2})");
    row("sum of 10^8, 2 workers: (command - 10 ms) / (loop / 2)", &seen, "1.3");
}

/// What the journal costs, with and without it in turn: the time that people wait, and what all processes took of the
/// processors, which others on this machine disturb less.
fn journal() {
    const WORK: Duration = Duration::from_secs(1);
    let began = Instant::now();
    assert!(range_sum::sum(0..100_000_000) > 0);
    let number_ns = began.elapsed().as_secs_f64() * 10.0;
    let tasks_of = |task_ns: f64| (WORK.as_nanos() as f64 / task_ns, task_ns / number_ns);
    let lengths = [("10 us", 1e4), ("100 us", 1e5), ("1 ms", 1e6)].map(|(what, ns)| (what, tasks_of(ns)));
    for (what, (tasks, numbers)) in [("no work", (1e6, 1.0))].into_iter().chain(lengths) {
        let (tasks, range) = (tasks as u64, (tasks * numbers) as u64);
        let with = format!("-q --procs 2 --range 0..{range} --tasks {tasks}");
        let kinds = [with.clone(), format!("{with} --no-journal")];
        let (mut ratios, mut ticks) = (Vec::new(), [0, 0]);
        for pair in 0..15 {
            let mut seconds = [0.0, 0.0];
            // Whoever goes first is not always the same.
            for kind in [pair % 2, 1 - pair % 2] {
                seconds[kind] = timed(&kinds[kind], &mut ticks[kind]);
            }
            ratios.push(seconds[0] / seconds[1]);
        }
        ratios.sort_by(f64::total_cmp);
        let (median, least, most) = (ratios[7], ratios[0], ratios[14]);
        let processors = ticks[0] as f64 / ticks[1] as f64;
        let seen = format!("time {median:.3} ({least:.2}-{most:.2}), processors {processors:.3}");
        row(&format!("with journal / without: {tasks} tasks of {what}"), &seen, "1.05");
    }
}

/// Seconds that a run takes; what it takes of the processors is added to `ticks`.
fn timed(args: &str, ticks: &mut u64) -> f64 {
    let stage = Stage::new().with(args);
    let (before, began) = (ticks_of_children(), Instant::now());
    assert_eq!(stage.run().code, Some(0));
    let seconds = began.elapsed().as_secs_f64();
    *ticks += ticks_of_children() - before;
    seconds
}

/// `cutime` and `cstime`: all children that were waited for, and theirs.
fn ticks_of_children() -> u64 {
    let fields = stat(std::process::id().into()).expect("it lives");
    fields[13..15].iter().map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
}

/// From exec to the first result that is new: about half of the run is in the journal, and is read first.
fn resume_halfway() {
    const RUN: &str = "-q --run r --procs 2 --range 0..1_000_000 --tasks 1_000_000";
    // Larger than the record that says that the run was resumed, smaller than that with any of values.
    const RESUMED_BYTES: u64 = 16;
    let bytes =
        |stage: &Stage| fs::metadata(stage.dir().join("s/runs/r/journal")).map_or(0, |file| file.len());
    let half = bytes(&Stage::new().with(RUN).start().finish().1.stage) / 2;
    let mut took = Vec::new();
    for _ in 0..11 {
        let run = Stage::new().with(RUN).start();
        eventually("half of it is settled", || (bytes(&run.stage) >= half).then_some(()));
        let stage = run.murder();
        let (before, began) = (bytes(&stage), Instant::now());
        let run = stage.anew("resume r -q").start();
        let is_over = || run.story().iter().any(|line| line["ev"] == "done");
        let is_new = || bytes(&run.stage) > before + RESUMED_BYTES;
        eventually("a new result", || (is_new() || is_over()).then_some(()));
        let seconds = began.elapsed().as_secs_f64();
        let (finished, _run) = run.finish();
        finished.assert_exact(1_000_000);
        // Where others are busy, the killer may come too late.
        if finished.story[0]["settled"] != 1_000_000 {
            took.push(seconds * 1e3);
        }
    }
    row("resume of 10^6 tasks, half settled: exec to a new result", &spread(took), "1000 ms");
}

/// From a worker's death to its replacement's hello, by the story.
fn replacement(method: &str, what: &str, args: &str, bar: &str) {
    const KILLS: usize = 200;
    let mut run = Stage::new().with(&format!("-q {args} --start-method {method}")).start();
    for _ in 0..KILLS {
        let victim = run.wait_ready(1)[0];
        // A pace for the killer: a worker that has just begun is not what is measured.
        sleep(Duration::from_millis(15));
        kill("KILL", victim);
        run.wait_for("the death", |line| line["ev"] == "worker_exit" && line["pid"] == victim);
    }
    run.wait_ready(1);
    let is_replacement = |line: &&Value| line["incarnation"].as_u64() > Some(1);
    let story = run.story();
    let after = story.iter().filter(is_replacement).filter_map(|line| line["after"].as_f64());
    let after = after.map(|seconds| seconds * 1e3).collect();
    row(&format!("death to replacement ready: {method}, {what}"), &spread(after), bar);
    drop(end(run));
}

/// A kill, and what became of it: three moments, in milliseconds after it.
#[derive(Default)]
struct Recovered {
    seen: Vec<f64>,
    begun: Vec<f64>,
    ready: Vec<f64>,
}

/// A worker that spins, and one that has nothing to do: the busy one is killed, and the other takes its task. From just before
/// the kill, by the clock that all processes share.
fn recovery(method: &str) {
    const KILLS: usize = 500;
    let mut all = Recovered::default();
    while all.seen.len() < KILLS {
        let args = "-q --procs 2 --range 0..1_000 --tasks 10 --pace 1ms --max-attempts 1_000";
        let stage = Stage::new().stunt("spin@999").with(args).with(&format!("--start-method {method}"));
        let mut run = stage.start();
        let blows = strike_the_busy(&mut run);
        let run = end(run);
        judge(&run, &blows, &mut all);
    }
    let what = |then: &str| format!("kill -9 to {then}: {method}, 1 busy of 2");
    row(&what("death seen"), &spread(all.seen), "p99 1 ms");
    row(&what("its task begun again"), &spread(all.begun), "p99 2 ms");
    row(&what("replacement ready"), &spread(all.ready), "p99 15 ms");
}

/// Who was killed, when.
type Blows = Vec<(u64, u64)>;

/// As often as no slot has to wait before it is filled: whoever dies twice without a task done has to.
fn strike_the_busy(run: &mut Run) -> Blows {
    const KILLS_A_RUN: usize = 4;
    let mut victim = eventually("one is busy and the other is not", || {
        let status = status(run)?;
        let slots = status["slots"].as_array()?;
        let busy: Vec<&Value> = slots.iter().filter(|slot| slot["task"]["task"] == 9).collect();
        let is_rest_done = status["tally"]["settled"] == 9;
        (is_rest_done && slots.iter().all(|slot| slot["life"] == "ready"))
            .then(|| busy.first()?["pid"].as_u64())?
    });
    let mut blows = Blows::new();
    while blows.len() < KILLS_A_RUN {
        let both = run.wait_ready(2);
        // A pace for the killer: the spare one is busy by then.
        sleep(Duration::from_millis(15));
        let body = Pid::new(victim as i32).and_then(|pid| Body::of(pid).ok()).expect("it lives");
        let at_ns = clock::monotonic_ns();
        assert!(body.suffer(Blow::Kill), "it lives");
        blows.push((victim, at_ns));
        run.wait_for("the death", |line| line["ev"] == "worker_exit" && line["pid"] == victim);
        victim = both.into_iter().find(|pid| *pid != victim).expect("there were two");
    }
    run.wait_ready(2);
    sleep(Duration::from_millis(15));
    blows
}

fn status(run: &Run) -> Option<Value> {
    serde_json::from_slice(&fs::read(run.stage.dir().join("s/latest/status.json")).ok()?).ok()
}

/// The story has deaths and hellos; who died has the time at which it had begun its task.
fn judge(run: &Run, blows: &Blows, all: &mut Recovered) {
    let (story, status) = (run.story(), status(run).expect("it is left"));
    // One had no task done before it was struck, so its slot waited on purpose.
    if story.iter().any(|line| line["ev"] == "backing_off") {
        return;
    }
    let began_ns = status["began_ns"].as_u64().expect("a time") as f64;
    let dead = status["dead"].as_array().expect("a list");
    let since = |line: &Value, at_ns: u64| {
        (line["t"].as_f64().expect("seconds") * 1e9 + began_ns - at_ns as f64) / 1e6
    };
    for &(victim, at_ns) in blows {
        let exit = story.iter().position(|line| line["ev"] == "worker_exit" && line["pid"] == victim);
        let after = &story[exit.expect("it is told")..];
        let heir = |line: &&Value| line["ev"] == "worker_ready" && line["slot"] == after[0]["slot"];
        all.seen.push(since(&after[0], at_ns));
        all.ready.push(since(after.iter().find(heir).expect("it is told"), at_ns));
        let begun = dead.iter().filter_map(|dead| dead["task_since_ns"].as_u64()).filter(|at| *at > at_ns);
        all.begun.push((begun.min().expect("another took it") - at_ns) as f64 / 1e6);
    }
}

/// Tasks that never end, and how long after their deadline their workers are dead and reaped.
fn end_of_the_hung(what: &str, act: &str) {
    const TIMEOUT_MS: f64 = 200.0;
    let args = "-q --procs 2 --range 0..60 --tasks 60 --max-attempts 1 --task-timeout 200ms";
    let (_, run) = Stage::new().stunt(&format!("{act}@all")).with(args).start().finish();
    let status = status(&run).expect("it is left");
    let dead = status["dead"].as_array().expect("a list").iter();
    let lasted = dead.filter_map(|dead| Some(dead["died_ns"].as_u64()? - dead["task_since_ns"].as_u64()?));
    let late: Vec<f64> = lasted.map(|ns| ns as f64 / 1e6 - TIMEOUT_MS).collect();
    assert!(late.len() >= 50 && late.iter().all(|late| *late >= 0.0), "{late:?}");
    row(&format!("deadline of a task to the end of its worker: {what}"), &spread(late), "50 ms");
}

fn death_of_the_supervisor(method: &str, what: &str, args: &str) {
    let mut took = Vec::new();
    for _ in 0..11 {
        let mut run = Stage::new().with(&format!("-q --procs 4 {args} --start-method {method}")).start();
        let mut pids = run.wait_ready(4);
        pids.push(run.template());
        kill("KILL", run.pid());
        let began = Instant::now();
        eventually("everybody is gone", || (!pids.iter().any(|pid| is_alive(*pid))).then_some(()));
        took.push(began.elapsed().as_secs_f64() * 1e3);
    }
    row(&format!("kill -9 of the supervisor to nobody left: {method}, {what}"), &spread(took), "50 ms");
}

fn idle_footprint() {
    const LOOK_FOR: Duration = Duration::from_secs(5);
    let mut run = Stage::new().with(&format!("-q --procs 4 {IDLE}")).start();
    let workers = run.wait_ready(4);
    run.wait_for("all is settled", |line| line["ev"] == "holding");
    // The last counters are published a tenth of a second later.
    sleep(Duration::from_secs(1));
    let before = context_switches(run.pid());
    sleep(LOOK_FOR);
    let a_second = (context_switches(run.pid()) - before) as f64 / LOOK_FOR.as_secs_f64();
    row("context switches of an idle held supervisor", &format!("{a_second:.1} a second"), "1 a second");
    let memory = workers.iter().map(|worker| private_kib(*worker)).max().unwrap_or(0);
    row("private memory of an idle forked worker", &format!("{memory} KiB"), "64 KiB");
    drop(end(run));
}

fn context_switches(pid: u64) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it lives").flatten();
    let statuses = tasks.filter_map(|task| fs::read_to_string(task.path().join("status")).ok());
    statuses.map(|status| sum_of(&status, "ctxt_switches:")).sum()
}

fn private_kib(pid: u64) -> u64 {
    sum_of(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("it lives"), "Private_")
}

/// Adds up the numbers of the lines that hold `name`.
fn sum_of(text: &str, name: &str) -> u64 {
    let lines = text.lines().filter(|line| line.contains(name));
    lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum()
}

/// Twice: a held run drains at the first, a busy one is cut short at the second.
fn end(mut run: Run) -> Run {
    kill("INT", run.pid());
    run.wait_for("the drain", |line| line["ev"] == "draining");
    kill("INT", run.pid());
    run.finish().1
}
