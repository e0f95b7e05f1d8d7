//! What people rely on in processes, tried with real ones. Scenarios after CPython's `_test_multiprocessing.py` and loky's
//! `test_loky_backend.py`; written anew.
//!
//! What is true of a whole program, and not of one process of it, is tried in a process of its own: [`apart`].

use brigade::{Exit, Process, ProcessError, StartMethod, active_children, current_process, parent_process};
use brigade_os::post::{Post, Received};
use brigade_os::{Body, Pid};
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitCode, Stdio, exit, id};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

mod ends;
mod nested;

brigade::test_entry!(in_tests);

const METHODS: [StartMethod; 2] = [StartMethod::Fork, StartMethod::Spawn];

/// Longer than any test; whoever waits so long is killed, or has failed.
const LONG: Duration = Duration::from_secs(60);

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

/// Hears a line from each of the processes that were told the port.
struct Ears {
    port: u16,
    streams: Receiver<TcpStream>,
}

impl Ears {
    fn open() -> Ears {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (sender, streams) = channel();
        thread::spawn(move || listener.incoming().flatten().all(|stream| sender.send(stream).is_ok()));
        Ears { port, streams }
    }

    /// The line, and the stream: at its end the speaker has ended, or has dropped it.
    fn hear(&self) -> (String, BufReader<TcpStream>) {
        let mut stream = BufReader::new(self.streams.recv_timeout(LONG).expect("somebody speaks"));
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

#[test]
fn a_process_has_name_number_and_exit_code_under_both_start_methods() {
    in_tests();
    for method in METHODS {
        let ears = Ears::open();
        let tell = |port: u16| {
            let own = current_process();
            say(port, &format!("{} {} {}", own.name(), own.pid(), parent_process().expect("one").pid()));
        };
        let process = Process::builder(tell, ears.port)
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
        let told = process.clone().close().expect_err("it is still running");
        let words = "is still running: join, terminate or kill it before it is closed";
        assert_eq!(told.to_string(), format!("process {} (pid {}) {words}", process.name(), process.pid()));
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
    // A pidfd is for poll alone; what polls here is a reader of something else that takes any descriptor.
    let sentinel = Post::from_fd(process.as_fd().try_clone_to_owned().expect("a duplicate"));
    assert!(matches!(sentinel.receive(Some(Duration::ZERO)), Ok(Received::Nothing)));
    process.terminate();
    assert!(sentinel.receive(Some(LONG)).is_err(), "it is readable, and there is nothing to read");
    assert_eq!(process.exit_code(), Some(-15));
}

/// The children of this process, dead ones included, that bear such a name.
fn children_named(wanted: &str) -> Vec<u32> {
    let tasks = fs::read_dir("/proc/self/task").expect("/proc").flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let pids: Vec<u32> = lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect();
    pids.into_iter().filter(|pid| brigade_os::proc::name(*pid) == wanted).collect()
}

fn template() -> u32 {
    let found = children_named("process-nursery");
    assert_eq!(found.len(), 1, "one template for all");
    found[0]
}

#[test]
fn whoever_kills_the_template_harms_no_child_and_no_later_start() {
    apart(|()| {
        let ears = Ears::open();
        let first = Process::builder(say_pid_and_stay, ears.port).start().expect("it starts");
        let _stream = ears.hear().1;
        for signal in ["-INT", "-TERM", "-STOP", "-KILL"] {
            let before = template();
            let killed = Command::new("kill").args([signal, &before.to_string()]).status().expect("kill");
            assert!(killed.success());
            if signal == "-KILL" {
                let body = Body::of(Pid::new(before.cast_signed()).expect("a number"));
                assert!(body.is_ok_and(|body| body.await_end(Some(LONG))));
            }
            let next = Process::builder(say_pid_and_stay, ears.port).start().expect("the next one starts");
            assert_eq!(ears.hear().0, next.pid().to_string());
            // What a terminal sends to everybody ends the program or not; the template is not asked.
            let is_lost = ["-STOP", "-KILL"].contains(&signal);
            assert_eq!(template() != before, is_lost, "{signal}");
            assert!(first.is_alive());
            next.kill();
            next.join();
        }
        first.kill();
        assert_eq!(first.join(), Exit::Signal(9));
    });
}

#[test]
fn a_template_that_is_killed_in_the_middle_of_a_birth_costs_no_child() {
    apart(|()| {
        Process::builder(|_: ()| (), ()).start().expect("it starts").join();
        for pace in (0..100).map(|n| Duration::from_micros(4 * n)) {
            let body = Body::of(Pid::new(template().cast_signed()).expect("a number")).expect("it lives");
            let killer = thread::spawn(move || {
                // A pace: the birth has come so far.
                thread::sleep(pace);
                body.kill_alone();
            });
            let process = Process::builder(ExitCode::from, 7_u8).name("stormy").start().expect("it starts");
            assert_eq!(process.join(), Exit::Code(7));
            killer.join().expect("no panic");
            // Whether it was before or after: there is one when the next begins.
            Process::builder(|_: ()| (), ()).start().expect("it starts").join();
        }
        assert!(active_children().is_empty() && children_named("stormy").is_empty());
    });
}

#[test]
fn a_hundred_are_started_at_once_and_terminated_a_millisecond_later() {
    in_tests();
    let one = |_| {
        thread::spawn(|| {
            let process = Process::builder(sleep_long, ()).start().expect("it starts");
            // A pace: some have called their function by then, others have not.
            thread::sleep(Duration::from_millis(1));
            process.terminate();
            process.join();
            process.exit_code()
        })
    };
    let all: Vec<_> = (0..100).map(one).collect();
    let codes: Vec<_> = all.into_iter().map(|one| one.join().expect("no panic")).collect();
    assert_eq!(codes, [Some(-15); 100]);
}

/// What this process has open, by number.
fn open_files() -> Vec<(String, String)> {
    let own = format!("/proc/{}/fd", id());
    let mut open: Vec<_> = fs::read_dir(&own)
        .expect("/proc")
        .flatten()
        .filter_map(|fd| {
            let to = fs::read_link(fd.path()).ok()?.display().to_string();
            Some((fd.file_name().to_string_lossy().into_owned(), to))
        })
        // What it is being read by.
        .filter(|(_, to)| *to != own)
        .collect();
    open.sort();
    open
}

#[test]
fn a_child_has_nothing_open_but_its_stdio_however_many_others_there_are() {
    in_tests();
    for method in METHODS {
        let others: Vec<_> = (0..20)
            .map(|_| Process::builder(sleep_long, ()).start_method(method).start().expect("it starts"))
            .collect();
        let look = |_: ()| {
            let open = open_files();
            let numbers: Vec<&str> = open.iter().map(|(number, _)| number.as_str()).collect();
            assert_eq!(numbers, ["0", "1", "2"], "{open:?}");
            assert_eq!(open[0].1, "/dev/null");
        };
        let process = Process::builder(look, ()).start_method(method).start().expect("it starts");
        assert_eq!(process.join(), Exit::Code(0), "{method:?}");
        others.iter().for_each(Process::kill);
        assert!(others.iter().all(|other| other.join() == Exit::Signal(9)));
    }
}

#[test]
fn processes_that_nobody_joins_leave_nothing_behind_in_their_parent() {
    apart(|()| {
        Process::builder(|_: ()| (), ()).start().expect("it starts").join();
        assert!(active_children().is_empty());
        let before = open_files().len();
        for _ in 0..100 {
            drop(Process::builder(|_: ()| (), ()).name("short").start().expect("it starts"));
        }
        assert!(children_named("short").len() < 100, "the dead are reaped by later starts");
        for process in active_children() {
            process.join();
        }
        assert!(active_children().is_empty() && children_named("short").is_empty());
        assert_eq!(open_files().len(), before);
    });
}

/// Signals that have names; what a workplace does with those of real time is its own affair.
const NAMED: u64 = 0x7FFF_FFFF;

/// A field of the status of this process, a set of signals.
fn signals(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("/proc");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("it is there");
    u64::from_str_radix(line.trim(), 16).expect("a set") & NAMED
}

/// Runs a test again, alone, in a program that is begun in such a way; what it wrote.
fn again(test: &str, how: &str) -> (Exit, String, String) {
    let script = format!(r#"AGAIN=1 exec {how} "$0" --exact "$1" --nocapture --test-threads 1"#);
    let own = std::env::current_exe().expect("this test has a file");
    let told = Command::new("sh").arg("-c").arg(script).arg(own).arg(test).stdin(Stdio::null()).output();
    let told = told.expect("a shell");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (Exit::Code(told.status.code().unwrap_or(-1)), text(told.stdout), text(told.stderr))
}

fn is_again() -> bool {
    std::env::var_os("AGAIN").is_some()
}

#[test]
fn a_child_blocks_no_signal_and_ignores_none_that_would_end_it() {
    const TEST: &str = "a_child_blocks_no_signal_and_ignores_none_that_would_end_it";
    if !is_again() {
        // Whoever started this test may ignore SIGHUP, as nohup does.
        let (exit, _, stderr) = again(TEST, "env --default-signal --ignore-signal=TERM,USR1,TSTP");
        return assert_eq!(exit, Exit::Code(0), "{stderr}");
    }
    in_tests();
    // In this thread only; the child is none of its.
    brigade_os::signals::hold_back();
    assert_ne!((signals("SigBlk:"), signals("SigIgn:") & (1 << 14)), (0, 0));
    for method in METHODS {
        let look = |_: ()| {
            const SIGPIPE: u64 = 1 << 12;
            assert_eq!((signals("SigBlk:"), signals("SigIgn:") & !SIGPIPE), (0, 0));
            assert_eq!(signals("SigCgt:") & (1 << 14), 0);
        };
        let process = Process::builder(look, ()).start_method(method).start().expect("it starts");
        assert_eq!(process.join(), Exit::Code(0), "{method:?}");
    }
}

/// The process group of this process.
fn group() -> u32 {
    let stat = fs::read_to_string("/proc/self/stat").expect("/proc");
    let fields = &stat[stat.rfind(')').expect("a name") + 1..];
    fields.split_whitespace().nth(2).and_then(|group| group.parse().ok()).expect("a group")
}

#[test]
fn a_child_writes_where_its_parent_writes_and_stands_where_it_stands() {
    const TEST: &str = "a_child_writes_where_its_parent_writes_and_stands_where_it_stands";
    if !is_again() {
        let (exit, stdout, stderr) = again(TEST, "");
        assert_eq!(exit, Exit::Code(0), "{stderr}");
        assert_eq!(stdout.matches("hello from Fork in /, as bob\n").count(), 1, "{stdout}");
        assert_eq!(stdout.matches("hello from Spawn in /, as bob\n").count(), 1, "{stdout}");
        assert_eq!(stderr, "a word of Fork\na word of Spawn\n");
        return;
    }
    in_tests();
    // The template is there before the directory is another.
    Process::builder(|_: ()| (), ()).start().expect("it starts").join();
    std::env::set_current_dir("/").expect("there is a root");
    for method in METHODS {
        let greet = |(method, parents): (String, u32)| {
            assert_eq!(group(), parents);
            let dir = std::env::current_dir().expect("a directory");
            println!("hello from {method} in {}, as {}", dir.display(), current_process().name());
            eprintln!("a word of {method}");
            assert_eq!(io::stdin().read_to_string(&mut String::new()).expect("nothing to read"), 0);
        };
        let told = (format!("{method:?}"), group());
        let process =
            Process::builder(greet, told).name("bob").start_method(method).start().expect("it starts");
        assert_eq!(process.join(), Exit::Code(0));
    }
}

#[test]
fn a_program_that_was_started_without_stdio_has_children() {
    const TEST: &str = "a_program_that_was_started_without_stdio_has_children";
    if !is_again() {
        let (exit, ..) = again(TEST, "0<&- 1>&- 2>&-");
        return assert_eq!(exit, Exit::Code(0));
    }
    in_tests();
    for method in METHODS {
        let speak = |_: ()| {
            println!("to nobody");
            eprintln!("to nobody");
        };
        let process = Process::builder(speak, ()).start_method(method).start().expect("it starts");
        assert_eq!(process.join(), Exit::Code(0), "{method:?}");
    }
}

/// Says something, and waits to be told to go on.
fn say_and_wait(port: u16, what: &str) {
    let mut stream = BufReader::new(say(port, what));
    assert_eq!(stream.read_line(&mut String::new()).expect("a word"), "go on\n".len());
}

fn tell(stream: &mut BufReader<TcpStream>) {
    writeln!(stream.get_mut(), "go on").expect("it hears");
}

#[test]
fn a_process_outlives_the_thread_that_has_started_it() {
    in_tests();
    let ears = Ears::open();
    let port = ears.port;
    let daemonic = move || {
        Process::builder(|port| say_and_wait(port, "here"), port).daemon(true).start().expect("it starts")
    };
    let process = thread::spawn(daemonic).join().expect("no panic");
    let (_, mut stream) = ears.hear();
    tell(&mut stream);
    assert_eq!(process.join(), Exit::Code(0));
}

#[test]
fn a_program_that_was_told_to_ignore_its_children_knows_their_exit_codes() {
    const TEST: &str = "a_program_that_was_told_to_ignore_its_children_knows_their_exit_codes";
    if !is_again() {
        let (exit, _, stderr) = again(TEST, "env --ignore-signal=CHLD");
        return assert_eq!(exit, Exit::Code(0), "{stderr}");
    }
    in_tests();
    assert_ne!(signals("SigIgn:") & (1 << 16), 0);
    let process = Process::builder(ExitCode::from, 7_u8).start().expect("it starts");
    assert_eq!(process.join(), Exit::Code(7));
}

#[test]
fn a_signal_that_a_program_hears_ends_no_wait() {
    apart(|()| {
        // Whatever the handler does: the system call is interrupted.
        brigade_os::signals::hear_reopen().expect("a handler");
        let ears = Ears::open();
        let process =
            Process::builder(|port| say_and_wait(port, "here"), ears.port).start().expect("it starts");
        let (_, mut stream) = ears.hear();
        let interrupts = thread::spawn(move || {
            for _ in 0..20 {
                let killed = Command::new("kill").args(["-USR1", &id().to_string()]).status().expect("kill");
                assert!(killed.success());
            }
            tell(&mut stream);
        });
        let began_ns = brigade_os::clock::monotonic_ns();
        let within = Duration::from_millis(10);
        let is_over = process.join_timeout(within).is_some();
        let took = Duration::from_nanos(brigade_os::clock::monotonic_ns() - began_ns);
        assert!(is_over || took >= within, "{took:?}");
        assert_eq!(process.join(), Exit::Code(0));
        interrupts.join().expect("no panic");
        assert!(brigade_os::signals::asked_to_reopen(), "it was heard");
    });
}

#[test]
fn what_a_terminal_sends_reaches_a_program_and_its_children() {
    const TEST: &str = "what_a_terminal_sends_reaches_a_program_and_its_children";
    in_tests();
    if let Some(port) = std::env::var("PORT").ok().and_then(|port| port.parse().ok()) {
        let started = Process::builder(say_pid_and_stay, port).start().expect("it starts");
        started.join();
    }
    let ears = Ears::open();
    let own = std::env::current_exe().expect("this test has a file");
    // Whoever has started the tests in the background of a script has them ignore SIGINT, and so would whom they start.
    let mut command = Command::new("env");
    command.arg("--default-signal=INT").arg(own).args(["--exact", TEST]).env("PORT", ears.port.to_string());
    let mut program = command.process_group(0).stdout(Stdio::null()).spawn().expect("it starts");
    let (_, mut stream) = ears.hear();
    let killed = Command::new("kill").args(["-INT", "--", &format!("-{}", program.id())]).status();
    assert!(killed.expect("kill").success());
    assert_eq!(program.wait().expect("it is ours").signal(), Some(2));
    assert!(ended(&mut stream));
}

fn send_numbers(numbers: brigade::Sender<u32>) {
    (0..3).for_each(|n| numbers.send(&n).expect("somebody reads"));
    drop(numbers);
    sleep_long(());
}

#[test]
fn what_is_given_to_a_process_is_its_own_alone() {
    in_tests();
    for method in METHODS {
        let (numbers, sender) = brigade::pipe().expect("a pipe");
        let process = Process::builder(send_numbers, sender).daemon(true).start_method(method).start();
        let process = process.expect("a process");
        let got: Vec<u32> = numbers.iter().map(|n| n.expect("a number")).collect();
        assert_eq!(
            got,
            [0, 1, 2],
            "and the end, although the process lives: nobody keeps what was given away"
        );
        assert!(process.is_alive());
        process.kill();
        process.join();
    }
}

#[test]
fn processors_that_this_process_may_not_use_are_not_counted() {
    const TEST: &str = "processors_that_this_process_may_not_use_are_not_counted";
    if is_again() {
        return assert_eq!(brigade::cpu_count(), 1);
    }
    let status = fs::read_to_string("/proc/self/status").expect("/proc");
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("a list");
    let first = allowed.trim().split([',', '-']).next().expect("one at least");
    let (exit, _, stderr) = again(TEST, &format!("taskset -c {first}"));
    assert_eq!(exit, Exit::Code(0), "{stderr}");
}
