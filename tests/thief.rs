//! The supervisor in a process that is not its own alone: a thread beside it waits for any child that dies, as a library may
//! do, and takes statuses that are not meant for it.

use brigade_os::strays;
use std::process::ExitCode;
use std::thread;

fn main() -> ExitCode {
    thread::spawn(steal);
    brigade_cli::main()
}

/// As often as it can: the undertaker is woken by the same deaths.
fn steal() {
    loop {
        match strays::some_body() {
            Some(pid) => drop(strays::bury(pid)),
            None => thread::yield_now(),
        }
    }
}
