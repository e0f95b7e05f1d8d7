//! Shared memory between processes that are killed, tried with real ones.

mod kit;

use brigade::shared::{SharedArray, SharedSlice, SharedValue};
use brigade::sync::{Event, Lock};
use brigade::{Job, Pool, Process, StartMethod, TaskError, Until, wait};
use kit::{METHODS, kill, tireless};
use std::collections::BTreeSet;
use std::fs;
use std::process;
use std::thread;
use std::time::Duration;

brigade::test_entry!(in_tests);

/// What is mapped here under that name, and how much of it is this process's own.
fn mapped(name: &str) -> (usize, u64) {
    let smaps = fs::read_to_string("/proc/self/smaps").expect("/proc");
    let (mut count, mut anonymous, mut is_it) = (0, 0, false);
    for line in smaps.lines() {
        if line.split_ascii_whitespace().next().is_some_and(|word| word.contains('-')) {
            is_it = line.contains(name);
            count += usize::from(is_it);
        } else if let Some(size) = line.strip_prefix("Anonymous:").filter(|_| is_it) {
            anonymous += size.trim().trim_end_matches(" kB").parse::<u64>().expect("a number");
        }
    }
    (count, anonymous)
}

#[test]
fn a_shared_slice_is_mapped_by_workers_and_copied_by_none() {
    for method in METHODS {
        let pool = tireless(2, method);
        let numbers = pool.share((0..1_000_000_u64).collect::<Vec<u64>>()).expect("shared memory");
        let parts = (0..8).map(|part| (numbers.clone(), part));
        let sum = |(numbers, part): (SharedSlice<u64>, usize)| {
            let sum: u64 = numbers.chunks(125_000).nth(part).expect("a part").iter().sum();
            let (count, own_kb) = mapped("memfd:shared-slice");
            assert!(count > 0 && own_kb == 0, "{count} mappings with {own_kb} kB of its own");
            sum
        };
        assert_eq!(pool.map_reduce(sum, parts, 0, |sum, part| sum + part), Ok(499_999_500_000), "{method:?}");
    }
}

#[test]
fn slices_of_nothing_and_of_structs_travel_as_well() {
    let pool = tireless(1, StartMethod::Fork);
    let none = SharedSlice::<[f64; 2]>::new(&[]).expect("shared memory");
    assert_eq!(pool.submit(|none: SharedSlice<[f64; 2]>| none.len(), none).join(), Ok(0));
    let points = SharedSlice::new(&[[1.0, 2.0], [3.0, 4.0]]).expect("shared memory");
    let sum = pool.submit(|points: SharedSlice<[f64; 2]>| points.iter().flatten().sum::<f64>(), points);
    assert_eq!(sum.join(), Ok(10.0));
}

#[test]
fn two_hundred_thousand_increments_by_two_workers_are_none_too_few() {
    for method in METHODS {
        let pool = tireless(2, method);
        let (lock, value) = (Lock::new().unwrap(), SharedValue::new(0_u64).unwrap());
        let add = |(lock, value): (Lock, SharedValue<u64>)| {
            for _ in 0..100_000 {
                let _guard = lock.acquire().expect("nobody dies");
                value.set(value.get() + 1);
            }
        };
        let jobs = [(); 2].map(|()| pool.submit(add, (lock.clone(), value.clone())));
        jobs.into_iter().for_each(|job| job.join().unwrap());
        assert_eq!(value.get(), 200_000, "{method:?}");
        let add = |value: SharedValue<u64>| (0..10_000).for_each(|_| _ = value.fetch_add(1));
        pool.for_each(add, vec![value.clone(); 4]).unwrap();
        assert_eq!(value.get(), 240_000);
    }
}

#[test]
fn three_processes_write_an_array_and_nothing_is_lost() {
    let pool = tireless(3, StartMethod::Fork);
    let array = SharedArray::<u32>::zeroed(15).unwrap();
    let write = |(array, part): (SharedArray<u32>, usize)| {
        (0..5).for_each(|n| array.set(part * 5 + n, (part * 10 + n) as u32));
    };
    pool.for_each(write, (0..3).map(|part| (array.clone(), part))).unwrap();
    assert_eq!(array.to_vec(), [0, 1, 2, 3, 4, 10, 11, 12, 13, 14, 20, 21, 22, 23, 24]);
    assert_eq!((array.len(), array.get(14), array.is_empty()), (15, 24, false));
}

/// Whose halves are always equal.
type Twins = [u64; 32];

#[test]
fn an_element_is_whole_and_no_update_is_lost_however_often_writers_are_killed() {
    let pool = tireless(3, StartMethod::Fork);
    let (twins, done) = (SharedArray::<Twins>::zeroed(4).unwrap(), SharedValue::new(0_u64).unwrap());
    let write = |(twins, done): (SharedArray<Twins>, SharedValue<u64>)| {
        for n in 0..500 {
            twins.set(n % 4, [n as u64 + u64::from(process::id()) * 1_000; 32]);
            let read = twins.get((n + 1) % 4);
            assert!(read.iter().all(|one| *one == read[0]), "{read:?}");
            done.update(|done| done + 1);
        }
        process::id()
    };
    let (mut killed, mut seed, mut calls) = (BTreeSet::new(), 0x2545_f491_4f6c_dd1d_u64, 0);
    let all = std::iter::repeat((twins.clone(), done.clone()));
    let mut pids = pool.map_unordered(write, all).chunk_size(1);
    while killed.len() < 200 {
        let pid = pids.next().expect("without end").expect("whole elements, whoever is killed");
        calls += 1;
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        if killed.insert(pid) {
            // A pace: the moment is the point.
            thread::sleep(Duration::from_micros(seed % 1_000));
            kill("KILL", pid);
        }
    }
    drop((pids, pool));
    assert!(done.get() >= calls * 500, "{} updates of {calls} calls", done.get());
    assert!(twins.to_vec().iter().all(|twins| twins.iter().all(|one| *one == twins[0])));
}

#[test]
fn who_locks_an_array_after_a_death_in_the_middle_is_told_and_who_reads_it_is_not_stopped() {
    for method in METHODS {
        in_tests();
        let pool = Pool::builder().procs(1).attempts(1).start_method(method).build().expect("a pool");
        let (array, begun) = (SharedArray::new(&[1_u8, 2]).unwrap(), Event::new().unwrap());
        let job: Job<()> = pool.submit(
            |(array, begun): (SharedArray<u8>, Event)| {
                let guard = array.lock().unwrap();
                guard.set(0, 7);
                begun.set();
                loop {
                    thread::park();
                }
            },
            (array.clone(), begun.clone()),
        );
        begun.wait();
        kill("KILL", job.pid().unwrap());
        assert_eq!(array.to_vec(), [7, 2], "{method:?}");
        let guard = array.lock().expect_err("half done").into_inner();
        guard.copy_from_slice(&[7, 8]);
        assert_eq!((guard.to_vec(), guard.len(), guard.is_empty()), (vec![7, 8], 2, false));
        drop(guard);
        assert!(array.lock().is_ok(), "it is told once");
        assert!(matches!(job.join(), Err(TaskError::Quarantined { .. })));
    }
}

#[test]
fn who_has_no_time_for_one_that_is_stopped_with_an_array_does_not_get_it_and_goes_on() {
    fn hold((array, begun): (SharedArray<u8>, Event)) {
        let _guard = array.lock().unwrap();
        begun.set();
        loop {
            thread::park();
        }
    }
    in_tests();
    let (array, begun) = (SharedArray::new(&[1_u8, 2]).unwrap(), Event::new().unwrap());
    let holder = Process::builder(hold, (array.clone(), begun.clone())).start().unwrap();
    begun.wait();
    kill("STOP", holder.pid());
    assert!(array.try_lock().unwrap().is_none());
    assert!(array.lock_timeout(Duration::from_millis(20)).unwrap().is_none());
    holder.kill();
    holder.join();
    let died = array.lock_timeout(Duration::from_secs(60)).expect_err("it died with it");
    assert_eq!(died.pid(), Some(holder.pid()));
    drop(died);
    assert!(array.try_lock().unwrap().is_some(), "it was told once");
}

#[test]
fn an_update_whose_process_dies_in_it_has_changed_nothing() {
    let pool = Pool::builder().procs(1).attempts(1);
    in_tests();
    let pool = pool.build().expect("a pool");
    let value = SharedValue::new(5_i64).unwrap();
    let job: Job<i64> =
        pool.submit(|value: SharedValue<i64>| value.update(|_| process::abort()), value.clone());
    assert!(job.join().is_err());
    assert_eq!(value.update(|value| value * 2), 10);
    let panicked = std::panic::catch_unwind(|| value.update(|_| panic!("on purpose")));
    assert!(panicked.is_err() && value.get() == 10 && value.fetch_add(-11) == 10 && value.get() == -1);
}

#[test]
fn what_a_worker_made_lives_as_long_as_the_worker_or_whoever_has_opened_it() {
    let pool = tireless(1, StartMethod::Fork);
    let made = pool.submit(|_: ()| SharedValue::new(41_u32).unwrap(), ()).join().expect("a value");
    let pid = pool.submit(|_: ()| process::id(), ()).join().unwrap();
    kill("KILL", pid);
    assert_eq!(made.fetch_add(1), 41, "this process has it open");
    assert_eq!(pool.submit(|value: SharedValue<u32>| value.get(), made).join(), Ok(42));
}

#[test]
fn who_attaches_to_what_died_is_told_in_a_line() {
    let pool = tireless(1, StartMethod::Fork);
    let job = pool.submit(|n: u32| SharedSlice::new(&[n]).unwrap(), 7);
    let (mut done, _) = wait([job], Until::AllCompleted, None);
    let pid = done[0].pid().expect("it was lent");
    kill("KILL", pid);
    while pool.submit(|_: ()| process::id(), ()).join() == Ok(pid) {
        thread::yield_now();
    }
    let error = done.remove(0).join().expect_err("nobody has it any more").to_string();
    assert!(error.contains(&format!("process {pid} is gone")) && error.lines().count() == 1, "{error}");
}

#[test]
fn an_index_that_is_none_and_memory_that_is_not_there_are_told() {
    let array = SharedArray::new(&[1_u16; 3]).unwrap();
    let panicked = thread::spawn(move || array.get(3)).join().expect_err("there are three");
    assert_eq!(panicked.downcast_ref::<String>().unwrap(), "index 3 of a shared array of 3");
    for len in [usize::MAX, 1 << 50] {
        assert!(SharedArray::<u64>::zeroed(len).is_err());
    }
}

#[test]
fn nothing_is_left_in_dev_shm_nor_open() {
    let named = |dir: &str| {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let links = entries.map(|entry| fs::read_link(entry.path()).unwrap_or_else(|_| entry.path()));
        links.filter(|to| to.to_string_lossy().contains("left-over")).count()
    };
    let pool = tireless(1, StartMethod::Fork);
    let lock = Lock::named("left-over").unwrap();
    pool.submit(|lock: Lock| drop(lock.acquire()), lock.clone()).join().unwrap();
    assert_eq!((named("/dev/shm"), named("/proc/self/fd")), (0, 1));
    drop((pool, lock));
    assert_eq!((named("/dev/shm"), named("/proc/self/fd")), (0, 0));
}
