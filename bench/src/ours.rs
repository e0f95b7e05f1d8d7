//! Brigade.

use crate::WORKERS;
use crate::table::median;
use brigade::{Job, Pool};
use std::collections::HashSet;
use std::hint::black_box;
use std::time::{Duration, Instant};

fn same(n: u64) -> u64 {
    n
}

fn pool(workers: u32) -> Pool {
    let pool = Pool::builder().procs(workers).build().expect("a pool");
    let warm: u64 = pool.map(same, 0..1_000).map(|one| one.expect("a number")).sum();
    assert_eq!(warm, sum_below(1_000));
    pool
}

fn sum_below(n: u64) -> u64 {
    n * (n - 1) / 2
}

fn rate(n: u64, work: impl FnOnce() -> u64) -> f64 {
    let began = Instant::now();
    let sum = work();
    let took = began.elapsed().as_secs_f64();
    assert_eq!(sum, sum_below(n), "the results are wrong");
    n as f64 / took
}

pub fn map_automatic() -> f64 {
    let (n, pool) = (5_000_000, pool(WORKERS));
    rate(n, || pool.map(same, 0..n).map(|one| one.expect("a number")).sum())
}

pub fn map_singly() -> f64 {
    let (n, pool) = (300_000, pool(WORKERS));
    rate(n, || pool.map(same, 0..n).chunk_size(1).map(|one| one.expect("a number")).sum())
}

pub fn submit() -> f64 {
    let (n, pool) = (300_000, pool(WORKERS));
    rate(n, || {
        let jobs: Vec<Job<u64>> = (0..n).map(|k| pool.submit(same, k)).collect();
        jobs.into_iter().map(|job| job.join().expect("a number")).sum()
    })
}

pub fn round_trip() -> f64 {
    let pool = pool(WORKERS);
    let once = |n| {
        let began = Instant::now();
        assert_eq!(pool.submit(same, n).join(), Ok(n));
        began.elapsed().as_secs_f64()
    };
    median((0..5_000).map(once).collect())
}

/// From nothing to an answer of each worker, less the nap that makes each take one.
pub fn ready<const N: u32>() -> f64 {
    const NAP: Duration = Duration::from_millis(50);
    fn nap(nanos: u64) -> u32 {
        std::thread::sleep(Duration::from_nanos(nanos));
        std::process::id()
    }
    let began = Instant::now();
    let pool = Pool::builder().procs(N).build().expect("a pool");
    let pids: HashSet<u32> = pool
        .map(nap, vec![NAP.as_nanos() as u64; N as usize])
        .chunk_size(1)
        .map(|pid| pid.expect("a pid"))
        .collect();
    let took = began.elapsed() - NAP;
    assert_eq!(pids.len(), N as usize);
    took.as_secs_f64()
}

/// 2^N bytes.
pub fn echo<const N: u32>() -> f64 {
    fn echo(data: Vec<u8>) -> Vec<u8> {
        data
    }
    let (size, pool) = (1_usize << N, pool(WORKERS));
    let rounds = ((128 << 20) / size).max(4);
    let mut data = vec![7_u8; size];
    data = pool.submit(echo, data).join().expect("bytes");
    let began = Instant::now();
    for _ in 0..rounds {
        data = pool.submit(echo, data).join().expect("bytes");
    }
    let took = began.elapsed().as_secs_f64();
    assert!(data.len() == size && data.iter().all(|byte| *byte == 7));
    (2 * size * rounds) as f64 / took
}

pub fn private_memory() -> f64 {
    let pool = pool(WORKERS);
    let pids: HashSet<u32> = (0..100)
        .filter_map(|n| {
            let job = pool.submit(same, n);
            while !job.is_done() {
                std::hint::spin_loop();
            }
            job.pid()
        })
        .collect();
    let bytes = |pid: &u32| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("it lives");
        let private = text.lines().filter(|line| line.starts_with("Private_"));
        1024.0 * private.filter_map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok()).sum::<f64>()
    };
    median(pids.iter().map(bytes).collect())
}

/// Busy for so many microseconds, by the clock.
pub fn busy(micros: u64) -> u64 {
    let until = Instant::now() + Duration::from_micros(micros);
    while Instant::now() < until {
        black_box(0);
    }
    micros
}

/// Of the time that two cores had, the part that tasks of N us, handed in one by one, were at work.
pub fn share<const N: u64>() -> f64 {
    let (tasks, pool) = (500_000 / N.max(2), pool(WORKERS));
    let began = Instant::now();
    let jobs: Vec<Job<u64>> = (0..tasks).map(|_| pool.submit(busy, N)).collect();
    let sum: u64 = jobs.into_iter().map(|job| job.join().expect("a number")).sum();
    let took = began.elapsed().as_secs_f64();
    sum as f64 / 1e6 / f64::from(WORKERS) / took
}
