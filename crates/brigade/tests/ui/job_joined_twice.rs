//! A job is joined once, and a pool is not used after its end.

fn main() {
    let pool = brigade::Pool::new().expect("a pool");
    let job = pool.submit(|n: u32| n + 1, 1);
    drop(job.join());
    drop(job.join());
    pool.join();
    pool.close();
}
