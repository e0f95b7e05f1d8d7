//! What a person asks of a live run by a signal: what everybody does now, and to open the logs anew.

use crate::driver::Driver;
use brigade_os::clock;
use brigade_wire::WorkerId;

impl Driver<'_> {
    /// SIGUSR2: shows what everybody does at this moment.
    pub(crate) fn show(&mut self) {
        self.books.commit();
        let status = self.status();
        self.chronicle.show(&status);
    }

    /// SIGUSR1: whoever renamed the logs finds fresh ones under the old names. A worker opens its own between two
    /// tasks; one that has not said hello yet may not know what the signal means, and would die of it.
    pub(crate) fn reopen_logs(&mut self) {
        self.reopened_ns = clock::monotonic_ns();
        self.chronicle.reopen();
        self.hands.met().for_each(|body| body.reopen_log());
    }

    /// It has said hello: what was asked of everybody meanwhile is asked of it.
    pub(crate) fn catch_up(&mut self, worker: WorkerId) {
        let here = self.hands.in_slot(worker.slot);
        if let Some((body, born_ns)) = here
            && born_ns <= self.reopened_ns
        {
            body.reopen_log();
        }
    }
}
