//! A real process that writes a real journal, and is killed at random moments, again and again.
//!
//! The process is this very test binary: `scribe` runs in it, and says a number when all records up to it are flushed.

use brigade_journal::{Durability, Identity, Journal, JournalFile, OpenError, Record, Settled};
use brigade_wire::{Attempt, Outcome, SlotId, TaskId, WorkerId};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{env, fs, process, thread};

const KILLS: u64 = 40;

/// Names the journal to the process, and makes it write.
const SCRIBE: &str = "BRIGADE_JOURNAL_SCRIBE";

fn identity() -> Identity {
    Identity {
        run: "kill".into(),
        function: "scribe".into(),
        parameters: String::new(),
        tasks: u64::MAX,
        input_hash: 0,
        protocol: 0,
    }
}

/// The record of a number: from 0 to 5,000 bytes that nobody else would have written.
fn settled(number: u64) -> Settled {
    let bytes = [16, 0, 300, 5_000][(number % 4) as usize];
    let value = (0..bytes).map(|at| (number.wrapping_mul(at as u64 + 1) >> 3) as u8).collect();
    Settled {
        task: TaskId(number),
        attempt: Attempt::FIRST,
        worker: WorkerId { slot: SlotId(0), incarnation: 1 },
        outcome: Outcome::Value(value),
    }
}

/// Begins the journal or goes on with it; returns what stands in it.
fn begin(path: &Path, durability: Durability) -> (Journal<JournalFile>, u64) {
    let opened =
        JournalFile::open(path).ok().map(|file| Journal::open(file).and_then(|replay| replay.collect()));
    match opened {
        Some(Ok((journal, recovered, all))) => {
            assert!(all.into_iter().eq((0..recovered.settled).map(settled)), "not what was written");
            (journal, recovered.settled)
        }
        Some(Err(OpenError::Unborn { .. })) => {
            fs::remove_file(path).expect("it was there");
            begin(path, durability)
        }
        Some(Err(error)) => panic!("{error}"),
        None => {
            let file = JournalFile::create(path).expect("the directory is ours");
            (Journal::create(file, &identity(), durability).expect("there is room"), 0)
        }
    }
}

#[test]
#[ignore = "it is the process that is killed: the tests beside it start it"]
fn scribe() {
    let Ok(path) = env::var(SCRIBE) else { return };
    let durability = if path.ends_with("power") { Durability::Power } else { Durability::Kill };
    let (mut journal, first) = begin(path.as_ref(), durability);
    let mut out = std::io::stdout().lock();
    for number in first.. {
        journal.append(&Record::Settled(settled(number))).unwrap();
        // Batches of 1 to 64.
        if number % 64 == 0 || number / 64 % 2 == 0 {
            journal.commit().unwrap();
            // Nobody reads any more: the test is over.
            if writeln!(out, "flushed {number}").is_err() {
                return;
            }
        }
    }
}

fn start(path: &Path) -> (Child, BufReader<ChildStdout>) {
    let this = env::current_exe().expect("this test has a file");
    let mut child = Command::new(this)
        .args(["--ignored", "--exact", "scribe", "--nocapture"])
        .env(SCRIBE, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("this test can be started twice");
    let out = BufReader::new(child.stdout.take().expect("it is piped"));
    (child, out)
}

fn number(line: &str) -> Option<u64> {
    line.trim_end().strip_prefix("flushed ")?.parse().ok()
}

/// The last number that was said, by a process that is dead.
fn last_said(out: BufReader<ChildStdout>) -> Option<u64> {
    out.lines().map_while(Result::ok).filter_map(|line| number(&line)).last()
}

fn home(name: &str) -> PathBuf {
    let path = env::temp_dir().join(format!("brigade-journal-{}-{name}", process::id()));
    drop(fs::remove_file(&path));
    path
}

/// Microseconds from 0 to `below`: where the kill falls is chance, and the seed is of no use for it.
fn chance(below: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
    u64::from(now.subsec_nanos()).wrapping_mul(0x9E37_79B9_7F4A_7C15) % below
}

fn kill_again_and_again(path: &Path, durability: Durability) {
    let (mut records, mut kills_while_writing) = (0, 0);
    for kill in 0..KILLS {
        let (mut child, mut out) = start(path);
        // Of every four kills one comes before it has said anything, perhaps before the header is there.
        let mut first = None;
        while kill % 4 > 0 && first.is_none() {
            let mut line = String::new();
            assert!(out.read_line(&mut line).expect("it speaks UTF-8") > 0, "it ended by itself");
            first = number(&line);
        }
        thread::sleep(Duration::from_micros(chance(4_000)));
        child.kill().expect("it is our child");
        child.wait().expect("it is our child");
        let said = last_said(out).or(first);
        let (journal, found) = match path.exists() {
            true => begin(path, durability),
            false => continue,
        };
        drop(journal);
        assert!(found >= records, "kill {kill}: {found} records, there were {records} before");
        if let Some(number) = said {
            assert!(found > number, "kill {kill}: record {number} was flushed, {found} are there");
            kills_while_writing += 1;
        }
        records = found;
    }
    println!("{KILLS} kills, {kills_while_writing} of them after something was said, {records} records");
    assert!(kills_while_writing >= 20 && records > KILLS, "{kills_while_writing} kills, {records} records");
    fs::remove_file(path).expect("it was there");
}

#[test]
fn no_kill_of_a_real_process_loses_what_it_said_was_flushed() {
    kill_again_and_again(&home("kill"), Durability::Kill);
}

#[test]
fn no_kill_of_a_real_process_loses_what_it_said_was_synced() {
    kill_again_and_again(&home("power"), Durability::Power);
}
