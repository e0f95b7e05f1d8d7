//! Numbers, times and names as people read them.

use std::time::Duration;

/// The longest stretch of a worker's own words in one line.
const QUOTE_CHARS_MAX: usize = 300;

/// `20_000_000_000`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let head = digits.len() % 3;
    let mut text = digits[..head].to_owned();
    for chunk in digits.as_bytes()[head..].chunks(3) {
        if !text.is_empty() {
            text.push('_');
        }
        text.extend(chunk.iter().map(|digit| char::from(*digit)));
    }
    text
}

/// `1 task`, `2 tasks`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// `0.4 ms`, `2.9 s`, `2 min 5 s`, `3 h 2 min`.
pub(crate) fn span(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match seconds {
        s if s < 0.000_05 => format!("{:.0} us", s.max(0.0) * 1e6),
        s if s < 0.1 => format!("{:.1} ms", s * 1e3),
        s if s < 0.999_5 => format!("{:.0} ms", s * 1e3),
        s if s < 59.95 => format!("{s:.1} s"),
        s if s < 3_599.5 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3_600, whole / 60 % 60),
    }
}

/// [`span`] of a duration.
pub(crate) fn lasting(duration: Duration) -> String {
    span(duration.as_secs_f64())
}

/// `412 KiB`, `1.5 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const KIB: f64 = 1024.0;
    match bytes as f64 / KIB {
        kib if kib < 1024.0 => format!("{kib:.0} KiB"),
        kib if kib < 1024.0 * 1024.0 => format!("{:.1} MiB", kib / KIB),
        kib => format!("{:.1} GiB", kib / KIB / KIB),
    }
}

/// A worker's words in one line that cannot steer the terminal.
pub(crate) fn quoted(words: &str) -> String {
    let mut line = String::new();
    for (at, c) in words.trim().chars().enumerate() {
        match c {
            _ if at == QUOTE_CHARS_MAX => return line + "…",
            '\n' | '\t' | '\r' => line.push(' '),
            c if c.is_control() => line.extend(c.escape_default()),
            c => line.push(c),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let table = [(0, "0"), (999, "999"), (1_000, "1_000"), (20_000_000_000, "20_000_000_000")];
        for (number, text) in table {
            assert_eq!(grouped(number), text);
        }
        assert_eq!(grouped(u64::MAX), "18_446_744_073_709_551_615");
    }

    #[test]
    fn spans_keep_the_digits_that_matter() {
        let table = [
            (0.000_012, "12 us"),
            (0.000_4, "0.4 ms"),
            (0.099, "99.0 ms"),
            (0.25, "250 ms"),
            (0.999_9, "1.0 s"),
            (2.94, "2.9 s"),
            (59.99, "1 min 0 s"),
            (125.0, "2 min 5 s"),
            (10_920.0, "3 h 2 min"),
            (-1.0, "0 us"),
        ];
        for (seconds, text) in table {
            assert_eq!(span(seconds), text);
        }
    }

    #[test]
    fn memory_is_read_in_its_own_unit() {
        assert_eq!(bytes(422_000), "412 KiB");
        assert_eq!(bytes(1_572_864), "1.5 MiB");
        assert_eq!(bytes(3 << 30), "3.0 GiB");
    }

    #[test]
    fn a_workers_words_stay_one_harmless_line() {
        assert_eq!(quoted("no\nsuch \u{1b}[2J file\n"), "no such \\u{1b}[2J file");
        assert_eq!(quoted(&"x".repeat(400)).chars().count(), 301);
    }
}
