//! Workers with a state, tried with real processes.

use brigade::{Pool, TaskError, Worker};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::process;
use std::thread;
use std::time::Duration;

brigade::test_entry!(in_tests);

/// Adds up; writes its total into a file when it is stopped.
struct Counter {
    total: u64,
    file: String,
}

#[derive(serde::Serialize, serde::Deserialize)]
enum Ask {
    Add(u64),
    Panic,
    Abort,
    /// Nothing, until there is such a file.
    Wait(String),
}

impl Worker for Counter {
    type Init = (u64, String);
    type Request = Ask;
    type Reply = (u64, u32);

    fn start((first, file): (u64, String)) -> Result<Counter, String> {
        if file.is_empty() { Err("no file to count into".into()) } else { Ok(Counter { total: first, file }) }
    }

    fn handle(&mut self, ask: Ask) -> (u64, u32) {
        match ask {
            Ask::Add(n) => self.total += n,
            Ask::Panic => {
                self.total = u64::MAX;
                panic!("half done")
            }
            Ask::Abort => process::abort(),
            Ask::Wait(file) => {
                while !fs::exists(&file).expect("a directory") {
                    thread::sleep(Duration::from_millis(1));
                }
            }
        }
        (self.total, process::id())
    }

    fn stop(self) {
        let mut file = OpenOptions::new().append(true).create(true).open(&self.file).expect("a file");
        // In one write: others append to it, too.
        file.write_all(format!("{}\n", self.total).as_bytes()).expect("a line");
    }
}

fn file(test: &str) -> String {
    in_tests();
    std::env::temp_dir().join(format!("brigade-actors-{}-{test}", process::id())).display().to_string()
}

/// What was written at the ends of workers.
fn totals(file: &str) -> Vec<u64> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let _ = fs::remove_file(file);
    text.lines().map(|line| line.parse().expect("a total")).collect()
}

#[test]
fn a_state_lives_from_one_request_to_the_next_and_is_stopped_once() {
    let file = file("lives");
    let counter = Pool::builder().procs(1).workers::<Counter>((100, file.clone())).expect("a pool");
    let totals_seen: Vec<u64> =
        counter.map((1..=10).map(Ask::Add)).map(|one| one.expect("a total").0).collect();
    assert_eq!(totals_seen.last(), Some(&155));
    assert_eq!(counter.submit(Ask::Add(5)).join().expect("a total").0, 160);
    counter.join();
    assert_eq!(totals(&file), [160]);
}

#[test]
fn nobody_waits_behind_a_long_request_and_no_state_is_lost_for_that() {
    let (file, mark) = (file("long"), file("mark"));
    let counter = Pool::builder().procs(2).workers::<Counter>((0, file.clone())).expect("a pool");
    assert!(counter.map((0..2_000).map(|_| Ask::Add(1))).all(|one| one.is_ok()));
    let long = counter.submit(Ask::Wait(mark.clone()));
    let behind: Vec<_> = (0..20).map(|_| counter.submit(Ask::Add(1))).collect();
    assert!(behind.into_iter().all(|job| job.join().is_ok()));
    assert!(!long.is_done());
    fs::write(&mark, "").expect("a mark");
    long.join().expect("an answer");
    counter.join();
    fs::remove_file(mark).expect("it is there");
    let totals = totals(&file);
    assert_eq!((totals.len(), totals.iter().sum::<u64>()), (2, 2_020));
}

#[test]
fn several_workers_have_a_state_each_and_nothing_is_counted_twice() {
    let file = file("several");
    let counter = Pool::builder().procs(3).workers::<Counter>((0, file.clone())).expect("a pool");
    assert_eq!(counter.map_unordered((0..300).map(|_| Ask::Add(1))).filter(Result::is_ok).count(), 300);
    counter.join();
    assert_eq!(totals(&file).iter().sum::<u64>(), 300);
}

#[test]
fn after_a_death_there_is_a_new_state_in_a_new_process() {
    let file = file("death");
    let builder = Pool::builder().procs(1).attempts(1);
    let counter = builder.workers::<Counter>((10, file.clone())).expect("a pool");
    let (total, pid) = counter.submit(Ask::Add(7)).join().expect("a total");
    assert_eq!(total, 17);
    let lost = counter.submit(Ask::Abort).join();
    assert!(matches!(lost, Err(TaskError::Quarantined { .. })), "{lost:?}");
    let (total, later) = counter.submit(Ask::Add(1)).join().expect("a total");
    assert!(total == 11 && later != pid, "{total} of {later}");
    counter.join();
    assert_eq!(totals(&file), [11], "who died was not stopped");
}

#[test]
fn a_panic_is_the_error_of_its_request_and_the_end_of_that_state() {
    let file = file("panic");
    let counter = Pool::builder().procs(1).workers::<Counter>((0, file.clone())).expect("a pool");
    let (_, pid) = counter.submit(Ask::Add(7)).join().expect("a total");
    let lost = counter.submit(Ask::Panic).join();
    let Err(TaskError::Panicked { message, location, .. }) = lost else { panic!("{lost:?}") };
    assert!(message == "half done" && location.contains("actors.rs"), "{message} at {location}");
    let (total, later) = counter.submit(Ask::Add(1)).join().expect("a total");
    assert!(total == 1 && later != pid, "{total} of {later}, and before of {pid}");
    let asks = [Ask::Add(1), Ask::Panic, Ask::Add(3), Ask::Add(4)];
    let all: Vec<_> = counter.map(asks).chunk_size(4).map(|one| one.map(|(total, _)| total)).collect();
    assert!(matches!(all[1], Err(TaskError::Panicked { .. })), "{all:?}");
    assert_eq!((&all[0], &all[2], &all[3]), (&Ok(2), &Ok(3), &Ok(7)), "a new state behind the panic");
    let (total, last) = counter.submit(Ask::Add(2)).join().expect("a total");
    assert!(total == 2 && last != later, "{total} of {last}, and before of {later}");
    counter.join();
    assert_eq!(totals(&file), [7, 2], "the two that never panicked");
}

#[test]
fn who_cannot_be_started_ends_the_pool_with_its_words() {
    in_tests();
    let counter = Pool::builder().procs(2).workers::<Counter>((0, String::new())).expect("a pool");
    let lost = counter.submit(Ask::Add(1)).join().expect_err("nobody counts").to_string();
    assert!(lost.contains("no file to count into"), "{lost}");
}
