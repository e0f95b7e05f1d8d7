//! B8: four sleeps of a second are handed to an executor of four, and each is asked for its result.

mod article;

use article::{second, seconds};
use brigade::{Executor, ProcessExecutor};
use std::error::Error;
use std::thread;
use std::time::Instant;

fn nap(n: u32) -> String {
    thread::sleep(second());
    format!("nap {n} is over")
}

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    let began = Instant::now();
    let executor = ProcessExecutor::new(4)?;
    let jobs = [1, 2, 3, 4].map(|n| executor.submit(nap, n));
    for (n, job) in (1..).zip(jobs) {
        let told = job.join()?;
        println!("{told}");
        assert_eq!(told, format!("nap {n} is over"));
    }
    let time = began.elapsed();

    assert!(time < 4 * second(), "in a row it would be 4 seconds");
    seconds([time]);
    Ok(())
}
