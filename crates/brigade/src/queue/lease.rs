//! `Lease`.

use super::table::{Place, Table};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// An item that was taken and is not done: see [`Queue::lease`](super::Queue::lease).
///
/// ```
/// use brigade::{Lease, Queue};
///
/// let queue = Queue::new()?;
/// queue.put(&"hello".to_owned())?;
/// drop(queue.lease()?); // as if its process had died
/// let again: Lease<String> = queue.lease()?;
/// assert_eq!((again.attempt(), again.done()), (2, "hello".to_owned()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping it puts the item back"]
pub struct Lease<T> {
    pub(super) table: Arc<Table>,
    pub(super) place: Place,
    /// There until it is done.
    pub(super) item: Option<T>,
}

impl<T> Lease<T> {
    /// How often it was taken, this time included.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.place.tries
    }

    /// The item is done, and the queue forgets it. It counts as [`Queue::task_done`](super::Queue::task_done), too.
    pub fn done(mut self) -> T {
        self.finish();
        self.item.take().expect("it is there until it is done")
    }

    pub(super) fn finish(&mut self) {
        let guard = self.table.lock();
        self.table.finish(&guard, &self.place, false);
        self.place.tries = 0;
    }
}

impl<T> Drop for Lease<T> {
    fn drop(&mut self) {
        // Not one that is finished.
        if self.place.tries > 0 {
            let guard = self.table.lock();
            self.table.back(&guard, &self.place);
        }
    }
}

impl<T> Deref for Lease<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.item.as_ref().expect("it is there until it is done")
    }
}

impl<T> DerefMut for Lease<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.item.as_mut().expect("it is there until it is done")
    }
}

impl<T: fmt::Debug> fmt::Debug for Lease<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("item", &self.item).field("attempt", &self.place.tries).finish()
    }
}
