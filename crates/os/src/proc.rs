//! What `/proc` says of a process.

use std::fs;
use std::io;

/// A few fields of `/proc/PID/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Its parent.
    pub ppid: u32,
    /// `R`, `S`, `D`, `T`, `Z` …
    pub state: char,
    /// When it was started, in clock ticks since boot: with the pid it names a process for ever.
    pub start_ticks: u64,
}

/// Reads `/proc/PID/stat`.
///
/// # Errors
/// If there is no such process.
pub fn stat(pid: u32) -> io::Result<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse(&text)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat: {text}")))
}

/// Memory of a process that is in RAM, in bytes.
///
/// # Errors
/// If there is no such process.
pub fn rss_bytes(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0);
    Ok(pages * rustix::param::page_size() as u64)
}

/// The name in the second field may hold spaces and parentheses: count from the last one.
fn parse(text: &str) -> Option<Stat> {
    let mut fields = text[text.rfind(')')? + 1..].split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let ppid = fields.next()?.parse().ok()?;
    let start_ticks = fields.nth(17)?.parse().ok()?;
    Some(Stat { ppid, state, start_ticks })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_full_of_parentheses_confuses_nobody() {
        let text = "7 (a) b) (c) S 5 7 7 0 -1 1 2 3 4 5 6 7 8 9 20 0 1 0 4711 9 9";
        assert_eq!(parse(text), Some(Stat { ppid: 5, state: 'S', start_ticks: 4711 }));
    }

    #[test]
    fn this_process_is_the_child_of_its_parent() {
        let own = stat(std::process::id()).unwrap();
        assert_eq!(Some(own.ppid), crate::Pid::parent().map(crate::Pid::number));
        assert!(rss_bytes(std::process::id()).unwrap() > 0);
    }
}
