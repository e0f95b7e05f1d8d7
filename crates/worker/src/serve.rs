//! The serve loop: a command, its tasks one after the other, their endings. With several threads it is that of [`lanes`].

use crate::allowance::Allowance;
use crate::flusher::Flusher;
use crate::lane::{Lane, Packet};
use crate::{Trade, exit, lanes, log, panics, progress};
use brigade_link::{Charter, Wanted, WorkerEnd};
use brigade_os::page::OwnPage;
use brigade_wire::{Call, Ending, Exit, WorkerId};
use std::io;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

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
pub(crate) const FLUSH_AFTER_NS: u64 = 200_000;

/// Serves until STOP, or until the supervisor is gone.
pub(crate) fn serve(calling: Calling, trade: Trade<'_>) -> io::Result<ExitCode> {
    panics::remember();
    let Calling { charter, worker, page, mut end } = calling;
    log::keep(worker, charter.daemon);
    let function = &charter.function;
    let Some((_, task)) = trade.tasks.iter().find(|(name, _)| name == function) else {
        return Err(io::Error::other(format!("there is no task `{function}` in this binary")));
    };
    progress::keep(page, charter.threads);
    begin(&charter, trade)?;
    let allowance = Allowance::of(charter.rss_bytes_max);
    let flusher = Flusher::new(end.mouth());
    if charter.threads > 1 {
        let yard = lanes::Yard { task: *task, pace_ns: charter.pace_ns, allowance, flusher };
        return lanes::serve(yard, (worker, charter.threads), end, trade);
    }
    let mut bench = Bench { lane: Lane::of(0, *task, charter.pace_ns), allowance, flusher };
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
pub(crate) fn end_well(trade: Trade<'_>) {
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

/// Whether this worker is to make room for another.
pub(crate) fn is_spent(allowance: Option<&Allowance>) -> bool {
    allowance.is_some_and(Allowance::is_spent) || RETIRES.load(Ordering::Relaxed)
}

/// Nobody is left to report to.
pub(crate) fn supervisor_gone() -> ExitCode {
    log::line(format_args!("the supervisor is gone: leaving"));
    exit::code(Exit::DRAINED)
}

/// Where commands are obeyed by one thread.
#[derive(Debug)]
struct Bench {
    lane: Lane,
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
            let Some(ended) = self.lane.run(call, &mut packet) else {
                packet.log();
                log::line(format_args!("recalled: begins nothing any more"));
                return end.flush().map(|()| Fit::Recalled);
            };
            unreported_ns += ended.elapsed_ns;
            end.report(ended)?;
            if is_spent(self.allowance.as_ref()) {
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
}
