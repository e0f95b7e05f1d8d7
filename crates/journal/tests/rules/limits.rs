//! Full disks, failed syncs, large records: what is said, and what is left.

use super::kit::{Failing, blamed, journal, reopen, value};
use brigade_journal::{BUFFER_BYTES_MAX, Durability, Journal, JournalError};
use brigade_wire::RECORD_BYTES_MAX;
use std::io;

#[test]
fn a_full_disk_breaks_the_journal_for_good_and_leaves_what_fitted() {
    let (disk, mut journal) = journal(Durability::Kill, &[&[value(1, &[1; 16])]]);
    for room in 0..60 {
        disk.0.borrow_mut().capacity = journal.end() as usize + room;
        let (left, mut journal) = (disk.bytes(), Journal::open(disk.clone()).unwrap().collect().unwrap().0);
        for record in [value(2, &[2; 16]), blamed(5, 1), value(3, &[3; 16])] {
            journal.append(&record).unwrap();
        }
        let error = journal.flush().unwrap_err();
        assert_eq!(
            error.to_string(),
            "write to journal disk: No space left on device (os error 28): make room there, then resume the run"
        );
        disk.0.borrow_mut().capacity = usize::MAX;
        assert_eq!(journal.append(&value(4, b"")).unwrap_err().to_string(), error.to_string());
        assert_eq!(journal.flush().unwrap_err().to_string(), error.to_string());
        let (_, recovered, _) = reopen(&disk.bytes()).unwrap();
        let fitted = [30, 46].iter().filter(|bytes| **bytes <= room).count() as u64;
        assert_eq!(recovered.records, 1 + fitted, "{room} bytes of room");
        disk.0.borrow_mut().cache = left;
    }
    journal.flush().unwrap();
}

#[test]
fn a_failed_sync_is_final_and_what_it_was_about_is_cut_off() {
    let (disk, mut journal) = journal(Durability::Power, &[&[value(1, b"a")]]);
    let synced = disk.bytes();
    disk.0.borrow_mut().fail_sync_in = Some(0);
    journal.append(&value(2, b"b")).unwrap();
    journal.flush().unwrap();
    let error = journal.sync().unwrap_err().to_string();
    assert_eq!(
        error,
        "sync journal disk: Input/output error (os error 5): do not trust this disk: copy the run directory to another one and resume the run from there"
    );
    assert_eq!(journal.sync().unwrap_err().to_string(), error, "never tried again");
    assert_eq!(disk.bytes(), synced, "a resume must not find in memory what the disk does not have");
}

#[test]
fn without_a_promise_for_loss_of_power_a_failed_sync_takes_nothing_back() {
    let (disk, mut journal) = journal(Durability::Kill, &[&[value(1, b"a")]]);
    disk.0.borrow_mut().fail_sync_in = Some(0);
    assert!(journal.sync().is_err() && journal.broken().is_some());
    assert_eq!(reopen(&disk.bytes()).unwrap().1.records, 1);
}

#[test]
fn a_sync_with_nothing_new_touches_nothing() {
    let (disk, mut journal) = journal(Durability::Power, &[&[value(1, b"a")]]);
    let before = disk.bytes();
    disk.0.borrow_mut().kill_in = Some(0);
    (0..3).for_each(|_| journal.commit().unwrap());
    assert_eq!(disk.bytes(), before);
}

#[test]
fn a_result_that_is_too_large_is_refused_and_nothing_else_is_wrong() {
    let (disk, mut journal) = journal(Durability::Kill, &[]);
    journal.append(&value(1, b"a")).unwrap();
    for too_large in [vec![7; RECORD_BYTES_MAX], vec![0; RECORD_BYTES_MAX + 1]] {
        let error = journal.append(&value(2, &too_large)).unwrap_err();
        assert!(matches!(error, JournalError::TooLarge { .. }), "{error}");
    }
    journal.append(&value(3, b"c")).unwrap();
    journal.append(&value(4, &vec![0; RECORD_BYTES_MAX])).unwrap();
    journal.flush().unwrap();
    assert_eq!(reopen(&disk.bytes()).unwrap().1.records, 3);
}

#[test]
fn a_record_of_values_does_not_grow_beyond_its_bound() {
    let (disk, mut journal) = journal(Durability::Kill, &[]);
    let header = disk.bytes().len();
    (0..1_000).for_each(|task| journal.append(&value(task, &[7; 100])).unwrap());
    journal.flush().unwrap();
    let (bytes, mut at, mut lengths) = (disk.bytes(), header, Vec::new());
    while at < bytes.len() {
        let length = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        lengths.push(length);
        at += 8 + length;
    }
    assert_eq!((lengths.len(), at), (7, bytes.len()));
    assert!(lengths.iter().all(|length| *length <= 16 * 1024), "{lengths:?}");
    assert_eq!(reopen(&bytes).unwrap().1.settled, 1_000);
}

#[test]
fn the_buffer_is_flushed_unasked_before_it_grows_large() {
    let (disk, mut journal) = journal(Durability::Kill, &[]);
    for task in 0..1_000 {
        journal.append(&value(task, &[0; 3_000])).unwrap();
        let held = journal.end() as usize - disk.bytes().len();
        assert!(held < BUFFER_BYTES_MAX, "{held} bytes are held");
    }
}

#[test]
fn what_is_only_appended_is_in_memory_only() {
    let (disk, mut journal) = journal(Durability::Kill, &[]);
    let before = disk.bytes();
    journal.append(&value(1, b"a")).unwrap();
    drop(journal);
    assert_eq!(disk.bytes(), before);
}

#[test]
fn every_error_says_what_to_do() {
    let kinds = [
        (io::ErrorKind::StorageFull, "make room there, then resume the run"),
        (io::ErrorKind::QuotaExceeded, "make room there, then resume the run"),
        (io::ErrorKind::PermissionDenied, "let its owner write there, then resume the run"),
        (io::ErrorKind::ReadOnlyFilesystem, "let its owner write there, then resume the run"),
    ];
    for (kind, advice) in kinds {
        let said = Failing::create(kind).to_string();
        assert!(said.starts_with("write to journal /runs/r/journal: ") && said.ends_with(advice), "{said}");
    }
}
