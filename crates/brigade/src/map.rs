//! A function over many items, in chunks.

use crate::afterwards::Afterwards;
use crate::call::{self, Call, Value};
use crate::error::TaskError;
use crate::order::{Intake, Sink, Ticket, Word};
use brigade_os::clock::Deadline;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::iter::FusedIterator;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Chunks that are handed in ahead at first, for each thread of each worker.
const CHUNKS_AHEAD: u64 = 4;

/// And at most: so many as have been given already, for whoever wants many results wants them fast, and chunks of one short call
/// each travel sixty to a packet. Four of them left workers idle for most of the time.
const CHUNKS_AHEAD_MAX: u64 = 256;

/// Beyond the first few, no more are ahead than take so many bytes, arguments and results together.
const BYTES_AHEAD: u64 = 4 << 20;

/// Items of a chunk whose size nobody said, at most.
const CHUNK_ITEMS_MAX: u32 = 1_024;

/// Bytes of arguments after which a chunk is large enough, however many items it has.
const CHUNK_BYTES: usize = 3_000;

/// Bytes that the results of a chunk may have, by those that were seen: whoever waits for the first of them waits for all, and
/// all are in memory at once.
const CHUNK_RESULT_BYTES: u64 = 64 << 10;

/// The results of [`Pool::map`](crate::Pool::map), in order unless it is [`unordered`](Map::unordered).
///
/// Dropping it cancels what was handed in and no worker has yet. Chunks that run are done, and their results are for nobody;
/// [`Map::cancel`] ends these as well.
///
/// ```
/// # brigade::test_entry!(init); init();
/// use brigade::{Map, Pool};
/// use std::ops::RangeFrom;
///
/// let pool = Pool::builder().procs(2).build()?;
/// let squares: Map<RangeFrom<u64>, u64, u64> = pool.map(|n| n * n, 1..);
/// assert_eq!(squares.take(3).flatten().collect::<Vec<_>>(), [1, 4, 9]);
/// # Ok::<(), brigade::BuildError>(())
/// ```
#[must_use = "nothing is done before the first result is asked for"]
pub struct Map<I, A, R> {
    intake: Arc<dyn Intake>,
    ticket: Ticket,
    /// A call of the function with no item yet.
    opening: Result<Call, TaskError>,
    items: I,
    is_exhausted: bool,
    chunk_size: Option<u32>,
    weigh: Option<fn(&A) -> u64>,
    is_ordered: bool,
    shared: Arc<Shared>,
    /// Items handed in so far, and how many of their results were given.
    handed: u64,
    given: u64,
    /// Chunks given so far, and the bytes of the arguments of the last that was handed in.
    chunks_given: u64,
    chunk_bytes: u64,
    /// Where the chunks end that were handed in and not given yet.
    ends: VecDeque<u64>,
    /// Results of the chunk that is being given.
    open: VecDeque<Result<R, TaskError>>,
    _item: PhantomData<fn(A)>,
}

/// Chunks that are done, by their first item.
#[derive(Default)]
struct Shared {
    done: Mutex<Done>,
    more: Condvar,
}

#[derive(Default)]
struct Done {
    chunks: BTreeMap<u64, (u64, Word)>,
    /// Items whose results are known, and how long one is: upward at once, downward in eighths.
    known: u64,
    result_bytes: u64,
}

impl<A: Value, R: Value, I: Iterator<Item = A>> Map<I, A, R> {
    pub(crate) fn new(intake: Arc<dyn Intake>, opening: Result<Call, TaskError>, items: I) -> Map<I, A, R> {
        Map {
            ticket: intake.ticket(),
            intake,
            opening,
            items,
            is_exhausted: false,
            chunk_size: None,
            weigh: None,
            is_ordered: true,
            shared: Arc::default(),
            handed: 0,
            given: 0,
            chunks_given: 0,
            chunk_bytes: 0,
            ends: VecDeque::new(),
            open: VecDeque::new(),
            _item: PhantomData,
        }
    }

    /// How many items travel in one call. Chosen by the number of items and their size, if not said.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # let pool = brigade::Pool::builder().procs(2).build()?;
    /// assert_eq!(pool.map(|n: u32| n, 0..10).chunk_size(5).flatten().sum::<u32>(), 45);
    /// assert_eq!(pool.loads().iter().map(|load| load.calls).sum::<u64>(), 2);
    /// # Ok::<(), brigade::BuildError>(())
    /// ```
    ///
    /// # Panics
    /// If that is none.
    pub fn chunk_size(mut self, items: u32) -> Map<I, A, R> {
        assert!(items > 0, "a chunk has at least one item");
        self.chunk_size = Some(items);
        self
    }

    /// What an item weighs, in any unit: for pools with [`Schedule::Weighted`](crate::Schedule::Weighted), where each worker is
    /// given about as much. A chunk weighs what its items do. Each weighs 1, if not said.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # use brigade::{Pool, Schedule};
    /// let pool = Pool::builder().procs(2).schedule(Schedule::Weighted).build()?;
    /// let texts = ["a long text, as such things go", "a", "b", "c"].map(str::to_owned);
    /// let lengths = pool.map(|text: String| text.len(), texts).chunk_size(1).weigh(|text| text.len() as u64);
    /// assert_eq!(lengths.flatten().sum::<usize>(), 33);
    /// # Ok::<(), brigade::BuildError>(())
    /// ```
    pub fn weigh(mut self, weight: fn(&A) -> u64) -> Map<I, A, R> {
        self.weigh = Some(weight);
        self
    }

    /// Results are given as they come.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # let pool = brigade::Pool::builder().procs(2).build()?;
    /// let mut squares: Vec<u32> = pool.map(|n| n * n, 0..4).unordered().flatten().collect();
    /// squares.sort();
    /// assert_eq!(squares, [0, 1, 4, 9]);
    /// # Ok::<(), brigade::BuildError>(())
    /// ```
    pub fn unordered(mut self) -> Map<I, A, R> {
        self.is_ordered = false;
        self
    }

    /// The next result, if it is there within that time: `None` if it is not, and it may be asked again, for the work goes on;
    /// `Some(None)` after the last. How long the input takes to say what its next items are is not counted.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # use brigade::sync::Event;
    /// # use std::time::Duration;
    /// # let (pool, event) = (brigade::Pool::builder().procs(1).build()?, Event::new()?);
    /// let mut map = pool.map(|event: Event| event.wait(), [event.clone()]);
    /// assert_eq!(map.next_timeout(Duration::from_millis(1)), None);
    /// event.set();
    /// assert_eq!(map.next_timeout(Duration::from_secs(60)), Some(Some(Ok(()))));
    /// assert_eq!(map.next_timeout(Duration::ZERO), Some(None), "that was all");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn next_timeout(&mut self, patience: Duration) -> Option<Option<Result<R, TaskError>>> {
        let until = Deadline::after(patience);
        while self.open.is_empty() {
            self.hand_in();
            if self.given < self.handed && !self.shared.comes(self.awaited(), until) {
                return None;
            }
            if !self.open_next() {
                return Some(None);
            }
        }
        Some(self.open.pop_front())
    }

    /// The chunk that is to come next: the one that begins so, or any.
    fn awaited(&self) -> Option<u64> {
        self.is_ordered.then_some(self.given)
    }

    /// Nobody wants the results that are still to come: nothing more is begun, and workers that run chunks of it are killed and
    /// replaced.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # use std::{thread, time::Duration};
    /// # let pool = brigade::Pool::builder().procs(2).build()?;
    /// let naps = [0, 3_600, 3_600].map(Duration::from_secs);
    /// let mut map = pool.map(thread::sleep, naps).chunk_size(1);
    /// assert_eq!(map.next(), Some(Ok(())));
    /// map.cancel();
    /// pool.join(); // at once
    /// # Ok::<(), brigade::BuildError>(())
    /// ```
    pub fn cancel(self) {
        self.intake.cancel(self.ticket, true);
    }

    /// Keeps the workers busy.
    fn hand_in(&mut self) {
        while self.ends.front().is_some_and(|end| *end <= self.given) {
            self.ends.pop_front();
        }
        let ahead = self.ahead();
        while !self.is_exhausted && self.ends.len() < ahead {
            let first = self.handed;
            match self.opening.clone() {
                Ok(call) => self.hand_in_chunk(call),
                // Nothing can be called: one error, and no more.
                Err(error) => {
                    self.is_exhausted = true;
                    self.lose_next(error);
                }
            }
            if self.handed > first {
                self.ends.push_back(self.handed);
            }
        }
    }

    /// Chunks that may be under way, at the least: what items are divided by.
    fn ahead_min(&self) -> u64 {
        u64::from(self.intake.hands()) * CHUNKS_AHEAD
    }

    /// Chunks that may be under way. Those whose size nobody said grow, where they may, and need no others.
    fn ahead(&self) -> usize {
        let (least, hands) = (self.ahead_min(), u64::from(self.intake.hands()));
        if self.chunk_size.is_none() {
            return usize::try_from(least).unwrap_or(usize::MAX);
        }
        let items = (self.handed / (self.chunks_given + self.ends.len() as u64).max(1)).max(1);
        let bytes = self.chunk_bytes + self.shared.lock().result_bytes.saturating_mul(items);
        let most = (BYTES_AHEAD / bytes.max(1)).min(hands * CHUNKS_AHEAD_MAX);
        usize::try_from(self.chunks_given.min(most).max(least)).unwrap_or(usize::MAX)
    }

    /// One call with as many items as it is to have. An item that cannot be encoded ends it, and stands behind it as its own.
    fn hand_in_chunk(&mut self, mut call: Call) {
        let size = self.chunk_size.unwrap_or_else(|| self.fair_size());
        let is_full = |call: &Call| self.chunk_size.is_none() && call.bytes().len() >= CHUNK_BYTES;
        let mut refused = None;
        while call.items() < size && !is_full(&call) && refused.is_none() {
            let Some(item) = self.items.next() else {
                self.is_exhausted = true;
                break;
            };
            refused = call.push(&item).err();
            if let Some(weigh) = self.weigh.filter(|_| refused.is_none()) {
                call.weigh(weigh(&item));
            }
        }
        if call.items() > 0 {
            self.chunk_bytes = call.bytes().len() as u64;
            let items = self.handed..self.handed + u64::from(call.items());
            self.handed = items.end;
            let sink = Arc::clone(&self.shared) as Arc<dyn Sink>;
            if let Err(error) = self.intake.submit(self.ticket, call, items.clone(), sink) {
                self.shared.settle(items, Word::Lost(error));
            }
        }
        if let Some(error) = refused {
            self.lose_next(error);
        }
    }

    /// The next item has no result.
    fn lose_next(&mut self, error: TaskError) {
        self.handed += 1;
        self.shared.settle(self.handed - 1..self.handed, Word::Lost(error));
    }

    /// Some chunks for each thread of each worker, so that none waits long for the last. Where nobody knows how many items there are,
    /// chunks grow with those that there were. How long results are only they can say, so no chunk has more items than results
    /// are known.
    fn fair_size(&self) -> u32 {
        let items = match self.items.size_hint() {
            (least, Some(most)) if least == most => least as u64,
            _ => self.handed,
        };
        let size = items.div_ceil(self.ahead_min()).min(self.shared.lock().bearable());
        u32::try_from(size).unwrap_or(u32::MAX).clamp(1, CHUNK_ITEMS_MAX)
    }

    /// Opens the next chunk: waits for it. False if there is none.
    fn open_next(&mut self) -> bool {
        self.hand_in();
        if self.given == self.handed {
            return false;
        }
        let (count, word) = self.shared.take(self.awaited());
        self.given += count;
        self.chunks_given += 1;
        match word {
            Word::Value(bytes, _, by) => {
                let origin = || by.origin(self.intake.logs().as_deref());
                self.open.extend(call::results(&bytes).map(|one| call::result(one, origin)));
                // Whoever has garbled its results has lost some.
                let missing = (count as usize).saturating_sub(self.open.len());
                self.open.extend((0..missing).map(|_| Err(call::nothing(origin()))));
                self.open.truncate(count as usize);
            }
            Word::Lost(error) => self.open.extend((0..count).map(|_| Err(error.clone()))),
        }
        self.hand_in();
        true
    }
}

impl<A: Value, R: Value, I: Iterator<Item = A>> Iterator for Map<I, A, R> {
    type Item = Result<R, TaskError>;

    fn next(&mut self) -> Option<Result<R, TaskError>> {
        while self.open.is_empty() {
            if !self.open_next() {
                return None;
            }
        }
        self.open.pop_front()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let (least, most) = if self.is_exhausted { (0, Some(0)) } else { self.items.size_hint() };
        let here = (self.handed - self.given) as usize + self.open.len();
        (least.saturating_add(here), most.and_then(|most| most.checked_add(here)))
    }
}

impl<A: Value, R: Value, I: Iterator<Item = A>> FusedIterator for Map<I, A, R> {}

impl<I, A, R> Drop for Map<I, A, R> {
    fn drop(&mut self) {
        if self.given < self.handed {
            self.intake.cancel(self.ticket, false);
        }
    }
}

impl<I, A, R> fmt::Debug for Map<I, A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map").field("handed_in", &self.handed).field("given", &self.given).finish()
    }
}

impl Done {
    /// So many items have this word.
    fn learn(&mut self, count: u64, word: &Word) {
        if let Word::Value(bytes, ..) = word {
            let each = bytes.len() as u64 / count.max(1);
            let less = self.result_bytes.saturating_sub(each);
            self.result_bytes = if less > 0 { self.result_bytes - less / 8 } else { each };
            self.known += count;
        }
    }

    /// Whether the chunk that begins so is not there yet; or none at all.
    fn is_missing(&self, next: Option<u64>) -> bool {
        match next {
            Some(next) => !self.chunks.contains_key(&next),
            None => self.chunks.is_empty(),
        }
    }

    /// How many items a chunk may have for its results.
    fn bearable(&self) -> u64 {
        self.known.min(CHUNK_RESULT_BYTES / self.result_bytes.max(1))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Done> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the chunk that begins so, or for any, and says whether it is there by then.
    fn comes(&self, next: Option<u64>, until: Deadline) -> bool {
        let mut done = self.lock();
        while done.is_missing(next) {
            let Some(left) = until.left() else { return false };
            done = self.more.wait_timeout(done, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Waits for the chunk that begins so, or for any, and takes it.
    fn take(&self, next: Option<u64>) -> (u64, Word) {
        let is_missing = |done: &mut Done| done.is_missing(next);
        let mut done = self.more.wait_while(self.lock(), is_missing).unwrap_or_else(PoisonError::into_inner);
        let taken = match next {
            Some(next) => done.chunks.remove(&next),
            None => done.chunks.pop_first().map(|(_, chunk)| chunk),
        };
        taken.expect("it was waited for")
    }
}

impl Sink for Shared {
    fn settle(&self, items: Range<u64>, word: Word) -> Afterwards {
        let (mut done, count) = (self.lock(), items.end - items.start);
        done.learn(count, &word);
        done.chunks.insert(items.start, (count, word));
        drop(done);
        self.more.notify_one();
        Afterwards::default()
    }
}
