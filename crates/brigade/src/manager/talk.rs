//! What a manager and its clients say to each other, how each shows the other that it has the key, and where.
//!
//! ```text
//! server ─▶ hello │ nonce 32                                       client
//!        ◀─ nonce 32 │ HMAC-SHA-256(key, "client", both nonces) 32
//! server ─▶ HMAC-SHA-256(key, "server", both nonces) 32 │ instance 16     and then frames: length u32 │ Ask or Answer
//! ```

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
const HELLO: &[u8; 8] = b"brigade1";

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
}

/// So many bytes by chance.
pub(super) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Who has the key can say this.
fn proof(key: &[u8], who: &[u8], nonces: [&[u8]; 2]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key may be of any length");
    mac.update(who);
    nonces.iter().for_each(|nonce| mac.update(nonce));
    mac
}

fn denied() -> io::Error {
    io::ErrorKind::PermissionDenied.into()
}

/// The server's part. After an error the connection is of no use.
pub(super) fn admit(mut stream: &UnixStream, key: &[u8], instance: &Instance) -> io::Result<()> {
    stream.set_read_timeout(Some(SHOW_WITHIN))?;
    let own: [u8; 32] = random()?;
    stream.write_all(&[HELLO.as_slice(), &own].concat())?;
    let mut shown = [0; 64];
    stream.read_exact(&mut shown)?;
    let (theirs, proven) = shown.split_at(32);
    proof(key, b"client", [&own, theirs]).verify_slice(proven).map_err(|_| denied())?;
    let own_proof = proof(key, b"server", [&own, theirs]).finalize().into_bytes();
    stream.write_all(&[own_proof.as_slice(), instance].concat())?;
    stream.set_read_timeout(None)
}

/// The client's part: `PermissionDenied` if either has another key. Returns which manager this is.
pub(super) fn introduce(mut stream: &UnixStream, key: &[u8]) -> io::Result<Instance> {
    stream.set_read_timeout(Some(SHOW_WITHIN))?;
    let mut hello = [0; 40];
    stream.read_exact(&mut hello)?;
    let (word, theirs) = hello.split_at(8);
    if word != HELLO {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "whoever listens there is no manager"));
    }
    let own: [u8; 32] = random()?;
    let own_proof = proof(key, b"client", [theirs, &own]).finalize().into_bytes();
    stream.write_all(&[own.as_slice(), &own_proof].concat())?;
    let mut shown = [0; 48];
    // Whoever is not believed is hung up on.
    stream.read_exact(&mut shown).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => denied(),
        _ => error,
    })?;
    let (proven, instance) = shown.split_at(32);
    proof(key, b"server", [theirs, &own]).verify_slice(proven).map_err(|_| denied())?;
    stream.set_read_timeout(None)?;
    Ok(instance.try_into().expect("48 bytes are 32 and 16"))
}

/// Writes one frame.
pub(super) fn say<T: Serialize>(mut stream: &UnixStream, words: &T) -> io::Result<()> {
    let mut frame = vec![0; 4];
    brigade_wire::encode_value(words, &mut frame).map_err(io::Error::other)?;
    let length = u32::try_from(frame.len() - 4).map_err(|_| io::ErrorKind::InvalidInput)?;
    frame[..4].copy_from_slice(&length.to_le_bytes());
    stream.write_all(&frame)
}

/// Reads one frame; `UnexpectedEof` at the end of the connection.
pub(super) fn hear<T: DeserializeOwned>(mut stream: &UnixStream) -> io::Result<T> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u64::from(u32::from_le_bytes(length));
    let mut frame = Vec::new();
    // Memory is taken for what comes, not for what was announced.
    if stream.take(length).read_to_end(&mut frame)? as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    brigade_wire::decode_value(&frame).map_err(io::Error::other)
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

pub(super) fn connect(address: &str) -> io::Result<UnixStream> {
    UnixStream::connect_addr(&socket_address(address)?)
}

/// Listens. A socket's file that a killed manager has left is removed first.
pub(super) fn listen(address: &str) -> io::Result<UnixListener> {
    forget(address)?;
    UnixListener::bind_addr(&socket_address(address)?)
}

/// Removes the file of an address that has one, unless somebody listens there.
pub(super) fn forget(address: &str) -> io::Result<()> {
    let is_refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    match is_socket_file(address) && connect(address).is_err_and(is_refused) {
        true => fs::remove_file(address),
        false => Ok(()),
    }
}

fn is_socket_file(address: &str) -> bool {
    !address.starts_with('@') && fs::symlink_metadata(address).is_ok_and(|file| file.file_type().is_socket())
}
