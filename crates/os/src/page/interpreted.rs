//! What Miri can look at: pages in plain memory, since it knows neither memfds nor mappings of files (`make miri`).

use super::*;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ffi::c_void;
use std::fs::File;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::thread;

const SLOTS: u32 = 3;

/// Pages that nobody has mapped; what is unmapped by the destructors is given back by hand here.
struct Plain {
    pages: ManuallyDrop<Pages>,
    layout: Layout,
}

impl Plain {
    fn new() -> Plain {
        let bytes = SLOTS as usize * PAGE_BYTES;
        let layout = Layout::from_size_align(bytes, PAGE_BYTES).unwrap();
        // SAFETY: the layout is not empty.
        let address = NonNull::new(unsafe { alloc_zeroed(layout) }.cast::<c_void>()).unwrap();
        let fd = File::open("/dev/null").unwrap().into();
        Plain { pages: ManuallyDrop::new(Pages { fd, map: Map { address, bytes }, slots: SLOTS }), layout }
    }

    /// The page that a worker would have mapped.
    fn own(&self, slot: SlotId) -> ManuallyDrop<OwnPage> {
        // SAFETY: within the allocation, which outlives what is made of it here.
        let address = unsafe { self.pages.map.address.byte_add(slot.0 as usize * PAGE_BYTES) };
        ManuallyDrop::new(OwnPage { map: Map { address, bytes: PAGE_BYTES } })
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        // SAFETY: exactly what `new` allocated; all that borrowed from it is gone.
        unsafe { dealloc(self.pages.map.address.as_ptr().cast(), self.layout) };
    }
}

#[test]
fn every_slot_has_a_page_of_its_own_within_the_memory() {
    let plain = Plain::new();
    for slot in (0..SLOTS).map(SlotId) {
        plain.own(slot).cell(0).begin(TaskId(slot.0.into()), Attempt(slot.0)).unwrap();
    }
    for slot in (0..SLOTS).map(SlotId) {
        assert_eq!(plain.pages.running(slot)[0].task, TaskId(slot.0.into()));
        assert_eq!(plain.pages.take(slot)[0].attempt, Attempt(slot.0));
        assert_eq!((plain.pages.running(slot), plain.pages.sign_ns(slot)), (vec![], None));
    }
    assert!((0..SLOTS).all(|slot| plain.pages.pid(SlotId(slot)).is_none()));
}

/// A reader never sees the attempt of one task beside the number of another, however the two are interleaved.
#[test]
fn a_reader_sees_a_task_with_its_own_attempt_or_none() {
    let plain = Plain::new();
    let rounds: u32 = if cfg!(miri) { 40 } else { 20_000 };
    let (page, pages) = (plain.own(SlotId(1)), &plain.pages);
    page.open(2);
    let own = page.cell(1);
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 1..=rounds {
                own.begin(TaskId(n.into()), Attempt(n)).unwrap();
                own.progress();
                own.end();
            }
        });
        scope.spawn(|| {
            for _ in 0..rounds {
                for page in pages.running(SlotId(1)) {
                    assert_eq!(page.task, TaskId(page.attempt.0.into()));
                    assert!(page.progress_ns >= page.since_ns);
                }
            }
        });
    });
}

/// However the two are interleaved, a task that was begun is seen, and one that is not seen was not begun.
#[test]
fn of_a_task_and_a_recall_at_the_same_time_one_sees_the_other() {
    for _ in 0..if cfg!(miri) { 40 } else { 2_000 } {
        let plain = Plain::new();
        let (page, pages) = (plain.own(SlotId(1)), &plain.pages);
        let own = page.cell(0);
        let (began, seen) = thread::scope(|scope| {
            let worker = scope.spawn(|| own.begin(TaskId(3), Attempt(1)).is_some());
            pages.recall(SlotId(1));
            let seen = !pages.running(SlotId(1)).is_empty();
            (worker.join().unwrap(), seen)
        });
        assert!(seen || !began, "it began unseen");
    }
}
