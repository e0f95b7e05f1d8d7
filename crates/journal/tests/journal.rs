//! The rules of the journal, each with the disk that would break it.

mod rules;
mod storm;
