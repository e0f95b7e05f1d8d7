//! C12: the same three downloads, awaited together and by three threads. A job is a future, so any executor will do.

mod article;

use article::{fetch, second, seconds, serve, timed};
use brigade::{Executor, Job, ThreadExecutor};
use futures::executor::block_on;
use futures::future::try_join_all;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    let server = serve(2 * second())?;
    let urls = ["a", "b", "c"].map(|page| format!("http://{server}/{page}"));

    let executor = ThreadExecutor::new(3)?;
    let start = || urls.clone().map(|url| executor.submit(fetch, url));

    let (awaited, async_time) = timed(|| block_on(try_join_all(start())));
    let (joined, thread_time) = timed(|| start().map(Job::join));
    println!("async:   {awaited:?} after {async_time:.2?}");
    println!("threads: {joined:?} after {thread_time:.2?}");

    assert_eq!(awaited?, ["this is /a", "this is /b", "this is /c"]);
    assert_eq!(joined, ["a", "b", "c"].map(|page| Ok(format!("this is /{page}"))));
    assert!(async_time.max(thread_time) < 4 * second(), "in a row it would be 6 seconds");
    seconds([async_time, thread_time]);
    Ok(())
}
