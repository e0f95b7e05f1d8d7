//! Births: wishes become orders, orders become processes, and a template that dies takes none of them along.

use crate::driver::Driver;
use crate::hands::{Hand, Presence, Voice};
use crate::inbox::Incoming;
use crate::run::StartMethod;
use crate::story::Told;
use brigade_core::Event;
use brigade_link::{Answer, Death, Door, Order, Spawned, conversation};
use brigade_os::{Body, clock};
use brigade_wire::{Exit, WorkerId};
use std::io;
use std::sync::Arc;

impl Driver<'_> {
    /// Starts a template; its death will come as [`Incoming::TemplateGone`].
    pub(crate) fn start_template(&mut self) -> io::Result<()> {
        let body = self.template.start(&self.inbox)?;
        let (_, incarnation, _) = self.template.seen().expect("it was started one line above");
        let slot = self.inbox.slot();
        let rites = Box::new(move |body: &Body| {
            body.sweep_group();
            let _ = slot.send(Incoming::TemplateGone(incarnation, body.reap()));
        });
        self.undertaker.watch(body, rites);
        Ok(())
    }

    /// A worker is wished for.
    pub(crate) fn wish(&mut self, worker: WorkerId) {
        self.wished_ns.entry(worker.slot).or_insert_with(clock::monotonic_ns);
        self.template.wish(worker);
        if self.template.is_absent() {
            self.replace_template();
        }
    }

    /// Sends as many orders as may be sent now.
    pub(crate) fn order_births(&mut self) {
        while let Some(worker) = self.template.next_wish() {
            if let Err(error) = self.order(worker) {
                self.unborn(worker, format!("order a worker: {error}"));
            }
        }
    }

    fn order(&mut self, worker: WorkerId) -> io::Result<()> {
        self.allot(worker.slot);
        self.pages.renew(worker.slot);
        let (link, ear, tombstone, ends) = conversation()?;
        let (order, door) = match self.template.start_method() {
            StartMethod::Fork => (Order::Fork { worker, ends }, None),
            StartMethod::Spawn => {
                let charter = self.template.charter().clone();
                let door = Door::for_worker(Spawned { charter, worker, ends })?;
                (Order::Exec { worker, door: door.name().to_string() }, Some(door))
            }
        };
        let slot = self.inbox.slot();
        ear.listen(format!("ear-{}", worker.slot), move |heard| {
            // The loop may have ended meanwhile.
            let _ = slot.send(Incoming::Heard(worker, heard));
        })?;
        let template = self.template.body().cloned().ok_or(io::ErrorKind::NotConnected)?;
        let sent = self.backstop.over(&template, || self.template.order(worker, order));
        if sent.is_err() {
            // The template is gone, and its death is on the way: the next one gets the order.
            tombstone.discard();
            door.inspect(Door::knock);
            self.template.kill();
            self.template.wish(worker);
            return Ok(());
        }
        let impostor = self.mischief.as_ref().map(|_| tombstone.impostor());
        self.hands.insert(Hand {
            worker,
            link,
            voice: Voice::Unheard,
            presence: Presence::Awaited { tombstone, door, doomed: false },
            impostor,
        });
        Ok(())
    }

    /// The template answered.
    pub(crate) fn answered(&mut self, answer: Answer) {
        match answer {
            Answer::Born(worker) => {
                self.template.answered(worker);
                self.embody(worker);
            }
            Answer::Unborn(worker, reason) => {
                // Unless its template died meanwhile, and it was ordered anew or given up.
                if self.template.answered(worker) {
                    self.discard(worker);
                    self.unborn(worker, reason);
                }
            }
        }
    }

    /// Takes hold of a process that was born, as soon as anybody says so: the template, its own hello, or its
    /// page after the template's death. Returns whether it exists.
    pub(crate) fn embody(&mut self, worker: WorkerId) -> bool {
        let Some(hand) = self.hands.get(worker) else { return false };
        if hand.body().is_some() {
            return true;
        }
        let Some(pid) = self.pages.pid(worker.slot) else { return false };
        let body = match Body::of(pid) {
            Ok(body) => Arc::new(body),
            Err(error) => {
                Body::end_unheld(pid);
                let _ = self.pages.take(worker.slot);
                self.discard(worker);
                self.unborn(worker, format!("hold pid {pid}: {error}"));
                return true;
            }
        };
        body.lead_own_group();
        self.hold(worker, body);
        true
    }

    fn hold(&mut self, worker: WorkerId, body: Arc<Body>) {
        let born_ns = clock::monotonic_ns();
        let here = Presence::Here { body: Arc::clone(&body), born_ns };
        let hand = self.hands.get(worker).expect("embody found it");
        let awaited = std::mem::replace(&mut hand.presence, here);
        let Presence::Awaited { tombstone, door, doomed } = awaited else { return };
        let pages = Arc::clone(&self.pages);
        let rites = Box::new(move |body: &Body| {
            // In this order: once reaped, the number and the group may be a stranger's.
            body.sweep_group();
            let page = pages.take(worker.slot);
            let running = page.iter().map(|page| page.task).collect();
            let since_ns = page.first().map(|page| page.since_ns);
            let exit = body.reap();
            door.inspect(Door::knock);
            tombstone.post(Death { exit, running, since_ns, at_ns: clock::monotonic_ns() });
        });
        let pid = body.pid().number();
        self.undertaker.watch(Arc::clone(&body), rites);
        if doomed {
            body.kill();
        }
        self.chronicle.born(worker, pid);
        self.publisher.lives_changed();
        self.hear(Event::Born(worker));
    }

    /// A birth that came to nothing.
    fn unborn(&mut self, worker: WorkerId, reason: String) {
        self.echoes.push_back(Event::Unborn { worker, reason });
    }

    fn discard(&mut self, worker: WorkerId) {
        let Some(hand) = self.hands.remove(worker) else { return };
        if let Presence::Awaited { tombstone, door, .. } = hand.presence {
            tombstone.discard();
            door.inspect(Door::knock);
        }
    }

    /// The core wants a worker dead that may not even be born.
    pub(crate) fn kill(&mut self, worker: WorkerId) {
        if self.template.unwish(worker) {
            return self.unborn(worker, "not wanted any more".into());
        }
        match self.hands.get(worker).map(|hand| &mut hand.presence) {
            Some(Presence::Here { body, .. }) => body.kill(),
            Some(Presence::Awaited { doomed, .. }) => *doomed = true,
            // It is gone, and the core will hear so.
            None => {}
        }
    }

    /// The template is dead. Running workers do not notice; births under way are found on their pages, or
    /// ordered anew.
    pub(crate) fn template_gone(&mut self, incarnation: u32, exit: Exit) {
        if !self.template.is_current(incarnation) {
            return;
        }
        let pid = self.template.last_pid();
        let legacy = self.template.gone();
        self.chronicle.bury(pid);
        self.chronicle.tell(Told::TemplateExit { pid, exit });
        self.publisher.lives_changed();
        for worker in legacy.ordered {
            self.inherit(worker);
        }
        match legacy.was_met {
            true => self.replace_template(),
            false if self.template.is_worth_another(exit) => self.replace_template(),
            false => {
                let fault = self.template.take_fault();
                let reason = fault
                    .unwrap_or_else(|| format!("the worker binary ended with {exit} before it said hello"));
                self.give_up_births(&reason);
            }
        }
    }

    /// An order that the dead template did not answer: fulfilled all the same, or to be given again.
    fn inherit(&mut self, worker: WorkerId) {
        if self.embody(worker) {
            return;
        }
        let Some(doomed) = self.hands.get(worker).map(|hand| hand.is_doomed()) else { return };
        self.discard(worker);
        match doomed {
            true => self.unborn(worker, "not wanted any more".into()),
            false => self.template.wish(worker),
        }
    }

    fn replace_template(&mut self) {
        match self.start_template() {
            Ok(()) => self.tell_template(),
            Err(error) => self.give_up_births(&format!("start {}: {error}", self.plan.worker.display())),
        }
        self.publisher.lives_changed();
    }

    fn give_up_births(&mut self, reason: &str) {
        for worker in self.template.unwish_all() {
            self.unborn(worker, reason.to_string());
        }
    }

    pub(crate) fn tell_template(&mut self) {
        if let Some((pid, incarnation, _)) = self.template.seen() {
            self.chronicle.lives(pid.number());
            self.chronicle.tell(Told::TemplateStart { pid: pid.number(), incarnation });
        }
    }

    /// A template that says nothing in time is replaced, and so is one that nothing can kill.
    pub(crate) fn watch_template(&mut self) {
        if self.template.deadline_ns().is_none_or(|at| at > clock::monotonic_ns()) {
            return;
        }
        let Some(incarnation) = self.template.dying() else { return self.template.kill() };
        let pid = self.template.last_pid();
        self.chronicle.warn(format!("SIGKILL does not end the template, pid {pid}: it is given up"));
        self.template_gone(incarnation, Exit::Unknown);
    }

    /// The run is over: the template ends when its channel is closed, and is waited for, so that nothing is
    /// left when the supervisor returns.
    pub(crate) fn dismiss_template(&mut self) {
        const LEAVE_WITHIN_NS: u64 = 1_000_000_000;
        if self.template.is_absent() {
            return;
        }
        let body = self.template.dismiss();
        let (mut deadline_ns, mut was_killed) = (clock::monotonic_ns() + LEAVE_WITHIN_NS, false);
        loop {
            while let Some(incoming) = self.incoming.pop_front() {
                if let Incoming::TemplateGone(incarnation, _) = incoming
                    && self.template.is_current(incarnation)
                {
                    return;
                }
            }
            let left_ns = deadline_ns.saturating_sub(clock::monotonic_ns());
            if left_ns == 0 && was_killed {
                return self.chronicle.warn(format!(
                    "left behind, for SIGKILL does not end it: template, pid {}",
                    self.template.last_pid()
                ));
            }
            if left_ns == 0 {
                body.iter().for_each(|body| body.kill());
                deadline_ns += LEAVE_WITHIN_NS;
                was_killed = true;
            }
            self.inbox
                .wait(Some(std::time::Duration::from_nanos(left_ns.max(1_000_000))), &mut self.incoming);
        }
    }
}
