//! Who does what, by the name of the schedule: the results are the same, the loads are not.

use brigade::{Load, Pool, Schedule, TaskError};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process;
use std::thread;
use std::time::Duration;

brigade::test_entry!(in_tests);

const ALL: [Schedule; 5] =
    [Schedule::Dynamic, Schedule::Static, Schedule::RoundRobin, Schedule::Weighted, Schedule::Stealing];

fn pool(procs: u32, schedule: Schedule) -> Pool {
    in_tests();
    Pool::builder().procs(procs).schedule(schedule).build().expect("a pool")
}

/// Takes so many milliseconds.
fn last(millis: u64) -> u64 {
    thread::sleep(Duration::from_millis(millis));
    millis * 2
}

/// Calls of each worker, the least first.
fn calls(pool: &Pool) -> Vec<u64> {
    let mut calls: Vec<u64> = pool.loads().iter().map(|load| load.calls).collect();
    calls.sort_unstable();
    calls
}

#[test]
fn ten_calls_of_any_length_bring_the_same_under_every_schedule() {
    let lengths = [31, 4, 15, 9, 26, 5, 35, 8, 9, 7];
    for schedule in ALL {
        let pool = pool(4, schedule);
        let doubled: Result<Vec<u64>, TaskError> =
            pool.map(last, lengths).chunk_size(1).weigh(|millis| *millis).collect();
        assert_eq!(doubled, Ok(lengths.map(|millis| millis * 2).to_vec()), "{schedule:?}");
        let loads = pool.loads();
        println!("{schedule:?}\n{loads}");
        let busy: Duration = loads.iter().map(|load| load.busy).sum();
        assert_eq!(loads.iter().map(|load| load.calls).sum::<u64>(), 10, "{schedule:?}");
        assert!(busy >= Duration::from_millis(lengths.iter().sum()), "{schedule:?}: {busy:?}");
        if matches!(schedule, Schedule::Static | Schedule::RoundRobin) {
            assert_eq!(calls(&pool), [2, 2, 3, 3], "{schedule:?}");
        }
    }
}

#[test]
fn by_weight_one_heavy_call_is_as_much_as_many_light_ones() {
    let pool = pool(2, Schedule::Weighted);
    // As many as a map hands in before it gives the first result.
    let lengths = [500, 1, 1, 1, 1, 1, 1, 1];
    assert_eq!(pool.map(last, lengths).chunk_size(1).weigh(|millis| *millis).count(), 8);
    assert_eq!(calls(&pool), [1, 7]);
    let even = (0..8).map(|_| pool.submit(last, 1)).filter_map(|job| job.join().ok()).count();
    assert_eq!((even, calls(&pool).iter().sum::<u64>()), (8, 16));
}

/// Leaves its mark, unless it is the first: that one waits for all others. Nothing is lent ahead of what takes so long.
fn mark(n: u32, dir: &PathBuf) {
    thread::sleep(Duration::from_millis(5));
    while n == 0 && fs::read_dir(dir).expect("it is there").count() < 7 {
        thread::sleep(Duration::from_millis(1));
    }
    if n > 0 {
        fs::write(dir.join(n.to_string()), "").expect("a mark");
    }
}

#[test]
fn what_waits_behind_a_long_call_is_done_by_others_if_it_may_be() {
    for schedule in [Schedule::Dynamic, Schedule::Stealing] {
        let dir = std::env::temp_dir().join(format!("brigade-{schedule:?}-{}", process::id()));
        fs::create_dir_all(&dir).expect("a directory");
        let pool = pool(2, schedule);
        let jobs: Vec<_> = (0..8).map(|n| pool.submit(|(n, dir)| mark(n, &dir), (n, dir.clone()))).collect();
        assert!(jobs.into_iter().all(|job| job.join_timeout(Duration::from_secs(60)) == Some(Ok(()))));
        assert_eq!(calls(&pool), [1, 7], "{schedule:?}");
        fs::remove_dir_all(&dir).expect("it was there");
    }
}

#[test]
fn loads_name_the_process_and_count_who_died() {
    in_tests();
    let pool = Pool::builder().procs(1).attempts(1).build().expect("a pool");
    let first = pool.submit(|_: ()| process::id(), ()).join().expect("a pid");
    let load = pool.loads()[0];
    assert_eq!((load.pid, load.calls, load.deaths), (Some(first), 1, 0));
    assert!(pool.submit(|bad: bool| assert!(!bad || process::id() == 0), true).join().is_err());
    assert_eq!(pool.loads()[0].calls, 2, "a panic is an end as well");
    let fatal = pool.submit(
        |bad: bool| {
            if bad {
                process::abort()
            }
        },
        true,
    );
    assert!(fatal.join().is_err());
    let second = pool.submit(|_: ()| process::id(), ()).join().expect("a pid");
    let Load { pid, calls, deaths, .. } = pool.loads()[0];
    assert_eq!((pid, calls, deaths), (Some(second), 3, 1));
    assert_eq!(pool.loads().to_string().lines().count(), 2);
}

#[test]
fn a_map_is_whole_under_every_schedule_while_workers_are_killed_and_their_number_changes() {
    for schedule in ALL {
        in_tests();
        let pool = Pool::builder().procs(3).attempts(100).schedule(schedule).build().expect("a pool");
        let (mut killed, mut next) = (BTreeSet::new(), 0);
        for (n, one) in (0_u64..).zip(pool.map(|n: u64| (n * 3, process::id()), 0..50_000)) {
            let (value, pid) = one.expect("a worker that was killed is no reason");
            assert_eq!(value, n * 3, "{schedule:?}");
            if n % 10_000 == 9_999 {
                pool.resize(2 + (n / 10_000 % 3) as u32);
            }
            if n >= next && killed.insert(pid) {
                next = n + 4_000;
                let kill = process::Command::new("kill").args(["-9", &pid.to_string()]).output();
                assert!(kill.is_ok(), "there is a kill");
            }
        }
        assert!(killed.len() > 3, "{schedule:?}: {} were killed", killed.len());
    }
}
