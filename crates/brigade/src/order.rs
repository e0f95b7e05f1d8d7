//! A call on its way: who hands it in, who takes it, and who wants to know what becomes of it.

use crate::afterwards::Afterwards;
use crate::call::{Call, Value};
use crate::carry::Keep;
use crate::error::{Origin, TaskError};
use crate::job::{Job, State};
use crate::trace::Span;
use brigade_wire::Attempt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// What became of the items of a call.
#[derive(Clone, Debug)]
pub(crate) enum Word {
    /// Their results, as a worker encoded them; what keeps open what these carry; and whose they are.
    Value(Vec<u8>, #[expect(dead_code, reason = "that it is there keeps it open")] Keep, By),
    /// None has a result, for this reason.
    Lost(TaskError),
}

/// The attempt at a call that was the last so far, and the process that was lent it: 0 before there was any.
#[derive(Clone, Copy, Debug)]
pub(crate) struct By {
    pub(crate) attempt: Attempt,
    pub(crate) pid: u32,
}

impl By {
    /// As errors tell it; `logs` is where the logs of its workers are, if they have any.
    pub(crate) fn origin(self, logs: Option<&Path>) -> Box<Origin> {
        let By { attempt, pid } = self;
        Box::new(Origin { attempt, pid, log: logs.map(|logs| logs.join(format!("{pid}.log"))) })
    }
}

/// Who wants to know.
pub(crate) trait Sink: Send + Sync {
    /// These items have their final word. Returns what is to be called for that, elsewhere.
    fn settle(&self, items: Range<u64>, word: Word) -> Afterwards;
    /// The call is lent to this process.
    fn lent(&self, _pid: u32) {}
}

/// Whose calls these are: a job has one, and a map some at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ticket(pub(crate) u64);

/// A call that was handed in.
pub(crate) struct Order {
    pub(crate) ticket: Ticket,
    pub(crate) call: Call,
    /// Which of the sink's items these are.
    pub(crate) items: Range<u64>,
    pub(crate) sink: Arc<dyn Sink>,
    /// Who was lent it last.
    pub(crate) by: By,
    pub(crate) span: Span,
}

impl Order {
    pub(crate) fn new(ticket: Ticket, call: Call, items: Range<u64>, sink: Arc<dyn Sink>) -> Order {
        let span = Span::call(ticket.0, call.items());
        Order { ticket, call, items, sink, by: By { attempt: Attempt::FIRST, pid: 0 }, span }
    }

    pub(crate) fn lent(&mut self, task: u64, by: By) {
        self.by = by;
        self.span.lent(task, by);
        self.sink.lent(by.pid);
    }
}

/// Who takes calls.
pub(crate) trait Intake: Send + Sync {
    /// For calls of one owner, who may cancel them.
    fn ticket(&self) -> Ticket;
    /// Takes one, and tells the sink what becomes of its items.
    fn submit(
        &self,
        ticket: Ticket,
        call: Call,
        items: Range<u64>,
        sink: Arc<dyn Sink>,
    ) -> Result<(), TaskError>;
    /// Nobody wants the calls of this ticket any more; `begun`: not even those that run, where these can be ended.
    fn cancel(&self, ticket: Ticket, begun: bool);
    /// How many calls are worked on at a time.
    fn hands(&self) -> u32;
    /// Where the logs are of whoever works on them, if these have any.
    fn logs(&self) -> Option<Arc<Path>>;
}

/// Hands a call of one item in; whatever goes wrong is in the job.
pub(crate) fn hand_in<A: Value, R: Value>(
    intake: Arc<dyn Intake>,
    opening: Result<Call, TaskError>,
    argument: &A,
) -> Job<R> {
    let (state, ticket) = (Arc::new(State::default()), intake.ticket());
    let handed = opening.and_then(|mut call| {
        call.push(argument)?;
        intake.submit(ticket, call, 0..1, Arc::clone(&state) as Arc<dyn Sink>)
    });
    if let Err(error) = handed {
        state.settle(0..1, Word::Lost(error));
    }
    Job::new(state, intake, ticket)
}
