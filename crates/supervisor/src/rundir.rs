//! A run's own directory, and the directories of the runs before it.
//!
//! ```text
//! <state>/latest ─▶ runs/<name>/ { lock, events.ndjson, status.json, logs/<pid>.log }
//! create: runs/.new-… ─▶ lock it ─▶ furnish it ─▶ rename to runs/<name> ─▶ prune: lock, rename to .gone-…, remove
//! ```
//!
//! A run is live while somebody holds its `lock`; the kernel lets go of it however the supervisor ends. A
//! directory gets its name only when it is complete and locked, by one rename that cannot overwrite another
//! run, so several supervisors may start at once, and nobody prunes what somebody else is creating. All of
//! this is one lock per run: a common one could be held by a supervisor that somebody stopped.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Finished runs that [`Runs::prune`] is asked to keep.
pub const RUNS_KEPT: usize = 20;

/// The longest name of a run.
const NAME_CHARS_MAX: usize = 64;

/// Tries at a free name; more than one is taken only where two pid namespaces share a state directory.
const TRIES_MAX: u32 = 64;

/// How old a half-made or half-removed directory must be before it counts as left behind. Making or
/// removing one takes milliseconds.
const LEFT_BEHIND: Duration = Duration::from_secs(60);

/// Why a run directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunDirError {
    /// Not a name for a run.
    #[error(
        "run name {name:?} is not 1 to 64 of A-Z a-z 0-9 . _ - without a dot in front: choose another --run"
    )]
    Name {
        /// As it was given.
        name: String,
    },
    /// Another supervisor holds it.
    #[error("run {name} is live ({holder}): choose another --run")]
    Live {
        /// The run.
        name: String,
        /// `pid N`, as its lock says.
        holder: String,
    },
    /// There never was one, or it was pruned.
    #[error("there is no run {name} in {}: see what there is with 'ls'", state.join("runs").display())]
    Unknown {
        /// The run.
        name: String,
        /// Where it would be.
        state: PathBuf,
    },
    /// There was one of that name, and its logs are kept.
    #[error("run {name} is over and kept in {}: choose another --run, or remove that directory", path.display())]
    Finished {
        /// The run.
        name: String,
        /// Where it is.
        path: PathBuf,
    },
    /// Somebody else could write there.
    #[error("{} {fault}: choose another {flag}", path.display())]
    Unsafe {
        /// Where.
        path: PathBuf,
        /// What is wrong with it.
        fault: &'static str,
        /// The flag that names another place.
        flag: &'static str,
    },
    /// Nobody can say who we are.
    #[error("look at /proc/self: {0}: mount /proc")]
    Proc(io::Error),
    /// The system refused.
    #[error("{what} {}: {cause}: choose another {flag}", path.display())]
    Io {
        /// What was asked.
        what: &'static str,
        /// Of what.
        path: PathBuf,
        /// The flag that names another place.
        flag: &'static str,
        /// What the system said.
        cause: io::Error,
    },
}

/// The directory of a live run; it holds the lock for as long as it lives.
#[derive(Debug)]
pub struct RunDir {
    name: String,
    path: PathBuf,
    logs: PathBuf,
    _lock: File,
}

impl RunDir {
    /// Makes the directory of a new run below `state_dir` and takes its lock.
    ///
    /// Without a name it is called after the time and our pid, as `20261120-093012-4711`. Without a `log_dir`
    /// the logs are in its own `logs`; with one, `logs` is a link to it.
    ///
    /// # Errors
    /// If there is a run of that name, if somebody else could write there, or if the system refuses: the
    /// message names the path and the flag that helps.
    pub fn create(
        state_dir: &Path,
        run: Option<&str>,
        log_dir: Option<&Path>,
    ) -> Result<RunDir, RunDirError> {
        if let Some(name) = run {
            check_name(name)?;
        }
        let state = state_home(state_dir)?;
        let runs = runs_home(&state)?;
        let (nursery, lock) = nursery(&runs)?;
        let made = furnish(&nursery, log_dir).and_then(|logs| {
            let name = claim(&runs, &nursery, run)?;
            Ok(RunDir {
                path: runs.join(&name),
                logs: logs.unwrap_or(runs.join(&name).join("logs")),
                name,
                _lock: lock,
            })
        });
        if made.is_err() {
            drop(fs::remove_dir_all(&nursery));
        }
        made
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the per-PID logs go: exists, and was written to.
    #[must_use]
    pub fn logs(&self) -> &Path {
        &self.logs
    }

    /// Where the story goes.
    #[must_use]
    pub fn events_file(&self) -> PathBuf {
        self.path.join("events.ndjson")
    }

    /// Where the status goes.
    #[must_use]
    pub fn status_file(&self) -> PathBuf {
        self.path.join("status.json")
    }

    /// Where the journal goes.
    #[must_use]
    pub fn journal_file(&self) -> PathBuf {
        self.path.join("journal")
    }

    /// Points `latest` at this run, because it begins.
    ///
    /// # Errors
    /// If something that is no link stands there, or the system refuses: the run is not reached by that name.
    pub fn become_latest(&self) -> Result<(), RunDirError> {
        let state =
            self.path.parent().and_then(Path::parent).expect("a run is in `runs` of a state directory");
        point_latest(state, &self.name)
    }

    /// Removes the directory of a run that never began.
    pub fn discard(self) {
        drop(fs::remove_dir_all(&self.path));
    }

    /// Takes the directory of a run whose supervisor is gone, and its lock.
    ///
    /// # Errors
    /// If there is no such run, if it is live, or if the system refuses.
    pub fn reopen(state_dir: &Path, name: &str) -> Result<RunDir, RunDirError> {
        check_name(name)?;
        let state = state_home(state_dir)?;
        let path = runs_home(&state)?.join(name);
        let unknown = |_| RunDirError::Unknown { name: name.into(), state: state.clone() };
        let mut lock = OpenOptions::new().write(true).open(path.join("lock")).map_err(unknown)?;
        if lock.try_lock().is_err() {
            return Err(taken(name.into(), path));
        }
        let written = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
        written.map_err(refused("write to the lock of", &path, "--run"))?;
        let logs =
            fs::canonicalize(path.join("logs")).map_err(refused("find the logs of", &path, "--run"))?;
        Ok(RunDir { name: name.into(), path, logs, _lock: lock })
    }
}

/// A run that can be read about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunEntry {
    /// What it is called.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Its supervisor holds the lock.
    pub live: bool,
    /// When it began, by the wall clock: only to put runs in order.
    pub began: SystemTime,
}

impl RunEntry {
    /// Whether its supervisor lives at this moment.
    #[must_use]
    pub fn is_live_now(&self) -> bool {
        is_held(&self.path)
    }

    /// Where its status is.
    #[must_use]
    pub fn status_file(&self) -> PathBuf {
        self.path.join("status.json")
    }

    /// Where its per-PID logs are.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }
}

/// The runs of a state directory, for those who read about them.
#[derive(Clone, Copy, Debug)]
pub struct Runs;

impl Runs {
    /// `$XDG_STATE_HOME/brigade`, or `~/.local/state/brigade`, or without a home `/tmp/brigade-<uid>`.
    #[must_use]
    pub fn default_state_dir() -> PathBuf {
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        absolute("XDG_STATE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
            .map(|base| base.join("brigade"))
            .unwrap_or_else(|| PathBuf::from(format!("/tmp/brigade-{}", our_uid().unwrap_or(0))))
    }

    /// All runs, the oldest first; none if there never was one.
    ///
    /// # Errors
    /// If the directory cannot be read or belongs to somebody else.
    pub fn list(state_dir: &Path) -> Result<Vec<RunEntry>, RunDirError> {
        let runs = state_dir.join("runs");
        match fs::symlink_metadata(&runs) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(refused("look at", &runs, "--state-dir")(error)),
            Ok(meta) => check_readable(&runs, &meta)?,
        }
        let names = fs::read_dir(&runs).map_err(refused("read", &runs, "--state-dir"))?;
        let mut entries: Vec<RunEntry> = names.flatten().filter_map(|found| entry(&found.path())).collect();
        entries.sort_by(|a, b| (a.began, &a.name).cmp(&(b.began, &b.name)));
        Ok(entries)
    }

    /// The run of that name; without a name the latest that is live, or else the latest.
    ///
    /// # Errors
    /// As [`Runs::list`].
    pub fn find(state_dir: &Path, name: Option<&str>) -> Result<Option<RunEntry>, RunDirError> {
        let mut entries = Runs::list(state_dir)?;
        if let Some(name) = name {
            return Ok(entries.into_iter().find(|entry| entry.name == name));
        }
        let at = entries.iter().rposition(|entry| entry.live);
        Ok(at.map(|at| entries.swap_remove(at)).or_else(|| entries.pop()))
    }

    /// Removes the oldest runs that nobody holds until `keep` of them are left, and says how many it removed.
    /// What cannot be removed stays for the next time.
    pub fn prune(state_dir: &Path, keep: usize) -> usize {
        let Ok(entries) = Runs::list(state_dir) else { return 0 };
        sweep(&state_dir.join("runs"));
        let over: Vec<RunEntry> = entries.into_iter().filter(|entry| !entry.live).collect();
        let excess = over.len().saturating_sub(keep);
        over.iter().take(excess).filter(|entry| remove(&entry.path)).count()
    }
}

// Making one.

fn check_name(name: &str) -> Result<(), RunDirError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let fits = (1..=NAME_CHARS_MAX).contains(&name.len()) && !name.starts_with('.');
    if fits && name.chars().all(is_plain) { Ok(()) } else { Err(RunDirError::Name { name: name.into() }) }
}

/// The state directory, absolute: made if it is missing, refused if others could put things in our way.
fn state_home(state_dir: &Path) -> Result<PathBuf, RunDirError> {
    let state = std::path::absolute(state_dir).map_err(refused("find", state_dir, "--state-dir"))?;
    make_all(&state).map_err(refused("make directory", &state, "--state-dir"))?;
    let link = fs::symlink_metadata(&state).map_err(refused("look at", &state, "--state-dir"))?;
    let meta = fs::metadata(&state).map_err(refused("look at", &state, "--state-dir"))?;
    let open_to_all = meta.mode() & 0o002 != 0 && meta.mode() & 0o1000 == 0;
    let ours = our_uid()?;
    let fault = match () {
        () if !meta.is_dir() => "is no directory",
        () if ![0, ours].contains(&link.uid()) => "belongs to somebody else",
        () if ![0, ours].contains(&meta.uid()) => "belongs to somebody else",
        () if open_to_all => "can be written by everybody",
        () => return Ok(state),
    };
    Err(RunDirError::Unsafe { path: state, fault, flag: "--state-dir" })
}

/// `runs` in the state directory: ours alone, and no link.
fn runs_home(state: &Path) -> Result<PathBuf, RunDirError> {
    let runs = state.join("runs");
    match make(&runs) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(refused("make directory", &runs, "--state-dir")(error));
        }
        Ok(()) | Err(_) => {}
    }
    let meta = fs::symlink_metadata(&runs).map_err(refused("look at", &runs, "--state-dir"))?;
    let ours = our_uid()?;
    let fault = match () {
        () if !meta.is_dir() => "is no directory",
        () if meta.uid() != ours => "belongs to somebody else",
        () if meta.mode() & 0o022 != 0 => "can be written by others",
        () => return Ok(runs),
    };
    Err(RunDirError::Unsafe { path: runs, fault, flag: "--state-dir" })
}

/// A directory without a name yet, and its lock, which we hold.
fn nursery(runs: &Path) -> Result<(PathBuf, File), RunDirError> {
    let pid = std::process::id();
    let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
    for attempt in 1..=TRIES_MAX {
        let path = runs.join(format!(".new-{pid}-{attempt}"));
        match make(&path).and_then(|()| hold(&path)) {
            Ok(lock) => return Ok((path, lock)),
            Err(error) if is_worth_another(&error) => last = error,
            Err(error) => {
                drop(fs::remove_dir_all(&path));
                return Err(refused("make directory", &path, "--state-dir")(error));
            }
        }
    }
    Err(refused("make a directory in", runs, "--state-dir")(last))
}

/// Somebody has that name, or took what we had just made for left behind.
fn is_worth_another(error: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, NotFound, WouldBlock};
    matches!(error.kind(), AlreadyExists | NotFound | WouldBlock)
}

fn hold(dir: &Path) -> io::Result<File> {
    let mut lock = OpenOptions::new().write(true).create_new(true).mode(0o600).open(dir.join("lock"))?;
    lock.try_lock()?;
    writeln!(lock, "{}", std::process::id())?;
    Ok(lock)
}

/// Makes the logs' place and writes there once; says where it is if that is not in the directory itself.
fn furnish(dir: &Path, log_dir: Option<&Path>) -> Result<Option<PathBuf>, RunDirError> {
    let own = dir.join("logs");
    let Some(asked) = log_dir else {
        make(&own).map_err(refused("make directory", &own, "--state-dir"))?;
        probe(&own).map_err(refused("write to", &own, "--state-dir"))?;
        return Ok(None);
    };
    let logs = std::path::absolute(asked).map_err(refused("find", asked, "--log-dir"))?;
    make_all(&logs).map_err(refused("make directory", &logs, "--log-dir"))?;
    probe(&logs).map_err(refused("write to", &logs, "--log-dir"))?;
    symlink(&logs, &own).map_err(refused("make link", &own, "--state-dir"))?;
    Ok(Some(logs))
}

/// One byte, not only a name: a full disk still takes names.
fn probe(dir: &Path) -> io::Result<()> {
    let path = dir.join(format!(".probe-{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    let written = file.write_all(b"?");
    fs::remove_file(&path)?;
    written
}

/// Gives the furnished directory its name. A rename onto another run fails, because no run is ever empty.
fn claim(runs: &Path, nursery: &Path, run: Option<&str>) -> Result<String, RunDirError> {
    let stem = run.map_or_else(|| name_for(SystemTime::now(), std::process::id()), String::from);
    let mut name = stem.clone();
    for attempt in 2..=TRIES_MAX {
        let path = runs.join(&name);
        match fs::rename(nursery, &path) {
            Ok(()) => return Ok(name),
            Err(error) if !is_taken(&error) => return Err(refused("make directory", &path, "--run")(error)),
            Err(_) if run.is_some() => return Err(taken(name, path)),
            Err(_) => name = format!("{stem}-{attempt}"),
        }
    }
    Err(taken(stem.clone(), runs.join(stem)))
}

fn is_taken(error: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, DirectoryNotEmpty, NotADirectory};
    matches!(error.kind(), AlreadyExists | DirectoryNotEmpty | NotADirectory)
}

fn taken(name: String, path: PathBuf) -> RunDirError {
    if is_held(&path) {
        let pid = fs::read_to_string(path.join("lock")).unwrap_or_default();
        let pid = if pid.trim().is_empty() { "?" } else { pid.trim() };
        return RunDirError::Live { name, holder: format!("pid {pid}") };
    }
    RunDirError::Finished { name, path }
}

/// Points `latest` at the run, in one step for those who follow it meanwhile.
fn point_latest(state: &Path, name: &str) -> Result<(), RunDirError> {
    let (fresh, latest) = (state.join(format!(".latest-{name}")), state.join("latest"));
    // One may be left of a supervisor that was killed in between.
    drop(fs::remove_file(&fresh));
    symlink(Path::new("runs").join(name), &fresh).and_then(|()| fs::rename(&fresh, &latest)).map_err(refused(
        "make link",
        &latest,
        "--state-dir",
    ))
}

/// `20261120-093012-4711`, in UTC.
fn name_for(time: SystemTime, pid: u32) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}-{pid}")
}

/// The date of a day since 1970: Howard Hinnant's `civil_from_days`, whose years begin in March, so that the
/// leap day is the last.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

// Reading and removing them.

/// Root reads everybody's; anybody else only their own, because a stranger's status could say anything.
fn check_readable(runs: &Path, meta: &fs::Metadata) -> Result<(), RunDirError> {
    let ours = our_uid()?;
    if meta.is_dir() && (ours == 0 || meta.uid() == ours) {
        return Ok(());
    }
    let fault = if meta.is_dir() { "belongs to somebody else" } else { "is no directory" };
    Err(RunDirError::Unsafe { path: runs.into(), fault, flag: "--state-dir" })
}

/// The run in this directory; none if it is unfinished, a link, or something else.
fn entry(path: &Path) -> Option<RunEntry> {
    let name = path.file_name()?.to_str()?.to_owned();
    check_name(&name).ok()?;
    fs::symlink_metadata(path).ok().filter(fs::Metadata::is_dir)?;
    let began = fs::symlink_metadata(path.join("lock")).and_then(|lock| lock.modified()).ok()?;
    Some(RunEntry { name, path: path.into(), live: is_held(path), began })
}

/// Readers share the lock for a moment, so that they do not take each other for supervisors.
fn is_held(dir: &Path) -> bool {
    let Ok(lock) = File::open(dir.join("lock")) else { return false };
    matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock))
}

/// Removes what was left behind half made or half removed.
fn sweep(runs: &Path) {
    let Ok(names) = fs::read_dir(runs) else { return };
    for found in names.flatten() {
        let name = found.file_name().into_encoded_bytes();
        let is_ours = name.starts_with(b".new-") || name.starts_with(b".gone-");
        if is_ours && is_left_behind(&found.path()) {
            remove(&found.path());
        }
    }
}

fn is_left_behind(dir: &Path) -> bool {
    let modified = fs::symlink_metadata(dir).and_then(|meta| meta.modified());
    modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > LEFT_BEHIND))
}

/// Removes a directory that nobody holds: under its lock, and out of sight first, so that nobody reads half
/// of a run or mistakes an emptied one for a free name.
fn remove(dir: &Path) -> bool {
    let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(dir.join("lock"));
    let Ok(lock) = lock else { return false };
    if lock.try_lock().is_err() {
        return false;
    }
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let gone = dir.with_file_name(format!(".gone-{}-{name}", std::process::id()));
    fs::rename(dir, &gone).and_then(|()| fs::remove_dir_all(&gone)).is_ok()
}

// What all of them need.

fn make(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

fn make_all(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).recursive(true).create(path)
}

/// The user whom this process acts as.
fn our_uid() -> Result<u32, RunDirError> {
    fs::metadata("/proc/self").map(|meta| meta.uid()).map_err(RunDirError::Proc)
}

fn refused(what: &'static str, path: &Path, flag: &'static str) -> impl FnOnce(io::Error) -> RunDirError {
    let path = path.to_path_buf();
    move |cause| RunDirError::Io { what, path, flag, cause }
}

#[cfg(test)]
mod tests;
