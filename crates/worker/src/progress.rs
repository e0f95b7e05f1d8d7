//! A long task says that it gets on.

use brigade_os::page::OwnPage;
use std::sync::OnceLock;

/// The page of this worker, for as long as it lives.
static PAGE: OnceLock<OwnPage> = OnceLock::new();

/// Keeps the worker's page where tasks can reach it.
pub(crate) fn keep(page: OwnPage) -> &'static OwnPage {
    PAGE.get_or_init(|| page)
}

/// The page of this worker, once it serves.
pub(crate) fn page() -> Option<&'static OwnPage> {
    PAGE.get()
}

/// Says that the running task gets on: its deadline counts from now. Costs a look at the clock and two stores, so it
/// may be called in a loop; from any thread of the worker. Outside a worker it does nothing.
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
    if let Some(page) = PAGE.get() {
        page.progress();
    }
}
