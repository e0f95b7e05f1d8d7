//! One page of shared memory per slot: what its worker is doing, readable at any time and after its death.
//!
//! The worker writes with plain atomic stores, no system call. The supervisor never waits for anything here
//! and takes no lock that a worker could hold. The pages are a sealed memfd: nobody can shrink it under a
//! reader (that would be a SIGBUS), and no name is left behind anywhere.
//!
//! There are pages for all the slots that there may ever be, since what is sealed cannot grow, and a page that nobody
//! has touched takes nothing but an address.

use rustix::fs::{MemfdFlags, SealFlags, SeekFrom, fcntl_add_seals, ftruncate, memfd_create, seek};
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

/// The page as it lies in memory. All zero is a slot where nobody works.
#[repr(C)]
struct Page {
    /// Written by the kernel at the birth (`CLONE_PARENT_SETTID`), even if whoever forked dies of it;
    /// cleared by the supervisor before it reaps.
    pid: AtomicI32,
    attempt: AtomicU32,
    /// The running task's number plus one; 0 while idle.
    task: AtomicU64,
    since_ns: AtomicU64,
    /// When the running task last said that it gets on; 0 if it never did.
    progress_ns: AtomicU64,
    sign_ns: AtomicU64,
    /// Lines that all workers of the slot could not write into their logs, and why the last one could not. Never cleared.
    lost_lines: AtomicU64,
    lost_errno: AtomicI32,
    /// Not 0: the worker is to begin nothing any more, and to leave.
    recalled: AtomicU32,
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
    pub fn take(&self, slot: SlotId) -> Option<OnPage> {
        let running = self.running(slot);
        let page = self.page(slot);
        page.pid.store(0, Relaxed);
        page.task.store(0, Relaxed);
        page.sign_ns.store(0, Relaxed);
        running
    }

    /// What the worker of a slot runs now, or ran when it died.
    #[must_use]
    pub fn running(&self, slot: SlotId) -> Option<OnPage> {
        let page = self.page(slot);
        loop {
            let task = page.task.load(std::sync::atomic::Ordering::Acquire);
            let (attempt, since_ns) = (page.attempt.load(Relaxed), page.since_ns.load(Relaxed));
            let progress_ns = page.progress_ns.load(Relaxed).max(since_ns);
            std::sync::atomic::fence(std::sync::atomic::Ordering::Acquire);
            if page.task.load(Relaxed) == task {
                let task = TaskId(task.checked_sub(1)?);
                return Some(OnPage { task, attempt: Attempt(attempt), since_ns, progress_ns });
            }
        }
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
        match self.page(slot).sign_ns.load(Relaxed) {
            0 => None,
            sign => Some(sign),
        }
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

/// A worker's own page.
#[derive(Debug)]
pub struct OwnPage {
    map: Map,
}

impl OwnPage {
    /// A task begins now; returns that moment. `None` if the worker was [recalled](Pages::recall) before: then it has not
    /// begun. Either the supervisor sees the task, or the worker sees that: each writes first and then looks.
    pub fn begin(&self, task: TaskId, attempt: Attempt) -> Option<u64> {
        let (page, now) = (self.page(), monotonic_ns());
        // Whoever sees what follows sees that the task before it has ended.
        std::sync::atomic::fence(Release);
        page.attempt.store(attempt.0, Relaxed);
        page.since_ns.store(now, Relaxed);
        page.progress_ns.store(now, Relaxed);
        page.sign_ns.store(now, Relaxed);
        page.task.store(task.0 + 1, SeqCst);
        if page.recalled.load(SeqCst) == 0 {
            return Some(now);
        }
        page.task.store(0, Release);
        None
    }

    /// The running task gets on: its deadline counts from now.
    pub fn progress(&self) {
        let (page, now) = (self.page(), monotonic_ns());
        page.progress_ns.store(now, Relaxed);
        page.sign_ns.store(now, Relaxed);
    }

    /// The running task has ended; returns that moment.
    pub fn end(&self) -> u64 {
        let (page, now) = (self.page(), monotonic_ns());
        page.sign_ns.store(now, Relaxed);
        page.task.store(0, Release);
        now
    }

    /// A line of its log could not be written.
    pub fn lose_line(&self, error: &io::Error) {
        let page = self.page();
        page.lost_errno.store(error.raw_os_error().unwrap_or(0), Relaxed);
        page.lost_lines.fetch_add(1, Relaxed);
    }

    /// The worker lives and waits.
    pub fn sign(&self) {
        self.page().sign_ns.store(monotonic_ns(), Relaxed);
    }

    fn page(&self) -> &Page {
        // SAFETY: the mapping is PAGE_BYTES long, aligned, and only ever touched through atomics.
        unsafe { self.map.address.cast::<Page>().as_ref() }
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
        let own = pages.own(SlotId(3)).unwrap();
        assert_eq!(pages.running(SlotId(3)), None);
        let since_ns = own.begin(TaskId(0), Attempt(2)).unwrap();
        let running = OnPage { task: TaskId(0), attempt: Attempt(2), since_ns, progress_ns: since_ns };
        assert_eq!(pages.running(SlotId(3)), Some(running));
        assert_eq!(pages.running(SlotId(2)), None, "another slot");
        own.progress();
        assert!(pages.running(SlotId(3)).unwrap().progress_ns >= since_ns);
        own.end();
        assert_eq!(pages.running(SlotId(3)), None);
        assert!(pages.sign_ns(SlotId(3)).unwrap() >= since_ns);
    }

    #[test]
    fn who_was_recalled_begins_nothing_and_its_successor_does() {
        let pages = Pages::create(1).unwrap();
        let own = pages.own(SlotId(0)).unwrap();
        own.begin(TaskId(7), Attempt(1)).unwrap();
        pages.recall(SlotId(0));
        assert_eq!(pages.running(SlotId(0)).unwrap().task, TaskId(7), "that was begun before");
        own.end();
        assert_eq!(own.begin(TaskId(8), Attempt(1)), None);
        assert_eq!(pages.take(SlotId(0)), None);
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
        pages.own(SlotId(7)).unwrap().sign();
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
