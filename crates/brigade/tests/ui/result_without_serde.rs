//! A result has to be written in the worker, and read.

struct Raw(u32);

fn make(n: u32) -> Raw {
    Raw(n)
}

fn main() {
    let pool = brigade::Pool::new().expect("a pool");
    drop(pool.submit(make, 3));
}
