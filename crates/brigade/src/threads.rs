//! Calls on threads of this process: encoded, called and decoded as in a worker, so that they mean the same.

use crate::call::{self, Call, Value};
use crate::carry::{self, Keep};
use crate::error::{BuildError, TaskError};
use crate::executor::Executor;
use crate::job::Job;
use crate::map::Map;
use crate::order::{self, By, Intake, Order, Sink, Ticket, Word};
use brigade_wire::Attempt;
use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::ops::Range;
use std::path::Path;
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// Threads that call functions, with the words of [`Executor`]. For what waits rather than computes, and for comparing: a call
/// that crashes or is killed takes this whole program along, and one that hangs cannot be ended: to cancel what runs is to
/// forget it.
///
/// Dropping it waits for what it has been handed.
///
/// ```
/// use brigade::{Executor, ThreadExecutor};
///
/// let executor = ThreadExecutor::new(3)?;
/// let doubled: Result<Vec<u32>, _> = executor.map(|n: u32| 2 * n, 0..5).collect();
/// assert_eq!(doubled, Ok(vec![0, 2, 4, 6, 8]));
/// # Ok::<(), brigade::BuildError>(())
/// ```
pub struct ThreadExecutor {
    bench: Arc<Bench>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What the threads share.
struct Bench {
    hands: u32,
    tickets: AtomicU64,
    tray: Mutex<Tray>,
    more: Condvar,
}

#[derive(Default)]
struct Tray {
    orders: VecDeque<Order>,
    /// Who waits for what runs, and for which of its items.
    running: Vec<Running>,
    is_closed: bool,
}

/// Of a call that runs.
type Running = (Ticket, Range<u64>, Arc<dyn Sink>);

impl ThreadExecutor {
    /// Starts so many threads. From then on the words of every panic of this program are remembered before they are printed.
    ///
    /// # Errors
    /// If that is none, or the system has not so many.
    pub fn new(max_workers: u32) -> Result<ThreadExecutor, BuildError> {
        if max_workers == 0 {
            return Err(BuildError::Setting { what: "max_workers", given: 0, wanted: "at least 1" });
        }
        brigade_worker::remember_panics();
        let bench = Bench {
            hands: max_workers,
            tickets: AtomicU64::new(0),
            tray: Mutex::default(),
            more: Condvar::new(),
        };
        let executor = ThreadExecutor { bench: Arc::new(bench), threads: Mutex::default() };
        for number in 0..max_workers {
            let bench = Arc::clone(&executor.bench);
            let thread = thread::Builder::new().name(format!("brigade-{number}")).spawn(move || bench.work());
            let thread = thread.map_err(BuildError::start)?;
            executor.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        }
        Ok(executor)
    }
}

impl Executor for ThreadExecutor {
    fn submit<A: Value, R: Value>(&self, function: fn(A) -> R, argument: A) -> Job<R> {
        order::hand_in(Arc::clone(&self.bench) as Arc<dyn Intake>, Call::of(function), &argument)
    }

    fn map<A: Value, R: Value, I: IntoIterator<Item = A>>(
        &self,
        function: fn(A) -> R,
        items: I,
    ) -> Map<I::IntoIter, A, R> {
        Map::new(Arc::clone(&self.bench) as Arc<dyn Intake>, Call::of(function), items.into_iter())
    }

    fn shutdown(&self, wait: bool, cancel_futures: bool) {
        self.bench.close(cancel_futures);
        if wait {
            let threads = mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
            // A callback may say so, on one of them.
            let others = threads.into_iter().filter(|it| it.thread().id() != thread::current().id());
            others.for_each(|thread| drop(thread.join()));
        }
    }
}

impl Drop for ThreadExecutor {
    fn drop(&mut self) {
        self.shutdown(true, false);
    }
}

impl fmt::Debug for ThreadExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadExecutor").field("max_workers", &self.bench.hands).finish_non_exhaustive()
    }
}

impl Bench {
    fn tray(&self) -> MutexGuard<'_, Tray> {
        self.tray.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A thread's life.
    fn work(&self) {
        while let Some(mut order) = self.next() {
            let by = By { attempt: Attempt::FIRST, pid: process::id() };
            order.lent(order.ticket.0, by);
            let Order { ticket, call, items, sink, span, .. } = order;
            let word = match carry::returned(|| call::run(call.bytes())) {
                (Ok(results), kept) => Word::Value(results, Keep::here(kept), by),
                (Err(message), _) => Word::Lost(TaskError::Failed { message, origin: Some(by.origin(None)) }),
            };
            self.tray().running.retain(|(other, those, _)| (other, those) != (&ticket, &items));
            span.ended(&word);
            sink.settle(items, word).call();
        }
    }

    /// Waits for a call; `None` when none comes any more.
    fn next(&self) -> Option<Order> {
        let is_idle = |tray: &mut Tray| tray.orders.is_empty() && !tray.is_closed;
        let mut tray = self.more.wait_while(self.tray(), is_idle).unwrap_or_else(PoisonError::into_inner);
        let order = tray.orders.pop_front()?;
        tray.running.push((order.ticket, order.items.clone(), Arc::clone(&order.sink)));
        Some(order)
    }

    fn close(&self, cancel: bool) {
        let mut tray = self.tray();
        tray.is_closed = true;
        let cancelled = if cancel { mem::take(&mut tray.orders) } else { VecDeque::new() };
        drop(tray);
        self.more.notify_all();
        cancelled.into_iter().for_each(lose);
    }
}

/// It was waiting.
fn lose(Order { items, sink, span, .. }: Order) {
    let word = Word::Lost(TaskError::Cancelled);
    span.ended(&word);
    sink.settle(items, word).call();
}

impl Intake for Bench {
    fn ticket(&self) -> Ticket {
        Ticket(self.tickets.fetch_add(1, Ordering::Relaxed))
    }

    fn submit(
        &self,
        ticket: Ticket,
        call: Call,
        items: Range<u64>,
        sink: Arc<dyn Sink>,
    ) -> Result<(), TaskError> {
        let mut tray = self.tray();
        if tray.is_closed {
            return Err(TaskError::Shutdown);
        }
        tray.orders.push_back(Order::new(ticket, call, items, sink));
        drop(tray);
        self.more.notify_one();
        Ok(())
    }

    /// A call that runs cannot be ended: it goes on, for nobody. Whoever waits for it is told at once.
    fn cancel(&self, ticket: Ticket, begun: bool) {
        let mut tray = self.tray();
        let orders = mem::take(&mut tray.orders).into_iter();
        let (waiting, orders) = orders.partition::<VecDeque<_>, _>(|it| it.ticket == ticket);
        tray.orders = orders;
        let running =
            tray.running.extract_if(.., |(other, ..)| begun && *other == ticket).collect::<Vec<_>>();
        drop(tray);
        for (_, items, sink) in running {
            sink.settle(items, Word::Lost(TaskError::Cancelled)).call();
        }
        waiting.into_iter().for_each(lose);
    }

    fn hands(&self) -> u32 {
        self.hands
    }

    /// Threads write no logs.
    fn logs(&self) -> Option<Arc<Path>> {
        None
    }
}
