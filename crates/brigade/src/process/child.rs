//! The other side: this program as the template of processes, and as one of them.

use super::nursery::{Answer, CRADLE, NURSERY, Order};
use crate::{call, carry, init};
use brigade_os::birth::{self, Side};
use brigade_os::blob::BlobFile;
use brigade_os::kin::{self, Surroundings};
use brigade_os::page::Pages;
use brigade_os::post::{Post, Received};
use brigade_os::{Body, Pid, inherit, proc};
use brigade_wire::{Damage, decode_summed, decode_value, encode_summed, encode_value, hold_to};
use crc32c::{crc32c, crc32c_append};
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{self, Command};
use std::sync::OnceLock;
use std::time::Duration;

/// The word after the entry words that makes this program a process; the number of its errand follows, and those of what its
/// argument carries.
const ERRAND: &str = "errand";

/// What Rust programs end with after a panic.
const PANICKED: i32 = 101;

/// What a process is, and what it is to do, as it lies in a file:
///
/// ```text
/// CRC-32C of what follows u32 │ length of the errand u32 │ errand │ call
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Errand {
    name: String,
    /// Its number among its parent's children, behind the parent's own.
    identity: String,
    daemon: bool,
    parent: (String, u32),
}

/// Who this process is: set once in a child, never in the main process.
static OWN: OnceLock<Errand> = OnceLock::new();

impl Errand {
    /// For a child of this process.
    pub(super) fn new(name: &str, identity: String, daemon: bool) -> Errand {
        let parent = current_process();
        Errand { name: name.to_owned(), identity, daemon, parent: (parent.name, parent.pid) }
    }

    pub(super) fn write(&self, call: &[u8]) -> io::Result<BlobFile> {
        let mut head = vec![0; 8];
        encode_value(self, &mut head).map_err(io::Error::other)?;
        let length = (head.len() - 8) as u32;
        head[4..8].copy_from_slice(&length.to_le_bytes());
        let sum = crc32c_append(crc32c(&head[4..]), call);
        head[..4].copy_from_slice(&sum.to_le_bytes());
        let file = BlobFile::create()?;
        file.write(&head, 0)?;
        file.write(call, head.len() as u64)?;
        Ok(file)
    }

    /// The errand, and where the call begins.
    fn read(bytes: &[u8]) -> Result<(Errand, &[u8]), String> {
        let short = "an errand of fewer bytes than any";
        let (told, rest) = bytes.split_first_chunk::<4>().ok_or(short)?;
        hold_to(u32::from_le_bytes(*told), rest).map_err(|Damage { sum, told, .. }| {
            format!("errand of {} bytes is damaged: sum {sum:08x}, not {told:08x}", bytes.len())
        })?;
        let (length, rest) = rest.split_first_chunk::<4>().ok_or(short)?;
        let length = u32::from_le_bytes(*length) as usize;
        let (errand, call) = rest.split_at_checked(length).ok_or("an errand of fewer bytes than it says")?;
        Ok((decode_value(errand).map_err(|error| error.to_string())?, call))
    }
}

/// Plays the role that these words name, to its end; `None` if they name none of a process.
pub(crate) fn serve_as(words: &[String]) -> Option<i32> {
    let number = |word: &str| word.parse().ok();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [NURSERY, post, pages] => Some(told(nursery(number(post)?, number(pages)?))),
        [ERRAND, errand, ref carried @ ..] => {
            let carried: Option<Vec<i32>> = carried.iter().map(|word| number(word)).collect();
            Some(told(anew(number(errand)?, carried?)))
        }
        _ => None,
    }
}

/// What cannot be done is said on stderr; the exit code is that of a worker which cannot run.
fn told(played: io::Result<i32>) -> i32 {
    played.unwrap_or_else(|error| {
        eprintln!("process {}: cannot run: {error}", process::id());
        78
    })
}

/// Makes children of its parent until that is gone; goes on as each of them.
fn nursery(post: i32, pages: i32) -> io::Result<i32> {
    birth::set_name("process-nursery");
    let parent = Pid::parent().ok_or_else(|| io::Error::other("its parent is in another pid namespace"))?;
    let (post, pages) = (Post::from_fd(inherit::take(post)?), Pages::map(inherit::take(pages)?)?);
    while let Received::Packet(order, files) = post.receive(None)? {
        let answer: Answer = match birth::fork_sibling(&pages, CRADLE, None) {
            Ok(Side::Child) => {
                drop((post, pages));
                return begin(&order, files, parent);
            }
            Ok(Side::Template(_)) => Ok(()),
            Err(error) => Err(format!("fork: {error}")),
        };
        let packet = encode_summed(&answer).map_err(io::Error::other)?;
        // If its parent is gone, that is heard next.
        let _ = post.send(&packet, &[]);
    }
    Ok(0)
}

/// A child's first steps, before any code of its function.
fn begin(order: &[u8], mut files: Vec<OwnedFd>, parent: Pid) -> io::Result<i32> {
    let wrong = |error| io::Error::other(format!("the order of its birth: {error}"));
    let order: Order = decode_summed(order).map_err(wrong)?;
    let carried = files.split_off(files.len().min(4));
    let [errand, around @ ..] = <[OwnedFd; 4]>::try_from(files).map_err(|_| io::ErrorKind::InvalidData)?;
    Surroundings::received(around).enter()?;
    if order.daemon && birth::die_with(parent).is_err() {
        birth::leave(0);
    }
    kin::hear_signals()?;
    if order.anew {
        return Err(execute(&errand, &carried));
    }
    Ok(run(errand, carried))
}

/// Becomes this program anew; returns only if that failed.
fn execute(errand: &OwnedFd, carried: &[OwnedFd]) -> io::Error {
    let executed = || -> io::Result<io::Error> {
        let (program, words) = init::entry().map_err(io::Error::other)?;
        let mut command = Command::new(program);
        command.args(words).arg(ERRAND);
        for file in [errand].into_iter().chain(carried) {
            let number = inherit::pass(&mut command, file)?;
            command.arg(number.to_string());
        }
        Ok(command.exec())
    };
    executed().unwrap_or_else(|error| error)
}

/// What was executed so.
fn anew(errand: i32, carried: Vec<i32>) -> io::Result<i32> {
    let carried = carried.into_iter().map(inherit::take).collect::<io::Result<_>>()?;
    Ok(run(inherit::take(errand)?, carried))
}

/// Calls the function; what it returns is the exit code. A panic has said its words already.
fn run(errand: OwnedFd, carried: Vec<OwnedFd>) -> i32 {
    let called = catch_unwind(AssertUnwindSafe(|| {
        carry::bring(carried);
        let bytes =
            BlobFile::received(errand).and_then(|file| file.read_all()).map_err(|error| error.to_string())?;
        let (errand, call) = Errand::read(&bytes)?;
        birth::set_name(&errand.name);
        OWN.get_or_init(|| errand);
        call::run(call)
    }));
    match called {
        Ok(Ok(code)) => code.first().copied().map_or(1, i32::from),
        Ok(Err(words)) => {
            eprintln!("process {} cannot run: {words}", current_process().name());
            78
        }
        Err(_) => PANICKED,
    }
}

/// Who a process is.
///
/// ```
/// # brigade::test_entry!(init); init();
/// use brigade::{CurrentProcess, Exit, Process, current_process};
///
/// fn check(parent: u32) {
///     let own: CurrentProcess = current_process();
///     assert_eq!((own.name(), own.daemon()), ("bob", false));
///     assert_ne!(own.pid(), parent);
/// }
///
/// let process = Process::builder(check, current_process().pid()).name("bob").start()?;
/// assert_eq!(process.join(), Exit::Code(0));
/// # Ok::<(), brigade::ProcessError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentProcess {
    name: String,
    pid: u32,
    daemon: bool,
}

impl CurrentProcess {
    /// What it is called: `MainProcess`, or as its parent has called it. Workers of pools are `worker-0`, `worker-1` …
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it ends with its parent.
    #[must_use]
    pub fn daemon(&self) -> bool {
        self.daemon
    }
}

/// This process.
///
/// ```
/// let own = brigade::current_process();
/// assert_eq!((own.name(), own.pid(), own.daemon()), ("MainProcess", std::process::id(), false));
/// assert_eq!(brigade::parent_process(), None);
/// ```
#[must_use]
pub fn current_process() -> CurrentProcess {
    let pid = process::id();
    match (OWN.get(), init::is_worker()) {
        (Some(own), _) => CurrentProcess { name: own.name.clone(), pid, daemon: own.daemon },
        (None, true) => CurrentProcess { name: proc::name(pid), pid, daemon: true },
        (None, false) => CurrentProcess { name: MAIN.to_owned(), pid, daemon: false },
    }
}

const MAIN: &str = "MainProcess";

/// Its number among its parent's children, behind the parent's own; empty in a process that has none.
pub(super) fn identity() -> &'static str {
    OWN.get().map_or("", |own| &own.identity)
}

/// The process that has started this one.
///
/// ```
/// # brigade::test_entry!(init); init();
/// use brigade::{Exit, ParentProcess, Process, parent_process};
/// use std::time::Duration;
///
/// fn check(starter: u32) {
///     let parent: ParentProcess = parent_process().expect("somebody has started it");
///     assert_eq!((parent.name(), parent.pid()), ("MainProcess", starter));
///     assert!(parent.is_alive() && !parent.join_timeout(Duration::from_millis(1)));
/// }
///
/// let process = Process::builder(check, std::process::id()).start()?;
/// assert_eq!(process.join(), Exit::Code(0));
/// # Ok::<(), brigade::ProcessError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParentProcess {
    name: String,
    pid: u32,
}

/// The process that has started this one; `None` in the main process.
#[must_use]
pub fn parent_process() -> Option<ParentProcess> {
    if let Some(own) = OWN.get() {
        let (name, pid) = own.parent.clone();
        return Some(ParentProcess { name, pid });
    }
    // A worker's parent is asked while it is there: a worker ends with it.
    let pid = Pid::parent().filter(|_| init::is_worker())?.number();
    let name = if init::is_child_of_main() { MAIN.to_owned() } else { proc::name(pid) };
    Some(ParentProcess { name, pid })
}

impl ParentProcess {
    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it has not ended yet.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        Pid::parent().is_some_and(|parent| parent.number() == self.pid)
    }

    /// Waits for its end.
    ///
    /// ```
    /// # brigade::test_entry!(init); init();
    /// # use brigade::{Process, Queue, parent_process};
    /// fn outlive(words: Queue<String>) {
    ///     let parent = parent_process().expect("it is not the main process");
    ///     words.put(&"born".to_owned()).expect("it is open");
    ///     parent.join();
    ///     words.put(&"alone".to_owned()).expect("it is open");
    /// }
    ///
    /// let words = Queue::new()?;
    /// let start = |words| drop(Process::builder(outlive, words).daemon(false).start().map(|it| it.join()));
    /// let process = Process::builder(start, words.clone()).daemon(true).start()?;
    /// assert_eq!(words.get()?, "born");
    /// process.kill();
    /// assert_eq!(words.get()?, "alone");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn join(&self) {
        let _ = self.await_end(None);
    }

    /// Waits for its end, for so long at most; false if it lives still.
    #[must_use = "it may live still"]
    pub fn join_timeout(&self, within: Duration) -> bool {
        self.await_end(Some(within))
    }

    fn await_end(&self, within: Option<Duration>) -> bool {
        let held = Pid::parent().filter(|parent| parent.number() == self.pid).map(Body::of);
        match held {
            // Nobody else got its number before it was held, if it is our parent still.
            Some(Ok(body)) if self.is_alive() => body.await_end(within),
            Some(Err(_)) | Some(Ok(_)) | None => !self.is_alive(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_changed_bit_of_an_errand_goes_unnoticed() {
        let errand = Errand {
            name: "bob".into(),
            identity: "1".into(),
            daemon: true,
            parent: ("MainProcess".into(), 7),
        };
        let bytes = errand.write(b"call").unwrap().read_all().unwrap();
        assert_eq!(Errand::read(&bytes), Ok((errand, b"call".as_slice())));
        for bit in 0..8 * bytes.len() {
            let mut bent = bytes.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            let told = Errand::read(&bent).expect_err("something has changed it");
            let words = format!("errand of {} bytes is damaged: sum ", bytes.len());
            assert!(told.starts_with(&words) && told.contains(", not "), "bit {bit}: {told}");
        }
    }
}
