//! Being a worker: whoever starts this program with the right words gets one, and never comes back from [`init`].

use crate::StartMethod;
use crate::call;
use crate::error::{BuildError, USUAL_CASES};
use crate::hooks;
use crate::process::child;
use brigade_os::text::build_id;
use brigade_worker::Trade;
use std::env;
use std::io;
use std::path::PathBuf;
use std::process;
use std::sync::OnceLock;

/// The word behind which a worker's own words stand.
const MARK: &str = "brigade-worker";

/// How deep this process is nested: set for workers.
const DEPTH: &str = "BRIGADE_DEPTH";

/// A pool in a worker of a pool in a worker … so deep at most.
const DEPTH_MAX: u32 = 10;

/// Set once this program can be a worker, and in every worker: pools may be nested.
static ENTRY: OnceLock<()> = OnceLock::new();

/// Set in workers of pools and their templates.
static WORKER: OnceLock<()> = OnceLock::new();

/// Makes this program one whose functions can be called in workers. To be called first in `main`: in a worker it serves
/// calls and ends the process, and whatever stands before it is done by each worker, too.
///
/// ```standalone_crate
/// fn main() -> Result<(), brigade::BuildError> {
///     brigade::init();
///     let pool = brigade::Pool::new()?;
///     assert_eq!(pool.submit(|n: u32| n + 1, 41).join(), Ok(42));
///     Ok(())
/// }
/// ```
///
/// # Panics
/// If this program has other threads already: workers are forked, and a fork takes one thread along and the locks of all.
pub fn init() {
    serve_if_asked();
    if ENTRY.get().is_some() {
        return;
    }
    let threads = brigade_os::proc::own_threads();
    assert!(
        threads <= 1,
        "brigade::init() must be called first in main: there are {threads} threads already {USUAL_CASES}"
    );
    ENTRY.get_or_init(|| ());
}

/// What [`test_entry!`](crate::test_entry) calls in a test; a worker never comes so far.
#[doc(hidden)]
pub fn init_in_tests() {
    ENTRY.get_or_init(|| ());
}

/// What it has called before libtest's `main`, in tests and in their workers.
#[doc(hidden)]
pub fn serve_in_tests() {
    serve_if_asked();
}

/// Lets the tests of a crate use pools, where libtest owns `main`: once in the crate's tests, or in each file of its `tests/`.
/// Every test that uses a pool calls the function that it makes first. Workers of a test program do not come to libtest's
/// `main`: the loader calls what this puts in front of it, as it calls constructors of C++.
///
/// ```
/// # mod tests_of_mine {
/// brigade::test_entry!(brigade_in_tests);
///
/// fn double(n: u32) -> u32 { 2 * n }
///
/// // A `#[test]`, of course.
/// # pub
/// fn doubles() {
///     brigade_in_tests();
///     let pool = brigade::Pool::new().unwrap();
///     assert_eq!(pool.submit(double, 21).join(), Ok(42));
/// }
/// # }
/// # tests_of_mine::doubles();
/// ```
#[macro_export]
macro_rules! test_entry {
    ($init:ident) => {
        fn $init() {
            $crate::init_in_tests();
        }

        $crate::before_main!($crate::serve_in_tests);
    };
}

/// This program. Not its path: another build may stand there by now.
pub(crate) const OWN: &str = "/proc/self/exe";

/// What to say of this program when it was started as a worker and is busy with something else.
pub(crate) fn never_came(seconds: u64) -> String {
    format!("this program did not come to brigade::init() within {seconds} s: call it first in main")
}

/// The program and the words that make it a worker.
pub(crate) fn entry() -> Result<(PathBuf, Vec<String>), BuildError> {
    ENTRY.get().ok_or(BuildError::NoInit)?;
    Ok((PathBuf::from(OWN), vec![MARK.to_owned(), format!("{:016x}", build_id())]))
}

/// How workers and processes are born for which nobody says it in the program.
const START_METHOD: &str = "BRIGADE_START_METHOD";

/// Forked, unless the environment says otherwise.
pub(crate) fn start_method() -> io::Result<StartMethod> {
    let said = env::var_os(START_METHOD).unwrap_or_else(|| "fork".into());
    match said.to_str() {
        Some("fork") => Ok(StartMethod::Fork),
        Some("spawn") => Ok(StartMethod::Spawn),
        Some(_) | None => {
            let words = format!("{START_METHOD} is `{}`: say `fork` or `spawn`", said.display());
            Err(io::Error::new(io::ErrorKind::InvalidInput, words))
        }
    }
}

/// How deep the workers of this process are to be, as their environment has it.
pub(crate) fn depth() -> Result<(String, String), BuildError> {
    let depth = own_depth();
    match depth < DEPTH_MAX {
        true => Ok((DEPTH.to_owned(), (depth + 1).to_string())),
        false => Err(BuildError::TooDeep { depth, most: DEPTH_MAX }),
    }
}

/// How deep this process is; 0 for the main one.
fn own_depth() -> u32 {
    env::var(DEPTH).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// This is a worker of a pool, or its template.
pub(crate) fn be_worker() {
    WORKER.get_or_init(|| ());
}

/// Whether this is a worker of a pool.
pub(crate) fn is_worker() -> bool {
    WORKER.get().is_some()
}

/// Whether the main process has started this one.
pub(crate) fn is_child_of_main() -> bool {
    own_depth() == 1
}

/// Serves calls and ends the process, if it is a worker of a pool; or the one function that it is there for, if it is a process.
pub(crate) fn serve_if_asked() {
    let mut words = env::args_os().skip(1).map_while(|word| word.into_string().ok());
    // Whoever says the mark by chance has no such environment.
    if words.next().as_deref() != Some(MARK) || env::var_os(DEPTH).is_none() || ENTRY.get().is_some() {
        return;
    }
    let build = words.next().unwrap_or_default();
    if build != format!("{:016x}", build_id()) {
        eprintln!("worker is of build {:016x}, its pool of build {build}: rebuild or restart", build_id());
        process::exit(78);
    }
    ENTRY.get_or_init(|| ());
    let words: Vec<String> = words.collect();
    if let Some(code) = child::serve_as(&words) {
        process::exit(code);
    }
    be_worker();
    let trade = Trade { tasks: &[(call::NAME, call::run)], begin: hooks::begin, end: hooks::end };
    if let Some(code) = brigade_worker::serve_as(words.into_iter(), trade) {
        process::exit(exit_code(code));
    }
}

/// `ExitCode` keeps its number to itself.
pub(crate) fn exit_code(code: process::ExitCode) -> i32 {
    (0..=255).find(|number| process::ExitCode::from(*number) == code).map_or(1, i32::from)
}
