//! Numbers on the command line, each with words for what is no such number.

/// How many workers there shall be: `+1` is refused, as it would be taken for 1.
pub(super) fn workers(text: &str) -> Result<u32, String> {
    match text.as_bytes().first() {
        Some(b'+' | b'-') => Err(
            "N is how many workers there shall be, not how many more or fewer; write the whole number, such as 3; \
             for one more: kill -TTIN PID, for one fewer: kill -TTOU PID (the master's, which `handover status` shows)"
                .to_owned(),
        ),
        _ if text.ends_with('%') => {
            Err("it takes a number of workers, not a share; write it, such as 3".to_owned())
        }
        _ => whole(text, "it takes a number of workers, such as 3"),
    }
}

/// How many workers of a canary.
pub(super) fn canary(text: &str) -> Result<u32, String> {
    match text {
        _ if text.ends_with('%') => {
            Err("it takes a number of workers, not a share; write --canary 1".to_owned())
        }
        _ if text.starts_with(['+', '-']) => {
            Err("it must be 0 (no canary) or more; write --canary 1".to_owned())
        }
        _ => whole(text, "it takes a number of workers; write --canary 1"),
    }
}

/// The number of a generation.
pub(super) fn generation(text: &str) -> Result<u32, String> {
    whole(
        text,
        "it takes the number of a generation, such as 3; `handover history` lists them with their labels",
    )
}

/// The number of an event.
pub(super) fn event(text: &str) -> Result<u64, String> {
    whole(
        text,
        "it takes the number of an event, such as 12, which stands at the front of each line of `handover events`",
    )
}

/// How many lines.
pub(super) fn lines(text: &str) -> Result<u32, String> {
    whole(text, "it takes a number of lines, such as 20")
}

/// `u32` and its like read `+1`, too.
fn whole<N: std::str::FromStr>(text: &str, else_say: &str) -> Result<N, String> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(else_say.to_owned());
    }
    text.parse().map_err(|_| "it is too large".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_digits_are_a_number() {
        assert_eq!((workers("3"), canary("0")), (Ok(3), Ok(0)));
        assert_eq!(
            (generation("7"), event("12"), lines("20")),
            (Ok(7), Ok(12), Ok(20))
        );
        for text in [
            "",
            "+1",
            "-1",
            "10%",
            "v1",
            "1.5",
            " 1",
            "99999999999999999999",
        ] {
            assert!(workers(text).is_err(), "{text}");
            assert!(canary(text).is_err(), "{text}");
            assert!(generation(text).is_err(), "{text}");
            assert!(event(text).is_err(), "{text}");
            assert!(lines(text).is_err(), "{text}");
        }
    }
}
