//! Durations, sizes and ratios as people write them; exact and safe against overflow.

use std::time::Duration;

/// The longest duration a key takes: a year. Adding it to any instant is safe.
pub(crate) const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// What is wrong with a number and its unit: a predicate, and what was probably meant.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UnitError {
    pub(crate) message: String,
    pub(crate) fix: Option<String>,
}

/// Reads `1500ms`, `30s`, `5m`, `1h`.
pub(crate) fn duration(text: &str) -> Result<Duration, UnitError> {
    let (digits, unit) = split_digits(text);
    let per_unit_ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(not_a_duration(text, digits, unit)),
    };
    if digits.is_empty() {
        return Err(not_a_duration(text, digits, unit));
    }
    digits
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(per_unit_ms))
        .map(Duration::from_millis)
        .filter(|d| *d <= LONGEST)
        .ok_or_else(|| UnitError {
            message: "is too long".into(),
            fix: Some(write_duration(LONGEST)),
        })
}

/// Reads `1500ms`, `30s`, `5m`, `1h` for a flag that is no key: with the whole message of what is wrong.
///
/// # Errors
/// What is wrong with it, and what to write.
pub fn read_duration(text: &str) -> Result<Duration, String> {
    duration(text).map_err(|UnitError { message, fix }| {
        let write = fix.map_or_else(String::new, |fix| format!("; write {fix}"));
        format!("it {message}{write}")
    })
}

fn not_a_duration(text: &str, digits: &str, unit: &str) -> UnitError {
    if !digits.is_empty() && unit.is_empty() {
        return UnitError {
            message: "needs a unit: ms, s, m or h".into(),
            fix: Some(format!("{digits}s")).filter(|fix| duration(fix).is_ok()),
        };
    }
    UnitError {
        message: format!("must be a duration, not {}", super::raw::shown(text)),
        fix: lenient_duration(text)
            .or_else(|| mistyped_unit(digits, unit))
            .or_else(|| Some("30s".into())),
    }
}

/// `10ss`, `5mn`, `3x`: the number stands, and the unit's first letter says what was meant.
fn mistyped_unit(digits: &str, unit: &str) -> Option<String> {
    if digits.is_empty() || !unit.chars().all(char::is_alphabetic) {
        return None;
    }
    let meant = ["ms", "s", "m", "h"];
    let unit = meant.iter().find(|meant| unit.starts_with(**meant));
    let fix = format!("{digits}{}", unit.unwrap_or(&"s"));
    Some(fix).filter(|fix| duration(fix).is_ok())
}

/// What was meant by `30 sec`, `1m30s`, `1.5h`, `2 days`.
fn lenient_duration(text: &str) -> Option<String> {
    let mut rest = text.trim();
    let mut total_ms = 0f64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let number: f64 = rest.get(..end)?.parse().ok()?;
        let after = rest.get(end..)?.trim_start();
        let end = after
            .find(|c: char| !c.is_alphabetic())
            .unwrap_or(after.len());
        let unit_ms = match after.get(..end)?.to_lowercase().as_str() {
            "ms" | "msec" | "millis" | "millisecond" | "milliseconds" => 1.0,
            "s" | "sec" | "secs" | "second" | "seconds" => 1e3,
            "m" | "min" | "mins" | "minute" | "minutes" => 6e4,
            "h" | "hr" | "hrs" | "hour" | "hours" => 3.6e6,
            "d" | "day" | "days" => 8.64e7,
            _ => return None,
        };
        total_ms += number * unit_ms;
        rest = after.get(end..)?.trim_start();
    }
    let total = Duration::from_millis(total_ms.round() as u64);
    (total <= LONGEST).then(|| write_duration(total))
}

/// The shortest exact form that [`duration`] reads; parts of a millisecond are dropped.
pub(crate) fn write_duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    match ms {
        0 => "0s".into(),
        _ if ms.is_multiple_of(3_600_000) => format!("{}h", ms / 3_600_000),
        _ if ms.is_multiple_of(60_000) => format!("{}m", ms / 60_000),
        _ if ms.is_multiple_of(1000) => format!("{}s", ms / 1000),
        _ => format!("{ms}ms"),
    }
}

const SIZE_UNITS: [(&str, u64); 4] = [
    ("T", 1 << 40),
    ("G", 1 << 30),
    ("M", 1 << 20),
    ("K", 1 << 10),
];

/// Reads `512M` (MiB) and bare bytes.
pub(crate) fn size(text: &str) -> Result<u64, UnitError> {
    let (digits, unit) = split_digits(text);
    let factor = match SIZE_UNITS.iter().find(|(name, _)| *name == unit) {
        Some((_, factor)) => *factor,
        None if unit.is_empty() => 1,
        None => return Err(not_a_size(text)),
    };
    if digits.is_empty() {
        return Err(not_a_size(text));
    }
    digits
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(factor))
        // The top value is the kernel's "unlimited".
        .filter(|n| *n < u64::MAX)
        .ok_or_else(|| UnitError {
            message: "is too large".into(),
            fix: None,
        })
}

fn not_a_size(text: &str) -> UnitError {
    UnitError {
        message: format!(
            "must be a size with K, M, G or T, not {}",
            super::raw::shown(text)
        ),
        fix: lenient_size(text).or_else(|| Some("512M".into())),
    }
}

/// What was meant by `512MB`, `512 MiB`, `1.5g`.
fn lenient_size(text: &str) -> Option<String> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let number: f64 = text.get(..end)?.parse().ok()?;
    let unit = text.get(end..)?.trim_start().to_uppercase();
    let factor = match unit.trim_end_matches('B').trim_end_matches('I') {
        "" => 1.0,
        "K" => 1024.0,
        "M" => 1_048_576.0,
        "G" => 1_073_741_824.0,
        "T" => 1_099_511_627_776.0,
        _ => return None,
    };
    let bytes = number * factor;
    (bytes < 9e18).then(|| write_size(bytes as u64))
}

/// A size as a config has it: bytes in their shortest exact form, `512M` for 536870912.
pub fn write_size(bytes: u64) -> String {
    for (name, factor) in SIZE_UNITS {
        if bytes != 0 && bytes.is_multiple_of(factor) {
            return format!("{}{name}", bytes / factor);
        }
    }
    bytes.to_string()
}

/// Reads `1%` and `0.5%`: 0 to 100.
pub(crate) fn percent(text: &str) -> Result<f64, UnitError> {
    let Some(number) = text.strip_suffix('%') else {
        let fix = text
            .trim()
            .parse::<f64>()
            .ok()
            .filter(|n| (0.0..=100.0).contains(n));
        return Err(UnitError {
            message: "must be a percentage".into(),
            fix: Some(fix.map_or("1%".into(), |n| format!("{n}%"))),
        });
    };
    let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    match number.parse::<f64>() {
        Ok(n) if plain && n <= 100.0 => Ok(n),
        Ok(n) if plain && n.is_finite() => Err(UnitError {
            message: "is more than 100%".into(),
            fix: Some("100%".into()),
        }),
        _ => Err(UnitError {
            message: format!("must be a percentage, not {}", super::raw::shown(text)),
            fix: Some("1%".into()),
        }),
    }
}

/// Reads an octal mode: `0660`, `660`, at most `max`.
pub(crate) fn octal(text: &str, max: u32) -> Result<u32, UnitError> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let wrong = |message: &str| UnitError {
        message: message.into(),
        fix: Some("0660".into()),
    };
    if digits.is_empty() || !digits.bytes().all(|b| (b'0'..=b'7').contains(&b)) {
        return Err(wrong("must be an octal mode"));
    }
    match u32::from_str_radix(digits, 8) {
        Ok(mode) if mode <= max => Ok(mode),
        _ => Err(wrong(&format!("is above {max:04o}, the highest mode"))),
    }
}

fn split_digits(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        for (text, ms) in [
            ("1500ms", 1500),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("0s", 0),
            ("0ms", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)));
        }
        for text in ["1500ms", "30s", "5m", "1h", "0s", "61s", "8760h"] {
            assert_eq!(duration(text).map(write_duration).as_deref(), Ok(text));
        }
    }

    #[test]
    fn durations_that_were_meant() {
        for (text, fix) in [
            ("30", "30s"),
            ("30 s", "30s"),
            ("30sec", "30s"),
            ("1m30s", "90s"),
            ("1 min", "1m"),
            ("1.5s", "1500ms"),
            ("2d", "48h"),
            ("2 Days", "48h"),
            ("10ss", "10s"),
            ("5mss", "5ms"),
            ("5mn", "5m"),
            ("7x", "7s"),
            ("1m30", "30s"),
            ("soon", "30s"),
            ("", "30s"),
            ("-5s", "30s"),
            ("s", "30s"),
            ("8761h", "8760h"),
            ("18446744073709551616s", "8760h"),
            ("18446744073709551615h", "8760h"),
        ] {
            assert_eq!(
                duration(text).expect_err(text).fix.as_deref(),
                Some(fix),
                "{text}"
            );
            assert!(duration(fix).is_ok());
        }
    }

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes) in [
            ("512M", 512 << 20),
            ("1K", 1024),
            ("3G", 3 << 30),
            ("1T", 1 << 40),
            ("0", 0),
            ("1000", 1000),
        ] {
            assert_eq!(size(text), Ok(bytes));
            assert_eq!(write_size(bytes), text);
        }
        for (text, fix) in [
            ("512MB", "512M"),
            ("512 MiB", "512M"),
            ("1.5G", "1536M"),
            ("10k", "10K"),
            ("big", "512M"),
            ("", "512M"),
        ] {
            assert_eq!(
                size(text).expect_err(text).fix.as_deref(),
                Some(fix),
                "{text}"
            );
        }
        assert!(size("99999999999T").is_err());
        assert!(size("18446744073709551615").is_err());
    }

    #[test]
    fn percentages_and_modes() {
        assert_eq!(percent("1%"), Ok(1.0));
        assert_eq!(percent("0.5%"), Ok(0.5));
        assert_eq!(
            percent("5").expect_err("no sign").fix.as_deref(),
            Some("5%")
        );
        for text in ["101%", "%", "-1%", "inf%", "nan%", "1e9%", "x%"] {
            assert!(percent(text).is_err(), "{text}");
        }
        assert_eq!(octal("0660", 0o7777), Ok(0o660));
        assert_eq!(octal("0o27", 0o777), Ok(0o27));
        for text in ["", "0880", "10000", "rw", "-1", "77777777777777"] {
            assert!(octal(text, 0o7777).is_err(), "{text}");
        }
    }
}
