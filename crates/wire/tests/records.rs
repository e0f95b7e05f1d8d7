//! The codec of records is as short as it says, bounded both ways, and refuses what is no record.

use brigade_wire::{
    Attempt, Exit, FailedAttempt, Mishap, Outcome, RECORD_BYTES_MAX, RecordError, SlotId, TaskId, WorkerId,
    decode_record, encode_record,
};

fn encoded(value: &impl serde::Serialize) -> Vec<u8> {
    let mut buffer = Vec::new();
    encode_record(value, &mut buffer).expect("it is small");
    buffer
}

#[test]
fn golden_records() {
    assert_eq!(encoded(&Outcome::Value(vec![9, 8])), [0, 2, 9, 8]);
    assert_eq!(encoded(&Outcome::Failed("no".into())), [1, 2, b'n', b'o']);
    let panicked = Outcome::Panicked { message: "a".into(), location: String::new() };
    assert_eq!(encoded(&panicked), [2, 1, b'a', 0]);
    let worker = WorkerId { slot: SlotId(2), incarnation: 300 };
    let end = Mishap::Crashed(Exit::Signal(9));
    let quarantined =
        Outcome::Quarantined { attempts: vec![FailedAttempt { attempt: Attempt(3), worker, end }] };
    assert_eq!(encoded(&quarantined), [3, 1, 3, 2, 251, 44, 1, 2, 1, 18]);
    assert_eq!(decode_record::<Outcome>(&encoded(&quarantined)).unwrap(), quarantined);
    assert_eq!(encoded(&TaskId(1_000_000)).len(), 5);
}

#[test]
fn a_value_larger_than_a_record_is_refused_and_leaves_the_buffer_as_it_was() {
    let mut buffer = vec![1, 2, 3];
    let large = Outcome::Value(vec![0; RECORD_BYTES_MAX]);
    assert!(matches!(encode_record(&large, &mut buffer), Err(RecordError::Encode(_))));
    assert_eq!(buffer, [1, 2, 3]);
}

#[test]
fn the_largest_record_that_can_be_written_can_be_read() {
    let value = encoded(&Outcome::Value(vec![0; RECORD_BYTES_MAX - 6]));
    assert_eq!(value.len(), RECORD_BYTES_MAX);
    assert!(decode_record::<Outcome>(&value).is_ok());
    let numbers = encoded(&vec![1_u64; RECORD_BYTES_MAX - 5]);
    assert_eq!(numbers.len(), RECORD_BYTES_MAX);
    assert!(decode_record::<Vec<u64>>(&numbers).is_ok());
}

#[test]
fn every_cut_and_every_byte_too_many_is_an_error() {
    let whole = encoded(&Outcome::Value(vec![1, 2, 3]));
    for cut in 0..whole.len() {
        assert!(decode_record::<Outcome>(&whole[..cut]).is_err(), "cut at {cut}");
    }
    let longer = [&whole[..], &[0]].concat();
    assert!(matches!(decode_record::<Outcome>(&longer), Err(RecordError::Trailing(1))));
}

#[test]
fn a_record_length_of_two_to_the_sixtieth_takes_no_memory() {
    let mut bytes = vec![0, 253];
    bytes.extend((1u64 << 60).to_le_bytes());
    assert!(matches!(decode_record::<Outcome>(&bytes), Err(RecordError::Decode(_))));
}
