//! What happened, in a phrase. None of them claims to know who sent a signal.

use crate::chaos::survived;
use crate::words::{bytes, counted, lasting, quoted, span};
use brigade_core::Timeout;
use brigade_supervisor::story::{Bloated, Done, Recycled, Tallied, Unkillable};
use brigade_wire::{Attempt, Exit, FailedAttempt, Mishap, SlotId, TaskId};

/// Attempts of a quarantined task that are told one by one: the last ones.
const ATTEMPTS_TOLD: usize = 5;

/// Pids that are told one by one.
const PIDS_TOLD: usize = 16;

/// What to call a death.
pub(crate) fn death(exit: Exit) -> &'static str {
    match exit {
        Exit::Signal(9) => "KILLED",
        // ILL, TRAP, ABRT, BUS, FPE, SEGV, SYS: what a program brings upon itself as a rule.
        Exit::Signal(4..=8 | 11 | 31) => "CRASHED",
        Exit::Signal(_) => "ENDED",
        Exit::Code(_) => "EXITED",
        Exit::Unknown => "DIED",
    }
}

/// `SIGKILL · after 71 tasks · held task 287`, and the others that it ran.
pub(crate) fn last_moments(exit: Exit, settled: u64, task: Option<TaskId>, beside: &[TaskId]) -> String {
    let hand = task.map_or_else(|| "idle".to_owned(), |task| format!("held task {task}"));
    let hand = beside.iter().fold(hand, |hand, task| format!("{hand}, {task}"));
    format!("{exit} · after {} · {hand}", counted(settled, "task"))
}

/// What came back from a worker that died.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Returned {
    /// What it was running, with the attempt that comes next.
    pub(crate) running: Vec<(TaskId, Attempt)>,
    /// How many came back without an attempt spent: lent ahead, or taken from its hand at the end of a run.
    pub(crate) unblamed: u64,
}

impl Returned {
    /// ` · task 287 requeued, attempt 2 of 3`; empty if nothing came back.
    pub(crate) fn phrase(&self, attempts_max: u32) -> String {
        let mut phrase = String::new();
        for (task, attempt) in &self.running {
            phrase += &format!(" · task {task} requeued, attempt {attempt} of {attempts_max}");
        }
        if self.unblamed > 0 {
            phrase += &format!(" · {} handed back", counted(self.unblamed, "task"));
        }
        phrase
    }
}

/// `attempt 1 lost worker 0.1 to SIGSEGV · attempt 2 timed out in worker 3.1`.
pub(crate) fn story(attempts: &[FailedAttempt]) -> String {
    let skipped = attempts.len().saturating_sub(ATTEMPTS_TOLD);
    let told = attempts[skipped..].iter().map(|FailedAttempt { attempt, worker, end }| match end {
        Mishap::Failed(message) => {
            format!("attempt {attempt} failed in worker {worker}: {}", quoted(message))
        }
        Mishap::Panicked { message, .. } => {
            format!("attempt {attempt} panicked in worker {worker}: {}", quoted(message))
        }
        Mishap::Crashed(exit) => format!("attempt {attempt} lost worker {worker} to {exit}"),
        Mishap::TimedOut => format!("attempt {attempt} timed out in worker {worker}"),
        Mishap::OutOfMemory => format!("attempt {attempt} ran out of memory in worker {worker}"),
    });
    let earlier = (skipped > 0).then(|| format!("{} before", counted(skipped as u64, "attempt")));
    earlier.into_iter().chain(told).collect::<Vec<_>>().join(" · ")
}

/// `task 3 · sum of 500..501 · attempt 1 lost worker 0.1 to SIGSEGV`.
pub(crate) fn quarantined(task: TaskId, what: &str, attempts: &[FailedAttempt]) -> String {
    format!("task {task} · {} · {}", quoted(what), story(attempts))
}

/// `task 3 · sum of 0..1_000 · into tasks 10 and 11 · attempt 1 lost worker 0.1 to SIGSEGV`.
pub(crate) fn split(
    (task, what): (TaskId, &str),
    [one, other]: [TaskId; 2],
    attempts: &[FailedAttempt],
) -> String {
    format!("task {task} · {} · into tasks {one} and {other} · {}", quoted(what), story(attempts))
}

/// `21841 21842 21843`, not more than a line holds.
pub(crate) fn pids(pids: &[u32]) -> String {
    let told: Vec<String> = pids.iter().take(PIDS_TOLD).map(u32::to_string).collect();
    match pids.len().saturating_sub(PIDS_TOLD) {
        0 => told.join(" "),
        more => format!("{} … and {more} more", told.join(" ")),
    }
}

/// `287 of 1000 tasks · 4 workers · 1 retried · 1 restart`.
pub(crate) fn progress(tally: &Tallied) -> String {
    let mut phrase = format!("{} of {}", tally.settled, counted(tally.tasks, "task"));
    phrase += &format!(" · {}", counted(u64::from(tally.alive), "worker"));
    for (count, word) in
        [(tally.failed, "failed"), (tally.quarantined, "in quarantine"), (tally.retried, "retried")]
    {
        if count > 0 {
            phrase += &format!(" · {count} {word}");
        }
    }
    if tally.restarts > 0 {
        phrase += &format!(" · {}", counted(tally.restarts, "restart"));
    }
    phrase
}

/// `1000 tasks in 2.9 s · 0 lost · 1 retried · 1 restart · sum exact`.
pub(crate) fn done(done: &Done) -> String {
    let tail =
        format!("{} lost · {} retried · {}", done.lost, done.retried, counted(done.restarts, "restart"));
    let survived = survived(done.survived.as_ref());
    format!("{} in {} · {tail} · sum exact{survived}", counted(done.tasks, "task"), span(done.seconds))
}

/// `163 of 1000 tasks settled in 1.2 s · 836 not done · 1 given up in hand · 0 lost`.
pub(crate) fn unfinished(done: &Done) -> String {
    let mut phrase = format!("{} of {} settled", done.settled, counted(done.tasks, "task"));
    if done.settled > 0 {
        phrase += &format!(" in {}", span(done.seconds));
    }
    let parts = [
        (done.failed, "failed"),
        (done.quarantined, "in quarantine"),
        (done.missing, "not done"),
        (done.abandoned, "given up in hand"),
    ];
    for (count, word) in parts.into_iter().filter(|(count, _)| *count > 0) {
        phrase += &format!(" · {count} {word}");
    }
    format!("{phrase} · {} lost{}", done.lost, survived(done.survived.as_ref()))
}

/// `SEGV to worker 2 pid 21843`.
pub(crate) fn thrown(fault: &str, slot: Option<SlotId>, pid: u32) -> String {
    match slot {
        Some(slot) => format!("{fault} to worker {slot} pid {pid}"),
        None => format!("{fault}, pid {pid}"),
    }
}

/// `worker 2 pid 21843 has reached its age, and makes room for another`.
pub(crate) fn recycled(Recycled { slot, pid, why, .. }: &Recycled) -> String {
    let why = match why.as_str() {
        "tasks" => "has had its number of tasks",
        "age" => "has reached its age",
        "own wish" => "asks to be replaced",
        "cancel" => "was lent what is cancelled, and begins nothing more",
        "take_back" => "runs something long while others are idle",
        "resize" => {
            return format!(
                "worker {slot} pid {pid} is one too many, and leaves when it has nothing in hand"
            );
        }
        _ => "has outgrown its memory between two tasks",
    };
    format!("worker {slot} pid {pid} {why}, and makes room for another")
}

/// `worker 2 pid 21843 (state D) · does not die of SIGKILL · given up, its tasks go back`.
pub(crate) fn unkillable(Unkillable { slot, pid, state, .. }: &Unkillable) -> String {
    let state = state.map(|state| format!(" (state {state})")).unwrap_or_default();
    format!("worker {slot} pid {pid}{state} · does not die of SIGKILL · given up, its tasks go back")
}

/// `worker 2 pid 21843 · 612.0 MiB of 512.0 MiB · task 7 is ended for it`.
pub(crate) fn bloated(Bloated { slot, pid, task, rss_bytes, rss_bytes_max, .. }: &Bloated) -> String {
    let whose = task.map_or_else(|| "it".to_owned(), |task| format!("task {task}"));
    let size = match (rss_bytes, rss_bytes_max) {
        (Some(rss), Some(max)) => format!("{} of {}", bytes(*rss), bytes(*max)),
        _ => "the kernel had no memory left".to_owned(),
    };
    format!("worker {slot} pid {pid} · {size} · {whose} is ended for it")
}

/// A reason in somebody else's words, or that there was none.
pub(crate) fn reason(words: &str) -> String {
    let words = quoted(words);
    if words.is_empty() { "no reason given".to_owned() } else { words }
}

/// A task that failed for good, in its own words.
pub(crate) fn failed(task: TaskId, attempt: Attempt, words: &str) -> String {
    format!("task {task} in attempt {attempt} · {}", reason(words))
}

/// How long an attempt may run.
pub(crate) fn limit(timeout: Timeout) -> String {
    match timeout {
        Timeout::After(limit) => lasting(limit),
        Timeout::OfMedian(percent) => format!("{percent} % of the median"),
    }
}

/// A task that failed in a worker that lives on.
pub(crate) fn retry(task: TaskId, attempt: Attempt, (slot, pid): (SlotId, u32)) -> String {
    format!("task {task} failed in worker {slot} pid {pid} · tried again as attempt {attempt}")
}
