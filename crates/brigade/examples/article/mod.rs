//! What several programs need: the articles' sizes, a clock, and something to fetch.
#![allow(dead_code, reason = "no program needs all of it")]

use std::env;
use std::fmt::Write as _;
use std::hint::black_box;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

/// Set, the programs take as long as the articles' own; else they are a fifth, or a tenth, of their size.
const FULL: &str = "ARTICLE_SIZES";

pub(crate) fn is_full() -> bool {
    env::var_os(FULL).is_some()
}

/// A second of the article.
pub(crate) fn second() -> Duration {
    Duration::from_millis(if is_full() { 1_000 } else { 200 })
}

/// So many of the article's numbers.
pub(crate) fn sized(count: u64) -> u64 {
    if is_full() { count } else { count / 10 }
}

/// What it gives, and how long it takes.
pub(crate) fn timed<R>(run: impl FnOnce() -> R) -> (R, Duration) {
    let began = Instant::now();
    (run(), began.elapsed())
}

/// The last line of each program, which `make programs` reads.
pub(crate) fn seconds<const N: usize>(times: [Duration; N]) {
    let line = times.iter().fold(String::from("seconds"), |mut line, time| {
        let _ = write!(line, " {:.3}", time.as_secs_f64());
        line
    });
    println!("{line}");
}

/// The sum of a range, one number after the other; the compiler is not to find the formula.
pub(crate) fn range_sum(range: Range<u64>) -> u64 {
    range.fold(0, |sum, n| black_box(sum + n))
}

/// A web server on loopback that answers every request after so long. It ends with the program.
pub(crate) fn serve(delay: Duration) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            thread::spawn(move || answer(client, delay));
        }
    });
    Ok(address)
}

fn answer(client: TcpStream, delay: Duration) -> io::Result<()> {
    let mut lines = BufReader::new(&client).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    lines.map_while(Result::ok).take_while(|header| !header.is_empty()).for_each(drop);
    thread::sleep(delay);
    let page = request.split(' ').nth(1).unwrap_or("nothing");
    write!(&client, "HTTP/1.0 200 OK\r\n\r\nthis is {page}")
}

/// The page at `http://…`.
pub(crate) fn fetch(url: String) -> String {
    let (host, page) = url["http://".len()..].split_once('/').expect("http://host/page");
    let mut server = TcpStream::connect(host).expect("the server is there");
    write!(server, "GET /{page} HTTP/1.0\r\nHost: {host}\r\n\r\n").expect("it listens");
    let mut answer = String::new();
    server.read_to_string(&mut answer).expect("it answers");
    answer.split_once("\r\n\r\n").expect("headers, and then the page").1.into()
}
