//! C15: an echo server with a handler for each client. What it does with the words of a client is done in another process, so
//! whoever sends words that crash it harms nobody else.

mod article;

use article::{seconds, timed};
use brigade::Pool;
use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::{process, thread};

fn reply(line: String) -> String {
    if line == "crash" {
        process::abort();
    }
    format!("echo: {line}")
}

fn handle(client: TcpStream, pool: &Pool) -> io::Result<()> {
    client.set_nodelay(true)?;
    for line in BufReader::new(&client).lines() {
        let reply = pool.submit(reply, line?).join().unwrap_or_else(|error| format!("error: {error}"));
        writeln!(&client, "{reply}")?;
    }
    Ok(())
}

fn say(mut server: &TcpStream, line: &str) -> io::Result<String> {
    writeln!(server, "{line}")?;
    let mut reply = String::new();
    BufReader::new(server).read_line(&mut reply)?;
    print!("{reply}");
    Ok(reply)
}

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    let pool = Arc::new(Pool::builder().procs(2).attempts(1).build()?);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let pool = Arc::clone(&pool);
            thread::spawn(move || handle(client, &pool));
        }
    });

    let (spoken, time) = timed(|| -> io::Result<()> {
        let [alice, mallory] = [TcpStream::connect(address)?, TcpStream::connect(address)?];
        assert_eq!(say(&alice, "hello")?, "echo: hello\n");
        assert!(say(&mallory, "crash")?.starts_with("error: given up after 1 attempt"));
        assert_eq!(say(&alice, "still here?")?, "echo: still here?\n");
        assert_eq!(say(&mallory, "sorry")?, "echo: sorry\n");
        Ok(())
    });
    spoken?;
    seconds([time]);
    Ok(())
}
