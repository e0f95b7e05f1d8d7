//! The tasks that nobody holds: fresh ones as arithmetic, returned ones in front of them.

mod deal;

use crate::{Lease, Schedule};
use brigade_wire::{Attempt, SlotId, TaskId};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::mem;
use std::ops::Range;
use std::slice;

/// Fresh tasks `next, next + step, …` below `end`: a million of them cost no more than one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stride {
    next: u64,
    end: u64,
    step: u64,
}

impl Stride {
    fn len(self) -> u64 {
        self.end.saturating_sub(self.next).div_ceil(self.step)
    }

    /// The task that would come next if the stride went on.
    fn following(self) -> u64 {
        self.next + self.len() * self.step
    }

    /// The last of those that there are.
    fn last(self) -> u64 {
        self.next + (self.len() - 1) * self.step
    }

    /// Those below this task, and the others.
    fn split(self, task: u64) -> (Stride, Stride) {
        let below = task.saturating_sub(self.next).div_ceil(self.step).min(self.len());
        let next = self.next + below * self.step;
        (Stride { end: next.min(self.end), ..self }, Stride { next, ..self })
    }

    fn tasks(self) -> impl Iterator<Item = TaskId> {
        (0..self.len()).map(move |at| TaskId(self.next + at * self.step))
    }
}

/// One queue: returned leases first, then the fresh tasks.
#[derive(Debug, Default)]
struct Lane {
    returned: VecDeque<Lease>,
    fresh: VecDeque<Stride>,
    len: u64,
}

impl Lane {
    fn add(&mut self, stride: Stride) {
        if stride.len() == 0 {
            return;
        }
        self.len += stride.len();
        match self.fresh.back_mut() {
            Some(last) if last.step == stride.step && last.following() == stride.next => {
                last.end = stride.end;
            }
            // Tasks that come one by one, and are dealt in turn.
            Some(last) if stride.len() == 1 && last.following() == stride.next => last.end = stride.next + 1,
            Some(last) if stride.len() == 1 && last.len() == 1 && last.next < stride.next => {
                (last.step, last.end) = (stride.next - last.next, stride.next + 1);
            }
            Some(_) | None => self.fresh.push_back(stride),
        }
    }

    fn take(&mut self) -> Option<Lease> {
        let lease = self.returned.pop_front().or_else(|| self.take_fresh())?;
        self.len -= 1;
        Some(lease)
    }

    fn take_fresh(&mut self) -> Option<Lease> {
        let stride = self.fresh.front_mut()?;
        let lease = Lease { task: TaskId(stride.next), attempt: Attempt::FIRST };
        stride.next += stride.step;
        if stride.len() == 0 {
            self.fresh.pop_front();
        }
        Some(lease)
    }

    /// What nobody else is about to take.
    fn take_last(&mut self) -> Option<Lease> {
        let lease = match self.fresh.back_mut() {
            Some(stride) => {
                let last = stride.last();
                stride.end = last;
                Some(Lease { task: TaskId(last), attempt: Attempt::FIRST })
            }
            None => self.returned.pop_back(),
        };
        self.fresh.pop_back_if(|stride| stride.len() == 0);
        self.len -= u64::from(lease.is_some());
        lease
    }

    /// Takes these out of what is fresh, and shows what it took: one pass over both.
    fn cut(&mut self, tasks: &[Range<u64>], mut taken: impl FnMut(Stride)) {
        self.len = self.returned.len() as u64;
        for mut rest in mem::take(&mut self.fresh) {
            let (first, end) = (tasks.partition_point(|range| range.end <= rest.next), rest.end);
            for range in tasks[first..].iter().take_while(|range| range.start < end) {
                let (before, others) = rest.split(range.start);
                if others.next >= range.end {
                    continue;
                }
                let (within, after) = others.split(range.end);
                self.add(before);
                taken(within);
                rest = after;
            }
            self.add(rest);
        }
    }

    fn give_back(&mut self, lease: Lease) {
        self.returned.push_front(lease);
        self.len += 1;
    }
}

/// Whether one of these ascending ranges has this task.
pub(crate) fn names(tasks: &[Range<u64>], TaskId(task): TaskId) -> bool {
    let at = tasks.partition_point(|range| range.end <= task);
    tasks.get(at).is_some_and(|range| range.start <= task)
}

/// Everything that waits: one lane for all under `Dynamic`, one lane for each slot that owns one otherwise.
#[derive(Debug)]
pub(crate) struct Backlog {
    schedule: Schedule,
    lanes: Vec<Lane>,
    /// The lanes that are taken from, in ascending order; all others are empty.
    owners: Vec<usize>,
    /// The number of the next task.
    next: u64,
    /// Tasks that two others came in the place of.
    split: u64,
    len: u64,
    /// What each slot has been given: under `Weighted` the weight that is still to be done, else the tasks so far.
    loads: Vec<u64>,
    /// What tasks weigh under `Weighted` that have no final word, if not 1.
    weights: BTreeMap<u64, u64>,
}

impl Backlog {
    pub(crate) fn new(schedule: Schedule, procs: u32) -> Backlog {
        let lanes = match schedule {
            Schedule::Dynamic => 1,
            Schedule::Static | Schedule::RoundRobin => procs as usize,
            Schedule::Weighted | Schedule::Stealing => procs as usize,
        };
        let lanes: Vec<Lane> = (0..lanes).map(|_| Lane::default()).collect();
        let (loads, owners) = (vec![0; lanes.len()], (0..lanes.len()).collect());
        Backlog { schedule, lanes, owners, next: 0, split: 0, len: 0, loads, weights: BTreeMap::new() }
    }

    /// The number that the next task gets.
    pub(crate) fn next(&self) -> TaskId {
        TaskId(self.next)
    }

    /// All that ever came in, with the parts of those that were split in their place.
    pub(crate) fn submitted(&self) -> u64 {
        self.next - self.split
    }

    /// All that waits now.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// What waits where this slot would take from; under `Dynamic` everything waits for everybody.
    pub(crate) fn len_for(&self, slot: SlotId) -> u64 {
        self.lanes[self.source(slot).0].len
    }

    /// How much of that it may take at once, of so many who take: where others take as well it leaves them something.
    pub(crate) fn share(&self, slot: SlotId, takers: u64) -> u64 {
        let (lane, is_own) = self.source(slot);
        let sharers = if self.is_shared() || !is_own { takers.max(1) } else { 1 };
        self.lanes[lane].len.div_ceil(sharers)
    }

    /// Whether this slot would take what is another's.
    pub(crate) fn is_theft(&self, slot: SlotId) -> bool {
        !self.source(slot).1
    }

    /// Whether the workers take from one lane.
    fn is_shared(&self) -> bool {
        self.schedule == Schedule::Dynamic
    }

    /// The lane that this slot takes from next, and whether that is its own.
    fn source(&self, slot: SlotId) -> (usize, bool) {
        let own = self.lane(slot);
        if self.schedule != Schedule::Stealing || self.lanes[own].len > 0 {
            return (own, true);
        }
        let longest = self.owners.iter().copied().rev().max_by_key(|&lane| self.lanes[lane].len);
        longest.filter(|&lane| self.lanes[lane].len > 0).map_or((own, true), |lane| (lane, false))
    }

    /// The next `count` tasks by number come in.
    pub(crate) fn submit(&mut self, count: u64, weights: &[u64]) {
        let first = self.next;
        self.next += count;
        self.len += count;
        match self.schedule {
            Schedule::Dynamic | Schedule::Static | Schedule::Stealing => self.submit_parts(first, count),
            Schedule::RoundRobin => self.submit_in_turn(first),
            Schedule::Weighted => {
                self.note_weights(first, weights);
                self.weigh(&self.owners.clone(), (first..first + count).collect());
            }
        }
    }

    /// Contiguous parts, as even as can be; the longer ones to those who were given least so far.
    fn submit_parts(&mut self, first: u64, count: u64) {
        let parts = self.owners.len() as u64;
        let (each, longer) = (count / parts, (count % parts) as usize);
        let mut least: Vec<usize> = self.owners.clone();
        least.sort_by_key(|&lane| self.loads[lane]);
        let mut next = first;
        for &lane in &self.owners {
            let end = next + each + u64::from(least[..longer].contains(&lane));
            self.lanes[lane].add(Stride { next, end, step: 1 });
            self.loads[lane] += end - next;
            next = end;
        }
    }

    fn submit_in_turn(&mut self, first: u64) {
        let step = self.owners.len() as u64;
        for (turn, &lane) in (0..).zip(&self.owners) {
            let next = first + (turn + step - first % step) % step;
            self.lanes[lane].add(Stride { next, end: self.next, step });
        }
    }

    fn note_weights(&mut self, first: u64, weights: &[u64]) {
        let unlike = (first..).zip(weights).filter(|(_, weight)| **weight != 1);
        self.weights.extend(unlike.map(|(task, weight)| (task, *weight)));
    }

    /// Heaviest first, each to the least loaded lane (the first of equals). A task without a weight weighs 1.
    fn weigh(&mut self, lanes: &[usize], mut order: Vec<u64>) {
        let weight = |task: u64| self.weights.get(&task).copied().unwrap_or(1);
        order.sort_by_key(|&task| Reverse(weight(task)));
        let loads = (0..).zip(lanes).map(|(turn, &lane)| (self.loads[lane], turn, lane));
        let mut least: BinaryHeap<Reverse<(u64, usize, usize)>> = loads.map(Reverse).collect();
        for task in order {
            let Reverse((load, turn, lane)) = least.pop().expect("there is at least one slot");
            self.lanes[lane].add(Stride { next: task, end: task + 1, step: 1 });
            least.push(Reverse((load.saturating_add(weight(task)), turn, lane)));
        }
        for Reverse((load, _, lane)) in least {
            self.loads[lane] = load;
        }
    }

    /// What would be taken next for this slot.
    pub(crate) fn peek(&self, slot: SlotId) -> Option<TaskId> {
        let (lane, is_own) = self.source(slot);
        let Lane { returned, fresh, .. } = &self.lanes[lane];
        let returned = if is_own { returned.front() } else { returned.back() }.map(|lease| lease.task);
        match is_own {
            true => returned.or_else(|| fresh.front().map(|stride| TaskId(stride.next))),
            false => fresh.back().map(|stride| TaskId(stride.last())).or(returned),
        }
    }

    /// It has its final word, or parts in its place: whoever had it in hand has that much less to do.
    pub(crate) fn done(&mut self, slot: SlotId, TaskId(task): TaskId) {
        if self.schedule == Schedule::Weighted {
            let (lane, weight) = (self.lane(slot), self.weights.remove(&task).unwrap_or(1));
            self.loads[lane] = self.loads[lane].saturating_sub(weight);
        }
    }

    /// The next task for this slot.
    pub(crate) fn take(&mut self, slot: SlotId) -> Option<Lease> {
        let lease = match self.source(slot) {
            (own, true) => self.lanes[own].take()?,
            (other, false) => self.lanes[other].take_last()?,
        };
        self.len -= 1;
        Some(lease)
    }

    /// The next task that is not one of these, if everybody takes from the same lane; of the fresh ones only the next is
    /// asked for.
    pub(crate) fn take_beside(&mut self, is_one: impl Fn(TaskId) -> bool) -> Option<Lease> {
        let lane = self.lanes.first_mut().filter(|_| self.schedule == Schedule::Dynamic)?;
        let returned = lane.returned.iter().position(|lease| !is_one(lease.task));
        let lease = match returned {
            Some(at) => lane.returned.remove(at),
            None if lane.fresh.front().is_some_and(|stride| is_one(TaskId(stride.next))) => None,
            None => lane.take_fresh(),
        };
        let taken = u64::from(lease.is_some());
        (lane.len, self.len) = (lane.len - taken, self.len - taken);
        lease
    }

    /// To the front, in this order: a task that has waited through one death should not wait through the
    /// queue again.
    pub(crate) fn give_back(&mut self, slot: SlotId, leases: &[Lease]) {
        let lane = self.lane(slot);
        for &lease in leases.iter().rev() {
            self.lanes[lane].give_back(lease);
        }
        self.len += leases.len() as u64;
    }

    /// Two new tasks come in the place of one that nobody holds, before all other fresh ones. Returns the first.
    pub(crate) fn split(&mut self, slot: SlotId) -> TaskId {
        self.split_in(self.lane(slot))
    }

    fn split_in(&mut self, lane: usize) -> TaskId {
        let first = self.next;
        self.next += 2;
        self.split += 1;
        self.len += 2;
        self.loads[lane] += 2;
        let lane = &mut self.lanes[lane];
        lane.fresh.push_front(Stride { next: first, end: first + 2, step: 1 });
        lane.len += 2;
        TaskId(first)
    }

    /// The same for a task that is fresh here, as it happened before. Returns whether it is so.
    pub(crate) fn split_again(&mut self, TaskId(task): TaskId, parts: TaskId) -> bool {
        if parts.0 != self.next {
            return false;
        }
        let (mut at, one) = (None, task..task.saturating_add(1));
        self.cut(slice::from_ref(&one), |lane, _| at = Some(lane));
        at.map(|lane| self.split_in(lane)).is_some()
    }

    /// Takes these fresh tasks out, and shows what it took from which lane; the ranges ascend. Returns how many
    /// that were. They stay with the weight of their slots: who owned much that is done owns less now.
    pub(crate) fn cut(&mut self, tasks: &[Range<u64>], mut taken: impl FnMut(usize, Stride)) -> u64 {
        if tasks.is_empty() {
            return 0;
        }
        let before = self.len;
        for (at, lane) in self.lanes.iter_mut().enumerate() {
            lane.cut(tasks, |stride| taken(at, stride));
        }
        self.len = self.lanes.iter().map(|lane| lane.len).sum();
        before - self.len
    }

    /// Takes these out, fresh or returned; the ranges ascend. Returns those that were here.
    pub(crate) fn withdraw(&mut self, tasks: &[Range<u64>], and_returned: bool) -> Vec<TaskId> {
        let mut found = Vec::new();
        self.cut(tasks, |lane, stride| found.extend(stride.tasks().map(|task| (task, lane))));
        for (at, lane) in self.lanes.iter_mut().enumerate().filter(|_| and_returned) {
            let is_named = |lease: &Lease| names(tasks, lease.task);
            found.extend(lane.returned.iter().filter(|lease| is_named(lease)).map(|lease| (lease.task, at)));
            let before = lane.returned.len();
            lane.returned.retain(|lease| !is_named(lease));
            let gone = (before - lane.returned.len()) as u64;
            (lane.len, self.len) = (lane.len - gone, self.len - gone);
        }
        found.iter().for_each(|&(task, lane)| self.done(SlotId(lane as u32), task));
        found.into_iter().map(|(task, _)| task).collect()
    }

    /// These fresh tasks, in ascending order, go on with later attempts, before all others. Returns those that
    /// were fresh.
    pub(crate) fn advance(&mut self, leases: &[Lease]) -> Vec<TaskId> {
        let mut found = Vec::new();
        let tasks: Vec<_> = leases.iter().map(|lease| lease.task.0..lease.task.0.saturating_add(1)).collect();
        self.cut(&tasks, |lane, stride| found.extend(stride.tasks().map(|task| (task, lane))));
        found.sort_unstable();
        for (task, lane) in found.iter().rev() {
            let at = leases.binary_search_by_key(task, |lease| lease.task).expect("only these were cut");
            self.lanes[*lane].give_back(leases[at]);
        }
        self.len += found.len() as u64;
        found.into_iter().map(|(task, _)| task).collect()
    }

    /// The lanes hold as many as the total says.
    pub(crate) fn check(&self) {
        let lanes: u64 = self.lanes.iter().map(|lane| lane.len).sum();
        assert_eq!(lanes, self.len, "the lanes hold {lanes} tasks, the backlog says {}", self.len);
        for lane in &self.lanes {
            let fresh: u64 = lane.fresh.iter().map(|stride| stride.len()).sum();
            assert_eq!(fresh + lane.returned.len() as u64, lane.len, "a lane has lost count: {lane:?}");
        }
        let owned = |at: &usize| self.owners.binary_search(at).is_ok();
        let stray = (0..self.lanes.len()).find(|at| !owned(at) && self.lanes[*at].len > 0);
        assert_eq!(stray, None, "tasks wait in a lane that nobody takes from");
    }

    /// Where this slot takes from; whoever owns no lane any more gives back to the shortest.
    fn lane(&self, slot: SlotId) -> usize {
        match slot.0 as usize {
            _ if self.is_shared() => 0,
            own if self.owners.binary_search(&own).is_ok() => own,
            own => self.owners.iter().copied().min_by_key(|&lane| self.lanes[lane].len).unwrap_or(own),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Schedule; 5] =
        [Schedule::Dynamic, Schedule::Static, Schedule::RoundRobin, Schedule::Weighted, Schedule::Stealing];

    fn drained(backlog: &mut Backlog, slot: u32) -> Vec<u64> {
        std::iter::from_fn(|| backlog.take(SlotId(slot))).map(|lease| lease.task.0).collect()
    }

    #[test]
    fn fresh_tasks_of_many_submissions_cost_one_stride() {
        for schedule in [Schedule::Dynamic, Schedule::RoundRobin] {
            let mut backlog = Backlog::new(schedule, 3);
            (0..1_000).for_each(|_| backlog.submit(1_000, &[]));
            assert!(backlog.lanes.iter().all(|lane| lane.fresh.len() == 1), "{schedule:?}");
            assert_eq!(backlog.len(), 1_000_000);
            backlog.check();
        }
    }

    #[test]
    fn tasks_that_come_one_by_one_are_dealt_in_turn_and_cost_one_stride() {
        for schedule in ALL {
            let mut backlog = Backlog::new(schedule, 3);
            (0..1_000).for_each(|_| backlog.submit(1, &[]));
            backlog.check();
            assert!(backlog.lanes.iter().all(|lane| lane.fresh.len() == 1), "{schedule:?}");
            let lens: Vec<u64> = backlog.lanes.iter().map(|lane| lane.len).collect();
            assert!(lens == [334, 333, 333] || lens == [1_000], "{schedule:?}: {lens:?}");
            let mut all: Vec<u64> = (0..3).flat_map(|slot| drained(&mut backlog, slot)).collect();
            all.sort_unstable();
            assert_eq!(all, (0..1_000).collect::<Vec<_>>(), "{schedule:?}");
        }
    }

    #[test]
    fn whoever_was_given_least_gets_the_longer_part() {
        let mut backlog = Backlog::new(Schedule::Static, 3);
        backlog.submit(4, &[]);
        backlog.submit(4, &[]);
        assert_eq!(drained(&mut backlog, 0), [0, 1, 4]);
        assert_eq!(drained(&mut backlog, 1), [2, 5, 6]);
        assert_eq!(drained(&mut backlog, 2), [3, 7]);
    }

    #[test]
    fn what_is_done_weighs_nothing_any_more() {
        let mut backlog = Backlog::new(Schedule::Weighted, 2);
        backlog.submit(1, &[100]);
        assert_eq!(drained(&mut backlog, 0), [0]);
        backlog.submit(2, &[1, 1]);
        assert_eq!(drained(&mut backlog, 1), [1, 2], "the first is still at the heavy one");
        backlog.done(SlotId(0), TaskId(0));
        backlog.submit(1, &[7]);
        assert_eq!(drained(&mut backlog, 0), [3]);
        assert!(backlog.weights.len() == 1, "{:?}", backlog.weights);
    }

    #[test]
    fn who_has_nothing_left_takes_from_the_back_of_the_longest_lane() {
        let mut backlog = Backlog::new(Schedule::Stealing, 3);
        backlog.submit(9, &[]);
        let mut take = |slot| backlog.take(SlotId(slot)).map(|lease| lease.task.0);
        assert_eq!([0, 0, 0].map(&mut take), [Some(0), Some(1), Some(2)]);
        assert_eq!(take(1), Some(3));
        assert_eq!([0, 0, 0].map(&mut take), [Some(8), Some(5), Some(7)]);
        assert_eq!([2, 1].map(&mut take), [Some(6), Some(4)]);
        assert_eq!([0, 1, 2].map(&mut take), [None; 3]);
    }

    #[test]
    fn each_slot_owns_a_contiguous_part_under_static() {
        let mut backlog = Backlog::new(Schedule::Static, 3);
        backlog.submit(8, &[]);
        assert_eq!(drained(&mut backlog, 0), [0, 1, 2]);
        assert_eq!(drained(&mut backlog, 1), [3, 4, 5]);
        assert_eq!(drained(&mut backlog, 2), [6, 7]);
    }

    #[test]
    fn tasks_are_dealt_in_turn_across_submissions_under_round_robin() {
        let mut backlog = Backlog::new(Schedule::RoundRobin, 3);
        backlog.submit(4, &[]);
        backlog.submit(4, &[]);
        assert_eq!(drained(&mut backlog, 0), [0, 3, 6]);
        assert_eq!(drained(&mut backlog, 1), [1, 4, 7]);
        assert_eq!(drained(&mut backlog, 2), [2, 5]);
    }

    #[test]
    fn the_heaviest_goes_first_to_the_least_loaded_slot_under_weighted() {
        let mut backlog = Backlog::new(Schedule::Weighted, 2);
        backlog.submit(5, &[1, 9, 3, 3, 2]);
        assert_eq!(drained(&mut backlog, 0), [1]);
        assert_eq!(drained(&mut backlog, 1), [2, 3, 4, 0]);
    }

    #[test]
    fn what_is_cut_out_of_any_schedule_is_gone_and_the_rest_stays_in_order() {
        for schedule in ALL {
            let mut backlog = Backlog::new(schedule, 3);
            backlog.submit(100, &[]);
            let mut cut = Vec::new();
            let count = backlog.cut(&[0..7, 20..21, 33..70, 98..200], |_, stride| cut.extend(stride.tasks()));
            backlog.check();
            let left: Vec<u64> = (0..3).flat_map(|slot| drained(&mut backlog, slot)).collect();
            assert_eq!((count, cut.len(), left.len()), (47, 47, 53), "{schedule:?}");
            let gone = |task: u64| task < 7 || task == 20 || (33..70).contains(&task) || task >= 98;
            assert!(left.iter().all(|&task| !gone(task)), "{schedule:?}: {left:?}");
            assert!(cut.iter().all(|task| gone(task.0)), "{schedule:?}: {cut:?}");
        }
    }

    #[test]
    fn few_ranges_cost_few_strides_however_many_tasks_they_hold() {
        let mut backlog = Backlog::new(Schedule::Dynamic, 4);
        backlog.submit(1_000_000_000, &[]);
        assert_eq!(backlog.cut(&[10..500_000_000, 600_000_000..700_000_000], |_, _| {}), 599_999_990);
        assert_eq!(backlog.lanes[0].fresh.len(), 3);
    }

    #[test]
    fn what_comes_back_goes_to_the_front_in_order() {
        let mut backlog = Backlog::new(Schedule::Dynamic, 2);
        backlog.submit(5, &[]);
        let taken: Vec<Lease> = (0..3).filter_map(|_| backlog.take(SlotId(0))).collect();
        backlog.give_back(SlotId(0), &taken);
        assert_eq!(drained(&mut backlog, 1), [0, 1, 2, 3, 4]);
    }
}
