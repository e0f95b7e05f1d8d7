//! A process that serves lists, dicts, namespaces and values to all others, as Python's `Manager`: slower than shared memory,
//! and for anything that serde can write and read.
//!
//! Proxies stand for its objects. They are plain data: clone them, and send them to workers as arguments or parts of them, or
//! put one into another. The objects live as long as their manager, and a client that dies harms nobody: what it asked for was
//! done as a whole, or not at all. If the manager dies, the next use of a proxy is an error.
//!
//! ```
//! # brigade::test_entry!(init); init();
//! use brigade::manager::{ListProxy, Manager};
//!
//! fn append((lines, name): (ListProxy<String>, String)) {
//!     lines.append(&name).expect("the manager outlives its pool");
//! }
//!
//! let manager = Manager::new()?;
//! let (lines, pool) = (manager.list::<String>()?, brigade::Pool::new()?);
//! pool.for_each(append, ["a", "b", "c"].map(|name| (lines.clone(), name.to_owned())))?;
//! assert_eq!(lines.len()?, 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A manager with an address and a key can be used by programs that know both, of the same build or not, so long as both mean
//! the same types: see [`Manager::connect`].

mod client;
mod proxies;
mod server;
mod talk;

pub use proxies::{DictProxy, ListProxy, NamespaceProxy, ValueProxy};

use crate::error::one_line;
use crate::{Process, ProcessError, Value};
use brigade_os::clock::Deadline;
use client::Line;
use serde::{Deserialize, Serialize};
use server::Charge;
use std::fmt;
use std::io;
use std::ops::Deref;
use std::time::Duration;

/// A manager, which ends when this is dropped.
///
/// ```
/// # brigade::test_entry!(init); init();
/// use brigade::manager::{Manager, ManagerError};
///
/// let manager = Manager::new()?;
/// let best = manager.value(&0_u64)?;
/// best.set(&42)?;
/// assert_ne!(manager.pid(), std::process::id());
/// manager.shutdown();
/// assert!(matches!(best.get(), Err(ManagerError::Gone { .. })));
/// # Ok::<(), ManagerError>(())
/// ```
#[derive(Debug)]
pub struct Manager {
    client: ManagerClient,
    process: Process,
}

/// What a manager is to be like.
///
/// ```
/// # brigade::test_entry!(init); init();
/// use brigade::manager::{Manager, ManagerBuilder};
///
/// let builder: ManagerBuilder = Manager::builder().key("among friends");
/// let dir = tempfile::tempdir()?;
/// let socket = dir.path().join("manager").display().to_string();
/// let manager = builder.address(&socket).start()?;
/// assert_eq!(manager.address(), socket);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
#[must_use = "nothing is there before it is started"]
pub struct ManagerBuilder {
    address: Option<String>,
    key: Option<Vec<u8>>,
    timeout: Option<Duration>,
}

/// Somebody who may use a manager; can be sent to workers.
///
/// ```
/// # brigade::test_entry!(init); init();
/// use brigade::manager::{Manager, ManagerClient};
///
/// fn leave_a_list(client: ManagerClient) {
///     client.list_named("left").and_then(|list| list.append(&7_u32)).expect("the manager outlives its pool");
/// }
///
/// let (manager, pool) = (Manager::new()?, brigade::Pool::new()?);
/// pool.submit(leave_a_list, manager.client()).join()?;
/// assert_eq!(manager.list_named::<u32>("left")?.to_vec()?, [7]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
pub struct ManagerClient {
    line: Line,
}

/// Why a manager does not do what it was asked for.
///
/// ```
/// # brigade::test_entry!(init); init();
/// use brigade::manager::{Manager, ManagerError};
///
/// let manager = Manager::new()?;
/// let told = manager.list::<u32>()?.set(3, &7).expect_err("it is empty");
/// assert!(matches!(told, ManagerError::OutOfRange { index: 3, len: 0 }));
/// assert_eq!(told.to_string(), "index 3 of a list of 0");
/// # Ok::<(), ManagerError>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManagerError {
    /// It has ended, or was killed, or there never was one.
    #[error("no manager at {}: {}: it has ended, and its objects with it", one_line(.address), one_line(.source))]
    Gone {
        /// Where it was.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// It has ended, and another one has its address.
    #[error("the manager at {} is another one by now: the objects of the former are gone", one_line(.address))]
    Replaced {
        /// Where both were.
        address: String,
    },
    /// It has not answered in the time that it was given: it may be stopped. What was asked for may have been done, or be done
    /// yet.
    #[error(
        "the manager at {} has not answered in time: it may be stopped, and yet do what it was asked for",
        one_line(.address)
    )]
    TimedOut {
        /// Where it is.
        address: String,
    },
    /// The way there is closed, by the system or by its permissions. Of the manager itself nothing is known.
    #[error("the manager at {} cannot be reached: {}", one_line(.address), one_line(.source))]
    Unreachable {
        /// Where it should be.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// Something has changed bytes on the way. A damaged question was not done; what is answered in a damaged answer was.
    #[error(
        "the {what} between here and the manager at {} is damaged: the sum of {bytes} bytes is {sum:08x}, not {told:08x}",
        one_line(.address)
    )]
    Damaged {
        /// Where it is.
        address: String,
        /// `question` or `answer`.
        what: &'static str,
        /// How many bytes the sum is of: eight of a frame's head, or all of its body.
        bytes: u64,
        /// What it is.
        sum: u32,
        /// What it should be.
        told: u32,
    },
    /// Somebody answers there, and not as a manager would.
    #[error("what is said at {} makes no sense: {}", one_line(.address), one_line(.message))]
    Strange {
        /// Where.
        address: String,
        /// Why.
        message: String,
    },
    /// The key is not the manager's.
    #[error("the manager at {} has another key", one_line(.address))]
    Denied {
        /// Where it is.
        address: String,
    },
    /// A key of no bytes, which everybody would have.
    #[error("the key is empty: whoever is to use the manager needs one that others cannot guess")]
    EmptyKey,
    /// It could not begin.
    #[error("manager at {} cannot be started: {}", one_line(.address), one_line(.source))]
    Start {
        /// Where it was to be.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// There is no process for it.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A list has no such index.
    #[error("index {index} of a list of {len}")]
    OutOfRange {
        /// What was asked for.
        index: usize,
        /// How many values there are.
        len: u64,
    },
    /// What has that name is something else.
    #[error("{} is of type {has}, and not {asked}", one_line(.name))]
    OtherType {
        /// Which name.
        name: String,
        /// What it is.
        has: String,
        /// What it was taken for.
        asked: String,
    },
    /// A value cannot be written as bytes.
    #[error("cannot be encoded: {}", one_line(.message))]
    Encode {
        /// What serde said.
        message: String,
    },
    /// A value cannot be read from its bytes.
    #[error("cannot be decoded: {}", one_line(.message))]
    Decode {
        /// What serde said.
        message: String,
    },
}

impl Manager {
    /// One at an address and with a key that nobody else knows.
    ///
    /// # Errors
    /// If [`init`](crate::init) was not called, or the system refuses.
    pub fn new() -> Result<Manager, ManagerError> {
        Manager::builder().start()
    }

    /// To say where it is to be, and with which key.
    pub fn builder() -> ManagerBuilder {
        ManagerBuilder::default()
    }

    /// To use the manager that another program has started. What it is told by name there, it is asked for by the same name
    /// here.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # use brigade::manager::{Manager, ManagerError};
    /// let manager = Manager::builder().key("among friends").start()?;
    /// manager.dict_named("ports")?.insert(&"http".to_owned(), &80_u16)?;
    /// // In another program, which knows the address and the key:
    /// # let address = manager.address();
    /// let client = Manager::connect(address, b"among friends")?;
    /// let ports = client.dict_named::<String, u16>("ports")?;
    /// assert_eq!(ports.get(&"http".to_owned())?, Some(80));
    /// assert!(matches!(Manager::connect(address, b"strangers"), Err(ManagerError::Denied { .. })));
    /// # Ok::<(), ManagerError>(())
    /// ```
    ///
    /// # Errors
    /// [`ManagerError::Gone`] if there is none, [`ManagerError::Denied`] if it has another key, [`ManagerError::TimedOut`] if it
    /// does not answer within ten seconds, and [`ManagerError::Unreachable`] if it cannot be asked.
    pub fn connect(address: &str, key: &[u8]) -> Result<ManagerClient, ManagerError> {
        Line::to(address, key).map(|line| ManagerClient { line })
    }

    /// What workers may have of it.
    pub fn client(&self) -> ManagerClient {
        self.client.clone()
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Ends it. Dropping it does the same.
    pub fn shutdown(self) {}
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.process.kill();
        self.process.join();
        self.client.line.hang_up();
        // It may be gone already.
        let _ = talk::forget(&self.client.line.address);
    }
}

impl Deref for Manager {
    type Target = ManagerClient;

    fn deref(&self) -> &ManagerClient {
        &self.client
    }
}

/// How long one that has started may take to be there for its first client.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

impl ManagerBuilder {
    /// Where it listens: the path of a socket, which it makes and removes; or behind an `@` a name that is in no file system.
    /// If not said, such a name by chance. A host and a port are an error.
    pub fn address(mut self, address: impl Into<String>) -> ManagerBuilder {
        self.address = Some(address.into());
        self
    }

    /// What clients must show that they have, without sending it. If not said, 32 bytes by chance.
    pub fn key(mut self, key: impl Into<Vec<u8>>) -> ManagerBuilder {
        self.key = Some(key.into());
        self
    }

    /// How long each use of it, or of its proxies, waits for an answer: see [`ManagerClient::with_timeout`]. For ever, if not said.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # use brigade::manager::{Manager, ManagerError};
    /// # use std::time::Duration;
    /// let manager = Manager::builder().timeout(Duration::from_secs(60)).start()?;
    /// assert_eq!(manager.list::<u32>()?.len()?, 0);
    /// # Ok::<(), ManagerError>(())
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> ManagerBuilder {
        self.timeout = Some(timeout);
        self
    }

    /// Starts it: a daemonic process, which ends with this one.
    ///
    /// # Errors
    /// [`ManagerError::Start`] if somebody else has that address, the system refuses, or it cannot be reached there within ten
    /// seconds; [`ManagerError::EmptyKey`]; and if [`init`](crate::init) was not called.
    pub fn start(self) -> Result<Manager, ManagerError> {
        let chance = |source| ManagerError::Start { address: "an address by chance".into(), source };
        let instance = talk::random().map_err(chance)?;
        let key = match self.key {
            Some(key) if key.is_empty() => return Err(ManagerError::EmptyKey),
            Some(key) => key,
            None => talk::random::<32>().map_err(chance)?.to_vec(),
        };
        let address =
            self.address.unwrap_or_else(|| format!("@brigade-{:032x}", u128::from_le_bytes(instance)));
        let wrong = |source| ManagerError::Start { address: address.clone(), source };
        talk::socket_address(&address).map_err(wrong)?;
        let charge = Charge { address: address.clone(), key: key.clone(), instance };
        let process = Process::builder(server::serve, charge).name("Manager").daemon(true).start()?;
        let client =
            ManagerClient { line: Line { address: address.clone(), key, instance, timeout: self.timeout } };
        let manager = Manager { client, process };
        // It listens within a millisecond or two; that it has ended instead is seen at once.
        let until = Deadline::after(ANSWERS_WITHIN);
        while manager.process.join_timeout(Duration::from_millis(1)).is_none() {
            match Line::to(&address, &manager.client.line.key) {
                Ok(line) if line.instance == instance => return Ok(manager),
                // Another one, as this one is about to find out.
                Ok(line) => line.hang_up(),
                Err(_) => {}
            }
            if until.left().is_none() {
                let words = "it runs, and cannot be reached there";
                return Err(wrong(io::Error::new(io::ErrorKind::TimedOut, words)));
            }
        }
        Err(wrong(io::Error::from_raw_os_error(manager.process.exit_code().unwrap_or_default())))
    }
}

impl ManagerClient {
    /// A new, empty list.
    ///
    /// # Errors
    /// If the manager is gone.
    pub fn list<T: Value>(&self) -> Result<ListProxy<T>, ManagerError> {
        ListProxy::make(&self.line, None)
    }

    /// The list of that name, which is new and empty for the first who asks.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # use brigade::manager::{Manager, ManagerError};
    /// let manager = Manager::new()?;
    /// manager.list_named("primes")?.extend(&[2_u32, 3, 5])?;
    /// assert_eq!(manager.list_named::<u32>("primes")?.len()?, 3);
    /// assert!(matches!(manager.list_named::<String>("primes"), Err(ManagerError::OtherType { .. })));
    /// # Ok::<(), ManagerError>(())
    /// ```
    ///
    /// # Errors
    /// [`ManagerError::OtherType`] if something else has that name; if the manager is gone.
    pub fn list_named<T: Value>(&self, name: &str) -> Result<ListProxy<T>, ManagerError> {
        ListProxy::make(&self.line, Some(name))
    }

    /// A new, empty dict.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # let manager = brigade::manager::Manager::new()?;
    /// let ages = manager.dict()?;
    /// ages.insert(&"Ann".to_owned(), &42_u8)?;
    /// assert_eq!(ages.len()?, 1);
    /// # Ok::<(), brigade::manager::ManagerError>(())
    /// ```
    ///
    /// # Errors
    /// If the manager is gone.
    pub fn dict<K: Value, V: Value>(&self) -> Result<DictProxy<K, V>, ManagerError> {
        DictProxy::make(&self.line, None)
    }

    /// The dict of that name, which is new and empty for the first who asks.
    ///
    /// # Errors
    /// As [`ManagerClient::list_named`].
    pub fn dict_named<K: Value, V: Value>(&self, name: &str) -> Result<DictProxy<K, V>, ManagerError> {
        DictProxy::make(&self.line, Some(name))
    }

    /// A new value.
    ///
    /// # Errors
    /// If it cannot be encoded, or the manager is gone.
    pub fn value<T: Value>(&self, first: &T) -> Result<ValueProxy<T>, ManagerError> {
        ValueProxy::make(&self.line, None, first)
    }

    /// The value of that name, which is `first` for the first who asks.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # let manager = brigade::manager::Manager::new()?;
    /// assert_eq!(manager.value_named("best", &40)?.get()?, 40);
    /// assert_eq!(manager.value_named("best", &7)?.get()?, 40, "somebody was first");
    /// # Ok::<(), brigade::manager::ManagerError>(())
    /// ```
    ///
    /// # Errors
    /// As [`ManagerClient::list_named`].
    pub fn value_named<T: Value>(&self, name: &str, first: &T) -> Result<ValueProxy<T>, ManagerError> {
        ValueProxy::make(&self.line, Some(name), first)
    }

    /// The namespace of that name, which has nothing in it for the first who asks.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # let manager = brigade::manager::Manager::new()?;
    /// manager.namespace("settings")?.set("level", &3_u8)?;
    /// assert_eq!(manager.namespace("settings")?.get("level")?, Some(3_u8));
    /// # Ok::<(), brigade::manager::ManagerError>(())
    /// ```
    ///
    /// # Errors
    /// As [`ManagerClient::list_named`].
    pub fn namespace(&self, name: &str) -> Result<NamespaceProxy, ManagerError> {
        NamespaceProxy::make(&self.line, Some(name))
    }

    /// The same client, and all proxies that are had from this one, wait so long at most for each answer: a manager that is
    /// merely stopped closes no connection.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # use brigade::manager::{Manager, ManagerError};
    /// # use std::process::Command;
    /// # use std::time::Duration;
    /// let manager = Manager::new()?;
    /// let list = manager.with_timeout(Duration::from_millis(50)).list::<u32>()?;
    /// let stop = Command::new("kill").args(["-STOP", &manager.pid().to_string()]).status();
    /// assert!(stop.is_ok_and(|stopped| stopped.success()));
    /// // It stops within a moment.
    /// let told = (0..1_000_000).find_map(|_| list.append(&7).err());
    /// assert!(matches!(told, Some(ManagerError::TimedOut { .. })));
    /// # Ok::<(), ManagerError>(())
    /// ```
    pub fn with_timeout(&self, timeout: Duration) -> ManagerClient {
        ManagerClient { line: Line { timeout: Some(timeout), ..self.line.clone() } }
    }

    /// Where the manager is.
    pub fn address(&self) -> &str {
        &self.line.address
    }
}

impl fmt::Debug for ManagerClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the manager at {}", self.line.address)
    }
}

impl fmt::Debug for ManagerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagerBuilder").field("address", &self.address).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::assert_one_line;

    #[test]
    fn every_error_of_a_manager_is_one_line() {
        let two = || "a\nb".to_owned();
        let refused = || io::Error::other("a\nb");
        let all = [
            ManagerError::Gone { address: two(), source: refused() },
            ManagerError::Replaced { address: two() },
            ManagerError::TimedOut { address: two() },
            ManagerError::Unreachable { address: two(), source: refused() },
            ManagerError::Damaged { address: two(), what: "answer", bytes: 8, sum: 1, told: 2 },
            ManagerError::Strange { address: two(), message: two() },
            ManagerError::Denied { address: two() },
            ManagerError::EmptyKey,
            ManagerError::Start { address: two(), source: refused() },
            ManagerError::Process(ProcessError::AtExit { name: two() }),
            ManagerError::OutOfRange { index: 1, len: 0 },
            ManagerError::OtherType { name: two(), has: "u8".into(), asked: "u32".into() },
            ManagerError::Encode { message: two() },
            ManagerError::Decode { message: two() },
        ];
        all.iter().for_each(|error| assert_one_line(error));
    }
}
