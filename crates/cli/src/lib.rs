//! The words and tables of the command `supervisor`: what it is asked, what it says, and its exit code.
//!
//! ```text
//! arguments ─▶ args ─┬─▶ run ─▶ Plan, RangeSum ─▶ brigade_supervisor::run ─▶ Report ─▶ exit code
//!                    │            Line ─▶ Voices ─┬─▶ human: stderr       └▶ answer: stdout
//!                    ├─▶ ps    status.json, /proc ─▶ table
//!                    ├─▶ logs  logs/<pid>.log ─▶ stdout
//!                    └─▶ quarantine  quarantine/<task>.json ─▶ stdout; retry and drop ─▶ the journal
//! ```
//!
//! `ps`, `logs` and `quarantine` ask no supervisor anything: they read what every run publishes in its directory.
#![forbid(unsafe_code)]

mod answer;
mod args;
mod chaos;
mod exit;
mod human;
mod json;
mod logs;
mod now;
mod parse;
mod phrase;
mod ps;
mod quarantine;
mod relay;
mod run;
mod screen;
mod sight;
mod size;
mod table;
mod tail;
mod words;
mod work;

use args::{Cli, Verb};
use exit::Stop;
use std::process::ExitCode;

/// Does what the command line asks for. Never panics over a closed stdout or stderr.
#[must_use]
pub fn main() -> ExitCode {
    // Somebody who wants us dead by SIGSEGV is to have it so.
    let _ = brigade_os::signals::crash_plainly();
    // A panic is our fault, and its exit code must not be taken for the word of a run (101: quarantine).
    let done = std::panic::catch_unwind(|| args::parse(std::env::args_os()).and_then(obey));
    ExitCode::from(done.map_or(exit::INTERNAL, |done| done.unwrap_or_else(Stop::tell)))
}

fn obey(cli: Cli) -> Result<u8, Stop> {
    let Cli { common, run, verb } = cli;
    match verb {
        None => run::run(&common, &run),
        Some(Verb::Run(run)) => run::run(&common, &run),
        Some(Verb::Resume(resume)) => run::resume(&common, &resume),
        Some(Verb::Ps(ps)) => ps::ps(&common, &ps),
        Some(Verb::Logs(logs)) => logs::logs(&common, &logs),
        Some(Verb::Quarantine(asked)) => quarantine::quarantine(&common, &asked),
    }
}
