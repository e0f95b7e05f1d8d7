//! The serve loop: a command, its tasks one after the other, their endings.

use crate::allowance::Allowance;
use crate::flusher::Flusher;
use crate::{TaskFn, Trade, exit, log, panics, progress};
use brigade_link::{Charter, Wanted, WorkerEnd};
use brigade_os::page::OwnPage;
use brigade_wire::{Call, Ended, Ending, Exit, TaskId, WorkerId};
use std::io;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Everything that a worker is and has.
#[derive(Debug)]
pub(crate) struct Calling {
    pub(crate) charter: Charter,
    pub(crate) worker: WorkerId,
    pub(crate) page: OwnPage,
    pub(crate) end: WorkerEnd,
}

/// An ending waits for others to travel with for at most this much work; the last of a command never waits, and none waits
/// for long behind a long task (see [`Flusher`]).
const FLUSH_AFTER_NS: u64 = 200_000;

/// Tasks shorter than this are logged by the packet, not one by one: a line costs 0.8 us.
const LOG_SINGLY_NS: u64 = 1_000_000;

/// A sleep costs 20 us of a processor and ends 60 us late, so shorter paces are slept together: it is kept by a few tasks in
/// all, and not by each of them.
const SLEEP_MIN_NS: u64 = 300_000;

/// Serves until STOP, or until the supervisor is gone.
pub(crate) fn serve(calling: Calling, trade: Trade<'_>) -> io::Result<ExitCode> {
    panics::remember();
    let Calling { charter, worker, page, mut end } = calling;
    log::keep(worker, charter.daemon);
    let function = &charter.function;
    let Some((_, task)) = trade.tasks.iter().find(|(name, _)| name == function) else {
        return Err(io::Error::other(format!("there is no task `{function}` in this binary")));
    };
    let page = progress::keep(page);
    begin(&charter, trade)?;
    let allowance = Allowance::of(charter.rss_bytes_max);
    let mut bench = Bench {
        task: *task,
        pace_ns: charter.pace_ns,
        owed_ns: 0,
        page,
        length_ns: LOG_SINGLY_NS,
        allowance,
        flusher: Flusher::new(end.mouth()),
    };
    bench.page.sign();
    if end.hello(worker).is_err() {
        return Ok(supervisor_gone());
    }
    loop {
        let served = match end.receive()? {
            Some(Wanted::Run(calls)) => bench.run_all(calls, &mut end),
            Some(Wanted::Stop) => {
                log::line(format_args!("STOP: drained"));
                end_well(trade);
                return Ok(exit::code(Exit::DRAINED));
            }
            None => return Ok(supervisor_gone()),
        };
        match served {
            Ok(Fit::Fine) => {}
            Ok(Fit::Spent | Fit::Recalled) => {
                end_well(trade);
                return Ok(exit::code(Exit::RECYCLE));
            }
            Err(_) => return Ok(supervisor_gone()),
        }
    }
}

/// Does what is to be done before the first task.
fn begin(charter: &Charter, trade: Trade<'_>) -> io::Result<()> {
    let Some(notice) = &charter.letter else { return Ok(()) };
    let letter = notice.read()?;
    match panics::caught(|| (trade.begin)(&letter).map(|()| Vec::new())) {
        Ending::Value(_) => Ok(()),
        Ending::Failed(words) => Err(io::Error::other(one_line(&words))),
        panicked @ Ending::Panicked { .. } => Err(io::Error::other(one_line(&log::word(&panicked)))),
    }
}

/// The last line of a log is to say it all.
fn one_line(words: &str) -> String {
    words.lines().map(str::trim).collect::<Vec<_>>().join("; ")
}

/// Does what is to be done after the last. That it fails harms no task.
fn end_well(trade: Trade<'_>) {
    let ended = panics::caught(|| {
        (trade.end)();
        Ok(Vec::new())
    });
    if ended.mishap().is_some() {
        log::line(format_args!("at its end it {}", log::word(&ended)));
    }
}

/// Says that this worker is to be replaced when its running task has been reported: what it keeps from one task to the
/// next is not to be relied on any more. Nobody is blamed for that.
pub fn retire() {
    RETIRES.store(true, Ordering::Relaxed);
}

static RETIRES: AtomicBool = AtomicBool::new(false);

/// Nobody is left to report to.
fn supervisor_gone() -> ExitCode {
    log::line(format_args!("the supervisor is gone: leaving"));
    exit::code(Exit::DRAINED)
}

/// Where tasks are run, one after the other.
#[derive(Debug)]
struct Bench {
    task: TaskFn,
    pace_ns: u64,
    /// How much shorter than the pace the tasks since the last sleep were.
    owed_ns: u64,
    page: &'static OwnPage,
    /// How long the last task took: whether the next one is worth a line of its own.
    length_ns: u64,
    allowance: Option<Allowance>,
    flusher: Flusher,
}

/// Whether a worker may go on.
#[derive(Debug)]
enum Fit {
    Fine,
    /// It has more memory than it may, or retires; what it has not begun is another's.
    Spent,
    /// Nobody wants it to begin what it has not begun.
    Recalled,
}

impl Bench {
    /// Obeys one Run command, unless it grows too large meanwhile, or retires.
    fn run_all(&mut self, calls: Vec<Call>, end: &mut WorkerEnd) -> io::Result<Fit> {
        let (mut packet, mut unreported_ns) = (Packet::default(), 0);
        let mut calls = calls.into_iter();
        while let Some(call) = calls.next() {
            let Some(ended) = self.run(call, &mut packet) else {
                packet.log();
                log::line(format_args!("recalled: begins nothing any more"));
                return end.flush().map(|()| Fit::Recalled);
            };
            unreported_ns += ended.elapsed_ns;
            end.report(ended)?;
            if self.allowance.as_ref().is_some_and(Allowance::is_spent) || RETIRES.load(Ordering::Relaxed) {
                packet.log();
                return end.flush().map(|()| Fit::Spent);
            }
            if unreported_ns >= FLUSH_AFTER_NS {
                end.flush()?;
                unreported_ns = 0;
            } else if calls.len() > 0 {
                self.flusher.wake();
            }
        }
        packet.log();
        end.consumed().map(|()| Fit::Fine)
    }

    /// Runs one task, unless the worker was recalled; a long one has its own two lines in the log, written when it begins and
    /// when it ends.
    fn run(&mut self, call: Call, packet: &mut Packet) -> Option<Ended> {
        let Call { task, attempt, args } = call;
        let singly = self.length_ns >= LOG_SINGLY_NS;
        if singly {
            packet.log();
            log::line(format_args!("start task {task} attempt {attempt}"));
        }
        let began_ns = self.page.begin(task, attempt)?;
        let ending = panics::caught(|| (self.task)(&args));
        self.keep_pace(began_ns);
        let elapsed_ns = self.page.end() - began_ns;
        self.length_ns = elapsed_ns;
        if singly {
            let millis = elapsed_ns as f64 / 1e6;
            log::line(format_args!(
                "end task {task} attempt {attempt}: {} in {millis:.3} ms",
                log::word(&ending)
            ));
        } else {
            packet.count(task, elapsed_ns);
        }
        Some(Ended { task, attempt, elapsed_ns, ending })
    }

    /// Makes the task last as long as `--pace` says.
    fn keep_pace(&mut self, began_ns: u64) {
        let lasted_ns = brigade_os::clock::monotonic_ns() - began_ns;
        self.owed_ns += self.pace_ns.saturating_sub(lasted_ns);
        let due_ns = if self.pace_ns < SLEEP_MIN_NS { SLEEP_MIN_NS } else { 1 };
        if self.owed_ns >= due_ns {
            thread::sleep(Duration::from_nanos(std::mem::take(&mut self.owed_ns)));
        }
    }
}

/// Short tasks that share a line.
#[derive(Debug, Default)]
struct Packet {
    tasks: u64,
    elapsed_ns: u64,
    span: Option<(TaskId, TaskId)>,
}

impl Packet {
    fn count(&mut self, task: TaskId, elapsed_ns: u64) {
        self.tasks += 1;
        self.elapsed_ns += elapsed_ns;
        let (first, _) = self.span.unwrap_or((task, task));
        self.span = Some((first, task));
    }

    /// Writes the line and starts anew.
    fn log(&mut self) {
        if let Some((first, last)) = self.span {
            let (tasks, millis) = (self.tasks, self.elapsed_ns as f64 / 1e6);
            let plural = if tasks == 1 { "" } else { "s" };
            log::line(format_args!("ran {tasks} task{plural}, {first} to {last}, in {millis:.3} ms"));
        }
        *self = Packet::default();
    }
}
