//! C15: an echo server with a handler for each client. What it does with the words of a client is done in another process, so
//! whoever sends words that crash it harms nobody else.

mod article;

use article::{seconds, timed};
use brigade::Pool;
use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::{process, thread};

/// After so many, the server closes.
const CLIENTS: usize = 2;

fn reply(line: String) -> String {
    if line == "crash" {
        process::abort();
    }
    format!("echo: {line}")
}

fn handle(client: TcpStream, pool: &Pool) -> io::Result<()> {
    for line in BufReader::new(&client).lines() {
        let reply = pool.submit(reply, line?).join().unwrap_or_else(|error| format!("error: {error}"));
        (&client).write_all(format!("{reply}\n").as_bytes())?;
    }
    Ok(())
}

fn serve(listener: &TcpListener, pool: &Pool) {
    thread::scope(|scope| {
        for client in listener.incoming().take(CLIENTS).flatten() {
            scope.spawn(|| handle(client, pool));
        }
    });
}

fn say(mut server: &TcpStream, line: &str) -> io::Result<String> {
    server.write_all(format!("{line}\n").as_bytes())?;
    let mut reply = String::new();
    BufReader::new(server).read_line(&mut reply)?;
    print!("{reply}");
    Ok(reply)
}

fn chat(server: SocketAddr) -> io::Result<()> {
    let [alice, mallory] = [TcpStream::connect(server)?, TcpStream::connect(server)?];
    assert_eq!(say(&alice, "hello")?, "echo: hello\n");
    assert!(say(&mallory, "crash")?.starts_with("error: given up after 1 attempt"));
    assert_eq!(say(&alice, "still here?")?, "echo: still here?\n");
    assert_eq!(say(&mallory, "sorry")?, "echo: sorry\n");
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    let pool = Pool::builder().procs(2).attempts(1).build()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let (spoken, time) = timed(|| {
        thread::scope(|scope| {
            scope.spawn(|| serve(&listener, &pool));
            chat(address)
        })
    });
    spoken?;
    seconds([time]);
    Ok(())
}
