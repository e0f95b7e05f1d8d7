//! A supervisor and a worker in one program, for tasks with large arguments and results: `payload STATE METHOD JOURNAL TASKS
//! BYTES`. Each task is given a number and as many bytes, and returns them; task 5 kills its worker the first time.
//!
//! It ends with 0 if all came back as they were, with 104 if the journal did not hold them.

use brigade_core::Policy;
use brigade_supervisor::run::{Durability, Host, Memory, Plan, StartMethod, Witness, Work};
use brigade_supervisor::rundir::RunDir;
use brigade_supervisor::status::Status;
use brigade_supervisor::story::{Line, Tallied};
use brigade_wire::{Outcome, TaskId};
use std::env;
use std::fs::File;
use std::path::Path;
use std::process::{ExitCode, abort};
use std::time::Duration;

const NAME: &str = "echo";

/// The task that kills its worker once, and the file that remembers it.
const DEADLY: u64 = 5;
const MARK: &str = "PAYLOAD_MARK";

fn echo(args: &[u8]) -> Result<Vec<u8>, String> {
    let is_deadly = args.starts_with(&DEADLY.to_le_bytes());
    if is_deadly && env::var(MARK).is_ok_and(|mark| File::create_new(mark).is_ok()) {
        abort();
    }
    Ok(args.to_vec())
}

struct Echoes {
    tasks: u64,
    bytes: usize,
    brought: u64,
}

impl Work for Echoes {
    fn function(&self) -> &str {
        NAME
    }

    fn describe(&self) -> String {
        self.parameters()
    }

    fn parameters(&self) -> String {
        format!("{} echoes of {} bytes", self.tasks, self.bytes)
    }

    fn count(&self) -> u64 {
        self.tasks
    }

    fn weights(&self) -> Vec<u64> {
        Vec::new()
    }

    fn describe_task(&self, task: TaskId) -> String {
        format!("echo {task}")
    }

    fn is_divisible(&self, _: TaskId) -> bool {
        false
    }

    fn split(&mut self, task: TaskId, _: TaskId) {
        unreachable!("task {task} is not divisible")
    }

    fn args(&self, TaskId(task): TaskId) -> Vec<u8> {
        let mut args = vec![task as u8; 8 + self.bytes];
        args[..8].copy_from_slice(&task.to_le_bytes());
        args
    }

    fn settle(&mut self, task: TaskId, outcome: &mut Outcome) -> Result<(), String> {
        let is_whole = matches!(outcome, Outcome::Value(bytes) if *bytes == self.args(task));
        self.brought += u64::from(is_whole);
        if is_whole { Ok(()) } else { Err(format!("task {task} came back as another")) }
    }

    fn total(&self) -> Option<String> {
        self.is_exact().then(|| self.brought.to_string())
    }

    fn is_exact(&self) -> bool {
        self.brought == self.tasks
    }
}

struct Nobody;

impl Witness for Nobody {
    fn tell(&mut self, _: &Line) {}
    fn progress(&mut self, _: &Tallied) {}
    fn show(&mut self, _: &Status) {}
}

fn main() -> ExitCode {
    let args: Vec<String> = env::args().collect();
    let [_, state, method, journal, tasks, bytes] = &args[..] else {
        return brigade_worker::main(&[(NAME, echo)]);
    };
    if state == "template" {
        return brigade_worker::main(&[(NAME, echo)]);
    }
    brigade_os::signals::hold_back();
    let plan = Plan {
        entry: vec![],
        environment: vec![],
        letter: [].into(),
        host: Host::Supervisor,
        policy: Policy { procs: 2, ..Policy::default() },
        worker: env::current_exe().expect("this program has a file"),
        start_method: if method == "spawn" { StartMethod::Spawn } else { StartMethod::Fork },
        daemon: true,
        pace: Duration::ZERO,
        chaos: None,
        journal: (journal == "journal").then_some(Durability::Kill),
        memory: Memory::default(),
    };
    let (tasks, bytes) = (tasks.parse().expect("a number"), bytes.parse().expect("a number"));
    let mut work = Echoes { tasks, bytes, brought: 0 };
    let dir = RunDir::create(Path::new(state), None, None).expect("a directory for the run");
    let report = brigade_supervisor::run(plan, &mut work, dir, &mut Nobody).expect("it begins");
    println!("{} restarts, {:.3} s", report.done.restarts, report.done.seconds);
    if let Some(words) = report.journal {
        println!("{words}");
        return ExitCode::from(104);
    }
    ExitCode::from(u8::from(!report.done.exact))
}
