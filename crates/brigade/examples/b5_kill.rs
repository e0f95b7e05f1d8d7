//! B5: a process is alive, and after a kill it is not.

mod article;

use article::seconds;
use brigade::{Process, ProcessError};
use std::thread;
use std::time::{Duration, Instant};

fn main() -> Result<(), ProcessError> {
    brigade::init();
    let began = Instant::now();
    let process = Process::builder(|_: ()| thread::sleep(Duration::from_secs(600)), ()).start()?;
    println!("{}", process.is_alive());
    assert!(process.is_alive());
    process.kill();
    process.join();
    println!("{}", process.is_alive());
    assert_eq!((process.is_alive(), process.exit_code()), (false, Some(-9)));
    seconds([began.elapsed()]);
    Ok(())
}
