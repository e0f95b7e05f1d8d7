//! E2: the products of the ranges (1, 1000), (1001, 2000), … (9001, 10000), mapped over a pool and summed. In Python the pool made it
//! 65 times slower; here it has to pay.

mod article;

use article::{seconds, timed};
use brigade::{Pool, TaskError};
use num_bigint::BigUint;
use std::error::Error;

fn product(first: u64) -> BigUint {
    (first..first + 1_000).map(BigUint::from).product()
}

fn firsts() -> impl Iterator<Item = u64> {
    (1..10_000).step_by(1_000)
}

fn by(pool: &Pool) -> Result<BigUint, TaskError> {
    pool.map_reduce(product, firsts(), BigUint::ZERO, |sum, one| sum + one)
}

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    let (serial, in_a_row) = timed(|| firsts().map(product).sum::<BigUint>());
    let ((pool, cold), from_nothing) = timed(|| {
        let pool = Pool::new().expect("a pool");
        let sum = by(&pool);
        (pool, sum)
    });
    let (warm, again) = timed(|| by(&pool));

    println!(
        "in a row {in_a_row:.2?}, by a pool from a cold start {from_nothing:.2?}, from a warm one {again:.2?}"
    );
    assert!(serial == cold? && serial == warm?);
    seconds([in_a_row, from_nothing, again]);
    Ok(())
}
