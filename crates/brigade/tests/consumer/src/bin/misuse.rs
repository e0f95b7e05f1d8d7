//! Programs of users who have read the guide too fast. Which one this is stands in the environment, for a worker has words of its
//! own.

use brigade::{Pool, Process};
use std::env;
use std::thread;
use std::time::Duration;

fn double(n: u32) -> u32 {
    2 * n
}

fn main() {
    let is_worker = env::args().nth(1).as_deref() == Some("brigade-worker");
    match env::var("MISUSE").unwrap_or_default().as_str() {
        "init is forgotten" => {}
        "a thread is there before init" => {
            thread::spawn(|| thread::sleep(Duration::from_secs(3_600)));
            brigade::init();
        }
        "a worker panics before init" => {
            assert!(!is_worker, "no configuration");
            brigade::init();
        }
        "a parser is before init" => {
            if let Some(word) = env::args().nth(1) {
                eprintln!("error: unexpected argument '{word}' found\n\nUsage: misuse");
                std::process::exit(2);
            }
            brigade::init();
        }
        "a worker is busy before init" => {
            if is_worker {
                thread::sleep(Duration::from_secs(3_600));
            }
            brigade::init();
        }
        other => panic!("no program is called {other:?}"),
    }
    match env::var("WITH").unwrap_or_default().as_str() {
        "pool" => match Pool::builder().procs(1).build() {
            Ok(pool) => println!("{:?}", pool.submit(double, 21).join()),
            Err(error) => println!("{error}"),
        },
        "process" => match Process::builder(|n: u32| assert_eq!(n, 1), 1).start() {
            Ok(process) => println!("{:?}", process.join()),
            Err(error) => println!("{error}"),
        },
        other => panic!("nothing is called {other:?}"),
    }
}
