//! Per-PID logs: opened so that no link can lead them astray, and put under stdout and stderr.

use rustix::fs::{FileType, Mode, OFlags, fstat, openat};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Not to be led astray by a link, nor held up by a pipe that somebody has put there.
const FLAGS: OFlags = OFlags::WRONLY
    .union(OFlags::CREATE)
    .union(OFlags::APPEND)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);
const MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// Opens a directory to open logs in.
///
/// # Errors
/// If it is no directory, a link, or not to be opened.
pub fn open_dir(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Opens `<pid>.log` in `dir` for appending; created 0600. Links are refused (an open that followed one would
/// overwrite its target), and so is whatever is no plain file.
///
/// # Errors
/// What `openat` says: ELOOP for a link, ENXIO for a pipe, ENOSPC, EACCES …
pub fn open(dir: impl AsFd, pid: u32) -> io::Result<File> {
    Ok(File::from(open_plain(dir, format!("{pid}.log"))?))
}

/// Removes `<pid>.log` from `dir`. One that is not there any more is as good as removed.
pub fn remove(dir: impl AsFd, pid: u32) {
    let _ = rustix::fs::unlinkat(dir, format!("{pid}.log"), rustix::fs::AtFlags::empty());
}

fn open_plain(dir: impl AsFd, name: impl rustix::path::Arg) -> rustix::io::Result<OwnedFd> {
    let log = openat(dir, name, FLAGS, MODE)?;
    match FileType::from_raw_mode(fstat(&log)?.st_mode) {
        FileType::RegularFile => Ok(log),
        _ => Err(rustix::io::Errno::NXIO),
    }
}

/// Where the log that lies under this process's stderr is, if it is its own. To be asked before anybody renames it.
#[must_use]
pub fn own_path() -> Option<PathBuf> {
    let path = std::fs::read_link("/proc/self/fd/2").ok()?;
    (path.file_name()? == own_name().as_str()).then_some(path)
}

fn own_name() -> String {
    format!("{}.log", std::process::id())
}

/// Opens this process's log there anew and puts it under stdout and stderr. Says whether it is a fresh one.
///
/// # Errors
/// As [`open`]; then the old one stays where it was.
pub fn reopen(path: &Path) -> io::Result<bool> {
    let dir = open_dir(path.parent().ok_or(io::ErrorKind::InvalidInput)?)?;
    let log = File::from(open_plain(dir, own_name())?);
    let is_fresh = log.metadata()?.len() == 0;
    dup2_stdout(&log)?;
    dup2_stderr(&log)?;
    Ok(is_fresh)
}

/// Puts a log under stdout and stderr of this process, and nothing under its stdin.
///
/// # Errors
/// If the kernel refuses.
pub fn put_under_stdio(log: &File) -> io::Result<()> {
    dup2_stdin(File::open("/dev/null")?)?;
    dup2_stdout(log)?;
    dup2_stderr(log)?;
    Ok(())
}

/// Lets the program that `command` starts write into `<its pid>.log` in `dir` before its first instruction, so
/// that a loader's complaint is kept too; it writes to nobody if that cannot be opened.
///
/// # Errors
/// If there is no descriptor to be had.
pub fn put_under(command: &mut Command, dir: impl AsFd) -> io::Result<()> {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let dir = dir.as_fd().try_clone_to_owned()?;
    let open_own = move || {
        // No allocation between fork and exec: another thread may have held the allocator's lock.
        let mut name = [0_u8; 24];
        write!(&mut name[..], "{}.log\0", std::process::id())?;
        let name = CStr::from_bytes_until_nul(&name).map_err(|_| io::ErrorKind::InvalidInput)?;
        if let Ok(log) = open_plain(&dir, name) {
            dup2_stdout(&log)?;
            dup2_stderr(&log)?;
        }
        Ok(())
    };
    // SAFETY: the closure only makes system calls; it neither allocates nor locks.
    unsafe { command.pre_exec(open_own) };
    Ok(())
}
