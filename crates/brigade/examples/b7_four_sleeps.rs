//! B7: four sleeps in a row, and then in four processes at once.

mod article;

use article::{second, seconds, timed};
use brigade::{Exit, Process, ProcessError};
use std::thread;

fn main() -> Result<(), ProcessError> {
    brigade::init();
    let (_, in_a_row) = timed(|| (0..4).for_each(|_| thread::sleep(second())));
    let (all, at_once) = timed(|| {
        let all = (0..4).map(|_| Process::builder(thread::sleep, second()).start());
        let all = all.collect::<Result<Vec<_>, _>>()?;
        Ok::<_, ProcessError>(all.iter().map(Process::join).collect::<Vec<_>>())
    });

    assert_eq!(all?, [Exit::Code(0); 4]);
    assert!(at_once < in_a_row, "{at_once:?} at once, {in_a_row:?} in a row");
    seconds([in_a_row, at_once]);
    Ok(())
}
