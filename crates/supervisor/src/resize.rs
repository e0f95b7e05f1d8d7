//! One worker more or fewer, and those whom nothing can kill.

use crate::driver::Driver;
use crate::error::RunError;
use crate::run::Plan;
use crate::story::{Told, Unkillable};
use brigade_core::{Event, Life, Unresized};
use brigade_os::limits::OpenFiles;
use brigade_os::{limits, proc};
use brigade_wire::WorkerId;

/// The most slots of a run that did not ask for more from the start: each has a page of addresses, and nothing else
/// before it is used.
const SLOTS_MAX: u32 = 1_000;

impl Driver<'_> {
    pub(crate) fn one_more(&mut self) {
        self.hear(Event::Resize(self.core.procs().saturating_add(1)));
    }

    pub(crate) fn one_fewer(&mut self) {
        self.hear(Event::Resize(self.core.procs().saturating_sub(1)));
    }

    /// Killed, and not dead in time.
    pub(crate) fn unkillable(&mut self, worker: WorkerId) -> Told {
        self.publisher.lives_changed();
        let (slot, pid, incarnation) = self.who(worker);
        let state = proc::stat(pid).ok().map(|stat| stat.state);
        self.chronicle.epitaph(pid, "it does not die of SIGKILL: given up, what it says counts no more");
        Told::WorkerUnkillable(Unkillable { slot, pid, incarnation, state })
    }

    /// The run is over, and these are still there: nothing can be done but to say so.
    pub(crate) fn tell_the_unkillable(&mut self) {
        let lost = self.core.slots().filter(|view| view.life == Life::Unkillable);
        let pids: Vec<String> = lost.map(|view| self.chronicle.pid(view.worker).to_string()).collect();
        if !pids.is_empty() {
            let pids = pids.join(" ");
            self.chronicle.warn(format!("left behind, for SIGKILL does not end it: pid {pids}"));
        }
    }
}

/// Why somebody who asked for another number of workers does not get it.
pub(crate) fn not_resized(wanted: u32, why: Unresized) -> String {
    match why {
        Unresized::TooFew => "not resized: one worker is the least (Ctrl-C ends the run)".to_string(),
        Unresized::TooMany { most } => {
            format!("not resized to {wanted}: {most} workers are the most that this run can have")
        }
        Unresized::Ending => format!("not resized to {wanted}: the run ends"),
    }
}

/// How many slots a run may ever have. One that the machine cannot hold from the start is refused before it begins.
pub(crate) fn slots_max(plan: &Plan, files: OpenFiles) -> Result<u32, RunError> {
    // The supervisor's own threads, and what else lives on a machine.
    const PROCESSES_LEFT: u64 = 64;
    // A worker, and the thread that listens to it.
    const PROCESSES_EACH: u64 = 2;
    const FILES_LEFT: u64 = 64;
    // Two ends, the tombstone's, the pidfd, two for what no frame holds, and one in passing while it is born.
    const FILES_EACH: u64 = 7;
    let (procs, processes) = (plan.policy.procs, limits::processes_max());
    let limits = [
        ("limit of processes and threads", processes, PROCESSES_LEFT, PROCESSES_EACH),
        ("limit of open files", files.most, FILES_LEFT, FILES_EACH),
    ];
    let mut slots_max = SLOTS_MAX;
    for (what, limit, left, each) in limits {
        let most = limit.saturating_sub(left) / each;
        if most == 0 {
            return Err(RunError::NoRoom { what, limit, least: left + u64::from(procs) * each });
        }
        if u64::from(procs) > most {
            return Err(RunError::TooManyWorkers { procs, what, limit, most });
        }
        slots_max = slots_max.min(u32::try_from(most).unwrap_or(u32::MAX));
    }
    Ok(slots_max.max(procs))
}
