//! A crate outside of this workspace uses the library as a stranger would: its tests, its program and its worker run.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

/// Copies what a user has written, so that nothing is built or locked among our sources.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("it is there").flatten() {
        let (path, copied) = (entry.path(), to.join(entry.file_name()));
        match path.is_dir() {
            true => copy(&path, &copied),
            false => drop(fs::copy(&path, &copied).expect("a copy")),
        }
    }
}

fn cargo(consumer: &Path, target: &Path, what: &[&str]) -> String {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CARGO_PKG")) {
        command.env_remove(name);
    }
    let told = command
        .args(["--offline", "--quiet"])
        .args(what)
        .env("CARGO_TARGET_DIR", target)
        .current_dir(consumer)
        .output()
        .expect("cargo runs");
    let (out, err) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    assert!(told.status.success(), "cargo {what:?}: {}\n{out}\n{err}", told.status);
    out.into_owned()
}

/// A copy of the crate, under a name of its own, and the directory that it is built in.
struct Consumer {
    dir: PathBuf,
    target: PathBuf,
}

impl Consumer {
    fn copied(name: &str) -> Consumer {
        let own = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        // …/debug/deps/consumer-…
        let exe = env::current_exe().expect("this test has a file");
        let target = exe.ancestors().nth(3).expect("a target directory").to_path_buf();
        let dir = target.join(name);
        let _ = fs::remove_dir_all(&dir);
        copy(&own.join("tests/consumer"), &dir);
        let manifest = dir.join("Cargo.toml");
        let text = fs::read_to_string(&manifest).expect("a manifest");
        let path = format!("path = {:?}", own.display().to_string());
        assert!(text.contains(r#"path = "../..""#), "{text}");
        fs::write(&manifest, text.replace(r#"path = "../..""#, &path)).expect("a manifest");
        // The versions that are here already; what a user does not need is left out of it.
        fs::copy(own.join("../../Cargo.lock"), dir.join("Cargo.lock")).expect("a lock file");
        Consumer { dir, target }
    }

    fn cargo(&self, what: &[&str]) -> String {
        cargo(&self.dir, &self.target, what)
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

#[test]
fn a_crate_of_a_user_has_pools_in_its_program_its_tests_and_a_worker_of_its_own() {
    let consumer = Consumer::copied("consumer");
    assert_eq!(consumer.cargo(&["run", "--bin", "consumer"]), "49995000\n");
    let told = consumer.cargo(&["test"]);
    assert_eq!(told.matches("test result: ok. 2 passed").count(), 2, "{told}");
}

/// What such a program says, on stdout and on stderr, of a pool or a process. Its pools have a place of their own.
fn misused(program: &Path, state: &Path, misuse: &str, with: &str) -> (String, String) {
    let mut command = Command::new(program);
    command
        .env("MISUSE", misuse)
        .env("WITH", with)
        .env("XDG_RUNTIME_DIR", state)
        .env_remove("RUST_BACKTRACE");
    let told = command.output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&told.stdout), text(&told.stderr))
}

/// What is in the log that the line names at its end.
fn log_of(told: &str) -> String {
    let (_, log) = told.trim_end().rsplit_once(" (log: ").expect("it names a log");
    fs::read_to_string(log.trim_end_matches(')')).expect("the log is there")
}

#[test]
fn a_program_that_does_not_begin_with_init_is_told_so_in_one_line() {
    let consumer = Consumer::copied("misuse");
    consumer.cargo(&["build", "--bin", "misuse"]);
    let program = consumer.target.join("debug/misuse");
    let state = tempfile::tempdir().expect("a directory");
    let said = |misuse: &str, with: &str| misused(&program, state.path(), misuse, with);
    let usual = "(under #[tokio::main]: before the runtime; in tests: brigade::test_entry!)";

    for with in ["pool", "process"] {
        let (told, _) = said("init is forgotten", with);
        let words = "brigade::init() was not called: call it first in main, before any thread is started";
        assert_eq!(told, format!("{words} {usual}\n"));
        let (_, panic) = said("a thread is there before init", with);
        let words = "brigade::init() must be called first in main: there are 2 threads already";
        assert!(panic.contains(&format!("{words} {usual}\n")), "{panic}");
    }

    let begin = "this program ended with exit code";
    let ask = "before it was a worker: does it call brigade::init() first in main? Its last words:";
    let (told, _) = said("a worker panics before init", "pool");
    assert!(told.starts_with(&format!("{begin} 101 {ask} thread 'main'")), "{told}");
    assert!(told.contains("; no configuration (log: ") && told.lines().count() == 1, "{told}");
    assert!(log_of(&told).contains("no configuration"));
    let (told, _) = said("a parser is before init", "pool");
    let words = "error: unexpected argument 'brigade-worker' found; Usage: misuse (log: ";
    assert!(told.starts_with(&format!("{begin} 2 {ask} {words}")), "{told}");
    assert!(log_of(&told).contains("Usage: misuse"));

    let (told, words) = said("a worker panics before init", "process");
    assert!(words.contains("no configuration"), "{words}");
    let begin = "process Process-1 cannot be started: ";
    let ask = "does this program call brigade::init() first in main? see its words on stderr\n";
    assert_eq!(told, format!("{begin}its template ended with exit code 101: {ask}"));
    let never = "this program did not come to brigade::init() within 10 s: call it first in main\n";
    let busy = |with| said("a worker is busy before init", with).0;
    thread::scope(|scope| {
        let process = scope.spawn(|| busy("process"));
        assert_eq!(busy("pool"), never);
        assert_eq!(process.join().expect("its words"), format!("{begin}{never}"));
    });
}

#[test]
fn a_function_of_a_shared_library_is_refused_with_words_and_those_of_the_program_are_called() {
    let consumer = Consumer::copied("foreign");
    // Of this program alone: what it is made of is as it was.
    consumer.cargo(&["rustc", "--bin", "foreign", "--", "-C", "prefer-dynamic"]);
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let libraries = Command::new(rustc).args(["--print", "target-libdir"]).output().expect("rustc runs");
    let libraries = String::from_utf8_lossy(&libraries.stdout).trim().to_owned();
    let mut program = Command::new(consumer.target.join("debug/foreign"));
    let told = program.env("LD_LIBRARY_PATH", libraries).output().expect("it runs");
    let words =
        "the function is of a shared library: only functions of the program itself can be called in a worker";
    let process = format!("process Process-1 cannot be started: {words}");
    let text = String::from_utf8_lossy(&told.stdout);
    assert_eq!(
        text,
        format!("Ok(42)\n{words}\n{words}\n{process}\n"),
        "{}",
        String::from_utf8_lossy(&told.stderr)
    );
}
