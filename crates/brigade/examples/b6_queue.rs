//! B6: a bounded queue, and what it says of itself.

mod article;

use article::seconds;
use brigade::{Queue, QueueError};
use std::error::Error;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let began = Instant::now();
    let queue = Queue::bounded(3)?;
    println!("empty: {}, full: {}, qsize: {}", queue.empty(), queue.full(), queue.qsize());
    assert!(queue.empty() && !queue.full());

    for word in ["one", "two", "three"] {
        queue.put(&word.to_owned())?;
    }
    println!("empty: {}, full: {}, qsize: {}", queue.empty(), queue.full(), queue.qsize());
    assert!(queue.full() && queue.qsize() == 3);
    assert!(matches!(queue.try_put(&"four".to_owned()), Err(QueueError::Full)));

    for word in ["one", "two", "three"] {
        let got = queue.get()?;
        println!("got {got}");
        assert_eq!(got, word);
    }
    assert!(matches!(queue.try_get(), Err(QueueError::Empty)));
    seconds([began.elapsed()]);
    Ok(())
}
