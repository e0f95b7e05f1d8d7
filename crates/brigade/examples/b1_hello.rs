//! B1: a process says hello, and is waited for.

use brigade::{Process, ProcessError};

fn hello(name: String) {
    println!("hello {name}");
}

fn main() -> Result<(), ProcessError> {
    brigade::init();
    let process = Process::builder(hello, "bob".into()).start()?;
    process.join();
    assert_eq!(process.exit_code(), Some(0));
    Ok(())
}
