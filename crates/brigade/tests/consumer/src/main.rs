//! A program of a user.

use consumer::range_sum;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    brigade::init();
    let pool = brigade::Pool::builder().procs(2).build()?;
    let parts = (0..10).map(|part| (part * 1_000, (part + 1) * 1_000));
    println!("{}", pool.map_reduce(range_sum, parts, 0, |sum, part| sum + part)?);
    Ok(())
}
