//! B7: four sleeps in a row, and then in four processes at once.

use brigade::{Exit, Process, ProcessError};
use std::thread;
use std::time::{Duration, Instant};

fn main() -> Result<(), ProcessError> {
    brigade::init();
    let second = Duration::from_millis(500);
    let began = Instant::now();
    (0..4).for_each(|_| thread::sleep(second));
    let in_a_row = began.elapsed();

    let began = Instant::now();
    let all =
        (0..4).map(|_| Process::builder(thread::sleep, second).start()).collect::<Result<Vec<_>, _>>()?;
    assert!(all.iter().all(|process| process.join() == Exit::Code(0)));
    let at_once = began.elapsed();

    assert!(at_once < in_a_row, "{at_once:?} at once, {in_a_row:?} in a row");
    println!("seconds {:.3} {:.3}", in_a_row.as_secs_f64(), at_once.as_secs_f64());
    Ok(())
}
