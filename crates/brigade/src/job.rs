//! A job: one call that was handed to a pool, and what became of it.

use crate::afterwards::{Afterwards, Callback, call_back};
use crate::call;
use crate::call::Value;
use crate::error::TaskError;
use crate::order::{Intake, Sink, Ticket, Word};
use brigade_os::clock::Deadline;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::ops::Range;
use std::path::Path;
use std::pin::Pin;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// A call under way, or done. Dropping it does not stop the call.
///
/// ```
/// # brigade::test_entry!(init); init();
/// use brigade::{Job, Pool};
///
/// let pool = Pool::builder().procs(2).build()?;
/// let job: Job<u32> = pool.submit(|n: u32| n + 1, 41);
/// assert_eq!(job.join(), Ok(42));
/// // In a runtime for futures it is awaited.
/// let awaited = async { pool.submit(|n: u32| n + 1, 41).await };
/// assert_eq!(futures::executor::block_on(awaited), Ok(42));
/// # Ok::<(), brigade::BuildError>(())
/// ```
#[must_use = "a job says whether its call worked; drop it on purpose if nobody wants to know"]
pub struct Job<R> {
    state: Arc<State>,
    intake: Arc<dyn Intake>,
    ticket: Ticket,
    _result: PhantomData<fn() -> R>,
}

/// What a job's handle and the pool share.
#[derive(Default)]
pub(crate) struct State {
    inner: Mutex<Inner>,
    done: Condvar,
}

#[derive(Default)]
struct Inner {
    word: Option<Word>,
    pid: Option<u32>,
    waker: Option<Waker>,
    /// Whoever waits for several, and which of them this is. Whoever did so before has handed the job on, and waits no more.
    watcher: Option<(Sender<usize>, usize)>,
    callbacks: Vec<Callback>,
}

impl<R: Value> Job<R> {
    pub(crate) fn new(state: Arc<State>, intake: Arc<dyn Intake>, ticket: Ticket) -> Job<R> {
        Job { state, intake, ticket, _result: PhantomData }
    }

    fn logs(&self) -> impl Fn() -> Option<Arc<Path>> + use<'_, R> {
        || self.intake.logs()
    }

    /// Waits for the result.
    ///
    /// # Errors
    /// What became of the call instead.
    pub fn join(self) -> Result<R, TaskError> {
        let inner = self.state.lock();
        let inner = self
            .state
            .done
            .wait_while(inner, |inner| inner.word.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        result(inner.word.as_ref(), self.logs())
    }

    /// Waits for the result, so long at most; `None` if it has none by then, and the call goes on.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # use brigade::sync::Event;
    /// # use std::time::Duration;
    /// # let (pool, event) = (brigade::Pool::builder().procs(1).build()?, Event::new()?);
    /// let job = pool.submit(|event: Event| event.wait(), event.clone());
    /// assert_eq!(job.join_timeout(Duration::from_millis(1)), None);
    /// assert!(!job.is_done());
    /// event.set();
    /// assert_eq!(job.join_timeout(Duration::from_secs(60)), Some(Ok(())));
    /// assert_eq!(job.try_join(), Some(Ok(())));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// What became of the call instead.
    pub fn join_timeout(&self, patience: Duration) -> Option<Result<R, TaskError>> {
        let until = Deadline::after(patience);
        let mut inner = self.state.lock();
        while inner.word.is_none() {
            let left = until.left()?;
            inner = self.state.done.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Some(result(inner.word.as_ref(), self.logs()))
    }

    /// The result, if it is there.
    ///
    /// # Errors
    /// What became of the call instead.
    #[must_use]
    pub fn try_join(&self) -> Option<Result<R, TaskError>> {
        let inner = self.state.lock();
        inner.word.is_some().then(|| result(inner.word.as_ref(), self.logs()))
    }

    /// Whether it has a result, or never will have one.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state.lock().word.is_some()
    }

    /// The process that it was lent to, or the last of these; `None` as long as it waits here. Short calls are lent some ahead, so
    /// it may have others before it there.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # use std::time::Duration;
    /// # let pool = brigade::Pool::builder().procs(1).build()?;
    /// let job = pool.submit(|_: ()| std::process::id(), ());
    /// let told = job.join_timeout(Duration::from_secs(60)).expect("within a minute");
    /// assert_eq!(job.pid(), told.ok());
    /// # Ok::<(), brigade::BuildError>(())
    /// ```
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.state.lock().pid
    }

    /// Its number in its pool: of two jobs the one that was submitted later has the higher one.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # let pool = brigade::Pool::builder().procs(1).build()?;
    /// let [first, second] = [1, 2].map(|n| pool.submit(|n: u32| n, n));
    /// assert!(first.id() < second.id());
    /// # Ok::<(), brigade::BuildError>(())
    /// ```
    #[must_use]
    pub fn id(&self) -> u64 {
        self.ticket.0
    }

    /// Its result is wanted no more: from now on that is [`TaskError::Cancelled`]. False if it has one already, or another
    /// error; that stands then.
    ///
    /// A call that waits is never begun. One that runs ends with its worker, which is killed and replaced at once; that is
    /// held against nobody, and whatever else that worker was to do is done by others.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # use std::{thread, time::Duration};
    /// # let pool = brigade::Pool::builder().procs(1).build()?;
    /// let job = pool.submit(thread::sleep, Duration::from_secs(3_600));
    /// assert!(job.cancel());
    /// assert_eq!(job.join(), Err(brigade::TaskError::Cancelled));
    /// # Ok::<(), brigade::BuildError>(())
    /// ```
    pub fn cancel(&self) -> bool {
        let is_first = self.state.cancel();
        if is_first {
            self.intake.cancel(self.ticket, true);
        }
        is_first
    }

    /// Calls this once with the result, on a thread of the pool that calls back and does nothing else, one after the other; at
    /// once, here, if it is there already.
    /// A panic in it is printed and harms nobody. A [`ThreadExecutor`](crate::ThreadExecutor) calls it on the thread that ran
    /// the call, or cancelled it.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # let pool = brigade::Pool::builder().procs(1).build()?;
    /// let (sender, results) = std::sync::mpsc::channel();
    /// let job = pool.submit(|n: u32| n + 1, 41);
    /// job.on_done(move |told| drop(sender.send(told)));
    /// assert_eq!(results.recv()?, Ok(42));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_done(&self, callback: impl FnOnce(Result<R, TaskError>) + Send + 'static) {
        let (state, logs) = (Arc::clone(&self.state), self.intake.logs());
        let call: Callback = Box::new(move || {
            let told = result(state.lock().word.as_ref(), || logs.clone());
            callback(told);
        });
        let mut inner = self.state.lock();
        if inner.word.is_none() {
            return inner.callbacks.push(call);
        }
        drop(inner);
        call_back(call);
    }
}

impl<R: Value> Future for Job<R> {
    type Output = Result<R, TaskError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut inner = self.state.lock();
        if inner.word.is_some() {
            return Poll::Ready(result(inner.word.as_ref(), self.logs()));
        }
        inner.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl<R> fmt::Debug for Job<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.state.lock();
        f.debug_struct("Job")
            .field("id", &self.ticket.0)
            .field("done", &inner.word.is_some())
            .field("pid", &inner.pid)
            .finish()
    }
}

/// When [`wait`] returns.
///
/// ```
/// # brigade::test_entry!(init); init();
/// use brigade::{Until, wait};
/// use std::thread;
/// use std::time::Duration;
///
/// let pool = brigade::Pool::builder().procs(2).build()?;
/// let naps = [Duration::from_secs(3_600), Duration::ZERO];
/// let (done, others) = wait(naps.map(|nap| pool.submit(thread::sleep, nap)), Until::FirstCompleted, None);
/// assert_eq!((done.len(), others.len()), (1, 1));
/// others.into_iter().for_each(|job| assert!(job.cancel()));
/// # Ok::<(), brigade::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Until {
    /// One is done.
    FirstCompleted,
    /// One has failed, or all are done.
    FirstException,
    /// All are done.
    AllCompleted,
}

/// Jobs as they get done, whatever the order they were handed in.
///
/// ```
/// # brigade::test_entry!(init); init();
/// # fn double(n: u32) -> u32 { 2 * n }
/// # let pool = brigade::Pool::builder().procs(2).build()?;
/// let jobs = (0..4).map(|n| pool.submit(double, n));
/// let mut doubled: Vec<_> = brigade::as_completed(jobs).flat_map(|job| job.join()).collect();
/// doubled.sort(); // whoever was first
/// assert_eq!(doubled, [0, 2, 4, 6]);
/// # Ok::<(), brigade::BuildError>(())
/// ```
pub fn as_completed<R: Value>(jobs: impl IntoIterator<Item = Job<R>>) -> AsCompleted<R> {
    let (sender, done) = channel();
    let jobs: Vec<Option<Job<R>>> = jobs.into_iter().map(Some).collect();
    for (at, job) in jobs.iter().flatten().enumerate() {
        job.state.watch(&sender, at);
    }
    let left = jobs.len();
    AsCompleted { jobs, done, left }
}

/// Waits until what `until` says, or so long, and parts the jobs into those that are done and the others, each in the order
/// they were handed in.
///
/// ```
/// # brigade::test_entry!(init); init();
/// # use brigade::{Until, wait};
/// # let pool = brigade::Pool::builder().procs(2).build()?;
/// let jobs = [1, 0, 2].map(|n| pool.submit(|n: u32| 6 / n, n));
/// let (done, others) = wait(jobs, Until::AllCompleted, None);
/// assert!(others.is_empty());
/// assert_eq!(done.into_iter().map(|job| job.join().ok()).collect::<Vec<_>>(), [Some(6), None, Some(3)]);
/// # Ok::<(), brigade::BuildError>(())
/// ```
pub fn wait<R: Value>(
    jobs: impl IntoIterator<Item = Job<R>>,
    until: Until,
    patience: Option<Duration>,
) -> (Vec<Job<R>>, Vec<Job<R>>) {
    let deadline = patience.map(Deadline::after);
    let jobs: Vec<Job<R>> = jobs.into_iter().collect();
    let (sender, done) = channel();
    jobs.iter().enumerate().for_each(|(at, job)| job.state.watch(&sender, at));
    let mut count = 0;
    while count < jobs.len() {
        let next = match deadline {
            Some(deadline) => done.recv_timeout(deadline.left().unwrap_or_default()).ok(),
            None => done.recv().ok(),
        };
        let Some(at) = next else { break };
        count += 1;
        let failed = || matches!(jobs[at].try_join(), Some(Err(_)));
        match until {
            Until::FirstCompleted => break,
            Until::FirstException if failed() => break,
            Until::FirstException | Until::AllCompleted => {}
        }
    }
    jobs.into_iter().partition(Job::is_done)
}

/// The iterator of [`as_completed`].
///
/// ```
/// # brigade::test_entry!(init); init();
/// use brigade::{AsCompleted, as_completed};
/// use std::thread;
/// use std::time::Duration;
///
/// let pool = brigade::Pool::builder().procs(2).build()?;
/// let naps = [Duration::from_secs(3_600), Duration::ZERO];
/// let mut jobs: AsCompleted<()> = as_completed(naps.map(|nap| pool.submit(thread::sleep, nap)));
/// assert_eq!(jobs.next().map(|job| job.join()), Some(Ok(())));
/// assert_eq!(jobs.size_hint(), (1, Some(1)));
/// pool.kill_workers();
/// assert_eq!(jobs.next().map(|job| job.join()), Some(Err(brigade::TaskError::Shutdown)));
/// # Ok::<(), brigade::BuildError>(())
/// ```
#[derive(Debug)]
pub struct AsCompleted<R> {
    jobs: Vec<Option<Job<R>>>,
    done: Receiver<usize>,
    left: usize,
}

impl<R> AsCompleted<R> {
    /// The next one that is done, if there is one within that time: `None` if there is none by then, and it may be asked again;
    /// `Some(None)` when all were given.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # use brigade::{as_completed, sync::Event};
    /// # use std::time::Duration;
    /// # let (pool, event) = (brigade::Pool::builder().procs(1).build()?, Event::new()?);
    /// let mut jobs = as_completed([pool.submit(|event: Event| event.wait(), event.clone())]);
    /// assert!(jobs.next_timeout(Duration::from_millis(1)).is_none(), "it still waits");
    /// event.set();
    /// let done = jobs.next_timeout(Duration::from_secs(60)).expect("within a minute");
    /// assert_eq!(done.map(|job| job.join()), Some(Ok(())));
    /// assert!(matches!(jobs.next_timeout(Duration::ZERO), Some(None)), "that was all");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn next_timeout(&mut self, patience: Duration) -> Option<Option<Job<R>>> {
        if self.left == 0 {
            return Some(None);
        }
        match self.done.recv_timeout(patience) {
            Ok(at) => {
                self.left -= 1;
                Some(self.jobs[at].take())
            }
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(None),
        }
    }
}

impl<R> Iterator for AsCompleted<R> {
    type Item = Job<R>;

    fn next(&mut self) -> Option<Job<R>> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        self.jobs[self.done.recv().ok()?].take()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides that there is no result, unless there is one. The pool comes later, and calls back.
    fn cancel(&self) -> bool {
        let mut inner = self.lock();
        if inner.word.is_some() {
            return false;
        }
        inner.word = Some(Word::Lost(TaskError::Cancelled));
        let watcher = inner.watcher.take();
        drop(inner);
        self.tell(watcher);
        true
    }

    fn tell(&self, watcher: Option<(Sender<usize>, usize)>) {
        self.done.notify_all();
        if let Some((sender, at)) = watcher {
            // Whoever has stopped listening does not want to know.
            let _ = sender.send(at);
        }
    }

    fn watch(&self, sender: &Sender<usize>, at: usize) {
        let mut inner = self.lock();
        match inner.word {
            Some(_) => _ = sender.send(at),
            None => inner.watcher = Some((sender.clone(), at)),
        }
    }
}

impl Sink for State {
    fn settle(&self, _: Range<u64>, word: Word) -> Afterwards {
        let mut inner = self.lock();
        // Whoever has cancelled it was told that this is final.
        inner.word.get_or_insert(word);
        let (waker, watcher) = (inner.waker.take(), inner.watcher.take());
        let callbacks = std::mem::take(&mut inner.callbacks);
        drop(inner);
        self.tell(watcher);
        Afterwards { waker, callbacks }
    }

    fn lent(&self, pid: u32) {
        self.lock().pid = Some(pid);
    }
}

/// What a single call brought.
fn result<R: Value>(word: Option<&Word>, logs: impl Fn() -> Option<Arc<Path>>) -> Result<R, TaskError> {
    match word {
        Some(Word::Value(bytes, _, by)) => {
            let origin = || by.origin(logs().as_deref());
            match call::results(bytes).next() {
                Some(one) => call::result(one, origin),
                None => Err(call::nothing(origin())),
            }
        }
        Some(Word::Lost(error)) => Err(error.clone()),
        None => unreachable!("only of a job that is done"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::TryRecvError;

    #[test]
    fn a_job_remembers_its_last_watcher_alone() {
        let (state, [(former, forgotten), (last, told)]) = (State::default(), [channel(), channel()]);
        state.watch(&former, 1);
        drop(former);
        state.watch(&last, 2);
        assert_eq!(forgotten.try_recv(), Err(TryRecvError::Disconnected), "nobody can tell it anything");
        assert!(state.cancel());
        assert_eq!(told.try_recv(), Ok(2));
    }
}
