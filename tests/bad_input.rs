//! What cannot be used is refused in one line that names it and says what to do; what fails on the way costs
//! only itself. Never a panic, never an orphan: the stage looks for processes when it is taken down.

use crate::stage::{Finished, Stage, eventually, kill};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// One line on stderr with all these words in it, nothing on stdout, and that exit code.
#[track_caller]
fn assert_one_line(finished: &Finished, code: i32, words: &[&str]) {
    let told = finished.stderr.as_str();
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(code), ""), "{told}");
    assert!(told.starts_with("error: ") && told.ends_with('\n') && told.lines().count() == 1, "{told:?}");
    assert!(!told.contains("panicked"), "{told}");
    words.iter().for_each(|word| assert!(told.contains(word), "{word:?} is missing: {told}"));
}

#[track_caller]
fn assert_refused(args: &str, words: &[&str]) {
    assert_one_line(&Stage::new().ask(args), 2, words);
}

/// Runs a command to its end.
fn output(command: &mut Command) -> Finished {
    let output = command.output().expect("it starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    Finished { code: output.status.code(), stdout, stderr, story: Vec::new() }
}

/// A shell script in which `$0` is the supervisor and `$1` the stage's directory.
fn shell(stage: &Stage, script: &str) -> Command {
    let mut command = stage.command("");
    let environment: Vec<_> =
        command.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
    command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_supervisor")]).arg(stage.dir());
    command.env_clear().envs(environment).stdin(Stdio::null());
    command
}

/// A program of these bytes. It is `cp` that writes it: a file that this process had open for writing may be
/// open still in a child that another test has just forked, and then nobody may execute it (ETXTBSY).
fn program(stage: &Stage, name: &str, bytes: &[u8]) -> PathBuf {
    let (source, path) = (stage.dir().join(format!("{name}.source")), stage.dir().join(name));
    fs::write(&source, bytes).expect("our own directory");
    let copied = Command::new("cp").args([&source, &path]).status();
    assert!(copied.is_ok_and(|status| status.success()), "cp {name}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("our own file");
    path
}

/// The worker as another build would be: its fingerprint of the protocol is another number.
fn worker_of_another_build() -> Vec<u8> {
    let worker = env!("CARGO_BIN_EXE_worker");
    let version = Command::new(worker).arg("--version").output().expect("the worker starts").stdout;
    let version = String::from_utf8(version).expect("text");
    let (_, protocol) = version.trim_end().trim_end_matches(')').rsplit_once(' ').expect("words");
    let protocol = u64::from_str_radix(protocol, 16).expect("a number in hexadecimal");
    let (ours, theirs) = (protocol.to_le_bytes(), (!protocol).to_le_bytes());
    let mut bytes = fs::read(worker).expect("the worker");
    let places: Vec<usize> = (0..bytes.len() - 8).filter(|at| bytes[*at..at + 8] == ours).collect();
    assert!(!places.is_empty(), "the number is not in the program: this test must find it another way");
    places.into_iter().for_each(|at| bytes[at..at + 8].copy_from_slice(&theirs));
    bytes
}

fn full() -> Stdio {
    File::options().write(true).open("/dev/full").expect("/dev/full").into()
}

/// A pipe whose reader has gone already, as after `| head -0`.
fn unread() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

// Arguments.

#[test]
fn what_the_command_line_cannot_mean_is_refused_in_one_line() {
    let over = "0..18446744073709551616";
    let table: [(&str, &[&str]); 25] = [
        ("--prcos 4", &["'--prcos'", "'--procs'", "--help"]),
        ("-x", &["'-x'", "--help"]),
        ("nonsense", &["'nonsense'", "--help"]),
        ("--procs 0", &["--procs", "'0'", "1 or more, or auto"]),
        ("--procs x", &["--procs", "'x'", "1 or more, or auto"]),
        ("--procs -1", &["'-1'"]),
        ("--procs 4294967296", &["--procs", "4294967296 is more than 4294967295"]),
        ("--range 5..1", &["--range", "5 is more than 1", "write 1..5"]),
        (&format!("--range {over}"), &["--range", "18446744073709551616 is more than 18446744073709551615"]),
        ("--range 0..-1", &["--range", "'-1' is no whole number"]),
        ("--range 0..=9", &["--range", "B is not included"]),
        ("--range 9", &["--range", "expected A..B"]),
        ("--range 0..3 --tasks 4", &["4 tasks", "3 numbers of 0..3", "fewer --tasks or a longer --range"]),
        ("--tasks 0", &["--tasks", "1 or more"]),
        ("--pace 5", &["--pace", "'5'", "a number and a unit"]),
        ("--pace -5ms", &["'-5'", "--help"]),
        ("--grace soon", &["--grace", "'soon'", "a number and a unit"]),
        ("--grace 9999999h", &["--grace", "longer than a year"]),
        ("--task-timeout 0s", &["--task-timeout", "nothing can be done in no time"]),
        ("--max-attempts 0", &["--max-attempts", "1 or more"]),
        ("--max-restarts 5", &["--max-restarts", "expected N/DUR, as 5/10s"]),
        ("--max-restarts 5/0s", &["--max-restarts", "nothing can be done in no time"]),
        ("--max-restarts x/10s", &["--max-restarts", "'x' is no whole number"]),
        ("--schedule fair", &["--schedule", "'fair'", "dynamic", "weighted"]),
        ("logs some", &["'some'", "a pid, all or last"]),
    ];
    let stage = Stage::new();
    for (args, words) in table {
        assert_one_line(&stage.ask(args), 2, words);
    }
    assert!(!stage.dir().join("s").exists(), "nothing is made for a run that is refused");
}

#[test]
fn a_bad_value_from_the_environment_names_its_variable() {
    let variables = [
        "PROCS",
        "RANGE",
        "TASKS",
        "SCHEDULE",
        "START_METHOD",
        "TASK_TIMEOUT",
        "MAX_ATTEMPTS",
        "MAX_RESTARTS",
        "GRACE",
        "PACE",
        "FORMAT",
        "COLOR",
    ];
    for name in variables {
        let finished = Stage::new().env(&format!("SUPERVISOR_{name}"), "bogus").run();
        let flag = format!("--{}", name.to_lowercase().replace('_', "-"));
        assert_one_line(&finished, 2, &[&format!("$SUPERVISOR_{name}"), &flag, "'bogus'"]);
    }
    let finished = Stage::new().env("SUPERVISOR_LOG_DIR", "").run();
    assert_one_line(&finished, 2, &["$SUPERVISOR_LOG_DIR", "--log-dir"]);
}

#[test]
fn more_workers_than_the_machine_holds_are_refused_with_the_number_that_fits() {
    assert_refused("--procs 100000", &["--procs 100000", "limit of", "ask for at most "]);
    let stage = Stage::new();
    let finished = output(&mut shell(&stage, "ulimit -n 100; exec $0 --procs 50 --range 0..10"));
    assert_one_line(&finished, 2, &["--procs 50", "limit of open files", "(100)", "ask for at most 5"]);
}

#[test]
fn a_bad_name_for_a_run_is_refused_and_makes_nothing_anywhere() {
    for name in ["a/b", "../a", ".a", "a\u{e4}"] {
        let stage = Stage::new();
        let finished = stage.ask(&format!("--procs 1 --range 0..10 --run {name}"));
        assert_one_line(&finished, 2, &["run name", name, "choose another --run"]);
        assert!(!stage.dir().join("s").exists(), "{name}");
    }
}

#[test]
fn a_run_name_that_is_live_or_was_used_is_refused_and_says_which() {
    let mut run = Stage::new().with("--procs 1 --range 0..10 --run mine --hold").start();
    run.wait_for("all is settled", |line| line["ev"] == "holding");
    let again = "--procs 1 --range 0..10 --run mine";
    let live = format!("run mine is live (pid {})", run.pid());
    assert_one_line(&run.stage.ask(again), 2, &[&live, "choose another --run"]);
    kill("INT", run.pid());
    let (finished, run) = run.finish();
    finished.assert_exact(10);
    let kept = run.stage.dir().join("s/runs/mine").display().to_string();
    assert_one_line(&run.stage.ask(again), 2, &["run mine is over", &kept, "choose another --run"]);
}

// Workers.

#[test]
fn a_worker_that_cannot_be_executed_is_named_with_the_reason() {
    let stage = Stage::new();
    let plain = stage.dir().join("plain");
    fs::write(&plain, "no program").expect("our own directory");
    let orphan = program(&stage, "orphan", b"#!/no/such/interpreter\n");
    let missing = stage.dir().join("missing");
    let below_a_file = plain.join("worker");
    let table = [
        (&missing, "No such file or directory"),
        (&below_a_file, "Not a directory"),
        (&stage.dir().to_path_buf(), "is a directory"),
        (&plain, "is not executable"),
        (&orphan, "interpreter"),
    ];
    for (path, reason) in table {
        let finished = stage.ask(&format!("--procs 2 --range 0..10 --worker {}", path.display()));
        assert_one_line(&finished, 2, &[&format!("worker {}", path.display()), reason, "--worker"]);
    }
}

#[test]
fn a_worker_without_a_slash_is_a_file_here_and_not_on_the_path() {
    let stage = Stage::new();
    assert_one_line(&stage.ask("--procs 2 --range 0..10 --worker true"), 2, &["/true: No such file"]);
    let worker = fs::read(env!("CARGO_BIN_EXE_worker")).expect("the worker");
    program(&stage, "mine", &worker);
    for method in ["fork", "spawn"] {
        let args = format!("--procs 2 --range 0..10 --worker mine --start-method {method}");
        let finished = output(stage.command(&args).current_dir(stage.dir()));
        assert_eq!((finished.code, finished.stdout.as_str()), (Some(0), "45\n"), "{}", finished.stderr);
    }
}

#[test]
fn a_program_that_is_no_worker_is_named_with_how_it_ended_and_its_last_words() {
    let stage = Stage::new();
    let empty = program(&stage, "empty", b"");
    let script = program(&stage, "script", b"echo I am no worker >&2\nexit 7\n");
    let cut_off = &fs::read(env!("CARGO_BIN_EXE_worker")).expect("the worker")[..4_000];
    let cut_off = program(&stage, "cut-off", cut_off);
    let table: [(&Path, &[&str]); 6] = [
        (Path::new("/bin/true"), &["exit code 0 before it said hello"]),
        (Path::new("/bin/false"), &["exit code 1 before it said hello"]),
        (Path::new("/bin/cat"), &["exit code 1", "Its last words: ", "No such file"]),
        (&empty, &["worker of this build?"]),
        (&script, &["exit code 7", "Its last words: I am no worker"]),
        // The loader kills it, or refuses it: nobody says which.
        (&cut_off, &[]),
    ];
    for method in ["fork", "spawn"] {
        for (path, words) in table {
            let path = path.display();
            let args = format!("--procs 2 --range 0..10 --start-method {method} --worker {path}");
            let finished = stage.ask(&args);
            assert_one_line(&finished, 2, &[&format!("worker {path}"), "name another with --worker"]);
            assert_one_line(&finished, 2, words);
        }
    }
}

#[test]
fn a_worker_of_another_build_is_refused_before_it_gets_work() {
    let stage = Stage::new();
    let other = program(&stage, "other", &worker_of_another_build());
    for method in ["fork", "spawn"] {
        let path = other.display();
        let finished = stage.ask(&format!("--procs 2 --range 0..10 --start-method {method} --worker {path}"));
        assert_one_line(&finished, 2, &[&format!("worker {path}"), "build", "name another with --worker"]);
    }
}

#[test]
fn a_worker_of_another_build_is_told_from_one_that_merely_died() {
    let stage = Stage::new();
    let other = program(&stage, "other", &worker_of_another_build());
    let finished = stage.ask(&format!("--procs 2 --range 0..10 --worker {}", other.display()));
    assert_one_line(&finished, 2, &["speaks protocol", "build supervisor and worker together"]);
}

#[test]
fn a_worker_binary_replaced_by_another_build_in_the_middle_of_a_run_is_found_out_at_the_next_birth() {
    let stage = Stage::new();
    let ours = fs::read(env!("CARGO_BIN_EXE_worker")).expect("the worker");
    let path = program(&stage, "worker", &ours);
    let other = program(&stage, "other", &worker_of_another_build());
    let stage = stage.with("--procs 2 --pace 5ms --range 0..1_000 --tasks 1_000 --start-method spawn");
    let mut run = stage.with(&format!("--worker {}", path.display())).start();
    let victim = run.wait_ready(2)[0];
    fs::rename(&other, &path).expect("one file in the place of the other");
    kill("KILL", victim);
    let (finished, _run) = run.finish();
    assert_eq!(finished.code, Some(102), "{}", finished.stderr);
    assert!(finished.stderr.contains("is not of this build"), "{}", finished.stderr);
    assert_eq!((&finished.done()["lost"], &finished.done()["total"]), (&json!(0), &Value::Null));
}

// Directories.

#[test]
fn a_directory_that_cannot_be_made_is_named_with_its_flag() {
    let stage = Stage::new();
    let file = stage.dir().join("file");
    fs::write(&file, "").expect("our own directory");
    for flag in ["--log-dir", "--state-dir"] {
        for path in [file.clone(), file.join("below"), PathBuf::from("/proc/x/y")] {
            let finished = stage.ask(&format!("--procs 2 --range 0..10 {flag} {}", path.display()));
            let path = if path.starts_with("/proc") { "/proc/x".into() } else { path.display().to_string() };
            assert_one_line(&finished, 2, &[&path, &format!("choose another {flag}")]);
        }
    }
}

/// The supervisor as a user to whom permissions mean something; `None`, said aloud, where there is no way to be one.
fn as_nobody(stage: &Stage, args: &str) -> Option<Finished> {
    if fs::metadata("/proc/self").expect("/proc").uid() != 0 {
        return Some(stage.ask(args));
    }
    let drop = "setpriv --reuid=65534 --regid=65534 --clear-groups";
    let probe = output(&mut shell(stage, &format!("{drop} $0 --version")));
    if probe.code != Some(0) {
        eprintln!("SKIPPED: nobody cannot be had here: {}", probe.stderr);
        return None;
    }
    Some(output(&mut shell(stage, &format!("exec {drop} $0 {args}"))))
}

#[test]
fn a_directory_that_may_not_be_written_is_named_with_its_flag() {
    let stage = Stage::new();
    let locked = stage.dir().join("locked");
    fs::create_dir(&locked).expect("our own directory");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o555)).expect("our own directory");
    let open = stage.dir().join("open");
    fs::create_dir(&open).expect("our own directory");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o1777)).expect("our own directory");
    let (locked, open) = (locked.display(), open.display());
    let Some(finished) = as_nobody(&stage, &format!("--procs 2 --range 0..10 --state-dir {locked}")) else {
        return;
    };
    assert_one_line(&finished, 2, &[&locked.to_string(), "Permission denied", "choose another --state-dir"]);
    let args = format!("--procs 2 --range 0..10 --state-dir {open}/s --log-dir {locked}");
    let finished = as_nobody(&stage, &args).expect("it went well a moment ago");
    assert_one_line(&finished, 2, &[&locked.to_string(), "Permission denied", "choose another --log-dir"]);
}

#[test]
fn a_log_directory_that_is_a_link_is_refused_and_says_what_to_do() {
    let stage = Stage::new();
    let (real, link) = (stage.dir().join("real"), stage.dir().join("link"));
    fs::create_dir(&real).expect("our own directory");
    std::os::unix::fs::symlink(&real, &link).expect("our own directory");
    let finished = stage.ask(&format!("--procs 2 --range 0..10 --log-dir {}", link.display()));
    assert_one_line(&finished, 2, &[&link.display().to_string(), "link", "--log-dir"]);
    assert_eq!(fs::read_dir(&real).expect("it is there").count(), 0);
}

// Stdout and stderr.

#[test]
fn a_total_that_stdout_does_not_take_is_told_where_it_is_with_exit_1() {
    for (stdout, reason) in [(full(), "No space left on device"), (unread(), "Broken pipe")] {
        let stage = Stage::new();
        let finished = output(stage.command("--procs 2 --range 0..10").stdout(stdout));
        let told = &finished.stderr;
        assert_eq!(finished.code, Some(1), "{told}");
        let line = told.lines().find(|line| line.contains("UNWRITTEN")).unwrap_or_else(|| panic!("{told}"));
        assert!(line.contains("the total") && line.contains(reason), "{line}");
        let (_, file) = line.rsplit_once("it is in ").unwrap_or_else(|| panic!("{line}"));
        let story = fs::read_to_string(file).expect("the file that was named");
        assert!(story.lines().last().is_some_and(|done| done.contains(r#""total":"45""#)), "{story}");
        assert!(!told.contains("panicked"), "{told}");
    }
}

#[test]
fn a_reader_of_events_who_has_seen_enough_costs_nothing_but_a_note() {
    let stage = Stage::new();
    let finished = output(stage.command("--procs 2 --range 0..10 --format json").stdout(unread()));
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert_eq!(finished.stderr.matches("stdout is closed").count(), 1, "{}", finished.stderr);
    assert!(
        finished.stderr.contains("sum exact") && !finished.stderr.contains("panicked"),
        "{}",
        finished.stderr
    );
    let finished = output(stage.command("--procs 2 --range 0..10 --format json").stdout(full()));
    assert_eq!(finished.code, Some(1), "events that were wanted are missing: {}", finished.stderr);
    assert_eq!(finished.stderr.matches("UNWRITTEN").count(), 1, "{}", finished.stderr);
}

#[test]
fn readers_of_ps_logs_and_help_may_leave_at_any_time() {
    let stage = Stage::new();
    assert_eq!(stage.ask("--procs 2 --range 0..10").code, Some(0));
    for args in ["ps -a", "ps -a --format json", "logs all", "logs last", "--help", "ps --help", "--version"]
    {
        let finished = output(stage.command(args).stdout(unread()));
        assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{args}");
        let finished = output(stage.command(args).stdout(full()));
        assert_one_line(&finished, 1, &["write to stdout", "No space left on device"]);
    }
}

#[test]
fn a_stderr_that_takes_nothing_costs_neither_the_total_nor_the_exit_code() {
    let stage = Stage::new();
    let finished = output(stage.command("--procs 2 --range 0..10 -v").stderr(full()));
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(0), "45\n"));
    assert_eq!(output(stage.command("--procs 2 --range 0..10").stderr(unread())).code, Some(0));
    assert_eq!(output(stage.command("--procs 0").stderr(full())).code, Some(2));
    assert_eq!(output(stage.command("ps --run nobody").stderr(unread())).code, Some(3));
}

/// std puts /dev/null under what is closed, so no socket or log of ours gets the number of a standard stream.
#[test]
fn with_stdin_stdout_and_stderr_closed_the_run_is_done_all_the_same() {
    for method in ["fork", "spawn"] {
        let stage = Stage::new();
        let script = format!("exec $0 --procs 2 --range 0..10 --start-method {method} <&- >&- 2>&-");
        let finished = output(&mut shell(&stage, &script));
        assert_eq!(finished.code, Some(0), "{method}");
        let story = fs::read_to_string(stage.dir().join("s/latest/events.ndjson")).expect("a story");
        let done: Value = serde_json::from_str(story.lines().last().expect("lines")).expect("JSON");
        assert_eq!(
            (&done["ev"], &done["total"], &done["restarts"]),
            (&json!("done"), &json!("45"), &json!(0))
        );
    }
}

#[test]
fn sigpipe_from_outside_ends_neither_the_supervisor_nor_its_workers() {
    let mut run = Stage::new().with("--procs 2 --range 0..1_000 --tasks 10 --hold").start();
    run.wait_for("all is settled", |line| line["ev"] == "holding");
    let workers = run.wait_ready(2);
    workers.iter().chain([&run.pid()]).for_each(|pid| kill("PIPE", *pid));
    assert_eq!(run.stage.ask("ps").code, Some(0));
    kill("INT", run.pid());
    let (finished, _run) = run.finish();
    finished.assert_exact(1_000);
    assert_eq!(finished.done()["restarts"], 0, "{}", finished.stderr);
}

// Disks.

/// A command that has a disk of 200 KiB of its own at `DIR/disk`.
pub(crate) fn on_small_disk(stage: &Stage, then: &str) -> Option<Command> {
    on_disk(stage, "size=200k", then)
}

/// A command that has a disk of its own at `DIR/disk`, with these options, in a mount namespace that ends with it; `None`,
/// said aloud, where there is no way to have one.
pub(crate) fn on_disk(stage: &Stage, options: &str, then: &str) -> Option<Command> {
    fs::create_dir(stage.dir().join("disk")).expect("our own directory");
    let mount = format!("mount -t tmpfs -o {options} none \"$1\"/disk");
    let user = if fs::metadata("/proc/self").expect("/proc").uid() == 0 { "" } else { "-r" };
    let namespace = |script: &str| {
        let mut command = shell(stage, &format!("exec unshare {user} -m sh -c '{mount} && {script}' $0 $1"));
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
    };
    let probe = output(&mut namespace("true"));
    if probe.code != Some(0) {
        eprintln!("SKIPPED: no disk of our own to fill can be had here: {}", probe.stderr);
        return None;
    }
    Some(namespace(then))
}

#[test]
fn a_disk_that_fills_during_a_run_costs_files_and_one_warning_but_no_result() {
    for method in ["fork", "spawn"] {
        let stage = Stage::new();
        let args = "--procs 2 --pace 10ms --range 0..1_000 --tasks 400 --no-journal";
        let script = format!("exec $0 {args} --start-method {method} --state-dir $1/disk/s");
        let Some(mut command) = on_small_disk(&stage, &script) else { return };
        let (complaints, answer) = (stage.dir().join("stderr"), stage.dir().join("stdout"));
        let to = |path: &Path| Stdio::from(File::create(path).expect("our own directory"));
        let mut child = command.stdout(to(&answer)).stderr(to(&complaints)).spawn().expect("sh");
        let told = || fs::read_to_string(&complaints).unwrap_or_default();
        let disk = PathBuf::from(format!("/proc/{}/root{}/disk", child.id(), stage.dir().display()));
        eventually("workers are at work", || told().contains("Workers").then_some(()));
        // Again and again: a file that is replaced meanwhile gives a page back.
        let mut ballast = File::create(disk.join("ballast")).expect("there is room for a name");
        eventually("the full disk is told", || {
            while ballast.write_all(&[0; 4_096]).is_ok() {}
            told().contains("No space left on device").then_some(())
        });
        drop(ballast);
        let status = child.wait().expect("our child");
        assert_eq!(status.code(), Some(0), "{}", told());
        assert_eq!(fs::read_to_string(&answer).expect("a file"), "499500\n");
        // status.json, and how many lines there are not.
        assert_eq!(told().matches("Warning").count(), 2, "{}", told());
        assert!(told().contains("status.json") && told().contains("sum exact"), "{}", told());
        assert!(told().contains("log lines were lost: No space left on device"), "{}", told());
    }
}

#[test]
fn a_journal_that_cannot_be_written_ends_the_run_in_order_and_says_what_to_do() {
    let stage = Stage::new();
    let script = "exec $0 --procs 2 --pace 10ms --range 0..1_000 --tasks 400 --state-dir $1/disk/s";
    let Some(mut command) = on_small_disk(&stage, script) else { return };
    let complaints = stage.dir().join("stderr");
    let file = File::create(&complaints).expect("our own directory");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::from(file)).spawn().expect("sh");
    let told = || fs::read_to_string(&complaints).unwrap_or_default();
    let disk = PathBuf::from(format!("/proc/{}/root{}/disk", child.id(), stage.dir().display()));
    eventually("workers are at work", || told().contains("Workers").then_some(()));
    let mut ballast = File::create(disk.join("ballast")).expect("there is room for a name");
    eventually("the broken journal is told", || {
        while ballast.write_all(&[0; 4_096]).is_ok() {}
        told().contains("then resume the run").then_some(())
    });
    assert_eq!(child.wait().expect("our child").code(), Some(104), "{}", told());
    assert!(told().contains("UNFINISHED") && !told().contains("panicked"), "{}", told());
}

#[test]
fn workers_that_die_while_the_disk_is_full_are_replaced_without_a_log() {
    let stage = Stage::new();
    let script = "exec $0 --procs 2 --range 0..1_000 --tasks 10 --hold --log-dir $1/disk/logs --format json";
    let Some(mut command) = on_small_disk(&stage, script) else { return };
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("sh");
    let lines = || {
        let story = fs::read_to_string(stage.dir().join("s/latest/events.ndjson")).unwrap_or_default();
        story.lines().filter_map(|line| serde_json::from_str(line).ok()).collect::<Vec<Value>>()
    };
    eventually("all is settled", || lines().iter().find(|line| line["ev"] == "holding").cloned());
    let disk = PathBuf::from(format!("/proc/{}/root{}/disk", child.id(), stage.dir().display()));
    let mut ballast = File::create(disk.join("ballast")).expect("there is room for a name");
    while ballast.write_all(&[0; 4_096]).is_ok() {}
    let ready = |incarnation: u64| {
        let is_it = |line: &&Value| line["ev"] == "worker_ready" && line["incarnation"] == incarnation;
        lines().iter().find(is_it).and_then(|line| line["pid"].as_u64())
    };
    for incarnation in 1..4 {
        let victim = eventually("a worker is ready", || ready(incarnation));
        kill("KILL", victim);
        eventually("it is replaced", || ready(incarnation + 1));
    }
    kill("INT", child.id().into());
    let mut told = String::new();
    child.stdout.take().expect("piped").read_to_string(&mut told).expect("text");
    assert_eq!(child.wait().expect("our child").code(), Some(0), "{told}");
    assert!(told.contains(r#""total":"499500""#), "{told}");
}

#[test]
fn a_disk_that_is_full_from_the_start_is_named_before_anything_begins() {
    for flag in ["--log-dir", "--state-dir"] {
        let stage = Stage::new();
        let fill = "cat /dev/zero >$1/disk/ballast 2>$1/complaint";
        let script = format!("{fill}; exec $0 --procs 2 --range 0..10 {flag} $1/disk/x");
        let Some(mut command) = on_small_disk(&stage, &script) else { return };
        let path = stage.dir().join("disk/x").display().to_string();
        let words = [&path, "No space left on device", &format!("choose another {flag}")];
        assert_one_line(&output(&mut command), 2, &words);
    }
}

/// Whoever stands in front of a mute program is not kept waiting in silence for ever: 10 s, and so long this test takes,
/// beside the others.
#[test]
fn a_program_that_never_says_hello_is_given_up_and_ended() {
    let stage = Stage::new();
    let mute = program(&stage, "mute", b"#!/bin/sh\nexec sleep 4321\n");
    let finished = stage.ask(&format!("--procs 2 --range 0..10 --worker {}", mute.display()));
    assert_one_line(&finished, 2, &["said no hello within 10 s", "name another with --worker"]);
}

#[test]
fn a_state_directory_that_is_removed_in_the_middle_of_a_run_ends_it_with_the_cause_and_no_panic() {
    let mut run =
        Stage::new().with("--procs 1 --range 0..1_000 --tasks 10 --hold --max-restarts 1/10s").start();
    run.wait_for("all is settled", |line| line["ev"] == "holding");
    let worker = run.wait_ready(1)[0];
    let template = run.template();
    fs::remove_dir_all(run.stage.dir().join("s")).expect("our own directory");
    kill("KILL", template);
    run.wait_for("its death is told", |line| line["ev"] == "template_exit");
    kill("KILL", worker);
    let (finished, _run) = run.finish();
    assert_eq!(finished.code, Some(102), "{}", finished.stderr);
    assert!(!finished.stderr.contains("panicked"), "{}", finished.stderr);
    assert!(finished.stderr.contains("No such file or directory"), "{}", finished.stderr);
}

#[test]
fn a_run_that_never_began_leaves_nothing_and_is_not_the_latest() {
    let stage = Stage::new();
    assert_eq!(stage.ask("--run real --procs 1 --range 0..10").code, Some(0));
    assert_eq!(stage.ask("--procs 1000000 --range 0..10").code, Some(2));
    assert_eq!(stage.ask("--procs 1 --range 0..10 --worker /bin/true").code, Some(2));
    let runs = fs::read_dir(stage.dir().join("s/runs")).expect("it is there").flatten();
    let runs: Vec<String> = runs.map(|run| run.file_name().to_string_lossy().into_owned()).collect();
    assert_eq!(runs, ["real"]);
    let latest = fs::read_link(stage.dir().join("s/latest")).expect("a link");
    assert!(latest.ends_with("real"), "{}", latest.display());
}
