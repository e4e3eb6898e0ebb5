//! Times as text.
//!
//! On a terminal the time of day is the reader's: local. Whatever is kept (files,
//! pipes, JSON) has a date and is UTC, so that lines of several machines, and of
//! the night in which the clocks change, can be put in order.
//!
//! The local zone is `TZ` or `/etc/localtime`, read once at start. jiff only
//! calculates here; its own search for the zone would read all of
//! /usr/share/zoneinfo to learn one offset.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

const ZONE_FILES: &str = "/usr/share/zoneinfo";

/// The largest zone file of tzdata has less than 4 KiB.
const ZONE_BYTES_MAX: u64 = 64 * 1024;

/// RFC 3339 in UTC with milliseconds: `2026-11-22T11:01:07.123Z`.
pub(super) fn utc(at: SystemTime) -> String {
    let time = in_zone(at, &TimeZone::UTC);
    format!("{}T{}Z", time.date(), day_time(time))
}

/// The time of day with milliseconds: `12:01:07.123`.
pub(super) fn time_of_day(at: SystemTime, zone: &TimeZone) -> String {
    day_time(in_zone(at, zone))
}

/// The zone of this machine; UTC when nothing says otherwise.
///
/// `tz` is the variable `TZ` as tzset(3) reads it: unset, empty (UTC), `:FILE`,
/// a name below /usr/share/zoneinfo, or a POSIX rule.
pub(super) fn local_zone(tz: Option<&OsStr>) -> TimeZone {
    let zone = match tz.map(|tz| tz.to_string_lossy()) {
        None => zone_file(Path::new("/etc/localtime")),
        Some(tz) => {
            let name = tz.trim_start_matches(':');
            // An absolute name stays what it is.
            zone_file(&Path::new(ZONE_FILES).join(name)).or_else(|| TimeZone::posix(name).ok())
        }
    };
    zone.unwrap_or(TimeZone::UTC)
}

fn zone_file(path: &Path) -> Option<TimeZone> {
    let mut bytes = Vec::new();
    File::open(path)
        .ok()?
        .take(ZONE_BYTES_MAX)
        .read_to_end(&mut bytes)
        .ok()?;
    TimeZone::tzif("local", &bytes).ok()
}

fn in_zone(at: SystemTime, zone: &TimeZone) -> DateTime {
    let milliseconds = match at.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        // A clock before 1970 is not set; 1970 says as much.
        Err(_) => 0,
    };
    let at = Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::MAX);
    let offset: Offset = zone.to_offset(at);
    offset.to_datetime(at)
}

fn day_time(time: DateTime) -> String {
    format!(
        "{:02}:{:02}:{:02}.{:03}",
        time.hour(),
        time.minute(),
        time.second(),
        time.millisecond()
    )
}
