//! What a list of records comes to, worked out the slow and obvious way.

use super::world::TASKS;
use brigade_journal::{Record, Recovered, Settled};
use brigade_wire::{FailedAttempt, Outcome, TaskId};
use std::collections::BTreeMap;

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Expected {
    settled: Vec<Settled>,
    attempts: BTreeMap<TaskId, Vec<FailedAttempt>>,
    splits: Vec<(TaskId, TaskId)>,
    quarantined: BTreeMap<TaskId, bool>,
    repeated: u64,
    resumed: u64,
}

impl Expected {
    /// The next number that the run is free to use.
    pub(crate) fn next(&self) -> TaskId {
        TaskId(TASKS + 2 * self.splits.len() as u64)
    }

    pub(crate) fn found(recovered: Recovered, settled: Vec<Settled>) -> Expected {
        assert_eq!(recovered.settled, settled.len() as u64);
        let Recovered { attempts, splits, quarantined, repeated, resumed, .. } = recovered;
        Expected { settled, attempts, splits, quarantined, repeated, resumed }
    }
}

pub(crate) fn expected(log: &[Record]) -> Expected {
    let mut all = Expected::default();
    for record in log {
        let is_split = |task: TaskId| all.splits.iter().any(|(split, _)| *split == task);
        let is_known =
            |task: TaskId| is_split(task) || all.settled.iter().any(|settled| settled.task == task);
        match record {
            Record::Settled(settled) if is_known(settled.task) => all.repeated += 1,
            Record::Blamed { task, .. } if is_known(*task) => all.repeated += 1,
            Record::Settled(settled) => {
                all.attempts.remove(&settled.task);
                if let Outcome::Quarantined { .. } = settled.outcome {
                    all.quarantined.insert(settled.task, false);
                }
                all.settled.push(settled.clone());
            }
            Record::Blamed { task, attempt } => all.attempts.entry(*task).or_default().push(attempt.clone()),
            Record::Split { task, .. } if is_known(*task) => all.repeated += 1,
            Record::Split { task, parts } => {
                all.attempts.remove(task);
                all.splits.push((*task, *parts));
            }
            Record::Resumed { .. } => all.resumed += 1,
            Record::Reopened { task } if all.quarantined.get(task) == Some(&false) => {
                all.quarantined.remove(task);
                all.settled.retain(|settled| settled.task != *task);
            }
            Record::Dropped { task } if all.quarantined.get(task) == Some(&false) => {
                all.quarantined.insert(*task, true);
            }
            Record::Reopened { .. } | Record::Dropped { .. } => all.repeated += 1,
        }
    }
    // Those that may be taken back come last, by their number.
    let last = |settled: &Settled| Some(settled.task).filter(|task| all.quarantined.contains_key(task));
    all.settled.sort_by_key(last);
    all
}
