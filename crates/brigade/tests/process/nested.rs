//! What crosses into processes, and what they may have in turn: arguments of any size, pools, processes ten deep.

use super::in_tests;
use brigade::{
    ConnectionError, Exit, Pool, Process, ProcessError, Receiver, Sender, StartMethod, active_children,
    cpu_count, current_process, parent_process, pipe,
};
use std::process::id;
use std::thread;
use std::time::Duration;

fn started(code: Result<Process, ProcessError>) -> Exit {
    code.expect("it starts").join()
}

#[test]
fn an_argument_may_have_a_hundred_megabytes_or_none_at_all() {
    in_tests();
    for method in [StartMethod::Fork, StartMethod::Spawn] {
        let check = |text: String| assert_eq!(text, "0123456789".repeat(10_000_000));
        let text = "0123456789".repeat(10_000_000);
        assert_eq!(started(Process::builder(check, text).start_method(method).start()), Exit::Code(0));
        assert_eq!(started(Process::builder(|()| (), ()).start_method(method).start()), Exit::Code(0));
    }
}

#[test]
fn the_ends_of_pipes_go_along_and_whoever_started_the_process_keeps_none() {
    in_tests();
    for method in [StartMethod::Fork, StartMethod::Spawn] {
        let (numbers, theirs) = pipe::<u32>().expect("a pipe");
        let (asked, ask) = pipe::<u32>().expect("a pipe");
        let double = |(asked, answers): (Receiver<u32>, Sender<u32>)| {
            for number in asked.iter() {
                answers.send(&(2 * number.expect("a number"))).expect("somebody receives");
            }
        };
        let process =
            Process::builder(double, (asked, theirs)).start_method(method).start().expect("it starts");
        for number in [1, 20] {
            ask.send(&number).expect("somebody receives");
            assert_eq!(numbers.recv().expect("an answer"), 2 * number);
        }
        drop(ask);
        assert_eq!(process.join(), Exit::Code(0), "{method:?}: it saw the end");
        assert!(matches!(numbers.recv(), Err(ConnectionError::Closed)), "{method:?}: and so do we");
    }
}

#[derive(Debug)]
struct Moody(bool);

impl serde::Serialize for Moody {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 {
            return Err(serde::ser::Error::custom("not in the mood"));
        }
        serializer.serialize_bool(self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Moody {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Moody, D::Error> {
        Err(serde::de::Error::custom("never in the mood"))
    }
}

#[test]
fn an_argument_that_cannot_be_written_is_an_error_and_one_that_cannot_be_read_an_exit_code() {
    in_tests();
    let told = Process::builder(|_: Moody| (), Moody(true)).name("bob").start().expect_err("it cannot");
    let told = told.to_string();
    let is_told = told.starts_with("process bob cannot be started: cannot be encoded: ");
    assert!(is_told && told.contains("not in the mood") && told.lines().count() == 1, "{told}");
    assert_eq!(started(Process::builder(|_: Moody| (), Moody(false)).start()), Exit::Code(78));
}

#[test]
fn names_are_counted_as_in_python_and_children_are_listed_until_they_have_ended() {
    in_tests();
    let root = |_: ()| {
        assert_eq!(current_process().name(), "root");
        assert!(active_children().is_empty());
        let wait = |_: ()| thread::sleep(Duration::from_secs(120));
        let all: Vec<Process> =
            (0..3).map(|_| Process::builder(wait, ()).start().expect("it starts")).collect();
        let names = |all: &[Process]| -> Vec<String> { all.iter().map(|it| it.name().to_owned()).collect() };
        let number = |name: &str| name.rsplit(':').next().and_then(|it| it.parse::<u32>().ok());
        assert_eq!(names(&active_children()), names(&all));
        assert!(all.iter().all(|it| it.name().starts_with("Process-")));
        assert_eq!(all.iter().map(|it| number(it.name())).collect::<Vec<_>>(), [Some(1), Some(2), Some(3)]);
        all[1].kill();
        all[1].join();
        assert_eq!(names(&active_children()), [names(&all)[0].clone(), names(&all)[2].clone()]);
        for process in active_children() {
            process.terminate();
            assert_eq!(process.join(), Exit::Signal(15));
        }
        assert!(active_children().is_empty());
    };
    assert_eq!(started(Process::builder(root, ()).name("root").start()), Exit::Code(0));
    assert!(cpu_count() >= 1);
}

#[test]
fn a_process_has_a_pool_whose_workers_have_processes() {
    in_tests();
    let root = |_: ()| {
        let pool = Pool::builder().procs(2).build().expect("a pool");
        let seen = pool.submit(
            |_: ()| {
                let own = current_process();
                let parent = parent_process().expect("a worker has one");
                let child = Process::builder(
                    |(daemon, pid): (bool, u32)| {
                        let own = current_process();
                        assert!(own.daemon() == daemon && parent_process().expect("one").pid() == pid);
                    },
                    (true, id()),
                );
                let exit = child.start().expect("it starts").join();
                (own.name().to_owned(), own.daemon(), parent.name().to_owned(), parent.pid(), exit)
            },
            (),
        );
        let (name, daemon, parent, pid, exit) = seen.join().expect("a result");
        assert!(name.starts_with("worker-") && daemon, "{name}");
        assert_eq!((parent.as_str(), pid, exit), ("root", id(), Exit::Code(0)));
    };
    assert_eq!(started(Process::builder(root, ()).name("root").start()), Exit::Code(0));
}

/// Ends with how deep it got.
fn nest(depth: u8) -> std::process::ExitCode {
    match Process::builder(nest, depth + 1).start() {
        Ok(process) => {
            process.join();
            std::process::ExitCode::from(
                process.exit_code().and_then(|code| code.try_into().ok()).unwrap_or(99),
            )
        }
        Err(error) => {
            assert_eq!(error.to_string(), "processes are nested 10 deep already: 10 is the most");
            std::process::ExitCode::from(depth)
        }
    }
}

#[test]
fn processes_are_nested_ten_deep_and_no_deeper() {
    in_tests();
    assert_eq!(started(Process::builder(nest, 1).start()), Exit::Code(10));
}
