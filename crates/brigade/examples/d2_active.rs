//! D2: three are started, listed and joined one after the other; then only the main one is left. By threads, as there, and by
//! processes, which are listed for us.

mod article;

use article::{second, seconds};
use brigade::{Process, ProcessError, active_children, current_process};
use std::error::Error;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

/// Threads have no list in Rust: whoever starts them keeps it.
fn threads() -> Result<(), Box<dyn Error>> {
    let start = |n: u32| {
        let life = Arc::new(());
        let ended = Arc::downgrade(&life);
        let body = move || {
            let _life = life;
            thread::sleep(second());
        };
        thread::Builder::new().name(format!("Thread-{n}")).spawn(body).map(|thread| (thread, ended))
    };
    let mut active = (1..=3).map(start).collect::<Result<Vec<_>, _>>()?;
    assert!(active.iter().all(|(_, ended)| ended.upgrade().is_some()));
    for n in 1..=3 {
        let (thread, ended) = active.remove(0);
        let name = thread.thread().name().unwrap_or_default().to_owned();
        thread.join().map_err(|_| "it only sleeps")?;
        println!("{name} {}", ended.upgrade().is_some());
        assert_eq!((name, ended.upgrade()), (format!("Thread-{n}"), None));
    }
    assert!(active.is_empty() && thread::current().name() == Some("main"));
    Ok(())
}

fn processes() -> Result<(), ProcessError> {
    for _ in 0..3 {
        Process::builder(thread::sleep, second()).start()?;
    }
    let active = active_children();
    assert_eq!(active.len(), 3);
    for (n, process) in (1..).zip(&active) {
        process.join();
        println!("{} {}", process.name(), process.is_alive());
        assert_eq!((process.name(), process.is_alive()), (format!("Process-{n}").as_str(), false));
    }
    assert!(active_children().is_empty());
    println!("{}", current_process().name());
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    let began = Instant::now();
    threads()?;
    processes()?;
    seconds([began.elapsed()]);
    Ok(())
}
