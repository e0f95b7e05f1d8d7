//! C18: a native kernel adds up a million, ten million and a hundred million numbers in a pool of three. In Python it is written
//! in another language and called from there; here all functions are native code, and the kernel is one more of them.

mod article;

use article::{range_sum, seconds, sized, timed};
use brigade::Pool;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    let sizes = [1_000_000, 10_000_000, 100_000_000].map(sized);
    let pool = Pool::builder().procs(3).build()?;
    let (sums, time) = timed(|| pool.map(range_sum, sizes.map(|n| 0..n)).collect::<Result<Vec<_>, _>>());

    for (n, sum) in sizes.into_iter().zip(sums?) {
        println!("Sum of {n} numbers: {sum}");
        assert_eq!(sum, n * (n - 1) / 2);
    }
    seconds([time]);
    Ok(())
}
