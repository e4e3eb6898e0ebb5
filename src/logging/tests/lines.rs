use std::ffi::OsStr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use jiff::tz::TimeZone;

use super::output;
use crate::logging::text::{Look, json, text};
use crate::logging::{Level, Record, Stamped, clock};

fn at(milliseconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds)
}

/// 2026-11-22 11:01:07.123 UTC.
const NOON: u64 = 1_795_345_267_123;

fn plain(record: Record) -> String {
    let at = at(NOON);
    text(&Stamped { at, record }, "web", &Look::Plain)
}

fn terminal(record: Record, colour: bool) -> String {
    let look = Look::Terminal {
        zone: TimeZone::posix("CET-1").unwrap(),
        colour,
    };
    let at = at(NOON);
    text(&Stamped { at, record }, "web", &look)
}

#[test]
fn a_terminal_shows_its_readers_time_of_day() {
    let shown = |level| terminal(Record::new(level, "generation 1 active"), false);
    assert_eq!(
        shown(Level::Info),
        "12:01:07.123  INFO  web  generation 1 active\n"
    );
    assert_eq!(
        shown(Level::Warn),
        "12:01:07.123  WARN  web  generation 1 active\n"
    );
    assert_eq!(
        shown(Level::Error),
        "12:01:07.123  ERROR web  generation 1 active\n"
    );
    assert_eq!(
        shown(Level::Debug),
        "12:01:07.123  DEBUG web  generation 1 active\n"
    );
    assert_eq!(
        terminal(output("3.0", "hi"), false),
        "12:01:07.123  [3.0] hi\n"
    );
}

#[test]
fn what_is_kept_has_a_date_and_is_utc() {
    assert_eq!(
        plain(Record::new(Level::Info, "up")),
        "2026-11-22T11:01:07.123Z  INFO  web  up\n"
    );
}

#[test]
fn colour_wraps_words_and_never_the_message() {
    let line = terminal(Record::new(Level::Error, "broken"), true);
    assert!(
        line.contains("\u{1b}[1m\u{1b}[31mERROR\u{1b}[0m web  broken\n"),
        "{line:?}"
    );
    assert!(!terminal(output("3.0", "x"), false).contains('\u{1b}'));
}

#[test]
fn further_lines_are_indented_to_where_the_first_began() {
    assert_eq!(
        terminal(Record::new(Level::Info, "failed:\n  why\n"), false),
        "12:01:07.123  INFO  web  failed:\n                           why\n"
    );
}

#[test]
fn only_a_workers_own_output_may_colour_the_terminal() {
    let own = terminal(Record::new(Level::Info, "status \u{1b}[2J\u{7}"), false);
    assert!(own.contains("status \\u{1b}[2J\\u{7}"), "{own:?}");
    let workers = terminal(output("3.0", "\u{1b}[32mok\u{1b}[0m\r"), false);
    assert!(
        workers.ends_with("[3.0] \u{1b}[32mok\u{1b}[0m\n"),
        "{workers:?}"
    );
}

#[test]
fn json_is_one_object_a_line_with_stable_fields() {
    let at = at(NOON);
    let mut record = output("3.0", "two\nlines \"quoted\"");
    assert_eq!(
        json(
            &Stamped {
                at,
                record: record.clone()
            },
            "web"
        ),
        concat!(
            r#"{"time":"2026-11-22T11:01:07.123Z","level":"info","name":"web","#,
            r#""generation":3,"worker":"3.0","stream":"stdout","#,
            r#""message":"two\nlines \"quoted\""}"#,
            "\n"
        )
    );
    record = Record::new(Level::Warn, "x");
    record.event = Some("worker_exited".to_owned());
    assert_eq!(
        json(&Stamped { at, record }, "web"),
        concat!(
            r#"{"time":"2026-11-22T11:01:07.123Z","level":"warn","name":"web","#,
            r#""event":"worker_exited","message":"x"}"#,
            "\n"
        )
    );
}

#[test]
fn the_zone_is_found_as_tzset_does() {
    let offset = |tz: &str| {
        let zone = clock::local_zone(Some(OsStr::new(tz)));
        clock::time_of_day(at(NOON), &zone)
    };
    assert_eq!(offset(""), "11:01:07.123");
    assert_eq!(offset("UTC0"), "11:01:07.123");
    assert_eq!(offset("CET-1CEST,M3.5.0,M10.5.0/3"), "12:01:07.123");
    assert_eq!(offset("no/such/zone"), "11:01:07.123");
    if Path::new("/usr/share/zoneinfo/America/New_York").exists() {
        for tz in [
            "America/New_York",
            ":America/New_York",
            ":/usr/share/zoneinfo/America/New_York",
        ] {
            assert_eq!(offset(tz), "06:01:07.123", "{tz}");
        }
    }
    clock::local_zone(None);
}

#[test]
fn a_clock_that_is_not_set_is_no_panic() {
    let before = SystemTime::UNIX_EPOCH - Duration::from_secs(9);
    assert_eq!(clock::utc(before), "1970-01-01T00:00:00.000Z");
    assert!(clock::utc(at(u64::from(u32::MAX) * 100_000_000)).starts_with("9999-"));
}
