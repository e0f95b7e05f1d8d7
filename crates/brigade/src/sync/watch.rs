//! Watching locks: who holds what, who waits for it for long, and who takes two of them in an order in which somebody else
//! does not.
//!
//! Orders are kept twice: in this process as a graph of all of them, and in the memory of each lock as the locks that
//! anybody, in any process, had in hand when it wanted this one.

use brigade_os::clock::{Deadline, monotonic_ns};
use brigade_os::proc::process_of_thread;
use brigade_os::shared;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::env;
use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long somebody may wait for a lock before that is reported, each time anew.
const PATIENCE: Duration = Duration::from_secs(1);

shared! {
    /// What a lock remembers when it is watched.
    pub(crate) struct Record {
        watched: AtomicU32,
        /// Since when it is held; 0 if nobody has said.
        since_ns: AtomicU64,
        /// Locks that were in hand when this one was wanted; 0 where there is none.
        before: [AtomicU64; 16],
    }
}

impl Record {
    pub(crate) fn begin(&self) {
        self.watched.store(ON.load(Relaxed).into(), Relaxed);
    }

    fn note_before(&self, id: u64) {
        let is_noted = |slot: &AtomicU64| {
            slot.compare_exchange(0, id, SeqCst, SeqCst).map_or_else(|there| there == id, |_| true)
        };
        // Where there is no room, the graphs of the processes remain.
        let _ = self.before.iter().any(is_noted);
    }

    fn has_before(&self, id: u64) -> bool {
        self.before.iter().any(|slot| slot.load(SeqCst) == id)
    }
}

/// A lock that can be watched.
pub(crate) trait Recorded {
    fn record(&self) -> &Record;
    fn id(&self) -> u64;
    fn name(&self) -> String;
    fn holder(&self) -> Option<Holder>;
    fn boxed(&self) -> Box<dyn Recorded>;
}

/// A thread that holds a lock.
///
/// ```
/// use brigade::sync::{Holder, Lock};
///
/// let lock = Lock::new()?;
/// let _guard = lock.acquire()?;
/// let holder: Holder = lock.holder().expect("this thread");
/// assert!(holder.to_string().starts_with(&format!("process {}, thread ", std::process::id())));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its process.
    pub pid: u32,
    /// The thread's own number, and its name as `ps -L` shows it.
    pub thread: (u32, String),
    /// For how long; known if the lock is watched.
    pub held_for: Option<Duration>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Holder { pid, thread: (tid, name), held_for } = self;
        write!(f, "process {pid}, thread {tid} ({name})")?;
        held_for.map_or(Ok(()), |time| write!(f, ", for {time:.1?}"))
    }
}

/// What watching has found.
///
/// ```
/// use brigade::sync::{Lock, LockReport, watch_locks_with};
/// use std::sync::mpsc::channel;
///
/// let (sender, reports) = channel();
/// watch_locks_with(move |report| drop(sender.send(report.clone())));
/// let (from, to) = (Lock::named("from")?, Lock::named("to")?);
/// drop((from.acquire()?, to.acquire()?));
/// drop((to.acquire()?, from.acquire()?));
/// let LockReport::Inversion { first, second } = reports.try_recv()? else { panic!("another report") };
/// assert!(first.0.starts_with("to#") && second.0.starts_with("from#"), "{first:?} {second:?}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LockReport {
    /// Two locks are taken in both orders: some day each of two threads will have one and wait for the other.
    Inversion {
        /// In hand, and where it was taken.
        first: (String, &'static Location<'static>),
        /// Wanted, and where. Somebody has had this one in hand and wanted the other.
        second: (String, &'static Location<'static>),
    },
    /// Somebody waits for long.
    Long {
        /// For which lock, and where.
        lock: (String, &'static Location<'static>),
        /// How long by now.
        waited: Duration,
        /// Who has it, unless it was released just now.
        holder: Option<Holder>,
    },
}

impl fmt::Display for LockReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockReport::Inversion { first: (first, first_at), second: (second, second_at) } => write!(
                f,
                "lock order: {second} is taken at {second_at} with {first} in hand (since {first_at}), and elsewhere {first} \
                 with {second} in hand: take them in one order"
            ),
            LockReport::Long { lock: (lock, at), waited, holder: Some(holder) } => {
                write!(f, "lock {lock}: waited for {waited:.1?} at {at}; held by {holder}")
            }
            LockReport::Long { lock: (lock, at), waited, holder: None } => {
                write!(f, "lock {lock}: waited for {waited:.1?} at {at}; nobody holds it now")
            }
        }
    }
}

type Handler = Arc<dyn Fn(&LockReport) + Send + Sync>;

static ON: LazyLock<AtomicBool> =
    LazyLock::new(|| AtomicBool::new(env::var_os("BRIGADE_WATCH_LOCKS").is_some_and(|value| value == "1")));

static HANDLER: Mutex<Option<Handler>> = Mutex::new(None);

/// Which locks were wanted with which in hand, in this process.
static ORDERS: LazyLock<Mutex<HashMap<u64, HashSet<u64>>>> = LazyLock::new(Mutex::default);

/// Pairs that were reported.
static REPORTED: LazyLock<Mutex<HashSet<(u64, u64)>>> = LazyLock::new(Mutex::default);

thread_local! {
    /// What this thread holds.
    static HELD: RefCell<Vec<Entry>> = const { RefCell::new(Vec::new()) };
}

struct Entry {
    id: u64,
    lock: Box<dyn Recorded>,
    at: &'static Location<'static>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Watches all locks that this process uses from now on, and in all processes those that are made from now on; or watches no
/// more. The environment variable `BRIGADE_WATCH_LOCKS=1` does the same from the start.
///
/// A line on stderr says which two locks are taken in both orders, and after each second that somebody waits for one, who
/// has it (see [`LockReport`]). It costs some microseconds for each acquisition.
///
/// ```
/// # use brigade::sync::{Lock, watch_locks};
/// watch_locks(true);
/// let lock = Lock::new()?;
/// let _guard = lock.acquire()?;
/// assert!(lock.holder().is_some_and(|it| it.held_for.is_some()), "only of a watched one that is known");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn watch_locks(on: bool) {
    *lock(&HANDLER) = None;
    ON.store(on, Relaxed);
}

/// As [`watch_locks`], and what is found in this process is handed to `handler`, on the thread that wants the lock.
///
/// ```
/// # use brigade::sync::{Lock, watch_locks_with};
/// watch_locks_with(|report| panic!("{report}")); // in tests: no order of locks that may wedge some day
/// let lock = Lock::new()?;
/// drop(lock.acquire()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn watch_locks_with(handler: impl Fn(&LockReport) + Send + Sync + 'static) {
    *lock(&HANDLER) = Some(Arc::new(handler));
    ON.store(true, Relaxed);
}

fn report(found: &LockReport) {
    let handler = lock(&HANDLER).clone();
    match handler {
        Some(handler) => handler(found),
        None => eprintln!("{found}"),
    }
}

/// Whether a lock is watched.
pub(crate) fn is_on(record: &Record) -> bool {
    record.watched.load(Relaxed) != 0 || ON.load(Relaxed)
}

/// Waits for a lock by `take`, in slices, and reports each in vain.
pub(crate) fn wait<T>(
    wanted: &dyn Recorded,
    at: &'static Location<'static>,
    until: Option<Deadline>,
    take: impl Fn(Option<Deadline>) -> Option<T>,
) -> Option<T> {
    check_order(wanted, at);
    let begun = monotonic_ns();
    loop {
        let look = Deadline::after(PATIENCE);
        if let Some(taken) = take(Some(until.map_or(look, |until| until.min(look)))) {
            return Some(taken);
        }
        if until.is_some_and(Deadline::is_over) {
            return None;
        }
        let waited = Duration::from_nanos(monotonic_ns() - begun);
        report(&LockReport::Long { lock: (wanted.name(), at), waited, holder: wanted.holder() });
    }
}

/// Notes what is in hand while this is wanted, before it is waited for: it may never be had.
fn check_order(wanted: &dyn Recorded, at: &'static Location<'static>) {
    let id = wanted.id();
    let found: Vec<LockReport> = HELD.with_borrow(|held| {
        if held.iter().any(|entry| entry.id == id) {
            return Vec::new();
        }
        let is_inverse = |entry: &&Entry| {
            wanted.record().note_before(entry.id);
            let mut orders = lock(&ORDERS);
            orders.entry(entry.id).or_default().insert(id);
            let is_inverse = entry.lock.record().has_before(id) || leads(&orders, id, entry.id);
            drop(orders);
            is_inverse && lock(&REPORTED).insert((entry.id.min(id), entry.id.max(id)))
        };
        let inverse = held.iter().filter(is_inverse);
        inverse
            .map(|entry| LockReport::Inversion {
                first: (entry.lock.name(), entry.at),
                second: (wanted.name(), at),
            })
            .collect()
    });
    found.iter().for_each(report);
}

/// Whether the second lock was ever wanted with the first in hand, or with one in hand that was, and so on.
fn leads(orders: &HashMap<u64, HashSet<u64>>, from: u64, to: u64) -> bool {
    let (mut open, mut seen) = (vec![from], HashSet::new());
    while let Some(id) = open.pop() {
        let next = orders.get(&id).into_iter().flatten();
        for id in next.filter(|id| seen.insert(**id)) {
            if *id == to {
                return true;
            }
            open.push(*id);
        }
    }
    false
}

/// A watched lock is in hand until this is dropped.
pub(crate) struct Watched(u64);

/// This thread has it now.
pub(crate) fn taken(lock: &dyn Recorded, at: &'static Location<'static>) -> Watched {
    let id = lock.id();
    HELD.with_borrow_mut(|held| {
        if !held.iter().any(|entry| entry.id == id) {
            lock.record().since_ns.store(monotonic_ns(), Relaxed);
        }
        held.push(Entry { id, lock: lock.boxed(), at });
    });
    Watched(id)
}

impl Drop for Watched {
    fn drop(&mut self) {
        let entry = HELD.with_borrow_mut(|held| {
            let at = held.iter().rposition(|entry| entry.id == self.0)?;
            let entry = held.remove(at);
            let is_last = !held.iter().any(|entry| entry.id == self.0);
            is_last.then_some(entry)
        });
        if let Some(entry) = entry {
            entry.lock.record().since_ns.store(0, Relaxed);
        }
    }
}

/// Who a thread is, and since when it has the lock.
pub(crate) fn holder(tid: u32, record: &Record) -> Option<Holder> {
    let (pid, name) = process_of_thread(tid)?;
    let since = record.since_ns.load(Relaxed);
    let held_for = (since > 0).then(|| Duration::from_nanos(monotonic_ns().saturating_sub(since)));
    Some(Holder { pid, thread: (tid, name), held_for })
}
