//! From words to numbers: durations, ranges, counts. Each error says what was expected.

use brigade_core::{Halt, HaltLimit, HaltOn, HaltWhen, Intensity, Timeout};
use std::ops::Range;
use std::time::Duration;

/// The longest duration that is taken for meant.
const DURATION_MAX: Duration = Duration::from_secs(366 * 86_400);

/// Nanoseconds of a unit.
const UNITS: [(&str, u64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// `2ms`, `1.5s`, `2m`, `0`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let expected = || "expected a number and a unit, as 2ms, 1.5s or 2m".to_owned();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    if number == "0" && unit.is_empty() {
        return Ok(Duration::ZERO);
    }
    let (_, nanos) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(expected)?;
    let nanos = decimal(number, *nanos).ok_or_else(expected)?;
    match u64::try_from(nanos).map(Duration::from_nanos) {
        Ok(duration) if duration <= DURATION_MAX => Ok(duration),
        Ok(_) | Err(_) => Err("longer than a year".into()),
    }
}

/// Digits, and perhaps a point and more digits, times `unit`; exact, and rounded down to whole ones.
pub(crate) fn decimal(number: &str, unit: u64) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| (1..=18).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let scale = 10_u128.pow(fraction.len() as u32);
    let unit = u128::from(unit);
    Some(whole.parse::<u128>().ok()? * unit + fraction.parse::<u128>().ok()? * unit / scale)
}

/// A duration that is not nothing.
pub(crate) fn some_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("nothing can be done in no time".into()),
        duration => Ok(duration),
    }
}

/// A duration that is not nothing, or percents of the median length of a task.
pub(crate) fn timeout(text: &str) -> Result<Timeout, String> {
    let Some(percent) = text.strip_suffix('%') else { return some_duration(text).map(Timeout::After) };
    match count(percent)? {
        less @ 0..=100 => Err(format!("{less}% of the median would end every other task: take 300%, say")),
        percent => Ok(Timeout::OfMedian(percent)),
    }
}

/// `now|soon,fail|success|done=N|N%`, as GNU parallel has it.
pub(crate) fn halt(text: &str) -> Result<Halt, String> {
    let expected = || format!("'{text}' is not like soon,fail=1 or now,success=30%");
    let (when, what) = text.split_once(',').ok_or_else(expected)?;
    let (on, limit) = what.split_once('=').ok_or_else(expected)?;
    let when = match when {
        "now" => HaltWhen::Now,
        "soon" => HaltWhen::Soon,
        _ => return Err(expected()),
    };
    let on = match on {
        "fail" => HaltOn::Fail,
        "success" => HaltOn::Success,
        "done" => HaltOn::Done,
        _ => return Err(expected()),
    };
    let limit = match limit.strip_suffix('%').map(count) {
        Some(Ok(percent @ 1..=100)) => HaltLimit::Percent(percent),
        Some(Ok(_) | Err(_)) => return Err(expected()),
        None => HaltLimit::Count(tasks(limit).map_err(|_| expected())?),
    };
    Ok(Halt { when, on, limit })
}

/// A number that 32 bits hold.
pub(crate) fn count(text: &str) -> Result<u32, String> {
    number(text)?.try_into().map_err(|_| format!("{text} is more than {}", u32::MAX))
}

/// A number with `_` between its digits, if you like.
pub(crate) fn number(text: &str) -> Result<u64, String> {
    let plain: String = text.chars().filter(|c| *c != '_').collect();
    if plain.is_empty() || text.starts_with('_') || !plain.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("'{text}' is no whole number from 0 up"));
    }
    plain.parse().map_err(|_| format!("{text} is more than {}", u64::MAX))
}

/// `A..B`, B not included.
pub(crate) fn range(text: &str) -> Result<Range<u64>, String> {
    let (start, end) = text.split_once("..").ok_or("expected A..B, as 0..100_000_000")?;
    if let Some(last) = end.strip_prefix('=') {
        return Err(format!("B is not included: write {start}..B with B one more than {last}"));
    }
    let (start, end) = (number(start)?, number(end)?);
    if start > end {
        Err(format!("{start} is more than {end}: write {end}..{start}"))
    } else {
        Ok(start..end)
    }
}

/// Workers: a number, or `auto` for as many as there are processors for us.
pub(crate) fn procs(text: &str) -> Result<u32, String> {
    if text == "auto" {
        return Ok(std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1)));
    }
    at_least_one(text).map_err(|why| format!("{why}, or auto"))
}

/// A count of at least one.
pub(crate) fn at_least_one(text: &str) -> Result<u32, String> {
    match number(text).map(u32::try_from) {
        Ok(Ok(0)) => Err("expected 1 or more".into()),
        Ok(Ok(n)) => Ok(n),
        Ok(Err(_)) => Err(format!("{text} is more than {}", u32::MAX)),
        Err(why) => Err(format!("{why}: expected 1 or more")),
    }
}

/// Tasks: at least one.
pub(crate) fn tasks(text: &str) -> Result<u64, String> {
    match number(text)? {
        0 => Err("expected 1 or more".into()),
        n => Ok(n),
    }
}

/// `N/DUR`: that many deaths in that time are borne.
pub(crate) fn intensity(text: &str) -> Result<Intensity, String> {
    let (restarts, within) = text.split_once('/').ok_or("expected N/DUR, as 5/10s")?;
    let restarts =
        u32::try_from(number(restarts)?).map_err(|_| format!("{restarts} is more than {}", u32::MAX))?;
    Ok(Intensity { restarts, within: some_duration(within)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_exact() {
        let nanos = |text| duration(text).map(|d| d.as_nanos());
        assert_eq!(nanos("2ms"), Ok(2_000_000));
        assert_eq!(nanos("1.5s"), Ok(1_500_000_000));
        assert_eq!(nanos("0.1s"), Ok(100_000_000));
        assert_eq!(nanos("2m"), Ok(120_000_000_000));
        assert_eq!(nanos("1h"), Ok(3_600_000_000_000));
        assert_eq!(nanos("3us"), Ok(3_000));
        assert_eq!(nanos("3µs"), Ok(3_000));
        assert_eq!((nanos("0"), nanos("0s"), nanos("0.5ns")), (Ok(0), Ok(0), Ok(0)));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "5", "s", "-1s", "1 s", "1x", ".5s", "5.s", "1.2.3s", "1s2", "1e3s", "٣s", "1S"] {
            assert!(duration(text).is_err(), "{text:?}");
        }
        assert_eq!(duration("367d"), duration("x"), "days are no unit");
        assert_eq!(duration("999999999h"), Err("longer than a year".into()));
        assert_eq!(duration("999999999999999999h"), Err("longer than a year".into()));
        assert!(duration("9999999999999999999h").is_err());
        assert!(some_duration("0s").is_err() && some_duration("0.1ns").is_err());
    }

    #[test]
    fn ranges_are_read_with_and_without_underscores() {
        assert_eq!(range("0..100_000_000"), Ok(0..100_000_000));
        assert_eq!(range("7..7"), Ok(7..7));
        assert_eq!(range("0..18446744073709551615"), Ok(0..u64::MAX));
    }

    #[test]
    fn what_is_no_range_is_refused_in_a_sentence() {
        let why = |text| range(text).unwrap_err();
        assert_eq!(why("5..1"), "5 is more than 1: write 1..5");
        assert_eq!(why("0..18446744073709551616"), "18446744073709551616 is more than 18446744073709551615");
        assert_eq!(why("0..=9"), "B is not included: write 0..B with B one more than 9");
        assert_eq!(why("-1..5"), "'-1' is no whole number from 0 up");
        assert_eq!(why("5"), "expected A..B, as 0..100_000_000");
        assert_eq!(why("..5"), "'' is no whole number from 0 up");
        for text in ["", "..", "1..", "a..b", "1...5", "1..2..3", "_1..2", "__..3", "+1..2"] {
            assert!(range(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn counts_know_their_bounds() {
        assert!(procs("auto").is_ok_and(|n| n > 0));
        assert_eq!(procs("4"), Ok(4));
        assert_eq!(procs("0"), Err("expected 1 or more, or auto".into()));
        for text in ["", "-1", "4.5", "many", "4294967296", "99999999999999999999"] {
            assert!(procs(text).is_err(), "{text:?}");
        }
        assert_eq!((tasks("20_000"), tasks("0").is_err()), (Ok(20_000), true));
    }

    #[test]
    fn intensity_is_a_count_and_a_time() {
        assert_eq!(intensity("5/10s"), Ok(Intensity { restarts: 5, within: Duration::from_secs(10) }));
        assert_eq!(intensity("0/1m"), Ok(Intensity { restarts: 0, within: Duration::from_secs(60) }));
        for text in ["", "5", "5/", "/10s", "5/0s", "-1/10s", "5/10", "5/10s/2"] {
            assert!(intensity(text).is_err(), "{text:?}");
        }
    }
}
