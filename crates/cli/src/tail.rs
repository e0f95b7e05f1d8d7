//! Reading a log that may still grow: from its last lines, and line by line where several are read at once.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Read at once, going backwards.
const BLOCK_BYTES: u64 = 64 * 1024;

/// The longest line that is waited for; a longer one is broken.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// One log that is being read.
#[derive(Debug)]
pub(crate) struct Tail {
    file: BufReader<File>,
    prefix: Option<String>,
    line: Vec<u8>,
}

impl Tail {
    /// Opens a log at its beginning, or at its last lines. With a prefix it is read in whole lines, each behind
    /// the prefix; without one, as it is.
    pub(crate) fn open(path: &Path, last: Option<u64>, prefix: Option<String>) -> io::Result<Tail> {
        let mut file = File::open(path)?;
        let start = last.map_or(Ok(0), |lines| start_of_last(&mut file, lines))?;
        file.seek(SeekFrom::Start(start))?;
        Ok(Tail { file: BufReader::new(file), prefix, line: Vec::new() })
    }

    /// Copies what is there.
    pub(crate) fn pump(&mut self, out: &mut impl Write) -> io::Result<()> {
        if self.prefix.is_none() {
            return io::copy(&mut self.file, out).map(drop);
        }
        while self.read_line()? {
            self.write_line(out)?;
        }
        Ok(())
    }

    /// Copies the last line if nothing ended it: nothing will any more.
    pub(crate) fn finish(&mut self, out: &mut impl Write) -> io::Result<()> {
        if self.line.is_empty() { Ok(()) } else { self.write_line(out) }
    }

    /// Whether there is a whole line now.
    fn read_line(&mut self) -> io::Result<bool> {
        let room = LINE_BYTES_MAX.saturating_sub(self.line.len() as u64);
        self.file.by_ref().take(room).read_until(b'\n', &mut self.line)?;
        Ok(self.line.ends_with(b"\n") || self.line.len() as u64 >= LINE_BYTES_MAX)
    }

    fn write_line(&mut self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(self.prefix.as_deref().unwrap_or_default().as_bytes())?;
        out.write_all(&self.line)?;
        if !self.line.ends_with(b"\n") {
            out.write_all(b"\n")?;
        }
        self.line.clear();
        Ok(())
    }
}

/// Where the last `lines` lines begin; a last line that nothing has ended yet is one of them.
fn start_of_last(file: &mut File, lines: u64) -> io::Result<u64> {
    let end = file.seek(SeekFrom::End(0))?;
    let (mut at, mut ends) = (end, 0);
    let mut block = Vec::new();
    while at > 0 {
        let from = at.saturating_sub(BLOCK_BYTES);
        file.seek(SeekFrom::Start(from))?;
        block.clear();
        Read::by_ref(file).take(at - from).read_to_end(&mut block)?;
        for (offset, byte) in block.iter().enumerate().rev() {
            let after = from + offset as u64 + 1;
            // The very last line end closes the last line and begins none, so it does not count.
            if *byte == b'\n' && after < end {
                ends += 1;
            }
            if ends == lines && (lines > 0 || after == end) {
                return Ok(if lines == 0 { end } else { after });
            }
        }
        at = from;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(name: &str, text: &[u8]) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("brigade-tail-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        path
    }

    fn last(name: &str, text: &[u8], lines: Option<u64>) -> String {
        let path = log(name, text);
        let mut out = Vec::new();
        Tail::open(&path, lines, None).unwrap().pump(&mut out).unwrap();
        std::fs::remove_file(path).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_last_lines_are_found_from_the_end() {
        assert_eq!(last("a", b"1\n2\n3\n", None), "1\n2\n3\n");
        assert_eq!(last("b", b"1\n2\n3\n", Some(2)), "2\n3\n");
        assert_eq!(last("c", b"1\n2\n3", Some(2)), "2\n3");
        assert_eq!(last("d", b"1\n2\n3\n", Some(9)), "1\n2\n3\n");
        assert_eq!(last("e", b"1\n2\n3\n", Some(0)), "");
        assert_eq!(last("f", b"", Some(5)), "");
        assert_eq!(last("g", b"\n\n\n", Some(2)), "\n\n");
    }

    #[test]
    fn lines_longer_than_a_block_are_found_too() {
        let long = "x".repeat(100_000);
        let text = format!("first\n{long}\n{long}\n");
        assert_eq!(last("long", text.as_bytes(), Some(2)), format!("{long}\n{long}\n"));
        assert_eq!(last("long0", text.as_bytes(), Some(0)), "");
    }

    #[test]
    fn with_a_prefix_half_a_line_waits_for_its_other_half() {
        let path = log("half", b"one\ntw");
        let (mut tail, mut out) = (Tail::open(&path, None, Some("7│".into())).unwrap(), Vec::new());
        tail.pump(&mut out).unwrap();
        assert_eq!(String::from_utf8_lossy(&out), "7│one\n");
        File::options().append(true).open(&path).unwrap().write_all(b"o\nthree").unwrap();
        tail.pump(&mut out).unwrap();
        tail.finish(&mut out).unwrap();
        assert_eq!(String::from_utf8_lossy(&out), "7│one\n7│two\n7│three\n");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_line_without_end_is_broken() {
        let path = log("endless", &vec![b'x'; LINE_BYTES_MAX as usize + 5]);
        let (mut tail, mut out) = (Tail::open(&path, None, Some(String::new())).unwrap(), Vec::new());
        tail.pump(&mut out).unwrap();
        tail.finish(&mut out).unwrap();
        assert_eq!(out.len(), LINE_BYTES_MAX as usize + 5 + 2);
        std::fs::remove_file(path).unwrap();
    }
}
