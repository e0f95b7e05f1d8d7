//! The driver: everything that a run holds, and the loop that moves it.

use crate::backstop::Backstop;
use crate::books::{self, Books, Recall, ResumeError};
use crate::chaos::Mischief;
use crate::chronicle::Chronicle;
use crate::descent::{self, Strays};
use crate::error::RunError;
use crate::hands::Hands;
use crate::inbox::{Inbox, Incoming};
use crate::memory::Watch;
use crate::pauses::Naps;
use crate::publish::Publisher;
use crate::quarantine::{self, Tales};
use crate::remote::Line;
use crate::resize;
use crate::run::{Host, Identity, Plan, Report, StartMethod, Witness, Work};
use crate::rundir::RunDir;
use crate::status::{Slot, Status, Task, Template as TemplateStatus};
use crate::story::{Done, SCHEMA, Tallied, Told};
use crate::template::Template;
use brigade_core::{Core, Effect, Event, Life, Now, SlotView, Verdict};
use brigade_os::cgroup::Cgroup;
use brigade_os::death::Undertaker;
use brigade_os::limits::OpenFiles;
use brigade_os::page::{OnPage, Pages};
use brigade_os::signals;
use brigade_os::{Pid, clock, limits, logfile};
use brigade_wire::SlotId;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Holds a run from its first wish to its report.
///
/// # Errors
/// If the run cannot begin: the worker binary, the limits of the machine, the run directory. Whatever happens
/// to workers later is in the report.
pub fn run(
    plan: Plan,
    work: &mut dyn Work,
    dir: RunDir,
    witness: &mut dyn Witness,
) -> Result<Report, RunError> {
    let books = match plan.journal {
        Some(durability) => {
            Books::begin(&dir, work, durability).map_err(|e| RunError::Journal(e.to_string()))?
        }
        None => Books::none(),
    };
    let held = hold(plan, work, &dir, witness, (Inbox::new(), books, None), |_| {});
    if held.is_err() {
        dir.discard();
    }
    held
}

/// Goes on with a run whose supervisor is gone: what stands in its journal is neither done nor counted again.
///
/// # Errors
/// As [`run`]; and if the journal is damaged, or is of other work.
pub fn resume(
    plan: Plan,
    work: &mut dyn Work,
    dir: RunDir,
    witness: &mut dyn Witness,
) -> Result<Report, RunError> {
    let (books, recall) = Books::resume(&dir, work).map_err(|error| match error {
        ResumeError::Other(error) => RunError::OtherWork(error.to_string()),
        error => RunError::Journal(error.to_string()),
    })?;
    quarantine::agree(&dir, &recall.quarantined);
    hold(plan, work, &dir, witness, (Inbox::new(), books, Some(recall)), |_| {})
}

/// Holds a run in a program that does other things as well, on a thread that must not end before the run does. It keeps no
/// journal, and hears what other threads ask. Calls `begun` when workers are on
/// their way, with the names of all tasks that the worker binary has.
///
/// # Errors
/// As [`run`].
pub fn serve(
    plan: Plan,
    work: &mut dyn Work,
    dir: &RunDir,
    witness: &mut dyn Witness,
    Line(inbox): Line,
    begun: impl FnOnce(&[String]),
) -> Result<Report, RunError> {
    hold(plan, work, dir, witness, (inbox, Books::none(), None), begun)
}

/// What a run was made of, as its journal has it.
///
/// # Errors
/// If there is no journal, or it cannot be read.
pub fn identity(dir: &RunDir) -> Result<Identity, RunError> {
    books::whose(dir).map_err(|error| RunError::Journal(error.to_string()))
}

fn hold(
    mut plan: Plan,
    work: &mut dyn Work,
    dir: &RunDir,
    witness: &mut dyn Witness,
    (inbox, books, recall): (Inbox, Books, Option<Recall>),
    begun: impl FnOnce(&[String]),
) -> Result<Report, RunError> {
    let files = OpenFiles::raise();
    plan.policy.slots_max = resize::slots_max(&plan, files)?;
    let mut driver = Driver::start(plan, files, work, dir, witness, (inbox, books))?;
    driver.meet_template()?;
    driver.begin(recall, dir);
    begun(driver.template.functions());
    while !driver.core.is_finished() {
        driver.turn();
    }
    Ok(driver.end())
}

/// All state, owned by one thread.
pub(crate) struct Driver<'a> {
    pub(crate) plan: Plan,
    pub(crate) core: Core,
    pub(crate) work: &'a mut dyn Work,
    pub(crate) books: Books,
    pub(crate) inbox: Inbox,
    pub(crate) incoming: VecDeque<Incoming>,
    /// Events that came of wishes: heard before anything from outside.
    pub(crate) echoes: VecDeque<Event>,
    pub(crate) effects: Vec<Effect>,
    pub(crate) hands: Hands,
    pub(crate) template: Template,
    pub(crate) cgroup: Option<Arc<Cgroup>>,
    pub(crate) strays: Strays,
    pub(crate) naps: Naps,
    pub(crate) watch: Watch,
    pub(crate) pages: Arc<Pages>,
    pub(crate) undertaker: Undertaker,
    pub(crate) backstop: Backstop,
    pub(crate) chronicle: Chronicle<'a>,
    pub(crate) publisher: Publisher,
    pub(crate) restarts: BTreeMap<SlotId, u32>,
    /// When the first worker of each slot was wished for, since it was opened.
    pub(crate) wished_ns: BTreeMap<SlotId, u64>,
    pub(crate) began_ns: u64,
    pub(crate) settled_ns: u64,
    pub(crate) is_holding: bool,
    pub(crate) signal: Option<i32>,
    pub(crate) integrity: Option<String>,
    /// Under chaos alone.
    pub(crate) mischief: Option<Mischief>,
    pub(crate) journal_fault: Option<String>,
    pub(crate) tales: Tales,
    /// When the logs were opened anew the last time.
    pub(crate) reopened_ns: u64,
    pub(crate) run_path: PathBuf,
    run_name: String,
    logs_path: String,
}

impl<'a> Driver<'a> {
    fn start(
        plan: Plan,
        files: OpenFiles,
        work: &'a mut dyn Work,
        dir: &RunDir,
        witness: &'a mut dyn Witness,
        (inbox, books): (Inbox, Books),
    ) -> Result<Driver<'a>, RunError> {
        let os = |what| move |source: io::Error| RunError::Os { what, source };
        brigade_os::heap::keep_message_buffers();
        let strays = match plan.host {
            Host::Supervisor => own_this_process(&inbox, dir)?,
            Host::Program => Strays::leave_alone(),
        };
        let (procs, tasks, began_ns) = (plan.policy.procs, work.count(), clock::monotonic_ns());
        let pages = Arc::new(Pages::create(plan.policy.slots_max).map_err(os("make the shared pages"))?);
        let logs = logfile::open_dir(dir.logs()).map_err(os("open the log directory"))?;
        let cgroup = descent::own_cgroup();
        let watch = Watch::new(plan.memory.rss_bytes_max, plan.policy.threads, cgroup.as_ref());
        let groups = (cgroup.clone(), watch.allotments.path());
        let template = Template::new(&plan, work.function(), files, Arc::clone(&pages), logs, groups)
            .map_err(os("write down what workers are told"))?;
        Ok(Driver {
            core: Core::new(plan.policy.clone()),
            work,
            books,
            inbox,
            incoming: VecDeque::new(),
            echoes: VecDeque::new(),
            effects: Vec::new(),
            hands: Hands::new(),
            template,
            strays,
            naps: Naps::new(),
            watch,
            cgroup,
            pages,
            undertaker: Undertaker::start().map_err(os("start the undertaker"))?,
            backstop: Backstop::start().map_err(os("start the backstop"))?,
            chronicle: Chronicle::open(dir, began_ns, plan.host, witness)
                .map_err(os("open events.ndjson"))?,
            publisher: Publisher::new(dir, plan.host),
            restarts: BTreeMap::new(),
            wished_ns: BTreeMap::new(),
            began_ns,
            settled_ns: began_ns,
            is_holding: false,
            signal: None,
            integrity: None,
            mischief: plan.chaos.map(|terms| Mischief::new(terms, procs, tasks)),
            journal_fault: None,
            tales: Tales::default(),
            reopened_ns: 0,
            run_path: dir.path().to_path_buf(),
            run_name: dir.name().to_string(),
            logs_path: dir.logs().display().to_string(),
            plan,
        })
    }

    fn begin(&mut self, recall: Option<Recall>, dir: &RunDir) {
        let told = Told::RunStart {
            run: self.run_name.clone(),
            pid: Pid::current().number(),
            procs: self.plan.policy.procs,
            cores: limits::cores(),
            tasks: self.work.count(),
            settled: recall.as_ref().map_or(0, |recall| recall.settled),
            work: self.work.describe(),
            daemon: self.plan.daemon,
            start_method: self.plan.start_method.name().into(),
            logs: self.logs_path.clone(),
        };
        self.chronicle.tell(told);
        if let Err(error) = dir.become_latest() {
            self.chronicle.warn(format!("{error}; the run goes on, under its own name only"));
        }
        self.tell_template();
        let (now, count, weights) = (self.now(), self.work.count(), self.work.weights());
        self.core.on(Event::Submitted { count, weights }, now, &mut self.effects);
        if let Some(Recall { event, torn_bytes, .. }) = recall {
            self.core.on(event, now, &mut self.effects);
            if torn_bytes > 0 {
                let what = format!("{torn_bytes} bytes at the end of the journal were torn by a death");
                self.chronicle.warn(format!("{what}: cut off, what they were of is done again"));
            }
        }
        self.core.start(now, &mut self.effects);
        self.perform();
    }

    /// One turn: sleep until something happens, tell the core, do what it wishes.
    fn turn(&mut self) {
        let patience =
            self.before_sleep().map(|at| Duration::from_nanos(at.saturating_sub(clock::monotonic_ns())));
        let is_armed = self.core.is_pressed() || self.template.deadline_ns().is_some();
        let patience = self.naps.bound(patience, is_armed);
        if self.incoming.is_empty() {
            self.inbox.wait(patience, &mut self.incoming);
        }
        // Before any news, and before any deadline.
        if let Some(by) = self.naps.woke() {
            self.overslept(by);
        }
        while let Some(news) = self.incoming.pop_front() {
            self.take(news);
            self.perform();
        }
        let now = self.now();
        if self.core.next_deadline().is_some_and(|at| at <= now) {
            self.hear(Event::Tick);
            self.perform();
        }
        self.watch_template();
        self.wreak();
        self.look_for_strays();
        self.look_at_memory();
        self.perform();
    }

    /// Everything that was decided is written down; returns when the loop must wake, if nothing comes.
    fn before_sleep(&mut self) -> Option<u64> {
        // One look at the clock for all: what became due while the others were asked would be told, and not written yet.
        let now_ns = clock::monotonic_ns();
        let publishes = self.publisher.is_due(now_ns);
        if self.books.is_due(now_ns) || publishes || self.chronicle.is_due(now_ns) {
            self.commit();
        }
        let progress_ns = self.chronicle.progress(self.tallied(), now_ns);
        if publishes {
            self.publish();
        }
        self.chronicle.flush();
        let since = |at: Now| u64::try_from(at.0.as_nanos()).unwrap_or(u64::MAX);
        let core_ns = self.core.next_deadline().map(|at| self.began_ns.saturating_add(since(at)));
        let chaos_ns = self.mischief.as_ref().and_then(Mischief::due_ns);
        let (template_ns, strays_ns) = (self.template.deadline_ns(), self.strays_due_ns());
        let own_ns = [self.books.due_ns(), self.publisher.due_ns(), progress_ns, self.memory_due_ns()];
        [core_ns, template_ns, strays_ns, chaos_ns].into_iter().chain(own_ns).flatten().min()
    }

    /// What was settled is written before it is told. A journal that cannot be written ends the run: tasks in hand
    /// finish, none is begun.
    pub(crate) fn commit(&mut self) {
        self.books.commit();
        let Some(error) = self.books.take_news() else { return };
        let error = error.to_string();
        self.chronicle
            .warn(format!("{error}; no task is begun any more, and what is done is kept in memory"));
        self.journal_fault = Some(error);
        self.echoes.push_back(Event::Drain);
        self.perform();
    }

    /// Tells the core one thing; what it wishes is done by [`Driver::perform`].
    pub(crate) fn hear(&mut self, event: Event) {
        let now = self.now();
        self.core.on(event, now, &mut self.effects);
    }

    pub(crate) fn now(&self) -> Now {
        Now(Duration::from_nanos(clock::monotonic_ns() - self.began_ns))
    }

    pub(crate) fn tallied(&self) -> Tallied {
        let tally = self.core.tally();
        Tallied {
            tasks: tally.submitted,
            settled: tally.settled,
            leased: tally.leased,
            backlog: tally.backlog,
            failed: tally.failed,
            quarantined: tally.quarantined,
            retried: tally.retried,
            restarts: tally.restarts,
            alive: u32::try_from(self.hands.here().count()).unwrap_or(u32::MAX),
        }
    }

    fn publish(&mut self) {
        self.watch.allotments.forget();
        let status = self.status();
        if let Err(error) = self.publisher.publish(&status) {
            self.chronicle
                .warn(format!("cannot write status.json: {error}; ps shows an old state, the run goes on"));
        }
    }

    pub(crate) fn status(&self) -> Status {
        let template = self.template.seen();
        let template = template.map(|(pid, incarnation, born_ns)| TemplateStatus {
            pid: pid.number(),
            incarnation,
            born_ns,
        });
        Status {
            v: SCHEMA,
            run: self.run_name.clone(),
            pid: Pid::current().number(),
            state: self.state().into(),
            work: self.work.describe(),
            procs: self.core.procs(),
            daemon: self.plan.daemon,
            start_method: self.plan.start_method.name().into(),
            descendants: self.descendants().into(),
            memory_limits: self.watch.allotments.word().into(),
            logs: self.logs_path.clone(),
            began_ns: self.began_ns,
            written_ns: clock::monotonic_ns(),
            tally: self.tallied(),
            template,
            slots: self.core.slots().filter(is_shown).map(|view| self.slot(view)).collect(),
            dead: self.chronicle.dead.iter().cloned().collect(),
        }
    }

    fn state(&self) -> &'static str {
        match (self.core.is_finished(), self.signal, self.is_holding) {
            (true, _, _) => "finished",
            (false, Some(_), _) => "draining",
            (false, None, true) => "holding",
            (false, None, false) => "running",
        }
    }

    fn slot(&self, view: SlotView) -> Slot {
        let here = self.hands.in_slot(view.slot);
        let page = here.map_or_else(Vec::new, |_| self.pages.running(view.slot));
        let task = |page: &OnPage| Task { task: page.task, attempt: page.attempt, since_ns: page.since_ns };
        let mut tasks = page.iter().map(task);
        Slot {
            slot: view.slot,
            incarnation: view.worker.incarnation,
            pid: here.map(|(body, _)| body.pid().number()),
            life: life_name(view.life).into(),
            stopped: view.stopped,
            born_ns: here.map(|(_, born_ns)| born_ns),
            task: tasks.next(),
            beside: tasks.collect(),
            leased: view.leases as u64,
            settled: view.settled,
            restarts: self.restarts.get(&view.slot).copied().unwrap_or(0),
            sign_ns: here.and_then(|_| self.pages.sign_ns(view.slot)),
        }
    }

    /// The run is over: the template is let go, the last state published, the story closed.
    fn end(mut self) -> Report {
        self.commit();
        self.dismiss_template();
        self.end_descendants();
        self.tell_the_unkillable();
        let verdict = self.core.verdict();
        let done = self.done(&verdict);
        self.chronicle.tell_lost(self.pages.lost_lines());
        if self.journal_fault.is_some() {
            let results = self.books.unwritten();
            self.chronicle
                .warn(format!("{results} results are not in the journal: a resume does their tasks again"));
        }
        self.chronicle.tell(Told::Done(done.clone()));
        self.publish();
        self.chronicle.flush();
        let journal = self.journal_fault;
        Report { done, verdict, signal: self.signal, integrity: self.integrity, journal }
    }

    fn done(&self, verdict: &Verdict) -> Done {
        let tally = self.core.tally();
        let is_whole = *verdict == Verdict::Complete && tally.values == tally.submitted;
        Done {
            total: self.work.total().filter(|_| is_whole),
            tasks: tally.submitted,
            settled: tally.settled,
            lost: tally.submitted - tally.settled - tally.backlog - tally.leased,
            missing: tally.submitted - tally.settled,
            failed: tally.failed,
            quarantined: tally.quarantined,
            retried: tally.retried,
            restarts: tally.restarts,
            abandoned: tally.abandoned,
            exact: is_whole && self.work.is_exact(),
            seconds: Duration::from_nanos(self.settled_ns - self.began_ns).as_secs_f64(),
            survived: self.survived(),
        }
    }
}

/// Nobody needs to see where nobody is any more.
fn is_shown(view: &SlotView) -> bool {
    view.wanted || view.life != Life::Ended
}

fn life_name(life: Life) -> &'static str {
    match life {
        Life::Waiting { .. } => "waiting",
        Life::Starting => "starting",
        Life::Ready => "ready",
        Life::Draining => "draining",
        Life::Dying => "dying",
        Life::Unkillable => "unkillable",
        Life::Ended => "ended",
    }
}

impl StartMethod {
    /// As the command line says it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            StartMethod::Fork => "fork",
            StartMethod::Spawn => "spawn",
        }
    }
}

/// This process is the supervisor and nothing else: nothing that it inherited is passed on, signals are for the run, and
/// orphans come to it.
fn own_this_process(inbox: &Inbox, dir: &RunDir) -> Result<Strays, RunError> {
    let os = |what| move |source: io::Error| RunError::Os { what, source };
    brigade_os::inherit::keep_to_ourselves();
    brigade_link::put_sockets_into(dir.path());
    signals::see_children().map_err(os("see children die"))?;
    let bell = inbox.slot();
    signals::ring(move |rung| drop(bell.send(Incoming::Bell(rung)))).map_err(os("listen for signals"))?;
    signals::hold_back_no_more().map_err(os("unblock signals"))?;
    Ok(Strays::adopt())
}
