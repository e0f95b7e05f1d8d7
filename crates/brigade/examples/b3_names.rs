//! B3: name and number of the current process, in parent and child.

mod article;

use article::seconds;
use brigade::{Process, ProcessError, current_process, parent_process};
use std::time::Instant;

fn show(main_pid: u32) {
    let own = current_process();
    println!("{} {}", own.name(), own.pid());
    assert!(own.name() == "SubProcess" && own.pid() != main_pid);
    assert_eq!(parent_process().map(|parent| parent.pid()), Some(main_pid));
}

fn main() -> Result<(), ProcessError> {
    brigade::init();
    let began = Instant::now();
    let own = current_process();
    println!("{} {}", own.name(), own.pid());
    assert_eq!(own.name(), "MainProcess");
    let process = Process::builder(show, own.pid()).name("SubProcess").start()?;
    process.join();
    assert_eq!((process.name(), process.exit_code()), ("SubProcess", Some(0)));
    seconds([began.elapsed()]);
    Ok(())
}
