//! The first template is met before anything else begins, so that whatever is wrong with the worker binary is said in one
//! line.

use crate::driver::Driver;
use crate::error::{RunError, WorkerFault};
use crate::inbox::Incoming;
use crate::remote::Asked;
use crate::template::MEET_WITHIN;
use brigade_link::Stranger;
use brigade_os::clock;
use brigade_os::signals::Bell;
use brigade_wire::Exit;
use std::time::Duration;

impl Driver<'_> {
    /// Starts the first template and waits for it: whatever is wrong with the worker binary is said here, in
    /// one line, before anything else begins.
    pub(crate) fn meet_template(&mut self) -> Result<(), RunError> {
        self.start_template().map_err(|source| self.template.fault(WorkerFault::NotStarted(source)))?;
        let mut until_ns = clock::monotonic_ns() + MEET_WITHIN.as_nanos() as u64;
        loop {
            match self.news_until(until_ns) {
                Some(Incoming::Met(_, Ok(visitor))) => return self.template.met(visitor, &self.inbox),
                Some(Incoming::Met(_, Err(Stranger::OtherBuild(words)))) => {
                    self.template.kill();
                    return Err(self.template.fault(WorkerFault::OtherBuild(words)));
                }
                // It died on the threshold: its death is the news, and on its way.
                Some(Incoming::Met(_, Err(Stranger::Silent(_)))) => {}
                Some(Incoming::TemplateGone(_, exit)) => self.try_another_template(exit)?,
                Some(Incoming::Bell(Bell::End(signal))) => {
                    self.template.kill();
                    return Err(RunError::Interrupted { signal });
                }
                Some(Incoming::Bell(Bell::Pause)) => until_ns += self.pause().as_nanos() as u64,
                // The template itself, on its way, or stopped: then it is killed, and another is tried.
                Some(Incoming::Bell(Bell::Child)) => self.look_at_children(),
                // Done when the run has begun.
                Some(Incoming::Bell(Bell::More)) => self.one_more(),
                Some(Incoming::Bell(Bell::Fewer)) => self.one_fewer(),
                Some(Incoming::Bell(Bell::Show)) => self.show(),
                Some(Incoming::Bell(Bell::Reopen)) => self.reopen_logs(),
                Some(Incoming::Asked(Asked::Abort)) => {
                    self.template.kill();
                    return Err(RunError::Dismissed);
                }
                // What has come meanwhile is asked for when the run has begun; and it ends then, if it is to.
                Some(Incoming::Asked(asked)) => self.asked(asked),
                // There are no workers yet.
                Some(Incoming::Heard(..) | Incoming::Answer(..)) => {}
                None => {
                    self.template.kill();
                    return Err(self.template.fault(WorkerFault::Mute { seconds: MEET_WITHIN.as_secs() }));
                }
            }
        }
    }

    fn try_another_template(&mut self, exit: Exit) -> Result<(), RunError> {
        self.template.gone();
        if self.template.is_worth_another(exit) {
            return self
                .start_template()
                .map_err(|source| self.template.fault(WorkerFault::NotStarted(source)));
        }
        let (last_lines, log) = self.chronicle.end_of_log(self.template.last_pid());
        Err(self.template.fault(WorkerFault::Silent { exit, last_lines, log }))
    }

    /// The next news, if any comes by then.
    fn news_until(&mut self, until_ns: u64) -> Option<Incoming> {
        while self.incoming.is_empty() {
            let left_ns = until_ns.checked_sub(clock::monotonic_ns())?;
            self.inbox.wait(Some(Duration::from_nanos(left_ns)), &mut self.incoming);
        }
        self.incoming.pop_front()
    }
}
