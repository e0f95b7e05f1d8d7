//! C2: whoever holds an RLock may take it again, and others have it when it was released as often.

mod article;

use article::seconds;
use brigade::Pool;
use brigade::sync::RLock;
use std::error::Error;
use std::time::Instant;

fn is_free(lock: RLock) -> bool {
    lock.try_acquire().expect("nobody dies with it").is_some()
}

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    let began = Instant::now();
    let pool = Pool::builder().procs(1).build()?;
    let lock = RLock::new()?;
    let is_free = || pool.submit(is_free, lock.clone()).join();

    let outer = lock.acquire()?;
    let inner = lock.acquire()?;
    println!("taken twice, free for others: {}", is_free()?);
    assert!(!is_free()?);
    drop(inner);
    println!("released once, free for others: {}", is_free()?);
    assert!(!is_free()?);
    drop(outer);
    println!("released twice, free for others: {}", is_free()?);
    assert!(is_free()?);
    seconds([began.elapsed()]);
    Ok(())
}
