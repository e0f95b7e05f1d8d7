//! Chaos wreaked: one more deadline of the loop. What follows from a fault comes back as ordinary news, and nothing
//! in the run knows that it was thrown on purpose.

use crate::chaos::{FOR_GOOD, Fault, Mischief};
use crate::driver::Driver;
use crate::story::{Survived, Told};
use brigade_core::SlotView;
use brigade_link::Impostor;
use brigade_os::{Blow, clock};
use brigade_wire::SlotId;

impl Driver<'_> {
    /// Throws what is due.
    pub(crate) fn wreak(&mut self) {
        let Some(mut mischief) = self.mischief.take() else { return };
        mischief.wake(self);
        while mischief.is_due(self.core.tally().settled, clock::monotonic_ns()) && mischief.throw(self) {}
        self.mischief = Some(mischief);
    }

    /// What the run has survived, if it was tried.
    pub(crate) fn survived(&self) -> Option<Survived> {
        let mischief = self.mischief.as_ref()?;
        let name = |(fault, count): (&Fault, &u64)| (fault.name().to_string(), *count);
        Some(Survived {
            faults: mischief.count(),
            faults_wanted: mischief.terms.faults,
            seed: mischief.terms.seed,
            fault_kinds: mischief.thrown.iter().map(name).collect(),
        })
    }
}

impl Mischief {
    /// Continues whoever has napped long enough; everybody, when nothing is left to lend.
    fn wake(&mut self, driver: &mut Driver<'_>) {
        if self.naps.is_empty() {
            return;
        }
        let (now_ns, is_over) = (clock::monotonic_ns(), driver.core.tally().backlog == 0);
        for (worker, at) in std::mem::take(&mut self.naps) {
            let Some(body) = driver.hands.get(worker).and_then(|hand| hand.body()) else { continue };
            if !is_over && at > now_ns {
                self.naps.push((worker, at));
                continue;
            }
            body.suffer(Blow::Continue);
            if at != FOR_GOOD {
                self.unmark(worker.slot);
            }
        }
    }

    /// Throws the next fault; false if nobody is fit for it now.
    fn throw(&mut self, driver: &mut Driver<'_>) -> bool {
        match self.next.fault {
            Fault::TemplateKill => self.strike_template(driver, Blow::Kill),
            Fault::TemplateStop => self.strike_template(driver, Blow::Stop),
            Fault::Kill
            | Fault::Segv
            | Fault::Abort
            | Fault::Terminate
            | Fault::Stop
            | Fault::Slow
            | Fault::Garbage => self.strike_worker(driver),
        }
    }

    /// One that was met, once: who was not met is not known to be of any use, and its death would end births.
    fn strike_template(&mut self, driver: &mut Driver<'_>, blow: Blow) -> bool {
        let Some((pid, incarnation, _)) = driver.template.seen() else { return false };
        if !driver.template.is_met() || self.template_hit == incarnation {
            return false;
        }
        self.template_hit = incarnation;
        // A death that has not been heard of yet is a miss, and the next one is hit.
        if driver.template.body().is_some_and(|body| body.suffer(blow)) {
            self.tell(driver, self.next.fault, None, pid.number());
        }
        true
    }

    fn strike_worker(&mut self, driver: &mut Driver<'_>) -> bool {
        let slots: Vec<SlotView> = driver.core.slots().collect();
        let Some(victim) = self.victim(&slots) else { return false };
        self.mark(victim.worker);
        let fault = self.bearable(&victim, driver.core.tally().backlog);
        let Some(hand) = driver.hands.get(victim.worker) else { return true };
        let Some(body) = hand.body() else { return true };
        let deal = |blow| body.suffer(blow);
        let was_hit = match fault {
            Fault::Kill | Fault::TemplateKill | Fault::TemplateStop => deal(Blow::Kill),
            Fault::Segv => deal(Blow::Segv),
            Fault::Abort => deal(Blow::Abort),
            Fault::Terminate => deal(Blow::Terminate),
            Fault::Stop | Fault::Slow => deal(Blow::Stop),
            Fault::Garbage => hand.impostor.as_ref().is_some_and(Impostor::garble),
        };
        let pid = body.pid().number();
        match fault {
            Fault::Stop => self.naps.push((victim.worker, FOR_GOOD)),
            Fault::Slow => {
                let wake_ns = clock::monotonic_ns() + self.next.nap.as_nanos() as u64;
                self.naps.push((victim.worker, wake_ns));
            }
            Fault::Kill | Fault::Segv | Fault::Abort | Fault::Terminate | Fault::Garbage => {}
            Fault::TemplateKill | Fault::TemplateStop => {}
        }
        if was_hit {
            self.tell(driver, fault, Some(victim.slot), pid);
        }
        true
    }

    /// What cannot be thrown at this worker now is a KILL: no deadline would end the stop of one that has
    /// nothing in hand, and garbage needs room in its channel.
    fn bearable(&self, victim: &SlotView, backlog: u64) -> Fault {
        match self.next.fault {
            Fault::Stop if victim.leases == 0 || backlog == 0 => Fault::Kill,
            Fault::Garbage if victim.leases > Impostor::UNHEARD_MAX => Fault::Kill,
            fault => fault,
        }
    }

    fn tell(&mut self, driver: &mut Driver<'_>, fault: Fault, slot: Option<SlotId>, pid: u32) {
        self.thrown(fault);
        driver.chronicle.tell(Told::Chaos { slot, pid, fault: fault.name().into() });
    }
}
