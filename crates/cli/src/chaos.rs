//! `--chaos`: what it changes in a run besides the faults themselves.
//!
//! Faults are not the tasks' fault, so a task may meet many of them; a stopped worker is ended by a deadline, so
//! there must be one; and a run must last long enough for all its faults. Whatever was given stays as it was given.

use crate::args::RunArgs;
use crate::parse;
use crate::phrase::limit;
use crate::words::{grouped, lasting};
use brigade_core::{Lookahead, Policy, Timeout};
use brigade_os::clock;
use brigade_supervisor::chaos::Chaos;
use brigade_supervisor::story::{Survived, Told};
use std::time::Duration;

const ATTEMPTS: u32 = 3;
const ATTEMPTS_UNDER_CHAOS: u32 = 1_000;

/// Beyond the pace of a task. The range sum says that it gets on, so this need not hold a whole task.
const TIMEOUT_UNDER_CHAOS: Duration = Duration::from_millis(100);

/// What the run is given for each fault, as a part of it: a fault that is late finds its victim as soon as it has
/// settled one task, so the faults slow the run down to their own pace.
const TIME_EACH_NS: u64 = 400_000;

/// Tasks lent ahead: no more than a worker can answer for before its channel has no room for garbage.
const LOOKAHEAD_TASKS: usize = 24;

const PACE_MAX: Duration = Duration::from_millis(50);

/// `N` or `N,SEED`. Without a seed any will do, as long as it is told.
pub(crate) fn chaos(text: &str) -> Result<Chaos, String> {
    let (faults, seed) = text.split_once(',').map_or((text, None), |(faults, seed)| (faults, Some(seed)));
    let expected = |why| format!("{why}: expected N or N,SEED, as 200 or 200,7");
    let seed = seed.map(parse::number).transpose().map_err(expected)?;
    let faults = parse::number(faults).map_err(expected)?;
    let any = || (clock::monotonic_ns() ^ u64::from(std::process::id())) % 1_000_000;
    Ok(Chaos { faults, seed: seed.unwrap_or_else(any) })
}

impl RunArgs {
    /// Workers that may die of a task before it is quarantined.
    pub(crate) fn max_attempts(&self) -> u32 {
        let default = if self.chaos.is_some() { ATTEMPTS_UNDER_CHAOS } else { ATTEMPTS };
        self.max_attempts.unwrap_or(default)
    }

    /// How long an attempt may run.
    pub(crate) fn task_timeout(&self, tasks: u64) -> Option<Timeout> {
        let default = self.chaos.map(|_| Timeout::After(TIMEOUT_UNDER_CHAOS + self.pace(tasks)));
        self.task_timeout.or(default)
    }

    /// How much is lent ahead of the work.
    pub(crate) fn lookahead(&self) -> Lookahead {
        let lookahead = Policy::default().lookahead;
        let tasks = if self.chaos.is_some() { LOOKAHEAD_TASKS } else { lookahead.tasks };
        Lookahead { tasks, ..lookahead }
    }

    /// How long a task lasts at least: under chaos long enough that the faults find it there. One that has had a
    /// fault for every task has had as many as it can.
    pub(crate) fn pace(&self, tasks: u64) -> Duration {
        let fit = |Chaos { faults, .. }: Chaos| {
            let all_ns = u128::from(self.procs) * u128::from(faults.min(tasks)) * u128::from(TIME_EACH_NS);
            let each_ns = all_ns / u128::from(tasks.max(1));
            u64::try_from(each_ns).map_or(PACE_MAX, Duration::from_nanos).min(PACE_MAX)
        };
        self.pace.unwrap_or_else(|| self.chaos.map(fit).unwrap_or_default())
    }

    /// What chaos makes of the run, for people; nothing without it.
    pub(crate) fn trial(&self, tasks: u64) -> Option<String> {
        let Chaos { faults, seed } = self.chaos?;
        let (pace, attempts) = (lasting(self.pace(tasks)), grouped(u64::from(self.max_attempts())));
        let timeout = self.task_timeout(tasks).map(limit).unwrap_or_default();
        Some(format!(
            "{} over the run, seed {seed} · a task lasts {pace}, times out after {timeout}, has {attempts} attempts",
            faults_of(faults),
        ))
    }
}

/// What a fault leads to: to be told of one by one it is too much.
pub(crate) fn leads_to(told: &Told) -> bool {
    matches!(
        told,
        Told::WorkerExit { .. }
            | Told::WorkerStopped { .. }
            | Told::WorkerContinued { .. }
            | Told::WorkerGarbled { .. }
            | Told::WorkerRecycled(_)
            | Told::TaskRequeued { .. }
            | Told::TaskTimedOut { .. }
    )
}

/// ` · survived 10_000 faults (seed 7: 6_912 KILL, 1_020 SEGV)`.
pub(crate) fn survived(survived: Option<&Survived>) -> String {
    let Some(Survived { faults, faults_wanted, seed, fault_kinds }) = survived else { return String::new() };
    let mut kinds: Vec<_> = fault_kinds.iter().collect();
    kinds.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let told = kinds.iter().map(|(kind, count)| format!("{} {kind}", grouped(**count)));
    let told = [format!("seed {seed}")].into_iter().chain(Some(told.collect::<Vec<_>>().join(", ")));
    let told = told.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ");
    let count = match faults == faults_wanted {
        true => faults_of(*faults),
        false => format!("{} of {}", grouped(*faults), faults_of(*faults_wanted)),
    };
    format!(" · survived {count} ({told})")
}

fn faults_of(number: u64) -> String {
    if number == 1 { "1 fault".into() } else { format!("{} faults", grouped(number)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chaos_is_a_count_and_perhaps_a_seed() {
        assert_eq!(chaos("10_000,7"), Ok(Chaos { faults: 10_000, seed: 7 }));
        assert!(chaos("200").is_ok_and(|chaos| chaos.faults == 200));
        for text in ["", ",7", "7,", "a", "1,b", "1,2,3", "-1"] {
            assert!(chaos(text).is_err_and(|why| why.contains("expected N or N,SEED")), "{text:?}");
        }
    }

    #[test]
    fn what_was_survived_is_told_most_frequent_first_and_what_was_asked_for_if_it_was_more() {
        let kinds = [("SEGV", 1_020), ("KILL", 6_912)].map(|(kind, count)| (kind.to_string(), count));
        let mut done = Survived {
            faults: 7_932,
            faults_wanted: 7_932,
            seed: 7,
            fault_kinds: kinds.into_iter().collect(),
        };
        assert_eq!(survived(Some(&done)), " · survived 7_932 faults (seed 7: 6_912 KILL, 1_020 SEGV)");
        done.faults_wanted = 10_000;
        assert!(survived(Some(&done)).starts_with(" · survived 7_932 of 10_000 faults (seed 7: "));
        let none = Survived { seed: 7, ..Survived::default() };
        assert_eq!(survived(Some(&none)), " · survived 0 faults (seed 7)");
        assert_eq!(survived(None), "");
    }
}
