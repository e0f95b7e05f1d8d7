//! Those who descend from workers: where they can be found, and that none of them is left.
//!
//! ```text
//! a worker dies ─▶ what it had started comes to us (we are the subreaper) ─▶ is no worker, no template, no birth
//!   under way, and was not here before the run ─▶ a stray: ended, and reaped
//! ```

use crate::driver::Driver;
use brigade_os::cgroup::Cgroup;
use brigade_os::{Pid, clock, strays};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// How long the end of a run waits for those whom it has ended.
const EMPTY_WITHIN: Duration = Duration::from_secs(1);

/// A look goes through all children, so it costs 0.2 ms with a thousand workers. Deaths share it: however many there are,
/// there are ten looks a second. The last one is so long after the last death that even a stray's orphans have come.
const LOOK_EVERY_NS: u64 = 100_000_000;

/// A cgroup of the run's own. Without one, process groups have to do: `descendants` in the status says which.
pub(crate) fn own_cgroup() -> Option<Arc<Cgroup>> {
    Cgroup::make().ok().map(Arc::new)
}

/// When to look for strays, and who is none.
#[derive(Debug)]
pub(crate) struct Strays {
    /// Children that this process had when the run began: of whoever executed us. They are reaped, not ended.
    guests: HashSet<Pid>,
    looked_ns: u64,
    /// Some child died or stopped: there may be bodies.
    moved: bool,
    /// A worker died, the last one then: what it had started may live.
    died_ns: Option<u64>,
    /// Children that we do not know are none of our business.
    is_blind: bool,
}

impl Strays {
    /// From now on orphaned descendants come to us.
    pub(crate) fn adopt() -> Strays {
        // Should it be refused, they go to init, as they did before there were subreapers.
        let _ = strays::adopt();
        let guests = strays::children().into_iter().collect();
        Strays { guests, looked_ns: 0, moved: false, died_ns: None, is_blind: false }
    }

    /// This process has children of its own, and what becomes of them is its own matter; orphans go to init.
    pub(crate) fn leave_alone() -> Strays {
        Strays { guests: HashSet::new(), looked_ns: 0, moved: false, died_ns: None, is_blind: true }
    }

    pub(crate) fn somebody_moved(&mut self) {
        self.moved = true;
    }

    pub(crate) fn somebody_died(&mut self) {
        self.died_ns = Some(clock::monotonic_ns());
    }

    fn due_ns(&self) -> Option<u64> {
        (!self.is_blind && (self.moved || self.died_ns.is_some())).then_some(self.looked_ns + LOOK_EVERY_NS)
    }
}

impl Driver<'_> {
    /// How far descendants are followed, in one word for the status.
    pub(crate) fn descendants(&self) -> &'static str {
        if self.cgroup.is_some() { "cgroup" } else { "group" }
    }

    /// When to look for strays. Not while a birth may be under way: a newborn is a child before it is known. The answer
    /// wakes the loop.
    pub(crate) fn strays_due_ns(&self) -> Option<u64> {
        self.strays.due_ns().filter(|_| !self.template.owes_answers())
    }

    /// Looks for strays if it is time to.
    pub(crate) fn look_for_strays(&mut self) {
        let now_ns = clock::monotonic_ns();
        if self.strays_due_ns().is_none_or(|due_ns| due_ns > now_ns) {
            return;
        }
        (self.strays.looked_ns, self.strays.moved) = (now_ns, false);
        let hunted = self.strays.died_ns;
        if hunted.is_none() && strays::some_body().is_none() {
            return;
        }
        let living = self.bury_strays();
        if hunted.is_some() {
            living.iter().for_each(|pid| strays::end(*pid));
        }
        if living.is_empty() && hunted.is_some_and(|died_ns| died_ns + LOOK_EVERY_NS <= now_ns) {
            self.strays.died_ns = None;
        }
    }

    /// The run is over: whatever workers have started is, too. The guard has ended what is in the cgroup already, unless
    /// it was killed.
    pub(crate) fn end_descendants(&mut self) {
        self.cgroup.iter().for_each(|cgroup| cgroup.end(EMPTY_WITHIN));
        if !self.strays.is_blind {
            self.end_strays();
        }
        self.watch.allotments.end(EMPTY_WITHIN);
    }

    fn end_strays(&self) {
        let until_ns = clock::monotonic_ns() + EMPTY_WITHIN.as_nanos() as u64;
        loop {
            let living = self.bury_strays();
            living.iter().for_each(|pid| strays::end(*pid));
            let left_ns = until_ns.saturating_sub(clock::monotonic_ns());
            let Some(one) = living.first().filter(|_| left_ns > 0) else { return };
            strays::await_end(*one, Duration::from_nanos(left_ns));
        }
    }

    /// Reaps all dead children that are not known, and returns the living that are to be ended.
    fn bury_strays(&self) -> Vec<Pid> {
        let known = self.known_children();
        let unknown = strays::children().into_iter().filter(|pid| !known.contains(pid));
        let living: Vec<Pid> = unknown.filter(|pid| !strays::bury(*pid)).collect();
        // Where the kernel does not list children, one body at a time is seen, and a known one may hide others.
        while let Some(body) = strays::some_body().filter(|body| !known.contains(body)) {
            strays::bury(body);
        }
        living.into_iter().filter(|pid| self.is_ours_to_end(*pid)).collect()
    }

    /// Everybody whom somebody else reaps. Pages know a newborn before its template has answered, hands know the dead
    /// until they are reaped.
    fn known_children(&self) -> HashSet<Pid> {
        let here = self.hands.here().map(|(_, body, _)| body.pid());
        let template =
            Pid::new(self.template.last_pid().cast_signed()).filter(|_| !self.template.is_absent());
        here.chain(self.pages.pids()).chain(template).collect()
    }

    /// As PID 1 we are given orphans of strangers, too (of `docker exec` and the like): only a cgroup tells them apart.
    fn is_ours_to_end(&self, pid: Pid) -> bool {
        let is_init = Pid::current().number() == 1;
        match &self.cgroup {
            Some(cgroup) if is_init => cgroup.holds(pid),
            Some(_) | None => !is_init && !self.strays.guests.contains(&pid),
        }
    }
}
