//! D4: each of the active children is joined, and shown with name, number and whether it is alive.

mod article;

use article::{second, seconds};
use brigade::{Process, ProcessError, active_children};
use std::thread;
use std::time::Instant;

fn print_sum((a, b): (i32, i32)) {
    thread::sleep(second());
    println!("{}", a + b);
}

fn main() -> Result<(), ProcessError> {
    brigade::init();
    let began = Instant::now();
    let pairs = [(1, 2), (2, 3), (3, 4)];
    for pair in pairs {
        Process::builder(print_sum, pair).start()?;
    }
    let active = active_children();
    assert_eq!(active.len(), 3);
    for process in &active {
        process.join();
        println!("{} {} {}", process.name(), process.pid(), process.is_alive());
        assert_eq!((process.is_alive(), process.exit_code()), (false, Some(0)));
    }
    assert!(active_children().is_empty());
    seconds([began.elapsed()]);
    Ok(())
}
