//! How many processors a worker is to use: libraries that start threads of their own, and pools in workers, would else count on
//! all of them in each.

use brigade_os::limits;
use std::env;

/// What such libraries read. Whoever has set one is obeyed.
const THREADS: [&str; 8] = [
    "BLIS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
];

/// What a worker is told of it.
const SHARE: &str = "BRIGADE_SHARE";

/// How many this process is to use: a worker its share, anybody else all that it may.
pub(crate) fn own() -> u32 {
    let told = env::var(SHARE).ok().and_then(|text| text.parse().ok()).filter(|share| *share > 0);
    told.unwrap_or(u32::MAX).min(limits::cores())
}

/// What is put into the environment of each of so many workers.
pub(crate) fn of_each(procs: u32) -> impl Iterator<Item = (String, String)> {
    let share = (own() / procs.max(1)).max(1).to_string();
    // What a worker was told is no wish of anybody's.
    let told = env::var_os(SHARE);
    let is_free = move |name: &&str| env::var_os(name).is_none_or(|value| Some(value) == told);
    THREADS.into_iter().filter(is_free).chain([SHARE]).map(move |name| (name.to_owned(), share.clone()))
}
