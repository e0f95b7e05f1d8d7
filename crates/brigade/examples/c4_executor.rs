//! C4: an executor with three workers doubles five numbers, two seconds each.

mod article;

use article::{second, seconds, timed};
use brigade::{Executor, Job, ProcessExecutor};
use std::error::Error;
use std::thread;

fn double(n: u32) -> u32 {
    thread::sleep(2 * second());
    2 * n
}

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    let executor = ProcessExecutor::new(3)?;
    let (doubled, time) = timed(|| {
        let jobs: Vec<_> = (0..5).map(|n| executor.submit(double, n)).collect();
        jobs.into_iter().map(Job::join).collect::<Result<Vec<u32>, _>>()
    });
    let doubled = doubled?;

    println!("{doubled:?}");
    assert_eq!(doubled, [0, 2, 4, 6, 8]);
    assert!(time < 9 * second(), "in a row it would be 10 seconds, by three it is 4");
    seconds([time]);
    Ok(())
}
