//! A long task says that it gets on.

use brigade_os::page::{OwnCell, OwnPage};
use std::cell::Cell;
use std::sync::OnceLock;

/// The page of this worker, for as long as it lives, and how many threads write on it.
static PAGE: OnceLock<(OwnPage, u32)> = OnceLock::new();

thread_local! {
    /// Where this thread writes, if it runs tasks.
    static CELL: Cell<Option<OwnCell<'static>>> = const { Cell::new(None) };
}

/// Keeps the worker's page where tasks can reach it.
pub(crate) fn keep(page: OwnPage, threads: u32) {
    page.open(threads);
    let _ = PAGE.set((page, threads));
}

/// This thread runs tasks from now on, as the one of that number.
pub(crate) fn settle_in(thread: u32) -> OwnCell<'static> {
    let (page, threads) = PAGE.get().expect("it is kept before anybody settles in");
    let cell = page.cell(thread);
    if *threads > 1 {
        cell.settle_in();
    }
    CELL.set(Some(cell));
    cell
}

/// The page of this worker, once it serves.
pub(crate) fn page() -> Option<&'static OwnPage> {
    PAGE.get().map(|(page, _)| page)
}

/// Says that the running task gets on: its deadline counts from now. Costs a look at the clock and two stores, so it
/// may be called in a loop. Where a worker runs one task at a time it may be called from any of its threads, and else from
/// the one that runs the task: another's are nobody's. Outside a worker it does nothing.
///
/// ```
/// fn careful(args: &[u8]) -> Result<Vec<u8>, String> {
///     for _chunk in args.chunks(1_000) {
///         brigade_worker::progress();
///     }
///     Ok(vec![])
/// }
/// assert!(careful(&[0; 5_000]).is_ok());
/// ```
pub fn progress() {
    let only = || PAGE.get().filter(|(_, threads)| *threads == 1).map(|(page, _)| page.cell(0));
    if let Some(cell) = CELL.get().or_else(only) {
        cell.progress();
    }
}
