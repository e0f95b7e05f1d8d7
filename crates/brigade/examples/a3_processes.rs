//! A3: the same sum, split over two processes that put theirs into one queue. Closing the queue is the `'STOP'` that whoever gets
//! from it sees after the last item.

mod article;

use article::{range_sum, seconds, sized, timed};
use brigade::{Exit, Process, Queue};
use std::error::Error;
use std::ops::Range;

fn work((part, sums): (Range<u64>, Queue<u64>)) {
    sums.put(&range_sum(part)).expect("it is open");
}

fn sum_by_processes(n: u64) -> Result<u64, Box<dyn Error>> {
    let sums = Queue::new()?;
    let parts = [0..n / 2, n / 2..n];
    let workers = parts.map(|part| Process::builder(work, (part, sums.clone())).start());
    for worker in workers {
        assert_eq!(worker?.join(), Exit::Code(0));
    }
    sums.close();
    Ok(sums.iter().sum::<Result<u64, _>>()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    let n = sized(100_000_000);
    let (total, time) = timed(|| sum_by_processes(n));
    let total = total?;

    println!("Result: {total}");
    assert_eq!(total, n * (n - 1) / 2);
    seconds([time]);
    Ok(())
}
