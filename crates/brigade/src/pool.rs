//! The pool: how it is built, and how it ends.

mod calls;

use crate::call::Value;
use crate::desk::Desk;
use crate::error::BuildError;
use crate::hooks::{Hooks, Initialized, hook};
use crate::host;
use crate::init;
use crate::share;
use brigade_core::{Backoff, Intensity, Policy, Schedule, Timeout};
use brigade_os::page::THREADS_MAX;
use brigade_supervisor::remote;
use brigade_supervisor::run::{Host, Memory, Plan, StartMethod};
use brigade_supervisor::rundir::{RUNS_KEPT, RunDir, Runs};
use std::env;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Worker processes that run functions of this program, and survive whatever these do to them.
///
/// Dropping a pool waits for what it has been handed, as that of Python's `Executor` does; [`Pool::kill_workers`] does not. A pool in
/// a `static` is never dropped, and neither is any by [`std::process::exit`]: what it has not done by then ends with the program.
///
/// ```
/// # brigade::test_entry!(init); init();
/// fn square(n: u64) -> u64 { n * n }
///
/// let pool = brigade::Pool::builder().procs(4).build()?;
/// let squares: Result<Vec<u64>, _> = pool.map(square, 0..10).collect();
/// assert_eq!(squares?, [0, 1, 4, 9, 16, 25, 36, 49, 64, 81]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Pool {
    pub(crate) desk: Arc<Desk>,
    thread: Option<JoinHandle<Vec<JoinHandle<()>>>>,
}

/// What a pool is to be like.
///
/// ```
/// # brigade::test_entry!(init); init();
/// use brigade::{Builder, Pool};
/// use std::time::Duration;
///
/// let builder: Builder = Pool::builder().procs(2).attempts(1).task_timeout(Duration::from_secs(60));
/// let (one, other) = (builder.clone().build()?, builder.build()?);
/// let jobs = [&one, &other].map(|pool| pool.submit(|n: u32| n + 1, 41));
/// assert!(jobs.into_iter().all(|job| job.join() == Ok(42)));
/// # Ok::<(), brigade::BuildError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is there before it is built"]
pub struct Builder {
    policy: Policy,
    start_method: Option<StartMethod>,
    memory: Memory,
    state_dir: Option<PathBuf>,
    worker: Option<PathBuf>,
    pub(crate) hooks: Hooks,
    backtraces: bool,
}

/// A run of the command may wait for fifteen seconds: nobody waits for a single one of its tasks.
const BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(100),
    max: Duration::from_millis(500),
    reset: Duration::from_secs(30),
};

impl Default for Builder {
    fn default() -> Builder {
        Builder {
            policy: Policy { procs: share::own(), hold: true, backoff: BACKOFF, ..Policy::default() },
            start_method: None,
            memory: Memory::default(),
            state_dir: None,
            worker: None,
            hooks: Hooks::default(),
            backtraces: false,
        }
    }
}

impl Builder {
    /// How many workers; as many as this process may use processors, if not said. Each is told its share of these, as
    /// `OMP_NUM_THREADS` and what else libraries of threads read, unless that is set; a pool in it has as many workers.
    pub fn procs(mut self, procs: u32) -> Builder {
        self.policy.procs = procs;
        self
    }

    /// How many workers may die of a call before it is given up, the first included; 3 if not said. Where 64 have died of parts
    /// of one chunk and nothing at all was done meanwhile, it is the pool that ends.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # use brigade::Pool;
    /// use brigade::{Attempt, Exit, FailedAttempt, Mishap, TaskError, WorkerId};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// # let builder = Pool::builder().state_dir(dir.path());
    /// let pool = builder.procs(1).attempts(2).build()?;
    /// let exit = |code: i32| -> u32 { std::process::exit(code) };
    /// let Err(TaskError::Quarantined { attempts, .. }) = pool.submit(exit, 3).join() else {
    ///     panic!("it does not return");
    /// };
    /// let [_, FailedAttempt { attempt, worker, end }] = &attempts[..] else { panic!("{attempts:?}") };
    /// assert_eq!((*attempt, end), (Attempt(2), &Mishap::Crashed(Exit::Code(3))));
    /// let WorkerId { incarnation, .. } = worker;
    /// assert_eq!(*incarnation, 2, "of the one place there is");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn attempts(mut self, attempts: u32) -> Builder {
        self.policy.attempts_max = attempts;
        self
    }

    /// How long a call with one item may take: its worker is ended then, and that was an attempt. For ever, if not said.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # use brigade::{Pool, TaskError};
    /// # use std::{thread, time::Duration};
    /// # let dir = tempfile::tempdir()?;
    /// # let builder = Pool::builder().state_dir(dir.path());
    /// let pool = builder.procs(1).attempts(1).task_timeout(Duration::from_millis(50)).build()?;
    /// let told = pool.submit(thread::sleep, Duration::from_secs(3_600)).join();
    /// assert!(matches!(told, Err(TaskError::TimedOut { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn task_timeout(mut self, timeout: Duration) -> Builder {
        self.policy.task_timeout = Some(Timeout::After(timeout));
        self
    }

    /// How many bytes of memory a worker may have: between two calls it is replaced, in one it is killed. As many as there
    /// are, if not said.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # use brigade::{Mishap, Pool, TaskError};
    /// # use std::{hint::black_box, thread, time::Duration};
    /// # let dir = tempfile::tempdir()?;
    /// # let builder = Pool::builder().state_dir(dir.path());
    /// fn devour(bytes: usize) {
    ///     let _food = black_box(vec![1_u8; bytes]);
    ///     thread::sleep(Duration::from_secs(3_600));
    /// }
    ///
    /// let pool = builder.procs(1).attempts(1).memory_limit(64 << 20).build()?;
    /// match pool.submit(devour, 128 << 20).join() {
    ///     Err(TaskError::Quarantined { attempts, .. }) => assert_eq!(attempts[0].end, Mishap::OutOfMemory),
    ///     other => panic!("{other:?}"),
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn memory_limit(mut self, bytes: u64) -> Builder {
        self.memory.rss_bytes_max = Some(bytes);
        self
    }

    /// After how many calls a worker is replaced, a tenth more or less; never, if not said.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # use brigade::Pool;
    /// let pool = Pool::builder().procs(1).max_tasks_per_child(1).build()?;
    /// let pid = |_: u32| std::process::id();
    /// assert_ne!(pool.submit(pid, 1).join(), pool.submit(pid, 2).join());
    /// # Ok::<(), brigade::BuildError>(())
    /// ```
    pub fn max_tasks_per_child(mut self, tasks: u64) -> Builder {
        self.policy.tasks_per_worker_max = Some(tasks);
        self
    }

    /// How many calls a worker works on at the same time, each on a thread of its own, 64 at most; 1, if not said. It is for what
    /// waits more than it computes. A chunk of a map is one call. Each keeps its own deadline, its own panic and its own
    /// attempts: one that is past its time, or is cancelled, costs the others nothing but that they begin anew in another
    /// worker. Where one takes the process along while others run beside it nobody knows which it was, so each of them is
    /// tried again with a worker for itself, and only that is an attempt. Those that wait for each other must not wait for ever
    /// then. [`initializer`](Builder::initializer) and [`finalizer`](Builder::finalizer) are called once for each worker, on its
    /// first thread; each thread has as deep a stack as that. The [`memory_limit`](Builder::memory_limit) is that of the
    /// worker: a call is blamed for it only where it had the worker for itself. A [`WorkerPool`](crate::WorkerPool) has one
    /// thread in each.
    ///
    /// A worker that is to make room, for its number of calls, its memory, or since a call that waits in it was cancelled, begins
    /// nothing new and is replaced when the longest call that it runs has ended: its other threads have nothing to do until then.
    /// So give calls a [`task_timeout`](Builder::task_timeout), and a pool more than one worker.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # use brigade::Pool;
    /// # use brigade::sync::Barrier;
    /// let pool = Pool::builder().procs(1).threads_per_worker(3).build()?;
    /// let meet = |barrier: Barrier| barrier.wait().is_ok(); // takes three, at the same time
    /// let barrier = Barrier::new(3)?;
    /// let jobs = [(); 3].map(|()| pool.submit(meet, barrier.clone()));
    /// assert!(jobs.into_iter().all(|job| job.join() == Ok(true)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn threads_per_worker(mut self, threads: u32) -> Builder {
        self.policy.threads = threads;
        self
    }

    /// Which worker a call goes to; whoever is free takes the next one, if not said. Under all but [`Schedule::Dynamic`] calls
    /// that are handed in together are shared out at once, and [`Schedule::Weighted`] asks [`Map::weigh`](crate::Map::weigh)
    /// for their weights. Each has a name, for settings that are texts.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # use brigade::{Pool, Schedule};
    /// let pool = Pool::builder().procs(2).schedule(Schedule::Static).build()?;
    /// let pid = |_: u32| std::process::id();
    /// let pids: Vec<u32> = pool.map(pid, 0..8).chunk_size(1).flatten().collect();
    /// assert_eq!(pool.loads().iter().map(|load| load.calls).collect::<Vec<_>>(), [4, 4]);
    /// assert_eq!(pids.len(), 8);
    /// # Ok::<(), brigade::BuildError>(())
    /// ```
    ///
    /// ```
    /// use brigade::{Schedule, UnknownSchedule};
    ///
    /// assert_eq!("stealing".parse(), Ok(Schedule::Stealing));
    /// let told: UnknownSchedule = "random".parse::<Schedule>().expect_err("there is none");
    /// let words = "no schedule is called \"random\": there are dynamic, static, round-robin, weighted, stealing";
    /// assert_eq!(told.to_string(), words);
    /// ```
    pub fn schedule(mut self, schedule: Schedule) -> Builder {
        self.policy.schedule = schedule;
        self
    }

    /// How workers are born; if not said, as `BRIGADE_START_METHOD` in the environment has it, `fork` (from a template) or `spawn`,
    /// and forked without that.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # use brigade::{Pool, StartMethod};
    /// let pool = Pool::builder().procs(1).start_method(StartMethod::Spawn).build()?;
    /// assert_eq!(pool.submit(|n: u32| n + 1, 41).join(), Ok(42));
    /// # Ok::<(), brigade::BuildError>(())
    /// ```
    pub fn start_method(mut self, method: StartMethod) -> Builder {
        self.start_method = Some(method);
        self
    }

    /// What each worker calls once, before its first call. Whoever returns an error, panics or ends with exit code 78 ends the
    /// pool: [`TaskError::Pool`](crate::TaskError::Pool) has its words. One that dies of anything else is tried again, a few times.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # use brigade::Pool;
    /// use std::sync::OnceLock;
    ///
    /// static SQUARES: OnceLock<Vec<u64>> = OnceLock::new();
    ///
    /// fn prepare(most: u64) {
    ///     SQUARES.get_or_init(|| (0..most).map(|n| n * n).collect());
    /// }
    ///
    /// let pool = Pool::builder().procs(2).initializer(prepare, 10).build()?;
    /// let look_up = |n: usize| SQUARES.get().map(|squares| squares[n]);
    /// assert_eq!(pool.submit(look_up, 7).join(), Ok(Some(49)));
    /// # Ok::<(), brigade::BuildError>(())
    /// ```
    pub fn initializer<A: Value, R: Initialized>(mut self, function: fn(A) -> R, argument: A) -> Builder {
        self.hooks.before = Some(hook(function, &argument));
        self
    }

    /// What each worker calls once when it is told to end, or to make room for another: within the
    /// [`grace`](Builder::grace). Not where it dies of something else, or is killed.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # use brigade::{Pool, Queue};
    /// fn say_goodbye(words: Queue<String>) {
    ///     words.put(&"goodbye".to_owned()).expect("it is open");
    /// }
    ///
    /// let words = Queue::new()?;
    /// let pool = Pool::builder().procs(1).finalizer(say_goodbye, words.clone()).build()?;
    /// assert_eq!(pool.submit(|n: u32| n + 1, 41).join()?, 42);
    /// pool.join();
    /// assert_eq!(words.try_get()?, "goodbye");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn finalizer<A: Value, R: Initialized>(mut self, function: fn(A) -> R, argument: A) -> Builder {
        self.hooks.after = Some(hook(function, &argument));
        self
    }

    /// How long a worker may take to be born, its [`initializer`](Builder::initializer) included, before it is killed and tried
    /// again; 10 seconds, if not said.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # use brigade::Pool;
    /// # use std::{thread, time::Duration};
    /// let slow = Pool::builder().procs(1).initializer(thread::sleep, Duration::from_millis(20));
    /// let pool = slow.birth_timeout(Duration::from_secs(60)).build()?;
    /// assert_eq!(pool.submit(|n: u32| n + 1, 41).join(), Ok(42));
    /// # Ok::<(), brigade::BuildError>(())
    /// ```
    pub fn birth_timeout(mut self, timeout: Duration) -> Builder {
        self.policy.birth_timeout = timeout;
        self
    }

    /// How long a worker may take to end when it is told to, before it is killed; 5 seconds, if not said.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # use brigade::Pool;
    /// # use std::{thread, time::Duration};
    /// let sleepy = Pool::builder().procs(1).finalizer(thread::sleep, Duration::from_secs(3_600));
    /// let pool = sleepy.grace(Duration::from_millis(10)).build()?;
    /// assert_eq!(pool.submit(|n: u32| n + 1, 41).join(), Ok(42));
    /// pool.join(); // and not in an hour
    /// # Ok::<(), brigade::BuildError>(())
    /// ```
    pub fn grace(mut self, grace: Duration) -> Builder {
        self.policy.grace = grace;
        self
    }

    /// How many deaths of the workers of one place are borne `within` that time, before the pool gives up: as `--max-restarts` of
    /// the command, and the intensity and period of an OTP supervisor. Only deaths before a worker is ready count, and those in
    /// a call when it has finished none yet. 5 within 10 seconds, if not said; never fewer than the
    /// [`attempts`](Builder::attempts) of a call, so that a call that kills is given up before its pool is.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # use brigade::{Pool, TaskError};
    /// # use std::time::Duration;
    /// # let dir = tempfile::tempdir()?;
    /// # let builder = Pool::builder().state_dir(dir.path());
    /// let exit = |code: i32| -> () { std::process::exit(code) };
    /// let builder = builder.procs(1).attempts(1).max_restarts(1, Duration::from_secs(60));
    /// let pool = builder.initializer(exit, 3).build()?;
    /// let told = pool.submit(|n: u32| n, 1).join().expect_err("two were born, and that is one too many");
    /// assert!(told.to_string().contains("the initializer ended the worker: exit code 3"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_restarts(mut self, restarts: u32, within: Duration) -> Builder {
        self.policy.intensity = Intensity { restarts, within };
        self
    }

    /// How long the place of a dead worker stays empty, where its death counts for [`max_restarts`](Builder::max_restarts): not
    /// at all after the first one, then `first`, and twice as long each time up to `max`, a quarter more or less. Whoever
    /// finishes a call begins anew. 100 and 500 milliseconds, if not said.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # use brigade::Pool;
    /// # use std::time::Duration;
    /// # let dir = tempfile::tempdir()?;
    /// # let builder = Pool::builder().state_dir(dir.path());
    /// let ms = Duration::from_millis;
    /// let pool = builder.procs(1).attempts(50).backoff(ms(1), ms(1)).build()?;
    /// let exit = |code: i32| -> u32 { std::process::exit(code) };
    /// assert!(pool.submit(exit, 3).join().is_err(), "after fifty deaths, in no time");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn backoff(mut self, first: Duration, max: Duration) -> Builder {
        (self.policy.backoff.first, self.policy.backoff.max) = (first, max);
        self
    }

    /// Where the run's directory is made, with the logs of the workers; in `XDG_RUNTIME_DIR` or the temporary directory, if
    /// not said. It is made, with its parents. A run that ended well leaves nothing in it.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # use brigade::Pool;
    /// let dir = tempfile::tempdir()?;
    /// let pool = Pool::builder().procs(1).state_dir(dir.path()).build()?;
    /// assert_ne!(dir.path().read_dir()?.count(), 0);
    /// pool.join();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn state_dir(mut self, dir: impl Into<PathBuf>) -> Builder {
        self.state_dir = Some(dir.into());
        self
    }

    /// Whether a panic brings the places it was called from, as it does wherever `RUST_BACKTRACE` asks for that; no, if not said.
    /// The first in each worker takes some tenths of a second where the program has its debug symbols.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # use brigade::{Pool, TaskError};
    /// let pool = Pool::builder().procs(1).backtraces(true).build()?;
    /// match pool.submit(|n: u32| 1 / n, 0).join() {
    ///     Err(TaskError::Panicked { backtrace, .. }) => assert!(backtrace.lines().count() > 1),
    ///     other => panic!("{other:?}"),
    /// }
    /// # Ok::<(), brigade::BuildError>(())
    /// ```
    pub fn backtraces(mut self, wanted: bool) -> Builder {
        self.backtraces = wanted;
        self
    }

    /// One call at a time, and nothing lent ahead of the work: what lay in a worker behind a long call is taken back at the price of its life, and this
    /// one is not to lose what it keeps for that.
    pub(crate) fn one_by_one(mut self) -> Builder {
        (self.policy.lookahead.tasks, self.policy.threads) = (0, 1);
        self
    }

    /// Has another program for workers, one whose `main` is [`brigade::worker`](crate::worker); its tasks are called by name, with
    /// [`Pool::task`]. This program, if not said.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # use brigade::Pool;
    /// let told = Pool::builder().worker("./no-such-worker").build().expect_err("there is none");
    /// assert!(told.to_string().contains("no-such-worker"));
    /// ```
    pub fn worker(mut self, program: impl Into<PathBuf>) -> Builder {
        self.worker = Some(program.into());
        self
    }

    /// Starts the template, and with it the workers. The soft limit of open files of this process is raised to its hard one,
    /// and its allocator keeps blocks of up to 4 MiB; workers have the limit as it was.
    ///
    /// # Errors
    /// If [`init`](crate::init) was not called, a number makes no sense, pools are nested too deep, or the system refuses.
    pub fn build(self) -> Result<Pool, BuildError> {
        let policy = self.policy()?;
        let Builder { start_method, memory, state_dir, worker: other, hooks, backtraces, .. } = self;
        let unfit = |(what, source)| BuildError::Hook { what, source };
        let letter = hooks.bytes(other.as_deref()).map_err(unfit)?;
        let (worker, entry) = match &other {
            Some(program) => (program.clone(), Vec::new()),
            None => init::entry()?,
        };
        let asked = backtraces.then(|| ("RUST_LIB_BACKTRACE".to_owned(), "1".to_owned()));
        let (procs, threads) = (policy.procs, policy.threads);
        let environment = [init::depth()?].into_iter().chain(asked).chain(share::of_each(procs)).collect();
        let plan = Plan {
            policy,
            worker,
            entry,
            environment,
            letter: letter.into(),
            host: Host::Program,
            start_method: start_method.map_or_else(init::start_method, Ok).map_err(BuildError::start)?,
            daemon: true,
            pace: Duration::ZERO,
            chaos: None,
            journal: None,
            memory,
        };
        let state = state_dir.unwrap_or_else(default_state_dir);
        let dir = RunDir::create(&state, None, None).map_err(BuildError::start)?;
        let (remote, line) = remote::line();
        let desk = Arc::new(Desk::new(remote, (procs, threads), other, dir.logs()));
        let (ready, begun) = channel();
        let loop_desk = Arc::clone(&desk);
        let body = move || {
            let callers = host::hold(plan, loop_desk, dir, line, ready);
            // What their arguments carry was to be there for every worker.
            drop(hooks);
            Runs::prune(&state, RUNS_KEPT);
            callers
        };
        // The template, and with it all workers, are bound to this thread's life.
        let thread =
            thread::Builder::new().name("brigade-loop".into()).spawn(body).map_err(BuildError::start)?;
        match begun.recv() {
            Ok(Ok(())) => Ok(Pool { desk, thread: Some(thread) }),
            Ok(Err(error)) => {
                drop(thread.join());
                Err(BuildError::start(error))
            }
            Err(_) => Err(BuildError::start("its loop panicked: this is a fault of brigade")),
        }
    }
}

impl Builder {
    /// The numbers, if they make sense.
    fn policy(&self) -> Result<Policy, BuildError> {
        let at_least_one = |what, given: u64| match given {
            0 => Err(BuildError::Setting { what, given, wanted: "at least 1" }),
            _ => Ok(()),
        };
        let mut policy = self.policy.clone();
        at_least_one("procs", policy.procs.into())?;
        at_least_one("attempts", policy.attempts_max.into())?;
        if !(1..=THREADS_MAX).contains(&policy.threads) {
            let (what, given) = ("threads_per_worker", policy.threads.into());
            return Err(BuildError::Setting { what, given, wanted: "from 1 to 64" });
        }
        at_least_one("max_tasks_per_child", policy.tasks_per_worker_max.unwrap_or(1))?;
        at_least_one("memory_limit", self.memory.rss_bytes_max.unwrap_or(1))?;
        let some_time = |what, given: Duration| match given.is_zero() {
            true => Err(BuildError::Setting { what, given: 0, wanted: "more than no time at all" }),
            false => Ok(()),
        };
        some_time("birth_timeout", policy.birth_timeout)?;
        if let Some(Timeout::After(timeout)) = policy.task_timeout {
            some_time("task_timeout", timeout)?;
        }
        some_time("the time of max_restarts", policy.intensity.within)?;
        some_time("the first backoff", policy.backoff.first)?;
        // A call dies beside others once, and then as often alone.
        let deaths = policy.attempts_max.saturating_add(u32::from(policy.threads > 1));
        policy.intensity.restarts = policy.intensity.restarts.max(deaths);
        if self.hooks.before.is_some() {
            // One that never comes back in time must not be tried for ever.
            let once = policy.birth_timeout.saturating_add(policy.backoff.max);
            let all = once.saturating_mul(policy.intensity.restarts.saturating_add(1));
            policy.intensity.within = policy.intensity.within.saturating_add(all);
        }
        Ok(policy)
    }
}

fn default_state_dir() -> PathBuf {
    let home = env::var_os("XDG_RUNTIME_DIR").map_or_else(env::temp_dir, PathBuf::from);
    home.join(format!("brigade-{}", brigade_os::limits::user()))
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("procs", &self.desk.procs()).finish_non_exhaustive()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.desk.close();
        // A callback may own the pool, or a future that is woken: nobody waits for the own thread.
        let is_other = |it: &JoinHandle<_>| it.thread().id() != thread::current().id();
        let callers = self.thread.take().filter(is_other).and_then(|thread| thread.join().ok());
        let is_other = |it: &JoinHandle<()>| it.thread().id() != thread::current().id();
        callers.into_iter().flatten().filter(is_other).for_each(|caller| drop(caller.join()));
    }
}
