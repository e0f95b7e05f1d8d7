//! A worker of a user.

use consumer::{range_sum, word_count};
use std::process::ExitCode;

fn main() -> ExitCode {
    brigade::worker(brigade::tasks![range_sum, word_count])
}
