//! B4: a daemonic child dies with its main process. The program is run by itself, to see what it leaves.

mod article;

use article::seconds;
use brigade::Process;
use std::env;
use std::error::Error;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

fn outstay(_: ()) {
    thread::sleep(Duration::from_secs(600));
    println!("nobody has ended me");
}

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    if env::args().nth(1).as_deref() == Some("alone") {
        let process = Process::builder(outstay, ()).daemon(true).start()?;
        println!("{} is alive: {}", process.name(), process.is_alive());
        return Ok(());
    }
    let began = Instant::now();
    // Whoever lives has this pipe open still, and it would not end.
    let alone = Command::new(env::current_exe()?).arg("alone").stderr(Stdio::inherit()).output()?;
    let said = String::from_utf8(alone.stdout)?;
    print!("{said}");
    assert!(alone.status.success());
    assert_eq!(said, "Process-1 is alive: true\n");
    seconds([began.elapsed()]);
    Ok(())
}
