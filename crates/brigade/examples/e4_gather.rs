//! E4: three factorials, each in several steps, are gathered: while one waits for its next step, the others take theirs.

mod article;

use article::{second, seconds, timed};
use brigade::{Pool, TaskError};
use futures::executor::block_on;
use futures::future::try_join3;
use std::error::Error;
use std::thread;

fn multiply(product: u64, factor: u64) -> u64 {
    thread::sleep(second());
    product * factor
}

async fn factorial(pool: &Pool, name: char, n: u64) -> Result<u64, TaskError> {
    let mut product = 1;
    for factor in 2..=n {
        println!("Task {name}: compute factorial({n}), currently i={factor}…");
        product = pool.apply_async(multiply, (product, factor)).await?;
    }
    println!("Task {name}: factorial({n}) = {product}");
    Ok(product)
}

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    let pool = Pool::builder().procs(3).build()?;
    let all = try_join3(factorial(&pool, 'A', 2), factorial(&pool, 'B', 3), factorial(&pool, 'C', 4));
    let (gathered, time) = timed(|| block_on(all));

    assert_eq!(gathered?, (2, 6, 24));
    assert!(time < 5 * second(), "in a row it would be 6 seconds, together it is 3");
    seconds([time]);
    Ok(())
}
