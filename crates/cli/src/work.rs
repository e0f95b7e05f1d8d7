//! The work of the main job: the sum of a range, cut into tasks.

use crate::words::grouped;
use brigade_supervisor::run::Work;
use brigade_tasks::range_sum;
use brigade_wire::{Outcome, TaskId};
use std::ops::Range;

/// Adds up what the workers add up.
#[derive(Debug)]
pub(crate) struct RangeSum {
    range: Range<u64>,
    tasks: u64,
    values: u64,
    sum: u128,
}

impl RangeSum {
    /// The range in that many tasks.
    pub(crate) fn new(range: Range<u64>, tasks: u64) -> RangeSum {
        RangeSum { range, tasks, values: 0, sum: 0 }
    }

    /// The same from what [`Work::parameters`] said of it.
    pub(crate) fn of_parameters(parameters: &str) -> Option<RangeSum> {
        let (range, tasks) = parameters.strip_suffix(" tasks")?.split_once(" in ")?;
        let (start, end) = range.split_once("..")?;
        Some(RangeSum::new(start.parse().ok()?..end.parse().ok()?, tasks.parse().ok()?))
    }

    fn is_whole(&self) -> bool {
        self.values == self.tasks
    }

    /// Once every task has brought its value, their sum must be what the formula says.
    fn check(&self) -> Result<(), String> {
        let formula = range_sum::closed_form(&self.range);
        if !self.is_whole() || self.sum == formula {
            return Ok(());
        }
        let Range { start, end } = self.range;
        Err(format!("the results add up to {}, but the sum of {start}..{end} is {formula}", self.sum))
    }
}

impl Work for RangeSum {
    fn function(&self) -> &str {
        range_sum::NAME
    }

    fn describe(&self) -> String {
        format!("sum of {}..{}", grouped(self.range.start), grouped(self.range.end))
    }

    fn parameters(&self) -> String {
        format!("{}..{} in {} tasks", self.range.start, self.range.end, self.tasks)
    }

    fn count(&self) -> u64 {
        self.tasks
    }

    /// All alike: two chunks differ by one number at most.
    fn weights(&self) -> Vec<u64> {
        Vec::new()
    }

    fn args(&self, task: TaskId) -> Vec<u8> {
        range_sum::encode(&range_sum::chunk(&self.range, self.tasks, task.0))
    }

    fn settle(&mut self, task: TaskId, outcome: &Outcome) -> Result<(), String> {
        let Outcome::Value(bytes) = outcome else { return Ok(()) };
        let garbled = || format!("task {task} brought {} bytes that are no sum", bytes.len());
        let sum = range_sum::decode_sum(bytes).ok_or_else(garbled)?;
        let too_large = || format!("task {task} brought {sum}, more than any sum can be");
        self.sum = self.sum.checked_add(sum).ok_or_else(too_large)?;
        self.values += 1;
        self.check()
    }

    fn total(&self) -> Option<String> {
        self.is_exact().then(|| self.sum.to_string())
    }

    fn is_exact(&self) -> bool {
        self.is_whole() && self.check().is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Settles every task with the formula's value for its chunk, plus `error` for the last.
    fn settled(range: Range<u64>, tasks: u64, error: u128) -> (RangeSum, Result<(), String>) {
        let mut work = RangeSum::new(range.clone(), tasks);
        let mut last = Ok(());
        for index in 0..tasks {
            let sum = range_sum::closed_form(&range_sum::chunk(&range, tasks, index));
            let error = if index + 1 == tasks { error } else { 0 };
            assert_eq!((work.total(), work.is_exact()), (None, false));
            last = work.settle(TaskId(index), &Outcome::Value(value(sum + error)));
        }
        (work, last)
    }

    /// As a worker encodes it.
    fn value(sum: u128) -> Vec<u8> {
        Some(sum.to_le_bytes().to_vec())
            .filter(|bytes| range_sum::decode_sum(bytes) == Some(sum))
            .expect("a sum is 16 bytes, little end first")
    }

    #[test]
    fn the_total_is_known_when_every_task_brought_its_value() {
        let (work, last) = settled(0..20_000_000_000, 1_000, 0);
        assert_eq!((last, work.is_exact()), (Ok(()), true));
        assert_eq!(work.total().as_deref(), Some("199999999990000000000"));
        assert_eq!(work.describe(), "sum of 0..20_000_000_000");
    }

    #[test]
    fn the_longest_range_does_not_overflow() {
        let (work, _) = settled(0..u64::MAX, 7, 0);
        assert_eq!(work.total().as_deref(), Some("170141183460469231704017187605319778305"));
    }

    #[test]
    fn a_wrong_sum_is_found_with_the_last_value_and_is_no_total() {
        let (work, last) = settled(0..10, 3, 1);
        assert_eq!(last, Err("the results add up to 46, but the sum of 0..10 is 45".into()));
        assert_eq!((work.total(), work.is_exact()), (None, false));
    }

    #[test]
    fn an_empty_range_adds_up_to_nothing() {
        let work = RangeSum::new(7..7, 0);
        assert_eq!((work.total().as_deref(), work.is_exact()), (Some("0"), true));
    }

    #[test]
    fn a_task_without_a_value_leaves_no_total() {
        let mut work = RangeSum::new(0..10, 1);
        assert_eq!(work.settle(TaskId(0), &Outcome::Failed("no".into())), Ok(()));
        assert_eq!(work.total(), None);
        let mut work = RangeSum::new(0..10, 1);
        let garbled = work.settle(TaskId(0), &Outcome::Value(vec![1, 2, 3]));
        assert_eq!(garbled, Err("task 0 brought 3 bytes that are no sum".into()));
    }
}
