//! Whoever drops a job never hears whether its call worked.

#![deny(unused_must_use)]

fn main() {
    let pool = brigade::Pool::new().expect("a pool");
    pool.submit(|n: u32| n + 1, 1);
    pool.map(|n: u32| n + 1, 0..9);
}
