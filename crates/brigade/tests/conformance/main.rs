//! The scenarios of the peers' own suites, written anew: CPython's `_test_multiprocessing` and `test_concurrent_futures`, loky,
//! pebble, mpire, billiard. docs/CONFORMANCE.md says which scenario is which test; `stage` adds to the kit what they need.

mod crash;
mod data_path;
#[path = "../kit/mod.rs"]
mod kit;
mod life_cycle;
mod shutdown;
mod stage;
mod surroundings;
mod time_limits;

brigade::test_entry!(in_tests);
