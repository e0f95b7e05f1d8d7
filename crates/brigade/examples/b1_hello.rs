//! B1: a process says hello, and is waited for.

mod article;

use article::seconds;
use brigade::{Process, ProcessError};
use std::time::Instant;

fn hello(name: String) {
    println!("hello {name}");
}

fn main() -> Result<(), ProcessError> {
    brigade::init();
    let began = Instant::now();
    let process = Process::builder(hello, "bob".into()).start()?;
    process.join();
    assert_eq!(process.exit_code(), Some(0));
    seconds([began.elapsed()]);
    Ok(())
}
