//! Raw bytes on a worker's end of ipc-channel's socket. Alone in its program, because it finds that end by
//! looking at which descriptors are new.

use brigade_link::{Death, Heard, conversation};
use brigade_os::inherit;
use brigade_wire::Exit;
use std::collections::BTreeSet;
use std::fs::{File, read_dir, read_link};
use std::io::Write;
use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::time::Duration;

/// Sockets alone: the directory that is read here has a descriptor, too.
fn open_sockets() -> BTreeSet<i32> {
    let entries = read_dir("/proc/self/fd").expect("/proc").flatten();
    let is_socket = |target: PathBuf| target.to_str().is_some_and(|target| target.starts_with("socket:"));
    let sockets = entries.filter(|entry| read_link(entry.path()).is_ok_and(is_socket));
    sockets.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// ipc-channel panics on this (its assertion in `recv`): the panic is caught in the worker's own ear.
#[test]
fn a_raw_byte_from_a_worker_costs_that_worker_only() {
    let before = open_sockets();
    let (_link, ear, tombstone, ends) = conversation().unwrap();
    // Two pairs, sender first: the third new one is the worker's mouth.
    let new: Vec<i32> = open_sockets().difference(&before).copied().collect();
    let mouth = new[2];
    let (sender, heard) = channel();
    ear.listen("ear-0".into(), move |said| drop(sender.send(said))).unwrap();

    let mut raw = File::from(inherit::duplicate(mouth).unwrap());
    raw.write_all(&[1]).unwrap();
    drop(raw);
    drop(ends);
    tombstone.post(Death { exit: Exit::Signal(11), running: vec![], since_ns: None, at_ns: 1 });

    let patience = Duration::from_secs(30);
    let garbled = heard.recv_timeout(patience).expect("it says something");
    assert!(matches!(&garbled, Heard::Garbled(why) if why == "not a packet of ipc-channel"), "{garbled:?}");
    assert!(matches!(heard.recv_timeout(patience), Ok(Heard::Gone(Death { exit: Exit::Signal(11), .. }))));
}
