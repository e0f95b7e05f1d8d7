//! Arguments and results that no frame holds: whole on both sides, whatever their size, and gone with their worker.
//!
//! The worker is this very test binary: `worker` runs in it, and returns what it is given.

use brigade_link::{
    Charter, Death, Door, Heard, Link, Sent, Spawned, Tombstone, WINDOW_FRAMES, Wanted, WorkerEnd,
    conversation,
};
use brigade_wire::{Attempt, Call, Ended, Ending, Exit, FRAME_BYTES_MAX, SlotId, TaskId, WorkerId};
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{env, fs, process};

/// Longer than anything here takes on the slowest machine; reached only when something hangs.
const PATIENCE: Duration = Duration::from_secs(60);

const DEATH: Death = Death { exit: Exit::Signal(9), running: vec![], since_ns: None, at_ns: 1 };

/// Names the door to the worker.
const DOOR: &str = "BRIGADE_LINK_DOOR";

/// Tests that look at which files this process has open, or fill memory, are alone with it.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A worker in another process, as the supervisor has one.
struct Staff {
    link: Link,
    tombstone: Option<Tombstone>,
    heard: Receiver<Heard>,
    child: Child,
}

impl Staff {
    fn new() -> Staff {
        let (link, ear, tombstone, ends) = conversation().expect("descriptors");
        let worker = WorkerId { slot: SlotId(0), incarnation: 1 };
        let door = Door::for_worker(Spawned { charter: charter(), worker, ends }).expect("a door");
        let child = Command::new(env::current_exe().expect("this test has a file"))
            .args(["--ignored", "--exact", "worker", "--nocapture"])
            .env(DOOR, door.name())
            .stdout(Stdio::null())
            .spawn()
            .expect("this test can be started twice");
        let (sender, heard) = channel();
        ear.listen("ear".into(), move |said| drop(sender.send(said))).expect("a thread");
        let mut staff = Staff { link, tombstone: Some(tombstone), heard, child };
        assert!(matches!(staff.next(), Heard::Hello(_)));
        staff
    }

    fn next(&mut self) -> Heard {
        self.heard.recv_timeout(PATIENCE).expect("something is heard")
    }

    fn send(&mut self, calls: impl IntoIterator<Item = Call>) -> Sent {
        let packets = self.link.pack(calls.into_iter().map(|call| (call.task, || call)));
        assert!(packets.refused.is_empty(), "{packets:?}");
        self.link.run(packets)
    }

    /// What comes back for these calls, in their order.
    fn answers(&mut self, calls: Vec<Call>) -> Vec<Ended> {
        let (count, mut answers, mut credit) = (calls.len(), Vec::new(), 0);
        assert_eq!(self.send(calls), Sent::All);
        while answers.len() < count || credit == 0 {
            let Heard::Done { consumed, ended } = self.next() else { panic!("no report") };
            credit = self.link.credit(consumed).expect("it counts right");
            answers.extend(ended);
        }
        answers
    }

    fn die(&mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
        self.tombstone.take().expect("it dies once").post(DEATH);
    }
}

impl Drop for Staff {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
        self.tombstone.take().into_iter().for_each(Tombstone::discard);
    }
}

fn charter() -> Charter {
    Charter {
        function: "echo".into(),
        daemon: true,
        threads: 1,
        pace_ns: 0,
        rss_bytes_max: None,
        memory_groups: None,
        as_bytes_max: None,
        supervisor: process::id(),
        entry: vec![],
        letter: None,
        program: env::current_exe().expect("this test has a file"),
    }
}

/// Bytes of which no two neighbouring pages are alike, so that what is cut or moved is seen: their period is a prime.
fn bytes(count: usize) -> Vec<u8> {
    const PERIOD: u64 = 65_521;
    let period: Vec<u8> =
        (0..PERIOD).map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect();
    let mut bytes = period.repeat(count / PERIOD as usize + 1);
    bytes.truncate(count);
    bytes
}

fn call(task: u64, args: Vec<u8>) -> Call {
    Call { task: TaskId(task), attempt: Attempt::FIRST, args }
}

/// What the files for blobs that this process has open take, and how far each of them was ever written.
fn files() -> Vec<(u64, u64)> {
    let entries = fs::read_dir("/proc/self/fd").expect("/proc").flatten();
    let blobs = entries.filter(|entry| {
        fs::read_link(entry.path()).is_ok_and(|name| name.to_string_lossy().contains("brigade-blobs"))
    });
    let sizes = blobs.filter_map(|entry| fs::metadata(entry.path()).ok());
    sizes.map(|data| (data.blocks() * 512, data.len())).collect()
}

/// Waits for a fact.
fn eventually(what: &str, fact: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !fact() {
        assert!(Instant::now() < until, "not within {PATIENCE:?}: {what}");
        std::thread::yield_now();
    }
}

/// How much the worker makes of arguments that say so; after `!` it makes nothing, after `?` as much as follows, and of all
/// others the same.
const FLOOD: usize = 256 << 20;

/// Runs in a process of its own, at the door that is named to it.
#[test]
#[ignore = "this is the worker"]
fn worker() {
    let door = env::var(DOOR).expect("the worker is told its door");
    let Spawned { worker, ends, .. } = Spawned::fetch(&door).expect("somebody waits there");
    let mut end = WorkerEnd::from(ends);
    end.hello(worker).expect("the supervisor lives");
    while let Ok(Some(Wanted::Run(calls))) = end.receive() {
        for Call { task, attempt, args } in calls {
            let value = match &args[..] {
                b"flood" => vec![7; FLOOD],
                [b'!', ..] => Vec::new(),
                [b'?', count @ ..] if count.len() == 8 => {
                    vec![7; u64::from_le_bytes(count.try_into().expect("eight")) as usize]
                }
                _ => args,
            };
            let ended = Ended { task, attempt, elapsed_ns: 1, ending: Ending::Value(value) };
            if end.report(ended).is_err() {
                return;
            }
        }
        if end.consumed().is_err() {
            return;
        }
    }
}

#[test]
fn calls_and_results_of_every_size_arrive_whole_and_in_their_order() {
    let _alone = alone();
    let mut staff = Staff::new();
    let mut sizes = vec![0, 1, 16, 64 << 10, FRAME_BYTES_MAX, 1 << 20, 2];
    sizes.extend(3_690..=3_760);
    sizes.extend([3_800, 1, 100 << 20]);
    for sizes in sizes.chunks(8) {
        let calls: Vec<Call> = (0..).zip(sizes).map(|(task, size)| call(task, bytes(*size))).collect();
        let answers = staff.answers(calls.clone());
        for (call, ended) in calls.into_iter().zip(answers) {
            let size = call.args.len();
            assert_eq!((call.task, call.attempt), (ended.task, ended.attempt));
            assert!(ended.ending == Ending::Value(call.args), "{size} bytes came back as others");
        }
    }
    let held: u64 = files().iter().map(|(held, _)| held).sum();
    assert_eq!(held, 0, "everything was read and given back");
}

#[test]
fn a_worker_killed_in_the_middle_of_writing_a_large_result_leaves_nothing_but_its_death() {
    let _alone = alone();
    let mut torn = 0;
    // Where the kill falls is chance: of ten one at least is in the middle.
    for _ in 0..10 {
        let mut staff = Staff::new();
        assert_eq!(staff.send([call(0, b"flood".to_vec())]), Sent::All);
        eventually("it writes", || files().iter().any(|(_, written)| *written > 16 << 20));
        staff.die();
        torn += u32::from(files().iter().all(|(_, written)| *written < FLOOD as u64));
        loop {
            match staff.next() {
                Heard::Done { ended, .. } => {
                    assert!(ended.iter().all(|ended| ended.ending == Ending::Value(vec![7; FLOOD])));
                }
                Heard::Gone(death) => break assert_eq!(death, DEATH),
                said => panic!("{said:?}"),
            }
        }
        drop(staff);
        eventually("its files are gone with it", || files().is_empty());
    }
    println!("{torn} of 10 were killed in the middle");
    assert!(torn > 0);
}

#[test]
fn a_stopped_worker_never_blocks_the_sender_of_large_arguments() {
    let _alone = alone();
    let mut staff = Staff::new();
    let pid = staff.child.id().to_string();
    let signal = |name: &str| Command::new("kill").args([name, &pid]).status().expect("kill").success();
    assert!(signal("-STOP"));
    let Sent::Full(unsent) = staff.send((0..100).map(|task| call(task, bytes(64 << 10)))) else {
        panic!("there is credit for {WINDOW_FRAMES}")
    };
    assert!(unsent.len() as u32 >= 100 - WINDOW_FRAMES);
    assert!(unsent.is_sorted() && unsent.last() == Some(&TaskId(99)), "{unsent:?}");
    let held: u64 = files().iter().map(|(held, _)| held).sum();
    assert_eq!(held, (100 - unsent.len() as u64) * (64 << 10), "only what is on its way takes memory");
    assert!(signal("-CONT"));
    let mut answered = 0;
    while answered + unsent.len() < 100 {
        let Heard::Done { ended, .. } = staff.next() else { panic!("no report") };
        assert!(ended.iter().all(|ended| ended.ending == Ending::Value(bytes(64 << 10))));
        answered += ended.len();
    }
}

#[test]
fn large_arguments_that_were_in_flight_go_with_the_worker_that_dies() {
    let _alone = alone();
    let mut staff = Staff::new();
    let pid = staff.child.id().to_string();
    assert!(Command::new("kill").args(["-STOP", &pid]).status().expect("kill").success());
    assert_eq!(staff.send((0..10).map(|task| call(task, bytes(64 << 10)))), Sent::All);
    staff.die();
    while !matches!(staff.next(), Heard::Gone(_)) {}
    let held: u64 = files().iter().map(|(held, _)| held).sum();
    assert_eq!(held, 10 * (64 << 10), "nobody has read them");
    drop(staff);
    eventually("its files are gone with it", || files().is_empty());
}
