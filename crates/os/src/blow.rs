//! What may befall a child from outside, dealt on purpose: for trials of the supervisor by itself.

use crate::Body;
use rustix::process::{Signal, pidfd_send_signal};

/// One signal, to the process alone and not to its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// SIGKILL.
    Kill,
    /// SIGSEGV, as after a wild pointer.
    Segv,
    /// SIGABRT, as after a failed assertion.
    Abort,
    /// SIGTERM.
    Terminate,
    /// SIGSTOP.
    Stop,
    /// SIGCONT.
    Continue,
}

impl Body {
    /// Deals it; false if nobody was there to take it any more.
    pub fn suffer(&self, blow: Blow) -> bool {
        let signal = match blow {
            Blow::Kill => Signal::KILL,
            Blow::Segv => Signal::SEGV,
            Blow::Abort => Signal::ABORT,
            Blow::Terminate => Signal::TERM,
            Blow::Stop => Signal::STOP,
            Blow::Continue => Signal::CONT,
        };
        pidfd_send_signal(self.pidfd(), signal).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pid;
    use brigade_wire::Exit;
    use std::process::{Command, Stdio};

    #[test]
    fn a_blow_ends_whom_it_hits_and_misses_the_dead() {
        for (blow, signal) in [(Blow::Kill, 9), (Blow::Segv, 11), (Blow::Abort, 6), (Blow::Terminate, 15)] {
            let mut sleeper = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
            let body = Body::of(Pid::new(sleeper.id().cast_signed()).unwrap()).unwrap();
            assert!(body.suffer(Blow::Stop) && body.suffer(Blow::Continue) && body.suffer(blow));
            assert_eq!(body.reap(), Exit::Signal(signal));
            assert!(!body.suffer(blow), "it is reaped");
            assert!(sleeper.wait().is_err(), "by us");
        }
    }
}
