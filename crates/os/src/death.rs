//! The undertaker: one thread that sleeps until a child dies, and then performs the rites for it.

use crate::body::{Body, retry};
use rustix::event::epoll;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// What is to be done when a child is dead; it must end with [`Body::reap`], for nobody else reaps. Until then
/// the child's number and group are still its own. Runs on the undertaker's thread.
pub type Rites = Box<dyn FnOnce(&Body) + Send>;

/// Waits for the deaths of the children it was told of. No SIGCHLD is involved: 2,000 deaths make 4 of them.
#[derive(Debug)]
pub struct Undertaker {
    epoll: Arc<OwnedFd>,
    graves: Sender<(u64, Grave)>,
}

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
    /// Starts the thread. It lives as long as the process.
    ///
    /// # Errors
    /// If there is no descriptor or no thread to be had.
    pub fn start() -> io::Result<Undertaker> {
        let epoll = Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC)?);
        let (graves, dug) = channel();
        let waits_on = Arc::clone(&epoll);
        thread::Builder::new()
            .name("undertaker".into())
            .stack_size(64 << 10)
            .spawn(move || wait_for_deaths(&waits_on, &dug))?;
        Ok(Undertaker { epoll, graves })
    }

    /// Performs `rites` when `body` dies, exactly once.
    ///
    /// # Errors
    /// If the kernel cannot watch it; nothing will be reaped then.
    pub fn watch(&self, body: Arc<Body>, rites: Rites) -> io::Result<()> {
        let key = body.pidfd().as_raw_fd() as u64;
        let watched = Arc::clone(&body);
        // First the grave, then the watch: the thread looks for the grave only once the watch has fired.
        let told = self.graves.send((key, Grave { body, rites }));
        told.map_err(|_| io::Error::other("the undertaker's thread is gone"))?;
        epoll::add(&*self.epoll, watched.pidfd(), epoll::EventData::new_u64(key), epoll::EventFlags::IN)?;
        Ok(())
    }
}

fn wait_for_deaths(epoll: &OwnedFd, dug: &Receiver<(u64, Grave)>) {
    let mut graves = HashMap::new();
    let mut events = Vec::with_capacity(64);
    loop {
        events.clear();
        if retry(|| epoll::wait(epoll, rustix::buffer::spare_capacity(&mut events), None)).is_err() {
            return;
        }
        graves.extend(dug.try_iter());
        for event in &events {
            let key = event.data.u64();
            if let Some(grave) = graves.remove(&key) {
                bury(epoll, grave);
            }
        }
    }
}

fn bury(epoll: &OwnedFd, grave: Grave) {
    // A pidfd stays readable: take it out before anything else. It is open, since the grave holds the body.
    let _ = epoll::delete(epoll, grave.body.pidfd());
    (grave.rites)(&grave.body);
}
