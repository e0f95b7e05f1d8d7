//! E2: the products of the ranges (1, 1000), (1001, 2000), … (9001, 10000), mapped over a pool and summed. In Python the pool made it
//! 65 times slower; here it has to pay.

mod article;

use article::{seconds, timed};
use brigade::{Pool, TaskError};
use num_bigint::BigUint;
use std::error::Error;
use std::time::Duration;

/// Each from the start of its pool; medians are told.
const ROUNDS: usize = 21;

fn product(first: u64) -> BigUint {
    (first..first + 1_000).map(BigUint::from).product()
}

fn firsts() -> impl Iterator<Item = u64> {
    (1..10_000).step_by(1_000)
}

fn by(pool: &Pool) -> Result<BigUint, TaskError> {
    pool.map_reduce(product, firsts(), BigUint::ZERO, |sum, one| sum + one)
}

/// The median, and the fastest and slowest in words.
fn middle(mut times: Vec<Duration>) -> (Duration, String) {
    times.sort();
    let (first, middle) = (times[0], times[times.len() / 2]);
    (middle, format!("{middle:.2?} ({first:.2?} to {:.2?})", times[times.len() - 1]))
}

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    let expected = firsts().map(product).sum::<BigUint>();
    let (mut rows, mut colds, mut warms) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (serial, in_a_row) = timed(|| firsts().map(product).sum::<BigUint>());
        let ((pool, cold), from_nothing) = timed(|| {
            let pool = Pool::new().expect("a pool");
            let sum = by(&pool);
            (pool, sum)
        });
        let (warm, again) = timed(|| by(&pool));
        assert!(serial == expected && cold? == expected && warm? == expected);
        rows.push(in_a_row);
        colds.push(from_nothing);
        warms.push(again);
    }

    let ((in_a_row, rows), (cold, colds), (warm, warms)) = (middle(rows), middle(colds), middle(warms));
    println!("in a row {rows}, by a pool from a cold start {colds}, from a warm one {warms}");
    // Bars for a machine with two cores that are idle; on one that is busy all three take longer, and a pool the most.
    let told = |is_held| if is_held { "held" } else { "missed" };
    let (pays, is_there) = (warm <= in_a_row.mul_f64(1.2), cold < Duration::from_millis(5));
    println!("a warm pool within 1.2 of the row: {}; a cold one within 5 ms: {}", told(pays), told(is_there));
    seconds([in_a_row, cold, warm]);
    Ok(())
}
