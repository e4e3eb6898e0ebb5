use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use jiff::tz::TimeZone;

use super::queue::{QUEUE_BYTES_MAX, QUEUE_RECORDS_MAX, QUEUE_RECORDS_RESERVE};
use super::text::{Look, json, text};
use super::{Format, Level, Record, Sink, Stamped, clock, journal};

const SOON: Duration = Duration::from_secs(20);
const NO_JOURNAL: &str = "/nonexistent/journal";

fn at(milliseconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds)
}

/// 2026-11-22 11:01:07.123 UTC.
const NOON: u64 = 1_795_345_267_123;

fn output(worker: &str, message: &str) -> Record {
    Record {
        generation: Some(3),
        worker: Some(worker.to_owned()),
        stream: Some("stdout"),
        ..Record::new(Level::Info, message)
    }
}

fn start(stderr: impl Into<OwnedFd>, format: Format) -> Sink {
    Sink::start_on(
        stderr.into(),
        Path::new(NO_JOURNAL),
        format,
        Level::Info,
        "web",
    )
    .unwrap()
}

mod lines {
    use super::*;

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
        record.event = Some("worker_exited");
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
}

mod sink {
    use super::*;

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
        let lines: Vec<_> = BufReader::new(reader).lines().map(Result::unwrap).collect();
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[0].ends_with("INFO  web  one"));
        assert!(lines[1].ends_with("[1.0] two"));
        assert!(lines[2].ends_with("ERROR web  three"));
    }

    #[test]
    fn the_writer_ends_with_the_last_handle() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let sink = start(writer, Format::Json);
        let clone = sink.clone();
        drop(sink);
        clone.log(Record::new(Level::Info, "last words"));
        drop(clone);
        let mut all = String::new();
        // Ends only when the writer has closed its descriptor.
        reader.read_to_string(&mut all).unwrap();
        assert!(all.contains("last words"));
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

        let lines = std::thread::spawn(move || {
            BufReader::new(reader)
                .lines()
                .map(Result::unwrap)
                .collect::<Vec<_>>()
        });
        assert!(sink.flush(SOON));
        sink.log(output("1.0", "after"));
        drop(sink);
        let lines = lines.join().unwrap();
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
        let sink =
            Sink::start_on(full.into(), &path, Format::Journald, Level::Info, "web").unwrap();
        drop(listening);
        for _ in 0..3 {
            sink.log(Record::new(Level::Info, "lost"));
        }
        assert!(sink.flush(SOON));
        assert_eq!(sink.dropped(), 3);
        std::fs::remove_file(&path).unwrap();
        let listening = UnixDatagram::bind(&path).unwrap();
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
        let reading = std::thread::spawn(move || BufReader::new(reader).lines().count());
        assert!(sink.flush(SOON));
        assert_eq!(sink.dropped(), 0);
        drop(sink);
        assert_eq!(reading.join().unwrap(), lines);
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
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let master = open("/dev/ptmx", flags, Mode::empty()).unwrap();
        // What grantpt and unlockpt would do; `rustix::pty` is not built in.
        let number = std::process::Command::new("python3")
            .args([
                "-c",
                "import fcntl,struct,termios\n\
                 fcntl.ioctl(0, 0x40045431, struct.pack('i', 0))\n\
                 print(struct.unpack('I', fcntl.ioctl(0, 0x80045430, b'0000'))[0])",
            ])
            .stdin(master.try_clone().unwrap())
            .output()
            .unwrap();
        let number = String::from_utf8(number.stdout).unwrap();
        let path = format!("/dev/pts/{}", number.trim());
        let terminal = open(path, flags, Mode::empty()).unwrap();
        (master, terminal)
    }
}

mod journald {
    use super::*;

    struct FakeJournal {
        socket: UnixDatagram,
        directory: tempfile::TempDir,
    }

    impl FakeJournal {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let socket = UnixDatagram::bind(directory.path().join("socket")).unwrap();
            socket.set_read_timeout(Some(SOON)).unwrap();
            Self { socket, directory }
        }

        fn sink(&self) -> Sink {
            let path = self.directory.path().join("socket");
            let null = File::options().write(true).open("/dev/null").unwrap();
            let sink = Sink::start_on(null.into(), &path, Format::Journald, Level::Debug, "web");
            let sink = sink.unwrap();
            let mut probe = [0];
            assert_eq!(self.socket.recv(&mut probe).unwrap(), 0);
            sink
        }

        fn entry(&self) -> Vec<(String, String)> {
            let mut bytes = vec![0; 1 << 18];
            let length = self.socket.recv(&mut bytes).unwrap();
            fields(&bytes[..length])
        }
    }

    /// The native protocol, read by its description.
    fn fields(mut bytes: &[u8]) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let end = bytes
                .iter()
                .position(|byte| matches!(byte, b'=' | b'\n'))
                .unwrap();
            let name = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let (value, rest) = if bytes[end] == b'=' {
                let value = &bytes[end + 1..];
                value.split_at(value.iter().position(|byte| *byte == b'\n').unwrap())
            } else {
                let (length, value) = bytes[end + 1..].split_at(8);
                value.split_at(u64::from_le_bytes(length.try_into().unwrap()) as usize)
            };
            assert_eq!(rest[0], b'\n');
            fields.push((name, String::from_utf8(value.to_vec()).unwrap()));
            bytes = &rest[1..];
        }
        fields
    }

    fn value<'a>(entry: &'a [(String, String)], name: &str) -> Option<&'a str> {
        let field = entry.iter().find(|(key, _)| key == name);
        field.map(|(_, value)| value.as_str())
    }

    #[test]
    fn entries_have_fields() {
        let journal = FakeJournal::new();
        let sink = journal.sink();
        sink.log(Record {
            event: Some("worker_exited"),
            generation: Some(3),
            worker: Some("3.0".to_owned()),
            ..Record::new(Level::Error, "worker 3.0 exited:\ncode 1")
        });
        let entry = journal.entry();
        assert_eq!(value(&entry, "MESSAGE"), Some("worker 3.0 exited:\ncode 1"));
        assert_eq!(value(&entry, "PRIORITY"), Some("3"));
        assert_eq!(value(&entry, "SYSLOG_IDENTIFIER"), Some("web"));
        assert_eq!(value(&entry, "NAME"), Some("web"));
        assert_eq!(value(&entry, "EVENT"), Some("worker_exited"));
        assert_eq!(value(&entry, "GENERATION"), Some("3"));
        assert_eq!(value(&entry, "WORKER"), Some("3.0"));
        assert_eq!(value(&entry, "STREAM"), None);
    }

    #[test]
    fn priorities_are_syslogs() {
        let journal = FakeJournal::new();
        let sink = journal.sink();
        for (level, priority) in [
            (Level::Error, "3"),
            (Level::Warn, "4"),
            (Level::Info, "6"),
            (Level::Debug, "7"),
        ] {
            sink.log(Record::new(level, "x"));
            assert_eq!(value(&journal.entry(), "PRIORITY"), Some(priority));
        }
    }

    #[test]
    fn a_workers_output_is_kept_as_printed_and_may_say_its_priority() {
        let journal = FakeJournal::new();
        let sink = journal.sink();
        sink.log(output("3.0", "{\"app\": 1}"));
        let entry = journal.entry();
        assert_eq!(value(&entry, "MESSAGE"), Some("{\"app\": 1}"));
        assert_eq!(value(&entry, "SYSLOG_IDENTIFIER"), Some("web/3.0"));
        assert_eq!(value(&entry, "STREAM"), Some("stdout"));
        for (printed, message, priority) in [
            ("<3>no disk", "no disk", "3"),
            ("<7>", "", "7"),
            ("<8>x", "<8>x", "6"),
            ("<33>x", "<33>x", "6"),
            ("<html>", "<html>", "6"),
        ] {
            sink.log(output("3.0", printed));
            let entry = journal.entry();
            assert_eq!(value(&entry, "MESSAGE"), Some(message));
            assert_eq!(value(&entry, "PRIORITY"), Some(priority));
        }
    }

    #[test]
    fn what_is_too_large_for_a_datagram_comes_as_a_sealed_file() {
        let journal = FakeJournal::new();
        let sink = journal.sink();
        let message = "z".repeat(1 << 20);
        sink.log(Record::new(Level::Info, &*message));
        let file = receive_file(&journal.socket);
        let seals = rustix::fs::fcntl_get_seals(&file).unwrap();
        assert!(seals.contains(rustix::fs::SealFlags::WRITE | rustix::fs::SealFlags::SEAL));
        let mut bytes = Vec::new();
        // The position is the sender's, at the end; journald maps the file.
        let mut file = File::from(file);
        std::io::Seek::rewind(&mut file).unwrap();
        file.read_to_end(&mut bytes).unwrap();
        assert_eq!(value(&fields(&bytes), "MESSAGE"), Some(message.as_str()));
    }

    fn receive_file(socket: &UnixDatagram) -> OwnedFd {
        use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        recvmsg(socket, &mut [], &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
        let fd = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        fd.unwrap()
    }

    #[test]
    fn a_journal_that_went_away_leaves_standard_error() {
        let journal = FakeJournal::new();
        let path = journal.directory.path().join("socket");
        let (reader, writer) = std::io::pipe().unwrap();
        let sink =
            Sink::start_on(writer.into(), &path, Format::Journald, Level::Info, "web").unwrap();
        drop(journal);
        sink.log(Record::new(Level::Warn, "still here"));
        assert!(sink.flush(SOON));
        drop(sink);
        let line = BufReader::new(reader).lines().next().unwrap().unwrap();
        assert!(line.ends_with("WARN  web  still here"), "{line}");
    }

    #[test]
    fn a_journal_that_was_asked_for_and_is_not_there_is_an_error() {
        let (_reader, writer) = std::io::pipe().unwrap();
        let error = Sink::start_on(
            writer.into(),
            Path::new(NO_JOURNAL),
            Format::Journald,
            Level::Info,
            "web",
        )
        .unwrap_err();
        assert!(error.to_string().contains("--log-format text"), "{error}");
    }

    #[test]
    fn journal_stream_counts_only_for_the_very_same_file() {
        let (_reader, writer) = std::io::pipe().unwrap();
        let stat = rustix::fs::fstat(&writer).unwrap();
        let is_ours = |value: &str| journal::is_stream(Some(value), writer.as_fd());
        assert!(is_ours(&format!("{}:{}", stat.st_dev, stat.st_ino)));
        assert!(!is_ours(&format!("{}:{}", stat.st_dev, stat.st_ino + 1)));
        for value in ["", ":", "8:", "x:y", "8"] {
            assert!(!is_ours(value), "{value:?}");
        }
        assert!(!journal::is_stream(None, writer.as_fd()));
    }

    #[test]
    fn the_unit_is_read_from_the_cgroup() {
        let unit = |cgroups: &str| journal::unit_of(cgroups);
        assert_eq!(
            unit("0::/system.slice/system-handover.slice/handover@web.service\n").as_deref(),
            Some("handover@web.service")
        );
        assert_eq!(
            unit("0::/system.slice/handover@web.service/master\n").as_deref(),
            Some("handover@web.service")
        );
        assert_eq!(
            unit("5:cpu:/\n1:name=systemd:/user.slice/session-2.scope\n").as_deref(),
            Some("session-2.scope")
        );
        for none in ["", "0::/\n", "rubbish", "0::/../..", "1:name=systemd"] {
            assert_eq!(unit(none), None, "{none:?}");
        }
    }
}
