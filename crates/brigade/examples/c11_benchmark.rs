//! C11: what waits and what computes, five times each, by threads and by processes.

mod article;

use article::{range_sum, second, seconds, sized, timed};
use brigade::Pool;
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

fn by_threads(task: fn(())) -> Duration {
    timed(|| thread::scope(|scope| (0..TASKS).for_each(|_| drop(scope.spawn(|| task(())))))).1
}

fn by_processes(task: fn(())) -> Result<Duration, Box<dyn Error>> {
    let pool = Pool::builder().procs(TASKS as u32).build()?;
    let (done, time) = timed(|| pool.for_each(task, [(); TASKS]));
    done?;
    Ok(time)
}

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    let waiting = [by_threads(wait), by_processes(wait)?];
    let computing = [by_threads(compute), by_processes(compute)?];

    println!("         threads  processes");
    println!("waits    {:6.2} s {:8.2} s", waiting[0].as_secs_f64(), waiting[1].as_secs_f64());
    println!("computes {:6.2} s {:8.2} s", computing[0].as_secs_f64(), computing[1].as_secs_f64());
    assert!(waiting.iter().all(|time| *time < 5 * second()), "in a row it would be 10 seconds");
    seconds([waiting[0], waiting[1], computing[0], computing[1]]);
    Ok(())
}
