//! B2: what `join` does: without it the program gets on while its child sleeps, with it the child has ended.

mod article;

use article::{second, seconds};
use brigade::{Process, ProcessError};
use std::thread;
use std::time::{Duration, Instant};

fn sleep(time: Duration) {
    println!("child begins");
    thread::sleep(time);
    println!("child ends");
}

fn main() -> Result<(), ProcessError> {
    brigade::init();
    let (began, time) = (Instant::now(), 5 * second());
    let without = Process::builder(sleep, time).start()?;
    println!("end, without join");
    assert!(without.is_alive());
    without.join();

    let with = Process::builder(sleep, time).start()?;
    with.join();
    println!("end, with join");
    assert_eq!((with.is_alive(), with.exit_code()), (false, Some(0)));
    seconds([began.elapsed()]);
    Ok(())
}
