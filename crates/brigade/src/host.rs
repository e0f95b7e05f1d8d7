//! The pool's own thread: a run of the supervisor's loop in this program, and the desk where calls are handed in.
//!
//! ```text
//! submit ─▶ Desk ─▶ Remote::arrivals ─▶ the loop ─▶ Bench (the run's Work) ─▶ workers
//!                                                     └─ settle ─▶ Sink: a job, or a map
//! ```

use crate::call::{self, Call};
use crate::error::TaskError;
use crate::load::Scale;
use brigade_core::{GiveUp, Verdict};
use brigade_supervisor::error::RunError;
use brigade_supervisor::remote::{self, Remote};
use brigade_supervisor::run::{Arrivals, Cancels, Plan, Report, Witness, Work};
use brigade_supervisor::rundir::RunDir;
use brigade_supervisor::status::Status;
use brigade_supervisor::story::{Line, Tallied, Told};
use brigade_wire::{Outcome, SlotId, TaskId};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::mem;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What became of the items of a call.
#[derive(Clone, Debug)]
pub(crate) enum Word {
    /// Their results, as a worker encoded them.
    Value(Vec<u8>),
    /// None has a result, for this reason.
    Lost(TaskError),
}

/// Who wants to know.
pub(crate) trait Sink: Send + Sync {
    /// These items have their final word. Returns what is to be called for that, elsewhere.
    fn settle(&self, items: Range<u64>, word: Word) -> Vec<Callback>;
    /// The call is lent to this process.
    fn lent(&self, _pid: u32) {}
}

/// Whose calls these are: a job has one, and a map some at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ticket(pub(crate) u64);

/// A call that was handed in.
struct Order {
    ticket: Ticket,
    call: Call,
    /// Which of the sink's items these are.
    items: Range<u64>,
    sink: Arc<dyn Sink>,
}

/// Where calls are handed in.
pub(crate) struct Desk {
    remote: Remote,
    procs: AtomicU32,
    tickets: AtomicU64,
    pub(crate) scale: Scale,
    tray: Mutex<Tray>,
}

#[derive(Default)]
struct Tray {
    orders: Vec<Order>,
    /// What is not wanted any more, and whether it is to be stopped where it has begun.
    cancels: Vec<(Ticket, bool)>,
    /// Why nothing is taken any more.
    closed: Option<TaskError>,
}

impl Desk {
    pub(crate) fn new(remote: Remote, procs: u32) -> Desk {
        Desk {
            remote,
            procs: AtomicU32::new(procs),
            tickets: AtomicU64::new(0),
            scale: Scale::new(procs),
            tray: Mutex::default(),
        }
    }

    /// Workers that are wanted.
    pub(crate) fn procs(&self) -> u32 {
        self.procs.load(Ordering::Relaxed)
    }

    fn tray(&self) -> MutexGuard<'_, Tray> {
        self.tray.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For calls of one owner, who may cancel them.
    pub(crate) fn ticket(&self) -> Ticket {
        Ticket(self.tickets.fetch_add(1, Ordering::Relaxed))
    }

    /// Hands a call in. Who hands in while nobody has come for what lies there need not say so again.
    pub(crate) fn submit(
        &self,
        ticket: Ticket,
        call: Call,
        items: Range<u64>,
        sink: Arc<dyn Sink>,
    ) -> Result<(), TaskError> {
        let mut tray = self.tray();
        if let Some(error) = &tray.closed {
            return Err(error.clone());
        }
        let is_first = tray.is_empty();
        tray.orders.push(Order { ticket, call, items, sink });
        drop(tray);
        if is_first {
            self.remote.arrivals();
        }
        Ok(())
    }

    /// Nobody wants the calls of this ticket any more; `begun`: not even if a worker has them already.
    pub(crate) fn cancel(&self, ticket: Ticket, begun: bool) {
        let mut tray = self.tray();
        let is_first = tray.is_empty();
        tray.cancels.push((ticket, begun));
        drop(tray);
        if is_first {
            self.remote.arrivals();
        }
    }

    /// Nothing is taken any more, and what was taken is done.
    pub(crate) fn close(&self) {
        self.tray().closed.get_or_insert(TaskError::Shutdown);
        // Whoever was first to hand in may not have come to say so yet.
        self.remote.arrivals();
        self.remote.close();
    }

    /// Nothing is taken any more, and what was taken is not done either.
    pub(crate) fn abort(&self) {
        self.tray().closed.get_or_insert(TaskError::Shutdown);
        self.remote.abort();
    }

    pub(crate) fn resize(&self, workers: u32) {
        self.procs.store(workers, Ordering::Relaxed);
        self.remote.resize(workers);
    }

    /// The run is over. Returns what nobody has come for.
    fn shut(&self, why: TaskError) -> Vec<Order> {
        let mut tray = self.tray();
        tray.closed.get_or_insert(why);
        mem::take(&mut tray.orders)
    }
}

impl Tray {
    fn is_empty(&self) -> bool {
        self.orders.is_empty() && self.cancels.is_empty()
    }
}

/// The work of a pool's run: whatever is handed in.
struct Bench {
    desk: Arc<Desk>,
    orders: HashMap<TaskId, Order>,
    /// The same by their tickets.
    tasks: BTreeSet<(Ticket, TaskId)>,
    /// What was not wanted any more when somebody came to the desk the last time.
    cancels: Vec<(Ticket, bool)>,
    callbacks: Callbacks,
    logs: PathBuf,
}

/// Calls users' callbacks one after the other, on a thread that is there once one is wanted: nothing of theirs runs on the
/// loop's.
#[derive(Default)]
struct Callbacks {
    calls: Option<Sender<Callback>>,
    thread: Option<JoinHandle<()>>,
}

pub(crate) type Callback = Box<dyn FnOnce() + Send>;

impl Callbacks {
    fn call(&mut self, callbacks: Vec<Callback>) {
        for callback in callbacks {
            let calls = self.calls.get_or_insert_with(|| {
                let (sender, receiver) = channel::<Callback>();
                let body = move || receiver.into_iter().for_each(call_back);
                // Where there is no thread to be had, whoever wanted to be called is not.
                self.thread = thread::Builder::new().name("brigade-callbacks".into()).spawn(body).ok();
                sender
            });
            drop(calls.send(callback));
        }
    }
}

/// A panic in it harms nobody; its words were printed by the hook.
pub(crate) fn call_back(callback: Callback) {
    drop(catch_unwind(AssertUnwindSafe(callback)));
}

impl Bench {
    fn put(&mut self, task: TaskId, order: Order) {
        self.tasks.insert((order.ticket, task));
        self.orders.insert(task, order);
    }

    fn take(&mut self, task: TaskId) -> Option<Order> {
        let order = self.orders.remove(&task)?;
        self.tasks.remove(&(order.ticket, task));
        Some(order)
    }

    fn lose(&mut self, order: Order, error: &TaskError) {
        let callbacks = order.sink.settle(order.items, Word::Lost(error.clone()));
        self.callbacks.call(callbacks);
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
        let Some(Order { ticket, call, items, sink }) = self.take(task) else { return };
        let half = call.items() / 2;
        let halves = [0..half, half..call.items()];
        for (number, half) in (parts.0..).zip(halves) {
            let items = items.start + u64::from(half.start)..items.start + u64::from(half.end);
            let order = Order { ticket, call: call.part(half), items, sink: Arc::clone(&sink) };
            self.put(TaskId(number), order);
        }
    }

    fn arrivals(&mut self, first: TaskId) -> Arrivals {
        let mut tray = self.desk.tray();
        let (orders, cancels) = (mem::take(&mut tray.orders), mem::take(&mut tray.cancels));
        drop(tray);
        self.cancels = cancels;
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
        for (ticket, begun) in mem::take(&mut self.cancels) {
            let tasks = self.tasks.range((ticket, TaskId(0))..=(ticket, TaskId(u64::MAX)));
            let which = if begun { &mut cancels.all } else { &mut cancels.waiting };
            which.extend(tasks.map(|(_, task)| *task));
        }
        cancels
    }

    fn cancelled(&mut self, task: TaskId) {
        if let Some(order) = self.take(task) {
            self.lose(order, &TaskError::Cancelled);
        }
    }

    fn lent(&mut self, task: TaskId, pid: u32) {
        if let Some(order) = self.orders.get(&task) {
            order.sink.lent(pid);
        }
    }

    fn args(&self, task: TaskId) -> Vec<u8> {
        self.orders.get(&task).map(|order| order.call.bytes().to_vec()).unwrap_or_default()
    }

    fn settle(&mut self, task: TaskId, outcome: &Outcome) -> Result<(), String> {
        let Some(order) = self.take(task) else { return Ok(()) };
        let word = match outcome {
            Outcome::Value(bytes) => Word::Value(bytes.clone()),
            Outcome::Failed(message) => Word::Lost(TaskError::Decode { message: message.clone() }),
            Outcome::Panicked { message, location } => {
                Word::Lost(TaskError::Panicked { message: message.clone(), location: location.clone() })
            }
            Outcome::Quarantined { attempts } => {
                Word::Lost(TaskError::Quarantined { attempts: attempts.clone(), logs: self.logs.clone() })
            }
        };
        let callbacks = order.sink.settle(order.items, word);
        self.callbacks.call(callbacks);
        Ok(())
    }

    fn total(&self) -> Option<String> {
        None
    }

    fn is_exact(&self) -> bool {
        true
    }
}

/// Keeps the loads up to date; what else happens is in `events.ndjson`.
struct Watcher(Arc<Desk>);

impl Witness for Watcher {
    fn tell(&mut self, line: &Line) {
        match &line.told {
            Told::WorkerReady { slot, pid, .. } => self.0.scale.change(slot.0, |load| load.pid = Some(*pid)),
            Told::WorkerExit { slot, planned, .. } => self.0.scale.change(slot.0, |load| {
                load.pid = None;
                load.deaths += u64::from(!planned);
            }),
            _ => {}
        }
    }

    fn worked(&mut self, slot: SlotId, attempts: u64, busy: Duration) {
        self.0.scale.change(slot.0, |load| {
            load.calls += attempts;
            load.busy += busy;
        });
    }

    fn progress(&mut self, _: &Tallied) {}
    fn show(&mut self, _: &Status) {}
}

/// Holds the run to its end, on this thread, and leaves nobody without a word. Returns who calls back, if anybody does.
pub(crate) fn hold(
    plan: Plan,
    desk: Arc<Desk>,
    dir: RunDir,
    line: remote::Line,
    ready: Sender<Result<(), RunError>>,
) -> Option<JoinHandle<()>> {
    let mut bench = Bench {
        desk,
        orders: HashMap::new(),
        tasks: BTreeSet::new(),
        cancels: Vec::new(),
        callbacks: Callbacks::default(),
        logs: dir.logs().to_path_buf(),
    };
    let mut witness = Watcher(Arc::clone(&bench.desk));
    let held = catch_unwind(AssertUnwindSafe(|| {
        brigade_supervisor::serve(plan, &mut bench, &dir, &mut witness, line, || drop(ready.send(Ok(()))))
    }));
    let (error, is_clean) = match held {
        Ok(Ok(report)) => {
            let gave_up = matches!(report.verdict, Verdict::GaveUp(_));
            (ended(&report, dir.logs()), report.done.quarantined == 0 && !gave_up)
        }
        Ok(Err(error)) => {
            let words = TaskError::Pool(error.to_string().into());
            drop(ready.send(Err(error)));
            (words, true)
        }
        Err(_) => (TaskError::Pool("its loop panicked: this is a fault of brigade".into()), false),
    };
    bench.lose_all(&error);
    if is_clean {
        dir.discard();
    }
    bench.callbacks.thread
}

/// What to tell those who are left without a result.
fn ended(report: &Report, logs: &Path) -> TaskError {
    let gave_up = |why: String| TaskError::Pool(format!("{why}: see the logs in {}", logs.display()).into());
    match &report.verdict {
        Verdict::GaveUp(GiveUp::Intensity { slot, deaths, .. }) => {
            gave_up(format!("worker {slot} died {deaths} times without getting anything done"))
        }
        Verdict::GaveUp(GiveUp::CannotRun(worker)) => {
            gave_up(format!("worker {worker} says that it cannot run here (exit code 78)"))
        }
        Verdict::GaveUp(GiveUp::Refused { worker, reason }) => {
            gave_up(format!("worker {worker} is not of this build: it {reason}"))
        }
        Verdict::GaveUp(GiveUp::Unkillable(worker)) => gave_up(format!("nothing can kill worker {worker}")),
        Verdict::Complete | Verdict::Drained | Verdict::Aborted | Verdict::Halted => TaskError::Shutdown,
    }
}
