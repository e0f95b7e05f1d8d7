//! Sizes of memory, as people write them: `512M`, `1G`, `300MiB`.

/// The letters, each 1024 times the one before.
const UNITS: [char; 4] = ['K', 'M', 'G', 'T'];

/// `512M`, `1.5G`, `300MiB`, or bytes; not nothing. Units are powers of 1024.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let expected = || "expected a size, as 512M, 1.5G or 300MiB".to_owned();
    let split = text.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '_')).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = bytes_of(unit).ok_or_else(expected)?;
    let number: String = number.chars().filter(|c| *c != '_').collect();
    let bytes = crate::parse::decimal(&number, unit).ok_or_else(expected)?;
    match u64::try_from(bytes) {
        Ok(0) => Err("nothing can be done with no memory".into()),
        Ok(bytes) if i64::try_from(bytes).is_ok() => Ok(bytes),
        Ok(_) | Err(_) => Err("more than any machine has".into()),
    }
}

/// `M`, `MiB` and `MB` are one and the same, in either case.
fn bytes_of(unit: &str) -> Option<u64> {
    let upper = unit.to_ascii_uppercase();
    let mut letters = upper.chars();
    let Some(letter) = letters.next() else { return Some(1) };
    if upper == "B" {
        return Some(1);
    }
    let power = UNITS.iter().position(|unit| *unit == letter)? as u32 + 1;
    matches!(letters.as_str(), "" | "B" | "IB").then(|| 1024_u64.pow(power))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for text in ["512M", "512m", "512MiB", "512MB", "0.5G", "524288K", "536_870_912", "536870912B"] {
            assert_eq!(size(text), Ok(512 << 20), "{text}");
        }
        assert_eq!((size("1G"), size("1.5KiB"), size("2T")), (Ok(1 << 30), Ok(1_536), Ok(2 << 40)));
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "M", "0", "0M", "-1M", "1 M", "1MiBs", "1X", ".5G", "1iB", "9000000T", "1e9", "٣M"]
        {
            assert!(size(text).is_err(), "{text:?}");
        }
    }
}
