//! The bytes as they stand in the file: whoever changes them learns here that the version has to rise.

use super::kit::{blamed, journal, value};
use brigade_journal::{Durability, Record};

const HEADER_BODY: &[u8] = b"\x01r\x01f\x051..=9\xfb\xe8\x03\x03\x04\x00";
const HEADER_BYTES: usize = 24 + HEADER_BODY.len();

/// Castagnoli's sum bit by bit: the crate that we use must agree with the definition.
fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!seed, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0x82F6_3B78 & 0u32.wrapping_sub(sum & 1)))
    })
}

fn framed(seed: u32, at: usize, body: &[u8]) -> Vec<u8> {
    let length = body.len() as u32;
    let sum = crc32c(seed ^ at as u32 ^ length.rotate_left(11), body);
    [&length.to_le_bytes()[..], &sum.to_le_bytes(), body].concat()
}

#[test]
fn golden_header() {
    let (disk, _) = journal(Durability::Kill, &[]);
    let bytes = disk.bytes();
    assert_eq!(bytes[..16], *b"BRIGADEJ\x02\0\0\0\x10\0\0\0");
    assert_eq!(bytes[16..20], crc32c(0, &bytes[..16]).to_le_bytes());
    assert_eq!(bytes[20..24], crc32c(0, &[&bytes[..20], HEADER_BODY].concat()).to_le_bytes());
    assert_eq!(bytes[24..], *HEADER_BODY);
    assert_eq!(bytes[16..24], [0x77, 0x1E, 0xD7, 0xB1, 0xFD, 0x5D, 0xBB, 0x2D], "{bytes:02X?}");
}

#[test]
fn golden_journal_records() {
    let (disk, _) = journal(
        Durability::Power,
        &[&[value(300, &[7, 8]), value(301, &[9, 0, 0])], &[blamed(5, 1), Record::Resumed { at_unix_s: 9 }]],
    );
    let bytes = disk.bytes();
    let seed = u32::from_le_bytes(bytes[20..24].try_into().unwrap());
    let bodies: [&[u8]; 5] = [
        b"\xfa\x28\0\0\0\0\0\0\0", // a mark: the header is synced, 40 bytes
        // Of worker 1.2 in attempt 1: task 300, a value of two bytes; the next task, one of one byte and two zeros.
        b"\xf9\x01\x02\x01\xd8\x04\x04\x07\x08\0\x03\x02\x09",
        b"\xfa\x4e\0\0\0\0\0\0\0", // a mark: the first batch is synced, 78 bytes
        b"\x01\x05\x01\x01\x02\x02\x01\x12", // task 5: attempt 1, worker 1.2, crashed by SIGKILL
        b"\x02\x09",               // resumed at second 9
    ];
    let mut expected = bytes[..HEADER_BYTES].to_vec();
    for body in bodies {
        expected.extend(framed(seed, expected.len(), body));
    }
    assert_eq!(bytes, expected, "{bytes:02X?}");
}

#[test]
fn a_value_of_sixteen_bytes_takes_eighteen_where_tasks_follow_each_other() {
    let (_, mut journal) = journal(Durability::Kill, &[]);
    let mut bytes_of = |task| {
        let before = journal.end();
        journal.append(&value(task, &[7; 16])).unwrap();
        journal.end() - before
    };
    assert_eq!(
        [0, 1, 2, 60, 3, 4].map(&mut bytes_of),
        [30, 18, 18, 18, 18, 18],
        "a step back and forth is as short"
    );
    assert_eq!([1_000, 1 << 32].map(&mut bytes_of), [19, 22]);
}
