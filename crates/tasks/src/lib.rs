//! Tasks that ship: what the `worker` binary can do, and what a caller needs to ask for it.
#![forbid(unsafe_code)]

pub mod range_sum;

use brigade_worker::TaskFn;

/// The table of the `worker` binary.
pub const TABLE: &[(&str, TaskFn)] = &[(range_sum::NAME, range_sum::run)];
