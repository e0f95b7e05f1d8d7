//! Pools of Rust.

use crate::WORKERS;
use crate::ours::busy;
use crate::table::median;
use rayon::prelude::*;
use std::time::Instant;

fn rayon_pool() -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(WORKERS as usize).build().expect("threads")
}

pub fn rayon_map() -> f64 {
    let (n, pool) = (20_000_000_u64, rayon_pool());
    let began = Instant::now();
    let sum: u64 = pool.install(|| (0..n).into_par_iter().map(std::hint::black_box).sum());
    let took = began.elapsed().as_secs_f64();
    assert_eq!(sum, n * (n - 1) / 2);
    n as f64 / took
}

pub fn rayon_share<const N: u64>() -> f64 {
    let (tasks, pool) = (500_000 / N.max(2), rayon_pool());
    let began = Instant::now();
    let sum: u64 = pool.install(|| (0..tasks).into_par_iter().map(|_| busy(N)).sum());
    let took = began.elapsed().as_secs_f64();
    sum as f64 / 1e6 / f64::from(WORKERS) / took
}

fn procspawn_pool() -> procspawn::Pool {
    let pool = procspawn::Pool::new(WORKERS as usize).expect("a pool");
    let warm: Vec<_> = (0..WORKERS).map(|n| procspawn::spawn!(in pool, (n) || n)).collect();
    warm.into_iter().for_each(|job| drop(job.join()));
    pool
}

pub fn procspawn_submit() -> f64 {
    let (n, pool) = (20_000_u64, procspawn_pool());
    let began = Instant::now();
    // Each call holds descriptors: more at a time than a process may have, and it panics.
    let (mut jobs, mut sum) = (std::collections::VecDeque::new(), 0);
    for k in 0..n {
        if jobs.len() == 128 {
            sum +=
                jobs.pop_front().map_or(0, |job: procspawn::JoinHandle<u64>| job.join().expect("a number"));
        }
        jobs.push_back(procspawn::spawn!(in pool, (k) || k));
    }
    sum += jobs.into_iter().map(|job| job.join().expect("a number")).sum::<u64>();
    let took = began.elapsed().as_secs_f64();
    assert_eq!(sum, n * (n - 1) / 2);
    pool.kill();
    n as f64 / took
}

pub fn procspawn_round_trip() -> f64 {
    let pool = procspawn_pool();
    let once = |k: u64| {
        let began = Instant::now();
        assert_eq!(procspawn::spawn!(in pool, (k) || k).join().expect("a number"), k);
        began.elapsed().as_secs_f64()
    };
    let p50 = median((0..2_000).map(once).collect());
    pool.kill();
    p50
}
