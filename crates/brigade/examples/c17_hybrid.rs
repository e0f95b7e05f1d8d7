//! C17: two processes take pages from a queue and fetch them, each by three threads; and the same by a pool whose workers have
//! three threads.

mod article;

use article::{fetch, second, seconds, serve, timed};
use brigade::{Exit, Pool, Process, Queue};
use std::error::Error;
use std::thread;

const PAGES: usize = 12;

/// Until the queue is closed and empty, three at a time.
fn work((urls, pages): (Queue<String>, Queue<String>)) {
    let take = || urls.iter().for_each(|url| pages.put(&fetch(url.expect("a page"))).expect("it is open"));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(take);
        }
    });
}

fn by_hand(mut all: impl Iterator<Item = String>) -> Result<Vec<String>, Box<dyn Error>> {
    let (urls, pages) = (Queue::new()?, Queue::new()?);
    let start = || Process::builder(work, (urls.clone(), pages.clone())).start();
    let workers = [start()?, start()?];
    all.try_for_each(|url| urls.put(&url))?;
    urls.close();
    for worker in workers {
        assert_eq!(worker.join(), Exit::Code(0));
    }
    pages.close();
    let mut pages = pages.iter().collect::<Result<Vec<String>, _>>()?;
    pages.sort_by_key(|page| page.rsplit('/').next().and_then(|number| number.parse::<usize>().ok()));
    Ok(pages)
}

fn by_a_pool(all: impl Iterator<Item = String>) -> Result<Vec<String>, Box<dyn Error>> {
    let pool = Pool::builder().procs(2).threads_per_worker(3).build()?;
    Ok(pool.map(fetch, all).collect::<Result<_, _>>()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    let server = serve(second())?;
    let urls = || (0..PAGES).map(|page| format!("http://{server}/{page}"));
    let expected: Vec<String> = (0..PAGES).map(|page| format!("this is /{page}")).collect();

    let (by_hand, first) = timed(|| by_hand(urls()));
    let (by_a_pool, second_time) = timed(|| by_a_pool(urls()));
    println!("{PAGES} pages by hand after {first:.2?}, by a pool after {second_time:.2?}");
    assert!(by_hand? == expected && by_a_pool? == expected);
    assert!(first.max(second_time) < 10 * second(), "in a row it would be 12 seconds, by six it is 2");
    seconds([first, second_time]);
    Ok(())
}
