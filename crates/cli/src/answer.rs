//! stdout of a run for people: the total alone, once it is known.

use brigade_supervisor::story::{Done, Line, Told};
use std::io::{self, Write};

/// Who writes to stdout while a run goes on.
pub(crate) trait Stdout {
    /// Something happened.
    fn tell(&mut self, line: &Line);
    /// Why nothing is written any more; said once.
    fn fault(&mut self) -> Option<io::Error>;
    /// What is missing then, and whether the reader may have wanted it so.
    fn loss(&self, fault: &io::Error) -> Loss;
}

/// What a reader of stdout misses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// The total.
    Answer,
    /// Events that nobody waited for: the reader closed the pipe.
    Unread,
    /// Events.
    Events,
}

/// Prints the total.
#[derive(Debug)]
pub(crate) struct Answer<W> {
    to: W,
    printed: bool,
    fault: Option<io::Error>,
}

impl<W: Write> Answer<W> {
    /// Prints it there.
    pub(crate) fn new(to: W) -> Answer<W> {
        Answer { to, printed: false, fault: None }
    }
}

impl<W: Write> Stdout for Answer<W> {
    fn tell(&mut self, line: &Line) {
        let (Told::Holding { total: Some(total) } | Told::Done(Done { total: Some(total), .. })) = &line.told
        else {
            return;
        };
        if !std::mem::replace(&mut self.printed, true) {
            self.fault = write_all(&mut self.to, format!("{total}\n").as_bytes()).err();
        }
    }

    fn fault(&mut self) -> Option<io::Error> {
        self.fault.take()
    }

    fn loss(&self, _fault: &io::Error) -> Loss {
        Loss::Answer
    }
}

/// In one piece, and out of the buffer: nobody is to wait for what is known.
pub(crate) fn write_all(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes)?;
    to.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(told: Told) -> Line {
        Line { v: 1, t: 0.0, told }
    }

    fn done(total: Option<&str>) -> Line {
        told(Told::Done(Done { total: total.map(String::from), ..Done::default() }))
    }

    #[test]
    fn the_total_is_printed_once_and_alone() {
        let mut answer = Answer::new(Vec::new());
        answer.tell(&told(Told::Draining { leased: 1, backlog: 2 }));
        answer.tell(&told(Told::Holding { total: Some("45".into()) }));
        answer.tell(&done(Some("45")));
        assert_eq!(String::from_utf8(answer.to).unwrap(), "45\n");
    }

    #[test]
    fn without_a_total_nothing_is_printed() {
        let mut answer = Answer::new(Vec::new());
        answer.tell(&done(None));
        assert!(answer.to.is_empty());
    }

    #[test]
    fn a_full_stdout_is_said_once() {
        let mut answer = Answer::new(std::fs::File::options().write(true).open("/dev/full").unwrap());
        answer.tell(&done(Some("45")));
        assert!(answer.fault().is_some_and(|fault| fault.kind() == io::ErrorKind::StorageFull));
        assert!(answer.fault().is_none());
    }
}
