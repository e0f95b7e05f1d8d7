//! A worker that does what workers must not do: it offers `range-sum`, and misbehaves at one number.
//!
//! `STUNT=act@number` names what it does in the task whose range holds that number; with `STUNT_MARK=file` only
//! the first time (the file is made then); `act@all` is every task. `STUNT_EXIT_AT_BIRTH=code` ends every worker that is executed anew.

use brigade_tasks::range_sum;
use brigade_wire::{Attempt, Blob, Ended, Ending, LargeEnded, Report, TaskId, encode};
use std::fs::File;
use std::io::Write;
use std::process::{Command, ExitCode, Stdio, abort, exit};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::sleep;
use std::time::Duration;

fn main() -> ExitCode {
    if std::env::args().nth(1).is_some_and(|role| role == "born")
        && let Ok(code) = std::env::var("STUNT_EXIT_AT_BIRTH")
    {
        eprintln!("no room at the inn");
        return ExitCode::from(code.parse::<u8>().unwrap_or(1));
    }
    brigade_worker::main(&[(range_sum::NAME, stunt)])
}

fn stunt(args: &[u8]) -> Result<Vec<u8>, String> {
    let number = |at: usize| u64::from_le_bytes(args[at..at + 8].try_into().expect("eight bytes"));
    let told = std::env::var("STUNT").unwrap_or_default();
    if let Some((act, at)) = told.split_once('@')
        && (at == "all" || at.parse().is_ok_and(|at| (number(0)..number(8)).contains(&at)))
        && is_first_time()
    {
        // So many bytes in place of a sum.
        if let Some(bytes) = act.strip_prefix("answer:") {
            return Ok(vec![7; bytes.parse().map_err(|_| "how many bytes?")?]);
        }
        perform(act)?;
    }
    range_sum::run(args)
}

/// Says `count` packets as ipc-channel would: length of the packet, length of the message, message.
fn babble(count: usize, message: impl Fn(usize) -> Vec<u8>) {
    (0..count).for_each(|n| speak(&packet(&message(n))));
}

/// A report that these tasks have ended with no value, without a credit.
fn done(consumed: u32, tasks: &[u64]) -> Vec<u8> {
    let ended = |task: &u64| Ended {
        task: TaskId(*task),
        attempt: Attempt::FIRST,
        elapsed_ns: 1,
        ending: Ending::Value(vec![0; 16]),
    };
    encode(&Report::Done { consumed, ended: tasks.iter().map(ended).collect() }).expect("a small frame")
}

/// A report that a task has ended with so many bytes that no frame holds, without a credit. They are nowhere.
fn done_large(task: u64, bytes: u64) -> Vec<u8> {
    let value = Blob { offset: 0, bytes, crc: 0 };
    let ended = LargeEnded { task: TaskId(task), attempt: Attempt::FIRST, elapsed_ns: 1, value };
    encode(&Report::DoneLarge { consumed: 0, ended }).expect("a small frame")
}

/// Writes to the second socket that this process has: its reports.
fn speak(bytes: &[u8]) {
    // A supervisor that has closed its ear is no reason to stop.
    let _ = mouth().write_all(bytes);
}

fn mouth() -> File {
    let open = std::fs::read_dir("/proc/self/fd").expect("/proc").flatten();
    let is_socket = |entry: &std::fs::DirEntry| {
        std::fs::read_link(entry.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"))
    };
    let mut sockets: Vec<i32> =
        open.filter(is_socket).filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    sockets.sort_unstable();
    File::from(brigade_os::inherit::duplicate(sockets[1]).expect("it is open"))
}

/// A packet as ipc-channel makes it: length of the packet, length of the message, message.
fn packet(message: &[u8]) -> Vec<u8> {
    let (packet, whole) = (message.len() as u64 + 16, message.len() as u64);
    [&packet.to_le_bytes()[..], &whole.to_le_bytes(), message].concat()
}

/// One frame that must not be taken for what it is: of ten kinds, and of no two the same bytes.
fn malformed(dice: &mut u64) -> Vec<u8> {
    let mut roll = |bound: u64| {
        *dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*dice >> 33) % bound
    };
    let (kind, length) = (roll(10), roll(100) as usize);
    let noise: Vec<u8> = (0..length).map(|_| roll(256) as u8).collect();
    let task = roll(u64::MAX >> 33) + (u64::MAX >> 1);
    match kind {
        0 => [&[0][..], &noise].concat(),
        1 => with_sum([&[0; 6][..], &noise].concat()),
        2 => with_sum(done(0, &[task]).into_iter().take(1 + length / 4).collect()),
        3 => with_sum([&done(0, &[task])[..], &noise, &[7]].concat()),
        4 => done(u32::MAX - length as u32, &[]),
        5 => done(0, &[task]),
        6 => done(0, &[]),
        7 => done_large(task, task >> (length % 64)),
        8 => damaged(done(u32::MAX, &[task]), length),
        _ => [&[0xB7, 0x1D][..], &vec![length as u8; 4_000 + length]].concat(),
    }
}

/// The same bytes behind a sum that holds.
fn with_sum(mut packet: Vec<u8>) -> Vec<u8> {
    brigade_wire::seal(&mut packet);
    packet
}

/// The same bytes but for one bit of them.
fn damaged(mut packet: Vec<u8>, at: usize) -> Vec<u8> {
    let at = at % packet.len();
    packet[at] ^= 1;
    packet
}

/// Malformed frames, one after the other, while all workers of the run together have sent fewer than so many: each that
/// the kernel has taken is a byte of a file. Only from who has ended a task before, so that it is no crash loop.
fn storm(frames: u64) {
    static ENDED: AtomicBool = AtomicBool::new(false);
    if !ENDED.swap(true, Relaxed) {
        return;
    }
    let state = std::env::var("SUPERVISOR_STATE_DIR").unwrap_or_default();
    let tally = File::options().append(true).create(true).open(format!("{state}/storm"));
    let (mut tally, mut mouth, mut dice) = (tally.expect("a file"), mouth(), u64::from(std::process::id()));
    while tally.metadata().expect("it is open").len() < frames {
        if mouth.write_all(&packet(&malformed(&mut dice))).is_err() {
            // Nobody listens any more: what follows is the end.
            sleep(Duration::from_secs(3_600));
        }
        let _ = tally.write_all(&[0]);
    }
}

fn is_first_time() -> bool {
    std::env::var("STUNT_MARK").map_or(true, |mark| File::create_new(mark).is_ok())
}

/// Memory that is touched, a MiB at a time, and never given back.
fn take(bytes: &str) {
    const STEP: usize = 1 << 20;
    (0..bytes.parse::<usize>().unwrap_or(0) / STEP)
        .for_each(|_| std::mem::forget(std::hint::black_box(vec![1_u8; STEP])));
}

/// Whether nobody has wavered in this run yet: its state directory remembers.
fn wavers() -> bool {
    let state = std::env::var("SUPERVISOR_STATE_DIR").unwrap_or_default();
    File::create_new(format!("{state}/wavered")).is_ok()
}

fn perform(act: &str) -> Result<(), String> {
    match act.split_once(':').unwrap_or((act, "")) {
        ("abort", _) => abort(),
        ("kill", _) => {
            let _ = Command::new("sh").args(["-c", "kill -9 $PPID"]).status();
        }
        ("exit", code) => exit(code.parse().unwrap_or(1)),
        ("panic", _) => panic!("the stunt went wrong"),
        ("fail", _) => return Err("the stunt was refused".into()),
        // An error first, and a death when it is tried again.
        ("waver", _) => match wavers() {
            true => return Err("the stunt was refused".into()),
            false => abort(),
        },
        ("hang", _) => loop {
            sleep(Duration::from_secs(3_600));
        },
        ("stop", _) => {
            let _ = Command::new("sh").args(["-c", "kill -STOP $PPID"]).status();
        }
        ("spin", _) => loop {
            std::hint::spin_loop();
        },
        // Well-formed packets of ipc-channel, `count` of them, that are no frames of ours.
        ("garbage", count) => babble(count.parse().unwrap_or(1), |n| vec![n as u8; n % 100]),
        ("storm", frames) => storm(frames.parse().unwrap_or(0)),
        // The start of a frame that is longer than any.
        ("huge", _) => babble(1, |_| [&[0xB7, 0x1D][..], &[0; 5_000]].concat()),
        // What was a frame, with one bit turned over behind its head.
        ("damage", _) => babble(1, |_| damaged(done(0, &[7]), 10)),
        // Frames of ours that mean nothing: no task has ended, no command was consumed.
        ("idle_talk", count) => babble(count.parse().unwrap_or(1), |_| done(u32::MAX, &[])),
        // Somebody else's task, and its own twice.
        ("echo", _) => babble(1, |_| done(0, &[u64::MAX >> 1])),
        // A result that is nowhere, or larger than any.
        ("lie", bytes) => babble(1, |_| done_large(0, bytes.parse().unwrap_or(u64::MAX))),
        // Bytes that are not even a packet of ipc-channel, then death.
        ("raw", _) => {
            speak(&[1]);
            abort();
        }
        // Bytes that are not even a packet of ipc-channel, and then on with the work.
        ("mutter", "byte") => speak(&[1]),
        ("mutter", "header") => speak(&8_u64.to_le_bytes()),
        ("mutter", "claim") => speak(&[16_u64.to_le_bytes(), (1_u64 << 62).to_le_bytes()].concat()),
        ("mutter", "block") => speak(&[0xFF; 200_000]),
        // Left behind in the worker's process group, as a careless task would.
        ("child", _) => {
            let child = Command::new("sleep").arg("4321").stdin(Stdio::null()).spawn();
            println!("left pid {}", child.map_err(|error| error.to_string())?.id());
        }
        // A daemon of its own: another session and another parent, as `nohup` and the like leave it.
        ("escape", _) => {
            let told = "echo left pid $$; exec sleep 4321";
            let left = Command::new("setsid").args(["-f", "sh", "-c", told]).stdin(Stdio::null()).status();
            left.map_err(|error| error.to_string())?;
        }
        // Many such, one after the other, that end at once and are reaped by whoever they come to.
        ("flicker", count) => {
            let many = format!("for n in $(seq {count}); do setsid -f true; done");
            let left = Command::new("setsid").args(["-f", "sh", "-c", &many]).stdin(Stdio::null()).status();
            left.map_err(|error| error.to_string())?;
        }
        // Healthy, and slow by steps: whatever freezes it, it has as many steps before it as ever.
        ("stroll", steps) => {
            println!("strolling");
            (0..steps.parse().unwrap_or(0)).for_each(|_| sleep(Duration::from_millis(10)));
        }
        // Takes so many bytes, keeps them, and never ends.
        ("grow", bytes) => {
            take(bytes);
            sleep(Duration::from_secs(3_600));
        }
        // The same, when its supervisor cannot look.
        ("ambush", bytes) => {
            let parent = format!("/proc/{}/stat", std::os::unix::process::parent_id());
            let is_stopped = || std::fs::read_to_string(&parent).is_ok_and(|stat| stat.contains(") T "));
            while !is_stopped() {
                sleep(Duration::from_millis(1));
            }
            take(bytes);
        }
        // Takes so many bytes, and forgets them.
        ("leak", bytes) => take(bytes),
        (unknown, _) => return Err(format!("there is no stunt {unknown}")),
    }
    Ok(())
}
