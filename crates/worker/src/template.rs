//! The template: the process that workers are forked from, and the guard of what they leave behind.
//!
//! One thread, always: that is what makes its forks sound. It holds no state but its channel, so killing it
//! costs a replacement and nothing else.

use crate::serve::Calling;
use crate::{Table, log};
use brigade_link::{Answer, Charter, Order, TemplateEnd, WorkerEnd, introduce};
use brigade_os::birth::{self, Side};
use brigade_os::cgroup::Cgroup;
use brigade_os::page::{OwnPage, Pages};
use brigade_os::{Pid, clock, inherit, limits, logfile, memcg};
use brigade_wire::{SlotId, WorkerId};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// A template at work.
#[derive(Debug)]
pub(crate) struct Template {
    supervisor: TemplateEnd,
    charter: Charter,
    parent: Pid,
    pages: Pages,
    logs: OwnedFd,
    /// When the last worker was born, of this template or an earlier one, in clock ticks since boot: not later than that.
    last_birth: u64,
    /// Where workers are born, if that can be had: whoever descends from them can be found there.
    cgroup: Option<Cgroup>,
}

/// How long the guard waits for those whom it has ended. They are dead already; only their cgroup is to be removed.
const EMPTY_WITHIN: Duration = Duration::from_secs(1);

/// Why [`Template::serve`] returned, and as whom.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The supervisor is gone, and what it left behind has been ended.
    SupervisorGone,
    /// This is a child: everything of the template's has been dropped.
    Child(Box<Calling>),
    /// This is a child that was to become another program, and could not.
    NotExecuted(io::Error),
}

impl Template {
    /// Comes to the door and hears the charter.
    pub(crate) fn begin(
        door: &str,
        pages: Pages,
        logs: OwnedFd,
        cgroup: Option<Cgroup>,
        table: Table<'_>,
    ) -> io::Result<Template> {
        birth::lead_own_group();
        birth::set_name("worker-template");
        limits::no_core_dumps();
        limits::be_killed_first();
        let parent =
            Pid::parent().ok_or_else(|| io::Error::other("the supervisor is in another pid namespace"))?;
        // Nobody counts what the template cannot write.
        let _ = log::header(&io::stderr(), "template (and guard)", parent, true);
        let supervisor = introduce(door, table.iter().map(|(name, _)| (*name).to_string()).collect())?;
        match supervisor.receive()? {
            Some(Order::Begin(charter)) if charter.supervisor == parent.number() => {
                birth::part()?;
                let last_birth = clock::boot_ticks();
                Ok(Template { supervisor, charter, parent, pages, logs, last_birth, cgroup })
            }
            Some(Order::Begin(charter)) => Err(io::Error::other(format!(
                "the supervisor {} is not the parent {parent}",
                charter.supervisor
            ))),
            Some(Order::Fork { .. } | Order::Exec { .. }) | None => {
                Err(io::Error::other("the supervisor ended before it gave its charter"))
            }
        }
    }

    /// Fulfils orders until the supervisor is gone; returns in every child that it forks.
    pub(crate) fn serve(mut self) -> io::Result<Ended> {
        while let Some(order) = self.supervisor.receive()? {
            match order {
                // Said once, in `begin`; a repetition changes nothing.
                Order::Begin(_) => {}
                Order::Fork { worker, ends } => {
                    if self.fork(worker)? {
                        let page = self.settle_in(worker)?;
                        let charter = self.charter.clone();
                        let end = WorkerEnd::from(ends);
                        return Ok(Ended::Child(Box::new(Calling { charter, worker, page, end })));
                    }
                }
                Order::Exec { worker, door } => {
                    if self.fork(worker)? {
                        self.settle_in(worker)?;
                        return Ok(Ended::NotExecuted(self.execute(&door)));
                    }
                }
            }
        }
        self.end_what_is_left();
        Ok(Ended::SupervisorGone)
    }

    /// Forks; true in the child. The template answers for both.
    fn fork(&mut self, worker: WorkerId) -> io::Result<bool> {
        let side = self.bear(worker);
        self.last_birth = clock::boot_ticks();
        let answer = match side {
            Ok(Side::Child) => return Ok(true),
            Ok(Side::Template(_)) => Answer::Born(worker),
            Err(error) => Answer::Unborn(worker, format!("fork: {error}")),
        };
        // If the supervisor is gone, the next order is its end of file.
        let _ = self.supervisor.answer(answer);
        Ok(false)
    }

    /// Should somebody have removed the cgroup, a worker outside of it is better than none.
    fn bear(&self, worker: WorkerId) -> io::Result<Side> {
        let own = self.memory_group(worker.slot, true).and_then(|group| Cgroup::open(&group).ok());
        match birth::fork_sibling(&self.pages, worker.slot, own.as_ref().or(self.cgroup.as_ref())) {
            Err(error) if self.cgroup.is_some() && !limits::is_scarcity(&error) => {
                log::line(format_args!("worker {worker} is born outside of the cgroup: {error}"));
                birth::fork_sibling(&self.pages, worker.slot, None)
            }
            side => side,
        }
    }

    /// The memory cgroup of a slot: one of v2, which a worker is born into, is below the run's own.
    fn memory_group(&self, slot: SlotId, is_v2: bool) -> Option<PathBuf> {
        let groups = self.charter.memory_groups.as_deref()?;
        let is_below = self.cgroup.as_ref().is_some_and(|run| run.path() == groups);
        (is_below == is_v2).then(|| memcg::of_slot(groups, slot))
    }

    /// The child's first steps, before any code of a task: its own group, its bond to the supervisor, its log.
    fn settle_in(&self, worker: WorkerId) -> io::Result<OwnPage> {
        birth::lead_own_group();
        if self.charter.daemon && birth::die_with(self.parent).is_err() {
            birth::leave(0);
        }
        birth::set_name(&format!("worker-{}", worker.slot));
        self.charter.as_bytes_max.map_or(Ok(()), limits::bound_addresses)?;
        let entered = self.memory_group(worker.slot, false).map_or(Ok(()), |group| memcg::enter(&group));
        let page = self.pages.own(worker.slot)?;
        let log = self.open_log(worker, &page);
        match &log {
            Ok(log) => logfile::put_under_stdio(log)?,
            // The template's log is still under our stderr.
            Err(error) => log::line(format_args!("worker {worker} has no log of its own: {error}")),
        }
        // The supervisor finds out at the hello, and says so.
        let _ = entered.inspect_err(|error| log::line(format_args!("not in its memory cgroup: {error}")));
        Ok(page)
    }

    fn open_log(&self, worker: WorkerId, page: &OwnPage) -> io::Result<File> {
        let log = logfile::open(&self.logs, Pid::current().number())?;
        log::header(&log, &log::name(worker), self.parent, self.charter.daemon)
            .unwrap_or_else(|error| page.lose_line(&error));
        Ok(log)
    }

    /// Becomes the binary as it is on disk now; returns only if that failed.
    fn execute(&self, door: &str) -> io::Error {
        let mut command = Command::new(&self.charter.program);
        let pages = match inherit::pass(&mut command, self.pages.fd()) {
            Ok(pages) => pages,
            Err(error) => return error,
        };
        command.args(&self.charter.entry).arg("born").arg(door).arg(pages.to_string());
        let error = command.exec();
        io::Error::new(error.kind(), format!("execute {}: {error}", self.charter.program.display()))
    }

    /// The guard's part: daemonic workers are dead by now (PDEATHSIG), what they started may not be. Others
    /// finish the task in hand first. Groups go first, because they go at once.
    fn end_what_is_left(&self) {
        birth::end_groups(self.pages.pids(), self.last_birth, !self.charter.daemon);
        self.cgroup.iter().for_each(|cgroup| cgroup.end(EMPTY_WITHIN));
        // Whether the supervisor lives is not known here: a dying one closes its channels before it is dead. If it does, it ends
        // strays only after us, so one that is in here, and in no cgroup of v2, costs the end of its run this second.
        if let Some(groups) = self.charter.memory_groups.as_deref() {
            Cgroup::open(groups).iter().for_each(|groups| groups.remove_within(EMPTY_WITHIN));
        }
    }
}
