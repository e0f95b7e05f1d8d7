//! C1: four workers square ten numbers, a second each.

mod article;

use article::{second, seconds, timed};
use brigade::Pool;
use std::error::Error;
use std::thread;

fn square(n: u64) -> u64 {
    thread::sleep(second());
    n * n
}

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    let pool = Pool::builder().procs(4).build()?;
    let (squares, time) = timed(|| pool.map(square, 0..10).collect::<Result<Vec<_>, _>>());
    let squares = squares?;

    println!("{squares:?}");
    assert_eq!(squares, [0, 1, 4, 9, 16, 25, 36, 49, 64, 81]);
    assert!(time < 9 * second(), "in a row it would be 10 seconds, by four it is 3");
    seconds([time]);
    Ok(())
}
