use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use super::{NO_JOURNAL, SOON, lines_of, output};
use crate::logging::{Format, Level, Record, Sink, journal};

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
        event: Some("worker_exited".to_owned()),
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
    let sink = Sink::start_on(writer.into(), &path, Format::Journald, Level::Info, "web").unwrap();
    drop(journal);
    sink.log(Record::new(Level::Warn, "still here"));
    assert!(sink.flush(SOON));
    drop(sink);
    let lines = lines_of(reader).recv_timeout(SOON).unwrap();
    assert!(lines[0].ends_with("WARN  web  still here"), "{lines:?}");
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
