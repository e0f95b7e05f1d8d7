//! E1: ten sleeps of a second: in a row, by threads, by a pool, and handed in one by one and taken as they are completed.

mod article;

use article::{second, seconds, timed};
use brigade::{Executor, Job, Pool, ProcessExecutor, TaskError, as_completed};
use std::error::Error;
use std::thread;

/// How many sleeps.
const SLEEPS: u32 = 10;

fn nap(n: u32) -> u32 {
    thread::sleep(second());
    n
}

fn by_pool() -> Result<u32, Box<dyn Error>> {
    let pool = Pool::builder().procs(SLEEPS).build()?;
    Ok(pool.map_reduce(nap, 0..SLEEPS, 0, |sum, n| sum + n)?)
}

fn by_executor() -> Result<u32, Box<dyn Error>> {
    let executor = ProcessExecutor::new(SLEEPS)?;
    let jobs = (0..SLEEPS).map(|n| executor.submit(nap, n));
    Ok(as_completed(jobs).map(Job::join).sum::<Result<u32, TaskError>>()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    let (_, row) = timed(|| (0..SLEEPS).map(nap).sum::<u32>());
    let (_, threads) =
        timed(|| thread::scope(|scope| (0..SLEEPS).for_each(|n| drop(scope.spawn(move || nap(n))))));
    let (pooled, processes) = timed(by_pool);
    let (submitted, completed) = timed(by_executor);

    println!("in a row     {row:.2?}");
    println!("threads      {threads:.2?}");
    println!("processes    {processes:.2?}");
    println!("as completed {completed:.2?}");
    assert_eq!((pooled?, submitted?), (45, 45));
    assert!([threads, processes, completed].iter().all(|together| *together < row / 2));
    seconds([row, threads, processes, completed]);
    Ok(())
}
