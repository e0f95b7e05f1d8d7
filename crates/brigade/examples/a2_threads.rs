//! A2: the same sum, split over two threads, then over four. Python's lock lets one of them run at a time; Rust has none.

mod article;

use article::{range_sum, seconds, sized, timed};
use std::thread;

fn sum_by_threads(n: u64, threads: u64) -> u64 {
    let part = n / threads;
    thread::scope(|scope| {
        let parts: Vec<_> =
            (0..threads).map(|i| scope.spawn(move || range_sum(i * part..(i + 1) * part))).collect();
        parts.into_iter().map(|part| part.join().expect("an adder does not panic")).sum()
    })
}

fn main() {
    let n = sized(100_000_000);
    let times = [2, 4].map(|threads| {
        let (total, time) = timed(|| sum_by_threads(n, threads));
        println!("{threads} threads: {total}");
        assert_eq!(total, n * (n - 1) / 2);
        time
    });
    seconds(times);
}
