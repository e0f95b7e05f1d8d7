//! C3: a producer and a consumer over a queue; `None` says that no more will come, and `join` waits until all is done.

mod article;

use article::seconds;
use brigade::{Process, Queue};
use std::error::Error;
use std::time::Instant;

fn produce(queue: Queue<Option<u32>>) {
    for n in 0..5 {
        println!("Produced {n}");
        queue.put(&Some(n)).expect("it is open");
    }
    queue.put(&None).expect("it is open");
}

fn consume(queue: Queue<Option<u32>>) {
    let mut consumed = Vec::new();
    while let Some(n) = queue.get().expect("it is open") {
        println!("Consumed {n}");
        consumed.push(n);
        queue.task_done().expect("it was got");
    }
    queue.task_done().expect("None was got, too");
    assert_eq!(consumed, [0, 1, 2, 3, 4]);
}

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    let began = Instant::now();
    let queue = Queue::bounded(2)?;
    let producer = Process::builder(produce, queue.clone()).start()?;
    let consumer = Process::builder(consume, queue.clone()).start()?;
    producer.join();
    queue.join();
    consumer.join();

    println!("All is done");
    assert_eq!((producer.exit_code(), consumer.exit_code()), (Some(0), Some(0)));
    assert!(queue.empty());
    seconds([began.elapsed()]);
    Ok(())
}
