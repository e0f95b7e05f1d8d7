//! How fast the journal is here: `cargo run --release -p brigade-journal --example speed [DIRECTORY]`.

use brigade_journal::{Durability, Identity, Journal, JournalFile, Record, Settled};
use brigade_wire::{Attempt, Outcome, SlotId, TaskId, WorkerId};
use std::error::Error;
use std::path::Path;
use std::time::Instant;
use std::{env, fs};

const RECORDS: u64 = 1_000_000;

fn identity() -> Identity {
    Identity {
        run: "speed".into(),
        function: "range-sum".into(),
        parameters: "1..=1000000 in 1000000 tasks".into(),
        tasks: RECORDS,
        input_hash: 0,
        protocol: 0,
    }
}

fn record(task: u64) -> Record {
    Record::Settled(Settled {
        task: TaskId(task),
        attempt: Attempt::FIRST,
        worker: WorkerId { slot: SlotId((task % 4) as u32), incarnation: 1 },
        outcome: Outcome::Value(vec![task as u8; 16]),
    })
}

/// Nanoseconds a record, for `records` of them, committed every `batch`.
fn write(path: &Path, durability: Durability, records: u64, batch: u64) -> Result<f64, Box<dyn Error>> {
    drop(fs::remove_file(path));
    let mut journal = Journal::create(JournalFile::create(path)?, &identity(), durability)?;
    let made: Vec<Record> = (0..records).map(record).collect();
    let began = Instant::now();
    for (record, number) in made.iter().zip(1..) {
        journal.append(record)?;
        if number % batch == 0 {
            journal.commit()?;
        }
    }
    journal.commit()?;
    Ok(began.elapsed().as_nanos() as f64 / records as f64)
}

fn main() -> Result<(), Box<dyn Error>> {
    let directory = env::args_os().nth(1).map_or_else(env::temp_dir, Into::into);
    let path = directory.join(format!("brigade-journal-speed-{}", std::process::id()));
    println!("append and flush, values of 16 bytes, {RECORDS} records:");
    for batch in [1, 16, 256] {
        println!(
            "  batches of {batch:>3}: {:>7.0} ns a record",
            write(&path, Durability::Kill, RECORDS, batch)?
        );
    }
    let bytes = fs::metadata(&path)?.len();
    println!("  {bytes} bytes, {:.1} a record", bytes as f64 / RECORDS as f64);
    for name in ["into memory", "handed on"] {
        let began = Instant::now();
        let replay = Journal::open(JournalFile::open(&path)?)?;
        let settled = match name {
            "handed on" => replay.each(drop)?.1.settled,
            _ => replay.collect()?.2.len() as u64,
        };
        println!("replay of {settled} records, {name}: {:.0} ms", began.elapsed().as_secs_f64() * 1e3);
    }
    println!("append and sync (--durable):");
    for batch in [1, 16, 256] {
        let records = 2_000 * batch.min(16);
        println!(
            "  batches of {batch:>3}: {:>7.0} ns a record",
            write(&path, Durability::Power, records, batch)?
        );
    }
    fs::remove_file(&path)?;
    Ok(())
}
