//! What people rely on, tried with real processes and real signals. Names are sentences; the kit is `stage`.

mod allotments;
mod bad_input;
mod births;
mod blobs;
mod chaos;
mod clocks;
mod descent;
mod faults;
mod garbage;
mod last_things;
mod logs;
mod memory;
mod quarantine;
mod range_sum;
mod resize;
mod resume;
mod scarcity;
mod signals;
mod soak;
mod splits;
mod stage;
mod story;
mod sweep;
mod terminal;
mod tidy;
mod unkillable;
