//! C5: a queue from one process to another: what is put first is got first.

mod article;

use article::seconds;
use brigade::{Process, Queue};
use std::error::Error;
use std::time::Instant;

fn writer(queue: Queue<String>) {
    for n in 0..5 {
        queue.put(&format!("message {n}")).expect("it is open");
    }
    queue.close();
}

fn reader(queue: Queue<String>) {
    for (n, message) in queue.iter().enumerate() {
        let message = message.expect("a message");
        println!("Got: {message}");
        assert_eq!(message, format!("message {n}"));
    }
    assert!(queue.is_closed());
}

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    let began = Instant::now();
    let queue = Queue::new()?;
    let reader = Process::builder(reader, queue.clone()).start()?;
    let writer = Process::builder(writer, queue).start()?;
    writer.join();
    reader.join();
    assert_eq!((writer.exit_code(), reader.exit_code()), (Some(0), Some(0)));
    seconds([began.elapsed()]);
    Ok(())
}
