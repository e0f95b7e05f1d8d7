//! How long tasks usually take, as far as we have seen lately.

use std::collections::VecDeque;
use std::time::Duration;

/// So many lengths are remembered: enough that a few outliers do not move the middle, few enough that it
/// follows when the tasks change.
const LENGTHS_MAX: usize = 101;

/// From so many on, the middle means something.
const LENGTHS_MIN: usize = 5;

/// No deadline is shorter, however short the tasks are: a worker that waits for its turn on a busy machine is
/// not hung.
pub(crate) const TIMEOUT_MIN: Duration = Duration::from_millis(10);

/// The running median of the last lengths: 60 ns for one more of a hundred and one.
#[derive(Debug, Default)]
pub(crate) struct Median {
    /// In the order seen.
    recent: VecDeque<u64>,
    /// The same, by length.
    sorted: Vec<u64>,
}

impl Median {
    /// One more attempt has ended.
    pub(crate) fn observe(&mut self, elapsed_ns: u64) {
        if self.recent.len() == LENGTHS_MAX {
            let oldest = self.recent.pop_front();
            let at = oldest.and_then(|oldest| self.sorted.binary_search(&oldest).ok());
            self.sorted.remove(at.expect("both hold the same"));
        }
        self.recent.push_back(elapsed_ns);
        let at = self.sorted.partition_point(|&length| length < elapsed_ns);
        self.sorted.insert(at, elapsed_ns);
    }

    /// So many hundredths of the median, as soon as there is one.
    pub(crate) fn percent(&self, percent: u32) -> Option<Duration> {
        if self.sorted.len() < LENGTHS_MIN {
            return None;
        }
        let median_ns = u128::from(self.sorted[self.sorted.len() / 2]);
        let limit_ns = median_ns * u128::from(percent) / 100;
        let limit = Duration::from_nanos(u64::try_from(limit_ns).unwrap_or(u64::MAX));
        Some(limit.max(TIMEOUT_MIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(lengths_ms: impl IntoIterator<Item = u64>) -> Option<u128> {
        let mut median = Median::default();
        lengths_ms.into_iter().for_each(|length| median.observe(length * 1_000_000));
        median.percent(300).map(|limit| limit.as_millis())
    }

    #[test]
    fn four_lengths_mean_nothing_and_five_do() {
        assert_eq!(after([10; 4]), None);
        assert_eq!(after([10; 5]), Some(30));
    }

    #[test]
    fn a_few_outliers_do_not_move_it() {
        assert_eq!(after([10, 90_000, 10, 0, 10, 10, 80_000]), Some(30));
    }

    #[test]
    fn it_follows_when_the_tasks_change_and_forgets_what_was_before() {
        assert_eq!(after([10; 100].into_iter().chain([50; 40])), Some(30));
        assert_eq!(after([10; 100].into_iter().chain([50; 60])), Some(150));
        assert_eq!(after((0..10_000).chain([7; 101])), Some(21));
    }

    #[test]
    fn it_never_asks_for_less_than_a_busy_machine_needs() {
        assert_eq!(after([0; 9]), Some(10));
        assert_eq!(after([u64::MAX / 1_000_000; 5]), Some(u128::from(u64::MAX / 1_000_000)));
    }
}
