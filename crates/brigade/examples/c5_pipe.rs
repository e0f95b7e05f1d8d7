//! C5: a pipe between two processes, and an answer through the same.

mod article;

use article::{seconds, timed};
use brigade::{Connection, Process, duplex};
use std::error::Error;

fn sender(pipe: Connection<String, String>) {
    pipe.send(&"hello from sender".to_owned()).expect("the receiver is there");
    let answer = pipe.recv().expect("the receiver answers");
    println!("Received: {answer}");
    assert_eq!(answer, "hello from receiver");
}

fn receiver(pipe: Connection<String, String>) {
    let message = pipe.recv().expect("the sender sends");
    println!("Received: {message}");
    assert_eq!(message, "hello from sender");
    pipe.send(&"hello from receiver".to_owned()).expect("the sender is there");
}

fn converse() -> Result<[Option<i32>; 2], Box<dyn Error>> {
    let (one_end, other_end) = duplex()?;
    let processes =
        [Process::builder(sender, one_end).start()?, Process::builder(receiver, other_end).start()?];
    Ok(processes.map(|process| {
        process.join();
        process.exit_code()
    }))
}

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    let (exit_codes, time) = timed(converse);
    assert_eq!(exit_codes?, [Some(0), Some(0)]);
    seconds([time]);
    Ok(())
}
