//! The exit codes of `supervisor`, and the one line that explains a bad one.

use crate::answer::write_all;
use brigade_core::Verdict;
use brigade_supervisor::run::Report;

/// All done, and exact.
pub(crate) const OK: u8 = 0;
/// Something that should not happen, or an answer that could not be printed.
pub(crate) const INTERNAL: u8 = 1;
/// The command line, or what it names, cannot be used.
pub(crate) const USAGE: u8 = 2;
/// No such supervisor or worker.
pub(crate) const NOBODY: u8 = 3;
const FAILED: u8 = 100;
const QUARANTINED: u8 = 101;
const GAVE_UP: u8 = 102;
const ABANDONED: u8 = 103;
/// The journal cannot be kept, or gone on with.
pub(crate) const JOURNAL: u8 = 104;
const INTEGRITY: u8 = 105;
const SIGNALLED: i32 = 128;

/// What `--help` says of them.
pub(crate) const HELP: &str = "\
Exit codes:
  0    all done, and the sum is exact
  1    internal error, or the answer could not be written to stdout
  2    usage: bad arguments, worker, limits or directories
  3    ps, logs, quarantine: no such run, worker or task
  100  some tasks failed
  101  some tasks are in quarantine
  102  a worker died too often (--max-restarts)
  103  a drain gave up a task in hand (--grace)
  104  the journal cannot be written or read
  105  a result is not what it can be
  130  ended by Ctrl-C before all was done (128 + the signal)";

/// Why there is nothing more to do.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The text that was asked for, for stdout.
    Shown(String),
    /// An error, for stderr.
    Failed {
        /// The exit code.
        code: u8,
        /// In one line.
        why: anyhow::Error,
    },
}

impl Stop {
    /// The command line, or what it names, cannot be used.
    pub(crate) fn usage(why: impl Into<String>) -> Stop {
        Stop::Failed { code: USAGE, why: anyhow::Error::msg(why.into()) }
    }

    /// There is nobody to ask about.
    pub(crate) fn nobody(why: impl Into<String>) -> Stop {
        Stop::Failed { code: NOBODY, why: anyhow::Error::msg(why.into()) }
    }

    /// Says it, and says the exit code. A closed pipe is a reader who has seen enough.
    pub(crate) fn tell(self) -> u8 {
        match self {
            Stop::Shown(text) => match show(&text) {
                Ok(()) => OK,
                Err(stop) => stop.tell(),
            },
            Stop::Failed { code, why } => {
                // Whoever closed stderr still gets the exit code.
                drop(write_all(&mut std::io::stderr(), format!("error: {why:#}\n").as_bytes()));
                code
            }
        }
    }
}

/// Writes to stdout what was asked for.
pub(crate) fn show(text: &str) -> Result<(), Stop> {
    written(write_all(&mut std::io::stdout(), text.as_bytes()))
}

/// A closed pipe is a reader who has seen enough; anything else is an error.
pub(crate) fn written(result: std::io::Result<()>) -> Result<(), Stop> {
    match result {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(error).context("write to stdout").into())
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

impl From<anyhow::Error> for Stop {
    fn from(why: anyhow::Error) -> Stop {
        Stop::Failed { code: INTERNAL, why }
    }
}

/// The exit code of a run that was held. The worst of several reasons counts: a wrong answer first, then an
/// answer that will never come, then what is missing from it.
pub(crate) fn code(report: &Report) -> u8 {
    let done = &report.done;
    if report.integrity.is_some() || (done.total.is_some() && !done.exact) {
        return INTEGRITY;
    }
    if report.journal.is_some() {
        return JOURNAL;
    }
    match &report.verdict {
        Verdict::GaveUp(_) => GAVE_UP,
        Verdict::Drained if done.abandoned > 0 => ABANDONED,
        Verdict::Drained | Verdict::Aborted => report.signal.map_or(INTERNAL, signalled),
        // A run that was to halt did as it was asked: the tasks that failed, if any, are what it is about.
        Verdict::Complete | Verdict::Halted if done.quarantined > 0 => QUARANTINED,
        Verdict::Complete | Verdict::Halted if done.failed > 0 => FAILED,
        Verdict::Complete | Verdict::Halted => OK,
    }
}

/// Ended by a signal.
pub(crate) fn signalled(signal: i32) -> u8 {
    u8::try_from(SIGNALLED + signal).unwrap_or(INTERNAL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use brigade_core::GiveUp;
    use brigade_supervisor::story::Done;
    use brigade_wire::SlotId;

    fn report(verdict: Verdict, done: Done, signal: Option<i32>) -> Report {
        Report { done, verdict, signal, integrity: None, journal: None }
    }

    fn exact() -> Done {
        Done { total: Some("0".into()), exact: true, ..Done::default() }
    }

    #[test]
    fn a_complete_run_is_0_even_if_ctrl_c_ended_its_hold() {
        assert_eq!(code(&report(Verdict::Complete, exact(), None)), 0);
        assert_eq!(code(&report(Verdict::Complete, exact(), Some(2))), 0);
    }

    #[test]
    fn quarantine_is_worse_than_failure() {
        let done = |failed, quarantined| Done { failed, quarantined, ..Done::default() };
        assert_eq!(code(&report(Verdict::Complete, done(1, 0), None)), 100);
        assert_eq!(code(&report(Verdict::Complete, done(1, 1), None)), 101);
    }

    #[test]
    fn a_drain_says_which_signal_unless_it_gave_up_a_task() {
        let done = |abandoned| Done { missing: 5, abandoned, quarantined: 1, ..Done::default() };
        assert_eq!(code(&report(Verdict::Drained, done(0), Some(2))), 130);
        assert_eq!(code(&report(Verdict::Drained, done(0), Some(15))), 143);
        assert_eq!(code(&report(Verdict::Drained, done(1), Some(2))), 103);
        assert_eq!(code(&report(Verdict::Aborted, done(1), Some(2))), 130);
    }

    #[test]
    fn giving_up_and_a_wrong_answer_have_codes_of_their_own() {
        let gave_up = Verdict::GaveUp(GiveUp::Intensity { slot: SlotId(0), deaths: 6, exit: None });
        assert_eq!(code(&report(gave_up, Done::default(), None)), 102);
        let wrong = Done { exact: false, ..exact() };
        assert_eq!(code(&report(Verdict::Complete, wrong, None)), 105);
        let garbled = Report { integrity: Some("task 3".into()), ..report(Verdict::Aborted, exact(), None) };
        assert_eq!(code(&garbled), 105);
    }
}
