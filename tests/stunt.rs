//! A worker that does what workers must not do: it offers `range-sum`, and misbehaves at one number.
//!
//! `STUNT=act@number` names what it does in the task whose range holds that number; with `STUNT_MARK=file` only
//! the first time (the file is made then). `STUNT_EXIT_AT_BIRTH=code` ends every worker that is executed anew.

use brigade_tasks::range_sum;
use std::fs::File;
use std::process::{Command, ExitCode, Stdio, abort, exit};
use std::thread::sleep;
use std::time::Duration;

fn main() -> ExitCode {
    if std::env::args().nth(1).is_some_and(|role| role == "born")
        && let Ok(code) = std::env::var("STUNT_EXIT_AT_BIRTH")
    {
        eprintln!("no room at the inn");
        return ExitCode::from(code.parse::<u8>().unwrap_or(1));
    }
    brigade_worker::main(&[(range_sum::NAME, stunt)])
}

fn stunt(args: &[u8]) -> Result<Vec<u8>, String> {
    let number = |at: usize| u64::from_le_bytes(args[at..at + 8].try_into().expect("eight bytes"));
    let told = std::env::var("STUNT").unwrap_or_default();
    if let Some((act, at)) = told.split_once('@')
        && at.parse().is_ok_and(|at| (number(0)..number(8)).contains(&at))
        && is_first_time()
    {
        perform(act)?;
    }
    range_sum::run(args)
}

fn is_first_time() -> bool {
    std::env::var("STUNT_MARK").map_or(true, |mark| File::create_new(mark).is_ok())
}

fn perform(act: &str) -> Result<(), String> {
    match act.split_once(':').unwrap_or((act, "")) {
        ("abort", _) => abort(),
        ("exit", code) => exit(code.parse().unwrap_or(1)),
        ("panic", _) => panic!("the stunt went wrong"),
        ("fail", _) => return Err("the stunt was refused".into()),
        ("hang", _) => loop {
            sleep(Duration::from_secs(3_600));
        },
        ("spin", _) => loop {
            std::hint::spin_loop();
        },
        // Left behind in the worker's process group, as a careless task would.
        ("child", _) => {
            let child = Command::new("sleep").arg("4321").stdin(Stdio::null()).spawn();
            println!("left pid {}", child.map_err(|error| error.to_string())?.id());
        }
        (unknown, _) => return Err(format!("there is no stunt {unknown}")),
    }
    Ok(())
}
