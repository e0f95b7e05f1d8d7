//! The work of the main job: the sum of a range, cut into tasks.

use crate::words::grouped;
use brigade_supervisor::run::Work;
use brigade_tasks::range_sum;
use brigade_wire::{Outcome, TaskId};
use std::collections::BTreeMap;
use std::ops::Range;

/// Adds up what the workers add up.
#[derive(Debug)]
pub(crate) struct RangeSum {
    range: Range<u64>,
    tasks: u64,
    /// The parts of tasks that were split.
    parts: BTreeMap<TaskId, Range<u64>>,
    /// Tasks that bring a value, if nothing goes wrong.
    expected: u64,
    values: u64,
    sum: u128,
}

impl RangeSum {
    /// The range in that many tasks.
    pub(crate) fn new(range: Range<u64>, tasks: u64) -> RangeSum {
        RangeSum { range, tasks, parts: BTreeMap::new(), expected: tasks, values: 0, sum: 0 }
    }

    /// The same from what [`Work::parameters`] said of it.
    pub(crate) fn of_parameters(parameters: &str) -> Option<RangeSum> {
        let (range, tasks) = parameters.strip_suffix(" tasks")?.split_once(" in ")?;
        let (start, end) = range.split_once("..")?;
        Some(RangeSum::new(start.parse().ok()?..end.parse().ok()?, tasks.parse().ok()?))
    }

    fn is_whole(&self) -> bool {
        self.values == self.expected
    }

    /// The numbers that a task adds up; none if there is no such task.
    fn numbers(&self, task: TaskId) -> Range<u64> {
        match self.parts.get(&task) {
            Some(part) => part.clone(),
            None if task.0 < self.tasks => range_sum::chunk(&self.range, self.tasks, task.0),
            None => 0..0,
        }
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
        told(&self.range)
    }

    fn describe_task(&self, task: TaskId) -> String {
        told(&self.numbers(task))
    }

    fn is_divisible(&self, task: TaskId) -> bool {
        let Range { start, end } = self.numbers(task);
        end - start > 1
    }

    fn split(&mut self, task: TaskId, parts: TaskId) {
        let numbers = self.numbers(task);
        for half in 0..2 {
            self.parts.insert(TaskId(parts.0 + half), range_sum::chunk(&numbers, 2, half));
        }
        self.parts.remove(&task);
        self.expected += 1;
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
        range_sum::encode(&self.numbers(task))
    }

    fn settle(&mut self, task: TaskId, outcome: &mut Outcome) -> Result<(), String> {
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

fn told(numbers: &Range<u64>) -> String {
    format!("sum of {}..{}", grouped(numbers.start), grouped(numbers.end))
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
            last = work.settle(TaskId(index), &mut Outcome::Value(value(sum + error)));
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
    fn what_is_split_adds_up_to_the_same() {
        let mut work = RangeSum::new(0..10, 2);
        let bring = |work: &mut RangeSum, task: u64| {
            let args = work.args(TaskId(task));
            work.settle(TaskId(task), &mut Outcome::Value(range_sum::run(&args).expect("it is a range")))
        };
        assert!(work.is_divisible(TaskId(1)) && !work.is_divisible(TaskId(2)), "there are two");
        work.split(TaskId(1), TaskId(2));
        work.split(TaskId(2), TaskId(4));
        assert_eq!(work.describe_task(TaskId(3)), "sum of 8..10");
        assert!(!work.is_divisible(TaskId(5)) && work.is_divisible(TaskId(4)));
        for task in [4, 0, 3] {
            assert_eq!((bring(&mut work, task), work.total()), (Ok(()), None));
        }
        assert_eq!((bring(&mut work, 5), work.total().as_deref()), (Ok(()), Some("45")));
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
        assert_eq!(work.settle(TaskId(0), &mut Outcome::Failed("no".into())), Ok(()));
        assert_eq!(work.total(), None);
        let mut work = RangeSum::new(0..10, 1);
        let garbled = work.settle(TaskId(0), &mut Outcome::Value(vec![1, 2, 3]));
        assert_eq!(garbled, Err("task 0 brought 3 bytes that are no sum".into()));
    }
}
