use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;

use crate::readiness::notify::{Message, ParseError, STATUS_BYTES_MAX, is_valid_name, parse};

fn parsed(text: &str) -> Vec<Message> {
    parse(text.as_bytes()).unwrap()
}

fn one(text: &str) -> Message {
    let [message] = parsed(text).try_into().unwrap();
    message
}

#[test]
fn every_assignment_of_sd_notify_is_understood() {
    for (text, message) in [
        ("READY=1", Message::Ready),
        ("RELOADING=1", Message::Reloading),
        ("STOPPING=1", Message::Stopping),
        ("STATUS=warm", Message::Status("warm".into())),
        ("STATUS=", Message::Status(String::new())),
        ("STATUS=a=b", Message::Status("a=b".into())),
        ("MONOTONIC_USEC=42", Message::MonotonicUsec(42)),
        ("WATCHDOG=1", Message::Watchdog),
        ("WATCHDOG=trigger", Message::WatchdogTrigger),
        (
            "WATCHDOG_USEC=2000000",
            Message::WatchdogUsec(Duration::from_secs(2)),
        ),
        ("WATCHDOG_USEC=0", Message::WatchdogUsec(Duration::ZERO)),
        (
            "EXTEND_TIMEOUT_USEC=1500",
            Message::ExtendTimeout(Duration::from_micros(1500)),
        ),
        ("MAINPID=4711", Message::MainPid(4711)),
        ("ERRNO=2", Message::Errno(2)),
        ("BARRIER=1", Message::Barrier),
        ("FDSTORE=1", Message::FdStore),
        ("FDNAME=sessions", Message::FdName("sessions".into())),
        ("FDSTOREREMOVE=1", Message::FdStoreRemove),
        ("FDPOLL=0", Message::FdPollOff),
        ("X_MINE=1", Message::Unknown("X_MINE".into())),
        ("BUSERROR=org.x", Message::Unknown("BUSERROR".into())),
    ] {
        assert_eq!(one(text), message, "{text}");
        assert_eq!(one(&format!("\n{text}\n\n")), message, "{text}");
    }
}

#[test]
fn a_line_that_is_wrong_costs_only_itself() {
    for wrong in [
        "READY=yes",
        "READY=0",
        "READY=",
        "READY",
        "WATCHDOG=2",
        "BARRIER=2",
        "MAINPID=0",
        "MAINPID=-1",
        "MAINPID=99999999999",
        "MAINPID=x",
        "ERRNO=-2",
        "EXTEND_TIMEOUT_USEC=",
        "EXTEND_TIMEOUT_USEC=-1",
        "WATCHDOG_USEC=1s",
        "MONOTONIC_USEC=now",
        "WATCHDOG_USEC=18446744073709551616",
        "FDNAME=a:b",
        "FDNAME=",
        "FDNAME=ü",
    ] {
        let shown: String = wrong.as_bytes().escape_ascii().map(char::from).collect();
        let messages = parsed(&format!("{wrong}\nREADY=1"));
        // A flag that is wrong and then right is not a duplicate.
        assert_eq!(
            messages,
            [Message::Malformed(shown), Message::Ready],
            "{wrong}"
        );
    }
}

#[test]
fn the_first_of_several_wins_as_for_systemd() {
    assert_eq!(
        parsed("STATUS=one\nREADY=1\nSTATUS=two\nREADY=1\nWATCHDOG=1\nWATCHDOG=trigger"),
        [
            Message::Status("one".into()),
            Message::Ready,
            Message::Watchdog
        ]
    );
}

#[test]
fn only_what_precedes_a_nul_counts() {
    assert_eq!(parse(b"READY=1\0"), Ok(vec![Message::Ready]));
    assert_eq!(parse(b"READY=1\0\nSTOPPING=1"), Ok(vec![Message::Ready]));
    assert_eq!(parse(b"\0READY=1"), Err(ParseError::Empty));
    for empty in [&b""[..], b"\n", b"\r\n\n", b"\0"] {
        assert_eq!(parse(empty), Err(ParseError::Empty));
    }
}

#[test]
fn a_barrier_is_alone() {
    assert_eq!(one("BARRIER=1\n"), Message::Barrier);
    for text in [
        "READY=1\nBARRIER=1",
        "BARRIER=1\nX=1",
        "BARRIER=1\nBARRIER=1",
    ] {
        assert_eq!(parse(text.as_bytes()), Err(ParseError::BarrierNotAlone));
    }
}

#[test]
fn a_status_is_fit_to_be_shown() {
    assert_eq!(
        one("STATUS=a\u{1b}[2Jb\tc"),
        Message::Status("a [2Jb c".into())
    );
    assert_eq!(
        parse(b"STATUS=\xff\xfe!"),
        Ok(vec![Message::Status("\u{fffd}\u{fffd}!".into())])
    );
    let Message::Status(cut) = one(&format!("STATUS={}", "ü".repeat(2000))) else {
        panic!("a status")
    };
    assert_eq!(cut.len(), STATUS_BYTES_MAX);
}

#[test]
fn names_of_descriptors_have_rules() {
    for good in ["a", "a b", "tls/443", "~", &"x".repeat(255)] {
        assert!(is_valid_name(good), "{good}");
    }
    for bad in ["", "a:b", "tab\t", "\u{7f}", "ü", &"x".repeat(256)] {
        assert!(!is_valid_name(bad), "{bad}");
    }
}

#[test]
fn what_is_quoted_is_short_and_printable() {
    let [Message::Malformed(shown)] = &parse(&[0x1b; 4000]).unwrap()[..] else {
        panic!("no assignment")
    };
    assert!(shown.starts_with("\\x1b") && shown.ends_with('…') && shown.chars().count() == 65);
}

fn files(folder: &str, extension: Option<&str>) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().and_then(|e| e.to_str()) == extension)
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

/// `NAME.bytes` is what was sent, `NAME.messages` what it means, one a line.
#[test]
fn datagrams_mean_what_sd_notify_says() {
    for path in files("tests/fixtures/notify", Some("bytes")) {
        let messages: String = match parse(&fs::read(&path).unwrap()) {
            Ok(messages) => messages.iter().map(|m| format!("{m:?}\n")).collect(),
            Err(error) => format!("error: {error}\n"),
        };
        let expected = fs::read_to_string(path.with_extension("messages")).unwrap();
        assert_eq!(messages, expected, "{}", path.display());
    }
}

#[test]
fn the_fuzz_corpus_holds() {
    for path in files("fuzz-corpus/notify", None) {
        check(&fs::read(&path).unwrap());
    }
}

/// What holds for any bytes whatever; also the body of the fuzz target.
fn check(bytes: &[u8]) {
    let Ok(messages) = parse(bytes) else { return };
    assert!(!messages.is_empty());
    assert!(messages.len() <= bytes.len());
    for message in &messages {
        match message {
            Message::Barrier => assert_eq!(messages.len(), 1),
            Message::Status(text) => {
                assert!(text.len() <= STATUS_BYTES_MAX && !text.chars().any(char::is_control));
            }
            Message::FdName(name) => assert!(is_valid_name(name)),
            Message::MainPid(pid) => assert!(*pid > 0),
            Message::Unknown(text) | Message::Malformed(text) => {
                assert!(text.chars().count() <= 65 && !text.chars().any(char::is_control));
            }
            _ => {}
        }
    }
}

/// Bytes near the protocol: its names and values in any order and mixture.
fn near() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        proptest::sample::select(vec![
            "READY=",
            "STATUS=",
            "BARRIER=1",
            "FDNAME=",
            "FDSTORE=1",
            "MAINPID=",
            "WATCHDOG=",
            "WATCHDOG_USEC=",
            "EXTEND_TIMEOUT_USEC=",
            "ERRNO=",
            "FDPOLL=0",
            "1",
            "trigger",
            "=",
            "\n",
            "\r",
            "\0",
            "-",
            "18446744073709551616",
            "\u{1b}",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        proptest::collection::vec(any::<u8>(), 0..8),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
        check(&bytes);
    }

    #[test]
    fn nothing_near_the_protocol_panics(bytes in near()) {
        check(&bytes);
    }

    #[test]
    fn what_is_ready_stays_ready_beside_anything(bytes in near()) {
        let said = [b"READY=1\n", &bytes[..]].concat();
        match parse(&said) {
            Ok(messages) => prop_assert_eq!(&messages[0], &Message::Ready),
            Err(error) => prop_assert_eq!(error, ParseError::BarrierNotAlone),
        }
    }
}
