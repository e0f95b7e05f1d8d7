//! The command `supervisor`: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    brigade_cli::main()
}
