//! The pool's own thread: a run of the supervisor's loop in this program, and the desk where calls are handed in.
//!
//! ```text
//! submit ─▶ Desk ─▶ Remote::arrivals ─▶ the loop ─▶ Bench (the run's Work) ─▶ workers
//!                                                     └─ settle ─▶ Sink: a job, or a map
//! ```

use crate::call::{self, Call, Value};
use crate::carry::Keep;
use crate::error::{Origin, TaskError};
use crate::job::{Job, State};
use crate::load::Scale;
use crate::trace::Span;
use crate::watch::Watcher;
use brigade_core::Verdict;
use brigade_supervisor::error::{RunError, WorkerFault};
use brigade_supervisor::remote::{self, Remote};
use brigade_supervisor::run::{Arrivals, Cancels, Plan, Report, Work};
use brigade_supervisor::rundir::RunDir;
use brigade_wire::{Attempt, Outcome, TaskId};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::mem;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
use std::thread::{self, JoinHandle};

/// What became of the items of a call.
#[derive(Clone, Debug)]
pub(crate) enum Word {
    /// Their results, as a worker encoded them; what keeps open what these carry; and whose they are.
    Value(Vec<u8>, #[expect(dead_code, reason = "that it is there keeps it open")] Keep, By),
    /// None has a result, for this reason.
    Lost(TaskError),
}

/// The attempt at a call that was the last so far, and the process that was lent it: 0 before there was any.
#[derive(Clone, Copy, Debug)]
pub(crate) struct By {
    pub(crate) attempt: Attempt,
    pub(crate) pid: u32,
}

impl By {
    /// As errors tell it; `logs` is where the logs of its workers are, if they have any.
    pub(crate) fn origin(self, logs: Option<&Path>) -> Box<Origin> {
        let By { attempt, pid } = self;
        Box::new(Origin { attempt, pid, log: logs.map(|logs| logs.join(format!("{pid}.log"))) })
    }
}

/// Who wants to know.
pub(crate) trait Sink: Send + Sync {
    /// These items have their final word. Returns what is to be called for that, elsewhere.
    fn settle(&self, items: Range<u64>, word: Word) -> Afterwards;
    /// The call is lent to this process.
    fn lent(&self, _pid: u32) {}
}

/// Whose calls these are: a job has one, and a map some at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ticket(pub(crate) u64);

/// A call that was handed in.
pub(crate) struct Order {
    pub(crate) ticket: Ticket,
    pub(crate) call: Call,
    /// Which of the sink's items these are.
    pub(crate) items: Range<u64>,
    pub(crate) sink: Arc<dyn Sink>,
    /// Who was lent it last.
    pub(crate) by: By,
    pub(crate) span: Span,
}

impl Order {
    pub(crate) fn new(ticket: Ticket, call: Call, items: Range<u64>, sink: Arc<dyn Sink>) -> Order {
        let span = Span::call(ticket.0, call.items());
        Order { ticket, call, items, sink, by: By { attempt: Attempt::FIRST, pid: 0 }, span }
    }

    pub(crate) fn lent(&mut self, task: u64, by: By) {
        self.by = by;
        self.span.lent(task, by);
        self.sink.lent(by.pid);
    }
}

/// Who takes calls.
pub(crate) trait Intake: Send + Sync {
    /// For calls of one owner, who may cancel them.
    fn ticket(&self) -> Ticket;
    /// Takes one, and tells the sink what becomes of its items.
    fn submit(
        &self,
        ticket: Ticket,
        call: Call,
        items: Range<u64>,
        sink: Arc<dyn Sink>,
    ) -> Result<(), TaskError>;
    /// Nobody wants the calls of this ticket any more; `begun`: not even those that run, where these can be ended.
    fn cancel(&self, ticket: Ticket, begun: bool);
    /// How many calls are worked on at a time.
    fn hands(&self) -> u32;
    /// Where the logs are of whoever works on them, if these have any.
    fn logs(&self) -> Option<Arc<Path>>;
}

/// Hands a call of one item in; whatever goes wrong is in the job.
pub(crate) fn hand_in<A: Value, R: Value>(
    intake: Arc<dyn Intake>,
    opening: Result<Call, TaskError>,
    argument: &A,
) -> Job<R> {
    let (state, ticket) = (Arc::new(State::default()), intake.ticket());
    let handed = opening.and_then(|mut call| {
        call.push(argument)?;
        intake.submit(ticket, call, 0..1, Arc::clone(&state) as Arc<dyn Sink>)
    });
    if let Err(error) = handed {
        state.settle(0..1, Word::Lost(error));
    }
    Job::new(state, intake, ticket)
}

/// Where calls are handed in.
pub(crate) struct Desk {
    remote: Remote,
    procs: AtomicU32,
    /// How many calls each of them works on at a time.
    threads: u32,
    /// The worker program, where that is another one than this.
    worker: Option<PathBuf>,
    /// Its tasks, as it has told them.
    tasks: OnceLock<Vec<String>>,
    tickets: AtomicU64,
    logs: Arc<Path>,
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
    /// What has not begun is not wanted any more.
    is_cleared: bool,
}

impl Desk {
    pub(crate) fn new(
        remote: Remote,
        (procs, threads): (u32, u32),
        worker: Option<PathBuf>,
        logs: &Path,
    ) -> Desk {
        let (scale, procs, tasks) = (Scale::new(procs), AtomicU32::new(procs), OnceLock::new());
        Desk {
            remote,
            procs,
            threads,
            worker,
            tasks,
            tickets: AtomicU64::new(0),
            logs: logs.into(),
            scale,
            tray: Mutex::default(),
        }
    }

    /// The worker program, if it is another one, and its tasks.
    pub(crate) fn tasks(&self) -> (Option<&Path>, &[String]) {
        (self.worker.as_deref(), self.tasks.get().map_or(&[], Vec::as_slice))
    }

    /// Workers that are wanted.
    pub(crate) fn procs(&self) -> u32 {
        self.procs.load(Ordering::Relaxed)
    }

    fn tray(&self) -> MutexGuard<'_, Tray> {
        self.tray.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Nothing is taken any more; what has not begun never does, and what runs is told to end.
    pub(crate) fn terminate(&self) {
        self.tray().closed.get_or_insert(TaskError::Shutdown);
        self.clear();
        self.remote.terminate();
    }

    /// What has not begun never does.
    pub(crate) fn clear(&self) {
        let mut tray = self.tray();
        let is_first = tray.is_empty();
        tray.is_cleared = true;
        drop(tray);
        if is_first {
            self.remote.arrivals();
        }
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

impl Intake for Desk {
    fn ticket(&self) -> Ticket {
        Ticket(self.tickets.fetch_add(1, Ordering::Relaxed))
    }

    /// Who hands in while nobody has come for what lies there need not say so again.
    fn submit(
        &self,
        ticket: Ticket,
        call: Call,
        items: Range<u64>,
        sink: Arc<dyn Sink>,
    ) -> Result<(), TaskError> {
        if let Some(worker) = self.worker.as_ref().filter(|_| !call.is_named()) {
            return Err(TaskError::OtherProgram { worker: worker.clone() });
        }
        let mut tray = self.tray();
        if let Some(error) = &tray.closed {
            return Err(error.clone());
        }
        let is_first = tray.is_empty();
        tray.orders.push(Order::new(ticket, call, items, sink));
        drop(tray);
        if is_first {
            self.remote.arrivals();
        }
        Ok(())
    }

    fn cancel(&self, ticket: Ticket, begun: bool) {
        let mut tray = self.tray();
        let is_first = tray.is_empty();
        tray.cancels.push((ticket, begun));
        drop(tray);
        if is_first {
            self.remote.arrivals();
        }
    }

    fn hands(&self) -> u32 {
        self.procs().saturating_mul(self.threads)
    }

    fn logs(&self) -> Option<Arc<Path>> {
        Some(Arc::clone(&self.logs))
    }
}

impl Tray {
    fn is_empty(&self) -> bool {
        self.orders.is_empty() && self.cancels.is_empty() && !self.is_cleared
    }
}

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

/// Calls what is somebody else's, one after the other, on a thread that is there once it is wanted: nothing of theirs runs on
/// the loop's, unless there is no thread to be had.
struct Caller {
    name: &'static str,
    thread: Option<(Sender<Callback>, JoinHandle<()>)>,
}

pub(crate) type Callback = Box<dyn FnOnce() + Send>;

/// What is to be called when a call has its final word: whoever awaits it, and callbacks. A callback may wait for another call
/// that is awaited, so wakes never stand behind one.
#[derive(Default)]
pub(crate) struct Afterwards {
    pub(crate) waker: Option<Waker>,
    pub(crate) callbacks: Vec<Callback>,
}

impl Afterwards {
    fn wake(&mut self) -> Option<Callback> {
        self.waker.take().map(|waker| Box::new(move || waker.wake()) as Callback)
    }

    /// All of them, here.
    pub(crate) fn call(mut self) {
        self.wake().into_iter().chain(self.callbacks).for_each(call_back);
    }
}

impl Caller {
    fn new(name: &'static str) -> Caller {
        Caller { name, thread: None }
    }

    fn call(&mut self, callback: Callback) {
        if self.thread.is_none() {
            let (sender, receiver) = channel::<Callback>();
            let body = move || receiver.into_iter().for_each(call_back);
            let thread = thread::Builder::new().name(self.name.into()).spawn(body);
            self.thread = thread.ok().map(|thread| (sender, thread));
        }
        match &self.thread {
            Some((sender, _)) => drop(sender.send(callback)),
            None => call_back(callback),
        }
    }

    /// Nothing more is to be called.
    fn end(self) -> Option<JoinHandle<()>> {
        self.thread.map(|(_, thread)| thread)
    }
}

/// A panic in it harms nobody; its words were printed by the hook.
pub(crate) fn call_back(callback: Callback) {
    drop(catch_unwind(AssertUnwindSafe(callback)));
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
        let mut tray = self.desk.tray();
        let (orders, cancels) = (mem::take(&mut tray.orders), mem::take(&mut tray.cancels));
        let is_cleared = mem::take(&mut tray.is_cleared);
        drop(tray);
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

    fn settle(&mut self, task: TaskId, outcome: &Outcome) -> Result<(), String> {
        let Some(order) = self.take(task) else { return Ok(()) };
        let origin = || Some(order.by.origin(Some(&self.desk.logs)));
        let word = match outcome {
            Outcome::Value(bytes) => {
                Word::Value(bytes.clone(), Keep::in_worker(call::results(bytes)), order.by)
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
        drop(known.tasks.set(tasks.iter().filter(|name| *name != call::NAME).cloned().collect()));
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
