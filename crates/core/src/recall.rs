//! What an earlier supervisor of this run has settled: it is neither done nor told again.

use crate::bugs::Bug;
use crate::core::Core;
use crate::{Effect, Lease, Note};
use brigade_wire::{Attempt, FailedAttempt, TaskId};
use std::collections::BTreeMap;
use std::ops::Range;

/// What the journal knows. Nothing is taken on trust: what names no task that waits is ignored.
#[derive(Debug, Default)]
pub(crate) struct Recall {
    pub(crate) splits: Vec<(TaskId, TaskId)>,
    pub(crate) values: Vec<Range<u64>>,
    pub(crate) failed: Vec<TaskId>,
    pub(crate) quarantined: Vec<TaskId>,
    pub(crate) attempts: Vec<(TaskId, Vec<FailedAttempt>)>,
}

/// Counts of what was settled before.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Recalled {
    pub(crate) values: u64,
    pub(crate) failed: u64,
    pub(crate) quarantined: u64,
}

impl Core {
    /// Takes the settled ones out of the backlog, and lets those that were tried go on where they were.
    pub(crate) fn recalled(&mut self, recall: Recall, effects: &mut Vec<Effect>) {
        let named = recall.named();
        let Recall { splits, values, failed, quarantined, attempts } = recall;
        let split = splits.into_iter().filter(|&(task, parts)| self.split_again(task, parts)).count() as u64;
        let recalled = Recalled {
            values: self.withdraw(values),
            failed: self.withdraw(failed.into_iter().map(one).collect()),
            quarantined: self.withdraw(quarantined.into_iter().map(one).collect()),
        };
        self.ledger.recall(recalled);
        let known = split + recalled.settled() + self.go_on(attempts);
        if known < named {
            effects.push(Effect::Tell(Note::Unrecalled { tasks: named - known }));
        }
    }

    /// Two came in its place. Returns whether it was there.
    fn split_again(&mut self, task: TaskId, parts: TaskId) -> bool {
        let is_known = self.backlog.split_again(task, parts);
        if is_known {
            self.ledger.split(task, parts);
        }
        is_known
    }

    /// Takes these out of the backlog. Returns how many of them were there.
    fn withdraw(&mut self, tasks: Vec<Range<u64>>) -> u64 {
        let tasks = ascending(tasks);
        let cut = self.backlog.cut(&tasks, |_, _| {});
        if self.bug(Bug::CountTheStrange) { tasks.iter().map(length).sum() } else { cut }
    }

    /// These have attempts behind them. Returns how many of them wait.
    fn go_on(&mut self, attempts: Vec<(TaskId, Vec<FailedAttempt>)>) -> u64 {
        let forget = self.bug(Bug::ForgetTheRecalled);
        let stories: BTreeMap<_, _> = attempts.into_iter().filter(|(_, story)| !story.is_empty()).collect();
        let last = |story: &[FailedAttempt]| story.iter().map(|it| it.attempt).max().unwrap_or(Attempt(0));
        let next = |story| if forget { Attempt::FIRST } else { last(story).next() };
        let leases: Vec<_> =
            stories.iter().map(|(&task, story)| Lease { task, attempt: next(story) }).collect();
        let waiting = self.backlog.advance(&leases);
        let is_waiting = |task: &TaskId| waiting.binary_search(task).is_ok();
        self.ledger.remember(stories.into_iter().filter(|(task, _)| is_waiting(task)));
        waiting.len() as u64
    }
}

impl Recall {
    /// Tasks that it names.
    fn named(&self) -> u64 {
        let values = self.values.iter().map(length).fold(0, u64::saturating_add);
        let tried = self.attempts.iter().filter(|(_, story)| !story.is_empty()).count();
        let split = self.splits.len();
        values.saturating_add((split + self.failed.len() + self.quarantined.len() + tried) as u64)
    }
}

impl Recalled {
    /// All of them.
    pub(crate) fn settled(self) -> u64 {
        self.values + self.failed + self.quarantined
    }
}

pub(crate) fn one(TaskId(task): TaskId) -> Range<u64> {
    task..task.saturating_add(1)
}

fn length(tasks: &Range<u64>) -> u64 {
    tasks.end.saturating_sub(tasks.start)
}

/// The same tasks in ascending ranges that neither overlap nor touch.
pub(crate) fn ascending(mut tasks: Vec<Range<u64>>) -> Vec<Range<u64>> {
    tasks.retain(|range| !range.is_empty());
    tasks.sort_unstable_by_key(|range| range.start);
    tasks.dedup_by(|next, last| {
        let touches = next.start <= last.end;
        if touches {
            last.end = last.end.max(next.end);
        }
        touches
    });
    tasks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_sorted_and_joined_where_they_touch() {
        let (empty, wrong) = (9..9, Range { start: 20, end: 10 });
        let tasks = vec![5..7, 0..2, empty, 2..3, 6..8, wrong];
        assert_eq!(ascending(tasks), [0..3, 5..8]);
    }
}
