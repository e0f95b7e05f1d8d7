//! Deaths between any two stores, of handles that are in one process: what a dead leaves is looked at by a survivor.

use super::lists::TRIES_MAX;
use super::*;
use crate::carry;
use crate::queue::{Queue, QueueError};
use brigade_wire::{decode_value, encode_value};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

thread_local! {
    /// How many stores this thread will yet live for.
    static FUSE: Cell<Option<u32>> = const { Cell::new(None) };
}

/// Why it ends then.
struct End;

/// Before each store.
pub(super) fn step() {
    if let Some(left) = FUSE.get() {
        FUSE.set(left.checked_sub(1));
        if left == 0 {
            resume_unwind(Box::new(End));
        }
    }
}

/// Does that, and dies of it before so many stores; or does all of it.
fn burn<R>(stores: u32, act: impl FnOnce() -> R) -> Option<R> {
    FUSE.set(Some(stores));
    let done = catch_unwind(AssertUnwindSafe(act));
    FUSE.set(None);
    match done {
        Ok(done) => Some(done),
        Err(end) if end.is::<End>() => None,
        Err(panic) => resume_unwind(panic),
    }
}

const PLACES: u32 = 7;

const CAPACITY: u64 = 1 << 20;

fn queue() -> Queue<String> {
    Queue::with_capacity(PLACES as usize, CAPACITY).unwrap()
}

/// Another handle, as another process has it.
fn other(queue: &Queue<String>) -> Queue<String> {
    let mut bytes = Vec::new();
    let (encoded, kept) = carry::collect(|| encode_value(queue, &mut bytes));
    encoded.unwrap();
    let other = decode_value(&bytes).unwrap();
    drop(kept);
    other
}

/// An item: a name, as long as that.
fn item(name: u32, bytes: usize) -> String {
    format!("{name:04}{}", "x".repeat(bytes))
}

/// What is ready, in its order, by its name.
fn names(queue: &Queue<String>) -> Vec<u32> {
    let table = &queue.table;
    let guard = table.lock();
    let bytes = table.list(get(&guard.first)).map(|row| {
        let place = table.place(row);
        let bytes = table.read(&place).unwrap();
        assert_eq!(crc32c::crc32c(&bytes), place.sum, "{place:?}");
        decode_value::<String>(&bytes).unwrap()
    });
    bytes.map(|text| text[..4].parse().unwrap()).collect()
}

/// That lists and counts say what the rows do.
fn check(table: &Table, guard: &Guard) {
    let used = 0..get(&guard.used);
    let of =
        |kind: Kind| used.clone().filter(|row| table.state(*row).kind == kind).collect::<BTreeSet<u32>>();
    let list = |first: &AtomicU32| table.list(get(first)).collect::<Vec<u32>>();
    let (ready, in_hand, free) = (list(&guard.first), list(&guard.in_hand), list(&guard.free));
    let set = |rows: &[u32]| rows.iter().copied().collect::<BTreeSet<u32>>();
    assert_eq!(set(&ready), of(Kind::Ready));
    assert_eq!(set(&in_hand), &of(Kind::Leased) | &of(Kind::Filling));
    assert_eq!(set(&free), of(Kind::Free));
    assert_eq!(ready.len() + in_hand.len() + free.len(), used.len(), "each once");
    let counts = [&guard.ready, &guard.leased, &guard.filling].map(|count| get(count) as usize);
    assert_eq!(counts, [of(Kind::Ready).len(), of(Kind::Leased).len(), of(Kind::Filling).len()]);
    assert_eq!(get(&guard.last), ready.last().map_or(0, |row| row + 1));
    assert!(ready.is_sorted_by_key(|row| table.number(*row)));
    assert_eq!(get(&guard.owed_in_all), guard.owed.iter().map(get).sum::<u32>());
    let live = table.live(guard);
    assert!(live.windows(2).all(|two| two[0].end <= two[1].start), "{live:?}");
    let window = guard.window_start.load(Relaxed)..guard.window_end.load(Relaxed);
    let is_apart = |extent: &std::ops::Range<u64>| extent.end <= window.start || extent.start >= window.end;
    assert!(live.iter().all(is_apart), "{live:?} and what is free, {window:?}");
}

/// Something that a handle does, and which items it may put or take.
type Act = (&'static str, fn(&Table), &'static [u32]);

const SMALL: usize = 4;
const LARGE: usize = 5_000;
const HUGE: usize = 70_000;

fn put(table: &Table, name: u32, bytes: usize) {
    let mut text = Vec::new();
    encode_value(&item(name, bytes), &mut text).unwrap();
    let sum = crc32c::crc32c(&text);
    if text.len() as u64 <= SMALL_BYTES {
        assert!(table.put_small(&table.lock(), &text, sum).unwrap());
        return;
    }
    let place = table.reserve(&table.lock(), text.len() as u64).unwrap().expect("there is room");
    table.fill(&place, &text).unwrap();
    table.put_filled(&table.lock(), &place, sum);
}

fn leased(table: &Table) -> Place {
    table.lease(&table.lock()).expect("there is one")
}

const ACTS: &[Act] = &[
    ("put small", |table| put(table, 9, SMALL), &[9]),
    ("put large", |table| put(table, 9, LARGE), &[9]),
    ("put huge", |table| put(table, 9, HUGE), &[9]),
    ("get", |table| drop(table.get_small(&table.lock()).expect("it is small")), &[0]),
    (
        "get two, the second large",
        |table| {
            table.get_small(&table.lock()).expect("it is small");
            let second = leased(table);
            table.finish(&table.lock(), &second, true);
        },
        &[0, 1],
    ),
    (
        "done",
        |table| {
            let (first, second, third) = (leased(table), leased(table), leased(table));
            table.finish(&table.lock(), &second, false);
            table.finish(&table.lock(), &third, false);
            table.finish(&table.lock(), &first, false);
        },
        &[0, 1, 2],
    ),
    (
        "back",
        |table| {
            let (first, second, third) = (leased(table), leased(table), leased(table));
            table.back(&table.lock(), &second);
            table.back(&table.lock(), &first);
            table.back(&table.lock(), &third);
        },
        &[],
    ),
    (
        "task done",
        |table| {
            table.get_small(&table.lock()).expect("it is small");
            assert!(table.pay(&table.lock()));
        },
        &[0],
    ),
    (
        "abandon",
        |table| {
            let place = table.reserve(&table.lock(), 100).unwrap().expect("there is room");
            table.abandon(&table.lock(), &place);
        },
        &[],
    ),
    ("close", |table| table.close(&table.lock()), &[]),
    ("bury", |table| table.bury(&table.lock(), Awaited::Done), &[]),
];

/// A queue with four items, one of them leased by somebody who is dead, who was also filling a place and owes one.
fn stage() -> Queue<String> {
    let queue = queue();
    // Whoever comes next sits here, and not where the dead was.
    let spare = other(&queue);
    let dead = other(&queue);
    put(&dead.table, 77, SMALL);
    dead.get().unwrap();
    // Rows that are free know yet where bytes were that are others' by now.
    (0..PLACES - 1).for_each(|name| queue.put(&item(name, HUGE)).unwrap());
    (0..PLACES - 1).for_each(|_| drop(queue.get().unwrap()));
    (0..PLACES - 1).for_each(|_| queue.task_done().unwrap());
    for (name, bytes) in [(0, SMALL), (1, LARGE), (2, HUGE), (3, SMALL)] {
        queue.put(&item(name, bytes)).unwrap();
    }
    let _first = leased(&dead.table);
    let place = dead.table.reserve(&dead.table.lock(), 60_000).unwrap().expect("there is room");
    drop((dead, spare));
    // What the dead had leased is the first again, so that each act finds what it expects.
    let guard = queue.table.lock();
    let State { kind, .. } = queue.table.state(place.row);
    assert_eq!(kind, Kind::Filling);
    queue.table.put_back(&guard, queue.table.list(get(&guard.in_hand)).nth(1).expect("it is the older one"));
    drop(guard);
    queue
}

#[test]
fn whoever_dies_between_any_two_stores_leaves_a_whole_queue() {
    for (what, act, touched) in ACTS {
        let mut stores = 0;
        loop {
            let queue = stage();
            let victim = other(&queue);
            let is_through = burn(stores, || act(&victim.table)).is_some();
            drop(victim);
            let table = &queue.table;
            let guard = table.lock();
            table.rebuild(&guard);
            check(table, &guard);
            table.bury(&guard, Awaited::Done);
            check(table, &guard);
            assert_eq!((table.in_hand(&guard), get(&guard.owed_in_all)), (0, 0), "{what}, {stores} stores");
            drop(guard);
            let names = names(&queue);
            assert!(names.is_sorted(), "{what}, {stores} stores: {names:?}");
            let untouched =
                |all: &[u32]| all.iter().copied().filter(|it| !touched.contains(it)).collect::<Vec<_>>();
            assert_eq!(untouched(&names), untouched(&[0, 1, 2, 3]), "{what}, {stores} stores");
            if is_through {
                let taken = touched.iter().filter(|name| **name < 9);
                assert!(taken.clone().all(|name| !names.contains(name)), "{what}: {names:?}");
                assert_eq!(names.contains(&9), touched.contains(&9), "{what}: {names:?}");
            }
            goes_on(&queue, names.len());
            if is_through {
                break;
            }
            stores += 1;
        }
        assert!(*what == "close" || stores > 3, "{what} has {stores} stores");
    }
}

/// That all places can be filled, and all items got.
fn goes_on(queue: &Queue<String>, ready: usize) {
    if queue.is_closed() {
        return;
    }
    (ready..PLACES as usize).for_each(|n| queue.try_put(&item(n as u32, 40 * n)).unwrap());
    assert!(queue.full());
    (0..PLACES).for_each(|_| drop(queue.try_get().unwrap()));
    (0..PLACES).for_each(|_| queue.task_done().unwrap());
    assert!(queue.task_done().is_err() && queue.empty());
    queue.join();
    let (table, guard) = (&queue.table, queue.table.lock());
    check(table, &guard);
    assert_eq!(table.live(&guard), []);
}

#[test]
fn a_thousand_steps_of_several_handles_are_those_of_a_plain_list() {
    for seed in 0..10 {
        let mut dice = Dice(seed);
        let queue = queue();
        let mut handles: Vec<Queue<String>> = (0..3).map(|_| other(&queue)).collect();
        let mut in_hand: Vec<(usize, Place, u32)> = Vec::new();
        let (mut ready, mut next) = (Vec::<u32>::new(), 0);
        for _ in 0..1_000 {
            let who = dice.below(3);
            let table = &handles[who].table;
            match dice.below(6) {
                0 | 1 if ready.len() + in_hand.len() < PLACES as usize => {
                    put(table, next, [SMALL, 100, LARGE, HUGE][dice.below(4)]);
                    ready.push(next);
                    next = (next + 1) % 10_000;
                }
                2 | 3 if !ready.is_empty() => in_hand.push((who, leased(table), ready.remove(0))),
                4 => {
                    let Some(at) = in_hand.iter().position(|(whose, ..)| *whose == who) else { continue };
                    let (_, place, name) = in_hand.remove(at);
                    match dice.below(2) {
                        0 => table.finish(&table.lock(), &place, false),
                        _ => {
                            table.back(&table.lock(), &place);
                            ready.push(name);
                        }
                    }
                }
                5 if dice.below(10) == 0 => {
                    let (dead, alive) = in_hand.into_iter().partition(|(whose, ..)| *whose == who);
                    in_hand = alive;
                    ready.extend(Vec::<(usize, Place, u32)>::into_iter(dead).map(|(.., name)| name));
                    handles[who] = other(&queue);
                    queue.table.bury(&queue.table.lock(), Awaited::Item);
                }
                _ => {}
            }
            ready.sort_unstable();
            assert_eq!(names(&queue), ready, "seed {seed}");
            check(&queue.table, &queue.table.lock());
        }
    }
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % sides as u64) as usize
    }
}

#[test]
fn the_state_of_a_row_is_one_word() {
    for kind in [Kind::Free, Kind::Ready, Kind::Leased, Kind::Filling] {
        let state = State { kind, tries: TRIES_MAX, seat: SEATS - 1 };
        assert_eq!(State::of(state.word()), state);
    }
    assert_eq!(State::FREE.word(), 0);
    assert_eq!(State { kind: Kind::Ready, tries: u32::MAX, seat: 0 }.word() >> 32, 0);
}

#[test]
fn memory_is_given_back_when_the_queue_is_empty_and_rows_when_they_were_many() {
    let queue = Queue::<String>::with_capacity(100_000, 64 << 20).unwrap();
    let blocks = || {
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&queue.table.files.1.fd()));
        std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(path).unwrap()) * 512
    };
    let rows = Rows::bytes(ROWS_AT_ONCE);
    for bytes in [0, 300, LARGE, HUGE] {
        for name in 0..200 {
            queue.put(&item(name, bytes)).unwrap();
        }
        assert!(blocks() >= (200 * bytes) as u64);
        (0..200).for_each(|_| drop(queue.get().unwrap()));
        assert!(blocks() <= rows + WINDOW_BYTES + 4 * LARGE_BYTES, "{} bytes after {bytes}", blocks());
    }
    (0..20_000).for_each(|name| queue.put(&item(name % 10_000, SMALL)).unwrap());
    assert!(blocks() > 10 * rows);
    (0..20_000).for_each(|_| drop(queue.get().unwrap()));
    assert!(blocks() <= rows + WINDOW_BYTES + 4 * LARGE_BYTES, "{} bytes", blocks());
    // One that is always there, and others that pass: these use the same bytes again and again.
    queue.put(&item(1, LARGE)).unwrap();
    for name in 0..2_000 {
        queue.put(&item(name, LARGE)).unwrap();
        drop(queue.get().unwrap());
    }
    assert!(blocks() <= rows + 2 * WINDOW_BYTES + 4 * LARGE_BYTES, "{} bytes of {LARGE} passing", blocks());
}

/// Bends that byte of the file, as another process could.
fn bend(table: &Table, at: u64) {
    let mut byte = read_at(table.files.1.fd(), at, 1).unwrap();
    byte[0] ^= 1;
    write_at(table.files.1.fd(), &byte, at).unwrap();
}

#[test]
fn an_item_that_is_damaged_is_an_error_that_says_where_and_the_next_one_is_whole() {
    for (bytes, is_leased) in [(SMALL, false), (SMALL, true), (LARGE, false), (LARGE, true), (HUGE, false)] {
        let queue = queue();
        (0..3).for_each(|name| queue.put(&item(name, bytes)).unwrap());
        assert_eq!(queue.get().unwrap(), item(0, bytes));
        let place = {
            let guard = queue.table.lock();
            queue.table.place(get(&guard.first) - 1)
        };
        bend(&queue.table, queue.table.offset_of(&place) + place.bytes - 1);
        let told = match is_leased {
            true => queue.lease().map(drop),
            false => queue.get().map(drop),
        };
        let told = told.expect_err("something has changed it");
        let words = told.to_string();
        let QueueError::Damaged { number, offset, bytes: length, sum, told } = told else {
            panic!("{words}")
        };
        assert_eq!(
            (number, offset, length, told),
            (1, queue.table.offset_of(&place), place.bytes, place.sum)
        );
        assert_ne!(sum, told);
        let says = |what: &str| assert!(words.contains(what), "{words}");
        says("item 1 of the queue");
        says(&format!("{length} bytes at {offset}"));
        says(&format!("is {sum:08x}, not {told:08x}"));
        assert_eq!(queue.get().unwrap(), item(2, bytes));
        assert!(queue.empty());
    }
}

#[test]
fn who_has_no_more_time_and_finds_the_mutex_held_leaves_what_is_left_to_do_to_its_next_use() {
    let queue = queue();
    let stopped = other(&queue);
    let soon = || Some(Deadline::after(Duration::from_millis(1)));
    let mut text = Vec::new();
    encode_value(&item(1, LARGE), &mut text).unwrap();
    queue.put(&item(0, LARGE)).unwrap();
    let leased = leased(&queue.table);
    let place = queue.table.reserve(&queue.table.lock(), text.len() as u64).unwrap().expect("there is room");
    let (locked, is_locked) = std::sync::mpsc::channel();
    let (go_on, goes_on) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        // As a process that is stopped with it in hand.
        let stopped = &stopped;
        scope.spawn(move || {
            let _guard = stopped.table.lock();
            locked.send(()).unwrap();
            let _ = goes_on.recv();
        });
        is_locked.recv().unwrap();
        let told = queue.fill_and_put(&place, &text, crc32c::crc32c(&text), soon());
        assert!(matches!(told, Err(QueueError::Full)), "{told:?}");
        queue.finish(&leased, soon());
        assert!(matches!(queue.try_get(), Err(QueueError::Empty)));
        go_on.send(()).unwrap();
    });
    let guard = queue.table.lock();
    check(&queue.table, &guard);
    assert_eq!(
        (queue.table.ready(&guard), queue.table.unfinished(&guard)),
        (0, 1),
        "got, and to be reported"
    );
    drop(guard);
    queue.task_done().unwrap();
    queue.join();
}
