//! A1: one worker adds up all numbers below 100,000,000.

mod article;

use article::{range_sum, seconds, sized, timed};
use brigade::Pool;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    let n = sized(100_000_000);

    let pool = Pool::builder().procs(1).build()?;
    let (total, time) = timed(|| pool.submit(range_sum, 0..n).join());
    let total = total?;

    println!("Result: {total}");
    assert_eq!(total, n * (n - 1) / 2);
    seconds([time]);
    Ok(())
}
