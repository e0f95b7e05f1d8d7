//! C8: the sum of the squares below ten: mapped over four processes, reduced here.

mod article;

use article::{seconds, timed};
use brigade::Pool;
use std::error::Error;

fn square(n: u64) -> u64 {
    n * n
}

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    let pool = Pool::builder().procs(4).build()?;
    let (sum, time) = timed(|| pool.map_reduce(square, 0..10, 0, |sum, square| sum + square));
    let sum = sum?;

    println!("Sum of squares: {sum}");
    assert_eq!(sum, 285);
    seconds([time]);
    Ok(())
}
