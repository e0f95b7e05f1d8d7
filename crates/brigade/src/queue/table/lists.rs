//! Rows of a queue by their words, and lists of them. A link is a row's number plus one; 0 is the end.

use super::{Guard, Table};
use brigade_os::rows::Row;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::Release};

/// What a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Free = 0,
    Ready = 1,
    Leased = 2,
    Filling = 3,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) kind: Kind,
    /// How often it was leased.
    pub(super) tries: u32,
    /// Whose it is, if it is Leased or Filling.
    pub(super) seat: u32,
}

pub(super) const TRIES_MAX: u32 = 0x00FF_FFFF;

impl State {
    pub(super) const FREE: State = State { kind: Kind::Free, tries: 0, seat: 0 };

    pub(super) fn of(word: u64) -> State {
        let kind = match word & 0xFF {
            1 => Kind::Ready,
            2 => Kind::Leased,
            3 => Kind::Filling,
            _ => Kind::Free,
        };
        State { kind, tries: (word >> 8) as u32 & TRIES_MAX, seat: (word >> 32) as u32 }
    }

    pub(super) fn word(self) -> u64 {
        self.kind as u64 | u64::from(self.tries.min(TRIES_MAX)) << 8 | u64::from(self.seat) << 32
    }
}

/// Which words of a row are what.
pub(super) const STATE: usize = 0;
pub(super) const NUMBER: usize = 1;
pub(super) const LENGTH: usize = 2;
pub(super) const SUM_AND_LINK: usize = 3;
pub(super) const BYTES: usize = 4;

pub(super) fn get(word: &AtomicU32) -> u32 {
    word.load(Relaxed)
}

pub(super) fn set(word: &AtomicU32, value: u32) {
    #[cfg(test)]
    super::tests::step();
    word.store(value, Relaxed);
}

pub(super) fn add(word: &AtomicU32, by: i32) {
    set(word, get(word).saturating_add_signed(by));
}

pub(super) fn set_long(word: &AtomicU64, value: u64) {
    #[cfg(test)]
    super::tests::step();
    word.store(value, Relaxed);
}

impl Table {
    pub(super) fn row(&self, row: u32) -> &Row {
        self.rows.row(row)
    }

    pub(super) fn state(&self, row: u32) -> State {
        State::of(self.row(row)[STATE].load(Relaxed))
    }

    /// The one store that counts: everything before it in the program is done before.
    pub(super) fn commit(&self, row: u32, state: State) {
        #[cfg(test)]
        super::tests::step();
        self.row(row)[STATE].store(state.word(), Release);
    }

    pub(super) fn number(&self, row: u32) -> u64 {
        self.row(row)[NUMBER].load(Relaxed)
    }

    pub(super) fn link(&self, row: u32) -> u32 {
        self.row(row)[SUM_AND_LINK].load(Relaxed) as u32
    }

    pub(super) fn set_link(&self, row: u32, link: u32) {
        let word = &self.row(row)[SUM_AND_LINK];
        set_long(word, word.load(Relaxed) >> 32 << 32 | u64::from(link));
    }

    pub(super) fn push(&self, list: &AtomicU32, row: u32) {
        self.set_link(row, get(list));
        set(list, row + 1);
    }

    /// The rows of a list.
    pub(super) fn list(&self, first: u32) -> impl Iterator<Item = u32> {
        let mut link = first;
        std::iter::from_fn(move || {
            let row = link.checked_sub(1)?;
            link = self.link(row);
            Some(row)
        })
    }

    pub(super) fn take_in_hand(&self, guard: &Guard, row: u32, count: &AtomicU32) {
        self.push(&guard.in_hand, row);
        add(count, 1);
    }

    pub(super) fn let_go(&self, guard: &Guard, row: u32, count: &AtomicU32) {
        let before = self.list(get(&guard.in_hand)).find(|at| self.link(*at) == row + 1);
        match before {
            Some(before) => self.set_link(before, self.link(row)),
            None => set(&guard.in_hand, self.link(row)),
        }
        add(count, -1);
    }

    /// Puts a row among those that are ready, by its number.
    pub(super) fn make_ready(&self, guard: &Guard, row: u32) {
        let number = self.number(row);
        let last = get(&guard.last).checked_sub(1).filter(|last| self.number(*last) < number);
        let before =
            last.or_else(|| self.list(get(&guard.first)).take_while(|at| self.number(*at) < number).last());
        let after = before.map_or(get(&guard.first), |before| self.link(before));
        self.set_link(row, after);
        match before {
            Some(before) => self.set_link(before, row + 1),
            None => set(&guard.first, row + 1),
        }
        if after == 0 {
            set(&guard.last, row + 1);
        }
        add(&guard.ready, 1);
    }

    /// The first of those that are ready is none of them any more.
    pub(super) fn remove_first(&self, guard: &Guard) {
        let Some(first) = get(&guard.first).checked_sub(1) else { return };
        let second = self.link(first);
        set(&guard.first, second);
        if second == 0 {
            set(&guard.last, 0);
        }
        add(&guard.ready, -1);
    }
}
