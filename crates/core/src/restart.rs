//! How long a slot waits before it is filled again, and when it has been filled too often.

use crate::{Backoff, Intensity, Now};
use std::collections::VecDeque;
use std::time::Duration;

/// The deaths of one slot that count: before ready, or with work in hand and nothing settled since birth.
/// All others are neutral, so that a crash loop ends and a person who kills children all day does not end
/// the run.
#[derive(Debug, Default)]
pub(crate) struct Restarts {
    deaths: VecDeque<Now>,
    streak: u32,
}

/// What a death that counts leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sentence {
    /// Fill the slot again after this time.
    Wait(Duration),
    /// So many deaths are too many.
    TooMany(u32),
}

impl Restarts {
    /// Something was achieved: start counting anew.
    pub(crate) fn forgive(&mut self) {
        self.deaths.clear();
        self.streak = 0;
    }

    /// The worker asked to be started again, but not at once: even the first restart waits.
    pub(crate) fn hurry_not(&mut self) {
        self.streak = self.streak.max(1);
    }

    /// One more death that counts.
    pub(crate) fn count(
        &mut self,
        now: Now,
        intensity: Intensity,
        backoff: Backoff,
        dice: &mut Dice,
    ) -> Sentence {
        self.deaths.push_back(now);
        while self.deaths.front().is_some_and(|&death| now.since(death) > intensity.within) {
            self.deaths.pop_front();
        }
        let deaths = u32::try_from(self.deaths.len()).unwrap_or(u32::MAX);
        if deaths > intensity.restarts {
            return Sentence::TooMany(deaths);
        }
        let wait = self.wait(backoff, dice);
        self.streak = self.streak.saturating_add(1);
        Sentence::Wait(wait)
    }

    /// Nothing, then `first`, doubling up to `max`, and a quarter more or less so that slots that died
    /// together do not come back together.
    fn wait(&self, backoff: Backoff, dice: &mut Dice) -> Duration {
        if self.streak == 0 {
            return Duration::ZERO;
        }
        let factor = 2u32.saturating_pow(self.streak - 1);
        let wait = backoff.first.saturating_mul(factor).min(backoff.max);
        let percent = u32::try_from(75 + dice.below(51)).expect("a percentage fits");
        (wait / 100).saturating_mul(percent).min(backoff.max)
    }
}

/// Splitmix64: the core must not ask the world even for chance.
#[derive(Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// A number below `bound`, even enough for a jitter.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// That, or up to a tenth more or less.
    pub(crate) fn about(&mut self, much: u64) -> u64 {
        let tenth = much / 10;
        (much - tenth).saturating_add(self.below(2 * tenth + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Policy;

    fn waits(restarts: &mut Restarts, deaths: u32) -> Vec<u128> {
        let policy = Policy::default();
        let intensity = Intensity { restarts: 100, within: Duration::from_secs(1) };
        let mut dice = Dice(7);
        (0..deaths)
            .map(|_| match restarts.count(Now::millis(0), intensity, policy.backoff, &mut dice) {
                Sentence::Wait(wait) => wait.as_millis(),
                Sentence::TooMany(deaths) => panic!("gave up after {deaths}"),
            })
            .collect()
    }

    #[test]
    fn the_wait_is_nothing_at_first_and_then_doubles_up_to_the_longest() {
        let waits = waits(&mut Restarts::default(), 12);
        assert_eq!(waits[0], 0);
        for (wait, base) in waits[1..].iter().zip([100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800]) {
            assert!((base * 3 / 4..=base * 5 / 4).contains(wait), "{wait} ms for {base} ms");
        }
        assert!(waits[9..].iter().all(|wait| (11_250..=15_000).contains(wait)), "{waits:?}");
    }

    #[test]
    fn who_asks_to_be_tried_again_waits_the_first_time_too() {
        let mut restarts = Restarts::default();
        restarts.hurry_not();
        assert!(waits(&mut restarts, 1)[0] >= 75);
    }
}
