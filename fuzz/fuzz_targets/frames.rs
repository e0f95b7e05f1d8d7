//! Whatever is taken for a frame is one: its bytes are the only ones that say it. Each is tried as it comes, and with a sum that
//! holds.
#![no_main]

use brigade_wire::{Command, Report, decode, encode, seal};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut sealed = bytes.to_vec();
    seal(&mut sealed);
    try_out(bytes);
    try_out(&sealed);
});

fn try_out(bytes: &[u8]) {
    if let Ok(report) = decode::<Report>(bytes) {
        assert_eq!(encode(&report).expect("it was a frame"), bytes);
    }
    if let Ok(command) = decode::<Command>(bytes) {
        assert_eq!(encode(&command).expect("it was a frame"), bytes);
    }
}
