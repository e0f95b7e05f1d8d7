//! What people rely on in a pool, tried with real processes.

use brigade::{BuildError, Pool, StartMethod, TaskError, Until, as_completed, wait};
use std::collections::BTreeSet;
use std::fs::File;
use std::process::{self, Command};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

brigade::test_entry!(in_tests);

fn pool(procs: u32) -> Pool {
    in_tests();
    Pool::builder().procs(procs).build().expect("a pool")
}

fn square(n: u64) -> u64 {
    n * n
}

fn own_pid(_: ()) -> u32 {
    process::id()
}

fn abort_if(bad: bool) -> u32 {
    if bad {
        process::abort();
    }
    7
}

#[test]
fn a_function_and_a_closure_are_called_in_another_process() {
    for method in [StartMethod::Fork, StartMethod::Spawn] {
        in_tests();
        let pool = Pool::builder().procs(2).start_method(method).build().expect("a pool");
        assert_eq!(pool.submit(square, 12).join(), Ok(144), "{method:?}");
        assert_eq!(
            pool.submit(|words: Vec<String>| words.join(" "), vec!["a".into(), "b".into()]).join(),
            Ok("a b".into())
        );
        let job = pool.submit(own_pid, ());
        let pid = job.join_timeout(Duration::from_secs(60)).expect("in a minute").expect("a pid");
        assert!(pid != process::id() && job.is_done());
        assert_eq!(job.pid(), Some(pid));
    }
}

#[test]
fn a_map_gives_results_in_the_order_of_the_items_whatever_the_chunks() {
    let pool = pool(3);
    let squares: Vec<u64> = (0..1_000).map(square).collect();
    for size in [1, 7, 1_000, 5_000] {
        let mapped: Result<Vec<u64>, TaskError> = pool.map(square, 0..1_000).chunk_size(size).collect();
        assert_eq!(mapped.as_ref(), Ok(&squares), "chunks of {size}");
    }
    assert_eq!(pool.map(square, 0..1_000).collect::<Result<Vec<u64>, _>>().as_ref(), Ok(&squares));
    assert_eq!(pool.map(square, std::iter::empty()).count(), 0);
    let unordered: BTreeSet<u64> =
        pool.map_unordered(square, 0..1_000).map(|one| one.expect("a square")).collect();
    assert_eq!(unordered, squares.into_iter().collect());
    assert_eq!(pool.map_reduce(square, 0..10, 0, |sum, n| sum + n), Ok(285));
}

#[test]
fn a_map_draws_no_more_items_than_it_needs_ahead() {
    let pool = pool(2);
    let mut drawn = 0;
    let first: Vec<u64> =
        pool.map(square, (0..).inspect(|_| drawn += 1)).take(10).map(|one| one.expect("a square")).collect();
    assert_eq!(first, (0..10).map(square).collect::<Vec<u64>>());
    assert!(drawn < 1_000, "{drawn} items for ten results");
}

#[test]
fn a_map_of_short_calls_goes_further_ahead_the_longer_it_is_and_no_further_than_four_mebibytes() {
    const LARGE: usize = 256 << 10;
    let (pool, given) = (pool(1), 300);
    let drawn_for = |size: usize| {
        let mut drawn = 0;
        let sizes = std::iter::repeat_n(size, 10_000).inspect(|_| drawn += 1);
        let mut bytes = pool.map(|size: usize| "a".repeat(size), sizes).chunk_size(1);
        assert!(bytes.by_ref().take(given).all(|one| one.is_ok_and(|it| it.len() == size)));
        drop(bytes);
        drawn - given
    };
    let (small, large) = (drawn_for(1), drawn_for(LARGE));
    assert!((200..=256).contains(&small) && large <= 16, "{small} small ones ahead, {large} large ones");
}

#[test]
fn a_panic_is_the_error_of_its_call_with_message_and_place() {
    let pool = pool(1);
    let pid = pool.submit(own_pid, ()).join();
    let Err(TaskError::Panicked { message, location, .. }) =
        pool.submit(|n: u32| assert!(n > 9, "{n} is too few"), 3).join()
    else {
        panic!("it did not panic")
    };
    assert_eq!(message, "3 is too few");
    assert!(location.contains("pool.rs:"), "{location}");
    assert_eq!(pool.submit(own_pid, ()).join(), pid, "the worker lives on");
}

#[test]
fn a_call_that_kills_is_given_up_alone_after_its_attempts() {
    let pool = pool(2);
    let jobs: Vec<_> = (0..20).map(|n| pool.submit(abort_if, n == 7)).collect();
    for (n, job) in jobs.into_iter().enumerate() {
        match job.join() {
            Ok(7) => assert_ne!(n, 7),
            Err(TaskError::Quarantined { attempts, .. }) => assert_eq!((n, attempts.len()), (7, 3)),
            other => panic!("{n}: {other:?}"),
        }
    }
}

#[test]
fn of_a_chunk_only_the_item_that_kills_is_lost() {
    let pool = pool(2);
    let results: Vec<_> = pool.map(|n: u64| if n == 321 { process::abort() } else { n }, 0..1_000).collect();
    assert_eq!(results.len(), 1_000);
    for (n, result) in (0..).zip(results) {
        match result {
            Ok(value) => assert_eq!(value, n),
            Err(TaskError::Quarantined { .. }) => assert_eq!(n, 321),
            Err(error) => panic!("{n}: {error}"),
        }
    }
}

#[test]
fn a_worker_that_is_killed_costs_a_repetition_and_no_result() {
    let pool = pool(2);
    let job = pool.submit(
        |mark: String| match File::create_new(&mark) {
            Ok(_) => process::abort(),
            Err(_) => 5,
        },
        std::env::temp_dir().join(format!("brigade-mark-{}", process::id())).display().to_string(),
    );
    assert_eq!(job.join(), Ok(5));
    std::fs::remove_file(std::env::temp_dir().join(format!("brigade-mark-{}", process::id())))
        .expect("it was made");
}

#[test]
fn a_call_past_its_time_is_ended_and_others_are_not() {
    in_tests();
    let builder = Pool::builder().procs(2).attempts(1).task_timeout(Duration::from_millis(200));
    let pool = builder.build().expect("a pool");
    let hung = pool.submit(|_: ()| thread::sleep(Duration::from_secs(3_600)), ());
    assert_eq!(pool.submit(square, 3).join(), Ok(9));
    let Err(TaskError::TimedOut { attempts, .. }) = hung.join() else { panic!("it hung and was not ended") };
    assert_eq!(attempts.len(), 1);
    assert_eq!(pool.submit(square, 4).join(), Ok(16));
}

#[test]
fn jobs_are_waited_for_one_by_one_or_together_and_may_call_back() {
    let pool = pool(2);
    let jobs: Vec<_> = (0..10).map(|n| pool.submit(square, n)).collect();
    let sum: u64 = as_completed(jobs).map(|job| job.join().expect("a square")).sum();
    assert_eq!(sum, 285);
    let jobs = [pool.submit(abort_if, false), pool.submit(abort_if, true)];
    let (done, _) = wait(jobs, Until::FirstException, None);
    assert!(done.iter().any(|job| matches!(job.try_join(), Some(Err(_)))));
    let (_, others) = wait(
        [pool.submit(|_: ()| thread::sleep(Duration::from_secs(1)), ())],
        Until::AllCompleted,
        Some(Duration::ZERO),
    );
    assert_eq!(others.len(), 1);
    let (sender, receiver) = channel();
    pool.submit(square, 9).on_done(move |result| drop(sender.send(result)));
    assert_eq!(receiver.recv().expect("it is called"), Ok(81));
}

#[test]
fn who_drops_a_pool_waits_for_what_was_handed_in_and_who_kills_its_workers_does_not() {
    let pool_here = pool(2);
    let jobs: Vec<_> = (0..50).map(|n| pool_here.submit(square, n)).collect();
    drop(pool_here);
    assert!(jobs.into_iter().enumerate().all(|(n, job)| job.join() == Ok(square(n as u64))));
    let pool_here = pool(2);
    let job = pool_here.submit(|_: ()| thread::sleep(Duration::from_secs(3_600)), ());
    pool_here.close();
    assert_eq!(pool_here.submit(square, 1).join(), Err(TaskError::Shutdown));
    pool_here.kill_workers();
    assert_eq!(job.join(), Err(TaskError::Shutdown));
}

#[test]
fn numbers_that_make_no_sense_are_refused_in_one_line() {
    in_tests();
    let ask = Pool::builder;
    for builder in [
        ask().procs(0),
        ask().attempts(0),
        ask().max_tasks_per_child(0),
        ask().task_timeout(Duration::ZERO),
        ask().memory_limit(0),
        ask().birth_timeout(Duration::ZERO),
    ] {
        let error = builder.build().expect_err("no such pool");
        assert!(matches!(error, BuildError::Setting { given: 0, .. }), "{error:?}");
        assert_eq!(error.to_string().lines().count(), 1, "{error}");
    }
}

#[test]
fn a_memory_limit_that_no_worker_can_live_on_is_an_error_that_says_how_much_it_takes() {
    for method in [StartMethod::Fork, StartMethod::Spawn] {
        in_tests();
        let dir = tempfile::tempdir().expect("a directory");
        let builder = Pool::builder().procs(2).start_method(method).state_dir(dir.path());
        let pool = builder.memory_limit(1).build().expect("a pool");
        let told = pool.submit(square, 1).join().expect_err("no worker lives").to_string();
        let (_, least) =
            told.split_once("a memory limit of 1 B is less than a worker needs to live (").expect(&told);
        let least: u64 = least.split_once(" KiB)").and_then(|(least, _)| least.parse().ok()).expect(&told);
        assert!(least > 100 && told.lines().count() == 1, "{told}");
    }
}

/// How deep it got, and what was said there.
fn nest(depth: u32) -> (u32, String) {
    match Pool::builder().procs(1).build() {
        Ok(pool) => pool.submit(nest, depth + 1).join().expect("the one below answers"),
        Err(error) => (depth, error.to_string()),
    }
}

#[test]
fn pools_are_nested_ten_deep_and_no_deeper() {
    in_tests();
    let (depth, told) = nest(0);
    assert_eq!((depth, told.as_str()), (10, "pools are nested 10 deep already: 10 is the most"));
}

fn exit_with(code: i32) -> u32 {
    process::exit(code)
}

#[test]
fn a_call_that_exits_as_it_likes_harms_no_other() {
    in_tests();
    let pool = Pool::builder().procs(2).attempts(9).build().expect("a pool");
    for code in [0, 75, 78, 86] {
        let lost = pool.submit(exit_with, code).join().expect_err("it never returns");
        assert!(
            matches!(&lost, TaskError::Quarantined { attempts, .. } if attempts.len() == 9),
            "{code}: {lost}"
        );
        assert_eq!(pool.submit(square, 5).join(), Ok(25), "after {code}");
    }
}

#[derive(Debug)]
struct Moody(u32);

impl serde::Serialize for Moody {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert_ne!(self.0, 3, "three is too many");
        serializer.serialize_u32(self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Moody {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Moody, D::Error> {
        u32::deserialize(deserializer).map(Moody)
    }
}

#[test]
fn a_panic_while_a_result_is_encoded_is_that_of_its_item_alone() {
    let pool = pool(1);
    for (n, one) in (0..).zip(pool.map(Moody, 0..100).chunk_size(50)) {
        match one {
            Ok(Moody(value)) => assert_eq!(value, n),
            Err(TaskError::Panicked { message, .. }) => {
                assert!(n == 3 && message.contains("too many"), "{n}")
            }
            Err(error) => panic!("{n}: {error}"),
        }
    }
}

#[test]
fn callbacks_are_called_before_a_pool_is_gone_and_may_panic() {
    let pool = pool(1);
    let (sender, receiver) = channel();
    let late = sender.clone();
    pool.submit(square, 2).on_done(|_| panic!("on purpose"));
    pool.submit(square, 3).on_done(move |result| {
        // A pace: whoever drops the pool does not overtake it.
        thread::sleep(Duration::from_millis(20));
        drop(late.send(result));
    });
    drop((sender, pool));
    assert_eq!(receiver.try_recv(), Ok(Ok(9)));
}

#[test]
fn whoever_awaits_a_call_is_woken_while_a_callback_takes_its_time_and_also_in_one() {
    let pool = pool(2);
    let ((awaited, heard), (told, answer)) = (channel(), channel());
    let other = pool.submit(square, 5);
    pool.submit(square, 2).on_done(move |_| {
        let in_callback = futures::executor::block_on(other);
        // Held until somebody else was woken.
        drop(told.send((in_callback, heard.recv_timeout(Duration::from_secs(60)))));
    });
    let nap = |_: ()| thread::sleep(Duration::from_millis(50));
    let outside = futures::executor::block_on(pool.submit(nap, ()));
    awaited.send(outside).expect("the callback waits for it");
    assert_eq!(answer.recv(), Ok((Ok(25), Ok(Ok(())))));
}

#[test]
fn a_pool_outlives_the_thread_that_built_it() {
    let built = thread::spawn(|| pool(2));
    let pool = built.join().expect("it builds a pool");
    let before: BTreeSet<u32> = (0..8).filter_map(|_| pool.submit(own_pid, ()).join().ok()).collect();
    // The kernel would have told the workers of that thread's end before this one heard of it.
    let after: BTreeSet<u32> = (0..8).filter_map(|_| pool.submit(own_pid, ()).join().ok()).collect();
    assert!(!before.is_empty() && !before.is_disjoint(&after), "{before:?} and {after:?}");
}

/// Of what this process has open, what is a file of that name.
fn open_files(name: String) -> usize {
    let open = std::fs::read_dir("/proc/self/fd").expect("/proc").flatten();
    open.filter(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to.ends_with(&name))).count()
}

#[test]
fn a_worker_inherits_nothing_that_its_program_had_open() {
    const TEST: &str = "a_worker_inherits_nothing_that_its_program_had_open";
    if std::env::var_os("INHERITS").is_none() {
        let script = r#"exec 9</etc/passwd; INHERITS=1 exec "$0" --exact "$1" --nocapture"#;
        let own = std::env::current_exe().expect("this test has a file");
        let told = Command::new("sh").arg("-c").arg(script).arg(own).arg(TEST).output().expect("sh");
        assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
        return;
    }
    assert_eq!(open_files("passwd".into()), 1, "a shell has left it open");
    for method in [StartMethod::Fork, StartMethod::Spawn] {
        in_tests();
        let pool = Pool::builder().procs(1).start_method(method).build().expect("a pool");
        assert_eq!(pool.submit(open_files, "passwd".into()).join(), Ok(0), "{method:?}");
    }
}

#[test]
fn a_million_items_are_mapped_in_order_while_workers_are_killed() {
    in_tests();
    let pool = Pool::builder().procs(4).attempts(1_000).build().expect("a pool");
    let (mut killed, mut next) = (BTreeSet::new(), 0);
    for (n, one) in (0_u64..).zip(pool.map(|n: u64| (n * 3, process::id()), 0..1_000_000)) {
        let (value, pid) = one.expect("a worker that was killed is no reason");
        assert_eq!(value, n * 3);
        if n >= next && killed.insert(pid) {
            next = n + 10_000;
            let _ =
                Command::new("kill").args(["-9", &pid.to_string()]).stderr(process::Stdio::null()).status();
        }
    }
    assert!(killed.len() > 20, "{} were killed", killed.len());
}

#[test]
fn a_worker_of_another_build_refuses_to_be_one_and_says_of_which_both_are() {
    let own = std::env::current_exe().expect("this test has a file");
    for role in ["template", "nursery"] {
        let mut worker = Command::new(&own);
        worker.args(["brigade-worker", "0000000000000000", role, "3", "4"]).env("BRIGADE_DEPTH", "1");
        let told = worker.output().expect("it runs");
        let build = format!("{:016x}", brigade_os::text::build_id());
        let words =
            format!("worker is of build {build}, its pool of build 0000000000000000: rebuild or restart\n");
        assert_eq!(String::from_utf8_lossy(&told.stderr), words);
        assert_eq!(told.status.code(), Some(78));
    }
}
