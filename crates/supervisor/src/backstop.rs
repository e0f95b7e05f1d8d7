//! The backstop behind the credits: should a send block the loop all the same, a thread kills the receiver, and
//! the kill frees the loop (in less than a millisecond).

use brigade_os::Body;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How often a send may be seen under way. Counted in looks and not by the clock: a send that was frozen for an hour
/// together with all the rest has been seen once more, and is not late.
const LOOKS_MAX: u32 = 3;

/// Watches over sends. Its thread sleeps while nothing is sent: an idle supervisor is not woken for it. It ends with this.
#[derive(Debug)]
pub(crate) struct Backstop {
    watch: Arc<Watch>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Watch {
    send: Mutex<Send>,
    /// A send begins, or there will be none any more.
    woken: Condvar,
}

#[derive(Debug, Default)]
struct Send {
    under_way: Option<(u32, Arc<Body>)>,
    is_watched: bool,
    /// Nobody sends any more.
    is_over: bool,
}

impl Backstop {
    pub(crate) fn start() -> io::Result<Backstop> {
        let watch = Arc::new(Watch::default());
        let own = Arc::clone(&watch);
        let builder = thread::Builder::new().name("backstop".into()).stack_size(64 << 10);
        let thread = Some(builder.spawn(move || own.keep())?);
        Ok(Backstop { watch, thread })
    }

    /// Runs `send`, and kills `to` if that takes too long.
    pub(crate) fn over<T>(&self, to: &Arc<Body>, send: impl FnOnce() -> T) -> T {
        let mut now = self.watch.lock();
        now.under_way = Some((0, Arc::clone(to)));
        if !now.is_watched {
            now.is_watched = true;
            self.watch.woken.notify_one();
        }
        drop(now);
        let sent = send();
        self.watch.lock().under_way = None;
        sent
    }
}

impl Drop for Backstop {
    fn drop(&mut self) {
        self.watch.lock().is_over = true;
        self.watch.woken.notify_one();
        // It does not panic, and what it may be at is a kill.
        self.thread.take().map(JoinHandle::join);
    }
}

impl Watch {
    fn lock(&self) -> MutexGuard<'_, Send> {
        self.send.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self) {
        let mut now = self.lock();
        loop {
            while !now.is_watched && !now.is_over {
                now = self.woken.wait(now).unwrap_or_else(PoisonError::into_inner);
            }
            if now.is_over {
                return;
            }
            let wait = self.woken.wait_timeout_while(now, LOOK_EVERY, |now| !now.is_over);
            now = wait.unwrap_or_else(PoisonError::into_inner).0;
            match &mut now.under_way {
                Some((looks, to)) if *looks + 1 >= LOOKS_MAX => to.kill(),
                Some((looks, _)) => *looks += 1,
                None => now.is_watched = false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use brigade_os::Pid;
    use std::process::{Command, Stdio};

    #[test]
    fn a_send_that_blocks_is_ended_by_killing_its_receiver() {
        let mut sleeper = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
        let body = Arc::new(Body::of(Pid::new(sleeper.id().cast_signed()).unwrap()).unwrap());
        let backstop = Backstop::start().unwrap();
        // As a blocked send does, this returns only when the receiver is dead.
        let exit = backstop.over(&body, || body.reap());
        assert_eq!(exit, brigade_wire::Exit::Signal(9));
        assert!(sleeper.wait().is_err(), "it was reaped above");
    }

    #[test]
    fn its_thread_is_gone_when_it_is_also_right_after_a_send() {
        let body = Arc::new(Body::of(Pid::current()).unwrap());
        let backstop = Backstop::start().unwrap();
        backstop.over(&body, || ());
        let watch = Arc::downgrade(&backstop.watch);
        drop(backstop);
        assert!(watch.upgrade().is_none(), "nobody watches any more");
    }
}
