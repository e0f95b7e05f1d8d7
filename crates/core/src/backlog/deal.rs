//! Lanes that change hands: what waits is dealt anew when a slot is opened or taken away.

use super::{Backlog, Lane, Stride};
use crate::{Lease, Schedule};
use brigade_wire::SlotId;
use std::collections::VecDeque;
use std::mem;

impl Backlog {
    /// These slots own the lanes from now on, and whoever is named first gets the longer part. All that waits is
    /// dealt anew, returned leases in turn. Under `Dynamic` there is nothing to deal, and with nobody to own
    /// anything everything stays where it is.
    pub(crate) fn deal(&mut self, order: &[SlotId]) {
        let order: Vec<usize> = order.iter().map(|slot| slot.0 as usize).collect();
        let mut owners = order.clone();
        owners.sort_unstable();
        if self.is_shared() || owners.is_empty() || owners == self.owners {
            return;
        }
        let lanes = self.lanes.len().max(owners.last().map_or(0, |last| last + 1));
        self.lanes.resize_with(lanes, Lane::default);
        self.loads.resize(lanes, 0);
        self.owners = owners;
        self.loads.fill(0);
        let (mut returned, mut fresh) = (Vec::new(), Vec::new());
        for lane in &mut self.lanes {
            let Lane { returned: leases, fresh: strides, .. } = mem::take(lane);
            returned.extend(leases);
            fresh.extend(strides);
        }
        match self.schedule {
            Schedule::Dynamic | Schedule::Static | Schedule::RoundRobin | Schedule::Stealing => {
                self.deal_parts(&order, fresh);
            }
            Schedule::Weighted => {
                self.weigh(&order, fresh.into_iter().flat_map(Stride::tasks).map(|task| task.0).collect());
            }
        }
        self.deal_returned(&order, returned);
    }

    /// Parts as even as can be, in the order of their numbers. No stride is cut more often than there are parts,
    /// so a run may be resized as often as somebody likes.
    fn deal_parts(&mut self, order: &[usize], mut fresh: Vec<Stride>) {
        fresh.sort_unstable_by_key(|stride| stride.next);
        let mut fresh = VecDeque::from(fresh);
        let (count, parts): (u64, _) = (fresh.iter().map(|stride| stride.len()).sum(), order.len() as u64);
        for (part, &lane) in (0..).zip(order) {
            let mut left = count / parts + u64::from(part < count % parts);
            while left > 0 {
                let stride = fresh.pop_front().expect("the parts add up to all there is");
                let (now, later) = stride.split(stride.next + stride.step * left.min(stride.len()));
                left -= now.len();
                self.lanes[lane].add(now);
                if later.len() > 0 {
                    fresh.push_front(later);
                }
            }
        }
    }

    fn deal_returned(&mut self, order: &[usize], returned: Vec<Lease>) {
        for (lease, &lane) in returned.into_iter().zip(order.iter().cycle()) {
            let lane = &mut self.lanes[lane];
            lane.returned.push_back(lease);
            lane.len += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNED: [Schedule; 4] =
        [Schedule::Static, Schedule::RoundRobin, Schedule::Weighted, Schedule::Stealing];

    fn slots(slots: &[u32]) -> Vec<SlotId> {
        slots.iter().map(|&slot| SlotId(slot)).collect()
    }

    fn lens(backlog: &Backlog) -> Vec<u64> {
        backlog.lanes.iter().map(|lane| lane.len).collect()
    }

    fn drained(backlog: &mut Backlog) -> Vec<u64> {
        let slots = (0..backlog.lanes.len() as u32).map(SlotId);
        let mut all: Vec<u64> = slots
            .flat_map(|slot| std::iter::from_fn(|| backlog.take(slot)).collect::<Vec<_>>())
            .map(|lease| lease.task.0)
            .collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn the_lane_of_a_slot_that_is_taken_away_goes_to_the_others_in_even_parts() {
        for schedule in OWNED {
            let mut backlog = Backlog::new(schedule, 4);
            backlog.submit(10, &[]);
            let taken = [backlog.take(SlotId(1)), backlog.take(SlotId(1))].map(Option::unwrap);
            backlog.deal(&slots(&[0, 2, 3]));
            assert_eq!(lens(&backlog), [3, 0, 3, 2], "{schedule:?}");
            backlog.give_back(SlotId(1), &taken);
            backlog.check();
            assert_eq!(lens(&backlog)[1], 0, "{schedule:?}: a closed lane takes nothing back");
            assert_eq!(drained(&mut backlog), (0..10).collect::<Vec<_>>(), "{schedule:?}");
        }
    }

    #[test]
    fn a_new_slot_gets_its_part_and_of_one_task_all_of_it() {
        for schedule in OWNED {
            let mut backlog = Backlog::new(schedule, 2);
            backlog.submit(9, &[]);
            backlog.deal(&slots(&[2, 0, 1]));
            assert_eq!(lens(&backlog), [3, 3, 3], "{schedule:?}");
            backlog.submit(3, &[]);
            assert_eq!(lens(&backlog), [4, 4, 4], "{schedule:?}: what comes in later is shared, too");
        }
        for schedule in OWNED {
            let mut backlog = Backlog::new(schedule, 1);
            backlog.submit(1, &[]);
            backlog.deal(&slots(&[1, 0]));
            assert_eq!(lens(&backlog), [0, 1], "{schedule:?}: the one that is named first is idle");
        }
    }

    #[test]
    fn the_heaviest_still_goes_first_after_a_deal() {
        let mut backlog = Backlog::new(Schedule::Weighted, 3);
        backlog.submit(5, &[1, 9, 3, 3, 2]);
        backlog.deal(&slots(&[0, 1]));
        let lane = |backlog: &mut Backlog, slot| -> Vec<u64> {
            std::iter::from_fn(|| backlog.take(SlotId(slot))).map(|lease| lease.task.0).collect()
        };
        assert_eq!(lane(&mut backlog, 0), [1]);
        assert_eq!(lane(&mut backlog, 1), [2, 3, 4, 0]);
    }

    #[test]
    fn a_thousand_deals_of_a_million_tasks_cost_few_strides() {
        for schedule in [Schedule::Static, Schedule::RoundRobin] {
            let mut backlog = Backlog::new(schedule, 4);
            backlog.submit(1_000_000, &[]);
            for turn in 0..1_000 {
                let procs = 2 + turn % 7;
                backlog.deal(&(0..procs).map(SlotId).collect::<Vec<_>>());
            }
            let strides: usize = backlog.lanes.iter().map(|lane| lane.fresh.len()).sum();
            assert!(strides < 100, "{schedule:?}: {strides}");
            backlog.check();
        }
    }
}
