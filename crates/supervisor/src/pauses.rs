//! When the loop itself does not run: Ctrl-Z, a freeze, a suspended machine. No deadline counts that time.

use crate::driver::Driver;
use brigade_core::Event;
use brigade_os::signals;
use brigade_os::{Body, clock};
use std::sync::Arc;
use std::time::Duration;

/// How long the loop sleeps at most while somebody has a deadline: so that it notices when it slept longer.
const NAP: Duration = Duration::from_millis(50);

/// What a nap may be longer on a busy machine.
const SLACK: Duration = Duration::from_millis(25);

/// Naps of the loop.
#[derive(Debug)]
pub(crate) struct Naps {
    woke_ns: u64,
    is_bounded: bool,
}

impl Naps {
    pub(crate) fn new() -> Naps {
        Naps { woke_ns: clock::monotonic_ns(), is_bounded: false }
    }

    /// How long the loop may sleep now. Without a deadline there is nothing to shift, and no reason to wake.
    pub(crate) fn bound(&mut self, patience: Option<Duration>, is_armed: bool) -> Option<Duration> {
        self.is_bounded = is_armed;
        match patience {
            Some(patience) if is_armed => Some(patience.min(NAP)),
            None if is_armed => Some(NAP),
            patience => patience,
        }
    }

    /// The loop woke up; how long ago it should have, if that is worth a word. All of it counts since it woke the last
    /// time: a worker may have been frozen first, and a deadline that comes late kills nobody who is healthy.
    pub(crate) fn woke(&mut self) -> Option<Duration> {
        let now_ns = clock::monotonic_ns();
        let gap = Duration::from_nanos(now_ns.saturating_sub(self.woke_ns));
        self.woke_ns = now_ns;
        (self.is_bounded && gap > NAP + SLACK).then_some(gap)
    }

    /// This much has been told already.
    fn forget(&mut self) {
        self.woke_ns = clock::monotonic_ns();
    }
}

impl Driver<'_> {
    /// Ctrl-Z: stops all workers and the template, then ourselves. When we are continued, those go on whom we had
    /// stopped; whoever was stopped before stays so. Returns how long it took.
    pub(crate) fn pause(&mut self) -> Duration {
        let began_ns = clock::monotonic_ns();
        let workers = self.hands.here().map(|(_, body, _)| body);
        let all: Vec<Arc<Body>> = workers.chain(self.template.body()).map(Arc::clone).collect();
        let paused: Vec<Arc<Body>> = all.into_iter().filter(|body| body.pause()).collect();
        signals::stop_here();
        paused.iter().for_each(|body| body.go_on());
        let slept = Duration::from_nanos(clock::monotonic_ns() - began_ns);
        self.overslept(slept);
        slept
    }

    /// The loop did not run for so long.
    pub(crate) fn overslept(&mut self, by: Duration) {
        self.naps.forget();
        self.template.overslept(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX));
        self.publisher.lives_changed();
        self.hear(Event::Overslept(by));
    }
}
