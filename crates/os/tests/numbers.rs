//! What takes a process of its own: a fork beside another thread, a parent that is dead too soon, and numbers that the
//! kernel gives away again.
//!
//! The process is this very test binary: the ignored tests are the parts that it plays, and the others start it.

use brigade_os::page::Pages;
use brigade_os::{Body, Pid, birth, clock};
use brigade_wire::{Exit, SlotId};
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt, parent_id};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

/// Longer than anything here takes; reached only when something hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a part is told; nobody plays one who is told nothing.
const TOLD: &str = "BRIGADE_OS_TOLD";

/// Waits for a fact.
#[track_caller]
fn eventually<T>(what: &str, mut fact: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = fact() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// This binary in one of its parts.
fn part(name: &str, told: &str) -> Command {
    let mut command = Command::new(env::current_exe().expect("this test has a file"));
    command.args(["--ignored", "--exact", name, "--nocapture", "--test-threads=1"]).env(TOLD, told);
    command
}

/// The same as PID 1 of a namespace of its own; `None`, said aloud, where that cannot be had.
fn in_own_namespace(name: &str) -> Option<Output> {
    let unshare = |program: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--pid", "--fork", "--mount-proc", program]);
        command.stdin(Stdio::null());
        command
    };
    let probe = unshare("sh").args(["-c", "echo 100 > /proc/sys/kernel/ns_last_pid"]).output();
    if !probe.as_ref().is_ok_and(|probe| probe.status.success()) {
        let _ = writeln!(std::io::stderr(), "SKIPPED: {name}: numbers cannot be chosen here: {probe:?}");
        return None;
    }
    let part = part(name, "yes");
    let mut command = unshare(&part.get_program().to_string_lossy());
    command.args(part.get_args()).env(TOLD, "yes");
    Some(command.output().expect("it was started before"))
}

#[track_caller]
fn assert_played(output: &Output) {
    let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}

fn state(pid: Pid) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat[stat.rfind(')')? + 2..].chars().next()
}

/// Somebody who leads a group and gives back what it is given.
struct Cat {
    child: Child,
    pid: Pid,
}

impl Cat {
    fn new() -> Cat {
        let mut command = Command::new("cat");
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = command.spawn().expect("cat");
        let pid = Pid::new(child.id().cast_signed()).expect("a child has a pid");
        Cat { child, pid }
    }

    /// Somebody else, who gets the number of one who is dead and reaped. Only in a namespace where nobody else is born.
    fn stranger(number: Pid) -> Cat {
        fs::write("/proc/sys/kernel/ns_last_pid", (number.number() - 1).to_string()).expect("it was tried");
        let cat = Cat::new();
        assert_eq!(cat.pid, number, "the kernel gives out the next number");
        cat
    }

    fn end(mut self) {
        self.child.kill().expect("our child");
        self.child.wait().expect("our child");
    }

    /// Whatever signal it was sent before, it is neither dead nor stopped.
    #[track_caller]
    fn assert_unharmed(mut self) {
        self.child.stdin.take().expect("piped").write_all(b"purr").expect("it is there to read");
        let (mut stdout, (tell, told)) = (self.child.stdout.take().expect("piped"), mpsc::channel());
        thread::spawn(move || {
            let mut said = String::new();
            let _ = stdout.read_to_string(&mut said);
            tell.send(said)
        });
        assert_eq!(told.recv_timeout(PATIENCE).as_deref(), Ok("purr"), "a stranger was harmed");
        assert!(self.child.wait().expect("our child").success(), "a stranger was harmed");
    }
}

// Forks.

#[test]
#[ignore = "a part: it forks, beside another thread"]
fn forker() {
    if env::var(TOLD).is_err() {
        return;
    }
    let pages = Pages::create(1).expect("a memfd");
    // The harness's own thread is beside this one.
    match birth::fork_sibling(&pages, SlotId(0), None) {
        Ok(birth::Side::Child) => birth::leave(0),
        Ok(birth::Side::Template(pid)) => println!("\nborn: {pid}"),
        Err(error) => println!("\nrefused: {error}; on the page: {:?}", pages.pid(SlotId(0))),
    }
}

#[test]
fn a_process_with_a_second_thread_refuses_to_fork() {
    let output = part("forker", "yes").output().expect("this test can be started twice");
    assert_played(&output);
    let told = String::from_utf8_lossy(&output.stdout);
    let words = "refused: only a process with one thread may fork; on the page: None";
    assert!(told.lines().any(|line| line == words), "{told}");
}

// Bonds.

#[test]
#[expect(clippy::zombie_processes, reason = "whoever starts the late one is to end before it")]
#[ignore = "a part: it leaves a child behind that asks for its bond too late"]
fn short_parent() {
    let Ok(told) = env::var(TOLD) else { return };
    let mut late = part("late_child", &std::process::id().to_string());
    late.stdout(fs::File::create(&told).expect("a file")).stderr(Stdio::null());
    late.spawn().expect("this test can be started twice");
}

#[test]
#[ignore = "a part: it asks to die with a parent that is dead"]
fn late_child() {
    let Ok(told) = env::var(TOLD) else { return };
    let parent: i32 = told.parse().expect("a number");
    eventually("the parent is dead", || (parent_id() != parent.cast_unsigned()).then_some(()));
    let bound = birth::die_with(Pid::new(parent).expect("a pid"));
    println!("\nbound: {:?}", bound.map_err(|error| error.to_string()));
}

#[test]
fn a_child_that_asks_to_die_with_a_parent_that_is_dead_already_is_told_so() {
    let said = env::temp_dir().join(format!("brigade-os-late-{}", std::process::id()));
    let output = part("short_parent", &said.display().to_string()).output().expect("it can be started");
    let told = eventually("the late one has asked", || {
        let told = fs::read_to_string(&said).ok()?;
        told.contains("test result").then_some(told)
    });
    fs::remove_file(&said).expect("it is ours");
    assert_played(&output);
    assert!(told.lines().any(|line| line == r#"bound: Err("the supervisor is gone")"#), "{told}");
}

// Numbers.

#[test]
#[ignore = "a part: PID 1 of a namespace in which a number is given away twice"]
fn holder() {
    if env::var(TOLD).is_err() {
        return;
    }
    let Cat { child: _reaped_by_its_body, pid } = Cat::new();
    let body = Body::of(pid).expect("it lives");
    body.kill();
    assert_eq!(body.reap(), Exit::Signal(9));
    let stranger = Cat::stranger(pid);
    body.kill();
    body.abort(None);
    body.abort(Some(pid));
    body.terminate();
    body.reopen_log();
    body.sweep_group();
    assert!(body.pause(), "whoever has the number now is not stopped");
    stranger.assert_unharmed();
}

#[test]
fn no_signal_reaches_a_stranger_that_got_the_number_of_the_dead() {
    in_own_namespace("holder").iter().for_each(assert_played);
}

#[test]
#[ignore = "a part: a guard that waits for the end of a leader"]
fn guard() {
    let Ok(told) = env::var(TOLD) else { return };
    birth::end_groups(Pid::new(told.parse().expect("a number")).into_iter(), clock::boot_ticks(), true);
}

#[test]
#[ignore = "a part: PID 1 of a namespace in which a guard waits longer than a number lasts"]
fn long_wait() {
    if env::var(TOLD).is_err() {
        return;
    }
    let leader = Cat::new();
    let pid = leader.pid;
    let mut guard = part("guard", &pid.to_string()).process_group(0).spawn().expect("it can be started");
    let own = Pid::new(guard.id().cast_signed()).expect("a pid");
    let holds = || {
        let open = fs::read_dir(format!("/proc/{own}/fd")).ok()?.flatten();
        let mut open = open.filter_map(|entry| fs::read_link(entry.path()).ok());
        open.any(|to| to.to_string_lossy().contains("pidfd")).then_some(())
    };
    eventually("the guard holds the leader", holds);
    let body = Body::of(own).expect("it lives");
    assert!(body.pause());
    eventually("the guard is stopped", || (state(own) == Some('T')).then_some(()));
    leader.end();
    let stranger = Cat::stranger(pid);
    body.go_on();
    assert!(guard.wait().expect("our child").success(), "it has swept what it held");
    stranger.assert_unharmed();
}

#[test]
fn a_guard_ends_nobody_who_was_started_after_its_last_birth() {
    let (mut own, last_birth) = (Cat::new(), clock::boot_ticks());
    eventually("the next tick", || (clock::boot_ticks() > last_birth).then_some(()));
    let stranger = Cat::new();
    birth::end_groups([own.pid, stranger.pid].into_iter(), last_birth, false);
    assert_eq!(own.child.wait().expect("our child").signal(), Some(9));
    stranger.assert_unharmed();
}

#[test]
fn a_guard_that_waited_longer_than_a_number_lasts_ends_no_stranger() {
    in_own_namespace("long_wait").iter().for_each(assert_played);
}
