//! Metrics as Prometheus reads them: families as data, written in its text format, version 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
//!
//! What is not known is not said: a family without a sample does not appear, and nothing is zero that nobody counted.

use std::fmt::{self, Write as _};
use std::time::Duration;

/// The content type of an exposition.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// One metric: its name, what it means, and its samples.
#[derive(Clone, Debug)]
pub struct Family {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    samples: Vec<Sample>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

#[derive(Clone, Debug)]
struct Sample {
    /// `_bucket` and its like.
    suffix: &'static str,
    labels: Vec<(&'static str, String)>,
    value: Number,
}

/// A value; counts stay whole however large they are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A count.
    Whole(u64),
    /// A measure.
    Real(f64),
}

impl Family {
    /// A number that goes up and down.
    #[must_use]
    pub fn gauge(name: &'static str, help: &'static str) -> Self {
        Self::new(name, Kind::Gauge, help)
    }

    /// A number that only grows while the master lives; `name` ends in `_total`.
    #[must_use]
    pub fn counter(name: &'static str, help: &'static str) -> Self {
        Self::new(name, Kind::Counter, help)
    }

    /// How often values of each size were seen.
    #[must_use]
    pub fn histogram(name: &'static str, help: &'static str, seen: &Histogram) -> Self {
        let mut family = Self::new(name, Kind::Histogram, help);
        let mut below = 0;
        let bounds = seen.bounds.iter().map(|bound| Number::Real(*bound));
        let bounds = bounds.chain([Number::Real(f64::INFINITY)]);
        for (bound, count) in bounds.zip(&seen.counts) {
            below += count;
            family.add("_bucket", &[("le", &bound.to_string())], below.into());
        }
        family.add("_sum", &[], seen.sum.into());
        family.add("_count", &[], below.into());
        family
    }

    fn new(name: &'static str, kind: Kind, help: &'static str) -> Self {
        Self {
            name,
            kind,
            help,
            samples: Vec::new(),
        }
    }

    /// With this value, without a label.
    #[must_use]
    pub fn value(self, value: impl Into<Number>) -> Self {
        self.sample(&[], value)
    }

    /// With one more sample, told from the others by its labels. A label's value may be any text.
    #[must_use]
    pub fn sample(mut self, labels: &[(&'static str, &str)], value: impl Into<Number>) -> Self {
        self.add("", labels, value.into());
        self
    }

    fn add(&mut self, suffix: &'static str, labels: &[(&'static str, &str)], value: Number) {
        let labels = labels
            .iter()
            .map(|(name, text)| (*name, (*text).to_owned()));
        let labels = labels.collect();
        self.samples.push(Sample {
            suffix,
            labels,
            value,
        });
    }
}

/// All families as one text.
#[must_use]
pub fn exposition(families: &[Family]) -> String {
    let mut text = String::new();
    for family in families.iter().filter(|family| !family.samples.is_empty()) {
        // Writing to a String cannot fail.
        let _ = write!(text, "{family}");
    }
    text
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name;
        let kind = match self.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        writeln!(f, "# HELP {name} {}", escaped(self.help, false))?;
        writeln!(f, "# TYPE {name} {kind}")?;
        for sample in &self.samples {
            write!(f, "{name}{}", sample.suffix)?;
            for (at, (label, value)) in sample.labels.iter().enumerate() {
                let before = if at == 0 { '{' } else { ',' };
                write!(f, "{before}{label}=\"{}\"", escaped(value, true))?;
            }
            let after = if sample.labels.is_empty() { "" } else { "}" };
            writeln!(f, "{after} {}", sample.value)?;
        }
        Ok(())
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(count) => count.fmt(f),
            Self::Real(value) if value.is_infinite() => {
                f.write_str(if *value > 0.0 { "+Inf" } else { "-Inf" })
            }
            Self::Real(value) => value.fmt(f),
        }
    }
}

impl From<u64> for Number {
    fn from(count: u64) -> Self {
        Self::Whole(count)
    }
}

impl From<u32> for Number {
    fn from(count: u32) -> Self {
        Self::Whole(count.into())
    }
}

impl From<usize> for Number {
    fn from(count: usize) -> Self {
        Self::Whole(count as u64)
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

/// Backslash and line feed, in label values the quote too, would end what they stand in.
fn escaped(text: &str, quotes: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '"' if quotes => escaped.push_str("\\\""),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Durations by size, in seconds.
#[derive(Clone, Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One for each bound, and one above all of them.
    counts: Vec<u64>,
    sum: f64,
}

impl Histogram {
    /// With these upper bounds in seconds, the smallest first.
    #[must_use]
    pub fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            counts: vec![0; bounds.len() + 1],
            sum: 0.0,
        }
    }

    /// Something took so long.
    pub fn observe(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        // A bound belongs to its bucket ("le").
        let at = self.bounds.partition_point(|bound| *bound < seconds);
        if let Some(count) = self.counts.get_mut(at) {
            *count += 1;
        }
        self.sum += seconds;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_family_is_written_with_its_help_its_type_and_its_samples() {
        let workers = Family::gauge("handover_workers", "Worker processes by state.")
            .sample(&[("state", "ready")], 2_u32)
            .sample(&[("state", "draining")], 0_u32);
        let restarts = Family::counter("handover_worker_restarts_total", "Starts again.");
        let since = Family::gauge("handover_start_time_seconds", "When.").value(1.5);
        assert_eq!(
            exposition(&[workers, restarts.value(u64::MAX), since]),
            "# HELP handover_workers Worker processes by state.\n\
             # TYPE handover_workers gauge\n\
             handover_workers{state=\"ready\"} 2\n\
             handover_workers{state=\"draining\"} 0\n\
             # HELP handover_worker_restarts_total Starts again.\n\
             # TYPE handover_worker_restarts_total counter\n\
             handover_worker_restarts_total 18446744073709551615\n\
             # HELP handover_start_time_seconds When.\n\
             # TYPE handover_start_time_seconds gauge\n\
             handover_start_time_seconds 1.5\n"
        );
    }

    #[test]
    fn a_family_that_nobody_counted_is_absent_and_not_zero() {
        assert_eq!(exposition(&[Family::gauge("handover_x", "X.")]), "");
    }

    #[test]
    fn a_label_cannot_end_its_line_or_its_quotes() {
        let hostile = Family::gauge("handover_x", "Back\\slash\nand \"line\".")
            .sample(&[("a", "q\"b\\n\nx"), ("b", "")], 1_u32);
        assert_eq!(
            exposition(&[hostile]),
            "# HELP handover_x Back\\\\slash\\nand \"line\".\n# TYPE handover_x gauge\n\
             handover_x{a=\"q\\\"b\\\\n\\nx\",b=\"\"} 1\n"
        );
    }

    #[test]
    fn buckets_are_cumulative_and_a_bound_is_inside_its_own() {
        let mut seen = Histogram::new(&[0.5, 1.0]);
        for millis in [125, 500, 750, 1000, 7000] {
            seen.observe(Duration::from_millis(millis));
        }
        let text = exposition(&[Family::histogram("handover_took_seconds", "Took.", &seen)]);
        let samples: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(
            samples,
            [
                "handover_took_seconds_bucket{le=\"0.5\"} 2",
                "handover_took_seconds_bucket{le=\"1\"} 4",
                "handover_took_seconds_bucket{le=\"+Inf\"} 5",
                "handover_took_seconds_sum 9.375",
                "handover_took_seconds_count 5",
            ]
        );
    }

    proptest! {
        /// However foreign the text, it is one line, and reading it back gives the text.
        #[test]
        fn every_label_can_be_read_back(label in "[\\PC\n\"\\\\]{0,40}") {
            let family = Family::gauge("handover_x", "X.").sample(&[("a", &label)], 1_u32);
            let text = exposition(&[family]);
            prop_assert_eq!(text.lines().count(), 3);
            let line = text.lines().last().unwrap_or_default();
            let inner = line.strip_prefix("handover_x{a=\"").and_then(|l| l.strip_suffix("\"} 1"));
            let mut read = String::new();
            let mut chars = inner.expect("one label").chars();
            while let Some(char) = chars.next() {
                match (char, chars.clone().next()) {
                    ('\\', Some('n')) => { read.push('\n'); chars.next(); }
                    ('\\', Some(other)) => { read.push(other); chars.next(); }
                    (other, _) => read.push(other),
                }
            }
            prop_assert_eq!(read, label);
        }
    }
}
