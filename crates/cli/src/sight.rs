//! What can be seen of a process from outside, now: `/proc` is believed before any status file.

use brigade_os::proc;

/// A process that lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sight {
    /// Stopped by a signal or a tracer (`T` or `t`).
    pub(crate) is_stopped: bool,
    /// Memory in RAM.
    pub(crate) rss_bytes: u64,
}

/// Looks at a process; `None` if it is gone, or a zombie.
pub(crate) fn process(pid: u32) -> Option<Sight> {
    living(proc::stat(pid).ok()?, pid)
}

/// Looks at a child of `parent`; `None` if it is gone, a zombie, or a stranger who got its pid since.
pub(crate) fn child(pid: u32, parent: u32) -> Option<Sight> {
    living(proc::stat(pid).ok().filter(|stat| stat.ppid == parent)?, pid)
}

fn living(stat: proc::Stat, pid: u32) -> Option<Sight> {
    match stat.state {
        'Z' | 'X' | 'x' => None,
        state => Some(Sight {
            is_stopped: matches!(state, 'T' | 't'),
            rss_bytes: proc::rss_bytes(pid).unwrap_or(0),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_child_is_seen_until_it_is_dead_even_before_it_is_reaped() {
        let ours = std::process::id();
        assert!(process(ours).is_some_and(|sight| sight.rss_bytes > 0 && !sight.is_stopped));
        let mut cat = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        assert!(child(cat.id(), ours).is_some());
        assert!(child(cat.id(), cat.id()).is_none(), "not its own parent");
        drop(cat.stdin.take());
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while child(cat.id(), ours).is_some() {
            assert!(std::time::Instant::now() < deadline, "the zombie is taken for living");
        }
        cat.wait().unwrap();
    }
}
