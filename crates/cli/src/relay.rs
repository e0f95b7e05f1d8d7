//! Between the run and its readers: a queue and a thread, so that a terminal that was stopped with Ctrl-S, or a pipe that
//! nobody reads, holds up nothing but itself.

use crate::run::Voices;
use brigade_supervisor::run::{Report, Witness};
use brigade_supervisor::status::Status;
use brigade_supervisor::story::{Line, Tallied, Told};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};

/// Lines that may wait for a slow reader. All of them are in `events.ndjson`, too.
const LINES_MAX: usize = 8_192;

/// What is to be said.
enum News {
    Line(Line),
    Progress(Tallied),
    Show(Box<Status>),
    /// The run is over, and so many lines found no room. Without a report it never began.
    Close(Option<Report>, u64),
}

/// A witness that never waits.
pub(crate) struct Relay {
    queue: SyncSender<News>,
    thread: JoinHandle<u8>,
    lost: u64,
    /// What must not be lost, because an answer is in it.
    owed: Vec<Line>,
}

impl Relay {
    /// Starts the thread.
    pub(crate) fn new(mut voices: Voices) -> std::io::Result<Relay> {
        let (queue, news) = sync_channel(LINES_MAX);
        let say = move || {
            for item in news {
                match item {
                    News::Line(line) => voices.tell(&line),
                    News::Progress(tally) => voices.progress(&tally),
                    News::Show(status) => voices.show(&status),
                    News::Close(report, lost) => return voices.close(report.as_ref(), lost),
                }
            }
            0
        };
        let thread = thread::Builder::new().name("voices".into()).spawn(say)?;
        Ok(Relay { queue, thread, lost: 0, owed: Vec::new() })
    }

    /// Waits until all is said, and returns the exit code. From here on a signal ends this process at once, so that
    /// nobody is kept by a reader that does not read.
    pub(crate) fn close(self, report: Option<Report>) -> u8 {
        brigade_os::signals::let_go();
        let Relay { queue, thread, lost, owed } = self;
        for line in owed {
            let _ = queue.send(News::Line(line));
        }
        let _ = queue.send(News::Close(report, lost));
        thread.join().unwrap_or(crate::exit::INTERNAL)
    }

    fn offer(&mut self, line: Line) {
        match self.queue.try_send(News::Line(line)) {
            Ok(()) => {}
            Err(TrySendError::Full(News::Line(line))) if carries_an_answer(&line.told) => {
                self.owed.push(line)
            }
            Err(_) => self.lost += 1,
        }
    }
}

impl Witness for Relay {
    fn tell(&mut self, line: &Line) {
        for owed in std::mem::take(&mut self.owed) {
            self.offer(owed);
        }
        self.offer(line.clone());
    }

    fn progress(&mut self, tally: &Tallied) {
        // The next one says more.
        let _ = self.queue.try_send(News::Progress(*tally));
    }

    fn show(&mut self, status: &Status) {
        // Nobody reads: whoever asked may ask again.
        let _ = self.queue.try_send(News::Show(Box::new(status.clone())));
    }
}

fn carries_an_answer(told: &Told) -> bool {
    matches!(told, Told::Holding { .. } | Told::GaveUp { .. } | Told::Done(_))
}
