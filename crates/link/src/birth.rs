//! How a worker gets its ends: over the template's own channel when it is forked, through a door (ipc-channel's
//! one-shot server) when it is executed.

use crate::blob::Notice;
use crate::link::Ends;
use crate::{io_error, is_closed, retry};
use brigade_wire::{PROTOCOL, WorkerId};
use ipc_channel::IpcError;
use ipc_channel::ipc::{IpcOneShotServer, IpcReceiver, IpcSender, channel};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::thread;

/// What every worker of a run is told at birth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charter {
    /// The task function to serve, by its name in the worker's table.
    pub function: String,
    /// Daemonic workers die with the supervisor; others finish the task in hand.
    pub daemon: bool,
    /// How many tasks a worker runs at the same time; one at least.
    pub threads: u32,
    /// How long every task lasts at least, in nanoseconds.
    pub pace_ns: u64,
    /// What a worker may have in RAM between two tasks; past it, it leaves.
    pub rss_bytes_max: Option<u64>,
    /// Where the memory cgroups of the slots are, if the kernel is to hold workers to their memory.
    pub memory_groups: Option<PathBuf>,
    /// What a worker may have of addresses (RLIMIT_AS).
    pub as_bytes_max: Option<u64>,
    /// The supervisor's pid, which the template's parent must be.
    pub supervisor: u32,
    /// The worker binary, for those that are executed anew.
    pub program: PathBuf,
    /// What that gets before the words that make it a worker.
    pub entry: Vec<String>,
    /// What it is to read before its first task, and act on.
    pub letter: Option<Notice>,
}

/// Supervisor to template.
#[derive(Debug, Serialize, Deserialize)]
pub enum Order {
    /// The first order.
    Begin(Charter),
    /// Fork this worker.
    Fork {
        /// Who it is.
        worker: WorkerId,
        /// Its ends of the conversation.
        ends: Ends,
    },
    /// Fork, and execute the binary anew; it is to come to the door of this name.
    Exec {
        /// Who it is.
        worker: WorkerId,
        /// Where it is awaited.
        door: String,
    },
}

/// Template to supervisor, one for each worker that was ordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// The process exists; its number is on the slot's page.
    Born(WorkerId),
    /// There is none, and why.
    Unborn(WorkerId, String),
}

/// What a template says when it comes to its door.
#[derive(Debug, Serialize, Deserialize)]
pub struct Introduction {
    protocol: u64,
    functions: Vec<String>,
    orders: IpcSender<Order>,
    answers: IpcReceiver<Answer>,
}

/// What an executed worker is told at its door.
#[derive(Debug, Serialize, Deserialize)]
pub struct Spawned {
    /// What every worker is told.
    pub charter: Charter,
    /// Who it is.
    pub worker: WorkerId,
    /// Its ends of the conversation.
    pub ends: Ends,
}

/// The supervisor's channel to a template.
#[derive(Debug)]
pub struct TemplateLink {
    orders: IpcSender<Order>,
}

/// The template's channel to its supervisor.
#[derive(Debug)]
pub struct TemplateEnd {
    orders: IpcReceiver<Order>,
    answers: IpcSender<Answer>,
}

/// Where a process that was executed comes to meet us: a socket in a directory of its own, used once.
///
/// Waiting at a door has no time limit, so it is done by a thread, and a process that dies before it came is
/// knocked for ([`Door::knock`]).
#[derive(Debug)]
pub struct Door {
    name: String,
}

/// Makes ipc-channel put its sockets into `dir`, where they are found and removed with the run if the
/// supervisor is killed at the wrong moment. Left to the system's default if the name would be too long for a
/// socket's address, which ipc-channel would cut off silently.
pub fn put_sockets_into(dir: &Path) {
    const ADDRESS_BYTES_MAX: usize = 107;
    const OWN_PART: &str = "/.tmpXXXXXX/socket";
    if dir.as_os_str().len() + OWN_PART.len() <= ADDRESS_BYTES_MAX {
        let _ = tempfile::env::override_temp_dir(dir);
    }
}

/// Who came to a door, or why nobody of ours did.
pub type Visitor<T> = Result<T, Stranger>;

/// Why nobody of ours came to a door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stranger {
    /// Somebody spoke, but not as this build does.
    OtherBuild(String),
    /// Nobody spoke: knocked for, or dead on the threshold.
    Silent(String),
}

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stranger::OtherBuild(words) | Stranger::Silent(words) => f.write_str(words),
        }
    }
}

impl From<IpcError> for Stranger {
    fn from(error: IpcError) -> Stranger {
        match error {
            IpcError::SerializationError(_) => Stranger::OtherBuild("speaks an unknown language".into()),
            IpcError::Io(_) | IpcError::Disconnected => Stranger::Silent(error.to_string()),
        }
    }
}

impl Door {
    /// Opens a door for a template. `met` is called once, on a thread of its own; the link it gets has not
    /// been checked against a task name yet.
    ///
    /// # Errors
    /// If there is no socket or thread to be had.
    pub fn for_template(
        met: impl FnOnce(Visitor<(TemplateLink, Vec<String>, AnswerEar)>) + Send + 'static,
    ) -> io::Result<Door> {
        let (server, name) = open::<Introduction>()?;
        let greet = move || match guarded(|| Ok(server.accept()?)) {
            Ok((_, said)) if said.protocol == PROTOCOL => {
                let Introduction { functions, orders, answers, .. } = said;
                met(Ok((TemplateLink { orders }, functions, AnswerEar { answers })));
            }
            // Its ends are closed only afterwards: it leaves at that, and its leaving is not to be news first.
            Ok((_, said)) => {
                let words = format!("speaks protocol {:016x}, not {PROTOCOL:016x}", said.protocol);
                met(Err(Stranger::OtherBuild(words)));
            }
            Err(stranger) => met(Err(stranger)),
        };
        Door::post(greet)?;
        Ok(Door { name })
    }

    /// Opens a door for a worker, and gives it what it needs when it comes. Whether it ever does is seen by
    /// its hello, or by its death.
    ///
    /// # Errors
    /// If there is no socket or thread to be had.
    pub fn for_worker(spawned: Spawned) -> io::Result<Door> {
        let (server, name) = open::<IpcSender<Spawned>>()?;
        let greet = move || {
            let _ = guarded(|| {
                let (_, visitor) = server.accept()?;
                Ok(visitor.send(spawned)?)
            });
        };
        Door::post(greet)?;
        Ok(Door { name })
    }

    /// Somebody waits behind it. A stack of 2 MiB, the default, may become one huge page, and is kept for the next.
    fn post(greet: impl FnOnce() + Send + 'static) -> io::Result<()> {
        thread::Builder::new().name("door".into()).stack_size(256 << 10).spawn(greet).map(drop)
    }

    /// What to tell the process that is to come.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Comes to the door in place of a process that died: releases the waiting thread. Does nothing if it
    /// was closed already: ipc-channel never closes the socket of a connection that fails, and that was one a worker.
    pub fn knock(&self) {
        if Path::new(&self.name).exists() {
            let _ = IpcSender::<()>::connect(self.name.clone());
        }
    }
}

/// ipc-channel asserts that a directory for the socket can be had: look first, so that a full disk is an error.
fn open<T>() -> io::Result<(IpcOneShotServer<T>, String)>
where
    T: for<'de> Deserialize<'de> + Serialize,
{
    drop(tempfile::tempdir()?);
    let opened = catch_unwind(IpcOneShotServer::new);
    opened.unwrap_or_else(|_| Err(io::Error::other("ipc-channel could not make a socket")))
}

/// ipc-channel panics on some of what a stranger may send.
fn guarded<T>(accept: impl FnOnce() -> Visitor<T>) -> Visitor<T> {
    let nonsense = |_| Err(Stranger::OtherBuild("sends no messages of ipc-channel".into()));
    catch_unwind(AssertUnwindSafe(accept)).unwrap_or_else(nonsense)
}

/// The receiving end of a template's answers.
#[derive(Debug)]
pub struct AnswerEar {
    answers: IpcReceiver<Answer>,
}

impl AnswerEar {
    /// Hears answers until the template's end is closed.
    pub fn hear_all(self, mut hear: impl FnMut(Answer)) {
        while let Ok(answer) = retry(|| self.answers.recv().map_err(io_error)) {
            hear(answer);
        }
    }
}

impl TemplateLink {
    /// Sends an order. The caller keeps few of them unanswered, so that a stopped template does not block it.
    ///
    /// # Errors
    /// If the template is gone.
    pub fn order(&self, order: Order) -> io::Result<()> {
        self.orders.send(order).map_err(io_error)
    }
}

/// The template's first words, at the door of that name.
///
/// # Errors
/// If nobody waits there.
pub fn introduce(door: &str, functions: Vec<String>) -> io::Result<TemplateEnd> {
    let (orders, own_orders) = channel()?;
    let (own_answers, answers) = channel()?;
    let supervisor = IpcSender::connect(door.to_string())?;
    supervisor.send(Introduction { protocol: PROTOCOL, functions, orders, answers }).map_err(io_error)?;
    Ok(TemplateEnd { orders: own_orders, answers: own_answers })
}

impl TemplateEnd {
    /// Waits for the next order; `None` when the supervisor is gone.
    ///
    /// # Errors
    /// If an order could not be taken: the supervisor lives, and is owed an answer.
    pub fn receive(&self) -> io::Result<Option<Order>> {
        match retry(|| self.orders.recv().map_err(io_error)) {
            Ok(order) => Ok(Some(order)),
            Err(error) if is_closed(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Answers one.
    ///
    /// # Errors
    /// If the supervisor is gone.
    pub fn answer(&self, answer: Answer) -> io::Result<()> {
        retry(|| self.answers.send(answer.clone()).map_err(io_error))
    }
}

impl Spawned {
    /// What an executed worker gets at the door of that name.
    ///
    /// # Errors
    /// If nobody waits there, or it left before it gave.
    pub fn fetch(door: &str) -> io::Result<Spawned> {
        let (own, mine) = channel()?;
        IpcSender::connect(door.to_string())?.send(own).map_err(io_error)?;
        retry(|| mine.recv().map_err(io_error))
    }
}
