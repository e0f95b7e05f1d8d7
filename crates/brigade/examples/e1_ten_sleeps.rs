//! E1: ten sleeps of a second: in a row, by threads, by a pool, and handed in one by one and taken as they are completed.

mod article;

use article::{second, seconds, timed};
use brigade::{Pool, TaskError, as_completed};
use std::error::Error;
use std::thread;

/// How many sleeps.
const SLEEPS: u32 = 10;

fn nap(n: u32) -> u32 {
    thread::sleep(second());
    n
}

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    let ((), in_a_row) = timed(|| (0..SLEEPS).for_each(|n| _ = nap(n)));
    let ((), by_threads) =
        timed(|| thread::scope(|scope| (0..SLEEPS).for_each(|n| drop(scope.spawn(move || nap(n))))));
    let (pooled, by_processes) = timed(|| -> Result<u32, Box<dyn Error>> {
        let pool = Pool::builder().procs(SLEEPS).build()?;
        Ok(pool.map_reduce(nap, 0..SLEEPS, 0, |sum, n| sum + n)?)
    });
    let (submitted, by_executor) = timed(|| -> Result<u32, Box<dyn Error>> {
        let pool = Pool::builder().procs(SLEEPS).build()?;
        let jobs = (0..SLEEPS).map(|n| pool.submit(nap, n));
        Ok(as_completed(jobs).map(|job| job.join()).sum::<Result<u32, TaskError>>()?)
    });

    println!("in a row     {in_a_row:.2?}");
    println!("threads      {by_threads:.2?}");
    println!("processes    {by_processes:.2?}");
    println!("as completed {by_executor:.2?}");
    assert_eq!((pooled?, submitted?), (45, 45));
    for together in [by_threads, by_processes, by_executor] {
        assert!(together < in_a_row / 2);
    }
    seconds([in_a_row, by_threads, by_processes, by_executor]);
    Ok(())
}
