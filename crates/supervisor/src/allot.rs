//! What the kernel holds workers to under `--max-rss`: a memory cgroup for each slot, where that can be had.
//!
//! ```text
//! an order ─▶ its slot's group is there, with its limit ─▶ the newborn is in it before its hello ─▶ looked for there
//! a death by SIGKILL ─▶ has the counter of that group grown? ─▶ Event::Bloated, before Event::Gone
//! ```
//!
//! Looks come first: they replace whoever has outgrown its memory by what earlier tasks left, and the kernel would kill it
//! for that. So it lets a quarter more be had, which also covers what is no RAM of a task but counts: page tables, stacks,
//! buffers of sockets. Pages of files are given back before anybody is killed.

use crate::driver::Driver;
use brigade_os::cgroup::Cgroup;
use brigade_os::memcg::MemoryGroups;
use brigade_os::oom::OomKills;
use brigade_os::{Body, clock};
use brigade_wire::{SlotId, WorkerId};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The part of `--max-rss` that the kernel lets be had beyond it.
const MORE_PART: u64 = 4;

/// And never less than this: whoever cannot live on so little is to live long enough to say so.
const MORE_BYTES_MIN: u64 = 8 << 20;

/// The memory groups of a run, and who is held by one.
#[derive(Debug)]
pub(crate) struct Allotments {
    groups: Option<MemoryGroups>,
    /// Counters of those that were found in their group.
    held: BTreeMap<SlotId, OomKills>,
    /// Of the cgroup that this process is in: a guess at who was killed, where there is nothing better.
    shared: Option<OomKills>,
    is_asked_for: bool,
    /// Somebody is not held by its group; said once.
    has_failed: bool,
}

impl Allotments {
    pub(crate) fn new(rss_bytes_max: Option<u64>, cgroup: Option<&Arc<Cgroup>>) -> Allotments {
        let bytes_max = rss_bytes_max.map(|max| max.saturating_add((max / MORE_PART).max(MORE_BYTES_MIN)));
        let groups = bytes_max.and_then(|max| MemoryGroups::make(max, cgroup).ok());
        Allotments {
            groups,
            held: BTreeMap::new(),
            shared: OomKills::of_own_cgroup(),
            is_asked_for: rss_bytes_max.is_some(),
            has_failed: false,
        }
    }

    /// Where newborns find their groups.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        self.groups.as_ref().map(|groups| groups.path().to_path_buf())
    }

    /// What holds workers to their memory, for the status.
    pub(crate) fn word(&self) -> &'static str {
        match &self.groups {
            _ if !self.is_asked_for => "",
            Some(_) if !self.has_failed => "cgroup",
            Some(_) | None => "looked at",
        }
    }

    /// Time passes: what was counted long ago explains no death of today. In a worker's own group that was a process which
    /// its task had started.
    pub(crate) fn forget(&mut self) {
        let now_ns = clock::monotonic_ns();
        self.held.values_mut().chain(&mut self.shared).for_each(|kills| kills.forget(now_ns));
    }

    /// Whether the kernel has a death in this slot to answer for.
    pub(crate) fn take_kill(&mut self, slot: SlotId) -> bool {
        let kills = self.held.get_mut(&slot).or(self.shared.as_mut());
        kills.is_some_and(OomKills::take_one)
    }

    /// The run is over, and nobody is left of it.
    pub(crate) fn end(&self, within: Duration) {
        self.groups.iter().for_each(|groups| groups.remove_within(within));
    }

    fn lay_out(&mut self, slot: SlotId) -> Option<String> {
        self.held.remove(&slot);
        let groups = self.groups.as_ref()?;
        let error = groups.lay_out(slot).err();
        let kills = groups.kills_from_now(slot).filter(|_| error.is_none());
        kills.into_iter().for_each(|kills| drop(self.held.insert(slot, kills)));
        self.fail(&format!("make the memory cgroup of slot {slot}: {}", error?))
    }

    /// Who has died meanwhile is in no group any more, and its group has counted why.
    fn look_for(&mut self, slot: SlotId, body: &Body) -> Option<String> {
        let pid = body.pid();
        if self.groups.as_ref()?.holds(slot, pid) || body.has_ended() {
            return None;
        }
        self.held.remove(&slot);
        self.fail(&format!("pid {pid} is not in the memory cgroup of slot {slot}"))
    }

    fn fail(&mut self, what: &str) -> Option<String> {
        let is_news = !std::mem::replace(&mut self.has_failed, true);
        is_news.then(|| format!("{what}; its memory is only looked at, the run goes on"))
    }
}

impl Driver<'_> {
    /// Somebody is to be born there.
    pub(crate) fn allot(&mut self, slot: SlotId) {
        if let Some(warning) = self.watch.allotments.lay_out(slot) {
            self.chronicle.warn(warning);
        }
    }

    /// It said hello: is it where the kernel holds it?
    pub(crate) fn look_for_allotted(&mut self, worker: WorkerId) {
        let body = self.hands.in_slot(worker.slot).map(|(body, _)| Arc::clone(body));
        if let Some(warning) = body.and_then(|body| self.watch.allotments.look_for(worker.slot, &body)) {
            self.chronicle.warn(warning);
        }
    }
}
