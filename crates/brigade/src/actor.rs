//! Workers with a state: each process keeps one, and answers requests with it. A plain function is the one without.

use crate::call::Value;
use crate::error::BuildError;
use crate::hooks;
use crate::job::Job;
use crate::map::Map;
use crate::pool::{Builder, Pool};
use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a worker process is between two requests: it lives there, and nowhere else.
///
/// Requests go to whichever worker is free, so no two of them can count on meeting the same state. After a death there is a new
/// process, and `start` makes a new state in it; the request that was lost with it is handled again there.
///
/// A panic in `handle` is the error of its request, and it is the end of that state: whatever was half done in it is not relied
/// on. It is left as it is, `stop` is not called, and the process is replaced.
///
/// ```
/// # brigade::test_entry!(init); init();
/// use brigade::{Pool, Worker};
///
/// struct Counter(u64);
///
/// impl Worker for Counter {
///     type Init = u64;
///     type Request = u64;
///     type Reply = u64;
///
///     fn start(first: u64) -> Result<Counter, String> {
///         Ok(Counter(first))
///     }
///
///     fn handle(&mut self, more: u64) -> u64 {
///         self.0 += more;
///         self.0
///     }
/// }
///
/// let counter = Pool::builder().procs(1).workers::<Counter>(10)?;
/// assert_eq!(counter.submit(1).join()?, 11);
/// assert_eq!(counter.submit(5).join()?, 16);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Worker: Sized + Send + 'static {
    /// What each of them is made of.
    type Init: Value;
    /// What it is asked.
    type Request: Value;
    /// What it answers.
    type Reply: Value;

    /// Makes the state, in its process, before the first request.
    ///
    /// # Errors
    /// If it cannot be had: the pool ends, and says so.
    fn start(init: Self::Init) -> Result<Self, String>;

    /// Answers one request.
    fn handle(&mut self, request: Self::Request) -> Self::Reply;

    /// The process is told to end, or to make room for another: within the [`grace`](Builder::grace).
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # use brigade::{Pool, Queue, Worker};
    /// struct Polite(Queue<String>);
    ///
    /// impl Worker for Polite {
    ///     type Init = Queue<String>;
    ///     type Request = ();
    ///     type Reply = ();
    ///
    ///     fn start(words: Queue<String>) -> Result<Polite, String> {
    ///         Ok(Polite(words))
    ///     }
    ///
    ///     fn handle(&mut self, (): ()) {}
    ///
    ///     fn stop(self) {
    ///         self.0.put(&"goodbye".to_owned()).expect("it is open");
    ///     }
    /// }
    ///
    /// let words = Queue::new()?;
    /// let pool = Pool::builder().procs(1).workers::<Polite>(words.clone())?;
    /// pool.submit(()).join()?;
    /// pool.join();
    /// assert_eq!(words.try_get()?, "goodbye");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn stop(self) {}
}

/// A pool of such workers, all of one kind. What holds for a [`Pool`] holds for it.
///
/// ```
/// # brigade::test_entry!(init); init();
/// use brigade::{Pool, TaskError, Worker, WorkerPool};
///
/// /// Says how often it was asked.
/// struct Asked(u32);
///
/// impl Worker for Asked {
///     type Init = ();
///     type Request = ();
///     type Reply = u32;
///
///     fn start((): ()) -> Result<Asked, String> {
///         Ok(Asked(0))
///     }
///
///     fn handle(&mut self, (): ()) -> u32 {
///         self.0 += 1;
///         self.0
///     }
/// }
///
/// let pool: WorkerPool<Asked> = Pool::builder().procs(1).workers(())?;
/// assert_eq!(pool.map([(); 3]).flatten().collect::<Vec<_>>(), [1, 2, 3]);
/// pool.resize(2);
/// assert_eq!(pool.map_unordered([(); 4]).flatten().count(), 4);
/// pool.close();
/// assert_eq!(pool.submit(()).join(), Err(TaskError::Shutdown));
/// pool.kill_workers();
/// # Ok::<(), brigade::BuildError>(())
/// ```
pub struct WorkerPool<W> {
    pool: Pool,
    _worker: PhantomData<fn() -> W>,
}

impl Builder {
    /// Starts a pool whose workers keep a state: [`Worker::start`] and [`Worker::stop`] are its initializer and finalizer.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn workers<W: Worker>(self, init: W::Init) -> Result<WorkerPool<W>, BuildError> {
        let pool = self.one_by_one().initializer(start::<W>, init).finalizer(stop::<W>, ()).build()?;
        Ok(WorkerPool { pool, _worker: PhantomData })
    }
}

impl<W: Worker> WorkerPool<W> {
    /// Hands one request in; as [`Pool::submit`].
    pub fn submit(&self, request: W::Request) -> Job<W::Reply> {
        self.pool.submit(handle::<W>, request)
    }

    /// Answers to all requests, in their order; as [`Pool::map`].
    pub fn map<I>(&self, requests: I) -> Map<I::IntoIter, W::Request, W::Reply>
    where
        I: IntoIterator<Item = W::Request>,
    {
        self.pool.map(handle::<W>, requests)
    }

    /// Answers to all requests, as they come; as [`Pool::map_unordered`].
    pub fn map_unordered<I>(&self, requests: I) -> Map<I::IntoIter, W::Request, W::Reply>
    where
        I: IntoIterator<Item = W::Request>,
    {
        self.pool.map_unordered(handle::<W>, requests)
    }

    /// To have so many workers from now on; as [`Pool::resize`].
    ///
    /// # Panics
    /// If that is none.
    pub fn resize(&self, procs: u32) {
        self.pool.resize(procs);
    }

    /// Waits until every request is answered, and stops the workers. Dropping the pool does the same.
    pub fn join(self) {}

    /// Takes no request any more; as [`Pool::close`].
    pub fn close(&self) {
        self.pool.close();
    }

    /// Kills the workers now, with their states; as [`Pool::kill_workers`].
    pub fn kill_workers(self) {
        self.pool.kill_workers();
    }
}

impl<W> fmt::Debug for WorkerPool<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WorkerPool").field(&self.pool).finish()
    }
}

/// In a worker: the state, while nobody uses it.
static STATE: Mutex<Option<Box<dyn Any + Send>>> = Mutex::new(None);

fn state() -> MutexGuard<'static, Option<Box<dyn Any + Send>>> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start<W: Worker>(init: W::Init) -> Result<(), String> {
    let made = W::start(init)?;
    *state() = Some(Box::new(made));
    Ok(())
}

fn handle<W: Worker>(request: W::Request) -> W::Reply {
    let mut kept = state();
    if kept.is_none() {
        // An earlier request of the same chunk has panicked: the process is replaced after this chunk.
        drop(kept);
        hooks::begin_again().unwrap_or_else(|words| panic!("{words}"));
        kept = state();
    }
    let mut own = kept.take().and_then(|state| state.downcast::<W>().ok()).expect("it was started as this");
    match catch_unwind(AssertUnwindSafe(|| own.handle(request))) {
        Ok(reply) => {
            *kept = Some(own);
            reply
        }
        Err(panic) => {
            // Dropping it would be relying on it.
            mem::forget(own);
            brigade_worker::retire();
            resume_unwind(panic)
        }
    }
}

fn stop<W: Worker>((): ()) {
    let own = state().take().and_then(|state| state.downcast::<W>().ok());
    if let Some(own) = own {
        own.stop();
    }
}
