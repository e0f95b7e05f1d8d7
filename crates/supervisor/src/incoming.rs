//! What threads bring, turned into events for the core.

use crate::chronicle::obituary;
use crate::driver::Driver;
use crate::hands::Voice;
use crate::inbox::Incoming;
use crate::remote::Asked;
use crate::run::{Arrivals, Cancels};
use crate::status::Dead;
use crate::story::Told;
use brigade_core::Event;
use brigade_link::{Death, Heard};
use brigade_os::Motion;
use brigade_os::signals::Bell;
use brigade_wire::{Hello, PROTOCOL, WorkerId};
use std::time::Duration;

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
                match answer {
                    Ok(answer) => self.answered(answer),
                    // Whom it spoke of is not known: its death settles all that it owes.
                    Err(error) => {
                        let pid = self.template.last_pid();
                        self.chronicle.epitaph(pid, &format!("it garbles ({error}): killing it"));
                        self.template.kill();
                    }
                }
            }
            // An earlier template, dead by now.
            Incoming::Met(..) | Incoming::Answer(..) => {}
            Incoming::TemplateGone(incarnation, exit) => self.template_gone(incarnation, exit),
            Incoming::Asked(asked) => self.asked(asked),
            Incoming::Bell(Bell::Child) => self.look_at_children(),
            Incoming::Bell(Bell::Show) => self.show(),
            Incoming::Bell(Bell::Reopen) => self.reopen_logs(),
            Incoming::Bell(Bell::More) => self.one_more(),
            Incoming::Bell(Bell::Fewer) => self.one_fewer(),
            Incoming::Bell(Bell::End(signal)) => self.asked_to_end(signal),
            Incoming::Bell(Bell::Pause) => {
                self.pause();
            }
        }
    }

    pub(crate) fn asked(&mut self, asked: Asked) {
        if let Some(event) = asked.event() {
            self.publisher.lives_changed();
            return self.hear(event);
        }
        self.publisher.counters_changed();
        let Arrivals { count, weights } = self.work.arrivals(self.core.next_task());
        if count > 0 {
            self.hear(Event::Submitted { count, weights });
        }
        let Cancels { all, waiting } = self.work.cancels();
        for (tasks, lent) in [(waiting, false), (all, true)] {
            if !tasks.is_empty() {
                self.hear(Event::Cancel { tasks, lent });
            }
        }
    }

    fn heard(&mut self, worker: WorkerId, heard: Heard) {
        let Some(hand) = self.hands.get(worker) else { return };
        match (heard, hand.voice) {
            (Heard::Gone(death), _) => self.gone(worker, death),
            (Heard::Garbled(reason), _) => self.garbled(worker, reason),
            // Whatever it says now is not to be believed.
            (Heard::Hello(_) | Heard::Done { .. }, Voice::Garbled) => {}
            (Heard::Hello(hello), Voice::Unheard) => self.greeted(worker, hello),
            (Heard::Hello(_), Voice::Met) => self.garbled(worker, "said hello twice".into()),
            (Heard::Done { .. }, Voice::Unheard) => {
                self.garbled(worker, "spoke of tasks before its hello".into());
            }
            (Heard::Done { consumed, ended }, Voice::Met) => {
                let credited =
                    hand.link.credit(consumed).and_then(|credit| match credit == 0 && ended.is_empty() {
                        true => Err("said nothing, at length".into()),
                        false => Ok(()),
                    });
                self.publisher.counters_changed();
                let failures = ended.iter().filter(|ended| ended.ending.mishap().is_some());
                if !ended.is_empty() {
                    let busy_ns = ended.iter().map(|ended| ended.elapsed_ns).fold(0, u64::saturating_add);
                    self.chronicle.worked(worker.slot, ended.len() as u64, Duration::from_nanos(busy_ns));
                }
                self.tales.heard(failures.map(|ended| (worker, ended.task, ended.elapsed_ns)));
                match credited {
                    Ok(()) => self.hear(Event::Ended { worker, ended }),
                    Err(reason) => self.garbled(worker, reason),
                }
            }
        }
    }

    /// It said what no worker of ours says. The first such thing is told, and ends it.
    fn garbled(&mut self, worker: WorkerId, reason: String) {
        // It may not be held yet: then there is nobody to kill.
        self.embody(worker);
        let Some(hand) = self.hands.get(worker) else { return };
        if std::mem::replace(&mut hand.voice, Voice::Garbled) == Voice::Garbled {
            return;
        }
        let (slot, pid, incarnation) = (worker.slot, self.chronicle.pid(worker), worker.incarnation);
        self.chronicle.epitaph(pid, &format!("it garbles ({reason}): killing it"));
        self.chronicle.tell(Told::WorkerGarbled { slot, pid, incarnation, reason: reason.clone() });
        self.hear(Event::Garbled { worker, reason });
    }

    fn greeted(&mut self, worker: WorkerId, hello: Hello) {
        // Its words may overtake the template's answer.
        self.embody(worker);
        let Some(hand) = self.hands.get(worker).filter(|hand| hand.body().is_some()) else {
            // It could not be held, and was ended.
            return;
        };
        if hello.protocol != PROTOCOL {
            let reason = format!("speaks protocol {:016x}, not {PROTOCOL:016x}", hello.protocol);
            return self.garbled(worker, reason);
        }
        if hello.worker != worker {
            return self.garbled(worker, format!("says it is worker {}", hello.worker));
        }
        hand.voice = Voice::Met;
        self.look_for_allotted(worker);
        self.catch_up(worker);
        self.publisher.lives_changed();
        self.hear(Event::Hello(worker));
    }

    fn gone(&mut self, worker: WorkerId, Death { exit, running, since_ns, at_ns }: Death) {
        // What it had settled is told of in its log.
        self.books.commit();
        let pid = self.chronicle.pid(worker);
        let born_ns = self.hands.in_slot(worker.slot).map_or(at_ns, |(_, born_ns)| born_ns);
        self.publisher.lives_changed();
        self.strays.somebody_died();
        let view = self.core.slots().find(|view| view.worker == worker);
        let settled = view.map_or(0, |view| view.settled);
        if view.is_some_and(|view| !view.wanted) {
            // Whoever is next there is the first of a slot that is opened anew.
            self.wished_ns.remove(&worker.slot);
        }
        self.chronicle.epitaph(pid, &obituary(exit, settled, &running));
        let (slot, incarnation) = (worker.slot, worker.incarnation);
        // Planned or not is the core's to say: its note completes the entry.
        let dead = Dead {
            slot,
            incarnation,
            pid,
            exit,
            planned: false,
            task: running.first().copied(),
            beside: running.iter().skip(1).copied().collect(),
            task_since_ns: since_ns,
            settled,
            born_ns,
            died_ns: at_ns,
        };
        self.chronicle.died(dead);
        self.hands.remove(worker);
        self.recycled_itself(worker, exit, &running);
        self.ended_by_kernel(worker, exit, &running);
        // It may have said hello and died before its template answered for it.
        self.template.answered(worker);
        let divisible = self.core.in_hand(worker).filter(|task| self.work.is_divisible(*task)).collect();
        self.hear(Event::Gone { worker, exit, running, divisible });
    }

    /// Somebody died, stopped or went on. Deaths come by pidfd; the rest is asked for here.
    pub(crate) fn look_at_children(&mut self) {
        self.strays.somebody_moved();
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
