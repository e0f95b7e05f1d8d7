//! What people rely on in processes, tried with real ones. Scenarios after CPython's `_test_multiprocessing.py` and loky's
//! `test_loky_backend.py`; written anew.
//!
//! What is true of a whole program, and not of one process of it, is tried in a process of its own: [`apart`].

use brigade::{
    Exit, Pool, Process, ProcessError, StartMethod, active_children, current_process, parent_process,
};
use brigade_os::{Body, Pid, strays};
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::{Command, ExitCode, Stdio, exit, id};
use std::thread;
use std::time::Duration;

brigade::test_entry!(in_tests);

const METHODS: [StartMethod; 2] = [StartMethod::Fork, StartMethod::Spawn];

/// Longer than any test; whoever waits so long is killed, or has failed.
const LONG: Duration = Duration::from_secs(120);

fn sleep_long(_: ()) {
    thread::sleep(LONG);
}

/// A process that is a program of its own: it has no other children, and its asserts are this test's.
fn apart(scenario: fn(())) {
    in_tests();
    let process = Process::builder(scenario, ()).start().expect("a process");
    let exit = process.join_timeout(LONG);
    process.kill();
    assert_eq!(exit, Some(Exit::Code(0)), "its words are on stderr");
}

/// Waits for a line from each of so many processes that were told the port.
struct Ears {
    listener: TcpListener,
}

impl Ears {
    fn open() -> Ears {
        Ears { listener: TcpListener::bind("127.0.0.1:0").expect("a port") }
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().expect("an address").port()
    }

    /// The line, and the stream: at its end the speaker has ended, or has dropped it.
    fn hear(&self) -> (String, BufReader<TcpStream>) {
        let mut stream = BufReader::new(self.listener.accept().expect("somebody speaks").0);
        stream.get_ref().set_read_timeout(Some(LONG)).expect("a time");
        let mut line = String::new();
        stream.read_line(&mut line).expect("a line");
        (line.trim_end().to_owned(), stream)
    }
}

fn say(port: u16, line: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("somebody listens");
    writeln!(stream, "{line}").expect("it hears");
    stream
}

/// Says its own number, and lives until it is ended.
fn say_pid_and_stay(port: u16) {
    let _stream = say(port, &id().to_string());
    thread::sleep(LONG);
}

fn ended(stream: &mut BufReader<TcpStream>) -> bool {
    // A reset is an end, too.
    stream
        .read_to_string(&mut String::new())
        .map_or_else(|error| error.kind() == io::ErrorKind::ConnectionReset, |_| true)
}

fn kill_9(pid: u32) {
    Body::of(Pid::new(pid.cast_signed()).expect("a number")).expect("it lives").kill_alone();
}

#[test]
fn a_process_has_name_number_and_exit_code_under_both_start_methods() {
    in_tests();
    for method in METHODS {
        let ears = Ears::open();
        let tell = |port: u16| {
            let own = current_process();
            say(port, &format!("{} {} {}", own.name(), own.pid(), parent_process().expect("one").pid()));
        };
        let process = Process::builder(tell, ears.port())
            .name("Herbert")
            .start_method(method)
            .start()
            .expect("it starts");
        assert_eq!(ears.hear().0, format!("Herbert {} {}", process.pid(), id()), "{method:?}");
        assert_eq!(process.join(), Exit::Code(0));
        assert_eq!((process.name(), process.daemon(), process.exit_code()), ("Herbert", false, Some(0)));
    }
}

#[test]
fn every_end_has_the_exit_code_that_python_gives_it() {
    in_tests();
    let code = |function: fn(i32) -> ExitCode, n: i32| {
        METHODS.map(|method| {
            let process = Process::builder(function, n).start_method(method).start().expect("it starts");
            process.join();
            process.exit_code().expect("it has ended")
        })
    };
    assert_eq!(code(|_| ExitCode::SUCCESS, 0), [0, 0]);
    assert_eq!(code(|n| ExitCode::from(n as u8), 7), [7, 7]);
    assert_eq!(code(|n| exit(n), 42), [42, 42]);
    assert_eq!(code(|n| panic!("{n} on purpose"), 1), [101, 101]);
    assert_eq!(code(|_| std::process::abort(), 0), [-6, -6]);
    let failed = Process::builder(|_: ()| Err::<(), _>("as main may"), ()).start().expect("it starts");
    failed.join();
    assert_eq!(failed.exit_code(), Some(1));
}

#[test]
fn a_running_process_is_alive_and_has_no_exit_code_and_cannot_be_closed() {
    in_tests();
    for method in METHODS {
        let process = Process::builder(sleep_long, ()).start_method(method).start().expect("it starts");
        assert_eq!((process.is_alive(), process.exit_code()), (true, None));
        assert_eq!(process.join_timeout(Duration::ZERO), None);
        let told = process.clone().close().expect_err("it runs still");
        assert_eq!(
            told.to_string(),
            format!(
                "{} (pid {}) runs still: join, terminate or kill it before it is closed",
                process.name(),
                process.pid()
            )
            .replacen("", "process ", 1)
        );
        let ProcessError::Running(process) = told else { panic!("{told}") };
        process.kill();
        assert_eq!(process.join(), Exit::Signal(9));
        assert_eq!(
            (process.is_alive(), process.exit_code(), process.join()),
            (false, Some(-9), Exit::Signal(9))
        );
        // Of a dead one they are nothing.
        process.terminate();
        process.kill();
        process.close().expect("it has ended");
    }
}

#[test]
fn the_sentinel_is_readable_when_the_process_has_ended() {
    in_tests();
    let process = Process::builder(sleep_long, ()).start().expect("it starts");
    let waited = brigade_os::post::Post::from_fd(process.as_fd().try_clone_to_owned().expect("a duplicate"));
    drop(waited);
    let held = Body::of(Pid::new(process.pid().cast_signed()).expect("a number")).expect("it lives");
    assert!(!held.has_ended());
    process.terminate();
    let fdinfo = format!("/proc/self/fdinfo/{}", std::os::fd::AsRawFd::as_raw_fd(&process.sentinel()));
    let info = fs::read_to_string(fdinfo).expect("it is open");
    assert!(info.contains(&format!("Pid:\t{}\n", process.pid())), "{info}");
    assert!(held.await_end(Some(LONG)) && process.exit_code() == Some(-15));
}
