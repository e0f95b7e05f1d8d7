//! Those who descend from workers: where they can be found, and that none of them is left.

use crate::driver::Driver;
use brigade_os::cgroup::Cgroup;
use std::sync::Arc;
use std::time::Duration;

/// How long the end of a run waits for those whom it has ended.
const EMPTY_WITHIN: Duration = Duration::from_secs(1);

/// A cgroup of the run's own. Without one, process groups have to do: `descendants` in the status says which.
pub(crate) fn own_cgroup() -> Option<Arc<Cgroup>> {
    Cgroup::make().ok().map(Arc::new)
}

impl Driver<'_> {
    /// How far descendants are followed, in one word for the status.
    pub(crate) fn descendants(&self) -> &'static str {
        if self.cgroup.is_some() { "cgroup" } else { "group" }
    }

    /// The run is over: whatever workers have started is, too. The guard has done so already, unless it was killed.
    pub(crate) fn end_descendants(&mut self) {
        self.cgroup.iter().for_each(|cgroup| cgroup.end(EMPTY_WITHIN));
    }
}
