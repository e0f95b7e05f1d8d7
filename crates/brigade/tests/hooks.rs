//! What each worker does before its first call and after its last, tried with real processes.

use brigade::{BuildError, Pool, StartMethod, TaskError};
use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

brigade::test_entry!(in_tests);

/// A file of this test, which does not exist yet, and is gone with it.
struct Notes(PathBuf);

impl Notes {
    fn new() -> Notes {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        in_tests();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Notes(std::env::temp_dir().join(format!("brigade-hooks-{}-{number}", process::id())))
    }

    fn path(&self) -> String {
        self.0.display().to_string()
    }

    fn lines(&self) -> Vec<String> {
        fs::read_to_string(&self.0).unwrap_or_default().lines().map(String::from).collect()
    }
}

impl Drop for Notes {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// In a worker: one line with its pid.
fn note(path: String) {
    let mut file = OpenOptions::new().append(true).create(true).open(path).expect("a file for notes");
    // In one write: others append to it, too.
    file.write_all(format!("{}\n", process::id()).as_bytes()).expect("a line");
}

static KEPT: OnceLock<String> = OnceLock::new();
static BEGUN: AtomicU32 = AtomicU32::new(0);

fn keep(words: String) {
    BEGUN.fetch_add(1, Ordering::Relaxed);
    KEPT.set(words).expect("once in each worker");
}

#[test]
fn each_worker_calls_the_initializer_once_before_its_first_call() {
    in_tests();
    for method in [StartMethod::Fork, StartMethod::Spawn] {
        for words in ["few".to_owned(), "many words ".repeat(100_000)] {
            let builder = Pool::builder().procs(3).start_method(method).max_tasks_per_child(5);
            let pool = builder.initializer(keep, words.clone()).build().expect("a pool");
            let seen =
                |_: ()| (KEPT.get().map_or(0, String::len), BEGUN.load(Ordering::Relaxed), process::id());
            let jobs: Vec<_> = (0..40).map(|_| pool.submit(seen, ())).collect();
            let mut pids = BTreeSet::new();
            for job in jobs {
                let (length, begun, pid) = job.join().expect("it was kept");
                assert_eq!((length, begun), (words.len(), 1), "{method:?}");
                pids.insert(pid);
            }
            assert!(pids.len() > 3, "{pids:?} are all, and each has five calls or so");
        }
    }
}

/// How a pool ends whose initializer fails so, and how often that was tried.
fn failure(initializer: fn((String, u32)) -> Result<(), String>, kind: u32) -> (String, usize) {
    let notes = Notes::new();
    // Only who hangs is to be overtaken by it, however slow this machine is.
    let patience = if kind == HANG { Duration::from_millis(500) } else { Duration::from_secs(60) };
    let builder = Pool::builder().procs(1).birth_timeout(patience);
    let pool = builder.initializer(initializer, (notes.path(), kind)).build().expect("a pool");
    let told = pool.submit(|n: u32| n, 1).join().expect_err("no worker comes so far");
    assert!(matches!(told, TaskError::Pool(_)), "{told:?}");
    let late = pool.submit(|n: u32| n, 1).join();
    assert!(matches!(late, Err(TaskError::Pool(_) | TaskError::Shutdown)), "{late:?}");
    let told = told.to_string();
    assert_eq!(told.lines().count(), 1, "{told}");
    (told, notes.lines().len())
}

const HANG: u32 = 5;

fn fail((path, kind): (String, u32)) -> Result<(), String> {
    note(path);
    match kind {
        0 => panic!("no device\nat all"),
        1 => Err("the license has expired".into()),
        2 => process::exit(78),
        3 => process::exit(3),
        4 => process::abort(),
        _ => loop {
            thread::park();
        },
    }
}

#[test]
fn an_initializer_that_fails_is_an_error_with_its_words_and_no_worker_is_born_again() {
    let (told, times) = failure(fail, 0);
    assert!(told.contains("its initializer: panicked at") && told.contains("no device; at all"), "{told}");
    assert_eq!(times, 1, "{told}");
    let (told, times) = failure(fail, 1);
    assert!(told.contains("its initializer: the license has expired"), "{told}");
    assert_eq!(times, 1, "{told}");
    let (told, times) = failure(fail, 2);
    assert!(told.contains("the initializer ended the worker: exit code 78"), "{told}");
    assert_eq!(times, 1, "{told}");
}

#[test]
fn an_initializer_that_dies_or_hangs_is_tried_a_few_times_and_then_it_is_an_error() {
    for (kind, words) in [
        (3, "the initializer ended the worker: exit code 3, pid "),
        (4, "the initializer ended the worker: SIGABRT, pid "),
        (HANG, "the initializer did not return in time: no hello within 500ms, pid "),
    ] {
        let (told, times) = failure(fail, kind);
        assert!(told.contains(words) && told.contains("logs: /"), "{told}");
        assert!(!told.contains(" ppid "), "the head of a log says nothing: {told}");
        // Who hangs may be killed before it has noted anything.
        assert!(times <= 6 && (times >= 2 || kind == HANG), "{kind}: {times} times");
    }
}

#[test]
fn an_initializer_that_cannot_be_sent_is_refused_at_once() {
    #[derive(serde::Deserialize)]
    struct Never;
    impl serde::Serialize for Never {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("never"))
        }
    }
    in_tests();
    let error = Pool::builder().initializer(|_: Never| (), Never).build().expect_err("no such pool");
    assert!(matches!(&error, BuildError::Hook { what: "initializer", .. }), "{error:?}");
    assert!(error.to_string().contains("never"), "{error}");
}

#[test]
fn each_worker_calls_the_finalizer_once_when_it_is_told_to_end_or_makes_room() {
    let notes = Notes::new();
    let builder = Pool::builder().procs(2).max_tasks_per_child(4).finalizer(note, notes.path());
    let pool = builder.build().expect("a pool");
    let pids: BTreeSet<u32> =
        (0..30).map(|_| pool.submit(|_: ()| process::id(), ()).join().expect("a pid")).collect();
    drop(pool);
    let noted: Vec<u32> = notes.lines().iter().map(|line| line.parse().expect("a pid")).collect();
    assert_eq!(noted.len(), noted.iter().collect::<BTreeSet<_>>().len(), "each once: {noted:?}");
    assert!(pids.iter().all(|pid| noted.contains(pid)), "{pids:?} worked, {noted:?} ended");
}

#[test]
fn a_finalizer_that_panics_or_hangs_does_not_hold_up_the_end() {
    in_tests();
    for hang in [false, true] {
        let begun = Instant::now();
        let end = |hang: bool| {
            assert!(hang, "on purpose");
            thread::sleep(Duration::from_secs(3_600));
        };
        let builder = Pool::builder().procs(2).grace(Duration::from_millis(200)).finalizer(end, hang);
        let pool = builder.build().expect("a pool");
        assert_eq!(pool.submit(|n: u32| n, 1).join(), Ok(1));
        drop(pool);
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    }
}

#[test]
fn workers_that_die_are_initialized_anew() {
    static COUNT: Mutex<u32> = Mutex::new(0);
    in_tests();
    let pool = Pool::builder()
        .procs(1)
        .initializer(|n: u32| *COUNT.lock().expect("alone") = n, 10)
        .build()
        .expect("a pool");
    let count = |_: ()| {
        let mut count = COUNT.lock().expect("alone");
        *count += 1;
        *count
    };
    assert_eq!((pool.submit(count, ()).join(), pool.submit(count, ()).join()), (Ok(11), Ok(12)));
    assert!(pool.submit(|_: ()| process::abort(), ()).join().map(|(): ()| ()).is_err());
    assert_eq!(pool.submit(count, ()).join(), Ok(11));
}

#[test]
fn what_an_initializer_is_given_may_carry_a_pipe_also_for_workers_that_come_later() {
    in_tests();
    let (receiver, sender) = brigade::pipe::<u32>().expect("a pipe");
    let tell = |sender: brigade::Sender<u32>| sender.send(&process::id()).map_err(|error| error.to_string());
    let pool =
        Pool::builder().procs(1).max_tasks_per_child(1).initializer(tell, sender).build().expect("a pool");
    for _ in 0..3 {
        let pid = pool.submit(|_: ()| process::id(), ()).join().expect("a pid");
        let told = receiver.recv_timeout(Duration::from_secs(60)).expect("each says who it is");
        assert_eq!(told, pid);
    }
    drop(pool);
}
