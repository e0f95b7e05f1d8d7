//! C17: two processes fetch pages, each by three threads.

mod article;

use article::{fetch, second, seconds, serve, timed};
use brigade::Pool;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    let server = serve(second())?;
    let pool = Pool::builder().procs(2).threads_per_worker(3).build()?;

    let urls = (0..12).map(|page| format!("http://{server}/{page}"));
    let (pages, time) = timed(|| pool.map(|url: String| fetch(url), urls).collect::<Result<Vec<_>, _>>());

    let pages = pages?;
    println!("{} pages after {time:.2?}", pages.len());
    assert!((0..12).all(|page| pages[page] == format!("this is /{page}")));
    assert!(time < 6 * second(), "in a row it would be 12 seconds, by six it is 2");
    seconds([time]);
    Ok(())
}
