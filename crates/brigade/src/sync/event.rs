//! `Event`.

use crate::handle::Handle;
use brigade_os::clock::Deadline;
use brigade_os::futex::Bell;
use brigade_os::shared;
use serde::{Deserialize, Serialize};
use std::io;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

shared! {
    /// An event as it lies in memory.
    struct State {
        /// Odd while it is set; how often it was set and cleared.
        turns: AtomicU32,
        bell: Bell,
    }
}

/// A flag that threads of all processes wait for.
///
/// ```
/// use brigade::sync::Event;
/// use std::time::Duration;
///
/// let event = Event::new()?;
/// assert!(!event.wait_timeout(Duration::from_millis(1)));
/// event.set();
/// event.wait();
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event(Handle<State>);

impl Event {
    /// One that is not set.
    ///
    /// # Errors
    /// If there is no memory or no descriptor to be had.
    pub fn new() -> io::Result<Event> {
        Handle::create("event", 0).map(Event)
    }

    /// Sets it, and wakes all who wait for it.
    pub fn set(&self) {
        self.turn(false);
        self.0.bell.ring();
    }

    /// Whoever waits from now on waits until it is set again.
    ///
    /// ```
    /// # let event = brigade::sync::Event::new()?;
    /// event.set();
    /// assert!(event.is_set());
    /// event.clear();
    /// assert!(!event.is_set());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn clear(&self) {
        self.turn(true);
    }

    /// Whether it is set.
    pub fn is_set(&self) -> bool {
        is_odd(self.0.turns.load(SeqCst))
    }

    /// Waits until it is set, or was set since: it may have been cleared by now.
    pub fn wait(&self) {
        let _ = self.wait_until(None);
    }

    /// False if it was not set in that time.
    #[must_use]
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.wait_until(Some(Deadline::after(timeout)))
    }

    fn wait_until(&self, until: Option<Deadline>) -> bool {
        let first = self.0.turns.load(SeqCst);
        loop {
            let seen = self.0.bell.rings();
            let now = self.0.turns.load(SeqCst);
            if is_odd(now) || now != first {
                return true;
            }
            if until.is_some_and(Deadline::is_over) {
                return false;
            }
            // It ends without a ring, too: whoever has set it may have been killed before it could ring.
            self.0.bell.wait(seen, until);
        }
    }

    fn turn(&self, if_odd: bool) {
        let turn = |turns| (is_odd(turns) == if_odd).then_some(turns.wrapping_add(1));
        // It fails where there is nothing to turn.
        let _ = self.0.turns.try_update(SeqCst, SeqCst, turn);
    }
}

fn is_odd(turns: u32) -> bool {
    !turns.is_multiple_of(2)
}
