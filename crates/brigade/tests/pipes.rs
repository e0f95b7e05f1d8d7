//! What people rely on in pipes between processes, tried with real ones.

use brigade::connection::wait;
use brigade::{
    Connection, ConnectionError, Executor, Pool, Process, Receiver, Sender, StartMethod, TaskError,
    ThreadExecutor, duplex, pipe,
};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{self, Command};
use std::thread;
use std::time::Duration;

brigade::test_entry!(in_tests);

/// Longer than anything takes, and short enough that a test which hangs says where.
const MINUTE: Duration = Duration::from_secs(60);

fn pool(procs: u32) -> Pool {
    in_tests();
    Pool::builder().procs(procs).build().expect("a pool")
}

/// One whose calls are not tried again.
fn pool_once(procs: u32) -> Pool {
    in_tests();
    Pool::builder().procs(procs).attempts(1).build().expect("a pool")
}

fn signal(name: &str, pid: u32) {
    let told = Command::new("kill").args([name, &pid.to_string()]).status().expect("there is a kill");
    assert!(told.success(), "kill {name} {pid}");
}

fn shout(words: Connection<String, String>) {
    for word in words.iter() {
        words.send(&word.expect("a word").to_uppercase()).expect("somebody reads");
    }
}

fn count(numbers: Sender<u64>) {
    (0..10_000).for_each(|n| numbers.send(&n).expect("somebody reads"));
}

/// Of what `count` sends.
const SUM: u64 = 9_999 * 10_000 / 2;

fn add_up(numbers: Receiver<u64>) -> u64 {
    numbers.iter().map(|n| n.expect("a number")).sum()
}

#[test]
fn items_go_both_ways_in_order_under_both_start_methods() {
    for method in [StartMethod::Fork, StartMethod::Spawn] {
        in_tests();
        let pool = Pool::builder().procs(1).start_method(method).build().expect("a pool");
        let (here, there) = duplex().expect("a pipe");
        let job = pool.submit(shout, there);
        for word in ["hello", "from", "sender"] {
            here.send(&word.to_owned()).expect("it listens");
            assert_eq!(here.recv_timeout(MINUTE).expect("it answers"), word.to_uppercase());
        }
        here.close();
        assert_eq!(job.join(), Ok(()), "{method:?}: the end came");
    }
}

#[test]
fn two_workers_and_two_threads_talk_past_whoever_made_the_pipe() {
    let pool = pool(2);
    let (receiver, sender) = pipe().expect("a pipe");
    let (adding, counting) = (pool.submit(add_up, receiver), pool.submit(count, sender));
    assert_eq!(counting.join(), Ok(()));
    assert_eq!(adding.join(), Ok(SUM));
    let (receiver, sender) = pipe().expect("a pipe");
    let adding = thread::spawn(move || add_up(receiver));
    count(sender);
    assert_eq!(adding.join().expect("it adds"), SUM);
}

/// Hands the end on to a worker of its own, and so on.
fn hand_down((depth, words): (u32, Connection<String, String>)) {
    match depth {
        0 => shout(words),
        _ => pool(1).submit(hand_down, (depth - 1, words)).join().expect("the one below does it"),
    }
}

#[test]
fn an_end_is_handed_down_several_levels() {
    let pool = pool(1);
    let (here, there) = duplex().expect("a pipe");
    let job = pool.submit(hand_down, (2, there));
    here.send(&"deep".to_owned()).expect("it listens");
    assert_eq!(here.recv_timeout(MINUTE).expect("it answers"), "DEEP");
    here.close();
    assert_eq!(job.join(), Ok(()));
}

#[test]
fn a_result_may_bring_an_end_along() {
    let pool = pool(1);
    let job = pool.submit(
        |_: ()| {
            let (receiver, sender) = pipe().expect("a pipe");
            thread::spawn(move || count(sender));
            receiver
        },
        (),
    );
    assert_eq!(add_up(job.join().expect("an end")), SUM);
}

#[test]
fn an_end_that_a_thread_has_returned_is_closed_by_whoever_got_it() {
    let executor = ThreadExecutor::new(1).expect("a thread");
    let job = executor.submit(|_: ()| pipe::<u64>().expect("a pipe"), ());
    let (receiver, sender) = job.join().expect("both ends");
    sender.send(&7).expect("it is open");
    sender.close();
    assert_eq!(receiver.recv_timeout(MINUTE).expect("a number"), 7);
    let error = receiver.recv_timeout(MINUTE).expect_err("nobody has the other end");
    assert!(matches!(error, ConnectionError::Closed), "{error}");
}

/// As many small items as a pipe is said to hold.
fn send_all_it_holds(numbers: Sender<u32>) {
    (0..64).for_each(|n| numbers.send(&n).expect("somebody will read"));
}

#[test]
fn a_child_is_joined_before_anybody_receives_what_it_has_sent() {
    in_tests();
    let (receiver, sender) = pipe().expect("a pipe");
    let child = Process::builder(send_all_it_holds, sender).start().expect("a child");
    assert!(child.join_timeout(MINUTE).is_some(), "it waits for room");
    assert_eq!(receiver.iter().flatten().collect::<Vec<u32>>(), (0..64).collect::<Vec<_>>());
}

fn abort(_: Receiver<u64>) {
    process::abort();
}

#[test]
fn who_is_killed_closes_its_end() {
    let pool = pool_once(2);
    let (receiver, sender) = pipe::<u64>().expect("a pipe");
    let (to_tell, told) = pipe().expect("a pipe");
    let job = pool.submit(
        |(sender, told): (Sender<u64>, Sender<u32>)| {
            told.send(&process::id()).expect("somebody reads");
            thread::sleep(Duration::from_secs(3_600));
            drop(sender);
        },
        (sender, told),
    );
    let pid = to_tell.recv_timeout(MINUTE).expect("it runs");
    assert!(matches!(receiver.recv_timeout(Duration::ZERO), Err(ConnectionError::TimedOut)));
    signal("-9", pid);
    assert!(matches!(receiver.recv_timeout(MINUTE), Err(ConnectionError::Closed)));
    assert!(matches!(receiver.recv(), Err(ConnectionError::Closed)), "and it stays so");
    assert!(job.join().is_err());

    let (receiver, sender) = pipe().expect("a pipe");
    assert!(pool.submit(abort, receiver).join().is_err());
    assert!(matches!(sender.send(&1), Err(ConnectionError::Closed)));
}

#[test]
fn a_process_gets_an_end_and_closes_it_with_its_life() {
    in_tests();
    for method in [StartMethod::Fork, StartMethod::Spawn] {
        let (receiver, sender) = pipe::<u64>().expect("a pipe");
        let send = |sender: Sender<u64>| {
            sender.send(&1).expect("somebody reads");
            thread::sleep(Duration::from_secs(3_600));
        };
        let process = Process::builder(send, sender).start_method(method).start().expect("a process");
        assert_eq!(receiver.recv_timeout(MINUTE).expect("it comes"), 1);
        process.kill();
        assert!(matches!(receiver.recv_timeout(MINUTE), Err(ConnectionError::Closed)), "{method:?}");
    }
}

#[test]
fn who_waits_for_room_hears_that_the_reader_was_killed() {
    let pool = pool_once(1);
    let (receiver, sender) = pipe::<String>().expect("a pipe");
    let (to_tell, told) = pipe().expect("a pipe");
    let job = pool.submit(
        |(_receiver, told): (Receiver<String>, Sender<u32>)| {
            told.send(&process::id()).expect("somebody reads");
            thread::sleep(Duration::from_secs(3_600));
        },
        (receiver, told),
    );
    let pid = to_tell.recv_timeout(MINUTE).expect("it runs");
    let sending = thread::spawn(move || sender.send(&"x".repeat(1_000_000)));
    signal("-9", pid);
    assert!(matches!(sending.join().expect("no panic"), Err(ConnectionError::Closed)));
    assert!(job.join().is_err());
}

#[test]
fn a_broken_pipe_is_an_error_in_a_worker_and_no_signal() {
    let pool = pool_once(1);
    let (receiver, sender) = pipe::<u64>().expect("a pipe");
    drop(receiver);
    let job = pool.submit(
        |sender: Sender<u64>| {
            let told = [sender.send(&1), sender.send(&2)];
            told.iter().all(|told| matches!(told, Err(ConnectionError::Closed)))
        },
        sender,
    );
    assert_eq!(job.join(), Ok(true));
}

fn send_large(sender: Sender<String>) {
    sender.send(&"x".repeat(1_000_000)).expect("somebody reads");
}

#[test]
fn who_is_killed_within_an_item_is_an_error_and_no_hang() {
    let pool = pool_once(1);
    let (receiver, sender) = pipe().expect("a pipe");
    let job = pool.submit(send_large, sender);
    assert!(receiver.poll(MINUTE).expect("poll"), "it has begun, and the pipe holds no more than a part");
    signal("-9", job.pid().expect("it runs"));
    match receiver.recv_timeout(MINUTE) {
        Err(ConnectionError::BrokenOff { there, total }) => {
            assert!(there > 0 && there < total && total > 1_000_000, "{there} of {total}")
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(receiver.recv_timeout(MINUTE), Err(ConnectionError::Closed)));
    assert!(job.join().is_err());
}

#[test]
fn a_call_that_is_tried_again_begins_its_item_again() {
    let pool = pool(1);
    let (receiver, sender) = pipe().expect("a pipe");
    let job = pool.submit(send_large, sender);
    assert!(receiver.poll(MINUTE).expect("poll"));
    signal("-9", job.pid().expect("it runs"));
    let told = receiver.recv_timeout(MINUTE);
    assert!(matches!(told, Err(ConnectionError::BrokenOff { .. })), "{told:?}");
    assert_eq!(receiver.recv_timeout(MINUTE).expect("the second try sends it").len(), 1_000_000);
    assert!(matches!(receiver.recv_timeout(MINUTE), Err(ConnectionError::Closed)));
    assert_eq!(job.join(), Ok(()));
}

/// The first time a large item, and then a small one; and keeps the pipe open.
fn send_large_then_small((sender, mark): (Sender<String>, PathBuf)) {
    if File::create_new(mark).is_ok() {
        return send_large(sender);
    }
    sender.send(&"next".to_owned()).expect("somebody reads");
    thread::sleep(Duration::from_secs(3_600));
}

#[test]
fn a_poll_knows_of_the_item_that_told_of_a_death() {
    let pool = pool(1);
    let (receiver, sender) = pipe::<String>().expect("a pipe");
    let dir = tempfile::tempdir().expect("a directory");
    let job = pool.submit(send_large_then_small, (sender, dir.path().join("begun")));
    assert!(receiver.poll(MINUTE).expect("poll"));
    signal("-9", job.pid().expect("it runs"));
    let told = receiver.recv_timeout(MINUTE);
    assert!(matches!(told, Err(ConnectionError::BrokenOff { .. })), "{told:?}");
    assert!(wait(&[&receiver], Some(Duration::ZERO)).expect("wait").is_empty(), "the pipe is empty");
    assert!(receiver.poll(Duration::ZERO).expect("poll"), "and the item is here");
    assert_eq!(receiver.recv_timeout(MINUTE).expect("the second try's"), "next");
    assert!(job.cancel());
}

#[test]
fn a_hundred_megabytes_go_there_and_back() {
    let pool = pool(1);
    let (here, there) = duplex::<String, String>().expect("a pipe");
    let job = pool.submit(
        |there: Connection<String, String>| {
            let text = there.recv().expect("it comes");
            there.send(&text).expect("it is taken");
        },
        there,
    );
    let text: String = ('a'..='y').cycle().take(100_000_000).collect();
    here.send(&text).expect("it is taken");
    let back = here.recv().expect("it comes back");
    assert!(back == text, "{} bytes came back", back.len());
    assert_eq!(job.join(), Ok(()));
}

#[test]
fn what_came_in_time_is_kept_for_the_next_time() {
    let pool = pool_once(1);
    let (receiver, sender) = pipe().expect("a pipe");
    assert!(!receiver.poll(Duration::ZERO).expect("poll"));
    let job = pool.submit(send_large, sender);
    assert!(receiver.poll(MINUTE).expect("poll"));
    let pid = job.pid().expect("it runs");
    signal("-STOP", pid);
    while receiver.poll(Duration::from_millis(50)).expect("poll") {
        let told = receiver.recv_timeout(Duration::ZERO);
        assert!(matches!(told, Err(ConnectionError::TimedOut)), "{told:?}");
    }
    signal("-CONT", pid);
    assert_eq!(receiver.recv_timeout(MINUTE).expect("the rest comes").len(), 1_000_000);
    assert_eq!(job.join(), Ok(()));
}

#[test]
fn an_end_cannot_be_given_away_within_an_item_nor_be_an_item() {
    let pool = pool_once(1);
    let (receiver, sender) = pipe().expect("a pipe");
    let job = pool.submit(send_large, sender);
    assert!(receiver.poll(MINUTE).expect("poll"));
    signal("-STOP", job.pid().expect("it runs"));
    assert!(matches!(receiver.recv_timeout(Duration::ZERO), Err(ConnectionError::TimedOut)));
    let other = Pool::builder().procs(1).build().expect("a pool");
    let told = other.submit(|_: Receiver<String>| (), receiver).join();
    assert!(
        matches!(&told, Err(TaskError::Encode { message, .. }) if message.contains("receive it first")),
        "{told:?}"
    );
    signal("-KILL", job.pid().expect("it runs"));
    assert!(job.join().is_err());

    let (_outer, to_outer) = pipe::<Sender<u64>>().expect("a pipe");
    let (_inner, to_inner) = pipe::<u64>().expect("a pipe");
    let told = to_outer.send(&to_inner);
    assert!(matches!(told, Err(ConnectionError::Encode { .. })), "{told:?}");
}

/// Waits for what it is told to be ready of these, within a minute.
fn ready(objects: &[&dyn AsFd]) -> Vec<usize> {
    wait(objects, Some(MINUTE)).expect("wait")
}

#[test]
fn wait_tells_which_of_many_kinds_are_ready() {
    in_tests();
    let (receiver, sender) = pipe::<u64>().expect("a pipe");
    let (here, there) = duplex::<u64, u64>().expect("a pipe");
    let (socket, mut its_peer) = UnixStream::pair().expect("a pair");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut child = Command::new("cat")
        .stdin(process::Stdio::piped())
        .stdout(process::Stdio::piped())
        .spawn()
        .expect("cat");
    let output = child.stdout.take().expect("it was asked for");
    let all: [&dyn AsFd; 5] = [&receiver, &here, &socket, &listener, &output];
    for patience in [Duration::ZERO, Duration::from_millis(20)] {
        assert!(wait(&all, Some(patience)).expect("wait").is_empty());
    }
    sender.send(&1).expect("somebody reads");
    assert_eq!(ready(&all), [0]);
    there.send(&2).expect("somebody reads");
    assert_eq!(ready(&all), [0, 1], "all that are ready, in their order");
    assert_eq!((receiver.recv().expect("one"), here.recv().expect("two")), (1, 2));
    its_peer.write_all(b"x").expect("somebody reads");
    assert_eq!(ready(&all), [2]);
    (&socket).read_exact(&mut [0]).expect("one byte");
    let _caller = TcpStream::connect(listener.local_addr().expect("an address")).expect("it listens");
    assert_eq!(ready(&all), [3]);
    drop(listener.accept().expect("somebody calls"));
    child.kill().expect("it runs");
    assert_eq!(wait(&all, None).expect("wait"), [4], "an end is to be heard of, too");
    child.wait().expect("it is ours");
    drop((sender, there, its_peer));
    assert_eq!(ready(&all), [0, 1, 2, 4]);
    let sleep = Process::builder(|_: ()| thread::sleep(Duration::from_secs(3_600)), ()).daemon(true);
    let process = sleep.start().expect("a process");
    let mixed: [&dyn AsFd; 3] = [&listener, &process, &process.sentinel()];
    assert!(wait(&mixed, Some(Duration::ZERO)).expect("wait").is_empty());
    process.kill();
    assert_eq!(ready(&mixed), [1, 2], "a process that has ended, and its sentinel");
    let twice = [&receiver, &receiver];
    assert_eq!(wait(&twice, Some(Duration::MAX)).expect("wait"), [0, 1]);
    assert!(wait(&[] as &[&dyn AsFd], None).expect("wait").is_empty(), "of none, none, and no hang");
}

#[test]
fn a_worker_that_is_stopped_and_continued_goes_on_to_wait() {
    let pool = pool_once(1);
    let (here, there) = duplex::<u64, u64>().expect("a pipe");
    let job = pool.submit(
        |there: Connection<u64, u64>| {
            there.send(&0).expect("somebody reads");
            let told = there.recv_timeout(MINUTE).expect("it comes");
            let more = there.recv().expect("it comes");
            told + more
        },
        there,
    );
    here.recv_timeout(MINUTE).expect("it is about to wait");
    let pid = job.pid().expect("it runs");
    for n in [40, 2] {
        for _ in 0..20 {
            signal("-STOP", pid);
            signal("-CONT", pid);
        }
        here.send(&n).expect("it waits");
    }
    assert_eq!(job.join(), Ok(42));
}

fn tell_and_stay(numbers: Sender<u32>) {
    (0..3).for_each(|n| numbers.send(&n).expect("somebody reads"));
    numbers.close();
    thread::sleep(Duration::from_secs(3_600));
}

#[test]
fn an_end_that_a_process_was_handed_is_nobody_elses() {
    in_tests();
    for method in [StartMethod::Fork, StartMethod::Spawn] {
        let (receiver, sender) = pipe().expect("a pipe");
        let builder = Process::builder(tell_and_stay, sender).daemon(true).start_method(method);
        let process = builder.start().expect("a process");
        let told: Result<Vec<u32>, _> = receiver.iter().collect();
        assert_eq!(told.expect("numbers, and the end"), [0, 1, 2], "{method:?}");
        assert!(process.is_alive());
        process.kill();
        process.join();
    }
    let ends: Vec<_> = (0..300).map(|_| pipe::<u32>().expect("a pipe").1).collect();
    let refused = Process::builder(|_: Vec<Sender<u32>>| (), ends).start().expect_err("too many");
    assert!(refused.to_string().contains("300 shared objects: 249 is the most"), "{refused}");
}
