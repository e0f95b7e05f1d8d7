//! Whatever is taken for a frame is one: its bytes are the only ones that say it.
#![no_main]

use brigade_wire::{Command, Report, decode, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(report) = decode::<Report>(bytes) {
        assert_eq!(encode(&report).expect("it was a frame"), bytes);
    }
    if let Ok(command) = decode::<Command>(bytes) {
        assert_eq!(encode(&command).expect("it was a frame"), bytes);
    }
});
