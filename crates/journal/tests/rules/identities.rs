//! Whose journal it is, and who is turned away.

use super::kit::{identity, journal, reopen};
use crate::storm::disk::Disk;
use brigade_journal::{Durability, Identity, Journal, OpenError};

#[test]
fn a_run_that_differs_in_anything_but_its_name_is_turned_away_by_what_differs() {
    let (disk, _) = journal(Durability::Kill, &[]);
    let replay = Journal::open(disk).unwrap();
    assert_eq!(replay.identity(), &identity());
    assert!(replay.check(&Identity { run: "moved".into(), ..identity() }).is_ok());
    let others = [
        (Identity { function: "g".into(), ..identity() }, "task function f there, g here"),
        (Identity { parameters: "1..=8".into(), ..identity() }, "parameters 1..=9 there, 1..=8 here"),
        (Identity { tasks: 999, ..identity() }, "number of tasks 1000 there, 999 here"),
        (
            Identity { input_hash: 1, ..identity() },
            "input hash 0000000000000003 there, 0000000000000001 here",
        ),
        (Identity { protocol: 1, ..identity() }, "protocol 0000000000000004 there, 0000000000000001 here"),
    ];
    for (here, words) in others {
        let error = replay.check(&here).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("journal disk is of another run: {words}; resume it as it was begun, or start a new run")
        );
    }
}

#[test]
fn a_journal_of_another_version_is_turned_away_by_its_number() {
    let mut bytes = journal(Durability::Kill, &[]).0.bytes();
    bytes[8] = 7;
    let sum = crc32c::crc32c(&bytes[..16]).to_le_bytes();
    bytes[16..20].copy_from_slice(&sum);
    let error = reopen(&bytes).unwrap_err();
    assert!(matches!(error, OpenError::Version { found: 7, ours: 2, .. }), "{error}");
}

#[test]
fn another_file_is_not_a_journal() {
    for bytes in [&b"#!/bin/sh\n"[..], b"BRIGADEK................", b"x"] {
        let error = reopen(bytes).unwrap_err();
        assert!(matches!(error, OpenError::NotAJournal { .. }), "{error}");
    }
}

#[test]
fn what_the_run_was_promised_holds_for_those_who_resume_it() {
    for durability in [Durability::Kill, Durability::Power] {
        let (disk, _) = journal(durability, &[]);
        let replay = Journal::open(disk).unwrap();
        assert_eq!(replay.durability(), durability);
        assert_eq!(replay.collect().unwrap().0.durability(), durability);
    }
}

#[test]
fn a_new_journal_does_not_begin_where_there_is_something() {
    let error = Journal::create(Disk::of(b"x"), &identity(), Durability::Kill).map(drop).unwrap_err();
    assert_eq!(error.to_string(), "journal disk is not empty: resume its run, or remove it");
}
