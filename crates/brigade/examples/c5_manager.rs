//! C5: a list that a manager serves, and three processes append to.

mod article;

use article::seconds;
use brigade::Process;
use brigade::manager::{ListProxy, Manager};
use std::error::Error;
use std::time::Instant;

fn append((list, name): (ListProxy<String>, u32)) {
    list.append(&format!("process {name}")).expect("the manager is there");
}

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    let began = Instant::now();
    let manager = Manager::new()?;
    let list = manager.list()?;
    let processes = [1, 2, 3].map(|name| Process::builder(append, (list.clone(), name)).start());
    for process in processes {
        process?.join();
    }

    let mut entries = list.to_vec()?;
    println!("{entries:?}");
    entries.sort();
    assert_eq!(entries, ["process 1", "process 2", "process 3"]);
    seconds([began.elapsed()]);
    Ok(())
}
