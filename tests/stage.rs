//! The kit: starts the real supervisor with real workers in a directory of its own, watches its story, and
//! leaves no process and no file behind.

use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Longer than anything here takes on a slow machine under load; reached only when something hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for a fact.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut fact: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = fact() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A small run that has settled everything and holds its workers.
#[track_caller]
pub(crate) fn held(args: &str) -> Run {
    let mut run = Stage::new().with("--range 0..1_000 --tasks 10 --hold").with(args).start();
    run.wait_for("all is settled", |line| line["ev"] == "holding");
    run
}

/// Ends a held run, which is then complete.
#[track_caller]
pub(crate) fn end(run: Run) -> Run {
    kill("INT", run.pid());
    let (finished, run) = run.finish();
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    run
}

/// Sends a signal as people do.
pub(crate) fn kill(signal: &str, pid: u64) {
    let _ = Command::new("sh").args(["-c", &format!("kill -{signal} {pid} 2>/dev/null")]).status();
}

/// A directory for the runs of one test, short enough for sockets.
pub(crate) struct Stage {
    dir: PathBuf,
    supervisor: PathBuf,
    args: Vec<String>,
    envs: Vec<(String, String)>,
}

/// One of the examples that are made for tests.
fn example(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_worker")).with_file_name("examples").join(name);
    assert!(path.exists(), "{} is missing: cargo build --example {name}", path.display());
    path
}

impl Stage {
    pub(crate) fn new() -> Stage {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let dir = format!("/tmp/brigade-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        fs::create_dir(&dir).expect("a fresh directory");
        let supervisor = PathBuf::from(env!("CARGO_BIN_EXE_supervisor"));
        Stage { dir: PathBuf::from(dir), supervisor, args: Vec::new(), envs: Vec::new() }
    }

    /// What is left when a run leaves its stage: there is nothing to clean up.
    fn nowhere() -> Stage {
        Stage { dir: PathBuf::new(), supervisor: PathBuf::new(), args: Vec::new(), envs: Vec::new() }
    }

    /// Adds arguments, split at spaces.
    pub(crate) fn with(mut self, args: &str) -> Stage {
        self.args.extend(args.split_whitespace().map(ToString::to_string));
        self
    }

    /// Forgets all arguments but these.
    pub(crate) fn anew(mut self, args: &str) -> Stage {
        self.args.clear();
        self.with(args)
    }

    /// Uses the worker that misbehaves.
    pub(crate) fn stunt(self, stunt: &str) -> Stage {
        let stuntman = self.stuntman();
        self.with(&format!("--worker {stuntman}")).env("STUNT", stunt)
    }

    /// The supervisor has somebody beside it who waits for its children.
    pub(crate) fn beside_a_thief(mut self) -> Stage {
        self.supervisor = example("thief");
        self.with(&format!("--worker {}", env!("CARGO_BIN_EXE_worker")))
    }

    /// Where that one is.
    pub(crate) fn stuntman(&self) -> String {
        example("stunt").display().to_string()
    }

    /// The stunt happens once.
    pub(crate) fn once(self) -> Stage {
        let mark = self.dir.join("mark").display().to_string();
        self.env("STUNT_MARK", &mark)
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Stage {
        self.envs.push((name.into(), value.into()));
        self
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The supervisor with these arguments and no others, in this stage's state directory.
    pub(crate) fn command(&self, args: &str) -> Command {
        let mut command = Command::new(&self.supervisor);
        command.args(args.split_whitespace()).env_clear().env("PATH", "/usr/bin:/bin");
        command.env("SUPERVISOR_STATE_DIR", self.dir.join("s")).envs(self.envs.iter().cloned());
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn ask(&self, args: &str) -> Finished {
        let mut command = self.command(args);
        let output = command.output().expect("the supervisor starts");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        Finished { code: output.status.code(), stdout, stderr, story: Vec::new() }
    }

    /// Runs to the end in people's format.
    pub(crate) fn run(&self) -> Finished {
        self.ask(&self.args.join(" "))
    }

    /// Starts a run whose story is followed.
    pub(crate) fn start(self) -> Run {
        let mut command = self.command(&self.args.join(" "));
        command.args(["--format", "json"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        Run::follow(command.spawn().expect("the supervisor starts"), self)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if self.dir.as_os_str().is_empty() {
            return;
        }
        let left = eventually_none(|| self.processes());
        let _ = fs::remove_dir_all(&self.dir);
        if !left.is_empty() && !thread::panicking() {
            panic!("processes left behind: {left:?}");
        }
    }
}

/// Gives the dying a moment: what is still there afterwards was left behind.
fn eventually_none(mut processes: impl FnMut() -> Vec<u64>) -> Vec<u64> {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let left = processes();
        if left.is_empty() || Instant::now() > deadline {
            left.iter().for_each(|pid| kill("KILL", *pid));
            return left;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

impl Stage {
    /// Waits until the latest run holds its workers.
    #[track_caller]
    pub(crate) fn wait_holding(&self) {
        eventually("all is settled and held", || {
            let status = fs::read_to_string(self.dir.join("s/latest/status.json")).ok()?;
            status.contains(r#""state":"holding""#).then_some(())
        });
    }

    /// Every living process that was started here: the stage's directory is in its environment.
    pub(crate) fn processes(&self) -> Vec<u64> {
        let mark = format!("SUPERVISOR_STATE_DIR={}", self.dir.join("s").display());
        let pids = fs::read_dir("/proc").expect("/proc").flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u64>().ok());
        pids.filter(|pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes())
                && state(*pid) != Some('Z')
        })
        .collect()
    }
}

/// The state of a process as `/proc` has it.
pub(crate) fn state(pid: u64) -> Option<char> {
    stat(pid)?.first()?.chars().next()
}

/// The fields of `/proc/PID/stat` after the name: state, ppid, pgrp …
pub(crate) fn stat(pid: u64) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text[text.rfind(')')? + 2..].split(' ').map(ToString::to_string).collect())
}

/// Whether a process is there and not merely a body.
pub(crate) fn is_alive(pid: u64) -> bool {
    state(pid).is_some_and(|state| state != 'Z' && state != 'X')
}

/// What a command left.
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) story: Vec<Value>,
}

impl Finished {
    /// The last line of the story.
    #[track_caller]
    pub(crate) fn done(&self) -> &Value {
        let done = self.story.iter().find(|line| line["ev"] == "done");
        done.unwrap_or_else(|| panic!("no `done` in the story; stderr: {}", self.stderr))
    }

    /// The run brought the exact total and lost nothing.
    #[track_caller]
    pub(crate) fn assert_exact(&self, length: u128) {
        let done = self.done();
        assert_eq!(self.code, Some(0), "{done}\n{}", self.stderr);
        assert_eq!(done["total"], (length * (length - 1) / 2).to_string(), "{done}");
        assert_eq!((&done["lost"], &done["exact"]), (&Value::from(0), &Value::from(true)), "{done}");
    }

    /// How often that happened.
    pub(crate) fn count(&self, ev: &str) -> usize {
        self.story.iter().filter(|line| line["ev"] == ev).count()
    }
}

/// A run under way.
pub(crate) struct Run {
    child: Child,
    story: Arc<Mutex<Vec<Value>>>,
    stdout: Option<JoinHandle<()>>,
    stderr: Option<JoinHandle<String>>,
    pub(crate) stage: Stage,
}

impl Run {
    fn follow(mut child: Child, stage: Stage) -> Run {
        let story = Arc::new(Mutex::new(Vec::new()));
        let (stdout, told) = (child.stdout.take().expect("piped"), Arc::clone(&story));
        let mut complaints = child.stderr.take().expect("piped");
        let stdout = thread::spawn(move || listen(stdout, &told));
        let stderr = thread::spawn(move || {
            let mut text = String::new();
            let _ = complaints.read_to_string(&mut text);
            text
        });
        Run { child, story, stdout: Some(stdout), stderr: Some(stderr), stage }
    }

    /// The supervisor.
    pub(crate) fn pid(&self) -> u64 {
        self.child.id().into()
    }

    pub(crate) fn story(&self) -> Vec<Value> {
        self.story.lock().expect("no listener panics").clone()
    }

    /// Waits until the story has a line that fits.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        eventually(what, || {
            let found = self.story().into_iter().find(|line| fits(line));
            if found.is_none()
                && let Ok(Some(status)) = self.child.try_wait()
            {
                assert!(
                    self.stdout.as_ref().is_none_or(|thread| !thread.is_finished()),
                    "{what}: ended, {status}"
                );
            }
            found
        })
    }

    /// Waits until that many workers have said hello.
    #[track_caller]
    pub(crate) fn wait_ready(&mut self, workers: usize) -> Vec<u64> {
        eventually("workers are ready", || {
            let ready = self.alive();
            (ready.len() >= workers).then_some(ready)
        })
    }

    /// The workers that are ready now, by the story.
    pub(crate) fn alive(&self) -> Vec<u64> {
        let mut alive = Vec::new();
        for line in self.story() {
            match (line["ev"].as_str(), line["pid"].as_u64()) {
                (Some("worker_ready"), Some(pid)) => alive.push(pid),
                (Some("worker_exit"), Some(pid)) => alive.retain(|other| *other != pid),
                _ => {}
            }
        }
        alive
    }

    /// The template's pid.
    #[track_caller]
    pub(crate) fn template(&self) -> u64 {
        eventually("a template", || {
            let story = self.story();
            story.iter().rev().find(|line| line["ev"] == "template_start")?["pid"].as_u64()
        })
    }

    /// Kills the supervisor, waits until nobody of the run is left, and leaves the stage for the next.
    #[track_caller]
    pub(crate) fn murder(mut self) -> Stage {
        let _ = self.child.kill();
        let _ = self.child.wait();
        eventually("nobody is left", || self.stage.processes().is_empty().then_some(()));
        self.leave()
    }

    /// The stage of a run that is over, for the next.
    pub(crate) fn leave(mut self) -> Stage {
        std::mem::replace(&mut self.stage, Stage::nowhere())
    }

    /// The log of a process.
    pub(crate) fn log(&self, pid: u64) -> String {
        fs::read_to_string(self.stage.dir().join(format!("s/latest/logs/{pid}.log"))).unwrap_or_default()
    }

    /// Waits for the end.
    #[track_caller]
    pub(crate) fn finish(mut self) -> (Finished, Run) {
        let status = eventually("the supervisor ends", || self.child.try_wait().expect("our child"));
        if let Some(thread) = self.stdout.take() {
            thread.join().expect("no listener panics");
        }
        let stderr = self.stderr.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        let finished = Finished { code: status.code(), stdout: String::new(), stderr, story: self.story() };
        (finished, self)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn listen(stdout: ChildStdout, story: &Mutex<Vec<Value>>) {
    for line in BufReader::new(stdout).lines() {
        let Ok(line) = line else { return };
        let value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line}"));
        story.lock().expect("no listener panics").push(value);
    }
}
