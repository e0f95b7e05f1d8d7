//! C12: the same three downloads: by one thread that waits for all of their sockets at once; awaited together, as futures of any
//! executor; and by three threads.

mod article;

use article::{fetch, second, seconds, serve, timed};
use brigade::connection::wait;
use brigade::{Executor, Job, ThreadExecutor};
use futures::executor::block_on;
use futures::future::try_join_all;
use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// A page on its way.
struct Download {
    server: TcpStream,
    answer: Vec<u8>,
}

impl Download {
    fn start(server: SocketAddr, page: &str) -> io::Result<Download> {
        let mut server = TcpStream::connect(server)?;
        write!(server, "GET /{page} HTTP/1.0\r\n\r\n")?;
        server.set_nonblocking(true)?;
        Ok(Download { server, answer: Vec::new() })
    }

    /// Takes what is there. True when that was all.
    fn go_on(&mut self) -> io::Result<bool> {
        match self.server.read_to_end(&mut self.answer) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn page(&self) -> String {
        let text = String::from_utf8_lossy(&self.answer);
        text.split_once("\r\n\r\n").map_or_else(String::new, |(_, page)| page.to_owned())
    }
}

/// Waits for none of them alone.
fn by_one_thread(server: SocketAddr, pages: [&str; 3]) -> io::Result<Vec<String>> {
    let mut downloads = Vec::new();
    for page in pages {
        downloads.push(Download::start(server, page)?);
    }
    let mut under_way: Vec<usize> = (0..downloads.len()).collect();
    while !under_way.is_empty() {
        let sockets: Vec<&TcpStream> = under_way.iter().map(|at| &downloads[*at].server).collect();
        let ready: Vec<usize> = wait(&sockets, None)?.into_iter().map(|at| under_way[at]).collect();
        for at in ready {
            if downloads[at].go_on()? {
                under_way.retain(|other| *other != at);
            }
        }
    }
    Ok(downloads.iter().map(Download::page).collect())
}

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    let (server, pages) = (serve(2 * second())?, ["a", "b", "c"]);
    let executor = ThreadExecutor::new(3)?;
    let start = || pages.map(|page| executor.submit(fetch, format!("http://{server}/{page}")));

    let (polled, async_time) = timed(|| by_one_thread(server, pages));
    let (awaited, awaited_time) = timed(|| block_on(try_join_all(start())));
    let (joined, thread_time) = timed(|| start().map(Job::join));
    println!("one thread: {polled:?} after {async_time:.2?}");
    println!("awaited:    {awaited:?} after {awaited_time:.2?}");
    println!("threads:    {joined:?} after {thread_time:.2?}");

    let expected = pages.map(|page| format!("this is /{page}"));
    assert!(polled? == expected && awaited? == expected);
    assert_eq!(joined, expected.map(Ok));
    let slowest = async_time.max(awaited_time).max(thread_time);
    assert!(slowest < 6 * second(), "in a row it would be 6 seconds");
    seconds([async_time, thread_time]);
    Ok(())
}
