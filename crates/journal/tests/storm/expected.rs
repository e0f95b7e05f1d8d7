//! What a list of records comes to, worked out the slow and obvious way.

use brigade_journal::{Record, Recovered, Settled};
use brigade_wire::{FailedAttempt, TaskId};
use std::collections::BTreeMap;

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Expected {
    settled: Vec<Settled>,
    attempts: BTreeMap<TaskId, Vec<FailedAttempt>>,
    repeated: u64,
    resumed: u64,
}

impl Expected {
    pub(crate) fn found(recovered: Recovered, settled: Vec<Settled>) -> Expected {
        assert_eq!(recovered.settled, settled.len() as u64);
        let Recovered { attempts, repeated, resumed, .. } = recovered;
        Expected { settled, attempts, repeated, resumed }
    }
}

pub(crate) fn expected(log: &[Record]) -> Expected {
    let mut all = Expected::default();
    for record in log {
        let is_known = |task: TaskId| all.settled.iter().any(|settled| settled.task == task);
        match record {
            Record::Settled(settled) if is_known(settled.task) => all.repeated += 1,
            Record::Blamed { task, .. } if is_known(*task) => all.repeated += 1,
            Record::Settled(settled) => all.settled.push(settled.clone()),
            Record::Blamed { task, attempt } => all.attempts.entry(*task).or_default().push(attempt.clone()),
            Record::Resumed { .. } => all.resumed += 1,
        }
    }
    all.attempts.retain(|task, _| all.settled.iter().all(|settled| settled.task != *task));
    all
}
