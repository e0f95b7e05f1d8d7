//! When the loop itself did not run: suspended, frozen, or stopped by a terminal, and its workers with it.

use crate::Now;
use std::collections::VecDeque;
use std::time::Duration;

/// More than a task lives through; the oldest two become one, to the advantage of whoever lived through both.
const SLEEPS_MAX: usize = 16;

/// The sleeps that a task may have lived through, the latest last.
#[derive(Debug, Default)]
pub(crate) struct Sleeps(VecDeque<Sleep>);

#[derive(Clone, Copy, Debug)]
struct Sleep {
    woke_at: Now,
    length: Duration,
}

impl Sleeps {
    pub(crate) fn add(&mut self, woke_at: Now, length: Duration) {
        self.0.push_back(Sleep { woke_at, length });
        if self.0.len() > SLEEPS_MAX
            && let Some(oldest) = self.0.pop_front()
            && let Some(second) = self.0.front_mut()
        {
            second.length = second.length.saturating_add(oldest.length);
        }
    }

    /// How much of the time since then was slept.
    pub(crate) fn since(&self, since: Now) -> Duration {
        let later = self.0.iter().rev().take_while(|sleep| sleep.woke_at > since);
        later.map(|sleep| sleep.length.min(sleep.woke_at.since(since))).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn only_what_was_slept_since_then_counts() {
        let mut sleeps = Sleeps::default();
        sleeps.add(Now::millis(100), ms(50));
        sleeps.add(Now::millis(300), ms(100));
        for (since, slept) in [(0, 150), (50, 150), (80, 120), (100, 100), (150, 100), (260, 40), (300, 0)] {
            assert_eq!(sleeps.since(Now::millis(since)), ms(slept), "since {since}");
        }
    }

    #[test]
    fn a_worker_is_never_held_to_more_than_it_had_however_often_the_loop_slept() {
        let mut sleeps = Sleeps::default();
        (1..=1_000).for_each(|at| sleeps.add(Now::millis(at * 10), ms(5)));
        assert_eq!(sleeps.since(Now::millis(0)), ms(5_000));
        assert_eq!(sleeps.since(Now::millis(9_995)), ms(5));
        assert!(sleeps.0.len() <= SLEEPS_MAX);
    }
}
