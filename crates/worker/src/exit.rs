//! The exits that the supervisor understands, as a process returns them.

use brigade_wire::Exit;
use std::process::ExitCode;

/// The number of an exit.
pub(crate) fn code(exit: Exit) -> ExitCode {
    match exit {
        Exit::Code(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        Exit::Signal(_) | Exit::Unknown => ExitCode::FAILURE,
    }
}
