//! Durations on the command line.

use std::time::Duration;

/// A year: longer is a mistake.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// Reads `1500ms`, `30s`, `5m`, `1h`, as the config does.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.len()
        - text
            .trim_start_matches(|char: char| char.is_ascii_digit())
            .len();
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "" if digits > 0 => return Err(format!("it needs a unit: {text}s, {text}ms, {text}m")),
        _ => return Err("it is no duration like 1500ms, 30s, 5m or 1h".to_owned()),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit_ms))
        .map(Duration::from_millis)
        .filter(|duration| *duration <= LONGEST)
        .ok_or_else(|| "it is no duration like 1500ms, 30s, 5m or 1h, up to a year".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("1500ms"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        assert_eq!(
            duration("30"),
            Err("it needs a unit: 30s, 30ms, 30m".to_owned())
        );
        for text in [
            "",
            "s",
            "-1s",
            "1.5s",
            "1 s",
            "9999999999h",
            "99999999999999999999s",
            "1é",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
