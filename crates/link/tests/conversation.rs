//! What ipc-channel would let a worker do to the supervisor, and that it cannot. A worker that is stopped is one
//! that does not read: here it is an end that nobody reads, which is the same to the sender.

use brigade_link::{
    Death, Door, Ear, Ends, Heard, Link, Sent, WINDOW_FRAMES, Wanted, WorkerEnd, conversation,
};
use brigade_wire::{Attempt, Call, Ended, Ending, Exit, FRAME_BYTES_MAX, TaskId};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

/// Longer than anything here takes on the slowest machine; reached only when something hangs.
const PATIENCE: Duration = Duration::from_secs(30);

const DEATH: Death = Death { exit: Exit::Signal(9), running: vec![], since_ns: None, at_ns: 1 };

fn large_call(task: u64) -> Call {
    Call { task: TaskId(task), attempt: Attempt::FIRST, args: vec![7; FRAME_BYTES_MAX - 100] }
}

fn ended(task: u64) -> Ended {
    let ending = Ending::Value(vec![1; 8]);
    Ended { task: TaskId(task), attempt: Attempt::FIRST, elapsed_ns: 1, ending }
}

fn listen(ear: Ear) -> Receiver<Heard> {
    let (sender, heard) = channel();
    ear.listen("ear".into(), move |said| drop(sender.send(said))).expect("a thread");
    heard
}

/// Does it on a thread of its own: a test that would hang fails instead.
fn within_patience<T: Send + 'static>(what: &str, act: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, done) = channel();
    thread::spawn(move || drop(sender.send(act())));
    done.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{what} blocked for {PATIENCE:?}"))
}

fn send(link: &mut Link, calls: impl IntoIterator<Item = Call>) -> Sent {
    let packets = link.pack(calls.into_iter().map(|call| (call.task, || call)));
    link.run(packets)
}

fn filled(mut link: Link) -> (Link, Sent) {
    within_patience("sending to a worker that does not read", move || {
        let sent = send(&mut link, (0..100).map(large_call));
        (link, sent)
    })
}

#[test]
fn a_stopped_worker_never_blocks_the_sender() {
    let (link, _ear, _tombstone, _unread) = conversation().unwrap();
    let (_, sent) = filled(link);
    let Sent::Full(tasks) = sent else { panic!("{sent:?}") };
    assert!(tasks.len() as u32 >= 100 - WINDOW_FRAMES, "one call a frame, at most {WINDOW_FRAMES} frames");
    assert_eq!(tasks.last(), Some(&TaskId(99)));
    assert!(tasks.is_sorted(), "handed back in order");
}

#[test]
fn stop_fits_into_the_reserve_of_a_stopped_worker() {
    let (link, _ear, _tombstone, unread) = conversation().unwrap();
    let (mut link, _) = filled(link);
    within_patience("STOP", move || link.stop());
    let mut worker = WorkerEnd::from(unread);
    let mut last = None;
    while let Some(command) = worker.receive().unwrap() {
        last = Some(command);
    }
    assert_eq!(last, Some(Wanted::Stop), "the sentinel is the last thing said");
}

#[test]
fn credit_comes_back_as_the_worker_counts_it_and_not_before() {
    let (mut link, _ear, _tombstone, _unread) = conversation().unwrap();
    let frames = match send(&mut link, (0..100).map(large_call)) {
        Sent::Full(tasks) => 100 - tasks.len() as u32,
        other => panic!("{other:?}"),
    };
    assert!(matches!(send(&mut link, [large_call(1)]), Sent::Full(_)));
    link.credit(1).unwrap();
    assert_eq!(send(&mut link, [large_call(1)]), Sent::All, "one frame of room");
    assert!(matches!(send(&mut link, [large_call(2)]), Sent::Full(_)));
    assert!(link.credit(frames + 2).is_err(), "more than was sent");
    assert!(link.credit(0).is_err(), "fewer than before");
}

#[test]
fn a_worker_that_is_gone_hands_back_everything() {
    let (mut link, _ear, _tombstone, ends) = conversation().unwrap();
    drop(ends);
    let Sent::Gone(tasks) = send(&mut link, (0..3).map(large_call)) else { panic!("sent to nobody") };
    assert_eq!(tasks, [TaskId(0), TaskId(1), TaskId(2)]);
}

#[test]
fn death_is_the_last_message_even_in_a_flood() {
    for round in 0..50 {
        let (_link, ear, tombstone, ends) = conversation().unwrap();
        let heard = listen(ear);
        let flood = thread::spawn(move || say_many(ends, 2_000));
        let _ends = flood.join().unwrap();
        thread::spawn(move || tombstone.post(DEATH));
        let mut tasks = 0;
        loop {
            match heard.recv_timeout(PATIENCE).expect("the death was not heard") {
                Heard::Done { ended, .. } => tasks += ended.len(),
                Heard::Gone(death) => break assert_eq!(death, DEATH),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(tasks, 2_000, "round {round}: results that were sent before the death were lost");
        assert!(heard.recv().is_err(), "something was heard after the death");
    }
}

/// Keeps its ends open, as a worker's forked grandchild does.
fn say_many(ends: Ends, tasks: u64) -> WorkerEnd {
    let mut worker = WorkerEnd::from(ends);
    for task in 0..tasks {
        worker.report(ended(task)).expect("the ear lives");
    }
    worker.consumed().expect("the ear lives");
    worker
}

#[test]
fn a_grandchild_that_holds_the_channel_does_not_delay_the_death() {
    let (_link, ear, tombstone, held_open) = conversation().unwrap();
    let heard = listen(ear);
    tombstone.post(DEATH);
    assert!(matches!(heard.recv_timeout(PATIENCE), Ok(Heard::Gone(_))));
    drop(held_open);
}

#[test]
fn a_birth_that_came_to_nothing_ends_the_ear_without_a_word() {
    let (_link, ear, tombstone, ends) = conversation().unwrap();
    let heard = listen(ear);
    drop(ends);
    tombstone.discard();
    assert!(within_patience("the ear", move || heard.recv()).is_err(), "it said something");
}

#[test]
fn what_lies_in_a_mouth_leaves_at_the_second_look_and_what_moves_is_left_alone() {
    let (_link, ear, _tombstone, ends) = conversation().unwrap();
    let heard = listen(ear);
    let mut worker = WorkerEnd::from(ends);
    let mouth = worker.mouth();
    assert_eq!(mouth.flush_old(None).unwrap(), None, "nothing lies there");
    worker.report(ended(1)).unwrap();
    let first = mouth.flush_old(None).unwrap();
    worker.flush().unwrap();
    worker.report(ended(2)).unwrap();
    let second = mouth.flush_old(first).unwrap();
    assert!(second.is_some() && second != first && !mouth.is_empty(), "another lies there since");
    assert_eq!(mouth.flush_old(second).unwrap(), None);
    assert!(mouth.is_empty());
    worker.report(ended(3)).unwrap();
    worker.consumed().unwrap();
    for (task, commands) in [(1, 0), (2, 0), (3, 1)] {
        let Ok(Heard::Done { consumed, ended }) = heard.recv_timeout(PATIENCE) else { panic!("no report") };
        let tasks: Vec<_> = ended.iter().map(|end| end.task).collect();
        assert_eq!(
            (consumed, tasks),
            (commands, vec![TaskId(task)]),
            "in order, and no credit before its time"
        );
    }
}

#[test]
fn words_that_no_frame_holds_are_cut() {
    let (_link, ear, _tombstone, ends) = conversation().unwrap();
    let heard = listen(ear);
    let mut worker = WorkerEnd::from(ends);
    worker.report(Ended { ending: Ending::Failed("no".repeat(FRAME_BYTES_MAX)), ..ended(3) }).unwrap();
    worker.consumed().unwrap();
    let Ok(Heard::Done { ended, .. }) = heard.recv_timeout(PATIENCE) else { panic!("no report") };
    assert!(matches!(&ended[0].ending, Ending::Failed(words) if *words == "no".repeat(500)), "{ended:?}");
}

#[test]
fn a_process_that_dies_before_it_knocks_releases_the_door() {
    let (sender, met) = channel();
    let door =
        Door::for_template(move |visitor| sender.send(visitor.is_err()).expect("the test waits")).unwrap();
    door.knock();
    assert_eq!(met.recv_timeout(PATIENCE), Ok(true), "nobody came, and the waiting thread was told");
    door.knock();
}

#[test]
fn an_impostor_is_heard_as_garbage_and_never_as_a_death() {
    let (_link, ear, tombstone, _ends) = conversation().expect("two channels");
    let impostor = tombstone.impostor();
    let heard = listen(ear);
    assert!(impostor.garble());
    assert!(matches!(heard.recv_timeout(PATIENCE), Ok(Heard::Garbled(_))));
    tombstone.post(DEATH);
    assert!(matches!(heard.recv_timeout(PATIENCE), Ok(Heard::Gone(death)) if death == DEATH));
    assert!(!impostor.garble(), "the ear is closed");
}
