//! What a manager and its clients say to each other, how each shows the other that it has the key, and where.
//!
//! ```text
//! server ─▶ hello │ nonce 32                                       client
//!        ◀─ nonce 32 │ HMAC-SHA-256(key, "client", both nonces) 32
//! server ─▶ HMAC-SHA-256(key, "server", both nonces, instance) 32 │ instance 16
//!
//! and then frames: length of the body u32 │ CRC-32C of the body u32 │ CRC-32C of these eight bytes u32 │ body: Ask or Answer
//! ```
//!
//! The head has a sum of its own: nobody waits for bytes that only a damaged length has announced.

use brigade_os::clock::Deadline;
use brigade_os::dial::dial;
use brigade_wire::{Damage, hold_to};
use crc32c::crc32c;
use hmac::{Hmac, Mac};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::Duration;

/// What a manager says first.
const HELLO: &[u8; 8] = b"brigade2";

/// How long the other side may take to show that it has the key.
const SHOW_WITHIN: Duration = Duration::from_secs(10);

/// A manager's own number, by chance: another one at the same address has another.
pub(super) type Instance = [u8; 16];

/// Bytes of a value, as a client has encoded it: the manager never looks inside.
pub(super) type Blob = Vec<u8>;

/// What is asked of a manager.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Ask {
    /// An object: a new one, or the one of that name, which is made if there is none.
    Make {
        name: Option<String>,
        is_list: bool,
        shape: String,
    },
    List(u64, OfList),
    Dict(u64, OfDict),
}

/// What is asked of a list.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum OfList {
    Extend(Vec<Blob>),
    Insert(u64, Blob),
    Get(u64),
    /// Replaces; with `if_is`, only that.
    Set {
        index: u64,
        value: Blob,
        if_is: Option<Blob>,
    },
    /// The last, if no index is said.
    Remove(Option<u64>),
    Len,
    All,
    Clear,
}

/// What is asked of a dict.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum OfDict {
    Get(Blob),
    Extend(Vec<(Blob, Blob)>),
    /// Replaces one, or removes it.
    Put(Blob, Option<Blob>),
    /// The same, if it is what was seen.
    Exchange {
        key: Blob,
        value: Option<Blob>,
        if_is: Option<Blob>,
    },
    Len,
    All,
    Clear,
}

/// What a manager answers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    Object(u64),
    Done,
    /// What is there, or was there.
    Found(Option<Blob>),
    /// Whether it was what was seen.
    Was(bool),
    Count(u64),
    Values(Vec<Blob>),
    Items(Vec<(Blob, Blob)>),
    OutOfRange(u64),
    OtherShape(String),
    /// What was asked makes no sense for that object.
    Nonsense,
    /// What was asked came damaged, and was not done: bytes, their sum, and the one that was told.
    Damaged(u64, u32, u32),
}

/// Why nothing could be said, or nothing heard. The connection is of no use then.
#[derive(Debug)]
pub(super) enum Lost {
    /// What the system says.
    Io(io::Error),
    /// There was nothing, or no room, in time.
    Late,
    /// These bytes are not those that were sent.
    Damaged(Damage),
    /// They are, and no words of ours.
    Strange(String),
    /// It cannot be said.
    Unsaid(String),
}

impl From<io::Error> for Lost {
    fn from(error: io::Error) -> Lost {
        match error.kind() {
            // The one for a time that is over before the system was asked, the other for one that was over there.
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Lost::Late,
            _ => Lost::Io(error),
        }
    }
}

/// Why somebody at an address is not a manager of ours.
#[derive(Debug)]
pub(super) enum Unmet {
    /// He was not reached, or hung up before he said who he is.
    Lost(Lost),
    /// He is no manager.
    Stranger,
    /// One of the two has another key.
    Denied,
}

impl<T: Into<Lost>> From<T> for Unmet {
    fn from(error: T) -> Unmet {
        Unmet::Lost(error.into())
    }
}

/// A connection until a time, if there is one: a stopped manager keeps its connections open, and silent.
struct Timed<'a>(&'a UnixStream, Option<Deadline>);

impl Timed<'_> {
    fn left(&self) -> io::Result<Option<Duration>> {
        self.1.map(|until| until.left().ok_or_else(|| io::ErrorKind::TimedOut.into())).transpose()
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if let Some(left) = self.left()? {
            self.0.set_read_timeout(Some(left))?;
        }
        self.0.read(bytes)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(left) = self.left()? {
            self.0.set_write_timeout(Some(left))?;
        }
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes a connection that was used until a time one for whoever has all the time.
pub(super) fn untimed(stream: &UnixStream) -> io::Result<()> {
    stream.set_read_timeout(None)?;
    stream.set_write_timeout(None)
}

/// So many bytes by chance.
pub(super) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Who has the key can say this.
fn proof(key: &[u8], who: &[u8], words: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key may be of any length");
    mac.update(who);
    words.iter().for_each(|word| mac.update(word));
    mac
}

/// The server's part. After an error the connection is of no use.
pub(super) fn admit(mut stream: &UnixStream, key: &[u8], instance: &Instance) -> io::Result<()> {
    stream.set_read_timeout(Some(SHOW_WITHIN))?;
    let own: [u8; 32] = random()?;
    stream.write_all(&[HELLO.as_slice(), &own].concat())?;
    let mut shown = [0; 64];
    stream.read_exact(&mut shown)?;
    let (theirs, proven) = shown.split_at(32);
    let denied = |_| io::Error::from(io::ErrorKind::PermissionDenied);
    proof(key, b"client", &[&own, theirs]).verify_slice(proven).map_err(denied)?;
    let own_proof = proof(key, b"server", &[&own, theirs, instance]).finalize().into_bytes();
    stream.write_all(&[own_proof.as_slice(), instance].concat())?;
    stream.set_read_timeout(None)
}

/// The client's part, until that time and not for longer than anybody is given. Returns which manager this is.
pub(super) fn introduce(stream: &UnixStream, key: &[u8], until: Option<Deadline>) -> Result<Instance, Unmet> {
    let mut timed = Timed(stream, Some(soon(until)));
    let mut hello = [0; 40];
    timed.read_exact(&mut hello)?;
    let (word, theirs) = hello.split_at(8);
    if word != HELLO {
        return Err(Unmet::Stranger);
    }
    let own: [u8; 32] = random()?;
    let own_proof = proof(key, b"client", &[theirs, &own]).finalize().into_bytes();
    timed.write_all(&[own.as_slice(), &own_proof].concat())?;
    let mut shown = [0; 48];
    // Whoever is not believed is hung up on.
    timed.read_exact(&mut shown).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => Unmet::Denied,
        _ => error.into(),
    })?;
    let (proven, instance) = shown.split_at(32);
    let denied = |_| Unmet::Denied;
    proof(key, b"server", &[theirs, &own, instance]).verify_slice(proven).map_err(denied)?;
    untimed(stream)?;
    Ok(instance.try_into().expect("48 bytes are 32 and 16"))
}

fn soon(until: Option<Deadline>) -> Deadline {
    let show_within = Deadline::after(SHOW_WITHIN);
    until.map_or(show_within, |until| until.min(show_within))
}

/// A head: the length of a body and its sum, and the sum of these.
const HEAD_BYTES: usize = 12;

fn head(body: &[u8]) -> Result<[u8; HEAD_BYTES], Lost> {
    let length = u32::try_from(body.len());
    let length = length.map_err(|_| Lost::Unsaid(format!("{} bytes: 4 GiB are the most", body.len())))?;
    let mut head = [0; HEAD_BYTES];
    head[..4].copy_from_slice(&length.to_le_bytes());
    head[4..8].copy_from_slice(&crc32c(body).to_le_bytes());
    let sum = crc32c(&head[..8]);
    head[8..].copy_from_slice(&sum.to_le_bytes());
    Ok(head)
}

/// The length of the body, and the sum that is told of it.
fn announced(head: &[u8; HEAD_BYTES]) -> Result<(u64, u32), Damage> {
    let word = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes of twelve"));
    hold_to(word(8), &head[..8])?;
    Ok((u64::from(word(0)), word(4)))
}

/// Writes one frame, until that time if there is one.
pub(super) fn say<T: Serialize + 'static>(
    stream: &UnixStream,
    words: &T,
    until: Option<Deadline>,
) -> Result<(), Lost> {
    let mut frame = vec![0; HEAD_BYTES];
    brigade_wire::encode_value(words, &mut frame).map_err(|error| Lost::Unsaid(error.to_string()))?;
    let head = head(&frame[HEAD_BYTES..])?;
    frame[..HEAD_BYTES].copy_from_slice(&head);
    Ok(Timed(stream, until).write_all(&frame)?)
}

/// Reads one frame; `UnexpectedEof` at the end of the connection.
pub(super) fn hear<T: DeserializeOwned + 'static>(
    stream: &UnixStream,
    until: Option<Deadline>,
) -> Result<T, Lost> {
    let mut timed = Timed(stream, until);
    let mut head = [0; HEAD_BYTES];
    timed.read_exact(&mut head)?;
    let (length, told) = announced(&head).map_err(Lost::Damaged)?;
    let mut body = Vec::new();
    // Memory is taken for what comes, not for what was announced.
    if timed.take(length).read_to_end(&mut body)? as u64 != length {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    hold_to(told, &body).map_err(Lost::Damaged)?;
    brigade_wire::decode_value(&body).map_err(|error| Lost::Strange(error.to_string()))
}

/// Of an address as people write it: a path, or behind an `@` a name that is in no file system.
pub(super) fn socket_address(address: &str) -> io::Result<SocketAddr> {
    match address.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None if is_host_and_port(address) => {
            let words = "that is a host and a port, and a manager listens on a Unix socket: give it a path, or @ and a name";
            Err(io::Error::new(io::ErrorKind::InvalidInput, words))
        }
        None => SocketAddr::from_pathname(address),
    }
}

/// As Python's managers have it, in a tuple. A file of such a name is had by `./` before it.
fn is_host_and_port(address: &str) -> bool {
    let port = address.rsplit_once(':').map(|(_, port)| port);
    port.is_some_and(|port| port.parse::<u16>().is_ok()) && !address.contains('/')
}

/// Connects, until that time and not for longer than anybody is given.
pub(super) fn connect(address: &str, until: Option<Deadline>) -> io::Result<UnixStream> {
    dial(&socket_address(address)?, soon(until))
}

/// Listens. A socket's file that a killed manager has left is removed first.
pub(super) fn listen(address: &str) -> io::Result<UnixListener> {
    forget(address)?;
    UnixListener::bind_addr(&socket_address(address)?)
}

/// Removes the file of an address that has one, unless somebody listens there.
pub(super) fn forget(address: &str) -> io::Result<()> {
    let is_refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    match is_socket_file(address) && connect(address, None).is_err_and(is_refused) {
        true => fs::remove_file(address),
        false => Ok(()),
    }
}

fn is_socket_file(address: &str) -> bool {
    !address.starts_with('@') && fs::symlink_metadata(address).is_ok_and(|file| file.file_type().is_socket())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is heard of these bytes, before their sender hangs up.
    fn heard(bytes: &[u8]) -> Result<Answer, Lost> {
        let (one, mut other) = UnixStream::pair().unwrap();
        other.write_all(bytes).unwrap();
        // It stays open: nobody is to wait for more than was sent.
        hear(&one, Some(Deadline::after(Duration::from_secs(10))))
    }

    #[test]
    fn no_changed_bit_of_a_frame_of_the_manager_goes_unnoticed_nor_has_it_anybody_wait() {
        let (one, mut other) = UnixStream::pair().unwrap();
        say(&one, &Answer::Values(vec![b"apple".to_vec()]), None).unwrap();
        drop(one);
        let mut frame = Vec::new();
        other.read_to_end(&mut frame).unwrap();
        assert!(matches!(heard(&frame), Ok(Answer::Values(_))));
        for bit in 0..8 * frame.len() {
            let mut bent = frame.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            let of = if bit / 8 < HEAD_BYTES { 8 } else { frame.len() - HEAD_BYTES };
            let told = heard(&bent);
            assert!(
                matches!(told, Err(Lost::Damaged(damage)) if damage.bytes == of as u64),
                "bit {bit}: {told:?}"
            );
        }
    }

    #[test]
    fn whoever_says_nothing_is_waited_for_until_the_time_is_over() {
        let (one, _other) = UnixStream::pair().unwrap();
        let told = hear::<Answer>(&one, Some(Deadline::after(Duration::from_millis(20))));
        assert!(matches!(told, Err(Lost::Late)), "{told:?}");
    }
}
