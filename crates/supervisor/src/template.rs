//! Keeping a template: started, met at its door, given orders, and replaced when it dies or stops.

use crate::error::{RunError, WorkerFault};
use crate::inbox::{Inbox, Incoming};
use crate::run::{Plan, StartMethod};
use brigade_link::{AnswerEar, Charter, Door, Letter, Order, TemplateLink};
use brigade_os::cgroup::Cgroup;
use brigade_os::limits::OpenFiles;
use brigade_os::page::Pages;
use brigade_os::{Body, Pid, birth, clock, inherit, logfile, signals};
use brigade_wire::{Exit, WorkerId};
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// How long a template may take from its start to its first words.
pub(crate) const MEET_WITHIN: Duration = Duration::from_secs(10);

/// How long it may take to answer an order. It forks in a tenth of a millisecond.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// Orders that may be unanswered: few enough that a stopped template never blocks the sender.
const ORDERS_MAX: usize = 16;

/// The template of a run, whichever process that is now, and the births that wait for it.
#[derive(Debug)]
pub(crate) struct Template {
    plan: Plan,
    charter: Charter,
    /// What the worker binary has, as the last template that was met has told.
    functions: Vec<String>,
    /// Read by workers for as long as it is kept here.
    _letter: Option<Letter>,
    files: OpenFiles,
    pages: Arc<Pages>,
    logs: OwnedFd,
    cgroup: Option<Arc<Cgroup>>,
    incarnation: u32,
    /// Of the last one that was started, dead or alive; for showing.
    last_pid: u32,
    /// How long the supervisor itself did not run since it was started.
    slept_ns: u64,
    /// Why it was condemned: what its death is to be told as.
    fault: Option<String>,
    /// How many died in a row before they said hello.
    failures: u32,
    life: Life,
    /// Wished for, and not ordered yet.
    waiting: VecDeque<WorkerId>,
    /// Ordered, and not answered yet; with the time of the order.
    ordered: Vec<(WorkerId, u64)>,
}

#[derive(Debug)]
enum Life {
    /// There is none; the next birth starts one.
    Absent,
    /// Executed, and not met yet.
    Starting { body: Arc<Body>, door: Door, born_ns: u64 },
    /// Takes orders.
    Ready { body: Arc<Body>, link: TemplateLink, born_ns: u64 },
    /// Killed; its body is waited for, until then.
    Dying { was_met: bool, give_up_ns: u64 },
}

/// What a dead template leaves behind.
#[derive(Debug)]
pub(crate) struct Legacy {
    /// Orders that nobody will answer: whoever was born of them stands on its page.
    pub(crate) ordered: Vec<WorkerId>,
    /// It had come to its door: the next one probably will, too.
    pub(crate) was_met: bool,
}

impl Template {
    pub(crate) fn new(
        plan: &Plan,
        function: &str,
        files: OpenFiles,
        pages: Arc<Pages>,
        logs: OwnedFd,
        (cgroup, memory_groups): (Option<Arc<Cgroup>>, Option<PathBuf>),
    ) -> io::Result<Template> {
        let letter = (!plan.letter.is_empty()).then(|| Letter::write(&plan.letter)).transpose()?;
        let charter = Charter {
            function: function.to_string(),
            daemon: plan.daemon,
            threads: plan.policy.threads.max(1),
            pace_ns: u64::try_from(plan.pace.as_nanos()).unwrap_or(u64::MAX),
            rss_bytes_max: plan.memory.rss_bytes_max,
            memory_groups,
            as_bytes_max: plan.memory.as_bytes_max,
            supervisor: Pid::current().number(),
            program: plan.worker.clone(),
            entry: plan.entry.clone(),
            letter: letter.as_ref().map(Letter::notice),
        };
        let (waiting, ordered) = (VecDeque::new(), Vec::new());
        Ok(Template {
            plan: plan.clone(),
            charter,
            functions: Vec::new(),
            _letter: letter,
            files,
            pages,
            logs,
            cgroup,
            incarnation: 0,
            last_pid: 0,
            slept_ns: 0,
            fault: None,
            failures: 0,
            life: Life::Absent,
            waiting,
            ordered,
        })
    }

    /// Executes the worker binary as a template. Must run on the thread that ends last: the workers' bond to
    /// the supervisor (PDEATHSIG) is to the thread that made their template.
    pub(crate) fn start(&mut self, inbox: &Inbox) -> io::Result<Arc<Body>> {
        self.incarnation += 1;
        let (incarnation, slot) = (self.incarnation, inbox.slot());
        let door = Door::for_template(move |visitor| {
            // The loop may have ended meanwhile.
            let _ = slot.send(Incoming::Met(incarnation, visitor));
        })?;
        let mut command = Command::new(&self.plan.worker);
        inherit::nothing_else(&mut command);
        let pages = inherit::pass(&mut command, self.pages.fd())?;
        let logs = inherit::pass(&mut command, &self.logs)?;
        // Before the limit is lowered: it opens a file.
        logfile::put_under(&mut command, &self.logs)?;
        self.files.give_back(&mut command);
        signals::block_nothing(&mut command);
        // Until it has said who it is; the guard itself must outlive us.
        birth::bind(&mut command);
        let cgroup = self.cgroup.as_ref().map_or(Path::new("-"), |cgroup| cgroup.path());
        command
            .envs(self.plan.environment.iter().map(|(name, value)| (name, value)))
            .args(&self.plan.entry)
            .arg("template")
            .arg(cgroup)
            .arg(door.name())
            .arg(pages.to_string())
            .arg(logs.to_string());
        let child = command.process_group(0).stdin(Stdio::null()).spawn().inspect_err(|_| door.knock())?;
        let pid = Pid::new(child.id().cast_signed()).expect("a child has a pid");
        let body = Arc::new(Body::of(pid).inspect_err(|_| {
            Body::end_unheld(pid);
            door.knock();
        })?);
        (self.last_pid, self.slept_ns) = (pid.number(), 0);
        self.life = Life::Starting { body: Arc::clone(&body), door, born_ns: clock::monotonic_ns() };
        Ok(body)
    }

    /// The template came to its door: gives it its charter.
    pub(crate) fn met(
        &mut self,
        (link, functions, answers): (TemplateLink, Vec<String>, AnswerEar),
        inbox: &Inbox,
    ) -> Result<(), RunError> {
        let Life::Starting { body, born_ns, .. } = &self.life else { return Ok(()) };
        if !functions.contains(&self.charter.function) {
            let (wanted, has) = (self.charter.function.clone(), functions.join(", "));
            return Err(self.fault(WorkerFault::NoSuchTask { wanted, has }));
        }
        let os = |what| move |source| RunError::Os { what, source };
        link.order(Order::Begin(self.charter.clone())).map_err(os("give the template its charter"))?;
        let (incarnation, slot) = (self.incarnation, inbox.slot());
        let listen = move || {
            answers.hear_all(|answer| {
                let _ = slot.send(Incoming::Answer(incarnation, answer));
            });
        };
        let ear = thread::Builder::new().name("template-ear".into()).stack_size(64 << 10).spawn(listen);
        ear.map_err(os("start a thread to hear the template"))?;
        self.functions = functions;
        self.life = Life::Ready { body: Arc::clone(body), link, born_ns: *born_ns };
        self.failures = 0;
        Ok(())
    }

    pub(crate) fn fault(&self, fault: WorkerFault) -> RunError {
        RunError::Worker { path: self.plan.worker.clone(), fault }
    }

    pub(crate) fn charter(&self) -> &Charter {
        &self.charter
    }

    pub(crate) fn functions(&self) -> &[String] {
        &self.functions
    }

    pub(crate) fn start_method(&self) -> StartMethod {
        self.plan.start_method
    }

    /// Whether this speaks of the template that lives now.
    pub(crate) fn is_current(&self, incarnation: u32) -> bool {
        self.incarnation == incarnation
    }

    /// The living process, for `ps` and for signals.
    pub(crate) fn body(&self) -> Option<&Arc<Body>> {
        match &self.life {
            Life::Starting { body, .. } | Life::Ready { body, .. } => Some(body),
            Life::Absent | Life::Dying { .. } => None,
        }
    }

    /// For status: its process, number and time of birth.
    pub(crate) fn seen(&self) -> Option<(Pid, u32, u64)> {
        match &self.life {
            Life::Starting { body, born_ns, .. } | Life::Ready { body, born_ns, .. } => {
                Some((body.pid(), self.incarnation, *born_ns))
            }
            Life::Absent | Life::Dying { .. } => None,
        }
    }

    pub(crate) fn last_pid(&self) -> u32 {
        self.last_pid
    }

    pub(crate) fn is_absent(&self) -> bool {
        matches!(self.life, Life::Absent)
    }

    /// Whether a birth may be under way.
    pub(crate) fn owes_answers(&self) -> bool {
        !self.ordered.is_empty()
    }

    pub(crate) fn is_met(&self) -> bool {
        matches!(self.life, Life::Ready { .. })
    }

    /// A birth that is to be ordered as soon as may be.
    pub(crate) fn wish(&mut self, worker: WorkerId) {
        self.waiting.push_back(worker);
    }

    /// Takes a wish back that was not ordered yet.
    pub(crate) fn unwish(&mut self, worker: WorkerId) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|waiting| *waiting != worker);
        self.waiting.len() < before
    }

    /// All wishes, taken back: nobody can fulfil them now.
    pub(crate) fn unwish_all(&mut self) -> VecDeque<WorkerId> {
        std::mem::take(&mut self.waiting)
    }

    /// The next birth that may be ordered now.
    pub(crate) fn next_wish(&mut self) -> Option<WorkerId> {
        let may = self.is_met() && self.ordered.len() < ORDERS_MAX;
        may.then(|| self.waiting.pop_front()).flatten()
    }

    /// Sends an order for `worker`.
    pub(crate) fn order(&mut self, worker: WorkerId, order: Order) -> io::Result<()> {
        let Life::Ready { link, .. } = &self.life else { return Err(io::ErrorKind::NotConnected.into()) };
        link.order(order)?;
        self.ordered.push((worker, clock::monotonic_ns()));
        Ok(())
    }

    /// An order is answered; false if it was not waited for.
    pub(crate) fn answered(&mut self, worker: WorkerId) -> bool {
        let before = self.ordered.len();
        self.ordered.retain(|(ordered, _)| *ordered != worker);
        self.ordered.len() < before
    }

    /// Until when the template must have said something, in monotonic nanoseconds.
    pub(crate) fn deadline_ns(&self) -> Option<u64> {
        match &self.life {
            Life::Starting { born_ns, .. } => Some(born_ns + MEET_WITHIN.as_nanos() as u64 + self.slept_ns),
            Life::Ready { .. } => {
                self.ordered.iter().map(|(_, at)| at + ANSWER_WITHIN.as_nanos() as u64).min()
            }
            Life::Dying { give_up_ns, .. } => Some(*give_up_ns),
            Life::Absent => None,
        }
    }

    /// The supervisor did not run for so long, so it could not be heard.
    pub(crate) fn overslept(&mut self, by_ns: u64) {
        self.slept_ns += by_ns;
        if let Life::Dying { give_up_ns, .. } = &mut self.life {
            *give_up_ns += by_ns;
        }
        self.ordered.iter_mut().for_each(|(_, at)| *at += by_ns);
    }

    /// It said nothing in time, or was found stopped: it is no use any more, nor as a guard.
    pub(crate) fn kill(&mut self) {
        let give_up_ns = self.give_up_ns();
        match &self.life {
            Life::Starting { body, door, .. } => {
                body.kill();
                door.knock();
                self.life = Life::Dying { was_met: false, give_up_ns };
            }
            Life::Ready { body, .. } => {
                body.kill();
                self.life = Life::Dying { was_met: true, give_up_ns };
            }
            Life::Absent | Life::Dying { .. } => {}
        }
    }

    fn give_up_ns(&self) -> u64 {
        clock::monotonic_ns() + u64::try_from(self.plan.policy.kill_grace.as_nanos()).unwrap_or(u64::MAX / 2)
    }

    /// It was killed, and only its body is waited for: which one.
    pub(crate) fn dying(&self) -> Option<u32> {
        matches!(self.life, Life::Dying { .. }).then_some(self.incarnation)
    }

    /// It died before it said hello. A few times that may be somebody's doing, and another is worth a try.
    pub(crate) fn is_worth_another(&mut self, exit: Exit) -> bool {
        const TRIES_MAX: u32 = 5;
        self.failures += 1;
        matches!(exit, Exit::Signal(_)) && self.fault.is_none() && self.failures < TRIES_MAX
    }

    /// What came to its door is no template of ours, or is of no use: its death brings the births back.
    pub(crate) fn condemn(&mut self, fault: String) {
        self.fault = Some(fault);
        self.kill();
    }

    pub(crate) fn take_fault(&mut self) -> Option<String> {
        self.fault.take()
    }

    /// It is dead: what it leaves, and nobody in its place yet.
    pub(crate) fn gone(&mut self) -> Legacy {
        let was_met = match std::mem::replace(&mut self.life, Life::Absent) {
            Life::Starting { door, .. } => {
                door.knock();
                false
            }
            Life::Ready { .. } => true,
            Life::Dying { was_met, .. } => was_met,
            Life::Absent => false,
        };
        let ordered = std::mem::take(&mut self.ordered).into_iter().map(|(worker, _)| worker).collect();
        Legacy { ordered, was_met }
    }

    /// Lets it end: its channel is closed, which is how it learns that nothing is wanted any more.
    pub(crate) fn dismiss(&mut self) -> Option<Arc<Body>> {
        if matches!(self.life, Life::Starting { .. }) {
            self.kill();
        }
        let give_up_ns = self.give_up_ns();
        match std::mem::replace(&mut self.life, Life::Dying { was_met: true, give_up_ns }) {
            Life::Ready { body, .. } => Some(body),
            Life::Starting { .. } | Life::Absent | Life::Dying { .. } => None,
        }
    }
}
