//! Tasks by name, for workers that are another program than the one that has the pool.
//!
//! ```text
//! tasks![…] ─▶ worker ─▶ the names and shapes, at the handshake ─▶ Pool::task ─▶ Task: submit, map
//! ```

use crate::call::{self, Call, Value};
use crate::error::TaskError;
use crate::init::{be_worker, init};
use crate::job::Job;
use crate::map::Map;
use crate::order::{self, Intake};
use crate::pool::Pool;
use brigade_worker::{TaskFn, Trade};
use std::any::type_name;
use std::env;
use std::fmt;
use std::marker::PhantomData;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

/// The tasks of a worker program, by name: [`tasks!`](crate::tasks) makes it.
///
/// ```
/// use brigade::Tasks;
///
/// let tasks = Tasks::new().with("double", |n: u32| 2 * n);
/// assert_eq!(format!("{tasks:?}"), r#"["double(u32) -> u32"]"#);
/// ```
#[derive(Default)]
pub struct Tasks {
    list: Vec<Entry>,
}

struct Entry {
    signature: String,
    run: Box<Run>,
}

/// Takes the items of a call, and gives their results.
type Run = dyn Fn(&[u8]) -> Vec<u8> + Send + Sync;

impl Tasks {
    /// None yet.
    #[must_use]
    pub fn new() -> Tasks {
        Tasks::default()
    }

    /// One more. A name that is a path stands for its last part, without the types of a generic: `texts::parse::<u32>` is
    /// `parse`.
    ///
    /// A task is known by its name and its shape, which is its types by their full names, and no more of them than that: a struct
    /// whose fields have changed has the name it had. Give it, or the task, another one; else what the pool sends is read as what
    /// the worker takes it for.
    ///
    /// ```should_panic
    /// # use brigade::Tasks;
    /// // Which of them should be called? This panics.
    /// let tasks = Tasks::new().with("double", |n: u32| 2 * n).with("double", |n: u32| n + n);
    /// ```
    ///
    /// # Panics
    /// If there is one of that name and shape already.
    #[must_use]
    pub fn with<A: Value, R: Value>(mut self, name: &str, function: fn(A) -> R) -> Tasks {
        let signature = signature::<A, R>(last_part(name));
        let is_new = self.list.iter().all(|entry| entry.signature != signature);
        assert!(is_new, "two tasks are called `{signature}`: give one another name with Tasks::with");
        let run = Box::new(move |items: &[u8]| call::each(function, items));
        self.list.push(Entry { signature, run });
        self
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.list.iter().map(|entry| &entry.signature)).finish()
    }
}

/// Functions as the tasks of a [`worker`], each by its own name: the last part of its path, without the types of a generic. Two
/// of one name and one shape are a panic; [`Tasks::with`](crate::Tasks::with) gives one another name.
///
/// ```
/// fn range_sum((from, to): (u64, u64)) -> u64 { (from..to).sum() }
/// fn word_count(text: String) -> usize { text.split_whitespace().count() }
///
/// let tasks = brigade::tasks![range_sum, word_count];
/// assert_eq!(format!("{tasks:?}"), r#"["range_sum((u64, u64)) -> u64", "word_count(alloc::string::String) -> usize"]"#);
/// ```
#[macro_export]
macro_rules! tasks {
    ($($task:path),* $(,)?) => {
        $crate::Tasks::new()$(.with(stringify!($task), $task))*
    };
}

/// `f` of `<a::T as b::Trait>::f::<Vec<u8>, fn() -> u32>`.
fn last_part(path: &str) -> &str {
    let path = path.trim();
    let generics = path.ends_with('>').then(|| opening(path)).flatten();
    let path = generics.map_or(path, |at| path[..at].trim_end().trim_end_matches("::"));
    path.rsplit("::").next().unwrap_or(path).trim()
}

/// Where the brackets open that the path ends with. The end of an arrow is none.
fn opening(path: &str) -> Option<usize> {
    let mut depth = 0_u32;
    let is_arrow = |at: usize| path[..at].ends_with('-');
    path.char_indices().rev().find_map(|(at, letter)| {
        match letter {
            '>' if !is_arrow(at) => depth += 1,
            '<' => depth = depth.saturating_sub(1),
            _ => {}
        }
        (depth == 0).then_some(at)
    })
}

/// `word_count(alloc::string::String) -> usize`.
fn signature<A, R>(name: &str) -> String {
    format!("{name}({}) -> {}", type_name::<A>(), type_name::<R>())
}

/// What this program has, once it is a worker.
static OWN: OnceLock<Tasks> = OnceLock::new();

/// The `main` of a worker program: a [`Pool`] that is built with [`Builder::worker`](crate::Builder::worker) starts it, and
/// calls its tasks by their names.
///
/// ```standalone_crate
/// use std::process::ExitCode;
///
/// fn range_sum((from, to): (u64, u64)) -> u64 { (from..to).sum() }
///
/// # /// Here it has its pool in itself, and is started anew as its worker.
/// # fn main() -> ExitCode { if std::env::args().len() > 1 { worker_main() } else { pool_main(); ExitCode::SUCCESS } }
/// # fn pool_main() {
/// #     brigade::init();
/// #     let own = std::env::current_exe().expect("a file");
/// #     let pool = brigade::Pool::builder().procs(1).worker(own).build().expect("a pool");
/// #     let task = pool.task::<(u64, u64), u64>("range_sum").expect("it has that task");
/// #     assert_eq!(task.submit((0, 10)).join(), Ok(45));
/// # }
/// # mod worker_program {
/// # use super::*;
/// # pub
/// fn main() -> ExitCode {
///     brigade::worker(brigade::tasks![range_sum])
/// }
/// # }
/// # use worker_program::main as worker_main;
/// ```
///
/// # Panics
/// As [`init`](crate::init), which it calls first: its tasks may have pools of their own.
/// Whoever starts it hears of this, and of a panic in [`Tasks::with`], as of a worker that has ended with exit code 101, with the
/// words of the panic.
pub fn worker(tasks: Tasks) -> ExitCode {
    init();
    be_worker();
    let tasks = OWN.get_or_init(|| tasks);
    let names = tasks.list.iter().map(|entry| entry.signature.as_str());
    let table: Vec<(&str, TaskFn)> =
        [(call::NAME, run as TaskFn)].into_iter().chain(names.map(|name| (name, run as TaskFn))).collect();
    if let Some(code) = brigade_worker::serve_as(env::args().skip(1), Trade::of(&table)) {
        return code;
    }
    let (name, tasks) = (env::args().next().unwrap_or_default(), list(tasks));
    eprintln!("{name} is a worker, and started by a pool: Pool::builder().worker({name:?}); it has: {tasks}");
    ExitCode::from(2)
}

fn list(tasks: &Tasks) -> String {
    tasks.list.iter().map(|entry| entry.signature.as_str()).collect::<Vec<_>>().join(", ")
}

/// In such a worker: calls what is named.
fn run(args: &[u8]) -> Result<Vec<u8>, String> {
    let tasks = OWN.get().ok_or("it has no tasks")?;
    let (signature, items) = call::named(args).ok_or("a call that names no task")?;
    let entry = tasks.list.iter().find(|entry| entry.signature == signature);
    let entry = entry.ok_or_else(|| format!("it has no task `{signature}`; it has: {}", list(tasks)))?;
    Ok((entry.run)(items))
}

/// A task of a pool's worker program, by its name and with its types.
pub struct Task<A, R> {
    intake: Arc<dyn Intake>,
    opening: Call,
    _types: PhantomData<fn(A) -> R>,
}

impl Pool {
    /// The task of that name of the worker program that the pool was built with. The program has told its tasks, and their
    /// types by their full names, when it was met.
    ///
    /// ```standalone_crate
    /// # fn main() -> Result<std::process::ExitCode, Box<dyn std::error::Error>> {
    /// # fn word_count(text: String) -> usize { text.split_whitespace().count() }
    /// # if std::env::args().len() > 1 { return Ok(brigade::worker(brigade::tasks![word_count])) }
    /// # brigade::init();
    /// # let builder = brigade::Pool::builder().procs(1);
    /// # let worker = std::env::current_exe()?; // this very program is its worker
    /// use brigade::{Task, TaskError};
    ///
    /// let pool = builder.worker(worker).build()?;
    /// let word_count: Task<String, usize> = pool.task("word_count")?;
    /// assert_eq!(word_count.submit("to be or not".to_owned()).join()?, 4);
    /// let counts: Result<Vec<usize>, TaskError> = word_count.map(["to", "to be"].map(str::to_owned)).collect();
    /// assert_eq!(counts?, [1, 2]);
    /// assert!(matches!(pool.task::<String, u8>("word_count"), Err(TaskError::Shape { .. })));
    /// # Ok(std::process::ExitCode::SUCCESS)
    /// # }
    /// ```
    ///
    /// # Errors
    /// If it has none of that name, or that takes or gives something else.
    pub fn task<A: Value, R: Value>(&self, name: &str) -> Result<Task<A, R>, TaskError> {
        let wanted = signature::<A, R>(name);
        let (worker, has) = self.desk.tasks();
        if has.contains(&wanted) {
            return Ok(Task { intake: self.intake(), opening: Call::named(&wanted), _types: PhantomData });
        }
        let worker = worker.unwrap_or(Path::new("this program")).to_path_buf();
        let is_so_named = |one: &&String| one.split_once('(').is_some_and(|(found, _)| found == name);
        Err(match has.iter().find(is_so_named) {
            Some(found) => TaskError::Shape { worker, wanted, found: found.clone() },
            None => TaskError::NoSuchTask { worker, name: name.to_owned(), has: has.join(", ") },
        })
    }
}

impl<A: Value, R: Value> Task<A, R> {
    /// Hands one call in; as [`Pool::submit`].
    pub fn submit(&self, argument: A) -> Job<R> {
        order::hand_in(Arc::clone(&self.intake), Ok(self.opening.clone()), &argument)
    }

    /// Calls it with each item; as [`Pool::map`], and [`unordered`](Map::unordered) if that is said.
    pub fn map<I: IntoIterator<Item = A>>(&self, items: I) -> Map<I::IntoIter, A, R> {
        Map::new(Arc::clone(&self.intake), Ok(self.opening.clone()), items.into_iter())
    }
}

impl<A, R> Clone for Task<A, R> {
    fn clone(&self) -> Task<A, R> {
        Task { intake: Arc::clone(&self.intake), opening: self.opening.clone(), _types: PhantomData }
    }
}

impl<A, R> fmt::Debug for Task<A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = call::named(self.opening.bytes()).map(|(signature, _)| signature);
        f.debug_tuple("Task").field(&name.unwrap_or_default()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::catch_unwind;

    mod a {
        pub(super) fn f(n: u32) -> u32 {
            n + 1
        }
    }

    mod b {
        pub(super) fn f(n: u32) -> u32 {
            n + 2
        }
    }

    fn g<T: Value>(one: T) -> T {
        one
    }

    #[test]
    fn two_tasks_of_one_name_and_shape_are_refused_and_the_panic_names_them() {
        let panic = catch_unwind(|| crate::tasks![a::f, g::<u32>, b::f]).expect_err("which f is meant?");
        let words = panic.downcast_ref::<String>().expect("words");
        assert_eq!(words, "two tasks are called `f(u32) -> u32`: give one another name with Tasks::with");
        let both = crate::tasks![a::f].with("f2", b::f);
        assert_eq!(format!("{both:?}"), r#"["f(u32) -> u32", "f2(u32) -> u32"]"#);
    }

    #[test]
    fn a_generic_is_called_by_its_name_without_its_types() {
        let tasks = crate::tasks![g::<u32>, g::<Vec<u8>>];
        let told = r#"["g(u32) -> u32", "g(alloc::vec::Vec<u8>) -> alloc::vec::Vec<u8>"]"#;
        assert_eq!(format!("{tasks:?}"), told);
        let odd = ["x", " a :: x ", "x :: < fn () -> u32 >", "x::<a::B<c::D>, E>", "a::<T>::x", "<T>::x::<>"];
        assert_eq!(odd.map(last_part), ["x"; 6]);
        assert_eq!([">", "", "<>"].map(last_part), [">", "", ""]);
    }
}
