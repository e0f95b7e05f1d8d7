//! B7: a second's sleep, four times in a row, then in four processes.

mod article;

use article::{second, seconds, timed};
use brigade::{Exit, Process, ProcessError};
use std::error::Error;
use std::thread;

fn by_processes() -> Result<Vec<Exit>, ProcessError> {
    let naps =
        (0..4).map(|_| Process::builder(thread::sleep, second()).start()).collect::<Result<Vec<_>, _>>()?;
    Ok(naps.iter().map(Process::join).collect())
}

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    let ((), row) = timed(|| (0..4).for_each(|_| thread::sleep(second())));
    let (ends, together) = timed(by_processes);

    println!("in a row {row:.2?}, in four processes {together:.2?}");
    assert_eq!(ends?, [Exit::Code(0); 4]);
    assert!(together < row / 2);
    seconds([row, together]);
    Ok(())
}
