//! An argument has to be written, and read in the worker.

struct Raw(u32);

fn open(raw: Raw) -> u32 {
    raw.0
}

fn main() {
    let pool = brigade::Pool::new().expect("a pool");
    drop(pool.submit(open, Raw(2)));
}
