//! A closure that captures has no place in the program's text that could be sent.

fn main() {
    let pool = brigade::Pool::new().expect("a pool");
    let factor = 3;
    drop(pool.submit(|n: u32| n * factor, 2));
}
