//! The desk of a pool, where calls are handed in: a list behind a lock, and one word to the loop for as many as lie there.

use crate::call::Call;
use crate::error::TaskError;
use crate::load::Scale;
use crate::order::{Intake, Order, Sink, Ticket};
use brigade_supervisor::remote::Remote;
use std::mem;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

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
    pub(crate) logs: Arc<Path>,
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

/// What somebody has come for.
pub(crate) struct Taken {
    pub(crate) orders: Vec<Order>,
    /// What is not wanted any more, and whether it is to be stopped where it has begun.
    pub(crate) cancels: Vec<(Ticket, bool)>,
    /// What has not begun is not wanted any more.
    pub(crate) is_cleared: bool,
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

    /// The worker program has these.
    pub(crate) fn learn(&self, tasks: Vec<String>) {
        drop(self.tasks.set(tasks));
    }

    /// What lies here.
    pub(crate) fn take(&self) -> Taken {
        let mut tray = self.tray();
        let (orders, cancels) = (mem::take(&mut tray.orders), mem::take(&mut tray.cancels));
        Taken { orders, cancels, is_cleared: mem::take(&mut tray.is_cleared) }
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
    pub(crate) fn shut(&self, why: TaskError) -> Vec<Order> {
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
