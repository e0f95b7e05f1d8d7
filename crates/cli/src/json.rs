//! stdout of a run for programs: every line of the story as one JSON object.

use crate::answer::{Loss, Stdout, write_all};
use brigade_supervisor::story::Line;
use std::io::{self, Write};

/// Prints events.
#[derive(Debug)]
pub(crate) struct Events<W> {
    to: W,
    open: bool,
    fault: Option<io::Error>,
}

impl<W: Write> Events<W> {
    /// Prints them there.
    pub(crate) fn new(to: W) -> Events<W> {
        Events { to, open: true, fault: None }
    }
}

impl<W: Write> Stdout for Events<W> {
    /// A line that could not be written whole is the last one: half a story is read as a whole one.
    fn tell(&mut self, line: &Line) {
        if !self.open {
            return;
        }
        let written = serde_json::to_string(line)
            .map_err(io::Error::from)
            .and_then(|json| write_all(&mut self.to, (json + "\n").as_bytes()));
        self.open = written.is_ok();
        self.fault = written.err();
    }

    fn fault(&mut self) -> Option<io::Error> {
        self.fault.take()
    }

    fn loss(&self, fault: &io::Error) -> Loss {
        if fault.kind() == io::ErrorKind::BrokenPipe { Loss::Unread } else { Loss::Events }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use brigade_supervisor::story::{Done, SCHEMA, Told};
    use brigade_wire::{Exit, SlotId, TaskId};

    fn line(told: Told) -> Line {
        Line { v: SCHEMA, t: 0.25, told }
    }

    #[test]
    fn every_line_is_one_object_with_version_name_and_time() {
        let mut events = Events::new(Vec::new());
        let (slot, task) = (SlotId(2), Some(TaskId(287)));
        let exit = Exit::Signal(9);
        let death = Told::WorkerExit {
            slot,
            pid: 7,
            incarnation: 1,
            exit,
            planned: false,
            settled: 71,
            task,
            beside: vec![],
        };
        events.tell(&line(death));
        events.tell(&line(Told::Done(Done { total: Some("45".into()), ..Done::default() })));
        let text = String::from_utf8(events.to).unwrap();
        let objects: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((objects.len(), &objects[0]["v"], &objects[0]["t"]), (2, &1.into(), &0.25.into()));
        assert_eq!((&objects[0]["ev"], &objects[0]["exit"]["signal"]), (&"worker_exit".into(), &9.into()));
        assert_eq!((&objects[1]["ev"], &objects[1]["total"]), (&"done".into(), &"45".into()));
    }

    #[test]
    fn after_a_failure_nothing_more_is_written() {
        let mut events = Events::new(std::fs::File::options().write(true).open("/dev/full").unwrap());
        events.tell(&line(Told::Holding { total: None }));
        let fault = events.fault().unwrap();
        assert_eq!(events.loss(&fault), Loss::Events);
        events.tell(&line(Told::Holding { total: None }));
        assert!(events.fault().is_none());
    }
}
