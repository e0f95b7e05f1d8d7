//! Pipes between processes: one way ([`pipe()`]) or both ([`duplex`]), and waiting for several of them ([`wait`]).
//!
//! ```
//! # brigade::test_entry!(init); init();
//! use brigade::{Connection, Sender, duplex, pipe};
//!
//! fn count(numbers: Sender<u32>) {
//!     (0..3).for_each(|n| numbers.send(&n).expect("somebody reads"));
//! }
//!
//! fn shout(words: Connection<String, String>) {
//!     while let Ok(word) = words.recv() {
//!         words.send(&word.to_uppercase()).expect("somebody reads");
//!     }
//! }
//!
//! let pool = brigade::Pool::builder().procs(2).build()?;
//! let (receiver, sender) = pipe()?;
//! let counting = pool.submit(count, sender);
//! let numbers: Result<Vec<u32>, _> = receiver.iter().collect();
//! assert_eq!(numbers?, [0, 1, 2]);
//! counting.join()?;
//!
//! let (here, there) = duplex()?;
//! let shouting = pool.submit(shout, there);
//! here.send(&"hello".to_owned())?;
//! assert_eq!(here.recv()?, "HELLO");
//! here.close();
//! shouting.join()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! An end belongs to one thread at a time, and cannot be cloned: whoever passes it on in an argument has given it away, and
//! needs not remember to close it. The call keeps it until its final word, so that a call that is tried again has it again.
//! One in a result is kept by the worker, too, for as long as the job has that result, which can be asked for again; when the job
//! is joined or dropped, the worker closes its own, a moment later. On a thread of a [`ThreadExecutor`](crate::ThreadExecutor) it
//! goes with the job.
//! For many who send, or many who receive, there is a queue.
//!
//! A pipe holds 64 items of some 4 KiB each, however small they are; a larger one counts once for each 4 KiB. Whoever sends
//! more waits until somebody receives: receive what a child sends before you join it. Where a user has very many pipes open,
//! the system grants them less.

use crate::call::Value;
use crate::carry::Carried;
use crate::error::one_line;
use crate::parcel::{self, Fault, Parcel};
use brigade_os::clock::Deadline;
use brigade_os::lend::Access;
use brigade_os::pipe::{self, PACKET_BYTES};
use brigade_os::ready::ready;
use brigade_wire::{decode_value, encode_value};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// Why nothing was sent, or received.
///
/// ```
/// use brigade::{ConnectionError, pipe};
///
/// let (receiver, sender) = pipe::<u32>()?;
/// receiver.close();
/// assert!(matches!(sender.send(&1), Err(ConnectionError::Closed)));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// All other ends are closed, or their processes dead; what they had sent was received.
    #[error("the other end is closed")]
    Closed,
    /// Nothing came, or not all of it, in the time that was given; what has come is kept for the next time.
    #[error("nothing came in time")]
    TimedOut,
    /// Whoever sent an item died in the middle of it. The next item may be here already: receive it, or [`Receiver::poll`] for
    /// it, before you [`wait`] for more.
    #[error("the sender is gone in the middle of an item: {there} of {total} bytes came")]
    BrokenOff {
        /// Bytes that came.
        there: usize,
        /// Bytes that it has.
        total: usize,
    },
    /// Something has changed what was sent. The next item can be received.
    #[error("damaged behind byte {there} of an item: its checksum does not hold")]
    Damaged {
        /// Bytes of it that were in order.
        there: usize,
    },
    /// There is no memory for an item of that size. The next item can be received.
    #[error("no memory for an item of {total} bytes")]
    TooLarge {
        /// Bytes that it has.
        total: usize,
    },
    /// The item cannot be written as bytes; nothing of it was sent.
    #[error("cannot be encoded: {}", one_line(.message))]
    Encode {
        /// What serde said.
        message: String,
    },
    /// The item cannot be read from its bytes. The next item can be received.
    #[error("cannot be decoded: {}", one_line(.message))]
    Decode {
        /// What serde said.
        message: String,
    },
    /// The system says no.
    #[error("pipe: {}", one_line(.0))]
    Os(#[from] io::Error),
}

/// A pipe of one direction: the end to receive from, and the end to send to.
///
/// ```
/// let (receiver, sender) = brigade::pipe()?;
/// sender.send(&"hello".to_owned())?;
/// assert_eq!(receiver.recv()?, "hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If there is no descriptor to be had.
pub fn pipe<T: Value>() -> io::Result<(Receiver<T>, Sender<T>)> {
    let (reader, writer) = pipe::pipe()?;
    let sender = Sender::new(Carried::new(writer, Access::Write));
    Ok((Receiver::new(Carried::new(reader, Access::Read)), sender))
}

/// A pipe of both directions: its ends are the same, but for what they send.
///
/// ```
/// let (here, there) = brigade::duplex()?;
/// here.send(&41)?;
/// there.send(&format!("{} and one", there.recv()?))?;
/// assert_eq!(here.recv()?, "41 and one");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If there are no descriptors to be had.
pub fn duplex<T: Value, U: Value>() -> io::Result<(Connection<T, U>, Connection<U, T>)> {
    let (there, to_there) = pipe()?;
    let (here, to_here) = pipe()?;
    Ok((Connection { sender: to_there, receiver: here }, Connection { sender: to_here, receiver: there }))
}

/// Waits until something can be received from one of these, or never will be, or so long, or for ever; which of them those
/// are, by their places. They may be of several kinds, as `&[&dyn AsFd]`: ends of pipes, sockets, sentinels of processes. Of
/// none at all it returns none, at once.
///
/// It looks at what is still in the pipe. After [`ConnectionError::BrokenOff`] an item may have left that already: receive, or
/// [`Receiver::poll`], before you wait again.
///
/// ```
/// use brigade::connection::{pipe, wait};
/// use std::net::UdpSocket;
/// use std::os::fd::AsFd;
/// use std::time::Duration;
///
/// let (receiver, sender) = pipe()?;
/// let socket = UdpSocket::bind("127.0.0.1:0")?;
/// let both: [&dyn AsFd; 2] = [&socket, &receiver];
/// assert!(wait(&both, Some(Duration::ZERO))?.is_empty());
/// sender.send(&5)?;
/// assert_eq!(wait(&both, None)?, [1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If they are more than this process may have open.
pub fn wait(objects: &[impl AsFd], patience: Option<Duration>) -> io::Result<Vec<usize>> {
    ready(objects, patience.map(Deadline::after))
}

/// The end of a pipe to send to.
///
/// Dropping it closes it; once all are closed whoever receives hears [`ConnectionError::Closed`].
///
/// ```
/// use brigade::{Sender, pipe};
///
/// let (receiver, sender): (_, Sender<u32>) = pipe()?;
/// sender.send(&7)?;
/// sender.close(); // what was sent can be received nevertheless
/// assert!(receiver.recv().is_ok() && receiver.recv().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Sender<T> {
    end: Carried,
    _item: PhantomData<fn(T)>,
    /// One thread at a time: the packets of two items must not mix.
    _alone: PhantomData<Cell<()>>,
}

impl<T: Value> Sender<T> {
    /// Sends an item; waits for as long as the pipe is full, which holds 64 small items or some 256 KiB of a large one.
    ///
    /// # Errors
    /// [`ConnectionError::Closed`] if nobody is left to receive it, [`ConnectionError::Encode`] if it cannot be sent.
    pub fn send(&self, item: &T) -> Result<(), ConnectionError> {
        let mut bytes = Vec::with_capacity(64);
        let encoded = encode_value(item, &mut bytes);
        encoded.map_err(|error| ConnectionError::Encode { message: error.to_string() })?;
        let written = pipe::without_sigpipe(|| {
            parcel::packets(&bytes).try_for_each(|(head, part)| pipe::write(self.end.fd(), &head, part))
        });
        written.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => ConnectionError::Closed,
            _ => error.into(),
        })
    }
}

impl<T> Sender<T> {
    fn new(end: Carried) -> Sender<T> {
        Sender { end, _item: PhantomData, _alone: PhantomData }
    }

    /// Closes it, as dropping it does.
    pub fn close(self) {}
}

/// The end of a pipe to receive from.
///
/// Dropping it closes it; once all are closed whoever sends hears [`ConnectionError::Closed`].
///
/// ```
/// use brigade::{ConnectionError, Receiver, pipe};
/// use std::time::Duration;
///
/// let (receiver, sender): (Receiver<u32>, _) = pipe()?;
/// assert!(!receiver.poll(Duration::ZERO)?);
/// let told = receiver.recv_timeout(Duration::from_millis(1));
/// assert!(matches!(told, Err(ConnectionError::TimedOut)));
/// sender.send(&7)?;
/// sender.send(&8)?;
/// drop(sender);
/// assert!(receiver.poll(Duration::ZERO)?);
/// let numbers: Result<Vec<u32>, _> = receiver.iter().collect();
/// assert_eq!(numbers?, [7, 8]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Receiver<T> {
    end: Carried,
    parcel: RefCell<Parcel>,
    _item: PhantomData<fn() -> T>,
}

impl<T: Value> Receiver<T> {
    /// Receives an item; waits for it.
    ///
    /// # Errors
    /// [`ConnectionError::Closed`] if none is left and none can come any more; see the others.
    pub fn recv(&self) -> Result<T, ConnectionError> {
        self.receive(None)
    }

    /// Receives an item; waits for it so long at most.
    ///
    /// # Errors
    /// As [`Receiver::recv`], and [`ConnectionError::TimedOut`].
    pub fn recv_timeout(&self, patience: Duration) -> Result<T, ConnectionError> {
        self.receive(Some(Deadline::after(patience)))
    }

    /// Items as they come, until the other end is closed.
    pub fn iter(&self) -> impl Iterator<Item = Result<T, ConnectionError>> + '_ {
        std::iter::from_fn(|| match self.recv() {
            Err(ConnectionError::Closed) => None,
            told => Some(told),
        })
    }

    fn receive(&self, until: Option<Deadline>) -> Result<T, ConnectionError> {
        let mut parcel = self.parcel.borrow_mut();
        let mut packet = [0; PACKET_BYTES];
        loop {
            if let Some(bytes) = parcel.take() {
                let decoded = decode_value(&bytes);
                return decoded.map_err(|error| ConnectionError::Decode { message: error.to_string() });
            }
            if until.is_some() && ready(&[self], until)?.is_empty() {
                return Err(ConnectionError::TimedOut);
            }
            match pipe::read(self.end.fd(), &mut packet)? {
                0 => return Err(ended(&mut parcel)),
                count => parcel.add(&packet[..count])?,
            }
        }
    }
}

/// What to say at the end, where something may be under way.
fn ended(parcel: &mut Parcel) -> ConnectionError {
    match std::mem::take(parcel).under_way() {
        Some((there, total)) => ConnectionError::BrokenOff { there, total },
        None => ConnectionError::Closed,
    }
}

impl<T> Receiver<T> {
    fn new(end: Carried) -> Receiver<T> {
        Receiver { end, parcel: RefCell::default(), _item: PhantomData }
    }

    /// Whether there is something to receive, or the end; waits for it so long at most. There may be the beginning of a large
    /// item, and the rest still to come.
    ///
    /// # Errors
    /// What the system says.
    pub fn poll(&self, patience: Duration) -> io::Result<bool> {
        let is_whole = self.parcel.borrow().under_way().is_some_and(|(there, total)| there == total);
        Ok(is_whole || !wait(&[self], Some(patience))?.is_empty())
    }

    /// Closes it, as dropping it does.
    pub fn close(self) {}
}

/// One end of a pipe of both directions: what it sends is a `T`, and what it receives a `U`.
///
/// Two who send each other more than the pipe holds at the same time wait for each other: one should receive meanwhile, on
/// another thread ([`Connection::split`]).
///
/// ```
/// use brigade::{Connection, duplex};
/// use std::time::Duration;
///
/// let (here, there): (Connection<u32, String>, _) = duplex()?;
/// assert!(here.recv_timeout(Duration::from_millis(1)).is_err(), "nothing has come");
/// there.send(&"one".to_owned())?;
/// assert!(here.poll(Duration::ZERO)?);
/// there.close();
/// assert_eq!(here.iter().flatten().collect::<String>(), "one");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Connection<T, U> {
    sender: Sender<T>,
    receiver: Receiver<U>,
}

impl<T: Value, U: Value> Connection<T, U> {
    /// Sends an item, as [`Sender::send`].
    ///
    /// # Errors
    /// As there.
    pub fn send(&self, item: &T) -> Result<(), ConnectionError> {
        self.sender.send(item)
    }

    /// Receives an item; waits for it.
    ///
    /// # Errors
    /// As [`Receiver::recv`].
    pub fn recv(&self) -> Result<U, ConnectionError> {
        self.receiver.recv()
    }

    /// Receives an item; waits for it so long at most.
    ///
    /// # Errors
    /// As [`Receiver::recv_timeout`].
    pub fn recv_timeout(&self, patience: Duration) -> Result<U, ConnectionError> {
        self.receiver.recv_timeout(patience)
    }

    /// Items as they come, until the other end is closed.
    pub fn iter(&self) -> impl Iterator<Item = Result<U, ConnectionError>> + '_ {
        self.receiver.iter()
    }
}

impl<T, U> Connection<T, U> {
    /// Whether there is something to receive, or the end, as [`Receiver::poll`].
    ///
    /// # Errors
    /// As there.
    pub fn poll(&self, patience: Duration) -> io::Result<bool> {
        self.receiver.poll(patience)
    }

    /// Its two halves, for two threads or two processes.
    ///
    /// ```
    /// # use std::thread;
    /// let (here, there) = brigade::duplex::<Vec<u8>, Vec<u8>>()?;
    /// let (sender, receiver) = here.split();
    /// thread::scope(|scope| {
    ///     scope.spawn(move || sender.send(&vec![7; 1 << 20])); // more than the pipe holds
    ///     scope.spawn(move || there.recv().and_then(|bytes| there.send(&bytes)));
    ///     assert_eq!(receiver.recv().map(|bytes| bytes.len()).ok(), Some(1 << 20));
    /// });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn split(self) -> (Sender<T>, Receiver<U>) {
        (self.sender, self.receiver)
    }

    /// Closes it, as dropping it does.
    pub fn close(self) {}
}

impl From<Fault> for ConnectionError {
    fn from(fault: Fault) -> ConnectionError {
        match fault {
            Fault::BrokenOff { there, total } => ConnectionError::BrokenOff { there, total },
            Fault::Damaged { there } => ConnectionError::Damaged { there },
            Fault::TooLarge { total } => ConnectionError::TooLarge { total },
        }
    }
}

impl<T> AsFd for Receiver<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.fd()
    }
}

/// The end to receive from: what [`wait`] asks for.
impl<T, U> AsFd for Connection<T, U> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.receiver.as_fd()
    }
}

impl<T> Serialize for Sender<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.end.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Sender<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Sender<T>, D::Error> {
        let end = Carried::deserialize(deserializer)?;
        pipe::write_packets(end.fd()).map_err(D::Error::custom)?;
        Ok(Sender::new(end))
    }
}

impl<T> Serialize for Receiver<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.parcel.borrow().under_way() {
            Some((there, total)) => {
                let words = format!("{there} of {total} bytes of an item have come here: receive it first");
                Err(S::Error::custom(words))
            }
            None => self.end.serialize(serializer),
        }
    }
}

impl<'de, T> Deserialize<'de> for Receiver<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Receiver<T>, D::Error> {
        Carried::deserialize(deserializer).map(Receiver::new)
    }
}

impl<T, U> Serialize for Connection<T, U> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.sender, &self.receiver).serialize(serializer)
    }
}

impl<'de, T, U> Deserialize<'de> for Connection<T, U> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Connection<T, U>, D::Error> {
        let (sender, receiver) = Deserialize::deserialize(deserializer)?;
        Ok(Connection { sender, receiver })
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("end", &self.end).finish()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("end", &self.end).finish_non_exhaustive()
    }
}

impl<T, U> fmt::Debug for Connection<T, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Connection { sender, receiver } = self;
        f.debug_struct("Connection").field("sender", sender).field("receiver", receiver).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::assert_one_line;

    #[test]
    fn every_error_of_a_pipe_is_one_line() {
        let two = || "a\nb".to_owned();
        let all = [
            ConnectionError::Closed,
            ConnectionError::TimedOut,
            ConnectionError::BrokenOff { there: 1, total: 2 },
            ConnectionError::Damaged { there: 1 },
            ConnectionError::TooLarge { total: 2 },
            ConnectionError::Encode { message: two() },
            ConnectionError::Decode { message: two() },
            ConnectionError::Os(io::Error::other(two())),
        ];
        all.iter().for_each(|error| assert_one_line(error));
    }
}
