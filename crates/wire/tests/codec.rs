//! The codec refuses whatever is not a frame, and sizes what is.

use brigade_wire::{
    Attempt, Batch, Blob, Call, Command, DecodeError, Ended, Ending, FRAME_BYTES_MAX, Hello, LargeCall,
    LargeEnded, PROTOCOL, Report, SlotId, TaskId, WorkerId, decode, decode_value, encode, encode_value, seal,
};
use std::collections::BTreeMap;

fn call(args: usize) -> Call {
    Call { task: TaskId(7), attempt: Attempt(2), args: vec![0xAB; args] }
}

fn ended(ending: Ending) -> Ended {
    Ended { task: TaskId(7), attempt: Attempt(2), elapsed_ns: 12, ending }
}

#[test]
fn sizes_are_what_the_codec_writes() {
    let endings = [
        Ending::Value(vec![1; 33]),
        Ending::Failed("no".into()),
        Ending::Panicked { message: "index out of bounds".into(), location: "a.rs:1:2".into() },
    ];
    for ending in endings {
        let empty = encode(&Report::Done { consumed: 1, ended: vec![] }).unwrap().len();
        let one = ended(ending);
        let bytes = brigade_wire::Item::encoded_bytes(&one);
        assert_eq!(encode(&Report::Done { consumed: 1, ended: vec![one] }).unwrap().len(), empty + bytes);
    }
    let empty = encode(&Command::Run(vec![])).unwrap().len();
    assert_eq!(empty, 6 + <Call as brigade_wire::Item>::ENVELOPE_BYTES);
    let bytes = brigade_wire::Item::encoded_bytes(&call(16));
    assert_eq!(encode(&Command::Run(vec![call(16)])).unwrap().len(), empty + bytes);
}

#[test]
fn a_full_batch_always_fits_into_one_frame() {
    for args in [0, 1, 16, 100, 1_000, 3_000] {
        let mut batch = Batch::default();
        while batch.push(call(args)).is_ok() {}
        let packet = encode(&Command::Run(batch.take())).unwrap();
        assert!(packet.len() <= FRAME_BYTES_MAX, "{} bytes with {args} bytes of arguments", packet.len());
    }
}

#[test]
fn an_item_larger_than_a_frame_is_refused_and_not_cut() {
    assert!(Batch::default().push(call(FRAME_BYTES_MAX)).is_err());
    assert!(encode(&Command::Run(vec![call(FRAME_BYTES_MAX)])).is_err());
}

/// A frame with this body; its sum is made bit by bit, for the one that is tested has tables.
fn frame(body: &[&[u8]]) -> Vec<u8> {
    let body = body.concat();
    let step = |sum: u32| (sum >> 1) ^ if sum & 1 == 1 { 0x82F6_3B78 } else { 0 };
    let sum =
        !body.iter().fold(u32::MAX, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), |sum, _| step(sum)));
    [&[0xB7, 0x1D][..], &sum.to_le_bytes(), &body].concat()
}

/// The bytes as they stand on the wire: whoever changes them learns here that they did.
#[test]
fn golden_frames() {
    assert_eq!(encode(&Command::Stop).unwrap(), frame(&[&[1, 0, 0, 0]]));
    let run =
        encode(&Command::Run(vec![Call { task: TaskId(3), attempt: Attempt(1), args: vec![9] }])).unwrap();
    let body =
        [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9];
    assert_eq!(run, frame(&[&body]));
    let worker = WorkerId { slot: SlotId(2), incarnation: 5 };
    let hello = encode(&Report::Hello(Hello { protocol: PROTOCOL, worker })).unwrap();
    assert_eq!(hello.len(), 6 + 4 + 8 + 4 + 4);
    let blob = Blob { offset: 65_536, bytes: 5_000, crc: 0x0102_0304 };
    let large = LargeCall { task: TaskId(3), attempt: Attempt(1), file: 9, args: blob };
    let (task, file) = ([3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0], [9, 0, 0, 0]);
    let place = [0, 0, 1, 0, 0, 0, 0, 0, 0x88, 0x13, 0, 0, 0, 0, 0, 0, 4, 3, 2, 1];
    assert_eq!(encode(&Command::RunLarge(large)).unwrap(), frame(&[&[2, 0, 0, 0], &task, &file, &place]));
    let large = LargeEnded { task: TaskId(3), attempt: Attempt(1), elapsed_ns: 12, value: blob };
    let body: [&[u8]; 4] = [&[2, 0, 0, 0, 7, 0, 0, 0], &task, &[12, 0, 0, 0, 0, 0, 0, 0], &place];
    assert_eq!(encode(&Report::DoneLarge { consumed: 7, ended: large }).unwrap(), frame(&body));
}

#[test]
fn every_damage_to_a_frame_is_an_error_and_where_its_sum_holds_never_a_panic() {
    let whole =
        encode(&Report::Done { consumed: 9, ended: vec![ended(Ending::Value(vec![1, 2, 3]))] }).unwrap();
    for cut in 0..whole.len() {
        assert!(decode::<Report>(&whole[..cut]).is_err(), "cut at {cut}");
    }
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut bent = whole.clone();
            bent[at] ^= 1 << bit;
            let error = decode::<Report>(&bent).unwrap_err();
            assert!(matches!(error, DecodeError::Magic | DecodeError::Damaged { .. }), "byte {at}: {error}");
            seal(&mut bent);
            let _ = decode::<Report>(&bent);
        }
    }
    let mut longer = whole.clone();
    longer.push(0);
    assert!(matches!(decode::<Report>(&longer), Err(DecodeError::Damaged { .. })));
    seal(&mut longer);
    assert!(matches!(decode::<Report>(&longer), Err(DecodeError::Trailing(1))));
    assert!(matches!(decode::<Report>(b"hello"), Err(DecodeError::Magic)));
    assert!(matches!(decode::<Report>(&[0; FRAME_BYTES_MAX + 1]), Err(DecodeError::TooLong(_))));
}

#[test]
fn a_length_of_two_to_the_sixtieth_is_refused_before_any_memory_is_taken() {
    let packet = frame(&[&[0, 0, 0, 0], &(1u64 << 60).to_le_bytes()]);
    assert!(matches!(decode::<Command>(&packet), Err(DecodeError::Body(_))));
}

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Gappy {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    first: Option<u8>,
    second: u8,
    third: Option<u8>,
}

#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
enum Shape {
    Unit,
    New(u8),
    Pair(u8, String),
    Named { all: Vec<Gappy>, by: BTreeMap<String, (i64, f32)> },
}

#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
enum Guess {
    Number(u8),
}

/// Read as what stands there, it would be `second: 1, third: None`.
#[test]
fn a_field_that_is_left_out_is_an_error_and_never_another_value() {
    let gappy = Gappy { first: None, second: 0, third: Some(0) };
    let mut bytes = vec![7];
    let error = encode_value(&gappy, &mut bytes).unwrap_err().to_string();
    assert!(error.starts_with("field `first` is left out") && bytes == [7], "{error}");
    let inside = Shape::Named { all: vec![gappy.clone()], by: BTreeMap::new() };
    assert!(encode_value(&(1, Some(inside)), &mut bytes).is_err());
    let whole = Gappy { first: Some(1), ..gappy };
    let by = BTreeMap::from([("key".to_owned(), (-1, 0.5))]);
    let shapes =
        vec![Shape::Unit, Shape::New(1), Shape::Pair(2, "two".into()), Shape::Named { all: vec![whole], by }];
    let mut bytes = Vec::new();
    encode_value(&shapes, &mut bytes).unwrap();
    assert_eq!(decode_value::<Vec<Shape>>(&bytes).unwrap(), shapes);
}

/// There and back, and how many bytes that was on the way.
fn there_and_back<T>(value: &T) -> (T, usize)
where
    T: serde::Serialize + serde::de::DeserializeOwned + 'static,
{
    let mut bytes = vec![7];
    encode_value(value, &mut bytes).expect("it is written");
    (decode_value(&bytes[1..]).expect("it is read"), bytes.len() - 1)
}

#[test]
fn vectors_of_plain_numbers_go_as_they_lie_in_memory_and_others_as_serde_has_them() {
    let (bytes, numbers) = (vec![0_u8, 255, 7], vec![1_u64 << 40, 0, u64::MAX]);
    assert_eq!(there_and_back(&bytes), (bytes.clone(), 3));
    assert_eq!(there_and_back(&numbers), (numbers.clone(), 24));
    assert_eq!(there_and_back(&vec![0.5_f64, -0.0]), (vec![0.5, -0.0], 16));
    assert_eq!(there_and_back(&Vec::<i16>::new()), (vec![], 0));
    // A length of one byte, and bytes.
    assert_eq!(there_and_back(&(bytes.clone(), 1_u8)), ((bytes.clone(), 1), 1 + 3 + 1));
    assert_eq!(there_and_back(&vec![bytes.clone()]).0, [bytes]);
    let torn = decode_value::<Vec<u64>>(&[0; 17]);
    assert!(matches!(torn, Err(brigade_wire::ValueError::Trailing(1))), "{torn:?}");
}

#[test]
fn who_finds_out_by_reading_what_it_is_is_told_what_to_do() {
    let mut bytes = Vec::new();
    encode_value(&Guess::Number(1), &mut bytes).unwrap();
    let error = decode_value::<Guess>(&bytes).unwrap_err().to_string();
    assert!(error.ends_with("send it as text"), "{error}");
}
