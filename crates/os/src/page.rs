//! One page of shared memory per slot: what its worker is doing, readable at any time and after its death.
//!
//! The worker writes with plain atomic stores, no system call. The supervisor never waits for anything here
//! and takes no lock that a worker could hold. The pages are a sealed memfd: nobody can shrink it under a
//! reader (that would be a SIGBUS), and no name is left behind anywhere.
//!
//! There are pages for all the slots that there may ever be, since what is sealed cannot grow, and a page that nobody
//! has touched takes nothing but an address.

use rustix::fs::{MemfdFlags, SealFlags, SeekFrom, fcntl_add_seals, ftruncate, memfd_create, seek};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::{Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64};

use crate::clock::monotonic_ns;
use crate::map::Map;
use brigade_wire::{Attempt, SlotId, TaskId};

/// What is aligned to, and taken per slot. Larger than the page size of the machine is fine; smaller would
/// let two slots share one.
const PAGE_BYTES: usize = 65_536;

/// The most tasks that one worker can run at the same time.
pub const THREADS_MAX: u32 = 64;

/// The page as it lies in memory. All zero is a slot where nobody works.
#[repr(C)]
struct Page {
    /// Written by the kernel at the birth (`CLONE_PARENT_SETTID`), even if whoever forked dies of it;
    /// cleared by the supervisor before it reaps.
    pid: AtomicI32,
    /// Not 0: the worker is to begin nothing any more, and to leave.
    recalled: AtomicU32,
    /// How many of the cells are written to; nobody looks at others, which would make them take memory.
    threads: AtomicU32,
    /// Lines that all workers of the slot could not write into their logs, and why the last one could not. Never cleared.
    lost_errno: AtomicI32,
    lost_lines: AtomicU64,
    cells: [Cell; THREADS_MAX as usize],
}

const _: () = assert!(size_of::<Page>() <= PAGE_BYTES);

/// What one thread of a worker does; a line of the cache for each, so that none waits for another.
#[repr(C, align(64))]
struct Cell {
    /// The running task's number plus one; 0 while idle.
    task: AtomicU64,
    attempt: AtomicU32,
    /// Its number for the kernel, where the worker has several; else 0.
    thread: AtomicI32,
    since_ns: AtomicU64,
    /// When the running task last said that it gets on, or began.
    progress_ns: AtomicU64,
    sign_ns: AtomicU64,
}

/// A task as its worker's page names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnPage {
    /// Which.
    pub task: TaskId,
    /// Which try.
    pub attempt: Attempt,
    /// When it began, by [`monotonic_ns`].
    pub since_ns: u64,
    /// When it last said that it gets on, or began.
    pub progress_ns: u64,
}

/// The pages of all slots.
#[derive(Debug)]
pub struct Pages {
    fd: OwnedFd,
    map: Map,
    slots: u32,
}

impl Pages {
    /// Makes pages for `slots` slots. Only those that are written to take memory.
    ///
    /// # Errors
    /// If there is no memory or no descriptor to be had.
    pub fn create(slots: u32) -> io::Result<Pages> {
        let fd = memfd_create("brigade-pages", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&fd, (slots as usize * PAGE_BYTES) as u64)?;
        fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        Pages::map(fd)
    }

    /// Maps the pages that another process made.
    ///
    /// # Errors
    /// If `fd` is not a sealed memfd of pages.
    pub fn map(fd: OwnedFd) -> io::Result<Pages> {
        let seals = rustix::fs::fcntl_get_seals(&fd)?;
        let bytes = rustix::fs::fstat(&fd)?.st_size as usize;
        if !seals.contains(SealFlags::SHRINK) || bytes == 0 || !bytes.is_multiple_of(PAGE_BYTES) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a sealed memfd of pages"));
        }
        let map = Map::shared(fd.as_fd(), bytes, 0)?;
        Ok(Pages { fd, map, slots: (bytes / PAGE_BYTES) as u32 })
    }

    /// What to pass on to another process.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The process born last in a slot and not yet reaped; as the kernel itself wrote it.
    #[must_use]
    pub fn pid(&self, slot: SlotId) -> Option<crate::Pid> {
        crate::Pid::new(self.page(slot).pid.load(Relaxed))
    }

    /// Every process born and not yet reaped. Looks at no page that was never written: that would make it take memory.
    pub fn pids(&self) -> impl Iterator<Item = crate::Pid> + '_ {
        let mut next = SlotId(0);
        let written = std::iter::from_fn(move || {
            let from = u64::from(next.0) * PAGE_BYTES as u64;
            let at = seek(&self.fd, SeekFrom::Data(from)).ok().filter(|at| *at >= from)?;
            let slot = SlotId((at / PAGE_BYTES as u64) as u32);
            next = SlotId(slot.0 + 1);
            Some(slot)
        });
        written.filter_map(|slot| self.pid(slot))
    }

    /// Takes what the dead of a slot was running, and forgets it: before it is reaped, so that nobody finds a
    /// number that may already be a stranger's.
    #[must_use]
    pub fn take(&self, slot: SlotId) -> Vec<OnPage> {
        let running = self.running(slot);
        let page = self.page(slot);
        page.pid.store(0, Relaxed);
        for cell in page.cells() {
            cell.task.store(0, Relaxed);
            cell.sign_ns.store(0, Relaxed);
            cell.thread.store(0, Relaxed);
        }
        page.threads.store(0, Relaxed);
        running
    }

    /// What the worker of a slot runs now, or ran when it died: at most one task for each of its threads, the one that began
    /// first before the others.
    #[must_use]
    pub fn running(&self, slot: SlotId) -> Vec<OnPage> {
        let mut running: Vec<OnPage> = self.page(slot).cells().iter().filter_map(Cell::running).collect();
        running.sort_unstable_by_key(|page| page.since_ns);
        running
    }

    /// The number of the thread that runs this task, if the worker of the slot has several threads and one of them does.
    #[must_use]
    pub fn thread_of(&self, slot: SlotId, task: TaskId) -> Option<crate::Pid> {
        let cells = self.page(slot).cells();
        let cell = cells.iter().find(|cell| cell.running().is_some_and(|page| page.task == task))?;
        crate::Pid::new(cell.thread.load(Relaxed))
    }

    /// The worker of a slot is to begin nothing any more, and to leave. Whatever [`running`](Pages::running) names after this
    /// is what it had begun before, and the last.
    pub fn recall(&self, slot: SlotId) {
        self.page(slot).recalled.store(1, SeqCst);
        std::sync::atomic::fence(SeqCst);
    }

    /// Nobody of a slot is recalled any more: before each birth, and by whoever [recalls](Pages::recall), since that may have
    /// been said to a body, and would be heard by its successor.
    pub fn renew(&self, slot: SlotId) {
        self.page(slot).recalled.store(0, SeqCst);
    }

    /// Whether the worker of a slot was told so. Whoever asks this first, and then for what it runs, knows the last that it
    /// begins.
    #[must_use]
    pub fn is_recalled(&self, slot: SlotId) -> bool {
        self.page(slot).recalled.load(SeqCst) != 0
    }

    /// The last time that the worker of a slot began or ended something.
    #[must_use]
    pub fn sign_ns(&self, slot: SlotId) -> Option<u64> {
        let signs = self.page(slot).cells().iter().map(|cell| cell.sign_ns.load(Relaxed));
        signs.max().filter(|sign_ns| *sign_ns > 0)
    }

    /// Lines that workers of all slots could not write into their logs, and why one of them could not.
    #[must_use]
    pub fn lost_lines(&self) -> (u64, Option<io::Error>) {
        let pages = || (0..self.slots).map(|slot| self.page(SlotId(slot)));
        let errno = pages().map(|page| page.lost_errno.load(Relaxed)).find(|errno| *errno != 0);
        let lines = pages().map(|page| page.lost_lines.load(Relaxed)).fold(0, u64::saturating_add);
        (lines, errno.map(io::Error::from_raw_os_error))
    }

    /// Where the kernel is to write the number of the next process of a slot.
    pub(crate) fn pid_address(&self, slot: SlotId) -> *mut libc::pid_t {
        self.page(slot).pid.as_ptr()
    }

    /// The page that a worker writes: its own, and no other is left mapped.
    ///
    /// # Errors
    /// If the kernel refuses the mapping.
    pub fn own(&self, slot: SlotId) -> io::Result<OwnPage> {
        assert!(slot.0 < self.slots, "slot {slot} of {}", self.slots);
        Ok(OwnPage { map: Map::shared(self.fd(), PAGE_BYTES, (slot.0 as usize * PAGE_BYTES) as u64)? })
    }

    fn page(&self, slot: SlotId) -> &Page {
        assert!(slot.0 < self.slots, "slot {slot} of {}", self.slots);
        // SAFETY: inside the mapping by the assertion, aligned to PAGE_BYTES, valid for any bit pattern, and
        // only ever touched through atomics.
        unsafe { self.map.address.byte_add(slot.0 as usize * PAGE_BYTES).cast::<Page>().as_ref() }
    }
}

impl Page {
    /// Those that are written to.
    fn cells(&self) -> &[Cell] {
        &self.cells[..self.threads.load(Relaxed).clamp(1, THREADS_MAX) as usize]
    }
}

impl Cell {
    fn running(&self) -> Option<OnPage> {
        loop {
            let task = self.task.load(std::sync::atomic::Ordering::Acquire);
            let (attempt, since_ns) = (self.attempt.load(Relaxed), self.since_ns.load(Relaxed));
            let progress_ns = self.progress_ns.load(Relaxed).max(since_ns);
            std::sync::atomic::fence(std::sync::atomic::Ordering::Acquire);
            if self.task.load(Relaxed) == task {
                let task = TaskId(task.checked_sub(1)?);
                return Some(OnPage { task, attempt: Attempt(attempt), since_ns, progress_ns });
            }
        }
    }
}

/// A worker's own page.
#[derive(Debug)]
pub struct OwnPage {
    map: Map,
}

/// What one thread of a worker writes on its page.
#[derive(Clone, Copy)]
pub struct OwnCell<'a> {
    page: &'a Page,
    cell: &'a Cell,
}

impl fmt::Debug for OwnCell<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnCell").field("running", &self.cell.running()).finish_non_exhaustive()
    }
}

impl OwnPage {
    /// So many threads will write on it; [`THREADS_MAX`] at most.
    pub fn open(&self, threads: u32) {
        assert!((1..=THREADS_MAX).contains(&threads), "{threads} threads");
        self.page().threads.store(threads, Relaxed);
    }

    /// The cell of a thread, by its number among those of the worker.
    #[must_use]
    pub fn cell(&self, thread: u32) -> OwnCell<'_> {
        let page = self.page();
        OwnCell { page, cell: &page.cells[thread as usize] }
    }

    /// A line of its log could not be written.
    pub fn lose_line(&self, error: &io::Error) {
        let page = self.page();
        page.lost_errno.store(error.raw_os_error().unwrap_or(0), Relaxed);
        page.lost_lines.fetch_add(1, Relaxed);
    }

    fn page(&self) -> &Page {
        // SAFETY: the mapping is PAGE_BYTES long, aligned, and only ever touched through atomics.
        unsafe { self.map.address.cast::<Page>().as_ref() }
    }
}

impl OwnCell<'_> {
    /// This thread is the one that writes here: where a worker has several, SIGABRT is for the one that hangs.
    pub fn settle_in(&self) {
        // SAFETY: takes nothing, and cannot fail.
        self.cell.thread.store(unsafe { libc::gettid() }, Relaxed);
    }

    /// A task begins now; returns that moment. `None` if the worker was [recalled](Pages::recall) before: then it has not
    /// begun. Either the supervisor sees the task, or the worker sees that: each writes first and then looks.
    pub fn begin(&self, task: TaskId, attempt: Attempt) -> Option<u64> {
        let (cell, now) = (self.cell, monotonic_ns());
        // Whoever sees what follows sees that the task before it has ended.
        std::sync::atomic::fence(Release);
        cell.attempt.store(attempt.0, Relaxed);
        cell.since_ns.store(now, Relaxed);
        cell.progress_ns.store(now, Relaxed);
        cell.sign_ns.store(now, Relaxed);
        cell.task.store(task.0 + 1, SeqCst);
        if self.page.recalled.load(SeqCst) == 0 {
            return Some(now);
        }
        cell.task.store(0, Release);
        None
    }

    /// The running task gets on: its deadline counts from now.
    pub fn progress(&self) {
        let now = monotonic_ns();
        self.cell.progress_ns.store(now, Relaxed);
        self.cell.sign_ns.store(now, Relaxed);
    }

    /// The running task has ended; returns that moment.
    pub fn end(&self) -> u64 {
        let now = monotonic_ns();
        self.cell.sign_ns.store(now, Relaxed);
        self.cell.task.store(0, Release);
        now
    }

    /// The thread lives and waits.
    pub fn sign(&self) {
        self.cell.sign_ns.store(monotonic_ns(), Relaxed);
    }
}

#[cfg(test)]
mod interpreted;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_worker_writes_is_read_through_another_mapping() {
        let pages = Pages::create(4).unwrap();
        let page = pages.own(SlotId(3)).unwrap();
        let own = page.cell(0);
        assert_eq!(pages.running(SlotId(3)), []);
        let since_ns = own.begin(TaskId(0), Attempt(2)).unwrap();
        let running = OnPage { task: TaskId(0), attempt: Attempt(2), since_ns, progress_ns: since_ns };
        assert_eq!(pages.running(SlotId(3)), [running]);
        assert_eq!(pages.running(SlotId(2)), [], "another slot");
        own.progress();
        assert!(pages.running(SlotId(3))[0].progress_ns >= since_ns);
        own.end();
        assert_eq!(pages.running(SlotId(3)), []);
        assert!(pages.sign_ns(SlotId(3)).unwrap() >= since_ns);
    }

    #[test]
    fn each_thread_has_a_cell_of_its_own_and_is_found_by_its_task() {
        let pages = Pages::create(1).unwrap();
        let (own, tasks) = (pages.own(SlotId(0)).unwrap(), || {
            pages.running(SlotId(0)).iter().map(|page| page.task.0).collect::<Vec<u64>>()
        });
        own.open(THREADS_MAX);
        own.cell(THREADS_MAX - 1).begin(TaskId(5), Attempt(1)).unwrap();
        own.cell(1).begin(TaskId(6), Attempt(1)).unwrap();
        assert_eq!(tasks(), [5, 6], "in the order they began");
        assert_eq!(pages.thread_of(SlotId(0), TaskId(6)), None, "it has not settled in");
        own.cell(1).settle_in();
        let thread = pages.thread_of(SlotId(0), TaskId(6)).unwrap();
        assert!(std::path::Path::new(&format!("/proc/self/task/{thread}")).exists());
        own.cell(THREADS_MAX - 1).end();
        assert_eq!(tasks(), [6]);
        assert_eq!((pages.take(SlotId(0)).len(), tasks().len()), (1, 0));
        assert_eq!(pages.thread_of(SlotId(0), TaskId(6)), None);
    }

    #[test]
    fn who_was_recalled_begins_nothing_and_its_successor_does() {
        let pages = Pages::create(1).unwrap();
        let page = pages.own(SlotId(0)).unwrap();
        let own = page.cell(0);
        own.begin(TaskId(7), Attempt(1)).unwrap();
        pages.recall(SlotId(0));
        assert_eq!(pages.running(SlotId(0))[0].task, TaskId(7), "that was begun before");
        own.end();
        assert_eq!(own.begin(TaskId(8), Attempt(1)), None);
        assert_eq!(pages.take(SlotId(0)), []);
        pages.recall(SlotId(0));
        assert!(pages.is_recalled(SlotId(0)), "that was said to a body");
        pages.renew(SlotId(0));
        assert!(!pages.is_recalled(SlotId(0)) && own.begin(TaskId(8), Attempt(1)).is_some());
    }

    #[test]
    fn lost_lines_of_all_slots_are_counted_and_outlive_their_workers() {
        let pages = Pages::create(2).unwrap();
        assert_eq!(pages.lost_lines().0, 0);
        let full = io::Error::from_raw_os_error(28);
        (0..2).for_each(|slot| pages.own(SlotId(slot)).unwrap().lose_line(&full));
        let _ = pages.take(SlotId(1));
        let (lines, error) = pages.lost_lines();
        assert_eq!((lines, error.unwrap().raw_os_error()), (2, Some(28)));
    }

    #[test]
    fn pages_that_nobody_has_touched_take_no_memory() {
        let pages = Pages::create(1_000).unwrap();
        for slot in [3, 999] {
            pages.page(SlotId(slot)).pid.store(slot as i32, Relaxed);
        }
        pages.own(SlotId(7)).unwrap().cell(0).sign();
        let pids: Vec<u32> = pages.pids().map(crate::Pid::number).collect();
        assert_eq!(pids, [3, 999]);
        let bytes = rustix::fs::fstat(pages.fd()).unwrap().st_blocks as usize * 512;
        assert!(bytes <= 3 * PAGE_BYTES, "{bytes} bytes for three pages of a thousand");
    }

    #[test]
    fn nobody_can_shrink_the_pages_under_a_reader() {
        let pages = Pages::create(1).unwrap();
        assert!(ftruncate(pages.fd(), 0).is_err());
    }

    #[test]
    fn an_unsealed_memfd_is_refused() {
        let fd = memfd_create("unsealed", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&fd, PAGE_BYTES as u64).unwrap();
        assert!(Pages::map(fd).is_err());
    }
}
