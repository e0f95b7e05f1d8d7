//! One rule, one test, on a disk that does nothing but what the rule is about.

mod endings;
mod files;
mod format;
mod identities;
mod kit;
mod limits;
