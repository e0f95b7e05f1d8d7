//! The chronicle: tells the run's story to its witness, to `events.ndjson` and to the logs of those it is about.

use crate::run::{Host, Witness};
use crate::rundir::RunDir;
use crate::status::{DEAD_MAX, Dead, Status};
use crate::story::{Line, SCHEMA, Tallied, Told};
use brigade_os::{clock, logfile};
use brigade_wire::{Exit, SlotId, TaskId, WorkerId};
use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often people are told how far the run is.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// How often the story tells it.
const PROGRESS_TOLD_EVERY: Duration = Duration::from_secs(1);

/// The dead of a run whose logs are kept, the last ones: 40 MiB at a block or so each, however long a run goes on killing.
const LOGS_OF_DEAD_MAX: usize = 10_000;

/// How long the story of a run in a program may grow before it is put aside, in place of what was put aside before: a pool may
/// be held for months, and its program turns no logs over.
const EVENTS_BYTES_MAX: u64 = 1 << 20;

pub(crate) struct Chronicle<'a> {
    witness: &'a mut dyn Witness,
    /// None since it could not be written.
    events: Option<BufWriter<File>>,
    events_path: PathBuf,
    events_bytes: u64,
    /// Only the last of the story is kept.
    is_bounded: bool,
    lost: Lost,
    logs: OwnedFd,
    logs_path: PathBuf,
    began_ns: u64,
    /// Who was born last in each slot, and its pid.
    born: BTreeMap<SlotId, (WorkerId, u32)>,
    pub(crate) dead: VecDeque<Dead>,
    /// The dead whose logs are there, by pid.
    buried: VecDeque<u32>,
    shown: Option<(Tallied, u64)>,
    told: Option<(Tallied, u64)>,
}

/// Lines that could not be written, and why one of them could not.
#[derive(Debug, Default)]
pub(crate) struct Lost {
    lines: u64,
    error: Option<io::Error>,
}

impl Lost {
    pub(crate) fn add(&mut self, lines: u64, error: Option<io::Error>) {
        self.lines = self.lines.saturating_add(lines);
        self.error = self.error.take().or(error);
    }
}

impl<'a> Chronicle<'a> {
    pub(crate) fn open(
        dir: &RunDir,
        began_ns: u64,
        host: Host,
        witness: &'a mut dyn Witness,
    ) -> io::Result<Chronicle<'a>> {
        let events_path = dir.events_file();
        Ok(Chronicle {
            witness,
            events: Some(open_events(&events_path)?),
            events_path,
            events_bytes: 0,
            is_bounded: host == Host::Program,
            lost: Lost::default(),
            logs: logfile::open_dir(dir.logs())?,
            logs_path: dir.logs().to_path_buf(),
            began_ns,
            born: BTreeMap::new(),
            dead: VecDeque::new(),
            buried: VecDeque::new(),
            shown: None,
            told: None,
        })
    }

    /// Tells one thing to everybody.
    pub(crate) fn tell(&mut self, told: Told) {
        let t = Duration::from_nanos(clock::monotonic_ns() - self.began_ns).as_secs_f64();
        let line = Line { v: SCHEMA, t: (t * 1e6).round() / 1e6, told };
        self.witness.tell(&line);
        let Some(events) = &mut self.events else { return self.lost.add(1, None) };
        match write(events, &line) {
            Ok(bytes) => self.events_bytes += bytes,
            Err(error) => return self.events_are_broken(error, 1),
        }
        if self.is_bounded && self.events_bytes > EVENTS_BYTES_MAX {
            self.put_aside();
        }
    }

    /// The story goes on in a new file.
    fn put_aside(&mut self) {
        self.events_bytes = 0;
        self.flush();
        if let Err(error) = fs::rename(&self.events_path, self.events_path.with_extension("ndjson.1")) {
            return self.warn(format!("cannot rename events.ndjson: {error}; it grows on"));
        }
        self.reopen();
    }

    /// Before the loop sleeps: whoever reads the file sees all that happened.
    pub(crate) fn flush(&mut self) {
        if let Some(Err(error)) = self.events.as_mut().map(Write::flush) {
            self.events_are_broken(error, 0);
        }
    }

    /// Opens `events.ndjson` anew: a rename leaves what was told so far in the renamed file. One that had to be given up
    /// is tried again.
    pub(crate) fn reopen(&mut self) {
        self.flush();
        match open_events(&self.events_path) {
            Ok(events) => self.events = Some(events),
            Err(error) => {
                self.warn(format!("cannot open events.ndjson anew: {error}; the story goes on where it was"))
            }
        }
    }

    /// Told to the witness alone: it happens too often to be a story.
    pub(crate) fn worked(&mut self, slot: SlotId, attempts: u64, busy: Duration) {
        self.witness.worked(slot, attempts, busy);
    }

    /// Shows the state at this moment.
    pub(crate) fn show(&mut self, status: &Status) {
        self.witness.show(status);
    }

    /// A full disk costs the file, not the run; said once. What was still to be written is lost, and one line perhaps that
    /// was being told.
    fn events_are_broken(&mut self, error: io::Error, told: u64) {
        let Some(events) = self.events.take() else { return };
        let (_, unwritten) = events.into_parts();
        let lines = unwritten.unwrap_or_default().iter().filter(|byte| **byte == b'\n').count();
        self.lost.add(lines as u64 + told, Some(error));
        self.warn("cannot write events.ndjson: its lines are lost from here on, the run goes on".into());
    }

    /// The run is over: how many lines nobody will read, those of workers included.
    pub(crate) fn tell_lost(&mut self, (lines, error): (u64, Option<io::Error>)) {
        self.lost.add(lines, error);
        let Lost { lines, error } = std::mem::take(&mut self.lost);
        if lines > 0 {
            let why = error.map_or_else(|| "nobody knows why".into(), |error| error.to_string());
            let plural = if lines == 1 { " was" } else { "s were" };
            self.warn(format!("{lines} log line{plural} lost: {why}"));
        }
    }

    pub(crate) fn warn(&mut self, message: String) {
        self.tell(Told::Warning { message });
    }

    /// A worker was born: its number is known from now on, also after its death.
    pub(crate) fn born(&mut self, worker: WorkerId, pid: u32) {
        self.born.insert(worker.slot, (worker, pid));
        self.lives(pid);
        self.tell(Told::WorkerStart { slot: worker.slot, pid, incarnation: worker.incarnation });
    }

    /// The pid of a worker that lives or was the last to live in its slot; 0 if it never had one.
    pub(crate) fn pid(&self, worker: WorkerId) -> u32 {
        match self.born.get(&worker.slot) {
            Some((last, pid)) if *last == worker => *pid,
            Some(_) | None => 0,
        }
    }

    /// The log of whoever had this number before is its own now.
    pub(crate) fn lives(&mut self, pid: u32) {
        self.buried.retain(|buried| *buried != pid);
    }

    /// It will write nothing more: the log of one that died long before goes.
    pub(crate) fn bury(&mut self, pid: u32) {
        if self.buried.len() == LOGS_OF_DEAD_MAX
            && let Some(pid) = self.buried.pop_front()
        {
            logfile::remove(&self.logs, pid);
        }
        self.buried.push_back(pid);
    }

    /// Remembers a death, for status and `ps -a`.
    pub(crate) fn died(&mut self, dead: Dead) {
        self.bury(dead.pid);
        if self.dead.len() == DEAD_MAX {
            self.dead.pop_front();
        }
        self.dead.push_back(dead);
    }

    /// The core says whether a death was planned, and what was settled before it.
    pub(crate) fn complete_death(&mut self, worker: WorkerId, planned: bool, settled: u64) {
        if let Some(dead) = self.dead.iter_mut().rev().find(|dead| dead.is(worker)) {
            dead.planned = planned;
            dead.settled = settled;
        }
    }

    /// The pid of the last worker that was born in a slot; 0 if there was none.
    pub(crate) fn last_pid(&self, slot: SlotId) -> u32 {
        self.born.get(&slot).map_or(0, |(_, pid)| *pid)
    }

    /// The last lines that a process wrote into its log.
    pub(crate) fn last_lines(&self, pid: u32) -> Vec<String> {
        self.lines_of(pid, 3)
    }

    /// All that the end of the log has of a process, which may be a panic and what had called it; and where that is.
    pub(crate) fn end_of_log(&self, pid: u32) -> (Vec<String>, PathBuf) {
        (self.lines_of(pid, usize::MAX), self.log_of(pid))
    }

    /// The first of all says only who it is.
    fn lines_of(&self, pid: u32, count: usize) -> Vec<String> {
        let header = format!(" pid {pid} ppid ");
        let mut lines = self.own_lines(pid, count, None);
        lines.retain(|line| !line.contains(&header));
        lines
    }

    fn log_of(&self, pid: u32) -> PathBuf {
        self.logs_path.join(format!("{pid}.log"))
    }

    /// The last lines that a process wrote into its log, up to the one that holds `until` if there is one.
    pub(crate) fn own_lines(&self, pid: u32, lines: usize, until: Option<&str>) -> Vec<String> {
        let end = end_of(&self.log_of(pid)).unwrap_or_default();
        let text = String::from_utf8_lossy(&end);
        let own: Vec<&str> = text.lines().filter(|line| !line.contains(" supervisor: ")).collect();
        let found = until.and_then(|mark| own.iter().rposition(|line| line.contains(mark)));
        let own = &own[..found.map_or(own.len(), |at| at + 1)];
        own[own.len().saturating_sub(lines)..].iter().map(ToString::to_string).collect()
    }

    /// When the last worker of that slot died.
    pub(crate) fn last_death_ns(&self, worker: WorkerId) -> Option<u64> {
        self.dead.iter().rev().find(|dead| dead.slot == worker.slot).map(|dead| dead.died_ns)
    }

    /// Appends to the log of a process what it cannot write itself any more.
    pub(crate) fn epitaph(&mut self, pid: u32, words: &str) {
        if pid == 0 {
            return;
        }
        let line = format!("{} supervisor: {words}\n", clock::time_of_day());
        let written = logfile::open(&self.logs, pid).and_then(|mut log| log.write_all(line.as_bytes()));
        // A full disk costs the line.
        written.unwrap_or_else(|error| self.lost.add(1, Some(error)));
    }

    /// Whether there is something to tell now: lines that wait to be written, or how far the run is.
    pub(crate) fn is_due(&self, now_ns: u64) -> bool {
        let shown_ns = self.shown.map_or(0, |(_, at)| at + PROGRESS_EVERY.as_nanos() as u64);
        self.events.as_ref().is_some_and(|events| !events.buffer().is_empty()) || shown_ns <= now_ns
    }

    /// How far the run is: shown ten times a second at most, told once a second at most. Returns when there is
    /// more to show, if there is.
    pub(crate) fn progress(&mut self, tally: Tallied, now: u64) -> Option<u64> {
        let shown_due = due(self.shown, &tally, PROGRESS_EVERY);
        if shown_due.is_some_and(|at| at <= now) {
            self.shown = Some((tally, now));
            self.witness.progress(&tally);
        }
        let told_due = due(self.told, &tally, PROGRESS_TOLD_EVERY);
        if told_due.is_some_and(|at| at <= now) {
            self.told = Some((tally, now));
            self.tell(Told::Progress(tally));
        }
        let later = |due: Option<u64>| due.filter(|at| *at > now);
        [later(shown_due), later(told_due)].into_iter().flatten().min()
    }
}

/// Returns how many bytes that were.
fn write(events: &mut BufWriter<File>, line: &Line) -> io::Result<u64> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    events.write_all(&bytes).map(|()| bytes.len() as u64)
}

fn open_events(path: &Path) -> io::Result<BufWriter<File>> {
    Ok(BufWriter::new(OpenOptions::new().create(true).append(true).mode(0o600).open(path)?))
}

/// When a tally that differs from the last one is to be shown.
fn due(last: Option<(Tallied, u64)>, tally: &Tallied, every: Duration) -> Option<u64> {
    match last {
        None => Some(0),
        Some((shown, _)) if shown == *tally => None,
        Some((_, at)) => Some(at + every.as_nanos() as u64),
    }
}

/// How a death is put into the dead one's own log.
pub(crate) fn obituary(exit: Exit, settled: u64, held: &[TaskId]) -> String {
    let names: Vec<String> = held.iter().map(|task| format!("task {task}")).collect();
    let held = if held.is_empty() { String::new() } else { format!(", while it ran {}", names.join(", ")) };
    format!("ended by {exit} after {settled} tasks{held}")
}

/// The last few KiB of a file, however long it is.
fn end_of(path: &Path) -> io::Result<Vec<u8>> {
    // A full backtrace of a hundred calls, and what stands before it.
    const END_BYTES: u64 = 32 << 10;
    let mut file = File::open(path)?;
    let start = file.metadata()?.len().saturating_sub(END_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut end = Vec::new();
    file.take(END_BYTES).read_to_end(&mut end)?;
    Ok(end)
}
