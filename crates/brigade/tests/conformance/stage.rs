//! What these scenarios have beside the kit: pools, and what workers do to themselves.

pub(crate) use crate::kit::{Marks, PATIENCE, eventually, is_alive, is_first, kill, state, wait_for};
use brigade::{Builder, Job, Pool, TaskError, Value};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fs::{self, File};
use std::hint::black_box;
use std::process::{self, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

/// Longer than any test.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(3_600);

pub(crate) fn builder(procs: u32) -> Builder {
    crate::in_tests();
    Pool::builder().procs(procs)
}

pub(crate) fn pool(procs: u32) -> Pool {
    builder(procs).build().expect("a pool")
}

/// What became of the call, which is not to hang.
#[track_caller]
pub(crate) fn answer<R: Value>(job: &Job<R>) -> Result<R, TaskError> {
    job.join_timeout(PATIENCE).expect("an answer, whatever it is")
}

/// Whether there is time for all of it: `make conformance` says so.
pub(crate) fn full() -> bool {
    std::env::var_os("CONFORMANCE").is_some_and(|size| size == "full")
}

/// Shows it twice in one pool: as it stands, and again from inside a done-callback.
pub(crate) fn alone_and_from_a_callback(builder: Builder, show: impl Fn(&Pool) + Send + 'static) {
    let pool = Arc::new(builder.build().expect("a pool"));
    show(&pool);
    let marks = Marks::new();
    let (sender, shown) = channel();
    let inside = Arc::clone(&pool);
    let job = pool.submit(wait_for, marks.path("the callback is there"));
    job.on_done(move |_| {
        show(&inside);
        let _ = sender.send(());
    });
    marks.put("the callback is there");
    let told = shown.recv_timeout(PATIENCE * 2);
    assert!(told.is_ok(), "inside a callback it went wrong, or hangs");
}

/// Set where this program plays the scene of one test.
const SCENE: &str = "CONFORMANCE_SCENE";

/// Whether this process is there for one scene alone, and may end as the scene ends.
pub(crate) fn is_scene() -> bool {
    std::env::var_os(SCENE).is_some()
}

/// Runs the scene of one test in a process of its own, with words for the shell that starts it. Returns exit code, stdout and
/// stderr.
#[track_caller]
pub(crate) fn program(test: &str, shell: &[&str]) -> (Option<i32>, String, String) {
    let own = std::env::current_exe().expect("this program has a file");
    // Whoever runs the tests in the background of a shell has them ignore SIGINT.
    let script =
        format!("{} exec env --default-signal=INT \"$0\" --exact \"$1\" --nocapture", shell.join(" "));
    let mut command = Command::new("sh");
    command.args(["-c", &script]).arg(own).arg(test).env(SCENE, "it is one");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("sh");
    let code = eventually("the scene ends", || child.try_wait().expect("our child")).code();
    let told = child.wait_with_output().expect("our child");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (code, text(told.stdout), text(told.stderr))
}

/// The threads that this process has.
pub(crate) fn threads() -> usize {
    fs::read_dir("/proc/self/task").expect("/proc").count()
}

/// The children that this process has, dead ones included.
pub(crate) fn children() -> Vec<u32> {
    let threads = fs::read_dir("/proc/self/task").expect("/proc").flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let mut pids: Vec<u32> = lists
        .flat_map(|list| list.split(' ').filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect();
    pids.sort_unstable();
    pids
}

/// Waits until none of them lives.
#[track_caller]
pub(crate) fn wait_gone(pids: &[u32]) {
    eventually("they are gone", || pids.iter().all(|pid| !is_alive(*pid)).then_some(()));
}

/// The workers of a pool, which is at rest. While some are still being born, a call may wait behind another and be taken back
/// for them, at the price of the worker that had it: so they meet until nobody has been replaced.
#[track_caller]
pub(crate) fn workers(pool: &Pool, procs: u32) -> Vec<u32> {
    let mut before = meeting(pool, procs);
    loop {
        let now = meeting(pool, procs);
        if now == before {
            return now;
        }
        before = now;
    }
}

/// So many calls meet, each in a worker of its own: their pids, in order.
#[track_caller]
pub(crate) fn meeting(pool: &Pool, procs: u32) -> Vec<u32> {
    let marks = Marks::new();
    let jobs: Vec<_> =
        (0..procs).map(|n| pool.submit(meet, (marks.path(""), n.to_string(), procs as usize))).collect();
    let mut pids: Vec<u32> = jobs.iter().map(|job| answer(job).expect("a pid")).collect();
    pids.sort_unstable();
    pids
}

// Tasks.

pub(crate) fn square(n: u64) -> u64 {
    n * n
}

pub(crate) fn own_pid(_: ()) -> u32 {
    process::id()
}

/// Leaves its mark in the directory, and ends when so many are there.
pub(crate) fn meet((dir, name, many): (String, String, usize)) -> u32 {
    let _ = File::create(format!("{dir}/{name}"));
    while fs::read_dir(&dir).expect("the directory is there").count() < many {
        thread::sleep(Duration::from_millis(1));
    }
    process::id()
}

pub(crate) fn sleep_for_ever(_: ()) {
    thread::sleep(FOR_EVER);
}

pub(crate) fn act(act: Act) -> u32 {
    act.perform().map_or(0, |()| process::id())
}

/// The first time it acts, and ever after it says who it is.
pub(crate) fn act_once((first, mark): (Act, String)) -> u32 {
    if is_first(&mark) { act(first) } else { process::id() }
}

/// What a worker does to itself, and what code of the user's does that brings values to bytes and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Act {
    Nothing,
    Refuse,
    Panic,
    Exit(i32),
    Abort,
    Kill,
    Stop,
    /// By an access to memory that is not there: its stack ends.
    Segfault,
}

impl Act {
    /// # Errors
    /// If it is to refuse.
    pub(crate) fn perform(self) -> Result<(), &'static str> {
        match self {
            Act::Nothing => return Ok(()),
            Act::Refuse => return Err("it was told to refuse"),
            Act::Panic => panic!("it was told to panic"),
            Act::Exit(code) => process::exit(code),
            Act::Abort => process::abort(),
            Act::Kill => kill("KILL", process::id()),
            Act::Stop => kill("STOP", process::id()),
            Act::Segfault => _ = black_box(descend(1)),
        }
        Ok(())
    }
}

#[expect(unconditional_recursion, reason = "the stack is to end")]
fn descend(depth: u64) -> u64 {
    black_box([depth; 512])[0] + descend(black_box(depth + 1))
}

/// A value whose way to bytes and back goes as it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Brittle {
    pub(crate) encode: Act,
    pub(crate) decode: Act,
}

impl Brittle {
    pub(crate) const SOUND: Brittle = Brittle { encode: Act::Nothing, decode: Act::Nothing };

    pub(crate) fn when_encoded(encode: Act) -> Brittle {
        Brittle { encode, ..Brittle::SOUND }
    }

    pub(crate) fn when_decoded(decode: Act) -> Brittle {
        Brittle { decode, ..Brittle::SOUND }
    }
}

impl Serialize for Brittle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.encode.perform().map_err(serde::ser::Error::custom)?;
        (self.encode, self.decode).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Brittle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Brittle, D::Error> {
        let (encode, decode) = Deserialize::deserialize(deserializer)?;
        Act::perform(decode).map_err(serde::de::Error::custom)?;
        Ok(Brittle { encode, decode })
    }
}

/// Takes it, and says who has taken it.
pub(crate) fn take(_: Brittle) -> u32 {
    process::id()
}

/// Gives one.
pub(crate) fn give((encode, decode): (Act, Act)) -> Brittle {
    Brittle { encode, decode }
}
