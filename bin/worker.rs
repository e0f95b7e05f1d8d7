//! The command `worker`: what `supervisor` keeps N copies of.

use std::process::ExitCode;

fn main() -> ExitCode {
    brigade_worker::main(brigade_tasks::TABLE)
}
