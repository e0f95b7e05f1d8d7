//! What may go to a worker does: this one is built and run, so that the others are built, too, and not only looked at.

fn main() {
    brigade::init();
    let pool = brigade::Pool::builder().procs(1).build().expect("a pool");
    let products: Result<Vec<u32>, _> = pool.starmap(|a: u32, b: u32| a * b, [(1, 2), (3, 4)]).collect();
    assert_eq!(products, Ok(vec![2, 12]));
}
