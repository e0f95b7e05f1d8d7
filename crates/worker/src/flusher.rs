//! Endings wait for others to travel with, but not behind a task that takes its time: a thread looks after them.
//!
//! It is there only in a worker that was ever lent several tasks at once, so none is in a template, and it sleeps for as
//! long as nothing waits. In a flood, where endings leave by themselves, it looks two thousand times a second and says nothing.

use brigade_link::Mouth;
use brigade_os::signals;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

/// What lies there at one look and at the next leaves: after one or two of these.
const LOOK_EVERY: Duration = Duration::from_micros(500);

/// It goes to sleep when so many looks in a row have found nothing: to be woken costs a call to the kernel.
const LOOKS_MAX: u32 = 16;

/// Who sees to it that no ending waits for long.
#[derive(Debug)]
pub(crate) struct Flusher {
    mouth: Mouth,
    is_awake: Arc<AtomicBool>,
    /// Empty while nothing has ever waited. `None`: there was no thread to be had, and endings wait until their command has
    /// been obeyed.
    thread: OnceLock<Option<Thread>>,
}

impl Flusher {
    /// No thread yet.
    pub(crate) fn new(mouth: Mouth) -> Flusher {
        Flusher { mouth, is_awake: Arc::default(), thread: OnceLock::new() }
    }

    /// An ending waits, and a task begins.
    pub(crate) fn wake(&self) {
        if self.is_awake.load(Ordering::Relaxed) {
            return;
        }
        self.is_awake.store(true, Ordering::Relaxed);
        self.thread.get_or_init(|| self.bear()).iter().for_each(Thread::unpark);
    }

    /// What is sent to this process is for its tasks, SIGABRT above all: it asks where they hang.
    fn bear(&self) -> Option<Thread> {
        let (mouth, is_awake) = (self.mouth.clone(), Arc::clone(&self.is_awake));
        let born = signals::deaf(|| {
            let builder = thread::Builder::new().name("flusher".into()).stack_size(64 << 10);
            builder.spawn(move || while_wanted(&mouth, &is_awake))
        });
        born.ok().map(|born| born.thread().clone())
    }
}

/// Until the supervisor is gone: the other thread will find that out by itself.
fn while_wanted(mouth: &Mouth, is_awake: &AtomicBool) {
    let (mut before, mut empty) = (None, 0);
    loop {
        thread::sleep(LOOK_EVERY);
        let Ok(lies_there) = mouth.flush_old(before) else { return };
        empty = if lies_there.is_some() { 0 } else { empty + 1 };
        before = lies_there;
        if empty < LOOKS_MAX {
            continue;
        }
        // The mouth has a lock: what was reported before this look is seen by it, and who reports later sees this.
        is_awake.store(false, Ordering::Relaxed);
        while mouth.is_empty() && !is_awake.load(Ordering::Relaxed) {
            thread::park();
        }
        is_awake.store(true, Ordering::Relaxed);
        empty = 0;
    }
}
