//! Whatever is taken for a record can be written again, and is read as the same then.
#![no_main]

use brigade_journal::{Identity, Record};
use brigade_wire::{Outcome, decode_record, encode_record};
use libfuzzer_sys::fuzz_target;

macro_rules! there_and_back {
    ($kind:ty, $bytes:expr) => {
        if let Ok(value) = decode_record::<$kind>($bytes) {
            let mut again = Vec::new();
            encode_record(&value, &mut again).expect("no longer than it was");
            assert_eq!(decode_record::<$kind>(&again).expect("it was just written"), value);
        }
    };
}

fuzz_target!(|bytes: &[u8]| {
    there_and_back!(Record, bytes);
    there_and_back!(Outcome, bytes);
    there_and_back!(Identity, bytes);
});
