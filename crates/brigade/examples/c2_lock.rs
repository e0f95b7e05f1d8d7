//! C2: two processes count to the same number. Each reads it, adds one and writes it: without a lock some of that is lost.

mod article;

use article::{seconds, timed};
use brigade::Pool;
use brigade::shared::SharedValue;
use brigade::sync::Lock;
use std::error::Error;

/// How often each adds one.
const TIMES: u64 = 100_000;

fn race(counter: SharedValue<u64>) {
    for _ in 0..TIMES {
        counter.set(counter.get() + 1);
    }
}

fn count((counter, lock): (SharedValue<u64>, Lock)) {
    for _ in 0..TIMES {
        let _guard = lock.acquire().expect("nobody dies with it");
        counter.set(counter.get() + 1);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    let pool = Pool::builder().procs(2).build()?;

    // Where one is done before the other begins, nothing is lost: that may happen, and not each time.
    let mut lost = 2 * TIMES;
    for _ in 0..100 {
        let counter = SharedValue::new(0)?;
        pool.for_each(race, [counter.clone(), counter.clone()])?;
        lost = lost.min(counter.get());
        if lost < 2 * TIMES {
            break;
        }
    }
    println!("without a lock: {lost}");
    assert!(lost < 2 * TIMES);

    let (counter, lock) = (SharedValue::new(0)?, Lock::new()?);
    let both = [(counter.clone(), lock.clone()), (counter.clone(), lock)];
    let (counted, time) = timed(|| pool.for_each(count, both));
    counted?;
    println!("with a lock: {}", counter.get());
    assert_eq!(counter.get(), 2 * TIMES);
    seconds([time]);
    Ok(())
}
