//! The range sum: adds the integers of `a..b`, one by one.
//!
//! The articles that this project answers measure processes by such a loop, so it must stay a loop: a compiler
//! that is allowed to see through it folds it into a formula (6e9 additions took 90 ns).

use std::hint::black_box;
use std::ops::Range;

/// The name in the worker's table.
pub const NAME: &str = "range-sum";

/// The task function: arguments as [`encode`] writes them, result as [`decode_sum`] reads it.
///
/// # Errors
/// If the arguments are not sixteen bytes.
pub fn run(args: &[u8]) -> Result<Vec<u8>, String> {
    let range =
        decode(args).ok_or_else(|| format!("range-sum takes 16 bytes of arguments, got {}", args.len()))?;
    Ok(sum(range).to_le_bytes().to_vec())
}

/// Adds up `range`, one by one, without overflow up to `0..u64::MAX`.
///
/// ```
/// # use brigade_tasks::range_sum::sum;
/// assert_eq!(sum(0..5), 10);
/// assert_eq!(sum(u64::MAX - 2..u64::MAX), 2 * u128::from(u64::MAX) - 3);
/// ```
#[must_use]
pub fn sum(range: Range<u64>) -> u128 {
    // 2^20 numbers below 2^44 add up to less than 2^64: added in 64 bits, they go twice as fast.
    const RUN: u64 = 1 << 20;
    const SMALL: u64 = 1 << 44;
    let mut total = 0;
    let mut from = range.start;
    while from < range.end {
        let to = range.end.min(from.saturating_add(RUN));
        total += match to <= SMALL {
            true => u128::from((from..to).fold(0_u64, |sum, n| sum + black_box(n))),
            false => (from..to).fold(0_u128, |sum, n| sum + u128::from(black_box(n))),
        };
        from = to;
        if from < range.end {
            brigade_worker::progress();
        }
    }
    total
}

/// The sum by the formula: what the supervisor checks the loop's total against.
///
/// ```
/// # use brigade_tasks::range_sum::{closed_form, sum};
/// assert_eq!(closed_form(&(3..1_000)), sum(3..1_000));
/// assert_eq!(closed_form(&(9..3)), 0);
/// ```
#[must_use]
pub fn closed_form(range: &Range<u64>) -> u128 {
    let below = |n: u64| u128::from(n) * u128::from(n.saturating_sub(1)) / 2;
    below(range.end).saturating_sub(below(range.start))
}

/// The `index`-th of `tasks` parts of `range`; their lengths differ by one at most, the longer ones first.
///
/// ```
/// # use brigade_tasks::range_sum::chunk;
/// let chunks: Vec<_> = (0..3).map(|index| chunk(&(0..10), 3, index)).collect();
/// assert_eq!(chunks, [0..4, 4..7, 7..10]);
/// ```
#[must_use]
pub fn chunk(range: &Range<u64>, tasks: u64, index: u64) -> Range<u64> {
    let length = range.end.saturating_sub(range.start);
    let (short, longer) = (length / tasks, length % tasks);
    let start_of = |index: u64| range.start + index * short + index.min(longer);
    start_of(index)..start_of(index + 1)
}

/// Arguments for [`run`].
#[must_use]
pub fn encode(range: &Range<u64>) -> Vec<u8> {
    [range.start.to_le_bytes(), range.end.to_le_bytes()].concat()
}

fn decode(args: &[u8]) -> Option<Range<u64>> {
    let (start, end) = args.split_at_checked(8)?;
    Some(u64::from_le_bytes(start.try_into().ok()?)..u64::from_le_bytes(end.try_into().ok()?))
}

/// The sum that [`run`] returned.
#[must_use]
pub fn decode_sum(result: &[u8]) -> Option<u128> {
    Some(u128::from_le_bytes(result.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_the_largest_range_cover_it_without_a_gap() {
        let range = 0..u64::MAX;
        for tasks in [1, 2, 3, 1_000, 4_093] {
            let mut next = 0;
            for index in 0..tasks {
                let part = chunk(&range, tasks, index);
                assert_eq!(part.start, next, "part {index} of {tasks}");
                next = part.end;
            }
            assert_eq!(next, u64::MAX);
        }
    }

    #[test]
    fn the_loop_agrees_with_the_formula_around_every_change_of_width() {
        for start in [0, 1, (1 << 20) - 5, (1 << 44) - 700, u64::MAX - 3_000_000] {
            for length in [0, 1, 2, 1_500, (1 << 20) + 1] {
                let range = start..start.saturating_add(length);
                assert_eq!(sum(range.clone()), closed_form(&range), "{range:?}");
            }
        }
    }

    #[test]
    fn arguments_of_another_length_are_an_error_and_not_a_panic() {
        for length in [0, 7, 8, 15, 17] {
            assert!(run(&vec![0; length]).is_err(), "{length} bytes");
        }
        assert_eq!(run(&encode(&(0..5))).ok().as_deref().and_then(decode_sum), Some(10));
    }
}
