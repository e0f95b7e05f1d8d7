//! Waiting until one of several descriptors can be read, or its other end is gone.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io;
use std::os::fd::AsFd;

use crate::clock::Deadline;

/// Waits until something can be read from one of them or nothing ever will be, or until then; which of them those are, by
/// their places. Of none, none is ready, at once.
///
/// # Errors
/// What `poll` says: `InvalidInput` if there are more than this process may have open.
pub fn ready(descriptors: &[impl AsFd], until: Option<Deadline>) -> io::Result<Vec<usize>> {
    let mut asked: Vec<PollFd<'_>> =
        descriptors.iter().map(|it| PollFd::from_borrowed_fd(it.as_fd(), PollFlags::IN)).collect();
    while !asked.is_empty() {
        let left = until.map(|until| until.left().unwrap_or_default());
        // More than this is for ever, too.
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut asked, left.as_ref()) {
            Ok(0) if left.is_none() => {}
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let is_ready = |(at, one): (usize, &PollFd<'_>)| (!one.revents().is_empty()).then_some(at);
    Ok(asked.iter().enumerate().filter_map(is_ready).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::monotonic_ns;
    use signal_hook::consts::signal::SIGWINCH;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::SeqCst};
    use std::time::Duration;

    #[test]
    fn signals_neither_end_the_time_nor_make_it_longer() {
        let caught = Arc::new(AtomicBool::new(false));
        let id = signal_hook::flag::register(SIGWINCH, Arc::clone(&caught)).unwrap();
        let (reader, _writer) = io::pipe().unwrap();
        let (thread, is_over) = (AtomicI32::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(SeqCst) {
                    let to = thread.load(SeqCst);
                    if to != 0 {
                        // SAFETY: a signal with a handler, to a thread that lives until this one is told to end.
                        unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), to, SIGWINCH) };
                    }
                    std::thread::yield_now();
                }
            });
            // SAFETY: it cannot fail, and touches nothing.
            thread.store(unsafe { libc::gettid() }, SeqCst);
            let (patience, begun_ns) = (Duration::from_millis(100), monotonic_ns());
            let found = ready(&[&reader], Some(Deadline::after(patience))).unwrap();
            let took = Duration::from_nanos(monotonic_ns() - begun_ns);
            is_over.store(true, SeqCst);
            assert!(found.is_empty() && took >= patience, "{found:?} after {took:?}");
        });
        assert!(caught.load(SeqCst));
        signal_hook::low_level::unregister(id);
    }
}
