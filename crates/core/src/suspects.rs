//! Parts of tasks that took too many workers along: at least one of each pair is expected to do so again.

use brigade_wire::TaskId;
use std::collections::BTreeMap;

/// How a task stands of which a worker has just died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suspicion {
    /// It is no part of anything.
    None,
    /// One part of two had to do it, and this is the one.
    Expected,
    /// The other part did so before.
    Unexpected,
}

/// The parts without a final word.
#[derive(Debug, Default)]
pub(crate) struct Suspects {
    /// Each with the first of its pair.
    parts: BTreeMap<TaskId, TaskId>,
    /// By the first of a pair, the one that a worker died of first.
    guilty: BTreeMap<TaskId, TaskId>,
}

impl Suspects {
    /// The two tasks from this one on.
    pub(crate) fn add(&mut self, first: TaskId) {
        self.parts.insert(first, first);
        self.parts.insert(TaskId(first.0 + 1), first);
    }

    /// A worker has died of it.
    pub(crate) fn accuse(&mut self, task: TaskId) -> Suspicion {
        let Some(&first) = self.parts.get(&task) else { return Suspicion::None };
        match *self.guilty.entry(first).or_insert(task) == task {
            true => Suspicion::Expected,
            false => Suspicion::Unexpected,
        }
    }

    /// It has its final word, or parts of its own.
    pub(crate) fn clear(&mut self, task: TaskId) {
        let Some(first) = self.parts.remove(&task) else { return };
        let is_over = [first, TaskId(first.0 + 1)].iter().all(|part| !self.parts.contains_key(part));
        if is_over {
            self.guilty.remove(&first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_a_pair_is_expected_to_kill_and_the_other_is_not() {
        let mut suspects = Suspects::default();
        suspects.add(TaskId(7));
        assert_eq!(suspects.accuse(TaskId(6)), Suspicion::None);
        assert_eq!(suspects.accuse(TaskId(8)), Suspicion::Expected);
        assert_eq!(suspects.accuse(TaskId(8)), Suspicion::Expected);
        assert_eq!(suspects.accuse(TaskId(7)), Suspicion::Unexpected);
    }

    #[test]
    fn nothing_is_kept_of_a_pair_that_is_over() {
        let mut suspects = Suspects::default();
        suspects.add(TaskId(7));
        suspects.accuse(TaskId(7));
        suspects.clear(TaskId(7));
        assert_eq!(suspects.accuse(TaskId(8)), Suspicion::Unexpected);
        suspects.clear(TaskId(8));
        assert!(suspects.parts.is_empty() && suspects.guilty.is_empty());
    }
}
