//! C16: ten tasks of different length on four workers, dealt out in five ways: the results are the same, the loads are not.

mod article;

use article::{second, seconds, timed};
use brigade::{Pool, Schedule, TaskError};
use std::error::Error;
use std::thread;
use std::time::Duration;

/// How long the tasks are, in tenths of a second; drawn once.
const LENGTHS: [u32; 10] = [9, 1, 6, 2, 4, 8, 3, 1, 7, 2];

fn work(length: u32) -> u32 {
    thread::sleep(length * second() / 10);
    10 * length
}

fn run(schedule: Schedule) -> Result<Duration, Box<dyn Error>> {
    let pool = Pool::builder().procs(4).schedule(schedule).build()?;
    let tasks = pool.map(work, LENGTHS).chunk_size(1).weigh(|length| u64::from(*length));
    let (results, time) = timed(|| tasks.collect::<Result<Vec<u32>, TaskError>>());
    println!("{schedule:?}: {time:.2?}\n{}", pool.loads());
    assert_eq!(results?, LENGTHS.map(|length| 10 * length));
    let mut calls: Vec<u64> = pool.loads().iter().map(|load| load.calls).collect();
    calls.sort();
    assert_eq!(calls.iter().sum::<u64>(), 10);
    // Whoever deals by number alone gives each as many, whatever they are.
    if matches!(schedule, Schedule::Static | Schedule::RoundRobin) {
        assert_eq!(calls, [2, 2, 3, 3]);
    }
    Ok(time)
}

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    let dynamic = run(Schedule::Dynamic)?;
    let fixed = run(Schedule::Static)?;
    let round_robin = run(Schedule::RoundRobin)?;
    let weighted = run(Schedule::Weighted)?;
    let stealing = run(Schedule::Stealing)?;
    seconds([dynamic, fixed, round_robin, weighted, stealing]);
    Ok(())
}
