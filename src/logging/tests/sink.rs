use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use super::{SOON, lines_of, output, start};
use crate::logging::queue::{QUEUE_BYTES_MAX, QUEUE_RECORDS_MAX, QUEUE_RECORDS_RESERVE};
use crate::logging::{Format, Level, Record, Sink};

#[test]
fn lines_arrive_in_order_and_by_level() {
    let (reader, writer) = std::io::pipe().unwrap();
    let sink = start(writer, Format::Text);
    sink.log(Record::new(Level::Info, "one"));
    sink.log(Record::new(Level::Debug, "hidden"));
    sink.clone().log(output("1.0", "two"));
    sink.log(Record::new(Level::Error, "three"));
    assert!(sink.flush(SOON));
    drop(sink);
    let lines = lines_of(reader).recv_timeout(SOON).unwrap();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[0].ends_with("INFO  web  one"));
    assert!(lines[1].ends_with("[1.0] two"));
    assert!(lines[2].ends_with("ERROR web  three"));
}

#[test]
fn a_level_can_be_changed_for_all_clones() {
    let (reader, writer) = std::io::pipe().unwrap();
    let sink = start(writer, Format::Text);
    let clone = sink.clone();
    sink.set_level(Level::Warn);
    clone.log(Record::new(Level::Info, "hidden"));
    clone.log(output("1.0", "printed"));
    sink.set_level(Level::Debug);
    clone.log(Record::new(Level::Debug, "shown"));
    drop((sink, clone));
    let lines = lines_of(reader).recv_timeout(SOON).unwrap();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].ends_with("printed") && lines[1].ends_with("shown"));
}

#[test]
fn the_writer_ends_with_the_last_handle() {
    let (reader, writer) = std::io::pipe().unwrap();
    let sink = start(writer, Format::Json);
    let clone = sink.clone();
    drop(sink);
    clone.log(Record::new(Level::Info, "last words"));
    drop(clone);
    // Ends only when the writer has closed its descriptor.
    let lines = lines_of(reader).recv_timeout(SOON).unwrap();
    assert!(lines[0].contains("last words"));
}

/// FAILURES 29: slowness of whoever reads must not reach the loop.
#[test]
fn f29_a_stalled_standard_error_never_blocks_and_drops_are_told() {
    let (reader, writer) = std::io::pipe().unwrap();
    let sink = start(writer, Format::Text);
    let flood = 3 * QUEUE_RECORDS_MAX;
    let began = Instant::now();
    for number in 0..flood {
        sink.log(output("1.0", &format!("{number} {}", "x".repeat(64))));
    }
    // Nobody reads: the pipe took 64 KiB, the queue its 4096 lines.
    let dropped = sink.dropped();
    assert!(dropped > (QUEUE_RECORDS_MAX / 2) as u64, "{dropped}");
    assert!(!sink.flush(Duration::from_millis(50)), "flush is bounded");
    assert!(began.elapsed() < SOON);
    // What handover itself has to say still finds room.
    sink.log(Record::new(Level::Error, "the upgrade failed"));
    assert_eq!(sink.dropped(), dropped);

    let lines = lines_of(reader);
    assert!(sink.flush(SOON));
    sink.log(output("1.0", "after"));
    drop(sink);
    let lines = lines.recv_timeout(SOON).unwrap();
    let notice = format!("WARN  web  … {dropped} lines dropped, the log could not keep up");
    let told: Vec<_> = lines
        .iter()
        .filter(|line| line.contains("dropped"))
        .collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].ends_with(&notice), "{told:?}");
    assert_eq!(lines.len() as u64, flood as u64 - dropped + 3);
    // The notice stands where lines are missing.
    assert!(lines[lines.len() - 3].ends_with(&notice));
    assert!(lines[lines.len() - 2].ends_with("ERROR web  the upgrade failed"));
    assert!(lines[lines.len() - 1].ends_with("[1.0] after"));
}

#[test]
fn the_queue_is_bounded_in_bytes_and_for_our_own_lines_too() {
    let (reader, writer) = std::io::pipe().unwrap();
    let sink = start(writer, Format::Text);
    let big = "x".repeat(QUEUE_BYTES_MAX / 8);
    for _ in 0..16 {
        sink.log(output("1.0", &big));
    }
    assert!(sink.dropped() >= 7, "{}", sink.dropped());
    let before = sink.dropped();
    for _ in 0..QUEUE_RECORDS_MAX + 2 * QUEUE_RECORDS_RESERVE {
        sink.log(Record::new(Level::Info, "own"));
    }
    assert!(sink.dropped() > before);
    drop(reader);
    assert!(sink.flush(SOON), "a closed pipe does not hold the writer");
}

#[test]
fn a_closed_standard_error_neither_kills_nor_spins() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let sink = start(writer, Format::Text);
    for _ in 0..10 {
        sink.log(Record::new(Level::Info, "to nobody"));
    }
    assert!(sink.flush(SOON));
    assert_eq!(sink.dropped(), 10);
}

#[test]
fn a_full_disk_is_counted() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let sink = start(full, Format::Json);
    sink.log(Record::new(Level::Info, "ENOSPC"));
    assert!(sink.flush(SOON));
    assert_eq!(sink.dropped(), 1);
}

#[test]
fn a_terminal_that_is_gone_is_counted() {
    let (master, terminal) = terminal();
    drop(master);
    let sink = start(terminal, Format::Text);
    sink.log(Record::new(Level::Info, "EIO"));
    assert!(sink.flush(SOON));
    assert_eq!(sink.dropped(), 1);
}

#[test]
fn lines_that_could_not_be_written_are_told_when_they_can_be_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let full = File::options().write(true).open("/dev/full").unwrap();
    let listening = UnixDatagram::bind(&path).unwrap();
    let sink = Sink::start_on(full.into(), &path, Format::Journald, Level::Info, "web").unwrap();
    drop(listening);
    for _ in 0..3 {
        sink.log(Record::new(Level::Info, "lost"));
    }
    assert!(sink.flush(SOON));
    assert_eq!(sink.dropped(), 3);
    std::fs::remove_file(&path).unwrap();
    let listening = UnixDatagram::bind(&path).unwrap();
    listening.set_read_timeout(Some(SOON)).unwrap();
    sink.log(Record::new(Level::Info, "back"));
    assert!(sink.flush(SOON));
    let mut bytes = [0; 4096];
    let length = listening.recv(&mut bytes).unwrap();
    let told = String::from_utf8_lossy(&bytes[..length]);
    assert!(told.contains("… 3 lines dropped"), "{told}");
    let length = listening.recv(&mut bytes).unwrap();
    assert!(String::from_utf8_lossy(&bytes[..length]).contains("MESSAGE=back\n"));
}

#[test]
fn a_non_blocking_standard_error_loses_nothing() {
    let (reader, writer) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    let sink = start(writer, Format::Text);
    let lines = 3000;
    for number in 0..lines {
        sink.log(output("1.0", &format!("{number} {}", "y".repeat(100))));
    }
    let reading = lines_of(reader);
    assert!(sink.flush(SOON));
    assert_eq!(sink.dropped(), 0);
    drop(sink);
    assert_eq!(reading.recv_timeout(SOON).unwrap().len(), lines);
}

#[test]
fn a_terminal_gets_the_time_of_day_only() {
    let (master, terminal) = terminal();
    let sink = start(terminal, Format::Auto);
    sink.log(Record::new(Level::Info, "hello"));
    assert!(sink.flush(SOON));
    let mut line = String::new();
    BufReader::new(File::from(master))
        .read_line(&mut line)
        .unwrap();
    assert!(line.contains("hello"));
    assert!(!line.contains('Z'), "{line:?}");
}

/// A pseudo-terminal: its master, and the side that programs write to.
fn terminal() -> (OwnedFd, OwnedFd) {
    use rustix::fs::{Mode, OFlags, open};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC);
    let master = master.unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let terminal = open(ptsname(&master, Vec::new()).unwrap(), flags, Mode::empty()).unwrap();
    (master, terminal)
}
