//! C15: a list of pages is fetched by four processes.

mod article;

use article::{fetch, second, seconds, serve, timed};
use brigade::Pool;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    let server = serve(second())?;
    let urls = (0..8).map(|page| format!("http://{server}/{page}"));

    let pool = Pool::builder().procs(4).build()?;
    let (pages, time) = timed(|| pool.map(fetch, urls).collect::<Result<Vec<_>, _>>());

    for (n, page) in pages?.into_iter().enumerate() {
        println!("{page}");
        assert_eq!(page, format!("this is /{n}"));
    }
    assert!(time < 7 * second(), "in a row it would be 8 seconds, by four it is 2");
    seconds([time]);
    Ok(())
}
