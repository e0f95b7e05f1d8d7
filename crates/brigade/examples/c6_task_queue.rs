//! C6: two workers take words off a queue of tasks and put them, in upper case, into a queue of results. A lease is given back
//! by whoever dies with it, so no word is lost.

mod article;

use article::seconds;
use brigade::{Process, Queue};
use std::error::Error;
use std::time::Instant;

fn work((tasks, results): (Queue<String>, Queue<String>)) {
    for task in tasks.leases() {
        let task = task.expect("a word");
        results.put(&task.to_uppercase()).expect("it is open");
        task.done();
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    let began = Instant::now();
    let (tasks, results) = (Queue::new()?, Queue::new()?);
    let queues = || (tasks.clone(), results.clone());
    let workers = [Process::builder(work, queues()).start()?, Process::builder(work, queues()).start()?];
    for word in ["apple", "banana", "cherry", "date"] {
        tasks.put(&word.to_owned())?;
    }
    tasks.close();
    workers.iter().for_each(|worker| _ = worker.join());
    results.close();

    let mut words = results.iter().collect::<Result<Vec<_>, _>>()?;
    words.sort();
    println!("{}", words.join(" "));
    assert_eq!(words, ["APPLE", "BANANA", "CHERRY", "DATE"]);
    seconds([began.elapsed()]);
    Ok(())
}
