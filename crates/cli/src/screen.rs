//! stderr as a person sees it: right-aligned verbs, and one line at the bottom that is rewritten in place.

use crate::args::When;
use std::io::{IsTerminal, Stderr, Write};

/// The column that verbs end in.
const VERB_CHARS: usize = 12;

/// Columns of a terminal that does not say how wide it is.
const WIDTH_DEFAULT: usize = 80;

/// How a verb is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hue {
    /// As it should be.
    Good,
    /// Needs attention.
    Warn,
    /// Somebody died, or something is lost.
    Bad,
}

/// Where lines go. A stderr that cannot be written is no reason to stop: what is said there is lost.
#[derive(Debug)]
pub(crate) struct Screen<W> {
    out: W,
    coloured: bool,
    rewrites: bool,
    width: fn() -> usize,
    drawn: bool,
}

impl Screen<Stderr> {
    /// stderr, as it is.
    pub(crate) fn stderr(color: When) -> Screen<Stderr> {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_terminal =
            std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|t| t != "dumb");
        let coloured = match color {
            When::Always => true,
            When::Never => false,
            When::Auto => is_terminal && !set("NO_COLOR"),
        };
        Screen { out: std::io::stderr(), coloured, rewrites: is_terminal, width: stderr_width, drawn: false }
    }
}

impl<W: Write> Screen<W> {
    /// One line.
    pub(crate) fn line(&mut self, hue: Hue, verb: &str, text: &str) {
        let line = format!("{}{} {text}\n", self.erase(), self.verb(hue, verb));
        self.put(&line);
    }

    /// A line that belongs to the one before.
    pub(crate) fn more(&mut self, text: &str) {
        let line = format!("{}{:VERB_CHARS$} {text}\n", self.erase(), "");
        self.put(&line);
    }

    /// Draws the line at the bottom anew, on a terminal only.
    pub(crate) fn draw(&mut self, verb: &str, text: &str) {
        if !self.rewrites {
            return;
        }
        // The last column stays free: some terminals wrap as soon as it is written.
        let room = (self.width)().saturating_sub(VERB_CHARS + 2);
        let text: String = text.chars().take(room).collect();
        let line = format!("{}{} {text}", self.erase(), self.verb(Hue::Good, verb));
        self.put(&line);
        self.drawn = true;
    }

    /// Takes the line at the bottom away, so that stdout may use the same terminal.
    pub(crate) fn clear(&mut self) {
        let line = self.erase();
        self.put(line);
    }

    fn erase(&mut self) -> &'static str {
        if std::mem::take(&mut self.drawn) { "\r\x1b[K" } else { "" }
    }

    fn verb(&self, hue: Hue, verb: &str) -> String {
        let code = match hue {
            _ if !self.coloured => return format!("{verb:>VERB_CHARS$}"),
            Hue::Good => "\x1b[1;32m",
            Hue::Warn => "\x1b[1;33m",
            Hue::Bad => "\x1b[1;31m",
        };
        format!("{code}{verb:>VERB_CHARS$}\x1b[0m")
    }

    /// In one write, so that lines of several processes on one terminal stay whole.
    fn put(&mut self, line: &str) {
        if !line.is_empty() {
            drop(self.out.write_all(line.as_bytes()).and_then(|()| self.out.flush()));
        }
    }
}

fn stderr_width() -> usize {
    let width = terminal_size::terminal_size_of(std::io::stderr()).map(|(width, _)| usize::from(width.0));
    width.filter(|width| *width > 0).unwrap_or(WIDTH_DEFAULT)
}

#[cfg(test)]
impl Screen<Vec<u8>> {
    /// A screen to look at.
    pub(crate) fn of_bytes(coloured: bool, rewrites: bool) -> Screen<Vec<u8>> {
        Screen { out: Vec::new(), coloured, rewrites, width: || 40, drawn: false }
    }

    /// All that was written.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.out.clone()).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bottom_line_is_taken_away_before_another_is_written() {
        let mut screen = Screen::of_bytes(false, true);
        screen.draw("Running", "3 of 9 tasks");
        screen.draw("Running", "a text that is too long for forty columns");
        screen.line(Hue::Bad, "KILLED", "worker 1");
        screen.more("more");
        screen.draw("Running", "4");
        screen.clear();
        screen.clear();
        let expected = "     Running 3 of 9 tasks\
            \r\x1b[K     Running a text that is too long fo\
            \r\x1b[K      KILLED worker 1\n             more\n     Running 4\r\x1b[K";
        assert_eq!(screen.text(), expected);
    }

    #[test]
    fn without_a_terminal_there_is_no_bottom_line() {
        let mut screen = Screen::of_bytes(false, false);
        screen.draw("Running", "3 of 9 tasks");
        assert_eq!(screen.text(), "");
    }

    #[test]
    fn colour_surrounds_the_verb_only() {
        let mut screen = Screen::of_bytes(true, false);
        screen.line(Hue::Good, "Done", "all");
        assert_eq!(screen.text(), "\x1b[1;32m        Done\x1b[0m all\n");
    }
}
