//! D1: three sums, three seconds each, by three threads and by three processes: one line apart.

mod article;

use article::{second, seconds, timed};
use brigade::{Executor, ProcessExecutor, ThreadExecutor};
use std::error::Error;
use std::thread;
use std::time::SystemTime;

/// The sum, and when it was there.
fn sum((a, b): (u32, u32)) -> (u32, SystemTime) {
    thread::sleep(3 * second());
    (a + b, SystemTime::now())
}

fn print_sums(executor: impl Executor) -> Result<(), Box<dyn Error>> {
    let began = SystemTime::now();
    let jobs = [(1, 2), (2, 3), (3, 4)].map(|pair| executor.submit(sum, pair));
    for (expected, job) in [3, 5, 7].into_iter().zip(jobs) {
        let (sum, at) = job.join()?;
        let after = at.duration_since(began)?;
        println!("{sum} after {after:.2?}");
        assert_eq!(sum, expected);
        assert!(after < 5 * second(), "in a row it would be 9 seconds");
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    println!("threads:");
    let (summed, threads) = timed(|| print_sums(ThreadExecutor::new(3)?));
    summed?;
    println!("processes:");
    let (summed, processes) = timed(|| print_sums(ProcessExecutor::new(3)?));
    summed?;
    seconds([threads, processes]);
    Ok(())
}
