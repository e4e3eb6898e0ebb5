//! Durations on the command line: the config's, in its words.

use std::time::Duration;

/// Reads `1500ms`, `30s`, `5m`, `1h`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    crate::config::read_duration(text)
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
        for (text, said) in [
            ("30", "it needs a unit: ms, s, m or h; write 30s"),
            ("10ss", "it must be a duration, not \"10ss\"; write 10s"),
            ("9999999999h", "it is too long; write 8760h"),
        ] {
            assert_eq!(duration(text), Err(said.to_owned()));
        }
        for text in ["", "s", "-1s", "1.5s", "1 s", "99999999999999999999s", "1é"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
