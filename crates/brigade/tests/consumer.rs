//! A crate outside of this workspace uses the library as a stranger would: its tests, its program and its worker run.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

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
        .args(what)
        .args(["--offline", "--quiet"])
        .env("CARGO_TARGET_DIR", target)
        .current_dir(consumer)
        .output()
        .expect("cargo runs");
    let (out, err) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    assert!(told.status.success(), "cargo {what:?}: {}\n{out}\n{err}", told.status);
    out.into_owned()
}

#[test]
fn a_crate_of_a_user_has_pools_in_its_program_its_tests_and_a_worker_of_its_own() {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    // …/debug/deps/consumer-…
    let exe = env::current_exe().expect("this test has a file");
    let target = exe.ancestors().nth(3).expect("a target directory").to_path_buf();
    let consumer = target.join("consumer");
    let _ = fs::remove_dir_all(&consumer);
    copy(&own.join("tests/consumer"), &consumer);
    let manifest = consumer.join("Cargo.toml");
    let text = fs::read_to_string(&manifest).expect("a manifest");
    let path = format!("path = {:?}", own.display().to_string());
    assert!(text.contains(r#"path = "../..""#), "{text}");
    fs::write(&manifest, text.replace(r#"path = "../..""#, &path)).expect("a manifest");
    // The versions that are here already; what a user does not need is left out of it.
    fs::copy(own.join("../../Cargo.lock"), consumer.join("Cargo.lock")).expect("a lock file");
    assert_eq!(cargo(&consumer, &target, &["run", "--bin", "consumer"]), "49995000\n");
    let told = cargo(&consumer, &target, &["test"]);
    assert_eq!(told.matches("test result: ok. 2 passed").count(), 2, "{told}");
    fs::remove_dir_all(&consumer).expect("it was made here");
}
