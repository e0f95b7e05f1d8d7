//! Processes, one by one, as Python's `Process`.
//!
//! ```text
//! start ─▶ errand: a sealed memfd with name, function, argument
//!   │  a packet: errand, stdout, stderr, directory, what the argument carries      nursery.rs
//!   ▼
//! template (one thread) ── clone(CLONE_PARENT) ──▶ child: a child of the program itself
//!                                                    │ fork: calls the function
//!                                                    └ spawn: executes the program anew, which calls it       child.rs
//! ```

pub(crate) mod child;
mod nursery;

use crate::call;
use crate::error::{BuildError, TaskError, one_line};
use crate::init;
use crate::{StartMethod, Value};
use brigade_os::Body;
use brigade_wire::Exit;
use child::Errand;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::Termination;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A function of this program that runs in a process of its own, a child of this one.
///
/// It writes to this process's stdout and stderr, its stdin is `/dev/null`, and it stands in its directory and process group, so that
/// Ctrl-C and Ctrl-Z of a terminal reach both. Its environment is that of the first start of any process. Of this one's open
/// files it has none, and signals are as at the start of a program.
///
/// Dropping the handle changes nothing. When this process returns from `main`, panics there or calls `exit`, daemonic children
/// are ended (SIGTERM, and SIGKILL a second later) and others waited for. When it is killed, the kernel kills the daemonic
/// ones, and the others go on to their end. A child that has ended is reaped when somebody asks for it, at the latest some
/// starts later; if this program was told to ignore SIGCHLD, it does so no more after the first start.
///
/// ```
/// # brigade::test_entry!(init); init();
/// use brigade::Process;
///
/// fn greet(name: String) {
///     println!("hello {name}");
/// }
///
/// let process = Process::builder(greet, "bob".to_owned()).start()?;
/// process.join();
/// assert_eq!(process.exit_code(), Some(0));
/// # Ok::<(), brigade::ProcessError>(())
/// ```
#[derive(Clone)]
pub struct Process {
    child: Arc<Child>,
}

struct Child {
    name: String,
    daemon: bool,
    body: Body,
    exit: Mutex<Option<Exit>>,
}

/// Why there is no process, or why it cannot be closed.
///
/// ```
/// // Nobody has called `brigade::init()` here.
/// let told = brigade::Process::builder(|n: u32| println!("{n}"), 1).start().unwrap_err();
/// assert!(told.to_string().starts_with("brigade::init() was not called"));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// Nobody has called [`init`](crate::init) in this program.
    #[error(transparent)]
    NoInit(BuildError),
    /// A process may start processes and pools, whose processes may do so, and so on; this one would be too deep.
    #[error("processes are nested {depth} deep already: {most} is the most")]
    TooDeep {
        /// How deep this process is.
        depth: u32,
        /// The most.
        most: u32,
    },
    /// The argument cannot be written as bytes, or the function is not of this program.
    #[error("process {} cannot be started: {error}", one_line(.name))]
    Call {
        /// Of the process.
        name: String,
        /// What is wrong.
        error: TaskError,
    },
    /// The system, or the machine's limits.
    #[error("process {} cannot be started: {}", one_line(.name), one_line(.source))]
    Start {
        /// Of the process.
        name: String,
        /// What the system says.
        source: io::Error,
    },
    /// This process has returned from `main` or called `exit`.
    #[error("process {} cannot be started: this program is at its end", one_line(.name))]
    AtExit {
        /// Of the process.
        name: String,
    },
    /// It is to be closed, and here it is again.
    #[error("process {} (pid {}) is still running: join, terminate or kill it before it is closed", one_line(.0.name()), .0.pid())]
    Running(Process),
}

/// What a process is to be like.
///
/// ```
/// # brigade::test_entry!(init); init();
/// use brigade::{Exit, Process, ProcessBuilder, StartMethod};
///
/// let builder: ProcessBuilder<u64, ()> = Process::builder(|n: u64| assert_eq!(n, 3), 3);
/// let process = builder.name("three").daemon(true).start_method(StartMethod::Spawn).start()?;
/// assert_eq!((process.name(), process.daemon()), ("three", true));
/// assert_eq!(process.join(), Exit::Code(0));
/// # Ok::<(), brigade::ProcessError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing runs before it is started"]
pub struct ProcessBuilder<A, T> {
    function: fn(A) -> T,
    argument: A,
    name: String,
    identity: String,
    daemon: bool,
    start_method: Option<StartMethod>,
}

impl<A: Value, T: Termination> ProcessBuilder<A, T> {
    /// What it is called; `Process-1`, `Process-2` … in the order of the builders if not said, and `Process-2:1` for the first
    /// one of the second.
    pub fn name(mut self, name: impl Into<String>) -> ProcessBuilder<A, T> {
        self.name = name.into();
        self
    }

    /// Whether it ends with this process, however that ends; as this one is, if not said, and no if this is the main one.
    pub fn daemon(mut self, daemon: bool) -> ProcessBuilder<A, T> {
        self.daemon = daemon;
        self
    }

    /// How it is born; if not said, as for a [pool](crate::Builder::start_method). Neither has anything of this process's memory: the template is this
    /// program as it stood in [`init`](crate::init).
    pub fn start_method(mut self, method: StartMethod) -> ProcessBuilder<A, T> {
        self.start_method = Some(method);
        self
    }

    /// Starts it. The first start also starts the template, and a thread that lives as long as this process.
    ///
    /// # Errors
    /// If [`init`](crate::init) was not called, the argument cannot be encoded, processes are nested too deep, this program is
    /// at its end, or the system refuses.
    pub fn start(self) -> Result<Process, ProcessError> {
        let ProcessBuilder { function, argument, name, identity, daemon, start_method } = self;
        let (call, kept) = match call::errand(function, &argument) {
            Ok(errand) => errand,
            Err(error) => return Err(ProcessError::Call { name, error }),
        };
        drop(argument);
        let wrong = |name: &str| {
            let name = name.to_owned();
            move |source| ProcessError::Start { name, source }
        };
        open_registry().map_err(wrong(&name))?;
        if children().are_closed {
            return Err(ProcessError::AtExit { name });
        }
        let errand = Errand::new(&name, identity, daemon).write(&call).map_err(wrong(&name))?;
        drop(call);
        let template = nursery::Entry::of_this_program()?;
        let method = start_method.map_or_else(init::start_method, Ok).map_err(wrong(&name))?;
        let body = nursery::bear(&template, &errand, &kept, daemon, method).map_err(wrong(&name))?;
        drop(kept);
        let child = Arc::new(Child { name, daemon, body, exit: Mutex::default() });
        children().register(Process { child })
    }
}

impl Process {
    /// A process that is to call this function, and to end with what that returns: nothing, an
    /// [`ExitCode`](std::process::ExitCode), or whatever else `main` may return. [`std::process::exit`] ends it at any place,
    /// with any code; a panic ends it with 101.
    ///
    /// `function` is a plain function or a closure that captures nothing.
    pub fn builder<A: Value, T: Termination>(function: fn(A) -> T, argument: A) -> ProcessBuilder<A, T> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let own = child::identity();
        let number = STARTED.fetch_add(1, Relaxed) + 1;
        let identity = if own.is_empty() { number.to_string() } else { format!("{own}:{number}") };
        ProcessBuilder {
            function,
            argument,
            name: format!("Process-{identity}"),
            identity,
            daemon: child::current_process().daemon(),
            start_method: None,
        }
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.child.name
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.body.pid().number()
    }

    /// Whether it ends with this process.
    #[must_use]
    pub fn daemon(&self) -> bool {
        self.child.daemon
    }

    /// Whether it has not ended yet.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.child.settle().is_none()
    }

    /// Waits for its end.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # use brigade::{Exit, Process};
    /// let process = Process::builder(|code: i32| std::process::exit(code), 3).start()?;
    /// assert_eq!(process.join(), Exit::Code(3));
    /// # Ok::<(), brigade::ProcessError>(())
    /// ```
    pub fn join(&self) -> Exit {
        let _ = self.child.body.await_end(None);
        self.child.take_exit()
    }

    /// Waits for its end, for so long at most; `None` if it is still running.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # use brigade::Process;
    /// # use std::{thread, time::Duration};
    /// let process = Process::builder(thread::sleep, Duration::from_secs(3_600)).daemon(true).start()?;
    /// assert_eq!(process.join_timeout(Duration::from_millis(1)), None);
    /// assert!(process.is_alive());
    /// # Ok::<(), brigade::ProcessError>(())
    /// ```
    #[must_use = "it may still be running"]
    pub fn join_timeout(&self, within: Duration) -> Option<Exit> {
        let _ = self.child.body.await_end(Some(within));
        self.child.settle()
    }

    /// What it ended with: its exit code, or the number of the signal that ended it, negative. `None` while it runs; 255 if
    /// somebody else in this program has taken its status.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # use brigade::Process;
    /// # use std::{thread, time::Duration};
    /// let process = Process::builder(thread::sleep, Duration::from_secs(3_600)).daemon(true).start()?;
    /// assert_eq!(process.exit_code(), None);
    /// process.kill();
    /// process.join();
    /// assert_eq!(process.exit_code(), Some(-9));
    /// # Ok::<(), brigade::ProcessError>(())
    /// ```
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        self.child.settle().map(|exit| match exit {
            Exit::Code(code) => code,
            Exit::Signal(signal) => -signal,
            Exit::Unknown => 255,
        })
    }

    /// Asks it to end, with SIGTERM, and wakes it if it is stopped. Its own children are not told. Does nothing if it has ended.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # use brigade::{Exit, Process};
    /// # use std::{thread, time::Duration};
    /// let process = Process::builder(thread::sleep, Duration::from_secs(3_600)).daemon(true).start()?;
    /// process.terminate();
    /// assert_eq!(process.join(), Exit::Signal(15));
    /// # Ok::<(), brigade::ProcessError>(())
    /// ```
    pub fn terminate(&self) {
        self.child.body.terminate();
    }

    /// Ends it, with SIGKILL. Its daemonic children end with it. Does nothing if it has ended.
    pub fn kill(&self) {
        self.child.body.kill_alone();
    }

    /// Readable when it has ended: a pidfd, for `poll`, `epoll` and the like, together with whatever else they wait for.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # use brigade::Process;
    /// # use std::{thread, time::Duration};
    /// let naps = [Duration::from_secs(3_600), Duration::ZERO];
    /// let [long, short] = naps.map(|nap| Process::builder(thread::sleep, nap).daemon(true).start());
    /// let (long, short) = (long?, short?);
    /// assert_eq!(brigade::connection::wait(&[long.sentinel(), short.sentinel()], None)?, [1]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn sentinel(&self) -> BorrowedFd<'_> {
        self.child.body.pidfd()
    }

    /// Lets go of it: what it holds here is freed with the last handle.
    ///
    /// ```compile_fail,E0382
    /// # let process = brigade::Process::builder(|_: ()| (), ()).start()?;
    /// process.close()?;
    /// process.join(); // it was moved
    /// # Ok::<(), brigade::ProcessError>(())
    /// ```
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # use brigade::{Process, ProcessError};
    /// # use std::{thread, time::Duration};
    /// let process = Process::builder(thread::sleep, Duration::from_secs(3_600)).daemon(true).start()?;
    /// let Err(ProcessError::Running(process)) = process.close() else { panic!("it sleeps") };
    /// process.kill();
    /// process.join();
    /// assert!(process.close().is_ok());
    /// # Ok::<(), brigade::ProcessError>(())
    /// ```
    ///
    /// # Errors
    /// [`ProcessError::Running`] with the process, if it has not ended.
    pub fn close(self) -> Result<(), ProcessError> {
        match self.is_alive() {
            true => Err(ProcessError::Running(self)),
            false => Ok(()),
        }
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.sentinel()
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("name", &self.name())
            .field("pid", &self.pid())
            .field("daemon", &self.daemon())
            .field("exit_code", &self.exit_code())
            .finish()
    }
}

impl Child {
    /// How it ended, if it has.
    fn settle(&self) -> Option<Exit> {
        self.body.has_ended().then(|| self.take_exit())
    }

    /// Waits for its end, and reaps it once.
    fn take_exit(&self) -> Exit {
        let mut exit = self.exit.lock().unwrap_or_else(PoisonError::into_inner);
        *exit.get_or_insert_with(|| self.body.reap())
    }
}

/// The children of this process that run, in the order of their starts. Those that have ended are reaped by this.
///
/// ```
/// # brigade::test_entry!(init); init();
/// # use brigade::{Process, active_children};
/// # use std::{thread, time::Duration};
/// let process = Process::builder(thread::sleep, Duration::from_secs(3_600)).daemon(true).start()?;
/// for child in active_children() {
///     assert_eq!(child.pid(), process.pid());
///     child.kill();
///     child.join();
/// }
/// assert!(active_children().is_empty());
/// # Ok::<(), brigade::ProcessError>(())
/// ```
#[must_use]
pub fn active_children() -> Vec<Process> {
    let mut children = children();
    children.forget_the_dead();
    children.all.clone()
}

/// How many processors this process may use: affinity and the quota of its cgroup are counted in.
///
/// ```
/// assert!((1..=std::thread::available_parallelism()?.get()).contains(&(brigade::cpu_count() as usize)));
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use]
pub fn cpu_count() -> u32 {
    brigade_os::limits::cores()
}

/// The children of this process, but for some that have ended.
struct Children {
    all: Vec<Process>,
    /// How many there may be before the dead are looked for: twice as many as lived last time, so that a start costs the same
    /// however many there are.
    look_at: usize,
    /// There is somebody who ends them with this process.
    have_hook: bool,
    /// This process is at its end.
    are_closed: bool,
}

static CHILDREN: Mutex<Children> =
    Mutex::new(Children { all: Vec::new(), look_at: 8, have_hook: false, are_closed: false });

fn children() -> MutexGuard<'static, Children> {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Before the first child is there.
fn open_registry() -> io::Result<()> {
    let mut children = children();
    if !children.have_hook {
        brigade_os::kin::at_exit(end_children)?;
        children.have_hook = true;
    }
    Ok(())
}

impl Children {
    fn register(&mut self, process: Process) -> Result<Process, ProcessError> {
        if self.are_closed {
            process.kill();
            return Err(ProcessError::AtExit { name: process.name().to_owned() });
        }
        if self.all.len() >= self.look_at {
            self.forget_the_dead();
            self.look_at = 8.max(2 * self.all.len());
        }
        self.all.push(process.clone());
        Ok(process)
    }

    fn forget_the_dead(&mut self) {
        self.all.retain(Process::is_alive);
    }
}

/// How long a daemonic child may take to end when its parent does.
const GRACE: Duration = Duration::from_secs(1);

/// The end of this process: others may still run threads, but start no child any more.
extern "C" fn end_children() {
    let all = {
        let mut children = children();
        children.are_closed = true;
        std::mem::take(&mut children.all)
    };
    let (daemonic, others): (Vec<Process>, Vec<Process>) = all.into_iter().partition(Process::daemon);
    daemonic.iter().for_each(Process::terminate);
    for process in others {
        process.join();
    }
    for process in daemonic {
        if process.join_timeout(GRACE).is_none() {
            process.kill();
            process.join();
        }
    }
    nursery::close();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::assert_one_line;
    use brigade_os::Pid;

    #[test]
    fn every_error_of_a_process_is_one_line_whatever_its_name() {
        let two = || "a\nb".to_owned();
        let own = Pid::new(std::process::id().cast_signed()).expect("a pid");
        let body = Body::of(own).expect("it is here");
        let child = Child { name: two(), daemon: false, body, exit: Mutex::default() };
        let all = [
            ProcessError::NoInit(BuildError::NoInit),
            ProcessError::TooDeep { depth: 10, most: 10 },
            ProcessError::Call { name: two(), error: TaskError::Foreign },
            ProcessError::Start { name: two(), source: io::Error::other(two()) },
            ProcessError::AtExit { name: two() },
            ProcessError::Running(Process { child: Arc::new(child) }),
        ];
        all.iter().for_each(|error| assert_one_line(error));
    }
}
