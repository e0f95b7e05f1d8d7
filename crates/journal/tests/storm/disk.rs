//! A disk that forgets, reorders, tears, bends, fills up and fails; but never what it said it had.
//!
//! ```text
//! append ─▶ cache: what any process reads ─▶ pending ─ fdatasync ─▶ platter: what is left without power
//! ```

use super::dice::Dice;
use brigade_journal::Storage;
use std::cell::RefCell;
use std::io;
use std::path::Path;
use std::rc::Rc;

const ENOSPC: i32 = 28;
const EIO: i32 = 5;

/// The faults that wait, and the bytes.
#[derive(Debug)]
pub(crate) struct State {
    /// What the kernel shows.
    pub(crate) cache: Vec<u8>,
    /// What is left without power.
    platter: Vec<u8>,
    /// What would have to be done to the platter.
    pending: Vec<Write>,
    is_named: bool,
    pub(crate) capacity: usize,
    /// The process is killed within this many changes from now.
    pub(crate) kill_in: Option<u64>,
    /// This many syncs from now one fails.
    pub(crate) fail_sync_in: Option<u64>,
    /// The process is dead: nothing it does arrives.
    pub(crate) is_dead: bool,
    pub(crate) sync_failed: bool,
    dice: Dice,
}

#[derive(Debug)]
enum Write {
    Append { at: usize, bytes: Vec<u8> },
    Truncate { len: usize },
}

/// A handle, as a process holds it; the disk outlives it.
#[derive(Clone, Debug)]
pub(crate) struct Disk(pub(crate) Rc<RefCell<State>>);

impl Disk {
    pub(crate) fn new(seed: u64) -> Disk {
        Disk(Rc::new(RefCell::new(State {
            cache: Vec::new(),
            platter: Vec::new(),
            pending: Vec::new(),
            is_named: false,
            capacity: usize::MAX,
            kill_in: None,
            fail_sync_in: None,
            is_dead: false,
            sync_failed: false,
            dice: Dice::new(seed),
        })))
    }

    /// A disk that has these bytes.
    pub(crate) fn of(bytes: &[u8]) -> Disk {
        let disk = Disk::new(0);
        let mut state = disk.0.borrow_mut();
        state.cache = bytes.to_vec();
        state.platter = bytes.to_vec();
        state.is_named = true;
        drop(state);
        disk
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.borrow().cache.clone()
    }

    /// Another process comes; the faults of the last one are gone.
    pub(crate) fn rest(&self) {
        let mut state = self.0.borrow_mut();
        (state.is_dead, state.sync_failed) = (false, false);
        (state.kill_in, state.fail_sync_in, state.capacity) = (None, None, usize::MAX);
    }

    /// What had not been synced is kept in part, block by block, in no order.
    pub(crate) fn lose_power(&self) {
        let state = &mut *self.0.borrow_mut();
        let block = [8, 64, 512][state.dice.below(3) as usize];
        let kept_of_ten = state.dice.below(11);
        let last = state.pending.len().saturating_sub(1);
        for (number, write) in std::mem::take(&mut state.pending).into_iter().enumerate() {
            match write {
                // File systems keep the order of changes to a length; only the last can be lost.
                Write::Truncate { .. } if number == last && state.dice.once_in(2) => {}
                Write::Truncate { len } => state.platter.truncate(len),
                Write::Append { at, bytes } => state.keep_blocks(at, &bytes, block, kept_of_ten),
            }
        }
        if !state.is_named && state.dice.once_in(2) {
            state.platter.clear();
        }
        state.is_named = true;
        state.cache = state.platter.clone();
    }

    /// Bends one bit.
    pub(crate) fn bend(&self, at: usize, bit: u64) {
        let state = &mut *self.0.borrow_mut();
        state.cache[at] ^= 1 << bit;
        state.settle();
    }

    /// Puts this byte over as many as are there.
    pub(crate) fn wipe(&self, at: usize, bytes: usize, with: u8) {
        let state = &mut *self.0.borrow_mut();
        let until = (at + bytes).min(state.cache.len());
        state.cache[at..until].fill(with);
        state.settle();
    }
}

impl State {
    /// What the kernel shows is on the platter, damage included.
    fn settle(&mut self) {
        self.pending.clear();
        self.platter = self.cache.clone();
    }

    fn keep_blocks(&mut self, at: usize, bytes: &[u8], block: usize, kept_of_ten: u64) {
        let torn_at = at + self.dice.below(bytes.len() as u64 + 1) as usize;
        let mut from = at;
        while from < at + bytes.len() {
            let until = ((from / block + 1) * block).min(at + bytes.len());
            let kept_until = if torn_at > from && torn_at < until { torn_at } else { until };
            if self.dice.below(10) < kept_of_ten {
                put(&mut self.platter, from, &bytes[from - at..kept_until - at]);
            }
            from = until;
        }
    }

    /// Whether the process is killed in this very change.
    fn is_killed(&mut self) -> bool {
        match self.kill_in {
            Some(0) => {
                self.is_dead = true;
                true
            }
            Some(left) => {
                self.kill_in = Some(left - 1);
                false
            }
            None => false,
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        let at = self.cache.len();
        self.cache.extend_from_slice(bytes);
        self.pending.push(Write::Append { at, bytes: bytes.to_vec() });
    }

    fn check_alive(&self) -> io::Result<()> {
        if self.is_dead { Err(killed()) } else { Ok(()) }
    }
}

fn put(platter: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    platter.resize(platter.len().max(at + bytes.len()), 0);
    platter[at..at + bytes.len()].copy_from_slice(bytes);
}

fn killed() -> io::Error {
    io::Error::other("the process is dead")
}

impl Storage for Disk {
    fn path(&self) -> &Path {
        Path::new("disk")
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.borrow().cache.len() as u64)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let state = &mut *self.0.borrow_mut();
        state.check_alive()?;
        if state.is_killed() {
            let until = state.dice.below(bytes.len() as u64 + 1) as usize;
            state.add(&bytes[..until]);
            return Err(killed());
        }
        let room = state.capacity.saturating_sub(state.cache.len());
        if bytes.len() > room {
            state.add(&bytes[..room]);
            return Err(io::Error::from_raw_os_error(ENOSPC));
        }
        state.add(bytes);
        Ok(())
    }

    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let state = self.0.borrow();
        let from = at as usize;
        let bytes = state.cache.get(from..from + into.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        into.copy_from_slice(bytes);
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        let state = &mut *self.0.borrow_mut();
        state.check_alive()?;
        // Between a failed sync and the cut after it no kill comes: the crate promises nothing about that moment.
        if !state.sync_failed && state.is_killed() && state.dice.once_in(2) {
            return Err(killed());
        }
        let len = len as usize;
        state.cache.truncate(len);
        state.pending.push(Write::Truncate { len });
        state.check_alive()
    }

    fn fdatasync(&mut self) -> io::Result<()> {
        let state = &mut *self.0.borrow_mut();
        state.check_alive()?;
        if state.is_killed() {
            return Err(killed());
        }
        match state.fail_sync_in {
            // What could not be written is forgotten: the next sync would say that all is well.
            Some(0) => {
                (state.sync_failed, state.fail_sync_in) = (true, None);
                state.pending.clear();
                return Err(io::Error::from_raw_os_error(EIO));
            }
            Some(left) => state.fail_sync_in = Some(left - 1),
            None => {}
        }
        for write in std::mem::take(&mut state.pending) {
            match write {
                Write::Append { at, bytes } => put(&mut state.platter, at, &bytes),
                Write::Truncate { len } => state.platter.truncate(len),
            }
        }
        Ok(())
    }

    fn sync_name(&mut self) -> io::Result<()> {
        let state = &mut *self.0.borrow_mut();
        state.check_alive()?;
        if state.is_killed() {
            return Err(killed());
        }
        state.is_named = true;
        Ok(())
    }
}
