//! What is more than bytes and yet goes along in an argument: a descriptor, behind shared memory or a pipe.
//!
//! Its bytes say who has it and under which number, and whoever reads them opens it anew. So it must stay open until then:
//! a call keeps what its arguments carry until it has its final word, and a worker what its results carry until they are taken
//! or dropped ([`crate::receipt`]); on a thread of this process these stay with the results. A process of its own is handed it when it is born, so that nobody else
//! need keep it: whoever waits for the end of a pipe waits for that process alone.

use crate::receipt::{self, Receipt};
use brigade_os::lend::{Access, Loan};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

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

thread_local! {
    /// What came along with the argument that is to be read on this thread.
    static BROUGHT: RefCell<Vec<OwnedFd>> = const { RefCell::new(Vec::new()) };
}

thread_local! {
    /// Where that is put which results of this thread carry, if somebody keeps it with them.
    static RETURNED: RefCell<Option<Vec<Kept>>> = const { RefCell::new(None) };
}

impl Carried {
    /// `access` is what whoever gets it may do.
    pub(crate) fn new(fd: OwnedFd, access: Access) -> Carried {
        Carried { fd: Arc::new(fd), access }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Encodes something, and gives what that carries.
pub(crate) fn collect<T>(encode: impl FnOnce() -> T) -> (T, Vec<Kept>) {
    // At the very end of a thread there is none: then nobody keeps anything, and what would have to be kept is not written.
    let swap = |basket| BASKET.try_with(|own| own.replace(basket)).ok().flatten();
    let outer = swap(Some(Vec::new()));
    let encoded = encode();
    (encoded, swap(outer).unwrap_or_default())
}

/// Calls something on this thread, and gives what its results carry.
pub(crate) fn returned<T>(call: impl FnOnce() -> T) -> (T, Vec<Kept>) {
    RETURNED.set(Some(Vec::new()));
    let called = call();
    (called, RETURNED.take().unwrap_or_default())
}

/// Keeps these for the result that begins there, of many in one row.
pub(crate) fn keep(kept: Vec<Kept>, results: &mut Vec<u8>, start: usize) {
    RETURNED.with_borrow_mut(|here| match here {
        Some(here) => here.extend(kept),
        None if kept.is_empty() => {}
        None => receipt::keep(kept, results, start),
    });
}

/// What keeps open what results carry, wherever that is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keep {
    _here: Vec<Kept>,
    _in_workers: Vec<Receipt>,
}

impl Keep {
    pub(crate) fn here(kept: Vec<Kept>) -> Keep {
        Keep { _here: kept, _in_workers: Vec::new() }
    }

    /// Of results that a worker has sent.
    pub(crate) fn in_worker<'a>(results: impl Iterator<Item = &'a [u8]>) -> Keep {
        Keep { _here: Vec::new(), _in_workers: results.filter_map(receipt::of).collect() }
    }
}

/// These have come along with an argument that this thread is about to read.
pub(crate) fn bring(files: Vec<OwnedFd>) {
    BROUGHT.set(files);
}

/// Reads an argument, and closes what came along: it has opened what it needs.
pub(crate) fn unpack<T>(read: impl FnOnce() -> T) -> T {
    let value = read();
    BROUGHT.take();
    value
}

/// The number of what came along, if it is the same as this.
fn brought(device: u64, inode: u64) -> Option<Loan> {
    let is_it = |loan: &Loan| (loan.device, loan.inode) == (device, inode);
    BROUGHT.with_borrow(|all| all.iter().filter_map(|fd| Loan::of(fd).ok()).find(is_it))
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
            basket.borrow_mut().as_mut().map(|kept| kept.push(self.fd.clone()))
        };
        if BASKET.try_with(keep).ok().flatten().is_none() {
            let words = "shared objects go along in arguments and results: they are no items, and are written nowhere else";
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
        let loan = brought(device, inode).unwrap_or(Loan { owner, number, device, inode });
        let opened = loan.open(access);
        let opened =
            opened.map_err(|error: io::Error| D::Error::custom(format!("shared object: {error}")))?;
        Ok(Carried::new(opened, access))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use brigade_wire::{decode_value, encode_value};
    use std::fs::File;
    use std::io::{Read, Write};

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
    fn what_was_brought_along_is_opened_though_nobody_else_keeps_it_and_closed_by_that() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut bytes = Vec::new();
        let carried = Carried::new(writer.into(), Access::Write);
        let (encoded, kept) = collect(|| encode_value(&carried, &mut bytes));
        encoded.unwrap();
        bring(vec![carried.fd().try_clone_to_owned().unwrap()]);
        drop((carried, kept));
        drop(unpack(|| decode_value::<Carried>(&bytes)).unwrap());
        assert_eq!(reader.read_to_string(&mut String::new()).unwrap(), 0, "its end is seen");
        assert!(decode_value::<Carried>(&bytes).is_err());
    }

    #[test]
    fn nobody_writes_one_where_nobody_keeps_it() {
        let (reader, _writer) = io::pipe().unwrap();
        let carried = Carried::new(reader.into(), Access::Read);
        assert!(encode_value(&carried, &mut Vec::new()).is_err());
    }
}
