//! What a subscriber of `tracing` is told, with the feature of that name; without it, nothing is, and nothing is there.
//!
//! ```text
//! span pool { procs }                                    from its first worker to its last; what befalls workers are its events
//! span call { id, items, task, pid, attempts, end }      from submit to result, within the span that submitted it; to be
//!                                                        lent, taken back and lent again is one attempt
//! ```

#[cfg(feature = "tracing")]
pub(crate) use told::{Span, tell};

#[cfg(not(feature = "tracing"))]
pub(crate) use untold::{Span, tell};

#[cfg(feature = "tracing")]
mod told {
    use crate::order::{By, Word};
    use brigade_supervisor::story::Told;
    use tracing::field::Empty;

    /// One of the two.
    #[derive(Clone)]
    pub(crate) struct Span(tracing::Span);

    impl Span {
        pub(crate) fn pool(procs: u32) -> Span {
            Span(tracing::info_span!("pool", procs))
        }

        pub(crate) fn call(id: u64, items: u32) -> Span {
            Span(tracing::info_span!(
                "call",
                id,
                items,
                task = Empty,
                pid = Empty,
                attempts = Empty,
                end = Empty
            ))
        }

        pub(crate) fn within<R>(&self, held: impl FnOnce() -> R) -> R {
            self.0.in_scope(held)
        }

        pub(crate) fn lent(&self, task: u64, By { attempt, pid }: By) {
            self.0.record("task", task).record("pid", pid).record("attempts", attempt.0);
        }

        pub(crate) fn ended(&self, word: &Word) {
            match word {
                Word::Value(..) => self.0.record("end", "value"),
                Word::Lost(error) => self.0.record("end", tracing::field::display(error)),
            };
        }
    }

    /// What befalls a worker.
    pub(crate) fn tell(told: &Told) {
        match told {
            Told::WorkerReady { slot, pid, .. } => tracing::debug!(slot = slot.0, pid, "worker is ready"),
            Told::WorkerExit { slot, pid, exit, planned: true, .. } => {
                tracing::debug!(slot = slot.0, pid, %exit, "worker has ended");
            }
            Told::WorkerExit { slot, pid, exit, .. } => {
                tracing::warn!(slot = slot.0, pid, %exit, "worker has died");
            }
            Told::GaveUp { reason, .. } => tracing::error!(reason, "pool is given up"),
            _ => {}
        }
    }
}

#[cfg(not(feature = "tracing"))]
mod untold {
    use crate::order::{By, Word};
    use brigade_supervisor::story::Told;

    /// Nothing.
    #[derive(Clone)]
    pub(crate) struct Span;

    impl Span {
        pub(crate) fn pool(_procs: u32) -> Span {
            Span
        }

        pub(crate) fn call(_id: u64, _items: u32) -> Span {
            Span
        }

        pub(crate) fn within<R>(&self, held: impl FnOnce() -> R) -> R {
            held()
        }

        pub(crate) fn lent(&self, _task: u64, _by: By) {}

        pub(crate) fn ended(&self, _word: &Word) {}
    }

    pub(crate) fn tell(_told: &Told) {}
}
