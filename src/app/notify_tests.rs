use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::*;

/// A manager's side: what came, and the descriptors in it.
struct Manager(UnixDatagram);

impl Manager {
    fn in_a_directory() -> (Self, Notifier, tempfile::TempDir) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        let notifier = Notifier::at(path.as_os_str()).expect("an address");
        (Self(socket), notifier, dir)
    }

    fn hears(&self) -> (String, Vec<OwnedFd>) {
        let patience = Some(Duration::from_secs(30));
        self.0.set_read_timeout(patience).expect("a timeout");
        let mut bytes = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [io::IoSliceMut::new(&mut bytes)];
        let received = recvmsg(&self.0, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC);
        let length = received.expect("a datagram").bytes;
        let mut fds = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                fds.extend(received);
            }
        }
        (String::from_utf8_lossy(&bytes[..length]).into_owned(), fds)
    }
}

#[test]
fn a_message_reaches_a_path_and_an_abstract_socket() {
    let (manager, notifier, _dir) = Manager::in_a_directory();
    notifier.send("READY=1", &[]).expect("sent");
    assert_eq!(manager.hears().0, "READY=1");

    let name = format!("handover-app-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("an address");
    let manager = Manager(UnixDatagram::bind_addr(&address).expect("a socket"));
    let notifier = Notifier::at(OsStr::new(&format!("@{name}"))).expect("an address");
    notifier.send("STATUS=warm", &[]).expect("sent");
    assert_eq!(manager.hears().0, "STATUS=warm");
}

#[tokio::test]
async fn store_returns_only_when_the_manager_has_it() {
    let (manager, notifier, _dir) = Manager::in_a_directory();
    let (kept, ours) = std::io::pipe().expect("a pipe");
    let storing = tokio::spawn(async move { notifier.store("table", kept.into()).await });
    let (manager, (text, fds)) = tokio::task::spawn_blocking(move || {
        let heard = manager.hears();
        (manager, heard)
    })
    .await
    .expect("no panic");
    assert_eq!((text.as_str(), fds.len()), ("FDSTORE=1\nFDNAME=table", 1));
    let (text, barrier) = tokio::task::spawn_blocking(move || manager.hears())
        .await
        .expect("no panic");
    assert_eq!((text.as_str(), barrier.len()), ("BARRIER=1", 1));
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!storing.is_finished(), "it did not wait for the answer");
    drop(barrier);
    storing.await.expect("no panic").expect("stored");
    // What was stored is the very pipe, and the worker's own copy is gone.
    drop(fds);
    let alone = io::Write::write(&mut &ours, b"x").expect_err("no reader is left");
    assert_eq!(alone.kind(), io::ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn a_manager_that_never_answers_is_told_of() {
    let (_manager, notifier, _dir) = Manager::in_a_directory();
    let moment = Duration::from_millis(50);
    let error = notifier.barrier(moment).await.expect_err("nobody answers");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[test]
fn a_manager_that_does_not_read_costs_a_second_and_no_more() {
    let (_manager, notifier, _dir) = Manager::in_a_directory();
    let began = std::time::Instant::now();
    let error = (0..10_000)
        .find_map(|_| notifier.send("STATUS=x", &[]).err())
        .expect("the queue is bounded");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
    assert!(began.elapsed() < SEND_MAX * 10);
}

#[test]
fn a_manager_that_is_gone_is_told_with_its_address() {
    let (manager, notifier, dir) = Manager::in_a_directory();
    drop(manager);
    let error = notifier.send("READY=1", &[]).expect_err("nobody is there");
    let path = dir.path().display().to_string();
    assert!(error.to_string().contains(&path), "{error}");
    let error = Notifier::at(OsStr::new("vsock:2:1234")).expect_err("not ours");
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
}

#[test]
fn names_are_those_of_systemd() {
    for good in ["a", "sessions-1", "x y", &"n".repeat(255)] {
        is_valid_name(good).expect(good);
    }
    for bad in ["", "a:b", "a\nb", "ü", &"n".repeat(256)] {
        is_valid_name(bad).expect_err(bad);
    }
}

#[test]
fn a_status_cannot_forge_another_line() {
    assert_eq!(one_line("fine\nREADY=1\u{7}"), "fine READY=1 ");
}

#[test]
fn the_watchdog_is_half_of_what_is_allowed_and_only_for_us() {
    let asked = |usec: &'static str, pid: Option<&'static str>| {
        let find = move |key: &str| match key {
            "WATCHDOG_USEC" => Some(OsString::from(usec)),
            "WATCHDOG_PID" => pid.map(OsString::from),
            _ => None,
        };
        interval(find, 42)
    };
    let two = Some(Duration::from_secs(2));
    assert_eq!(asked("4000000", None).expect("numbers"), two);
    assert_eq!(asked("4000000", Some("42")).expect("numbers"), two);
    assert_eq!(asked("4000000", Some("41")).expect("numbers"), None);
    assert_eq!(asked("0", None).expect("numbers"), None);
    asked("soon", None).expect_err("no number");
}
