//! `supervisor logs`: what a worker wrote, whether it lives or not.

use crate::args::{Common, LogsArgs, Which};
use crate::exit::{self, Stop};
use crate::phrase;
use crate::ps;
use crate::tail::Tail;
use anyhow::Context;
use brigade_supervisor::rundir::{RunEntry, Runs};
use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How often a growing log is looked at.
const POLL: Duration = Duration::from_millis(100);

/// Shows the logs that were asked for.
pub(crate) fn logs(common: &Common, args: &LogsArgs) -> Result<u8, Stop> {
    let run = run(common, args.which)?;
    let desk = Desk::new(run, args)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let read = desk.read(args.follow, &mut out);
    // What could not be written is not tried again when the buffer is dropped.
    drop(out.into_parts());
    exit::written(read).map(|()| exit::OK)
}

/// The run to read about: the named one, or the latest that has a log of the pid, or the latest that is live.
fn run(common: &Common, which: Which) -> Result<RunEntry, Stop> {
    let state = common.state_dir();
    let unreadable = |error: brigade_supervisor::rundir::RunDirError| Stop::usage(error.to_string());
    if let (None, Which::Pid(pid)) = (&common.run, which) {
        let runs = Runs::list(&state).map_err(unreadable)?;
        if let Some(run) = runs.into_iter().rev().find(|run| log(run, pid).is_file()) {
            return Ok(run);
        }
    }
    let found = Runs::find(&state, common.run.as_deref()).map_err(unreadable)?;
    found.ok_or_else(|| match &common.run {
        Some(name) => Stop::nobody(format!("no run {name} in {}", state.display())),
        None => Stop::nobody(format!("no supervisor ever ran in {}", state.display())),
    })
}

fn log(run: &RunEntry, pid: u32) -> PathBuf {
    run.logs().join(format!("{pid}.log"))
}

/// The pids that have a log, in the order of their first line as far as the file system knows it.
fn pids(run: &RunEntry) -> Vec<u32> {
    let Ok(found) = run.logs().read_dir() else { return Vec::new() };
    let mut pids: Vec<(SystemTime, u32)> =
        found.flatten().filter_map(|entry| Some((born(&entry.path()), pid_of(&entry.path())?))).collect();
    pids.sort_unstable();
    pids.into_iter().map(|(_, pid)| pid).collect()
}

fn pid_of(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.strip_suffix(".log")?.parse().ok()
}

fn born(path: &Path) -> SystemTime {
    path.metadata().and_then(|meta| meta.created()).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Whoever died last and left a log, or else whoever wrote last.
fn last(run: &RunEntry) -> Option<u32> {
    let dead = ps::status(run).map(|status| status.dead).unwrap_or_default();
    let dead = dead.iter().rev().map(|dead| dead.pid).find(|pid| log(run, *pid).is_file());
    let written = |pid: &u32| log(run, *pid).metadata().and_then(|meta| meta.modified()).ok();
    dead.or_else(|| pids(run).into_iter().max_by_key(written))
}

/// The logs that are being read.
struct Desk {
    run: RunEntry,
    lines: Option<u64>,
    all: bool,
    open: BTreeMap<u32, Tail>,
}

impl Desk {
    fn new(run: RunEntry, args: &LogsArgs) -> Result<Desk, Stop> {
        let there = pids(&run);
        if there.is_empty() && !args.follow {
            return Err(Stop::nobody(format!("run {} has no logs in {}", run.name, run.logs().display())));
        }
        let all = args.which == Which::All;
        let mut desk = Desk { run, lines: args.lines, all, open: BTreeMap::new() };
        let pid = match args.which {
            Which::All => return Ok(desk),
            Which::Last => last(&desk.run),
            Which::Pid(pid) => there.contains(&pid).then_some(pid),
        };
        let pid = pid.ok_or_else(|| desk.unknown(args.which, &there))?;
        desk.sit(pid).with_context(|| format!("open the log of pid {pid}"))?;
        Ok(desk)
    }

    fn unknown(&self, which: Which, there: &[u32]) -> Stop {
        let run = &self.run.name;
        match which {
            Which::Pid(pid) => {
                Stop::nobody(format!("run {run} has no log of pid {pid}, but of {}", phrase::pids(there)))
            }
            Which::All | Which::Last => Stop::nobody(format!("run {run} has no logs yet")),
        }
    }

    fn sit(&mut self, pid: u32) -> io::Result<()> {
        let prefix = self.all.then(|| format!("{pid}│"));
        self.open.insert(pid, Tail::open(&log(&self.run, pid), self.lines, prefix)?);
        Ok(())
    }

    fn read(mut self, follow: bool, out: &mut impl Write) -> io::Result<()> {
        loop {
            // Asked before reading: whatever was written while the run was live is read then.
            let live = self.run.is_live_now();
            self.pump(out)?;
            out.flush()?;
            if !follow || !live {
                break;
            }
            std::thread::sleep(POLL);
        }
        self.open.values_mut().try_for_each(|tail| tail.finish(out))?;
        out.flush()
    }

    /// Copies what is there now, of those who came since the last time as well.
    fn pump(&mut self, out: &mut impl Write) -> io::Result<()> {
        if !self.all {
            return self.open.values_mut().try_for_each(|tail| tail.pump(out));
        }
        for pid in pids(&self.run) {
            if !self.open.contains_key(&pid) {
                self.sit(pid)?;
            }
            if let Some(tail) = self.open.get_mut(&pid) {
                tail.pump(out)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use brigade_supervisor::rundir::RunDir;
    use std::fs;

    struct Stage {
        state: PathBuf,
        dir: Option<RunDir>,
    }

    impl Stage {
        fn new(name: &str) -> Stage {
            let state = std::env::temp_dir().join(format!("brigade-logs-{}-{name}", std::process::id()));
            let dir = RunDir::create(&state, Some("r"), None).unwrap();
            Stage { state, dir: Some(dir) }
        }

        fn write(&self, pid: u32, text: &str) {
            let path = self.state.join(format!("runs/r/logs/{pid}.log"));
            let mut file = fs::File::options().create(true).append(true).open(path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }

        fn desk(&self, which: Which, lines: Option<u64>) -> Result<Desk, Stop> {
            let run = Runs::find(&self.state, None).unwrap().unwrap();
            Desk::new(run, &LogsArgs { which, follow: false, lines })
        }

        fn shown(&self, which: Which, lines: Option<u64>) -> String {
            let mut out = Vec::new();
            self.desk(which, lines).ok().unwrap().read(false, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        }
    }

    impl Drop for Stage {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.state);
        }
    }

    #[test]
    fn one_log_is_shown_as_it_is_and_all_with_their_pids() {
        let stage = Stage::new("shown");
        stage.write(7, "one\ntwo\n");
        std::thread::sleep(Duration::from_millis(20));
        stage.write(5, "three");
        assert_eq!(stage.shown(Which::Pid(7), None), "one\ntwo\n");
        assert_eq!(stage.shown(Which::Pid(7), Some(1)), "two\n");
        assert_eq!(stage.shown(Which::All, None), "7│one\n7│two\n5│three\n");
        assert_eq!(stage.shown(Which::Last, None), "three");
    }

    #[test]
    fn an_unknown_pid_is_told_which_there_are() {
        let stage = Stage::new("unknown");
        let why = |which| match stage.desk(which, None) {
            Err(Stop::Failed { code: 3, why }) => why.to_string(),
            _ => panic!("found"),
        };
        assert!(why(Which::All).starts_with("run r has no logs in /"));
        stage.write(7, "one\n");
        assert_eq!(why(Which::Pid(8)), "run r has no log of pid 8, but of 7");
    }

    #[test]
    fn following_ends_with_the_run_and_sees_those_who_come_later() {
        let mut stage = Stage::new("follow");
        stage.write(7, "one\n");
        let desk = stage.desk(Which::All, None).ok().unwrap();
        let follower = std::thread::spawn(move || {
            let mut out = Vec::new();
            desk.read(true, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        });
        std::thread::sleep(2 * POLL);
        stage.write(8, "late\n");
        stage.write(7, "two");
        drop(stage.dir.take());
        assert_eq!(follower.join().unwrap(), "7│one\n8│late\n7│two\n");
    }
}
