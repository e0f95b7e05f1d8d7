//! What is where in a queue: a row for each item, from which all else follows.
//!
//! ```text
//! state │ number │ length │ checksum, link │ offset of the bytes in the file, or these themselves if they are 32 at most
//!
//! Free ──▶ Filling ──▶ Ready ──▶ Leased ──▶ Free        what is small is put, and taken, in one step
//!   ▲         │          ▲          │
//!   └─ dead ──┘          └── dead ──┘
//! ```
//!
//! Whoever holds the mutex may change rows, and whoever has one in hand, Filling or Leased, the bytes that belong to it. The
//! state word of a row is stored last, at once, and is all that counts: whoever gets the mutex from a dead makes lists and
//! counts anew from these. Bells are rung before it is stored: the dead ring no more, and who is woken must get the mutex first.

mod lists;
mod room;

use crate::carry::Carried;
use crate::sync::mutex_until;
use brigade_os::blob::{read_at, write_at};
use brigade_os::clock::Deadline;
use brigade_os::futex::Bell;
use brigade_os::lend::Access;
use brigade_os::proc::available_bytes;
use brigade_os::region::Region;
use brigade_os::robust::{Held, Robust};
use brigade_os::rows::{ROWS_AT_ONCE, Row, Rows};
use brigade_os::seat::{is_taken, sit};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lists::{BYTES, Kind, LENGTH, NUMBER, SUM_AND_LINK, State, add, get, set, set_long};
use room::WINDOW_BYTES;
pub(super) use room::{LARGE_BYTES, size};

/// How many processes may have one queue at a time, or rather handles of it that were sent to one.
pub(super) const SEATS: u32 = 4_096;

/// What is in the row itself.
pub(super) const SMALL_BYTES: u64 = 32;

brigade_os::shared! {
    /// What all have in common beside the rows.
    pub(super) struct Head {
        lock: Robust,
        /// An item may be taken, or none ever will be.
        items: Bell,
        /// There may be room for one.
        room: Bell,
        /// All may be done.
        done: Bell,
        closed: AtomicU32,
        places: AtomicU32,
        capacity: AtomicU64,
        /// What each seat has got and not reported as done.
        owed: [AtomicU32; SEATS as usize],
        /// Rows below that are, or were, in use.
        used: AtomicU32,
        // All that follows is made anew after a death.
        next_number: AtomicU64,
        first: AtomicU32,
        last: AtomicU32,
        free: AtomicU32,
        in_hand: AtomicU32,
        ready: AtomicU32,
        leased: AtomicU32,
        filling: AtomicU32,
        owed_in_all: AtomicU32,
        /// What of the file is free for sure, and how far it was ever used.
        window_start: AtomicU64,
        window_end: AtomicU64,
        high: AtomicU64,
    }
}

pub(super) type Guard = Held<Head>;

/// What somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    Item,
    Room,
    Done,
}

impl Awaited {
    pub(super) fn bell(self, head: &Head) -> &Bell {
        match self {
            Awaited::Item => &head.items,
            Awaited::Room => &head.room,
            Awaited::Done => &head.done,
        }
    }
}

/// A row that this process has in hand, and what is in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    row: u32,
    number: u64,
    offset: u64,
    /// How long the item is.
    pub(super) bytes: u64,
    /// Its CRC-32C.
    pub(super) sum: u32,
    /// How often it was leased, this time included.
    pub(super) tries: u32,
}

impl Place {
    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

/// Whether there is so much memory to be had: the kernel would end somebody to find it.
fn there_is(bytes: u64) -> io::Result<()> {
    match available_bytes().filter(|there| bytes > *there) {
        Some(there) => {
            let words = format!("an item of {bytes} bytes: there are {there} to be had");
            Err(io::Error::new(io::ErrorKind::OutOfMemory, words))
        }
        None => Ok(()),
    }
}

/// The queue as this process has it.
#[derive(Debug)]
pub(super) struct Table {
    head: Region<Head>,
    rows: Rows,
    /// Of the head, and of the rows and what is behind them.
    pub(super) files: (Carried, Carried),
    seat: u32,
    /// What could not be done in time, and whether there is anything.
    owed: Mutex<Vec<Owed>>,
    owes: AtomicBool,
}

/// What is to be done with a row in hand by somebody whose time was over before he had the mutex.
#[derive(Clone, Copy, Debug)]
pub(super) enum Owed {
    Abandon(Place),
    Finish(Place),
}

impl Table {
    pub(super) fn create(places: u32, capacity: u64) -> io::Result<Table> {
        let (head, head_file) = Region::<Head>::create(c"brigade-queue", 0)?;
        let (rows, file) = Rows::create(c"brigade-queue", places)?;
        set(&head.places, places);
        set_long(&head.capacity, capacity);
        let files = (Carried::new(head_file, Access::Both), Carried::new(file, Access::Both));
        Table::enter(head, rows, files)
    }

    /// The one that another process has lent.
    pub(super) fn open(files: (Carried, Carried)) -> io::Result<Table> {
        let head = Region::<Head>::open(files.0.fd())?;
        let rows = Rows::open(files.1.fd(), get(&head.places))?;
        Table::enter(head, rows, files)
    }

    fn enter(head: Region<Head>, rows: Rows, files: (Carried, Carried)) -> io::Result<Table> {
        let mut seat = 0;
        while !sit(files.1.fd(), seat)? {
            seat += 1;
            if seat == SEATS {
                return Err(io::Error::other(format!("{SEATS} handles of this queue are in use: drop some")));
            }
        }
        let table = Table { head, rows, files, seat, owed: Mutex::default(), owes: AtomicBool::new(false) };
        let guard = table.lock();
        // Whoever sat here before has left what it had in hand.
        table.bury_those(&guard, |at| at == seat);
        set(&guard.owed_in_all, get(&guard.owed_in_all).saturating_sub(get(&guard.owed[seat as usize])));
        set(&guard.owed[seat as usize], 0);
        drop(guard);
        Ok(table)
    }

    pub(super) fn head(&self) -> &Head {
        &self.head
    }

    /// The mutex; what a dead left half done is done.
    pub(super) fn lock(&self) -> Guard {
        self.rebuilt(self.head.lock(|head| &head.lock))
    }

    /// The same, if it can be had by then, or soon.
    pub(super) fn lock_until(&self, until: Option<Deadline>) -> Option<Guard> {
        self.head.lock_until(|head| &head.lock, mutex_until(until)).map(|guard| self.rebuilt(guard))
    }

    fn rebuilt(&self, guard: Guard) -> Guard {
        if guard.owner_died() {
            self.rebuild(&guard);
        }
        if self.owes.load(Relaxed) {
            self.pay_the_mutex(&guard);
        }
        guard
    }

    /// Leaves it to whoever has the mutex next by this handle.
    pub(super) fn owe_the_mutex(&self, owed: Owed) {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner).push(owed);
        self.owes.store(true, Relaxed);
    }

    fn pay_the_mutex(&self, guard: &Guard) {
        let mut all = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        self.owes.store(false, Relaxed);
        for owed in all.drain(..) {
            match owed {
                Owed::Abandon(place) => self.abandon(guard, &place),
                Owed::Finish(place) => self.finish(guard, &place, true),
            }
        }
    }

    /// Lists and counts, as the rows have it.
    fn rebuild(&self, guard: &Guard) {
        let zeros = [&guard.first, &guard.last, &guard.free, &guard.in_hand];
        zeros.into_iter().chain([&guard.ready, &guard.leased, &guard.filling]).for_each(|word| set(word, 0));
        set_long(&guard.window_start, 0);
        set_long(&guard.window_end, 0);
        set(&guard.owed_in_all, guard.owed.iter().map(get).sum());
        let mut ready = Vec::new();
        for row in (0..get(&guard.used)).rev() {
            match self.state(row).kind {
                Kind::Free => self.push(&guard.free, row),
                Kind::Ready => ready.push((self.number(row), row)),
                Kind::Leased => self.take_in_hand(guard, row, &guard.leased),
                Kind::Filling => self.take_in_hand(guard, row, &guard.filling),
            }
        }
        // No number is used twice: a lease is known by it.
        let highest = (0..get(&guard.used)).map(|row| self.number(row)).max();
        set_long(&guard.next_number, guard.next_number.load(Relaxed).max(highest.map_or(0, |it| it + 1)));
        ready.sort_unstable();
        ready.into_iter().for_each(|(_, row)| self.make_ready(guard, row));
    }

    // Putting.

    /// A row that is free; none if there is none.
    fn free_row(&self, guard: &Guard) -> io::Result<Option<u32>> {
        if let Some(row) = get(&guard.free).checked_sub(1) {
            set(&guard.free, self.link(row));
            return Ok(Some(row));
        }
        let row = get(&guard.used);
        if row == get(&guard.places) {
            return Ok(None);
        }
        if row.is_multiple_of(ROWS_AT_ONCE) {
            self.rows.take(self.files.1.fd(), row..row.saturating_add(ROWS_AT_ONCE))?;
        }
        set(&guard.used, row + 1);
        Ok(Some(row))
    }

    /// Puts an item of [`SMALL_BYTES`] at most. False if there is no room.
    pub(super) fn put_small(&self, guard: &Guard, bytes: &[u8], sum: u32) -> io::Result<bool> {
        let Some(row) = self.free_row(guard)? else { return Ok(false) };
        let words = self.row(row);
        for (word, bytes) in words[BYTES..].iter().zip(bytes.chunks(8)) {
            let mut eight = [0; 8];
            eight[..bytes.len()].copy_from_slice(bytes);
            set_long(word, u64::from_le_bytes(eight));
        }
        set_long(&words[LENGTH], bytes.len() as u64);
        self.publish(guard, row, sum);
        Ok(true)
    }

    fn publish(&self, guard: &Guard, row: u32, sum: u32) {
        let number = guard.next_number.load(Relaxed);
        set_long(&guard.next_number, number + 1);
        let words = self.row(row);
        set_long(&words[NUMBER], number);
        set_long(
            &words[SUM_AND_LINK],
            words[SUM_AND_LINK].load(Relaxed) as u32 as u64 | u64::from(sum) << 32,
        );
        guard.items.ring();
        self.commit(row, State { kind: Kind::Ready, tries: 0, seat: 0 });
        self.make_ready(guard, row);
    }

    /// Takes a place to [fill](Table::fill) with a larger one. None if there is no room.
    pub(super) fn reserve(&self, guard: &Guard, bytes: u64) -> io::Result<Option<Place>> {
        if get(&guard.free) == 0 && get(&guard.used) == get(&guard.places) {
            return Ok(None);
        }
        let Some(offset) = self.allot(guard, bytes) else { return Ok(None) };
        let Some(row) = self.free_row(guard)? else { return Ok(None) };
        let words = self.row(row);
        set_long(&words[BYTES], offset);
        set_long(&words[LENGTH], bytes);
        self.commit(row, State { kind: Kind::Filling, tries: 0, seat: self.seat });
        self.take_in_hand(guard, row, &guard.filling);
        Ok(Some(Place { row, number: 0, offset, bytes, sum: 0, tries: 0 }))
    }

    /// Writes the bytes; no mutex is needed.
    pub(super) fn fill(&self, place: &Place, bytes: &[u8]) -> io::Result<()> {
        if place.bytes > WINDOW_BYTES {
            there_is(place.bytes)?;
        }
        write_at(self.files.1.fd(), bytes, self.at(place.offset))
    }

    /// What was filled is an item.
    pub(super) fn put_filled(&self, guard: &Guard, place: &Place, sum: u32) {
        self.let_go(guard, place.row, &guard.filling);
        self.publish(guard, place.row, sum);
    }

    /// What was to be filled will not be.
    pub(super) fn abandon(&self, guard: &Guard, place: &Place) {
        self.let_go(guard, place.row, &guard.filling);
        self.free(guard, place.row);
    }

    // Taking.

    fn place(&self, row: u32) -> Place {
        let words = self.row(row);
        Place {
            row,
            number: self.number(row),
            offset: words[BYTES].load(Relaxed),
            bytes: words[LENGTH].load(Relaxed),
            sum: (words[SUM_AND_LINK].load(Relaxed) >> 32) as u32,
            tries: self.state(row).tries,
        }
    }

    /// The first item, if it is small, taken at once, with where it was.
    pub(super) fn get_small(&self, guard: &Guard) -> Option<(Vec<u8>, Place)> {
        let row = get(&guard.first).checked_sub(1)?;
        let place = self.place(row);
        if place.bytes > SMALL_BYTES {
            return None;
        }
        let bytes = self.read_small(&place);
        self.owe(guard);
        self.remove_first(guard);
        self.free(guard, row);
        Some((bytes, place))
    }

    /// The first item, to be [finished](Table::finish) or put [back](Table::back).
    pub(super) fn lease(&self, guard: &Guard) -> Option<Place> {
        let row = get(&guard.first).checked_sub(1)?;
        let tries = self.state(row).tries.saturating_add(1);
        self.remove_first(guard);
        self.commit(row, State { kind: Kind::Leased, tries, seat: self.seat });
        self.take_in_hand(guard, row, &guard.leased);
        Some(self.place(row))
    }

    /// The bytes of what this process has in hand; no mutex is needed.
    pub(super) fn read(&self, place: &Place) -> io::Result<Vec<u8>> {
        match place.bytes > SMALL_BYTES {
            true => read_at(self.files.1.fd(), self.at(place.offset), place.bytes),
            false => Ok(self.read_small(place)),
        }
    }

    /// Where in the file they are, which begins with the rows.
    pub(super) fn offset_of(&self, place: &Place) -> u64 {
        const WORD_BYTES: u64 = 8;
        match place.bytes > SMALL_BYTES {
            true => self.at(place.offset),
            false => u64::from(place.row) * size_of::<Row>() as u64 + BYTES as u64 * WORD_BYTES,
        }
    }

    fn read_small(&self, place: &Place) -> Vec<u8> {
        let words = self.row(place.row)[BYTES..].iter();
        let mut bytes: Vec<u8> = words.flat_map(|word| word.load(Relaxed).to_le_bytes()).collect();
        bytes.truncate(place.bytes as usize);
        bytes
    }

    /// What was leased is done, or is owed if its being done is still to be reported.
    pub(super) fn finish(&self, guard: &Guard, place: &Place, is_owed: bool) {
        if !self.has_in_hand(place) {
            return;
        }
        if is_owed {
            self.owe(guard);
        }
        self.let_go(guard, place.row, &guard.leased);
        if get(&guard.closed) != 0 {
            guard.items.ring();
        }
        if self.unfinished(guard) == 0 {
            guard.done.ring();
        }
        self.free(guard, place.row);
    }

    /// What was leased is the first again.
    pub(super) fn back(&self, guard: &Guard, place: &Place) {
        if self.has_in_hand(place) {
            self.put_back(guard, place.row);
        }
    }

    fn has_in_hand(&self, place: &Place) -> bool {
        let State { kind, seat, .. } = self.state(place.row);
        let is_ours = kind == Kind::Leased && seat == self.seat && self.number(place.row) == place.number;
        debug_assert!(is_ours, "{place:?} is {:?}", self.state(place.row));
        is_ours
    }

    fn put_back(&self, guard: &Guard, row: u32) {
        self.let_go(guard, row, &guard.leased);
        guard.items.ring();
        self.commit(row, State { kind: Kind::Ready, seat: 0, ..self.state(row) });
        self.make_ready(guard, row);
    }

    fn free(&self, guard: &Guard, row: u32) {
        let extent = self.extent(row).filter(|extent| extent.end - extent.start >= LARGE_BYTES);
        guard.room.ring();
        self.commit(row, State::FREE);
        if let Some(extent) = extent {
            self.give_back(extent);
        }
        self.push(&guard.free, row);
        if self.occupied(guard) == 0 {
            self.begin_anew(guard);
        }
    }

    // Counts, and who is dead.

    fn owe(&self, guard: &Guard) {
        add(&guard.owed[self.seat as usize], 1);
        add(&guard.owed_in_all, 1);
    }

    /// Something that somebody got is done. False if nobody owes anything.
    pub(super) fn pay(&self, guard: &Guard) -> bool {
        let own = &guard.owed[self.seat as usize];
        let Some(owed) =
            Some(own).filter(|own| get(own) > 0).or_else(|| guard.owed.iter().find(|it| get(it) > 0))
        else {
            return false;
        };
        if self.unfinished(guard) == 1 {
            guard.done.ring();
        }
        add(owed, -1);
        add(&guard.owed_in_all, -1);
        true
    }

    /// Items that can be taken.
    pub(super) fn ready(&self, guard: &Guard) -> u32 {
        get(&guard.ready)
    }

    /// Rows that are in use.
    fn occupied(&self, guard: &Guard) -> u32 {
        get(&guard.ready) + self.in_hand(guard)
    }

    /// Those of them that somebody has in hand, and may die with.
    fn in_hand(&self, guard: &Guard) -> u32 {
        get(&guard.leased) + get(&guard.filling)
    }

    /// Whether somebody may die without whom what is waited for does not come.
    pub(super) fn may_die(&self, guard: &Guard, awaited: Awaited) -> bool {
        self.in_hand(guard) > 0 || (awaited == Awaited::Done && get(&guard.owed_in_all) > 0)
    }

    pub(super) fn is_full(&self, guard: &Guard) -> bool {
        self.occupied(guard) >= get(&guard.places)
    }

    /// Items that are not done.
    pub(super) fn unfinished(&self, guard: &Guard) -> u64 {
        u64::from(get(&guard.ready)) + u64::from(get(&guard.leased)) + u64::from(get(&guard.owed_in_all))
    }

    pub(super) fn capacity(&self) -> u64 {
        self.head.capacity.load(Relaxed)
    }

    pub(super) fn close(&self, guard: &Guard) {
        set(&guard.closed, 1);
        [&guard.items, &guard.room, &guard.done].into_iter().for_each(Bell::ring);
    }

    pub(super) fn is_closed(&self) -> bool {
        get(&self.head.closed) != 0
    }

    /// Whether nothing can be taken any more: it is closed, and nobody has anything in hand that it may yet put back. Who has
    /// something itself does not wait for the others, for they may wait for it.
    pub(super) fn is_over(&self, guard: &Guard) -> bool {
        let is_own =
            |row| matches!(self.state(row), State { kind: Kind::Leased, seat, .. } if seat == self.seat);
        let nobody = || get(&guard.leased) == 0 || self.list(get(&guard.in_hand)).any(is_own);
        self.is_closed() && get(&guard.ready) == 0 && nobody()
    }

    /// Takes from the dead what they had in hand: what they were filling is free, and what they had leased can be taken. Where all
    /// that is to be done is waited for, what they owe is nobody's.
    pub(super) fn bury(&self, guard: &Guard, awaited: Awaited) {
        let mut is_dead = self.dead();
        if awaited == Awaited::Done {
            for (seat, owed) in (0..).zip(&guard.owed) {
                if get(owed) > 0 && is_dead(seat) {
                    add(&guard.owed_in_all, -(get(owed) as i32));
                    set(owed, 0);
                }
            }
        }
        self.bury_those(guard, is_dead);
    }

    /// Says of a seat whether whoever had it is dead, and asks once for each.
    fn dead(&self) -> impl FnMut(u32) -> bool {
        let mut known = std::collections::HashMap::from([(self.seat, false)]);
        move |seat| {
            *known.entry(seat).or_insert_with(|| is_taken(self.files.1.fd(), seat).is_ok_and(|it| !it))
        }
    }

    fn bury_those(&self, guard: &Guard, mut is_dead: impl FnMut(u32) -> bool) {
        if self.in_hand(guard) == 0 {
            return;
        }
        let dead: Vec<u32> =
            self.list(get(&guard.in_hand)).filter(|row| is_dead(self.state(*row).seat)).collect();
        for row in dead {
            match self.state(row).kind {
                Kind::Leased => self.put_back(guard, row),
                Kind::Filling => {
                    self.let_go(guard, row, &guard.filling);
                    self.free(guard, row);
                }
                Kind::Free | Kind::Ready => {}
            }
        }
    }
}

impl Drop for Table {
    /// What was got would be given again when the seat is free. For whoever is still stopped nobody waits for ever.
    fn drop(&mut self) {
        if *self.owes.get_mut() {
            drop(self.lock_until(Some(Deadline::after(Duration::ZERO))));
        }
    }
}

#[cfg(test)]
mod tests;
