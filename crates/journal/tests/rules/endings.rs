//! What is cut, what is refused, and what is found.

use super::kit::{blamed, damaged_at, journal, reopen, settled, value};
use brigade_journal::{Durability, Journal, OpenError, Record, Settled};
use brigade_wire::{Outcome, TaskId};

const BOTH: [Durability; 2] = [Durability::Kill, Durability::Power];

fn batches() -> Vec<Vec<Record>> {
    let failed = Record::Settled(settled(3, Outcome::Failed("no".into())));
    vec![vec![value(1, &[1; 16])], vec![value(2, b""), blamed(7, 1)], vec![failed, value(4, &[4; 40])]]
}

/// The bytes of a journal with these batches, and where each record ends.
fn written(durability: Durability, batches: &[Vec<Record>]) -> (Vec<u8>, Vec<u64>) {
    let (disk, mut journal) = journal(durability, &[]);
    let mut ends = Vec::new();
    for batch in batches {
        for record in batch {
            journal.append(record).expect("there is room");
            ends.push(journal.end());
        }
        journal.commit().expect("there is room");
    }
    (disk.bytes(), ends)
}

#[test]
fn a_journal_cut_at_any_byte_has_every_whole_record_and_can_be_gone_on_with() {
    for durability in BOTH {
        let header = journal(durability, &[]).0.bytes().len();
        let (bytes, ends) = written(durability, &batches());
        for cut in 0..header {
            let error = reopen(&bytes[..cut]).unwrap_err();
            assert!(matches!(error, OpenError::Unborn { .. }), "cut at {cut}: {error}");
        }
        for cut in header..=bytes.len() {
            let (mut journal, recovered, _) = reopen(&bytes[..cut]).unwrap();
            let whole = ends.iter().filter(|end| **end <= cut as u64).count() as u64;
            assert_eq!(recovered.records, whole, "cut at {cut}");
            journal.append(&value(9, b"on")).unwrap();
            journal.commit().unwrap();
        }
    }
}

#[test]
fn values_that_share_a_record_are_found_together_or_not_at_all() {
    let together = vec![value(1, &[1; 16]), value(2, b""), value(40, &[4; 9])];
    let (alone, _) = written(Durability::Kill, std::slice::from_ref(&together));
    let (followed, ends) = written(Durability::Kill, &[together, vec![value(5, b"five")]]);
    let header = journal(Durability::Kill, &[]).0.bytes().len();
    for cut in header..=alone.len() {
        let (_, recovered, all) = reopen(&alone[..cut]).unwrap();
        let whole = if cut == alone.len() { 3 } else { 0 };
        assert_eq!((recovered.records, all.len() as u64), (whole, whole), "cut at {cut}");
    }
    for at in header..ends[2] as usize {
        for bit in 0..8 {
            let mut bent = followed.clone();
            bent[at] ^= 1 << bit;
            assert_eq!(damaged_at(reopen(&bent)), Some(header as u64), "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn what_is_appended_behind_a_cut_is_found_behind_it() {
    let (mut bytes, _) = written(Durability::Kill, &batches());
    bytes.truncate(bytes.len() - 1);
    let disk = crate::storm::disk::Disk::of(&bytes);
    let (mut journal, recovered, _) = Journal::open(disk.clone()).unwrap().collect().unwrap();
    assert!(recovered.torn_bytes > 0);
    journal.append(&value(9, b"on")).unwrap();
    journal.flush().unwrap();
    let (_, recovered, all) = reopen(&disk.bytes()).unwrap();
    assert_eq!((recovered.records, recovered.torn_bytes), (5, 0));
    assert_eq!(all.last(), Some(&settled(9, Outcome::Value(b"on".to_vec()))));
}

#[test]
fn any_bit_bent_before_the_last_record_is_refused_with_the_place_of_the_record() {
    let (bytes, ends) = written(Durability::Kill, &batches());
    let header = journal(Durability::Kill, &[]).0.bytes().len();
    let starts: Vec<u64> = [header as u64].into_iter().chain(ends.iter().copied()).collect();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut bent = bytes.clone();
            bent[at] ^= 1 << bit;
            let record = ends.partition_point(|end| *end <= at as u64);
            let reopened = reopen(&bent);
            if at < 8 {
                assert!(matches!(reopened, Err(OpenError::NotAJournal { .. })), "bit {bit} of byte {at}");
            } else if at < header {
                assert_eq!(damaged_at(reopened), Some(0), "bit {bit} of byte {at}");
            } else if record + 1 < ends.len() {
                assert_eq!(damaged_at(reopened), Some(starts[record]), "bit {bit} of byte {at}");
            } else {
                let (_, recovered, _) = reopened.unwrap();
                assert_eq!(recovered.records as usize, ends.len() - 1, "bit {bit} of byte {at}");
            }
        }
    }
}

#[test]
fn any_bit_bent_before_the_last_mark_is_refused() {
    let (bytes, ends) = written(Durability::Power, &batches());
    // The mark in front of the fourth record says that three are on the disk.
    let marked = ends[2] as usize;
    let header = journal(Durability::Power, &[]).0.bytes().len();
    for at in header..bytes.len() {
        for bit in 0..8 {
            let mut bent = bytes.clone();
            bent[at] ^= 1 << bit;
            let reopened = reopen(&bent);
            match at < marked {
                true => assert!(damaged_at(reopened).is_some_and(|offset| offset <= at as u64)),
                false => assert!(reopened.unwrap().1.records >= 3, "bit {bit} of byte {at}"),
            }
        }
    }
}

#[test]
fn zeros_and_garbage_at_the_end_are_cut() {
    for durability in BOTH {
        let (bytes, _) = written(durability, &batches());
        for tail in [vec![0; 5_000], vec![0xFF; 5_000], b"what is this".to_vec(), vec![1, 0, 0, 0, 9]] {
            let (_, recovered, _) = reopen(&[&bytes[..], &tail].concat()).unwrap();
            assert_eq!((recovered.records, recovered.torn_bytes), (5, tail.len() as u64));
        }
    }
}

#[test]
fn a_file_of_zeros_is_a_run_that_never_began() {
    for bytes in [0, 1, 24, 100, 10_000] {
        assert!(matches!(reopen(&vec![0; bytes]), Err(OpenError::Unborn { .. })));
    }
    let mut bytes = written(Durability::Kill, &batches()).0;
    bytes[..24].fill(0);
    assert!(matches!(reopen(&bytes), Err(OpenError::NotAJournal { .. })), "there is more than zeros");
}

/// A torn record whose value is a journal: its records are none of ours.
#[test]
fn records_inside_a_torn_result_do_not_make_it_damage() {
    let (inner, _) = written(Durability::Kill, &batches());
    let (bytes, ends) = written(Durability::Kill, &[vec![value(1, b"x")], vec![value(2, &inner)]]);
    let (_, recovered, _) = reopen(&bytes[..bytes.len() - 1]).unwrap();
    assert_eq!(recovered.records, 1);
    assert_eq!(recovered.torn_bytes, bytes.len() as u64 - 1 - ends[0]);
}

#[test]
fn a_record_at_another_place_is_no_record() {
    let (bytes, ends) = written(Durability::Kill, &batches());
    let last = &bytes[ends[3] as usize..];
    let (_, recovered, _) = reopen(&[&bytes[..], last].concat()).unwrap();
    assert_eq!((recovered.records, recovered.torn_bytes), (5, last.len() as u64));
}

#[test]
fn of_two_final_words_on_a_task_the_first_counts() {
    let (disk, _) =
        journal(Durability::Kill, &[&[value(1, b"a"), value(1, b"b"), blamed(1, 3), value(2, b"c")]]);
    let (_, recovered, all) = reopen(&disk.bytes()).unwrap();
    let value = |task, bytes: &[u8]| settled(task, Outcome::Value(bytes.to_vec()));
    assert_eq!(all, [value(1, b"a"), value(2, b"c")]);
    assert_eq!((recovered.settled, recovered.repeated, recovered.records), (2, 2, 4));
    assert!(recovered.attempts.is_empty());
}

#[test]
fn attempts_carry_over_until_their_task_is_settled() {
    let records = [blamed(1, 1), blamed(2, 1), blamed(1, 2), value(2, b""), Record::Resumed { at_unix_s: 5 }];
    let (_, recovered, _) = reopen(&journal(Durability::Kill, &[&records]).0.bytes()).unwrap();
    let attempts: Vec<(TaskId, Vec<u32>)> = recovered
        .attempts
        .into_iter()
        .map(|(task, all)| (task, all.into_iter().map(|failed| failed.attempt.0).collect()))
        .collect();
    assert_eq!(attempts, [(TaskId(1), vec![1, 2])]);
    assert_eq!(recovered.resumed, 1);
}

#[test]
fn a_quarantined_task_that_is_reopened_is_as_new_and_one_that_is_dropped_stays_dropped() {
    let quarantined = |task| Record::Settled(settled(task, Outcome::Quarantined { attempts: vec![] }));
    let (reopened, dropped) =
        (|n| Record::Reopened { task: TaskId(n) }, |n| Record::Dropped { task: TaskId(n) });
    let records = [blamed(1, 1), quarantined(1), quarantined(2), quarantined(3), value(4, b"d")];
    let asked = [reopened(1), dropped(2), reopened(2), reopened(4), dropped(4), reopened(1)];
    let (_, recovered, all) = reopen(&journal(Durability::Kill, &[&records, &asked]).0.bytes()).unwrap();
    let known: Vec<u64> = all.iter().map(|settled| settled.task.0).collect();
    assert_eq!((known, recovered.settled), (vec![4, 2, 3], 3));
    assert_eq!(recovered.quarantined, [(TaskId(2), true), (TaskId(3), false)].into());
    assert!(recovered.attempts.is_empty(), "what was tried before counts for nothing");
    assert_eq!(recovered.repeated, 4, "what is not in quarantine is not reopened");
    let again = [blamed(1, 1), value(1, b"a")];
    let (_, recovered, all) =
        reopen(&journal(Durability::Kill, &[&records, &asked, &again]).0.bytes()).unwrap();
    assert_eq!((all.len(), recovered.settled), (4, 4));
}

#[test]
fn what_was_split_is_neither_settled_nor_waiting_and_its_parts_are_tasks_of_the_run() {
    let split = |task, parts| Record::Split { task: TaskId(task), parts: TaskId(parts) };
    let records = [blamed(1, 1), split(1, 1_000), value(1_001, b"b"), split(1_000, 1_002), value(2, b"c")];
    let (_, recovered, all) = reopen(&journal(Durability::Kill, &[&records]).0.bytes()).unwrap();
    assert_eq!(recovered.splits, [(TaskId(1), TaskId(1_000)), (TaskId(1_000), TaskId(1_002))]);
    let known: Vec<u64> = all.iter().map(|settled| settled.task.0).collect();
    assert_eq!((known, recovered.settled, recovered.repeated), (vec![1_001, 2], 2, 0));
    assert!(recovered.attempts.is_empty(), "its parts begin anew");
    for (strange, why) in [(split(3, 1_003), "not the next number"), (value(1_004, b""), "not its number")] {
        let (_, ends) = written(Durability::Kill, &[records.to_vec()]);
        let (disk, _) = journal(Durability::Kill, &[&records, &[strange]]);
        assert_eq!(damaged_at(reopen(&disk.bytes())), ends.last().copied(), "{why}");
    }
}

#[test]
fn a_task_that_the_run_does_not_have_is_damage() {
    let (disk, _) = journal(Durability::Kill, &[&[value(1, b"")], &[value(1_000, b"")]]);
    let (_, ends) = written(Durability::Kill, &[vec![value(1, b"")]]);
    assert_eq!(damaged_at(reopen(&disk.bytes())), Some(ends[0]));
}

#[test]
fn every_outcome_comes_back_as_it_was() {
    let Record::Blamed { attempt, .. } = blamed(0, 3) else { unreachable!("it was made as one") };
    let outcomes = [
        Outcome::Value(vec![]),
        Outcome::Value((0..=255).collect()),
        Outcome::Failed("nein, ∅".into()),
        Outcome::Panicked { message: "index".into(), location: "a.rs:1:2".into() },
        Outcome::Quarantined { attempts: vec![attempt; 3] },
    ];
    let all: Vec<Settled> = (0..).zip(outcomes).map(|(task, outcome)| settled(task, outcome)).collect();
    let records: Vec<Record> = all.iter().cloned().map(Record::Settled).collect();
    let (disk, _) = journal(Durability::Kill, &[&records]);
    assert_eq!(reopen(&disk.bytes()).unwrap().2, all);
}

/// The file is longer than any window, and so are some of its records.
#[test]
fn a_journal_larger_than_what_is_read_at_once_comes_back_whole() {
    let bytes_of = |task: u64| if task.is_multiple_of(50) { 900_000 } else { task as usize % 3 * 1_500 };
    let value_of = |task: u64| vec![task as u8 | 1; bytes_of(task)];
    let all: Vec<Settled> = (0..200).map(|task| settled(task, Outcome::Value(value_of(task)))).collect();
    let records: Vec<Record> = all.iter().cloned().map(Record::Settled).collect();
    let (disk, _) = journal(Durability::Kill, &[&records]);
    assert!(disk.bytes().len() > 3_000_000);
    let (_, recovered, found) = reopen(&disk.bytes()).unwrap();
    assert!(found == all && recovered.torn_bytes == 0);
}
