//! What is done with a pool.

use super::{Builder, Pool};
use crate::call::{Call, Value};
use crate::error::{BuildError, TaskError};
use crate::job::Job;
use crate::load::Loads;
use crate::map::Map;
use crate::order::{self, Intake};
use crate::shared::SharedSlice;
use brigade_os::spread::{Spread, of_tuple};
use std::io;
use std::sync::Arc;

impl Pool {
    /// A pool with as many workers as this process may use processors.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # use brigade::Pool;
    /// let pool = Pool::new()?;
    /// assert_eq!(pool.loads().len(), brigade::cpu_count() as usize);
    /// # Ok::<(), brigade::BuildError>(())
    /// ```
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn new() -> Result<Pool, BuildError> {
        Pool::builder().build()
    }

    /// To say what it is to be like.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn intake(&self) -> Arc<dyn Intake> {
        Arc::clone(&self.desk) as Arc<dyn Intake>
    }

    /// Hands one call in. `function` is a plain function or a closure that captures nothing: only its place in this program
    /// goes to the worker. Calls begin in the order they were handed in.
    ///
    /// What goes wrong, with the argument too, is in the job.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # let pool = brigade::Pool::builder().procs(1).build()?;
    /// let job = pool.submit(|word: String| word.to_uppercase(), "hello".to_owned());
    /// assert_eq!(job.join()?, "HELLO");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn submit<A: Value, R: Value>(&self, function: fn(A) -> R, argument: A) -> Job<R> {
        order::hand_in(self.intake(), Call::of(function), &argument)
    }

    /// Calls the function with each item, in chunks, and gives the results in the order of the items. Nothing is done before
    /// the first result is asked for; from then on the workers are kept busy some chunks ahead, and `items` is drawn from no
    /// faster than that.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # let pool = brigade::Pool::builder().procs(2).build()?;
    /// let quotients: Vec<_> = pool.map(|n: u32| 6 / n, 0..4).map(Result::ok).collect();
    /// assert_eq!(quotients, [None, Some(6), Some(3), Some(2)]);
    /// # Ok::<(), brigade::BuildError>(())
    /// ```
    pub fn map<A: Value, R: Value, I: IntoIterator<Item = A>>(
        &self,
        function: fn(A) -> R,
        items: I,
    ) -> Map<I::IntoIter, A, R> {
        Map::new(self.intake(), Call::of(function), items.into_iter())
    }

    /// Calls the function with each item and gives the results as they come.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # use std::{thread, time::Duration};
    /// # let pool = brigade::Pool::builder().procs(2).build()?;
    /// let naps = [Duration::from_secs(3_600), Duration::ZERO];
    /// let mut naps = pool.map_unordered(thread::sleep, naps).chunk_size(1);
    /// assert_eq!(naps.next(), Some(Ok(())), "the second one");
    /// naps.cancel();
    /// # Ok::<(), brigade::BuildError>(())
    /// ```
    pub fn map_unordered<A: Value, R: Value, I: IntoIterator<Item = A>>(
        &self,
        function: fn(A) -> R,
        items: I,
    ) -> Map<I::IntoIter, A, R> {
        self.map(function, items).unordered()
    }

    /// Calls a function of two, three or four arguments with each tuple, in the order of the items, as [`Pool::map`] does.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # let pool = brigade::Pool::builder().procs(2).build()?;
    /// fn sum(a: u64, b: u64) -> u64 { a + b }
    /// let sums: Result<Vec<u64>, _> = pool.starmap(sum, [(1, 2), (2, 3), (3, 4)]).collect();
    /// assert_eq!(sums, Ok(vec![3, 5, 7]));
    /// # Ok::<(), brigade::BuildError>(())
    /// ```
    pub fn starmap<F, I>(&self, function: F, items: I) -> Map<I::IntoIter, I::Item, F::Output>
    where
        I: IntoIterator<Item: Value>,
        F: Spread<I::Item, Output: Value>,
    {
        self.map(of_tuple(function), items)
    }

    /// Hands one call of a function of two, three or four arguments in: [`Pool::submit`] with a tuple.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// use brigade::{Pool, Spread, TaskError, Value};
    ///
    /// # let pool = Pool::builder().procs(1).build()?;
    /// assert_eq!(pool.apply_async(u64::pow, (2, 10)).join(), Ok(1_024));
    ///
    /// /// For any function of several arguments.
    /// fn call<T: Value, F: Spread<T, Output: Value>>(pool: &Pool, of: F, by: T) -> Result<F::Output, TaskError> {
    ///     pool.apply_async(of, by).join()
    /// }
    /// assert_eq!(call(&pool, |word: String, n: usize| word.repeat(n), ("ha".to_owned(), 2)), Ok("haha".to_owned()));
    /// # Ok::<(), brigade::BuildError>(())
    /// ```
    pub fn apply_async<T: Value, F: Spread<T, Output: Value>>(
        &self,
        function: F,
        arguments: T,
    ) -> Job<F::Output> {
        self.submit(of_tuple(function), arguments)
    }

    /// Calls the function with each item, for what it does.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # use brigade::Queue;
    /// # let pool = brigade::Pool::builder().procs(2).build()?;
    /// let squares = Queue::new()?;
    /// let put = |(n, squares): (u32, Queue<u32>)| squares.put(&(n * n)).expect("it is open");
    /// pool.for_each(put, (0..4).map(|n| (n, squares.clone())))?;
    /// squares.close();
    /// assert_eq!(squares.iter().flatten().sum::<u32>(), 14);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The first that goes wrong; the others are done nevertheless.
    pub fn for_each<A: Value, I: IntoIterator<Item = A>>(
        &self,
        function: fn(A),
        items: I,
    ) -> Result<(), TaskError> {
        self.map_reduce(function, items, (), |(), ()| ())
    }

    /// Calls the function with each item, and folds the results here, as they come: `fold` must not care for their order.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # let pool = brigade::Pool::builder().procs(2).build()?;
    /// assert_eq!(pool.map_reduce(|n: u64| n * n, 0..10, 0, |sum, square| sum + square), Ok(285));
    /// # Ok::<(), brigade::BuildError>(())
    /// ```
    ///
    /// # Errors
    /// The first call that goes wrong; the others are done nevertheless.
    pub fn map_reduce<A: Value, R: Value, T, I: IntoIterator<Item = A>>(
        &self,
        function: fn(A) -> R,
        items: I,
        first: T,
        mut fold: impl FnMut(T, R) -> T,
    ) -> Result<T, TaskError> {
        let (mut all, mut wrong) = (first, None);
        for one in self.map_unordered(function, items) {
            match one {
                Ok(one) => all = fold(all, one),
                Err(error) => _ = wrong.get_or_insert(error),
            }
        }
        wrong.map_or(Ok(all), Err)
    }

    /// Puts values where all workers can look at them, by one copy: what goes along in an argument is a handle.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # use brigade::shared::SharedSlice;
    /// # let pool = brigade::Pool::builder().procs(1).build()?;
    /// let numbers = pool.share((0..1_000).collect::<Vec<u64>>())?;
    /// let sum = pool.submit(|numbers: SharedSlice<u64>| numbers.iter().sum::<u64>(), numbers.clone());
    /// assert_eq!(sum.join()?, numbers.iter().sum::<u64>());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`SharedSlice::new`].
    pub fn share<T: bytemuck::Pod>(&self, values: impl AsRef<[T]>) -> io::Result<SharedSlice<T>> {
        SharedSlice::new(values.as_ref())
    }

    /// What each worker has done so far, and how long that took: whatever has ended by now is in it.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # fn square(n: u64) -> u64 { n * n }
    /// let pool = brigade::Pool::builder().procs(4).schedule(brigade::Schedule::Stealing).build()?;
    /// let sum = pool.map_reduce(square, 0..1_000, 0, |sum, n| sum + n);
    /// println!("{}", pool.loads());
    /// # Ok::<(), brigade::BuildError>(())
    /// ```
    pub fn loads(&self) -> Loads {
        self.desk.scale.loads()
    }

    /// To have so many workers from now on. Busy ones finish what they have in hand.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # use brigade::sync::Barrier;
    /// # let pool = brigade::Pool::builder().procs(1).build()?;
    /// pool.resize(3);
    /// let meet = |barrier: Barrier| barrier.wait().is_ok(); // takes three, at the same time
    /// let jobs = vec![Barrier::new(3)?; 3].into_iter().map(|barrier| pool.submit(meet, barrier));
    /// assert_eq!(brigade::as_completed(jobs).filter_map(|job| job.join().ok()).collect::<Vec<_>>(), [true; 3]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// If that is none.
    pub fn resize(&self, procs: u32) {
        assert!(procs > 0, "a pool has at least one worker");
        self.desk.resize(procs);
    }

    /// Waits until everything that was handed in is done, and ends the workers. Dropping the pool does the same.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # let pool = brigade::Pool::builder().procs(1).build()?;
    /// let job = pool.submit(|n: u32| n + 1, 41);
    /// pool.join();
    /// assert_eq!(job.try_join(), Some(Ok(42)));
    /// # Ok::<(), brigade::BuildError>(())
    /// ```
    pub fn join(self) {}

    /// Takes nothing any more; what was handed in is done.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # let pool = brigade::Pool::builder().procs(1).build()?;
    /// let add_one = |n: u32| n + 1;
    /// let before = pool.submit(add_one, 41);
    /// pool.close();
    /// assert_eq!(pool.submit(add_one, 41).join(), Err(brigade::TaskError::Shutdown));
    /// assert_eq!(before.join(), Ok(42));
    /// # Ok::<(), brigade::BuildError>(())
    /// ```
    pub fn close(&self) {
        self.desk.close();
    }

    /// Kills the workers now. What is not done ends as [`TaskError::Shutdown`].
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # use std::{thread, time::Duration};
    /// # let pool = brigade::Pool::builder().procs(1).build()?;
    /// let job = pool.submit(thread::sleep, Duration::from_secs(3_600));
    /// pool.kill_workers();
    /// assert_eq!(job.join(), Err(brigade::TaskError::Shutdown));
    /// # Ok::<(), brigade::BuildError>(())
    /// ```
    pub fn kill_workers(self) {
        self.desk.abort();
    }
}
