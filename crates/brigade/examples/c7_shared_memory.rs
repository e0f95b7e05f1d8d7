//! C7: three processes append five entries each to a list in shared memory, and none is lost.

mod article;

use article::seconds;
use brigade::Process;
use brigade::shared::{SharedArray, SharedValue};
use std::error::Error;
use std::time::Instant;

/// A list that has room for so many entries, and how many there are.
type List = (SharedArray<u32>, SharedValue<u64>);

fn append((name, (entries, length)): (u32, List)) {
    for n in 0..5 {
        let at = length.fetch_add(1);
        entries.set(at as usize, 10 * name + n);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    let began = Instant::now();
    let (entries, length) = (SharedArray::zeroed(15)?, SharedValue::new(0)?);
    let list = || (entries.clone(), length.clone());
    let writers = [1, 2, 3].map(|name| Process::builder(append, (name, list())).start());
    for writer in writers {
        writer?.join();
    }

    let mut all = entries.to_vec();
    println!("{} entries: {all:?}", length.get());
    all.sort_unstable();
    assert_eq!(length.get(), 15);
    assert_eq!(all, [10, 11, 12, 13, 14, 20, 21, 22, 23, 24, 30, 31, 32, 33, 34]);
    seconds([began.elapsed()]);
    Ok(())
}
