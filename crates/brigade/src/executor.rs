//! The words of Python's `concurrent.futures`, over processes and over threads.

use crate::call::{Call, Value};
use crate::desk::Desk;
use crate::error::BuildError;
use crate::job::Job;
use crate::map::Map;
use crate::order::{self, Intake};
use crate::pool::Pool;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Somebody who calls functions elsewhere: in processes ([`ProcessExecutor`]) or on threads
/// ([`ThreadExecutor`](crate::ThreadExecutor)), so that comparing the two takes one line.
///
/// ```
/// use brigade::{Executor, ThreadExecutor};
///
/// fn sum(executor: &impl Executor) -> u64 {
///     executor.map(|n: u64| n * n, 0..10).map(|square| square.unwrap_or(0)).sum()
/// }
///
/// assert_eq!(sum(&ThreadExecutor::new(2)?), 285);
/// # Ok::<(), brigade::BuildError>(())
/// ```
pub trait Executor {
    /// Hands one call in. What goes wrong is in the job, and so is that nothing is taken after
    /// [`shutdown`](Executor::shutdown).
    fn submit<A: Value, R: Value>(&self, function: fn(A) -> R, argument: A) -> Job<R>;

    /// Calls the function with each item, some ahead of those whose results were asked for, and gives the results in the
    /// order of the items.
    fn map<A: Value, R: Value, I: IntoIterator<Item = A>>(
        &self,
        function: fn(A) -> R,
        items: I,
    ) -> Map<I::IntoIter, A, R>;

    /// Takes nothing any more. What was handed in is done, unless `cancel_futures`: then what has not begun never does, and
    /// ends as [`TaskError::Cancelled`](crate::TaskError::Cancelled). With `wait` it returns when all that is over; whoever
    /// says so a second time does not wait.
    ///
    /// ```
    /// # use brigade::sync::Event;
    /// # use brigade::{Executor, TaskError, ThreadExecutor};
    /// let (executor, event) = (ThreadExecutor::new(1)?, Event::new()?);
    /// let [first, second] = [0, 1].map(|_| executor.submit(|event: Event| event.wait(), event.clone()));
    /// while first.pid().is_none() {
    ///     std::thread::yield_now(); // until it has begun
    /// }
    /// executor.shutdown(false, true);
    /// event.set();
    /// assert_eq!((first.join(), second.join()), (Ok(()), Err(TaskError::Cancelled)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn shutdown(&self, wait: bool, cancel_futures: bool);
}

/// A [`Pool`] with the words of [`Executor`]. A worker that dies does not break it: what it ran is tried again, or fails alone.
///
/// Whatever a pool can be, it can be, too: `Pool::builder().max_tasks_per_child(10).initializer(f, x).build()?.into()`. Dropping
/// it waits for what it has been handed, also after `shutdown(false, …)`.
///
/// ```
/// # brigade::test_entry!(init); init();
/// use brigade::{Executor, ProcessExecutor, TaskError};
///
/// let executor = ProcessExecutor::new(3)?;
/// let jobs = (0..5).map(|n| executor.submit(|n: u32| 2 * n, n));
/// assert_eq!(brigade::as_completed(jobs).flat_map(|job| job.join()).sum::<u32>(), 20);
/// executor.shutdown(true, false);
/// assert_eq!(executor.submit(|n: u32| 2 * n, 1).join(), Err(TaskError::Shutdown));
/// # Ok::<(), brigade::BuildError>(())
/// ```
pub struct ProcessExecutor {
    desk: Arc<Desk>,
    /// Until somebody waits for its end.
    pool: Mutex<Option<Pool>>,
}

impl ProcessExecutor {
    /// Starts so many workers.
    ///
    /// # Errors
    /// As [`Builder::build`](crate::Builder::build).
    pub fn new(max_workers: u32) -> Result<ProcessExecutor, BuildError> {
        Ok(Pool::builder().procs(max_workers).build()?.into())
    }

    /// Kills the workers now. What is not done ends as [`TaskError::Shutdown`](crate::TaskError::Shutdown).
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # use brigade::{Executor, ProcessExecutor, TaskError};
    /// # use std::{thread, time::Duration};
    /// let executor = ProcessExecutor::new(1)?;
    /// let job = executor.submit(thread::sleep, Duration::from_secs(3_600));
    /// executor.kill_workers();
    /// assert_eq!(job.join(), Err(TaskError::Shutdown));
    /// # Ok::<(), brigade::BuildError>(())
    /// ```
    pub fn kill_workers(&self) {
        self.desk.abort();
    }

    /// Sends SIGTERM to all workers and returns at once, as in Python 3.14. What no worker had in hand ends as
    /// [`TaskError::Cancelled`](crate::TaskError::Cancelled), and what is lost with its worker as
    /// [`TaskError::Shutdown`](crate::TaskError::Shutdown), where Python has `BrokenProcessPool`; it is not tried again.
    ///
    /// Unlike there nobody outlives it: whoever handles or ignores SIGTERM may do so for the [`grace`](crate::Builder::grace),
    /// and what it brings by then counts; then it is killed.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # use brigade::{Executor, ProcessExecutor, TaskError};
    /// # use std::{thread, time::Duration};
    /// let executor = ProcessExecutor::new(1)?;
    /// let sleep = || executor.submit(thread::sleep, Duration::from_secs(3_600));
    /// let (runs, waits) = (sleep(), sleep());
    /// while runs.pid().is_none() {
    ///     thread::yield_now(); // until a worker has it
    /// }
    /// executor.terminate_workers();
    /// assert_eq!((runs.join(), waits.join()), (Err(TaskError::Shutdown), Err(TaskError::Cancelled)));
    /// # Ok::<(), brigade::BuildError>(())
    /// ```
    pub fn terminate_workers(&self) {
        self.desk.terminate();
    }
}

impl From<Pool> for ProcessExecutor {
    fn from(pool: Pool) -> ProcessExecutor {
        ProcessExecutor { desk: Arc::clone(&pool.desk), pool: Mutex::new(Some(pool)) }
    }
}

impl Executor for ProcessExecutor {
    fn submit<A: Value, R: Value>(&self, function: fn(A) -> R, argument: A) -> Job<R> {
        order::hand_in(Arc::clone(&self.desk) as Arc<dyn Intake>, Call::of(function), &argument)
    }

    fn map<A: Value, R: Value, I: IntoIterator<Item = A>>(
        &self,
        function: fn(A) -> R,
        items: I,
    ) -> Map<I::IntoIter, A, R> {
        Map::new(Arc::clone(&self.desk) as Arc<dyn Intake>, Call::of(function), items.into_iter())
    }

    fn shutdown(&self, wait: bool, cancel_futures: bool) {
        if cancel_futures {
            self.desk.clear();
        }
        self.desk.close();
        if wait {
            let pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner).take();
            drop(pool);
        }
    }
}

impl fmt::Debug for ProcessExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessExecutor").field("max_workers", &self.desk.procs()).finish_non_exhaustive()
    }
}
