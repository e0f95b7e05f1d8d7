//! Tasks that are known to be dangerous: parts of what took too many workers along, whatever was in the hand of a worker
//! that lost its mind, and what ran side by side in one that died.

use brigade_wire::TaskId;
use std::collections::BTreeSet;

/// Deaths in a search for a bad item that are explained by it, while nothing at all succeeds. A hundred items side by side may
/// all be bad; where none is good, it is the worker.
const BARREN_MAX: u32 = 64;

/// Those without a final word.
#[derive(Debug, Default)]
pub(crate) struct Suspects {
    /// Parts of tasks that were split.
    parts: BTreeSet<TaskId>,
    /// To be lent to a worker that has nothing else in hand: so that it is clear of which it loses its mind, or dies.
    alone: BTreeSet<TaskId>,
    /// Deaths of parts since the last success of anybody.
    barren: u32,
}

impl Suspects {
    /// Two parts of a task, from this one on.
    pub(crate) fn add_parts(&mut self, first: TaskId) {
        self.parts.extend([first, TaskId(first.0 + 1)]);
    }

    /// One of these made its worker speak nonsense, or die, and nobody knows which.
    pub(crate) fn isolate(&mut self, tasks: impl Iterator<Item = TaskId>) {
        self.alone.extend(tasks);
    }

    pub(crate) fn is_part(&self, task: TaskId) -> bool {
        self.parts.contains(&task)
    }

    pub(crate) fn are_some_alone(&self) -> bool {
        !self.alone.is_empty()
    }

    pub(crate) fn is_alone(&self, task: TaskId) -> bool {
        !self.alone.is_empty() && self.alone.contains(&task)
    }

    /// A worker has died of a part. Returns whether that is no wonder.
    pub(crate) fn accuse(&mut self) -> bool {
        self.barren = self.barren.saturating_add(1);
        self.barren <= BARREN_MAX
    }

    /// Some task was done.
    pub(crate) fn succeed(&mut self) {
        self.barren = 0;
    }

    /// It has its final word, or parts of its own.
    pub(crate) fn clear(&mut self, task: TaskId) {
        if !self.parts.is_empty() {
            self.parts.remove(&task);
        }
        if !self.alone.is_empty() {
            self.alone.remove(&task);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deaths_in_a_search_are_no_wonder_until_nothing_succeeds_for_long() {
        let mut suspects = Suspects::default();
        suspects.add_parts(TaskId(7));
        assert!(!suspects.is_part(TaskId(6)) && suspects.is_part(TaskId(8)));
        assert!((0..BARREN_MAX).all(|_| suspects.accuse()));
        assert!(!suspects.accuse());
        suspects.succeed();
        assert!(suspects.accuse());
        suspects.clear(TaskId(8));
        assert!(!suspects.is_part(TaskId(8)));
    }
}
