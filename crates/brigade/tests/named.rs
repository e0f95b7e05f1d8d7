//! Workers that are another program: their tasks are called by name. That program is this one, for who does not know it.

use brigade::{BuildError, Pool, StartMethod, TaskError};
use std::env;
use std::process::{self, Command, ExitCode};

fn range_sum((from, to): (u64, u64)) -> u64 {
    (from..to).sum()
}

mod texts {
    pub(super) fn word_count(text: String) -> usize {
        assert!(!text.is_empty(), "no text");
        text.split_whitespace().count()
    }
}

fn abort(_: ()) -> u32 {
    process::abort()
}

/// In a worker of its own: a pool of workers like itself.
fn nested(n: u64) -> u64 {
    let pool = Pool::builder().procs(1).build().expect("a pool in a worker");
    pool.submit(|n: u64| n * n, n).join().expect("a square")
}

fn enter() {
    let role = env::args().nth(1).unwrap_or_default();
    if ["template", "born", "brigade-worker", "by-hand"].contains(&role.as_str()) {
        let code = brigade::worker(brigade::tasks![range_sum, texts::word_count, abort, nested]);
        process::exit((0..=255).find(|n| ExitCode::from(*n) == code).map_or(1, i32::from));
    }
}

brigade::before_main!(enter);

fn pool(method: StartMethod) -> Pool {
    let own = env::current_exe().expect("this test has a file");
    Pool::builder().procs(2).worker(own).start_method(method).build().expect("a pool")
}

#[test]
fn tasks_of_another_program_are_called_by_their_names() {
    for method in [StartMethod::Fork, StartMethod::Spawn] {
        let pool = pool(method);
        let range_sum = pool.task::<(u64, u64), u64>("range_sum").expect("it has that");
        let word_count = pool.task::<String, usize>("word_count").expect("it has that");
        assert_eq!(range_sum.submit((0, 1_000)).join(), Ok(499_500));
        let counts: Result<Vec<usize>, TaskError> =
            word_count.map(["to be", "or not to be", "that"].map(String::from)).collect();
        assert_eq!(counts, Ok(vec![2, 4, 1]));
        let sums: u64 = range_sum.map((0..500).map(|n| (n, n + 1))).map(|one| one.expect("a sum")).sum();
        assert_eq!(sums, (0..500).sum::<u64>());
        let Err(TaskError::Panicked { message, .. }) = word_count.submit(String::new()).join() else {
            panic!("it did not panic")
        };
        assert_eq!(message, "no text");
    }
}

#[test]
fn a_task_of_another_program_that_kills_is_given_up_alone() {
    let pool = pool(StartMethod::Fork);
    let (abort, sum) = (pool.task::<(), u32>("abort"), pool.task::<(u64, u64), u64>("range_sum"));
    let lost = abort.expect("it has that").submit(()).join();
    assert!(matches!(lost, Err(TaskError::Quarantined { .. })), "{lost:?}");
    assert_eq!(sum.expect("it has that").submit((0, 3)).join(), Ok(3));
}

#[test]
fn a_task_of_another_program_may_have_a_pool_of_its_own() {
    let pool = pool(StartMethod::Fork);
    assert_eq!(pool.task::<u64, u64>("nested").expect("it has that").submit(12).join(), Ok(144));
}

#[test]
fn a_name_that_is_not_there_and_another_shape_are_told_in_one_line() {
    let pool = pool(StartMethod::Fork);
    let own = env::current_exe().expect("this test has a file");
    let told = pool.task::<String, usize>("words").expect_err("there is none").to_string();
    let begin =
        format!("worker {} has no task `words`; it has: range_sum((u64, u64)) -> u64, ", own.display());
    assert!(told.starts_with(&begin) && told.lines().count() == 1, "{told}");
    let told = pool.task::<String, u32>("word_count").expect_err("it gives another").to_string();
    assert!(told.contains("word_count(alloc::string::String) -> usize`, and not `word_count("), "{told}");
    assert!(told.ends_with("-> u32`") && told.lines().count() == 1, "{told}");
    let told = pool.submit(|n: u32| n, 1).join().expect_err("no function of this program").to_string();
    let words = format!(
        "workers are {}, another program: its tasks are called by name (Pool::task); \
         functions of this program cannot be sent to it",
        own.display()
    );
    assert_eq!(told, words);
    let hook = Pool::builder().worker(&own).initializer(|(): ()| (), ()).build().expect_err("no such pool");
    assert!(matches!(hook, BuildError::Hook { .. }), "{hook:?}");
    assert_eq!(hook.to_string(), format!("initializer: {words}"));
}

#[test]
fn what_is_no_worker_is_refused_in_one_line() {
    for program in ["/bin/true", "/bin/cat", "/no/such/program", "/etc/passwd"] {
        let error = Pool::builder().worker(program).build().expect_err("it is no worker");
        let told = error.to_string();
        assert!(told.contains(program) && told.lines().count() == 1, "{told}");
    }
}

#[test]
fn who_starts_a_worker_by_hand_is_told_what_it_is() {
    let own = env::current_exe().expect("this test has a file");
    let told = Command::new(own).arg("by-hand").output().expect("it runs");
    let words = String::from_utf8_lossy(&told.stderr);
    assert!(
        words.contains("Pool::builder().worker(") && words.contains("range_sum((u64, u64)) -> u64"),
        "{words}"
    );
    assert_eq!(told.status.code(), Some(2));
}
