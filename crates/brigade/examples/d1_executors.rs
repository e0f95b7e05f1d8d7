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
    let mut times = Vec::new();
    for (expected, job) in [3, 5, 7].into_iter().zip(jobs) {
        let (sum, at) = job.join()?;
        println!("{sum} after {:.2?}", at.duration_since(began)?);
        assert_eq!(sum, expected);
        times.push(at);
    }
    times.sort();
    let apart = times[2].duration_since(times[0])?;
    assert!(apart < 3 * second(), "{apart:?}; in a row they would be six seconds apart");
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
