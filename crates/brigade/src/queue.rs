//! Queues between processes: many who put, many who get, and none who could wedge the others by dying.

mod error;
mod lease;
mod table;

use crate::call::Value;
use crate::carry::Carried;
use brigade_os::clock::Deadline;
use brigade_wire::{Damage, decode_value, encode_value, hold_to};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

pub use error::QueueError;
pub use lease::Lease;
use table::{Awaited, Guard, LARGE_BYTES, Owed, Place, SMALL_BYTES, Table, size};

/// How many items a queue holds for which nobody says how many.
const PLACES: usize = 1 << 20;

/// How many bytes they may have in all, for which nobody says how many.
const CAPACITY_BYTES: u64 = 1 << 30;

/// A queue in shared memory, first in, first out: any number of processes and threads put items and get them. A clone is the
/// same queue, and so is what a worker gets that has it as an argument.
///
/// ```
/// # brigade::test_entry!(init); init();
/// use brigade::{Pool, Queue};
///
/// fn shout((words, loud): (Queue<String>, Queue<String>)) {
///     for word in words.iter() {
///         loud.put(&word.expect("a word").to_uppercase()).expect("it is open");
///     }
/// }
///
/// let pool = Pool::builder().procs(2).build()?;
/// let (words, loud) = (Queue::bounded(10)?, Queue::new()?);
/// let jobs = [0, 1].map(|_| pool.submit(shout, (words.clone(), loud.clone())));
/// for word in ["apple", "banana", "cherry", "date"] {
///     words.put(&word.to_owned())?;
/// }
/// words.close(); // every worker hears of it, after the last word
/// for job in jobs {
///     job.join()?;
/// }
/// assert_eq!(loud.qsize(), 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// **Who dies.** What was put is in the queue, whoever put it lives or not: no thread feeds it later, and who ends need not wait
/// for it to be read. What somebody was putting when it died is not in the queue. Who dies with an item [leased](Queue::lease)
/// gives it back, before all others, to whoever waits for one, within some 50 milliseconds. Nobody else notices. A process that
/// is *stopped*, and not dead, in the few nanoseconds that it holds the queue's lock keeps the others waiting until it goes on;
/// those with a time-out, not longer than that, or a second.
///
/// **What it takes.** Memory for what is in it, which is given back when it is empty, and nothing that has a name. Items carry
/// checksums. Handles of queues and pipes themselves cannot be items.
pub struct Queue<T> {
    table: Arc<Table>,
    _item: PhantomData<fn(T) -> T>,
}

/// Python's queue with `task_done` and `join`: here each has them.
///
/// ```
/// let queue = brigade::JoinableQueue::new()?;
/// queue.put(&7)?;
/// assert_eq!(queue.get()?, 7);
/// queue.task_done()?;
/// queue.join();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type JoinableQueue<T> = Queue<T>;

/// Python's queue with nothing but `put`, `get` and `empty`.
///
/// ```
/// let queue = brigade::SimpleQueue::new()?;
/// queue.put(&7)?;
/// assert_eq!((queue.get()?, queue.empty()), (7, true));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type SimpleQueue<T> = Queue<T>;

impl<T: Value> Queue<T> {
    /// A queue that holds a million items (2^20), of a gibibyte in all. Whoever puts more waits.
    ///
    /// # Errors
    /// If there is no memory or no descriptor to be had.
    pub fn new() -> io::Result<Queue<T>> {
        Queue::bounded(PLACES)
    }

    /// A queue that holds so many items, those that are leased included, of a gibibyte in all.
    ///
    /// # Errors
    /// As [`Queue::new`], and if it should hold none.
    pub fn bounded(places: usize) -> io::Result<Queue<T>> {
        Queue::with_capacity(places, CAPACITY_BYTES)
    }

    /// A queue that holds so many items, of so many bytes in all; that includes what lies between them, some 64 bytes each or, if
    /// they are larger than 64 KiB, as much. Items of up to 32 bytes do not count.
    ///
    /// ```
    /// # use brigade::{Queue, QueueError};
    /// let queue = Queue::with_capacity(100, 1 << 20)?;
    /// let told = queue.put(&vec![0_u8; 2 << 20]);
    /// assert!(matches!(told, Err(QueueError::TooLarge { .. })));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Queue::bounded`].
    pub fn with_capacity(places: usize, bytes: u64) -> io::Result<Queue<T>> {
        const PLACES_MAX: u32 = 1 << 30;
        const BYTES_MAX: u64 = 1 << 46;
        let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, what.to_owned());
        let places = u32::try_from(places).ok().filter(|places| (1..=PLACES_MAX).contains(places));
        let places = places.ok_or_else(|| wrong("a queue holds between 1 and 2^30 items"))?;
        if bytes > BYTES_MAX {
            return Err(wrong("a queue holds at most 2^46 bytes"));
        }
        let capacity = size(bytes.max(LARGE_BYTES));
        Ok(Queue::of(Table::create(places, capacity)?))
    }

    /// Puts an item at the end; waits for room.
    ///
    /// # Errors
    /// [`QueueError::Closed`], [`QueueError::TooLarge`], [`QueueError::Encode`]; the queue is as it was then.
    pub fn put(&self, item: &T) -> Result<(), QueueError> {
        self.put_within(item, None)
    }

    /// The same; waits so long at most.
    ///
    /// ```
    /// # use brigade::{Queue, QueueError};
    /// # use std::time::Duration;
    /// let queue = Queue::bounded(1)?;
    /// queue.put(&1)?;
    /// assert!(matches!(queue.put_timeout(&2, Duration::from_millis(1)), Err(QueueError::Full)));
    /// assert!(matches!(queue.try_put(&2), Err(QueueError::Full)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Queue::put`], and [`QueueError::Full`].
    pub fn put_timeout(&self, item: &T, patience: Duration) -> Result<(), QueueError> {
        self.put_within(item, Some(patience))
    }

    /// The same; does not wait.
    ///
    /// # Errors
    /// As [`Queue::put_timeout`].
    pub fn try_put(&self, item: &T) -> Result<(), QueueError> {
        self.put_within(item, Some(Duration::ZERO))
    }

    /// Takes the first item; waits for one. It counts as not [done](Queue::task_done) yet, but is nobody's any more: who may die
    /// of it should [lease](Queue::lease) it.
    ///
    /// # Errors
    /// [`QueueError::Closed`] once there is none and never will be; [`QueueError::Decode`], and see the others.
    pub fn get(&self) -> Result<T, QueueError> {
        self.get_within(None)
    }

    /// The same; waits so long at most.
    ///
    /// ```
    /// # use brigade::{Queue, QueueError};
    /// # use std::time::Duration;
    /// let queue = Queue::<u32>::new()?;
    /// assert!(matches!(queue.get_timeout(Duration::from_millis(1)), Err(QueueError::Empty)));
    /// assert!(matches!(queue.try_get(), Err(QueueError::Empty)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Queue::get`], and [`QueueError::Empty`].
    pub fn get_timeout(&self, patience: Duration) -> Result<T, QueueError> {
        self.get_within(Some(patience))
    }

    /// The same; does not wait.
    ///
    /// # Errors
    /// As [`Queue::get_timeout`].
    pub fn try_get(&self) -> Result<T, QueueError> {
        self.get_within(Some(Duration::ZERO))
    }

    /// Takes the first item, waits for one, and keeps its place until it is [done](Lease::done): if the lease is dropped before
    /// that, or its process dies, the item is the first again.
    ///
    /// ```
    /// # fn work(_: &str) {}
    /// # let queue = brigade::Queue::<String>::new()?;
    /// # queue.put(&"word".to_owned())?;
    /// # queue.close();
    /// while let Ok(word) = queue.lease() {
    ///     if word.attempt() > 3 {
    ///         eprintln!("given up: {}", word.done());
    ///         continue;
    ///     }
    ///     work(&word);
    ///     word.done();
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Queue::get`].
    pub fn lease(&self) -> Result<Lease<T>, QueueError> {
        self.lease_within(None)
    }

    /// The same; waits so long at most.
    ///
    /// ```
    /// # use brigade::{Queue, QueueError};
    /// # use std::time::Duration;
    /// let queue = Queue::new()?;
    /// queue.put(&7)?;
    /// let leased = queue.try_lease()?;
    /// assert!(matches!(queue.lease_timeout(Duration::from_millis(1)), Err(QueueError::Empty)));
    /// drop(leased);
    /// assert_eq!(queue.get()?, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Queue::get_timeout`].
    pub fn lease_timeout(&self, patience: Duration) -> Result<Lease<T>, QueueError> {
        self.lease_within(Some(patience))
    }

    /// The same; does not wait.
    ///
    /// # Errors
    /// As [`Queue::get_timeout`].
    pub fn try_lease(&self) -> Result<Lease<T>, QueueError> {
        self.lease_within(Some(Duration::ZERO))
    }

    /// Items as they come, until the queue is closed and empty.
    pub fn iter(&self) -> impl Iterator<Item = Result<T, QueueError>> + '_ {
        until_closed(|| self.get())
    }

    /// The same, leased.
    ///
    /// ```
    /// # let queue = brigade::Queue::new()?;
    /// (1..=3).try_for_each(|n| queue.put(&n))?;
    /// queue.close();
    /// let sum: u32 = queue.leases().flatten().map(|leased| leased.done()).sum();
    /// assert_eq!(sum, 6);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn leases(&self) -> impl Iterator<Item = Result<Lease<T>, QueueError>> + '_ {
        until_closed(|| self.lease())
    }

    fn put_within(&self, item: &T, patience: Option<Duration>) -> Result<(), QueueError> {
        let mut bytes = Vec::with_capacity(64);
        let encoded = encode_value(item, &mut bytes);
        encoded.map_err(|error| QueueError::Encode { message: error.to_string() })?;
        let (count, most) = (bytes.len() as u64, self.table.capacity());
        if size(count) > most {
            return Err(QueueError::TooLarge { bytes: count, most });
        }
        let (sum, until) = (crc32c::crc32c(&bytes), patience.map(Deadline::after));
        if count <= SMALL_BYTES {
            let put = |guard: &Guard| Ok(self.open(guard)?.put_small(guard, &bytes, sum)?.then_some(()));
            return self.within(until, Awaited::Room, put)?.ok_or(QueueError::Full);
        }
        let reserve = |guard: &Guard| Ok(self.open(guard)?.reserve(guard, count)?);
        let place = self.within(until, Awaited::Room, reserve)?.ok_or(QueueError::Full)?;
        self.fill_and_put(&place, &bytes, sum, until)
    }

    fn fill_and_put(
        &self,
        place: &Place,
        bytes: &[u8],
        sum: u32,
        until: Option<Deadline>,
    ) -> Result<(), QueueError> {
        let filled = self.table.fill(place, bytes);
        let Some(guard) = self.table.lock_until(until) else {
            self.table.owe_the_mutex(Owed::Abandon(*place));
            return filled.map_err(QueueError::from).and(Err(QueueError::Full));
        };
        let told = filled.map_err(QueueError::from).and_then(|()| self.open(&guard));
        match &told {
            Ok(table) => table.put_filled(&guard, place, sum),
            Err(_) => self.table.abandon(&guard, place),
        }
        told.map(drop)
    }

    fn get_within(&self, patience: Option<Duration>) -> Result<T, QueueError> {
        enum Got {
            Small(Vec<u8>, Place),
            Large(Place),
        }
        let take = |guard: &Guard| {
            let small = self.table.get_small(guard).map(|(bytes, place)| Got::Small(bytes, place));
            self.found(guard, small.or_else(|| self.table.lease(guard).map(Got::Large)))
        };
        let until = patience.map(Deadline::after);
        let got = self.within(until, Awaited::Item, take)?.ok_or(QueueError::Empty)?;
        let (bytes, place) = match got {
            Got::Small(bytes, place) => (Ok(bytes), place),
            Got::Large(place) => {
                let bytes = self.table.read(&place);
                self.finish(&place, until);
                (bytes, place)
            }
        };
        self.decoded(&bytes?, &place)
    }

    /// What was got is nobody's any more. An item that is here is not withheld because somebody is stopped with the mutex: the
    /// next use of this handle says so, and only if this process dies before that is it given again.
    fn finish(&self, place: &Place, until: Option<Deadline>) {
        match self.table.lock_until(until) {
            Some(guard) => self.table.finish(&guard, place, true),
            None => self.table.owe_the_mutex(Owed::Finish(*place)),
        }
    }

    fn lease_within(&self, patience: Option<Duration>) -> Result<Lease<T>, QueueError> {
        let take = |guard: &Guard| self.found(guard, self.table.lease(guard));
        let until = patience.map(Deadline::after);
        let place = self.within(until, Awaited::Item, take)?.ok_or(QueueError::Empty)?;
        // A panic in here gives the item back.
        let mut lease = Lease { table: Arc::clone(&self.table), place, item: None };
        let bytes = lease.table.read(&place).map_err(QueueError::from);
        match bytes.and_then(|bytes| self.decoded(&bytes, &place)) {
            Ok(item) => {
                lease.item = Some(item);
                Ok(lease)
            }
            Err(error) => {
                lease.finish();
                Err(error)
            }
        }
    }

    fn decoded(&self, bytes: &[u8], place: &Place) -> Result<T, QueueError> {
        hold_to(place.sum, bytes).map_err(|Damage { bytes, sum, told }| QueueError::Damaged {
            number: place.number(),
            offset: self.table.offset_of(place),
            bytes,
            sum,
            told,
        })?;
        decode_value(bytes).map_err(|error| QueueError::Decode { message: error.to_string() })
    }
}

impl<T> Queue<T> {
    fn of(table: Table) -> Queue<T> {
        Queue { table: Arc::new(table), _item: PhantomData }
    }

    /// How many items can be taken now: those that are leased, or being put, are not among them.
    #[must_use]
    pub fn qsize(&self) -> usize {
        let guard = self.table.lock();
        self.table.bury(&guard, Awaited::Item);
        self.table.ready(&guard) as usize
    }

    /// Whether none can be taken now.
    #[must_use]
    pub fn empty(&self) -> bool {
        self.qsize() == 0
    }

    /// Whether all places are taken, also by items that are leased or being put.
    ///
    /// ```
    /// # let queue = brigade::Queue::bounded(2)?;
    /// assert!(queue.empty() && !queue.full());
    /// queue.put(&1)?;
    /// queue.put(&2)?;
    /// assert!(queue.full() && queue.qsize() == 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn full(&self) -> bool {
        let guard = self.table.lock();
        self.table.bury(&guard, Awaited::Item);
        self.table.is_full(&guard)
    }

    /// Reports one item as done that was [got](Queue::get), by whomever. What was leased says so itself.
    ///
    /// ```
    /// # use brigade::{Queue, QueueError};
    /// # use std::time::Duration;
    /// let queue = Queue::new()?;
    /// queue.put(&1)?;
    /// queue.get()?;
    /// let told = queue.join_timeout(Duration::from_millis(1));
    /// assert!(matches!(told, Err(QueueError::Unfinished { unfinished: 1 })));
    /// queue.task_done()?;
    /// queue.join();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`QueueError::NothingToDo`] if all that were got are done.
    pub fn task_done(&self) -> Result<(), QueueError> {
        let guard = self.table.lock();
        self.table.pay(&guard).then_some(()).ok_or(QueueError::NothingToDo)
    }

    /// Waits until all items are done: got and reported by [`Queue::task_done`], or leased and [done](Lease::done). What a process
    /// has got that died before it could report counts as done; what it had leased does not.
    pub fn join(&self) {
        // Without a time there is none to be over.
        let _ = self.join_within(None);
    }

    /// The same; waits so long at most.
    ///
    /// # Errors
    /// [`QueueError::Unfinished`].
    pub fn join_timeout(&self, patience: Duration) -> Result<(), QueueError> {
        self.join_within(Some(patience))
    }

    fn join_within(&self, patience: Option<Duration>) -> Result<(), QueueError> {
        let mut unfinished = 0;
        let is_done = |guard: &Guard| {
            unfinished = self.table.unfinished(guard);
            Ok((unfinished == 0).then_some(()))
        };
        self.within(patience.map(Deadline::after), Awaited::Done, is_done)?
            .ok_or(QueueError::Unfinished { unfinished })
    }

    /// Takes no more items. Who gets is given those that are there, and then hears [`QueueError::Closed`], each of them.
    ///
    /// While others have items leased that they may yet put back, those wait who have none themselves.
    pub fn close(&self) {
        let guard = self.table.lock();
        self.table.close(&guard);
    }

    /// Whether somebody has closed it; there may still be items in it.
    ///
    /// ```
    /// # use brigade::{Queue, QueueError};
    /// let queue = Queue::new()?;
    /// queue.put(&1)?;
    /// queue.close();
    /// assert!(queue.is_closed() && matches!(queue.put(&2), Err(QueueError::Closed)));
    /// assert_eq!(queue.iter().flatten().collect::<Vec<_>>(), [1]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.table.is_closed()
    }

    fn open(&self, _: &Guard) -> Result<&Table, QueueError> {
        if self.table.is_closed() { Err(QueueError::Closed) } else { Ok(&self.table) }
    }

    fn found<R>(&self, guard: &Guard, found: Option<R>) -> Result<Option<R>, QueueError> {
        match found {
            None if self.table.is_over(guard) => Err(QueueError::Closed),
            found => Ok(found),
        }
    }

    /// Tries, as often as the bell rings, until that time is over; `None` then.
    fn within<R>(
        &self,
        until: Option<Deadline>,
        awaited: Awaited,
        mut attempt: impl FnMut(&Guard) -> Result<Option<R>, QueueError>,
    ) -> Result<Option<R>, QueueError> {
        loop {
            let Some(guard) = self.table.lock_until(until) else { return Ok(None) };
            if let Some(worked) = attempt(&guard)? {
                return Ok(Some(worked));
            }
            if self.table.may_die(&guard, awaited) {
                self.table.bury(&guard, awaited);
                if let Some(worked) = attempt(&guard)? {
                    return Ok(Some(worked));
                }
            }
            let seen = awaited.bell(&guard).rings();
            drop(guard);
            if until.is_some_and(Deadline::is_over) {
                return Ok(None);
            }
            // Rung, or time to look: the next round sees which.
            awaited.bell(self.table.head()).wait(seen, until);
        }
    }
}

fn until_closed<R>(
    mut take: impl FnMut() -> Result<R, QueueError>,
) -> impl Iterator<Item = Result<R, QueueError>> {
    std::iter::from_fn(move || match take() {
        Err(QueueError::Closed) => None,
        told => Some(told),
    })
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Queue<T> {
        Queue { table: Arc::clone(&self.table), _item: PhantomData }
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("is_closed", &self.is_closed()).finish_non_exhaustive()
    }
}

impl<T> Serialize for Queue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.table.files.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Queue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Queue<T>, D::Error> {
        let files: (Carried, Carried) = Deserialize::deserialize(deserializer)?;
        Table::open(files).map(Queue::of).map_err(|error| D::Error::custom(format!("queue: {error}")))
    }
}
