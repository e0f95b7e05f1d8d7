//! What each worker does before its first call and after its last, as bytes.
//!
//! ```text
//! length u64, call │ call          the first before, the other after; either may be empty
//! ```

use crate::call::{self, Call, Value};
use crate::error::TaskError;
use brigade_wire::decode_value;
use brigade_worker::Caught;
use std::fmt::Display;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// What an initializer returns: nothing, or whether it has worked.
///
/// ```
/// # brigade::test_entry!(init); init();
/// use brigade::{Initialized, Pool};
///
/// fn connect(host: String) -> impl Initialized {
///     Err::<(), _>(format!("{host} does not answer"))
/// }
///
/// # let dir = tempfile::tempdir()?;
/// # let builder = Pool::builder().state_dir(dir.path());
/// let pool = builder.procs(1).initializer(connect, "db.example".to_owned()).build()?;
/// let told = pool.submit(|n: u32| n, 1).join().expect_err("no worker is ever ready");
/// assert!(told.to_string().contains("db.example does not answer"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Initialized: 'static {
    /// Why it has not.
    ///
    /// # Errors
    /// If it has not.
    fn initialized(self) -> Result<(), String>;
}

impl Initialized for () {
    fn initialized(self) -> Result<(), String> {
        Ok(())
    }
}

impl<E: Display + 'static> Initialized for Result<(), E> {
    fn initialized(self) -> Result<(), String> {
        self.map_err(|error| error.to_string())
    }
}

/// Both, or neither.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hooks {
    pub(crate) before: Option<Result<Call, TaskError>>,
    pub(crate) after: Option<Result<Call, TaskError>>,
}

/// Which of the two cannot be sent to workers, and why.
pub(crate) type Unfit = (&'static str, TaskError);

impl Hooks {
    /// As they travel; empty if there is neither. To another program none does.
    pub(crate) fn bytes(&self, other: Option<&Path>) -> Result<Vec<u8>, Unfit> {
        let one = |name, hook: &Option<Result<Call, TaskError>>| match (hook, other) {
            (None, _) => Ok(Vec::new()),
            (Some(_), Some(worker)) => Err((name, TaskError::OtherProgram { worker: worker.to_path_buf() })),
            (Some(Ok(call)), None) => Ok(call.bytes().to_vec()),
            (Some(Err(error)), None) => Err((name, error.clone())),
        };
        let (before, after) = (one("initializer", &self.before)?, one("finalizer", &self.after)?);
        if before.is_empty() && after.is_empty() {
            return Ok(before);
        }
        Ok([&(before.len() as u64).to_le_bytes(), &before[..], &after].concat())
    }
}

/// A call whose result says only whether it has worked.
pub(crate) fn hook<A: Value, R: Initialized>(function: fn(A) -> R, argument: &A) -> Result<Call, TaskError> {
    let mut call = Call::with(run::<A, R>, function)?;
    call.push(argument)?;
    Ok(call)
}

fn run<A: Value, R: Initialized>(function: fn(A) -> R, items: &[u8]) -> Result<Vec<u8>, String> {
    let item = call::single(items).ok_or("a call without an argument")?;
    let called = brigade_worker::caught(|| {
        let argument = decode_value(item).map_err(|error| format!("cannot read its argument: {error}"))?;
        function(argument).initialized()
    });
    match called {
        Caught::Value(Ok(())) => Ok(Vec::new()),
        Caught::Value(Err(words)) => Err(words),
        Caught::Panicked { message, location, .. } => Err(format!("panicked at {location}: {message}")),
    }
}

/// What this worker was told, for its end, and for beginning again.
static TOLD: Mutex<(Vec<u8>, Vec<u8>)> = Mutex::new((Vec::new(), Vec::new()));

/// Whether there is something to be done before the first call.
pub(crate) fn has_initializer(letter: &[u8]) -> bool {
    letter.first_chunk::<8>().is_some_and(|length| *length != [0; 8])
}

/// In a worker: does what is to be done before the first call.
pub(crate) fn begin(letter: &[u8]) -> Result<(), String> {
    let (length, rest) = letter.split_first_chunk::<8>().ok_or("fewer bytes than any")?;
    let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
    let (before, after) = rest.split_at_checked(length).ok_or("fewer bytes than it says")?;
    *TOLD.lock().unwrap_or_else(PoisonError::into_inner) = (before.to_vec(), after.to_vec());
    begin_again()
}

/// In a worker: the same once more.
pub(crate) fn begin_again() -> Result<(), String> {
    let before = TOLD.lock().unwrap_or_else(PoisonError::into_inner).0.clone();
    called(&before).map_err(|words| format!("its initializer: {words}"))
}

/// In a worker: does what is to be done after the last call. Whatever it says is in the worker's log.
pub(crate) fn end() {
    let after = std::mem::take(&mut TOLD.lock().unwrap_or_else(PoisonError::into_inner).1);
    if let Err(words) = called(&after) {
        eprintln!("its finalizer: {words}");
    }
}

fn called(call: &[u8]) -> Result<(), String> {
    if call.is_empty() {
        return Ok(());
    }
    call::run(call).map(drop)
}
