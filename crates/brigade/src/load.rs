//! What each worker of a pool has done.

use std::fmt;
use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What one place for a worker has done, whoever stood there.
///
/// ```
/// # brigade::test_entry!(init); init();
/// use brigade::{Load, Pool};
///
/// let pool = Pool::builder().procs(1).build()?;
/// assert!(pool.submit(|n: u32| n, 1).join().is_ok());
/// let load: Load = pool.loads()[0];
/// assert_eq!((load.calls, load.deaths), (1, 0));
/// # Ok::<(), brigade::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Load {
    /// The process that is there now; `None` while there is none.
    pub pid: Option<u32>,
    /// Calls that ended there, whatever they brought; a chunk of a map is one.
    pub calls: u64,
    /// How long these took, all in all.
    pub busy: Duration,
    /// Workers that died there and were not to.
    pub deaths: u64,
}

/// [`Pool::loads`](crate::Pool::loads): a slice of them, one for each place, and a small table when it is printed.
///
/// ```
/// # brigade::test_entry!(init); init();
/// use brigade::{Loads, Pool, Schedule};
///
/// let pool = Pool::builder().procs(2).schedule(Schedule::RoundRobin).build()?;
/// assert_eq!(pool.map(|n: u32| n, 0..8).chunk_size(1).count(), 8);
/// let loads: Loads = pool.loads();
/// assert_eq!(loads.iter().map(|load| load.calls).collect::<Vec<_>>(), [4, 4]);
/// println!("{loads}");
/// # Ok::<(), brigade::BuildError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loads(Vec<Load>);

impl Deref for Loads {
    type Target = [Load];

    fn deref(&self) -> &[Load] {
        &self.0
    }
}

impl IntoIterator for Loads {
    type Item = Load;
    type IntoIter = std::vec::IntoIter<Load>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Display for Loads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>6} {:>8} {:>10} {:>10} {:>6}", "worker", "pid", "calls", "busy", "deaths")?;
        for (worker, Load { pid, calls, busy, deaths }) in self.0.iter().enumerate() {
            let (pid, busy) =
                (pid.map_or("-".to_owned(), |pid| pid.to_string()), format!("{:.3}s", busy.as_secs_f64()));
            write!(f, "\n{worker:>6} {pid:>8} {calls:>10} {busy:>10} {deaths:>6}")?;
        }
        Ok(())
    }
}

/// Where the pool's loop keeps them, and anybody reads them.
#[derive(Debug)]
pub(crate) struct Scale(Mutex<Vec<Load>>);

impl Scale {
    pub(crate) fn new(workers: u32) -> Scale {
        Scale(Mutex::new(vec![Load::default(); workers as usize]))
    }

    pub(crate) fn loads(&self) -> Loads {
        Loads(self.lock().clone())
    }

    /// Changes what is said of one place.
    pub(crate) fn change(&self, worker: u32, change: impl FnOnce(&mut Load)) {
        let (mut loads, worker) = (self.lock(), worker as usize);
        if loads.len() <= worker {
            loads.resize_with(worker + 1, Load::default);
        }
        change(&mut loads[worker]);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Load>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_are_printed_as_a_table() {
        let scale = Scale::new(1);
        scale.change(1, |load| {
            *load = Load { pid: Some(4711), calls: 12, busy: Duration::from_millis(1_250), deaths: 1 };
        });
        let table = "worker      pid      calls       busy deaths\n     0        -          0     0.000s      0\n     1     4711         12     1.250s      1";
        assert_eq!(scale.loads().to_string(), table);
    }
}
