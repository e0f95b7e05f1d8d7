//! C9: the words of three texts are counted by a pool of three; then five tasks are handed in one by one, and asked for later.

mod article;

use article::{seconds, timed};
use brigade::{Job, Pool};
use std::error::Error;

fn count_words(text: String) -> usize {
    text.split_whitespace().count()
}

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    let pool = Pool::builder().procs(3).build()?;

    let texts = ["hello world", "processes that die", "count these words"].map(String::from);
    let (counts, time) = timed(|| pool.map(count_words, texts).collect::<Result<Vec<_>, _>>());
    let counts = counts?;
    println!("{counts:?}");
    assert_eq!(counts, [2, 3, 3]);

    let jobs: Vec<_> = (0..5).map(|n| pool.submit(|n: u32| 2 * n, n)).collect();
    let doubled: Vec<u32> = jobs.into_iter().map(Job::join).collect::<Result<_, _>>()?;
    println!("{doubled:?}");
    assert_eq!(doubled, [0, 2, 4, 6, 8]);
    seconds([time]);
    Ok(())
}
