//! What is more than bytes and yet goes along in an argument: a descriptor, behind shared memory or a pipe.
//!
//! Its bytes say who has it and under which number, and whoever reads them opens it anew. So it must stay open until then:
//! a call keeps what its arguments carry until it has its final word, the start of a process until that has opened it, and a worker
//! what its results carry until it ends.

use brigade_os::lend::{Access, Loan};
use brigade_os::ready::ready;
use brigade_wire::encode_value;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cell::RefCell;
use std::fs::File;
use std::io::{self, PipeReader, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

/// A descriptor that travels.
#[derive(Clone, Debug)]
pub(crate) struct Carried {
    fd: Kept,
    access: Access,
}

/// Keeps one open.
pub(crate) type Kept = Arc<OwnedFd>;

thread_local! {
    /// Where those are put that this thread encodes, if somebody keeps them.
    static BASKET: RefCell<Option<Vec<Kept>>> = const { RefCell::new(None) };
}

/// What results of this worker carry.
static RESULTS: Mutex<Vec<Kept>> = Mutex::new(Vec::new());

impl Carried {
    /// `access` is what whoever gets it may do.
    pub(crate) fn new(fd: OwnedFd, access: Access) -> Carried {
        Carried { fd: Arc::new(fd), access }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Encodes something, and gives what that carries. A thread at its very end has no basket any more, and carries nothing.
pub(crate) fn collect<T>(encode: impl FnOnce() -> T) -> (T, Vec<Kept>) {
    let exchange = |new| BASKET.try_with(|basket| basket.replace(new)).ok().flatten();
    let outer = exchange(Some(Vec::new()));
    let encoded = encode();
    (encoded, exchange(outer).unwrap_or_default())
}

/// Keeps these until this process ends: nobody says when whoever gets a result has read it.
pub(crate) fn keep(kept: Vec<Kept>) {
    if !kept.is_empty() {
        RESULTS.lock().unwrap_or_else(PoisonError::into_inner).extend(kept);
    }
}

/// What the argument of a process carries, until that has opened it.
///
/// A pipe goes along, and the process writes to it when it has; so nothing that was given away is kept open here any longer.
#[derive(Debug)]
pub(crate) struct Passage {
    kept: Vec<Kept>,
    arrived: PipeReader,
}

/// How a process tells that it has opened everything, if there was something.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Arrival(Option<Carried>);

impl Passage {
    /// Puts what tells of the arrival behind the argument; none if nothing is carried.
    pub(crate) fn of(mut kept: Vec<Kept>, bytes: &mut Vec<u8>) -> io::Result<Option<Passage>> {
        let (arrival, arrived) = match kept.is_empty() {
            true => (Arrival(None), None),
            false => {
                let (reader, writer) = io::pipe()?;
                (Arrival(Some(Carried::new(writer.into(), Access::Write))), Some(reader))
            }
        };
        let (encoded, own) = collect(|| encode_value(&arrival, bytes));
        encoded.map_err(io::Error::other)?;
        kept.extend(own);
        Ok(arrived.map(|arrived| Passage { kept, arrived }))
    }

    /// Waits until the process has opened it, or has ended.
    pub(crate) fn end(self, process: BorrowedFd<'_>) {
        // Whatever is wrong with the wait, what is kept is closed.
        let _ = ready(&[self.arrived.as_fd(), process], None);
        drop(self.kept);
    }
}

impl Arrival {
    pub(crate) fn tell(self) {
        if let Some(Carried { fd, .. }) = self.0 {
            // Nobody waits any more whom this would not reach.
            let _ = Arc::try_unwrap(fd).map(|fd| File::from(fd).write_all(&[1]));
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Numbers {
    owner: u32,
    number: i32,
    device: u64,
    inode: u64,
    access: u8,
}

impl Serialize for Carried {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let loan = Loan::of(self.fd()).map_err(S::Error::custom)?;
        let keep = |basket: &RefCell<Option<Vec<Kept>>>| {
            basket.borrow_mut().as_mut().map(|kept| kept.push(self.fd.clone())).is_some()
        };
        if !BASKET.try_with(keep).unwrap_or(false) {
            let words = "shared objects can be sent to processes of this program, and written nowhere else";
            return Err(S::Error::custom(words));
        }
        let Loan { owner, number, device, inode } = loan;
        Numbers { owner, number, device, inode, access: self.access as u8 }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Carried {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Carried, D::Error> {
        let Numbers { owner, number, device, inode, access } = Numbers::deserialize(deserializer)?;
        let access = match access {
            0 => Access::Read,
            1 => Access::Write,
            _ => Access::Both,
        };
        let opened = Loan { owner, number, device, inode }.open(access);
        let opened =
            opened.map_err(|error: io::Error| D::Error::custom(format!("shared object: {error}")))?;
        Ok(Carried::new(opened, access))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use brigade_wire::decode_value;
    use std::io::Read;

    #[test]
    fn a_carried_pipe_is_open_until_the_basket_is_dropped() {
        let (mut reader, writer) = io::pipe().unwrap();
        let carried = Carried::new(writer.into(), Access::Write);
        let mut bytes = Vec::new();
        let (encoded, kept) = collect(|| encode_value(&carried, &mut bytes));
        encoded.unwrap();
        assert_eq!(kept.len(), 1);
        drop(carried);
        let opened: Carried = decode_value(&bytes).unwrap();
        drop(kept);
        assert!(decode_value::<Carried>(&bytes).is_err(), "nobody keeps it");
        File::from(opened.fd().try_clone_to_owned().unwrap()).write_all(b"x").unwrap();
        drop(opened);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "x");
    }

    #[test]
    fn nobody_writes_one_where_nobody_keeps_it() {
        let (reader, _writer) = io::pipe().unwrap();
        let carried = Carried::new(reader.into(), Access::Read);
        assert!(encode_value(&carried, &mut Vec::new()).is_err());
    }
}
