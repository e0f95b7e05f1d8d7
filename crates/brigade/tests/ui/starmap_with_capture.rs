//! A function of several arguments has no place for a capture, either. This is seen when the program is built.

fn main() {
    let pool = brigade::Pool::new().expect("a pool");
    let factor = 3;
    drop(pool.starmap(move |a: u32, b: u32| a * b * factor, [(1, 2)]));
}
