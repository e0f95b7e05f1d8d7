//! Chaos: the supervisor throws faults at its own workers, so that whoever doubts can see the answer stay exact.
//!
//! ```text
//! seed ─▶ Script (fault, slot, pause, nap) ─▶ Mischief: is the run far enough? is somebody fit to be hit?
//!                                              │ wreak.rs, a deadline of the loop like any other
//!                                              └─▶ a signal, or garbage; what follows is ordinary news
//! ```
//!
//! A seed fixes the script: which fault, meant for which slot, after which pause, in which order. It does not
//! fix the run: how far each process has come by then is the kernel's affair, and if the slot that was meant has
//! nobody fit to be hit, the next slot is. So the same seed tries the same things, and not the same instants.

use brigade_core::{Life, SlotView};
use brigade_wire::{SlotId, WorkerId};
use std::collections::BTreeMap;
use std::time::Duration;

/// How much chaos.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chaos {
    /// Faults to throw while the run lasts.
    pub faults: u64,
    /// What their script follows from.
    pub seed: u64,
}

/// What can be thrown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    Kill,
    Segv,
    Abort,
    Terminate,
    /// For good: only the deadline of its task ends that.
    Stop,
    /// Stopped, and continued after a nap.
    Slow,
    /// A packet that is no frame, in the worker's name.
    Garbage,
    TemplateKill,
    TemplateStop,
}

impl Fault {
    /// Weights in a thousand: most deaths are sudden. What costs most time is rare: a stop lasts until a deadline.
    const WEIGHTS: [(Fault, u64); 9] = [
        (Fault::Kill, 700),
        (Fault::Segv, 137),
        (Fault::Abort, 8),
        (Fault::Terminate, 40),
        (Fault::Stop, 15),
        (Fault::Slow, 45),
        (Fault::Garbage, 45),
        (Fault::TemplateKill, 8),
        (Fault::TemplateStop, 2),
    ];

    fn draw(dice: &mut Dice) -> Fault {
        let mut point = dice.below(1_000);
        for (fault, weight) in Fault::WEIGHTS {
            match point.checked_sub(weight) {
                None => return fault,
                Some(rest) => point = rest,
            }
        }
        unreachable!("the weights add up to a thousand")
    }

    /// As the story and the summary call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Fault::Kill => "KILL",
            Fault::Segv => "SEGV",
            Fault::Abort => "ABRT",
            Fault::Terminate => "TERM",
            Fault::Stop => "STOP",
            Fault::Slow => "slow",
            Fault::Garbage => "garbage",
            Fault::TemplateKill => "template KILL",
            Fault::TemplateStop => "template STOP",
        }
    }
}

/// One line of the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Throw {
    pub(crate) fault: Fault,
    /// For whom it is meant.
    pub(crate) slot: u32,
    /// From the moment at which the run is far enough.
    pub(crate) pause: Duration,
    /// How long a slow worker is stopped.
    pub(crate) nap: Duration,
}

/// All that a seed fixes.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    dice: Dice,
    procs: u32,
}

/// The longest pause: with it a fault meets any moment of a task's life, not only that after a report.
const PAUSE_US_MAX: u64 = 400;

const NAP_MS_MAX: u64 = 20;

impl Script {
    fn new(seed: u64, procs: u32) -> Script {
        Script { dice: Dice(seed), procs }
    }

    fn next(&mut self) -> Throw {
        let fault = Fault::draw(&mut self.dice);
        let slot = u32::try_from(self.dice.below(u64::from(self.procs))).expect("below a 32-bit number");
        let pause = Duration::from_micros(self.dice.below(PAUSE_US_MAX));
        let nap = Duration::from_millis(1 + self.dice.below(NAP_MS_MAX));
        Throw { fault, slot, pause, nap }
    }
}

/// Splitmix64.
#[derive(Clone, Debug)]
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// A run's chaos as it goes.
#[derive(Debug)]
pub(crate) struct Mischief {
    pub(crate) terms: Chaos,
    tasks: u64,
    script: Script,
    pub(crate) next: Throw,
    aim: Aim,
    /// The incarnation that was hit last, by slot: nobody is hit twice, but for who only napped.
    hit: BTreeMap<SlotId, u32>,
    pub(crate) template_hit: u32,
    /// Who was stopped, and when to continue it.
    pub(crate) naps: Vec<(WorkerId, u64)>,
    pub(crate) thrown: BTreeMap<Fault, u64>,
}

/// Where the next fault stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aim {
    /// The run is not far enough for it.
    Ahead,
    /// It is to be thrown then.
    At(u64),
    /// It is to be thrown as soon as somebody is fit to be hit: news will tell.
    Due,
    /// There is none.
    Spent,
}

/// Whoever was stopped for good is continued only when nothing is left to lend, so that no run ends with a wait
/// for a worker that the run itself holds down.
pub(crate) const FOR_GOOD: u64 = u64::MAX;

impl Mischief {
    pub(crate) fn new(terms: Chaos, procs: u32, tasks: u64) -> Mischief {
        let mut script = Script::new(terms.seed, procs);
        let next = script.next();
        let aim = if terms.faults == 0 { Aim::Spent } else { Aim::Ahead };
        let (hit, naps, thrown) = (BTreeMap::new(), Vec::new(), BTreeMap::new());
        Mischief { terms, tasks, script, next, aim, hit, template_hit: 0, naps, thrown }
    }

    /// How many were thrown.
    pub(crate) fn count(&self) -> u64 {
        self.thrown.values().sum()
    }

    /// When the loop must wake for it, in monotonic nanoseconds.
    pub(crate) fn due_ns(&self) -> Option<u64> {
        let aim_ns = match self.aim {
            Aim::At(at) => Some(at),
            Aim::Ahead | Aim::Due | Aim::Spent => None,
        };
        let wake_ns = self.naps.iter().map(|(_, at)| *at).filter(|at| *at != FOR_GOOD);
        aim_ns.into_iter().chain(wake_ns).min()
    }

    /// Whether the next fault is to be thrown now, with so many tasks settled: the faults are spread over the
    /// run by its own progress, so it cannot outrun them nor they it.
    pub(crate) fn is_due(&mut self, settled: u64, now_ns: u64) -> bool {
        if self.aim == Aim::Ahead && settled >= self.share() {
            self.aim = Aim::At(now_ns + self.next.pause.as_nanos() as u64);
        }
        match self.aim {
            Aim::At(at) if at <= now_ns => self.aim = Aim::Due,
            Aim::At(_) | Aim::Ahead | Aim::Due | Aim::Spent => {}
        }
        self.aim == Aim::Due
    }

    /// So many tasks must be settled before the next fault. The last twentieth of a run is left alone, for the
    /// faults that are late.
    fn share(&self) -> u64 {
        let share =
            u128::from(self.tasks) * 19 / 20 * u128::from(self.count()) / u128::from(self.terms.faults);
        u64::try_from(share).expect("a share of a 64-bit number")
    }

    /// A worker that may be hit, the meant one first: it has settled something since its birth, so that its death
    /// does not look like a crash loop, and it was not hit before.
    pub(crate) fn victim(&self, slots: &[SlotView]) -> Option<SlotView> {
        let (before, from) = slots.split_at(slots.len().min(self.next.slot as usize));
        from.iter().chain(before).find(|view| self.is_fit(view)).copied()
    }

    fn is_fit(&self, view: &SlotView) -> bool {
        let was_hit = self.hit.get(&view.slot) == Some(&view.worker.incarnation);
        view.life == Life::Ready && view.settled > 0 && !view.stopped && !was_hit
    }

    /// It was thrown, as this.
    pub(crate) fn thrown(&mut self, fault: Fault) {
        *self.thrown.entry(fault).or_default() += 1;
        self.next = self.script.next();
        self.aim = if self.count() < self.terms.faults { Aim::Ahead } else { Aim::Spent };
    }

    pub(crate) fn mark(&mut self, worker: WorkerId) {
        self.hit.insert(worker.slot, worker.incarnation);
    }

    /// It only napped: it may be hit again.
    pub(crate) fn unmark(&mut self, slot: SlotId) {
        self.hit.remove(&slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn views(procs: u32) -> Vec<SlotView> {
        let view = |slot| SlotView {
            slot: SlotId(slot),
            worker: WorkerId { slot: SlotId(slot), incarnation: 1 },
            life: Life::Ready,
            leases: 3,
            settled: 1,
            stopped: false,
            wanted: true,
        };
        (0..procs).map(view).collect()
    }

    #[test]
    fn a_seed_fixes_the_script_and_another_seed_is_another_script() {
        let script = |seed| {
            let mut script = Script::new(seed, 4);
            (0..1_000).map(|_| script.next()).collect::<Vec<Throw>>()
        };
        assert_eq!(script(7), script(7));
        assert_ne!(script(7), script(8));
        let kills = script(7).iter().filter(|throw| throw.fault == Fault::Kill).count();
        assert!((650..750).contains(&kills), "{kills}");
        assert!(script(7).iter().all(|throw| throw.slot < 4 && throw.pause < Duration::from_millis(1)));
    }

    #[test]
    fn the_weights_add_up_to_a_thousand_and_nothing_is_forgotten() {
        assert_eq!(Fault::WEIGHTS.iter().map(|(_, weight)| weight).sum::<u64>(), 1_000);
        let mut dice = Dice(1);
        let drawn: std::collections::BTreeSet<Fault> = (0..10_000).map(|_| Fault::draw(&mut dice)).collect();
        assert_eq!(drawn.len(), Fault::WEIGHTS.len());
    }

    #[test]
    fn faults_keep_step_with_the_run_and_end_with_their_number() {
        let mut mischief = Mischief::new(Chaos { faults: 10, seed: 7 }, 4, 1_000);
        let (mut now_ns, mut thrown_at) = (0, Vec::new());
        for settled in 0..=1_000 {
            now_ns += 10_000_000;
            while mischief.is_due(settled, now_ns) {
                thrown_at.push(settled);
                mischief.thrown(Fault::Kill);
            }
        }
        assert_eq!(thrown_at.len(), 10);
        assert!(thrown_at.iter().zip(0..).all(|(at, n)| (95 * n..=95 * n + 1).contains(at)), "{thrown_at:?}");
        assert_eq!((mischief.count(), mischief.due_ns()), (10, None));
    }

    #[test]
    fn nobody_is_hit_twice_nor_before_it_has_settled_something() {
        let mut mischief = Mischief::new(Chaos { faults: 10, seed: 7 }, 2, 100);
        let mut slots = views(2);
        let first = mischief.victim(&slots).expect("both are fit");
        assert_eq!(first.slot.0, mischief.next.slot);
        mischief.mark(first.worker);
        let second = mischief.victim(&slots).expect("one is left");
        assert_ne!(second.slot, first.slot);
        slots[second.slot.0 as usize].settled = 0;
        assert_eq!(mischief.victim(&slots), None);
        mischief.unmark(first.slot);
        assert_eq!(mischief.victim(&slots), Some(first));
    }
}
