//! A worker of several threads: each runs one task at a time, side by side with the others.
//!
//! ```text
//! ear ── calls ──▶ Queue ── call ──▶ lane 0 (the main thread), lane 1, …  ── Ended ──▶ Mouth
//! ```
//!
//! Calls are begun in the order in which they were lent: the supervisor counts on that when it takes back what was not. A
//! command has been obeyed when its calls are in the queue, so a long task holds no credit back.

use crate::allowance::Allowance;
use crate::flusher::Flusher;
use crate::lane::{Lane, Packet};
use crate::serve::{FLUSH_AFTER_NS, end_well, is_spent, supervisor_gone};
use crate::{TaskFn, Trade, exit, log};
use brigade_link::{Mouth, Wanted, WorkerEnd};
use brigade_os::{limits, signals};
use brigade_wire::{Call, Exit, WorkerId};
use std::collections::VecDeque;
use std::io;
use std::mem;
use std::process::ExitCode;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// What all lanes share.
#[derive(Debug)]
pub(crate) struct Yard {
    pub(crate) task: TaskFn,
    pub(crate) pace_ns: u64,
    pub(crate) allowance: Option<Allowance>,
    pub(crate) flusher: Flusher,
}

/// Calls that wait for a lane, in the order lent.
#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct State {
    calls: VecDeque<Call>,
    /// Lanes that have a call.
    busy: u32,
    over: Over,
}

/// Whether anything is begun, and if not, why not.
#[derive(Debug, Default)]
enum Over {
    #[default]
    Not,
    /// What waits is done, and nothing comes after it.
    Stopped,
    /// Nobody wants it to begin what it has not begun.
    Recalled,
    /// It has more memory than it may between two calls, or retires; what it has not begun is another's.
    Spent,
    /// Nobody is left to report to.
    Gone,
    /// It was told what no supervisor says.
    Broken(io::Error),
}

/// Serves until STOP, or until the supervisor is gone, with so many threads. This one is the first of them.
pub(crate) fn serve(
    yard: Yard,
    (worker, threads): (WorkerId, u32),
    end: WorkerEnd,
    trade: Trade<'_>,
) -> io::Result<ExitCode> {
    let (queue, mouth) = (Arc::new(Queue::default()), end.mouth());
    let work = |thread| yard.work(thread, &queue, &mouth);
    let is_manned = thread::scope(|scope| {
        // Which lane a call comes to is chance: each has as deep a stack as the first.
        let lane = |number| {
            let builder =
                thread::Builder::new().name(format!("lane-{number}")).stack_size(limits::stack_bytes());
            builder.spawn_scoped(scope, move || work(number))
        };
        let manned = (1..threads).try_for_each(|number| lane(number).map(drop)).and_then(|()| {
            if end.hello(worker).is_err() {
                queue.end(Over::Gone);
            }
            listen(end, Arc::clone(&queue))
        });
        match &manned {
            Ok(()) => work(0),
            Err(_) => queue.end(Over::Gone),
        }
        manned
    });
    if let Err(error) = is_manned {
        log::line(format_args!("has no thread for each of {threads} tasks at a time: {error}"));
        return Ok(exit::code(Exit::TRY_AGAIN));
    }
    let over = mem::take(&mut queue.state().over);
    let exit = match over {
        Over::Stopped => Exit::DRAINED,
        Over::Recalled | Over::Spent => Exit::RECYCLE,
        Over::Not | Over::Gone => return Ok(supervisor_gone()),
        Over::Broken(error) => return Err(error),
    };
    log::line(format_args!(
        "{}",
        if exit == Exit::DRAINED { "STOP: drained" } else { "begins nothing any more" }
    ));
    end_well(trade);
    Ok(exit::code(exit))
}

/// Hears commands on a thread of its own, which ends with the process: what is sent to that is for its tasks.
fn listen(mut end: WorkerEnd, queue: Arc<Queue>) -> io::Result<()> {
    let hear = move || {
        let over = loop {
            match end.receive() {
                Ok(Some(Wanted::Run(calls))) => {
                    queue.push(calls);
                    if end.consumed().is_err() {
                        break Over::Gone;
                    }
                }
                Ok(Some(Wanted::Stop)) => break Over::Stopped,
                Ok(None) => break Over::Gone,
                Err(error) => break Over::Broken(error),
            }
        };
        queue.end(over);
    };
    signals::deaf(|| thread::Builder::new().name("ear".into()).stack_size(256 << 10).spawn(hear)).map(drop)
}

impl Yard {
    /// Runs what waits, as the lane of that number, until nothing is to be begun any more.
    fn work(&self, thread: u32, queue: &Queue, mouth: &Mouth) {
        let (mut lane, mut packet) = (Lane::of(thread, self.task, self.pace_ns), Packet::default());
        let mut unreported_ns = 0;
        loop {
            let call = match queue.take() {
                Some(call) => call,
                None => {
                    packet.log();
                    unreported_ns = 0;
                    if mouth.flush().is_err() {
                        queue.end(Over::Gone);
                    }
                    let Some(call) = queue.wait() else { return };
                    call
                }
            };
            let Some(ended) = lane.run(call, &mut packet) else {
                queue.end(Over::Recalled);
                continue;
            };
            unreported_ns += ended.elapsed_ns;
            if mouth.report(ended).is_err() {
                queue.end(Over::Gone);
            } else if queue.has_rested(|| is_spent(self.allowance.as_ref())) {
                continue;
            } else if unreported_ns >= FLUSH_AFTER_NS {
                unreported_ns = 0;
                // Whoever is gone is found out by the next report.
                let _ = mouth.flush();
            } else {
                self.flusher.wake();
            }
        }
    }
}

impl Queue {
    /// Nobody panics while he has it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, calls: Vec<Call>) {
        let count = calls.len();
        self.state().calls.extend(calls);
        (0..count).for_each(|_| self.more.notify_one());
    }

    /// Nothing more comes, for this reason; STOP alone lets what waits be done, and gives way to every other.
    fn end(&self, over: Over) {
        let mut state = self.state();
        if matches!(state.over, Over::Not | Over::Stopped) {
            state.over = over;
        }
        drop(state);
        self.more.notify_all();
    }

    /// A call has ended. Whether that was the last that ran, and the worker is to leave: as long as others run it cannot, and
    /// only the supervisor sees to it then that nothing more is lent.
    fn has_rested(&self, is_spent: impl FnOnce() -> bool) -> bool {
        let mut state = self.state();
        state.busy -= 1;
        let leaves = state.busy == 0 && matches!(state.over, Over::Not | Over::Stopped) && is_spent();
        if leaves {
            state.over = Over::Spent;
            self.more.notify_all();
        }
        leaves
    }

    /// The next call, if one waits and is to be begun.
    fn take(&self) -> Option<Call> {
        self.state().next()
    }

    /// Waits for the next call; `None` if nothing is to be begun any more.
    fn wait(&self) -> Option<Call> {
        let is_idle = |state: &mut State| matches!(state.over, Over::Not) && state.calls.is_empty();
        let state = self.more.wait_while(self.state(), is_idle);
        state.unwrap_or_else(PoisonError::into_inner).next()
    }
}

impl State {
    fn next(&mut self) -> Option<Call> {
        match self.over {
            Over::Not | Over::Stopped => self.calls.pop_front().inspect(|_| self.busy += 1),
            Over::Recalled | Over::Spent | Over::Gone | Over::Broken(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use brigade_wire::{Attempt, TaskId};

    /// With calls that wait for a lane.
    fn queue(calls: u64) -> Queue {
        let call = |task| Call { task: TaskId(task), attempt: Attempt::FIRST, args: Vec::new() };
        let queue = Queue::default();
        queue.push((0..calls).map(call).collect());
        queue
    }

    #[test]
    fn a_worker_that_has_too_much_goes_on_while_another_lane_runs_something() {
        let queue = queue(4);
        let taken = [queue.take(), queue.take()];
        assert!(taken.iter().all(Option::is_some));
        assert!(!queue.has_rested(|| true), "nobody would be told of it while the other one runs");
        assert!(queue.take().is_some());
        assert!(!queue.has_rested(|| true));
        assert!(queue.has_rested(|| true), "nothing runs: it can leave at once");
        assert!(queue.take().is_none() && queue.wait().is_none());
        assert!(matches!(queue.state().over, Over::Spent));
    }

    #[test]
    fn whoever_was_told_to_stop_does_what_waits_unless_it_is_recalled() {
        let queue = queue(2);
        queue.end(Over::Stopped);
        assert!(queue.take().is_some());
        queue.end(Over::Recalled);
        assert!(queue.take().is_none());
        queue.end(Over::Stopped);
        assert!(matches!(queue.state().over, Over::Recalled));
    }
}
