//! Run directories, several supervisors at once, and what they leave.

use super::*;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU32, Ordering};

/// A state directory of its own for each test, removed afterwards.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("brigade-rundir-{}-{n}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    fn create(&self, run: &str) -> Result<RunDir, RunDirError> {
        RunDir::create(&self.0, Some(run), None)
    }

    fn names(&self) -> Vec<String> {
        Runs::list(&self.0).unwrap().into_iter().map(|run| run.name).collect()
    }

    fn litter(&self) -> Vec<String> {
        let names = fs::read_dir(self.0.join("runs")).unwrap().flatten();
        let names = names.map(|found| found.file_name().into_string().unwrap());
        names.filter(|name| name.starts_with('.')).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

#[test]
fn a_new_run_is_private_live_and_the_latest() {
    let scratch = Scratch::new();
    let dir = scratch.create("one").unwrap();
    assert_eq!(dir.name(), "one");
    assert_eq!(dir.path(), scratch.0.join("runs/one"));
    assert_eq!(dir.logs(), scratch.0.join("runs/one/logs"));
    assert_eq!(dir.status_file(), scratch.0.join("runs/one/status.json"));
    assert_eq!((mode(dir.path()), mode(dir.logs())), (0o700, 0o700));
    dir.become_latest().unwrap();
    assert_eq!(fs::read_link(scratch.0.join("latest")).unwrap(), Path::new("runs/one"));
    assert!(Runs::find(&scratch.0, None).unwrap().unwrap().live);
    drop(dir);
    assert!(!Runs::find(&scratch.0, None).unwrap().unwrap().live);
    assert_eq!(scratch.litter(), [""; 0]);
}

#[test]
fn a_name_that_is_live_or_kept_is_refused_with_advice() {
    let scratch = Scratch::new();
    let dir = scratch.create("one").unwrap();
    let live = format!("run one is live (pid {}): choose another --run", std::process::id());
    assert_eq!(scratch.create("one").unwrap_err().to_string(), live);
    drop(dir);
    let message = scratch.create("one").unwrap_err().to_string();
    assert!(message.starts_with("run one is over and kept in /"), "{message}");
    assert_eq!(scratch.litter(), [""; 0]);
}

#[test]
fn a_name_cannot_leave_the_directory_or_hide_in_it() {
    let scratch = Scratch::new();
    let long = "x".repeat(65);
    for name in ["", ".", "..", ".new-1", "a/b", "a b", "é", &long] {
        assert!(matches!(scratch.create(name), Err(RunDirError::Name { .. })), "{name:?}");
    }
    scratch.create(&"x".repeat(64)).unwrap();
}

#[test]
fn without_a_name_it_is_called_after_time_and_pid() {
    let at = |seconds| name_for(UNIX_EPOCH + Duration::from_secs(seconds), 7);
    assert_eq!(at(0), "19700101-000000-7");
    assert_eq!(at(951_782_399), "20000228-235959-7");
    assert_eq!(at(951_782_400), "20000229-000000-7");
    assert_eq!(at(1_795_167_012), "20261120-093012-7");
    assert_eq!(at(4_107_542_400), "21000301-000000-7");
}

#[test]
fn two_unnamed_runs_of_one_process_get_two_names() {
    let scratch = Scratch::new();
    let dirs: Vec<RunDir> = (0..3).map(|_| RunDir::create(&scratch.0, None, None).unwrap()).collect();
    let mut names: Vec<&str> = dirs.iter().map(RunDir::name).collect();
    names.dedup();
    assert_eq!(names.len(), 3);
}

#[test]
fn a_log_directory_elsewhere_is_linked_and_outlives_the_run() {
    let (scratch, logs) = (Scratch::new(), Scratch::new());
    let asked = logs.0.join("deep/er");
    let dir = RunDir::create(&scratch.0, Some("one"), Some(&asked)).unwrap();
    assert_eq!(dir.logs(), asked);
    assert_eq!(fs::read_link(dir.path().join("logs")).unwrap(), asked);
    fs::write(asked.join("1.log"), "x").unwrap();
    drop(dir);
    assert_eq!(Runs::prune(&scratch.0, 0), 1);
    assert!(asked.join("1.log").exists() && scratch.names().is_empty());
}

#[test]
fn a_log_directory_that_cannot_be_written_leaves_nothing_behind() {
    let scratch = Scratch::new();
    let file = scratch.0.join("file");
    fs::write(&file, "").unwrap();
    let message = RunDir::create(&scratch.0, Some("one"), Some(&file)).unwrap_err().to_string();
    assert!(message.contains("file: ") && message.ends_with("choose another --log-dir"), "{message}");
    let message = RunDir::create(&scratch.0, Some("one"), Some(Path::new("/proc"))).unwrap_err().to_string();
    assert!(message.starts_with("write to /proc: "), "{message}");
    assert!(scratch.names().is_empty() && scratch.litter().is_empty());
}

#[test]
fn a_link_in_the_way_is_not_followed() {
    let (scratch, other) = (Scratch::new(), Scratch::new());
    symlink(&other.0, scratch.0.join("runs")).unwrap();
    assert!(matches!(scratch.create("one"), Err(RunDirError::Unsafe { .. })));
    fs::remove_file(scratch.0.join("runs")).unwrap();
    scratch.create("one").unwrap();
    symlink(&other.0, scratch.0.join("runs/two")).unwrap();
    assert!(scratch.create("two").is_err());
    assert_eq!((fs::read_dir(&other.0).unwrap().count(), scratch.names()), (0, vec!["one".to_owned()]));
}

#[test]
fn a_state_directory_open_to_everybody_is_refused() {
    let scratch = Scratch::new();
    fs::set_permissions(&scratch.0, fs::Permissions::from_mode(0o777)).unwrap();
    let message = scratch.create("one").unwrap_err().to_string();
    assert!(message.ends_with("can be written by everybody: choose another --state-dir"), "{message}");
    fs::set_permissions(&scratch.0, fs::Permissions::from_mode(0o1777)).unwrap();
    scratch.create("one").unwrap();
}

#[test]
fn the_latest_live_run_is_found_before_a_later_finished_one() {
    let scratch = Scratch::new();
    let live = scratch.create("live").unwrap();
    drop(scratch.create("over").unwrap());
    let found = |name| Runs::find(&scratch.0, name).unwrap().map(|run| run.name);
    assert_eq!(found(None).as_deref(), Some("live"));
    drop(live);
    assert_eq!(found(None).as_deref(), Some("over"));
    assert_eq!(found(Some("live")).as_deref(), Some("live"));
    assert_eq!(found(Some("none")), None);
    assert_eq!(Runs::find(&scratch.0.join("nowhere"), None).unwrap(), None);
}

#[test]
fn pruning_takes_the_oldest_that_nobody_holds() {
    let scratch = Scratch::new();
    let held = scratch.create("a-held").unwrap();
    for name in ["b", "c", "d"] {
        drop(scratch.create(name).unwrap());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(Runs::prune(&scratch.0, 2), 1);
    assert_eq!(scratch.names(), ["a-held", "c", "d"]);
    drop(held);
    assert_eq!(Runs::prune(&scratch.0, 0), 3);
    assert!(scratch.names().is_empty() && scratch.litter().is_empty());
}

#[test]
fn what_is_being_created_is_left_alone_and_what_was_left_behind_is_not() {
    let scratch = Scratch::new();
    scratch.create("one").unwrap();
    let runs = scratch.0.join("runs");
    let (fresh, old) = (runs.join(".new-1-1"), runs.join(".new-2-1"));
    make(&fresh).unwrap();
    make(&old).unwrap();
    let long_ago = SystemTime::now() - 2 * LEFT_BEHIND;
    File::open(&old).unwrap().set_modified(long_ago).unwrap();
    Runs::prune(&scratch.0, 20);
    assert!(fresh.exists() && !old.exists());
}

#[test]
fn many_that_start_and_prune_at_once_all_get_a_run() {
    let scratch = Scratch::new();
    let start = |n: u32| {
        for round in 0..10 {
            let dir = scratch.create(&format!("run-{n}-{round}")).unwrap();
            Runs::prune(&scratch.0, 0);
            assert!(dir.status_file().parent().is_some_and(Path::exists));
            assert!(dir.logs().exists(), "a live run was pruned");
        }
    };
    std::thread::scope(|scope| (0..8).for_each(|n| drop(scope.spawn(move || start(n)))));
    Runs::prune(&scratch.0, 0);
    assert_eq!((scratch.names().len(), scratch.litter().len()), (0, 0));
}
