//! What threads bring, turned into events for the core.

use crate::chronicle::obituary;
use crate::driver::Driver;
use crate::inbox::Incoming;
use crate::status::Dead;
use crate::story::Told;
use brigade_core::Event;
use brigade_link::{Death, Heard};
use brigade_os::Motion;
use brigade_os::signals::Bell;
use brigade_wire::{Hello, PROTOCOL, Report, WorkerId};

impl Driver<'_> {
    pub(crate) fn take(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Heard(worker, heard) => self.heard(worker, heard),
            Incoming::Met(incarnation, visitor) if self.template.is_current(incarnation) => {
                let meet =
                    |visitor| self.template.met(visitor, &self.inbox).map_err(|error| error.to_string());
                let met = visitor.map_err(|stranger| format!("the worker binary {stranger}")).and_then(meet);
                if let Err(fault) = met {
                    self.template.condemn(fault);
                }
            }
            Incoming::Answer(incarnation, answer) if self.template.is_current(incarnation) => {
                self.answered(answer);
            }
            // An earlier template, dead by now.
            Incoming::Met(..) | Incoming::Answer(..) => {}
            Incoming::TemplateGone(incarnation, exit) => self.template_gone(incarnation, exit),
            Incoming::Bell(Bell::Child) => self.look_at_children(),
            Incoming::Bell(Bell::End(signal)) => self.asked_to_end(signal),
        }
    }

    fn heard(&mut self, worker: WorkerId, heard: Heard) {
        if self.hands.get(worker).is_none() {
            return;
        }
        match heard {
            Heard::Report(Report::Hello(hello)) => self.greeted(worker, hello),
            Heard::Report(Report::Done { consumed, ended }) => {
                let credited = self.hands.get(worker).map(|hand| hand.link.credit(consumed));
                self.publisher.counters_changed();
                match credited {
                    Some(Err(reason)) => self.hear(Event::Garbled { worker, reason }),
                    Some(Ok(())) | None => self.hear(Event::Ended { worker, ended }),
                }
            }
            Heard::Garbled(reason) => self.hear(Event::Garbled { worker, reason }),
            Heard::Gone(death) => self.gone(worker, death),
        }
    }

    fn greeted(&mut self, worker: WorkerId, hello: Hello) {
        // Its words may overtake the template's answer.
        self.embody(worker);
        if self.hands.get(worker).and_then(|hand| hand.body()).is_none() {
            // It could not be held, and was ended.
            return;
        }
        self.publisher.lives_changed();
        if hello.protocol != PROTOCOL {
            let reason = format!("speaks protocol {:016x}, not {PROTOCOL:016x}", hello.protocol);
            return self.hear(Event::Garbled { worker, reason });
        }
        match hello.worker == worker {
            true => self.hear(Event::Hello(worker)),
            false => {
                let reason = format!("says it is worker {}", hello.worker);
                self.hear(Event::Garbled { worker, reason });
            }
        }
    }

    fn gone(&mut self, worker: WorkerId, Death { exit, running, at_ns }: Death) {
        let pid = self.chronicle.pid(worker);
        let born_ns = self.hands.in_slot(worker.slot).map_or(at_ns, |(_, born_ns)| born_ns);
        self.publisher.lives_changed();
        let settled = self.core.slots().find(|view| view.worker == worker).map_or(0, |view| view.settled);
        self.chronicle.epitaph(pid, &obituary(exit, settled, running));
        let (slot, incarnation) = (worker.slot, worker.incarnation);
        // Planned or not is the core's to say: its note completes the entry.
        let dead = Dead {
            slot,
            incarnation,
            pid,
            exit,
            planned: false,
            task: running,
            settled,
            born_ns,
            died_ns: at_ns,
        };
        self.chronicle.died(dead);
        self.hands.remove(worker);
        // It may have said hello and died before its template answered for it.
        self.template.answered(worker);
        self.hear(Event::Gone { worker, exit, running });
    }

    /// Somebody died, stopped or went on. Deaths come by pidfd; the rest is asked for here.
    fn look_at_children(&mut self) {
        let moved: Vec<_> =
            self.hands.here().filter_map(|(worker, body, _)| Some((worker, body.moved()?))).collect();
        for (worker, motion) in moved {
            self.publisher.lives_changed();
            self.hear(match motion {
                Motion::Stopped => Event::Stopped(worker),
                Motion::Continued => Event::Continued(worker),
            });
        }
        if self.template.body().is_some_and(|body| body.moved() == Some(Motion::Stopped)) {
            self.template.kill();
        }
    }

    /// The first signal drains, the second ends at once.
    fn asked_to_end(&mut self, signal: i32) {
        self.publisher.lives_changed();
        if self.signal.replace(self.signal.unwrap_or(signal)).is_some() {
            return self.hear(Event::Abort);
        }
        let tally = self.core.tally();
        self.chronicle.tell(Told::Draining { leased: tally.leased, backlog: tally.backlog });
        self.hear(Event::Drain);
    }
}
