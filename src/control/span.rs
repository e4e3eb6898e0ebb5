//! Spans of time and counts, as people say them.

use std::fmt;

/// A span of milliseconds: `112 ms`, `1.2 s`, `20 s`, `5 min`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0;
        let seconds = ms / 1000;
        // `count` of a unit, and the rest in the next smaller one.
        let mut two = |count: u64, unit: &str, rest: u64, smaller: &str| match rest {
            0 => write!(f, "{count} {unit}"),
            _ => write!(f, "{count} {unit} {rest} {smaller}"),
        };
        match ms {
            0..1000 => write!(f, "{ms} ms"),
            1000..10_000 => match ms % 1000 / 100 {
                0 => write!(f, "{seconds} s"),
                tenth => write!(f, "{seconds}.{tenth} s"),
            },
            10_000..120_000 => write!(f, "{seconds} s"),
            120_000..7_200_000 => two(seconds / 60, "min", seconds % 60, "s"),
            7_200_000..172_800_000 => two(seconds / 3600, "h", seconds / 60 % 60, "min"),
            _ => two(seconds / 86_400, "d", seconds / 3600 % 24, "h"),
        }
    }
}

/// A number and its noun, in the singular: `1 worker`, `2 workers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count<N>(pub N, pub &'static str);

impl<N: Copy + Into<u64>> fmt::Display for Count<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number: u64 = self.0.into();
        let plural = if number == 1 { "" } else { "s" };
        write!(f, "{number} {}{plural}", self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_said_as_people_do() {
        for (ms, said) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1000, "1 s"),
            (1250, "1.2 s"),
            (10_900, "10 s"),
            (119_999, "119 s"),
            (120_000, "2 min"),
            (185_000, "3 min 5 s"),
            (7_200_000, "2 h"),
            (11_520_000, "3 h 12 min"),
            (200_000_000, "2 d 7 h"),
        ] {
            assert_eq!(Span(ms).to_string(), said);
        }
    }

    #[test]
    fn one_has_no_plural() {
        assert_eq!(Count(0_u32, "line").to_string(), "0 lines");
        assert_eq!(Count(1_u64, "line").to_string(), "1 line");
    }
}
