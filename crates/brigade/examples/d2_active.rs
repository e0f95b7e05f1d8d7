//! D2: three are started, listed and joined one after the other; then only the main one is left.

mod article;

use article::{second, seconds};
use brigade::{Process, ProcessError, active_children, current_process};
use std::thread;
use std::time::Instant;

fn main() -> Result<(), ProcessError> {
    brigade::init();
    let began = Instant::now();
    for _ in 0..3 {
        Process::builder(thread::sleep, second()).start()?;
    }
    let active = active_children();
    assert_eq!(active.len(), 3);
    for (n, process) in (1..).zip(&active) {
        process.join();
        println!("{} {}", process.name(), process.is_alive());
        assert_eq!((process.name(), process.is_alive()), (format!("Process-{n}").as_str(), false));
    }
    assert!(active_children().is_empty());
    println!("{}", current_process().name());
    seconds([began.elapsed()]);
    Ok(())
}
