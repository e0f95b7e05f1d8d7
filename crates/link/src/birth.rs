//! How a worker gets its ends: over the template's own channel when it is forked, through a door (ipc-channel's
//! one-shot server) when it is executed.
//!
//! ```text
//! what is said: bytes behind their sum │ what is handed over: ends of channels, which are descriptors and have no bytes of ours
//! ```

use crate::blob::{Notice, Place};
use crate::link::Ends;
use crate::{io_error, is_closed, retry};
use brigade_wire::{PROTOCOL, WorkerId, decode_summed, encode_summed};
use ipc_channel::IpcError;
use ipc_channel::ipc::{
    IpcBytesReceiver, IpcBytesSender, IpcOneShotServer, IpcReceiver, IpcSender, bytes_channel, channel,
};
use serde::de::DeserializeOwned;
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
#[derive(Debug)]
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

/// What an executed worker is told at its door.
#[derive(Debug)]
pub struct Spawned {
    /// What every worker is told.
    pub charter: Charter,
    /// Who it is.
    pub worker: WorkerId,
    /// Its ends of the conversation.
    pub ends: Ends,
}

/// Words behind their sum, and what is handed over with them.
#[derive(Debug, Serialize, Deserialize)]
struct Handed<E> {
    words: Vec<u8>,
    ends: E,
}

impl<E> Handed<E> {
    fn with(ends: E, words: &(impl Serialize + 'static)) -> io::Result<Handed<E>> {
        Ok(Handed { words: encode_summed(words).map_err(io::Error::other)?, ends })
    }

    /// The words; `what` is what they are, for whoever is told that they are damaged.
    fn said<T: DeserializeOwned + 'static>(&self, what: &str) -> io::Result<T> {
        said(&self.words, what)
    }
}

fn said<T: DeserializeOwned + 'static>(words: &[u8], what: &str) -> io::Result<T> {
    let wrong = |error| io::Error::new(io::ErrorKind::InvalidData, format!("{what}: {error}"));
    decode_summed(words).map_err(wrong)
}

/// The two channels of [`Ends`]; the rest of them are words.
type Channels = (IpcBytesReceiver, IpcBytesSender);

fn apart(ends: Ends) -> (Channels, Place) {
    ((ends.commands, ends.reports), ends.results)
}

fn together((commands, reports): Channels, results: Place) -> Ends {
    Ends { commands, reports, results }
}

/// The words of an [`Order`].
#[derive(Serialize, Deserialize)]
enum Ordered {
    Begin(Charter),
    Fork(WorkerId, Place),
    Exec(WorkerId, String),
}

/// What a template says when it comes to its door: its protocol, and its functions.
type Introduction = Handed<(IpcSender<Handed<Option<Channels>>>, IpcBytesReceiver)>;

/// The supervisor's channel to a template.
#[derive(Debug)]
pub struct TemplateLink {
    orders: IpcSender<Handed<Option<Channels>>>,
}

/// The template's channel to its supervisor.
#[derive(Debug)]
pub struct TemplateEnd {
    orders: IpcReceiver<Handed<Option<Channels>>>,
    answers: IpcBytesSender,
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
            // Its ends are closed only after the news: it leaves at that, and its leaving is not to be news first.
            Ok((_, handed)) => match presented(&handed) {
                Ok(functions) => {
                    let (orders, answers) = handed.ends;
                    met(Ok((TemplateLink { orders }, functions, AnswerEar { answers })));
                }
                Err(stranger) => met(Err(stranger)),
            },
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
        let Spawned { charter, worker, ends } = spawned;
        let (channels, results) = apart(ends);
        let handed = Handed::with(channels, &(charter, worker, results))?;
        let (server, name) = open::<IpcSender<Handed<Channels>>>()?;
        let greet = move || {
            let _ = guarded(|| {
                let (_, visitor) = server.accept()?;
                Ok(visitor.send(handed)?)
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

/// Its functions, if it was built as we were.
fn presented(handed: &Introduction) -> Result<Vec<String>, Stranger> {
    let (protocol, functions) = handed
        .said::<(u64, Vec<String>)>("its introduction")
        .map_err(|error| Stranger::OtherBuild(format!("cannot be understood: {error}")))?;
    match protocol == PROTOCOL {
        true => Ok(functions),
        false => Err(Stranger::OtherBuild(format!("speaks protocol {protocol:016x}, not {PROTOCOL:016x}"))),
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
    answers: IpcBytesReceiver,
}

impl AnswerEar {
    /// Hears answers until the template's end is closed; of one that is damaged, an error that says so.
    pub fn hear_all(self, mut hear: impl FnMut(io::Result<Answer>)) {
        while let Ok(words) = retry(|| self.answers.recv().map_err(io_error)) {
            hear(said(&words, "an answer of the template"));
        }
    }
}

impl TemplateLink {
    /// Sends an order. The caller keeps few of them unanswered, so that a stopped template does not block it.
    ///
    /// # Errors
    /// If the template is gone.
    pub fn order(&self, order: Order) -> io::Result<()> {
        let handed = match order {
            Order::Begin(charter) => Handed::with(None, &Ordered::Begin(charter)),
            Order::Exec { worker, door } => Handed::with(None, &Ordered::Exec(worker, door)),
            Order::Fork { worker, ends } => {
                let (channels, results) = apart(ends);
                Handed::with(Some(channels), &Ordered::Fork(worker, results))
            }
        }?;
        self.orders.send(handed).map_err(io_error)
    }
}

/// The template's first words, at the door of that name.
///
/// # Errors
/// If nobody waits there.
pub fn introduce(door: &str, functions: Vec<String>) -> io::Result<TemplateEnd> {
    let (orders, own_orders) = channel()?;
    let (own_answers, answers) = bytes_channel()?;
    let supervisor: IpcSender<Introduction> = IpcSender::connect(door.to_string())?;
    supervisor.send(Handed::with((orders, answers), &(PROTOCOL, functions))?).map_err(io_error)?;
    Ok(TemplateEnd { orders: own_orders, answers: own_answers })
}

impl TemplateEnd {
    /// Waits for the next order; `None` when the supervisor is gone.
    ///
    /// # Errors
    /// If an order could not be taken, or is damaged: the supervisor lives, and is owed an answer.
    pub fn receive(&self) -> io::Result<Option<Order>> {
        match retry(|| self.orders.recv().map_err(io_error)) {
            Ok(handed) => ordered(handed).map(Some),
            Err(error) if is_closed(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Answers one.
    ///
    /// # Errors
    /// If the supervisor is gone.
    pub fn answer(&self, answer: Answer) -> io::Result<()> {
        let words = encode_summed(&answer).map_err(io::Error::other)?;
        retry(|| self.answers.send(&words))
    }
}

fn ordered(handed: Handed<Option<Channels>>) -> io::Result<Order> {
    let words = handed.said("an order of the supervisor")?;
    match (words, handed.ends) {
        (Ordered::Begin(charter), _) => Ok(Order::Begin(charter)),
        (Ordered::Exec(worker, door), _) => Ok(Order::Exec { worker, door }),
        (Ordered::Fork(worker, results), Some(channels)) => {
            Ok(Order::Fork { worker, ends: together(channels, results) })
        }
        (Ordered::Fork(worker, _), None) => {
            Err(io::Error::new(io::ErrorKind::InvalidData, format!("worker {worker} was given no channels")))
        }
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
        let handed: Handed<Channels> = retry(|| mine.recv().map_err(io_error))?;
        let (charter, worker, results) = handed.said("what it was told at its door")?;
        Ok(Spawned { charter, worker, ends: together(handed.ends, results) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bent(words: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
        (0..8 * words.len()).map(|bit| {
            let mut bent = words.to_vec();
            bent[bit / 8] ^= 1 << (bit % 8);
            bent
        })
    }

    #[test]
    fn no_changed_bit_of_orders_answers_and_introductions_goes_unnoticed() {
        let worker = WorkerId { slot: brigade_wire::SlotId(3), incarnation: 1 };
        let (orders, receiver) = channel().unwrap();
        let (answers, ear) = bytes_channel().unwrap();
        let end = TemplateEnd { orders: receiver, answers };
        let link = TemplateLink { orders };
        link.order(Order::Exec { worker, door: "/door".into() }).unwrap();
        assert!(matches!(end.receive(), Ok(Some(Order::Exec { .. }))));
        let order = encode_summed(&Ordered::Exec(worker, "/door".into())).unwrap();
        for words in bent(&order) {
            link.orders.send(Handed { words, ends: None }).unwrap();
            let told = end.receive().expect_err("it is damaged").to_string();
            assert!(
                told.starts_with("an order of the supervisor: ") && told.contains("are damaged"),
                "{told}"
            );
        }
        let answer = encode_summed(&Answer::Unborn(worker, "fork: no memory".into())).unwrap();
        for words in bent(&answer) {
            end.answers.send(&words).unwrap();
        }
        end.answer(Answer::Born(worker)).unwrap();
        drop(end);
        let mut heard = Vec::new();
        AnswerEar { answers: ear }.hear_all(|answer| heard.push(answer));
        assert_eq!(heard.pop().unwrap().unwrap(), Answer::Born(worker));
        assert_eq!(heard.len(), 8 * answer.len());
        assert!(
            heard.iter().all(|told| told.as_ref().is_err_and(|it| it.to_string().contains("are damaged")))
        );
        let (_link, _ear, _tombstone, ends) = crate::conversation().unwrap();
        let (channels, results) = apart(ends);
        let mut told = Handed::with(channels, &(worker, results)).unwrap();
        assert!(told.said::<(WorkerId, Place)>("its birth").is_ok_and(|said| said == (worker, results)));
        for words in bent(&told.words.clone()) {
            told.words = words;
            assert!(told.said::<(WorkerId, Place)>("its birth").is_err());
        }
        let (orders, _) = channel().unwrap();
        let (_, answers) = bytes_channel().unwrap();
        let mut introduction =
            Introduction::with((orders, answers), &(PROTOCOL, vec!["sum".to_owned()])).unwrap();
        assert_eq!(presented(&introduction), Ok(vec!["sum".to_owned()]));
        for words in bent(&introduction.words.clone()) {
            introduction.words = words;
            assert!(matches!(presented(&introduction), Err(Stranger::OtherBuild(_))));
        }
    }
}
