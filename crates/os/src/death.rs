//! The undertaker: one thread that sleeps until a child dies, and then performs the rites for it.

use crate::body::{Body, retry};
use rustix::event::{EventfdFlags, epoll, eventfd};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// What is to be done when a child is dead; it must end with [`Body::reap`], for nobody else reaps. Until then
/// the child's number and group are still its own. Runs on the undertaker's thread.
pub type Rites = Box<dyn FnOnce(&Body) + Send>;

/// Waits for the deaths of the children it was told of. No SIGCHLD is involved: 2,000 deaths make 4 of them.
#[derive(Debug)]
pub struct Undertaker {
    cemetery: Arc<Cemetery>,
}

#[derive(Debug)]
struct Cemetery {
    epoll: OwnedFd,
    /// By the number of the pidfd, which is open for as long as its grave is here.
    graves: Mutex<HashMap<u64, Grave>>,
    /// Nobody tells it of others any more; readable once that is so.
    is_over: AtomicBool,
    over: OwnedFd,
}

/// What stands for `over`: no descriptor has this number.
const OVER: u64 = u64::MAX;

struct Grave {
    body: Arc<Body>,
    rites: Rites,
}

impl std::fmt::Debug for Grave {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grave").field("body", &self.body).finish_non_exhaustive()
    }
}

impl Undertaker {
    /// Starts the thread. It lives until this is dropped and everybody it was told of is dead.
    ///
    /// # Errors
    /// If there is no descriptor or no thread to be had.
    pub fn start() -> io::Result<Undertaker> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let over = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        // Told once: it stays readable.
        epoll::add(
            &epoll,
            &over,
            epoll::EventData::new_u64(OVER),
            epoll::EventFlags::IN | epoll::EventFlags::ET,
        )?;
        let cemetery =
            Arc::new(Cemetery { epoll, graves: Mutex::default(), is_over: AtomicBool::new(false), over });
        let own = Arc::clone(&cemetery);
        thread::Builder::new().name("undertaker".into()).stack_size(64 << 10).spawn(move || own.keep())?;
        Ok(Undertaker { cemetery })
    }

    /// Performs `rites` when `body` dies, exactly once. Should the kernel be unable to watch it (no memory), it is
    /// killed, and the rites are performed here and now.
    pub fn watch(&self, body: Arc<Body>, rites: Rites) {
        let key = body.pidfd().as_raw_fd() as u64;
        // First the grave, then the watch: the thread looks for the grave only once the watch has fired.
        self.cemetery.graves().insert(key, Grave { body: Arc::clone(&body), rites });
        let data = epoll::EventData::new_u64(key);
        if epoll::add(&self.cemetery.epoll, body.pidfd(), data, epoll::EventFlags::IN).is_err() {
            body.kill();
            self.cemetery.bury(key);
        }
    }
}

impl Drop for Undertaker {
    fn drop(&mut self) {
        self.cemetery.is_over.store(true, SeqCst);
        let _ = rustix::io::write(&self.cemetery.over, &1_u64.to_ne_bytes());
    }
}

impl Cemetery {
    fn keep(&self) {
        let mut events = Vec::with_capacity(64);
        loop {
            events.clear();
            let waited =
                retry(|| epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), None));
            if waited.is_err() {
                return;
            }
            for event in &events {
                self.bury(event.data.u64());
            }
            if self.is_over.load(SeqCst) && self.graves().is_empty() {
                return;
            }
        }
    }

    fn bury(&self, key: u64) {
        // Taken out first, so that no lock is held while the rites wait for somebody.
        let Some(grave) = self.graves().remove(&key) else { return };
        // A pidfd stays readable. It is open, since the grave holds the body.
        let _ = epoll::delete(&self.epoll, grave.body.pidfd());
        (grave.rites)(&grave.body);
    }

    fn graves(&self) -> MutexGuard<'_, HashMap<u64, Grave>> {
        self.graves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
