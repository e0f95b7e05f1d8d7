//! The pool's own thread: a run of the supervisor's loop in this program, whose work is what lies on the desk.
//!
//! ```text
//! submit ─▶ Desk ─▶ Remote::arrivals ─▶ the loop ─▶ Bench (the run's Work) ─▶ workers
//!                                                     └─ settle ─▶ Sink: a job, or a map
//! ```

use crate::afterwards::Caller;
use crate::call;
use crate::carry::Keep;
use crate::desk::{Desk, Taken};
use crate::error::TaskError;
use crate::order::{By, Order, Ticket, Word};
use crate::trace::Span;
use crate::watch::Watcher;
use brigade_core::Verdict;
use brigade_supervisor::error::{RunError, WorkerFault};
use brigade_supervisor::remote;
use brigade_supervisor::run::{Arrivals, Cancels, Plan, Report, Work};
use brigade_supervisor::rundir::RunDir;
use brigade_wire::{Attempt, Outcome, TaskId};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

/// The work of a pool's run: whatever is handed in.
struct Bench {
    desk: Arc<Desk>,
    orders: HashMap<TaskId, Order, BuildHasherDefault<InARow>>,
    /// The same by their tickets, since somebody cancelled something.
    tasks: Option<BTreeSet<(Ticket, TaskId)>>,
    /// What was not wanted any more when somebody came to the desk the last time.
    cancels: Vec<(Ticket, bool)>,
    /// Whatever has not begun was not wanted any more then.
    is_cleared: bool,
    wakes: Caller,
    callbacks: Caller,
}

/// Where a task stands among others. They are numbered one after the other, and here neighbours in number are neighbours in memory:
/// with hashes as good as any other, each look at one of 300,000 that wait was a miss of the cache, and there are four for each call.
/// The upper bits tell apart those whose places are close.
#[derive(Default)]
struct InARow(u64);

impl Hasher for InARow {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(self.0 << 8 | u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number ^ number << 57;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Bench {
    fn put(&mut self, task: TaskId, order: Order) {
        if let Some(tasks) = &mut self.tasks {
            tasks.insert((order.ticket, task));
        }
        self.orders.insert(task, order);
    }

    fn take(&mut self, task: TaskId) -> Option<Order> {
        let order = self.orders.remove(&task)?;
        if let Some(tasks) = &mut self.tasks {
            tasks.remove(&(order.ticket, task));
        }
        Some(order)
    }

    fn lose(&mut self, order: Order, error: &TaskError) {
        self.say(order, Word::Lost(error.clone()));
    }

    /// The final word. What the call has kept is closed before anybody hears it.
    fn say(&mut self, Order { call, items, sink, span, .. }: Order, word: Word) {
        span.ended(&word);
        drop(call);
        let mut afterwards = sink.settle(items, word);
        afterwards.wake().into_iter().for_each(|wake| self.wakes.call(wake));
        afterwards.callbacks.into_iter().for_each(|callback| self.callbacks.call(callback));
    }

    fn lose_all(&mut self, error: &TaskError) {
        let orders: Vec<Order> = self.orders.drain().map(|(_, order)| order).collect();
        orders.into_iter().chain(self.desk.shut(error.clone())).for_each(|order| self.lose(order, error));
    }
}

impl Work for Bench {
    fn function(&self) -> &str {
        call::NAME
    }

    fn describe(&self) -> String {
        "calls of this program".into()
    }

    fn parameters(&self) -> String {
        String::new()
    }

    fn count(&self) -> u64 {
        0
    }

    fn weights(&self) -> Vec<u64> {
        Vec::new()
    }

    fn describe_task(&self, task: TaskId) -> String {
        let items = self.orders.get(&task).map_or(0, |order| order.call.items());
        if items == 1 { "a call".into() } else { format!("a call with each of {items} items") }
    }

    fn is_divisible(&self, task: TaskId) -> bool {
        self.orders.get(&task).is_some_and(|order| order.call.items() > 1)
    }

    fn split(&mut self, task: TaskId, parts: TaskId) {
        let Some(Order { ticket, call, items, sink, by, span }) = self.take(task) else { return };
        let half = call.items() / 2;
        let halves = [0..half, half..call.items()];
        for (number, half) in (parts.0..).zip(halves) {
            let items = items.start + u64::from(half.start)..items.start + u64::from(half.end);
            let (call, sink, span) = (call.part(half), Arc::clone(&sink), span.clone());
            let order = Order { ticket, call, items, sink, by, span };
            self.put(TaskId(number), order);
        }
    }

    fn arrivals(&mut self, first: TaskId) -> Arrivals {
        let Taken { orders, cancels, is_cleared } = self.desk.take();
        self.cancels = cancels;
        self.is_cleared |= is_cleared;
        let unwanted: HashSet<Ticket> = self.cancels.iter().map(|(ticket, _)| *ticket).collect();
        let mut weights = Vec::new();
        for order in orders {
            if unwanted.contains(&order.ticket) {
                self.lose(order, &TaskError::Cancelled);
                continue;
            }
            weights.push(order.call.weight());
            self.put(TaskId(first.0 + weights.len() as u64 - 1), order);
        }
        Arrivals { count: weights.len() as u64, weights }
    }

    fn cancels(&mut self) -> Cancels {
        let mut cancels = Cancels::default();
        if mem::take(&mut self.is_cleared) {
            cancels.waiting.extend(self.orders.keys());
        }
        let unwanted = mem::take(&mut self.cancels);
        if unwanted.is_empty() {
            return cancels;
        }
        // Kept from now on: whoever never cancels does not pay for it, and whoever does has all of it looked through once.
        let by_ticket = || self.orders.iter().map(|(task, order)| (order.ticket, *task)).collect();
        let tasks = self.tasks.get_or_insert_with(by_ticket);
        for (ticket, begun) in unwanted {
            let which = if begun { &mut cancels.all } else { &mut cancels.waiting };
            which
                .extend(tasks.range((ticket, TaskId(0))..=(ticket, TaskId(u64::MAX))).map(|(_, task)| *task));
        }
        cancels
    }

    fn cancelled(&mut self, task: TaskId) {
        if let Some(order) = self.take(task) {
            self.lose(order, &TaskError::Cancelled);
        }
    }

    fn lent(&mut self, task: TaskId, attempt: Attempt, pid: u32) {
        if let Some(order) = self.orders.get_mut(&task) {
            order.lent(task.0, By { attempt, pid });
        }
    }

    fn args(&self, task: TaskId) -> Vec<u8> {
        self.orders.get(&task).map(|order| order.call.bytes().to_vec()).unwrap_or_default()
    }

    fn settle(&mut self, task: TaskId, outcome: &mut Outcome) -> Result<(), String> {
        let Some(order) = self.take(task) else { return Ok(()) };
        let origin = || Some(order.by.origin(Some(&self.desk.logs)));
        let word = match outcome {
            Outcome::Value(bytes) => {
                let keep = Keep::in_worker(call::results(bytes));
                Word::Value(mem::take(bytes), keep, order.by)
            }
            Outcome::Failed(message) => {
                Word::Lost(TaskError::Failed { message: message.clone(), origin: origin() })
            }
            Outcome::Panicked { message, location } => {
                let (message, location, backtrace) = (message.clone(), location.clone(), String::new());
                Word::Lost(TaskError::Panicked { message, location, backtrace, origin: origin() })
            }
            Outcome::Quarantined { attempts } => {
                let logs = self.desk.logs.to_path_buf();
                Word::Lost(TaskError::given_up(attempts.clone(), order.by.pid, logs))
            }
        };
        self.say(order, word);
        Ok(())
    }

    fn total(&self) -> Option<String> {
        None
    }

    fn is_exact(&self) -> bool {
        true
    }
}

/// Holds the run to its end, on this thread, and leaves nobody without a word. Returns who wakes and calls back, if anybody does.
pub(crate) fn hold(
    plan: Plan,
    desk: Arc<Desk>,
    dir: RunDir,
    line: remote::Line,
    ready: Sender<Result<(), RunError>>,
) -> Vec<JoinHandle<()>> {
    let known = Arc::clone(&desk);
    let begun = |tasks: &[String]| {
        known.learn(tasks.iter().filter(|name| *name != call::NAME).cloned().collect());
        drop(ready.send(Ok(())));
    };
    let mut bench = Bench {
        desk,
        orders: HashMap::default(),
        tasks: None,
        cancels: Vec::new(),
        is_cleared: false,
        wakes: Caller::new("brigade-wakes"),
        callbacks: Caller::new("brigade-callbacks"),
    };
    let mut witness = Watcher::new(Arc::clone(&bench.desk), &plan);
    let pool = Span::pool(plan.policy.procs);
    let held = catch_unwind(AssertUnwindSafe(|| {
        pool.within(|| brigade_supervisor::serve(plan, &mut bench, &dir, &mut witness, line, begun))
    }));
    let (error, is_clean) = match held {
        Ok(Ok(report)) => {
            let gave_up = matches!(report.verdict, Verdict::GaveUp(_));
            (ended(&report, witness.why.take(), dir.logs()), report.done.quarantined == 0 && !gave_up)
        }
        Ok(Err(error)) => {
            let words = TaskError::Pool(error.to_string().into());
            // Then its log is named.
            let is_told = matches!(&error, RunError::Worker { fault: WorkerFault::Silent { .. }, .. });
            drop(ready.send(Err(error)));
            (words, !is_told)
        }
        Err(_) => (TaskError::Pool("its loop panicked: this is a fault of brigade".into()), false),
    };
    bench.lose_all(&error);
    if is_clean {
        dir.discard();
    }
    bench.wakes.end().into_iter().chain(bench.callbacks.end()).collect()
}

/// What to tell those who are left without a result.
fn ended(report: &Report, why: Option<String>, logs: &Path) -> TaskError {
    match &report.verdict {
        Verdict::GaveUp(_) => {
            let why = why.unwrap_or_else(|| "it was given up".into());
            TaskError::Pool(format!("{why} (logs: {})", logs.display()).into())
        }
        Verdict::Complete | Verdict::Drained | Verdict::Aborted | Verdict::Halted => TaskError::Shutdown,
    }
}
