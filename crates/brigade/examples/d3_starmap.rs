//! D3: a function of two arguments is mapped over pairs.

mod article;

use article::{second, seconds, timed};
use brigade::Pool;
use std::error::Error;
use std::thread;

fn sum(a: i32, b: i32) -> i32 {
    thread::sleep(3 * second());
    a + b
}

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    let pool = Pool::builder().procs(3).build()?;
    let pairs = [(1, 2), (2, 3), (3, 4)];
    let (sums, time) = timed(|| pool.starmap(sum, pairs).collect::<Result<Vec<_>, _>>());

    let sums = sums?;
    println!("{sums:?}");
    assert_eq!(sums, [3, 5, 7]);
    assert!(time < 8 * second(), "in a row it would be 9 seconds, by three it is 3");
    seconds([time]);
    Ok(())
}
