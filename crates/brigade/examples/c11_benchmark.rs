//! C11: what waits and what computes, five times each, by threads and by processes.

mod article;

use article::{range_sum, second, seconds, sized, timed};
use brigade::{Executor, ProcessExecutor, TaskError, ThreadExecutor};
use std::error::Error;
use std::thread;
use std::time::Duration;

/// How many of each.
const TASKS: usize = 5;

fn wait(_: ()) {
    thread::sleep(2 * second());
}

fn compute(_: ()) {
    range_sum(0..sized(100_000_000));
}

fn run(executor: impl Executor, task: fn(())) -> Result<Duration, TaskError> {
    let (done, time) = timed(|| executor.map(task, [(); TASKS]).collect::<Result<(), _>>());
    done.map(|()| time)
}

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    let threads = || ThreadExecutor::new(TASKS as u32);
    let processes = || ProcessExecutor::new(TASKS as u32);
    let waiting = [run(threads()?, wait)?, run(processes()?, wait)?];
    let computing = [run(threads()?, compute)?, run(processes()?, compute)?];

    println!("            threads  processes");
    println!("waiting   {:7.2} s {:8.2} s", waiting[0].as_secs_f64(), waiting[1].as_secs_f64());
    println!("computing {:7.2} s {:8.2} s", computing[0].as_secs_f64(), computing[1].as_secs_f64());
    assert!(waiting.iter().all(|time| *time < 9 * second()), "in a row it would be 10 seconds");
    seconds([waiting[0], waiting[1], computing[0], computing[1]]);
    Ok(())
}
