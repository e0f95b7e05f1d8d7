//! C17: two processes take pages to be fetched from a queue, each with three threads.

mod article;

use article::{fetch, second, seconds, serve};
use brigade::{Process, Queue};
use std::error::Error;
use std::thread;
use std::time::Instant;

fn work((urls, pages): (Queue<String>, Queue<String>)) {
    let fetch_all = || {
        for url in urls.iter() {
            pages.put(&fetch(url.expect("a URL"))).expect("it is open");
        }
    };
    thread::scope(|scope| (0..3).for_each(|_| drop(scope.spawn(fetch_all))));
}

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    let server = serve(second())?;
    let (urls, pages) = (Queue::new()?, Queue::new()?);
    for page in 0..12 {
        urls.put(&format!("http://{server}/{page}"))?;
    }
    urls.close();

    let began = Instant::now();
    let queues = || (urls.clone(), pages.clone());
    let workers = [Process::builder(work, queues()).start()?, Process::builder(work, queues()).start()?];
    workers.iter().for_each(|worker| _ = worker.join());
    pages.close();
    let time = began.elapsed();

    let mut fetched = pages.iter().collect::<Result<Vec<_>, _>>()?;
    println!("{} pages after {time:.2?}", fetched.len());
    fetched.sort();
    let mut expected = (0..12).map(|page| format!("this is /{page}")).collect::<Vec<_>>();
    expected.sort();
    assert_eq!(fetched, expected);
    assert!(time < 6 * second(), "in a row it would be 12 seconds, by six it is 2");
    seconds([time]);
    Ok(())
}
