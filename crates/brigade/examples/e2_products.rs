//! E2: the products of the ranges (1, 1000), (1001, 2000), … (9001, 10000), mapped over a pool, and their digits summed. In Python
//! the pool made it 65 times slower; here it has to pay.

use num_bigint::BigUint;
use std::error::Error;
use std::time::Instant;

fn product(first: u64) -> BigUint {
    (first..first + 1_000).map(BigUint::from).product()
}

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    let began = Instant::now();
    let serial: BigUint = (1..10_000).step_by(1_000).map(product).sum();
    let loop_ms = began.elapsed().as_secs_f64() * 1e3;
    let began = Instant::now();
    let pool = brigade::Pool::new()?;
    let cold: BigUint =
        pool.map_reduce(product, (1..10_000).step_by(1_000), BigUint::ZERO, |sum, one| sum + one)?;
    let cold_ms = began.elapsed().as_secs_f64() * 1e3;
    let began = Instant::now();
    let warm: BigUint =
        pool.map_reduce(product, (1..10_000).step_by(1_000), BigUint::ZERO, |sum, one| sum + one)?;
    let warm_ms = began.elapsed().as_secs_f64() * 1e3;
    assert!(serial == cold && serial == warm);
    println!("loop {loop_ms:.2} ms, pool from a cold start {cold_ms:.2} ms, warm {warm_ms:.2} ms");
    Ok(())
}
