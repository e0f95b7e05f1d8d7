//! A program whose standard library is a shared one: its own functions go to workers, and those of the library do not.

use brigade::{Pool, Process};
use std::thread;
use std::time::Duration;

fn double(n: u32) -> u32 {
    2 * n
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    brigade::init();
    let pool = Pool::builder().procs(1).build()?;
    println!("{:?}", pool.submit(double, 21).join());
    println!("{}", pool.submit(thread::sleep, Duration::ZERO).join().expect_err("it is of the library"));
    println!("{}", pool.map(thread::sleep, [Duration::ZERO]).next().expect("one").expect_err("the same"));
    println!("{}", Process::builder(thread::sleep, Duration::ZERO).start().expect_err("the same"));
    Ok(())
}
