use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use super::{Notifier, OWN_VARIABLES, Told};

const OWN_PID: u32 = 4711;

/// A service manager: a datagram socket that remembers nothing.
pub(super) struct Manager {
    pub(super) socket: UnixDatagram,
    address: OsString,
    _directory: Option<tempfile::TempDir>,
}

impl Manager {
    pub(super) fn at_a_path() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        Self {
            socket: UnixDatagram::bind(&path).unwrap(),
            address: path.into(),
            _directory: Some(directory),
        }
    }

    pub(super) fn abstract_name() -> Self {
        let name = format!(
            "handover-test-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        );
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        Self {
            socket: UnixDatagram::bind_addr(&address).unwrap(),
            address: format!("@{name}").into(),
            _directory: None,
        }
    }

    pub(super) fn notifier(&self) -> Notifier {
        self.notifier_with(&[])
    }

    fn notifier_with(&self, more: &[(&str, &str)]) -> Notifier {
        Notifier::from_variables(
            |name| match name {
                "NOTIFY_SOCKET" => Some(self.address.clone()),
                _ => more
                    .iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| value.into()),
            },
            OWN_PID,
        )
    }

    /// What has been said up to now, one string a datagram.
    fn heard(&self) -> Vec<String> {
        self.socket.set_nonblocking(true).unwrap();
        let mut heard = Vec::new();
        let mut bytes = [0; 8192];
        while let Ok(length) = self.socket.recv(&mut bytes) {
            heard.push(String::from_utf8(bytes[..length].to_vec()).unwrap());
        }
        heard
    }

    /// Fills the queue as a systemd that does not read would have it.
    pub(super) fn stall(&self, notifier: &Notifier) -> usize {
        (0..100_000)
            .position(|_| notifier.watchdog() != Told::Sent)
            .expect("a datagram queue has an end")
    }
}

#[test]
fn without_notify_socket_nobody_is_told() {
    for value in [None, Some(OsString::new())] {
        let notifier = Notifier::from_variables(
            |name| (name == "NOTIFY_SOCKET").then(|| value.clone()).flatten(),
            OWN_PID,
        );
        assert!(!notifier.is_present());
        assert_eq!(notifier.problem(), None);
        assert_eq!(notifier.ready("serving"), Told::Unset);
        assert_eq!(notifier.reloading(), Told::Unset);
        assert_eq!(notifier.status("x"), Told::Unset);
        assert_eq!(notifier.watchdog(), Told::Unset);
        assert_eq!(notifier.retry(), Told::Unset);
        assert_eq!(notifier.stopping("bye"), Told::Unset);
    }
}

#[test]
fn an_address_that_cannot_be_used_is_a_warning() {
    let long = format!("/{}", "x".repeat(200));
    for address in ["relative", "vsock:2:1234", long.as_str()] {
        let notifier = Notifier::from_variables(
            |name| (name == "NOTIFY_SOCKET").then(|| address.into()),
            OWN_PID,
        );
        assert!(!notifier.is_present(), "{address}");
        let problem = notifier.problem().unwrap();
        assert!(problem.contains(address), "{problem}");
        assert_eq!(notifier.ready("serving"), Told::Unset);
    }
}

#[test]
fn a_life_is_told_by_path_and_by_abstract_name() {
    for manager in [Manager::at_a_path(), Manager::abstract_name()] {
        let notifier = manager.notifier();
        assert!(notifier.is_present());
        assert_eq!(notifier.ready("generation 1 active"), Told::Sent);
        assert_eq!(notifier.extend(Duration::from_millis(1500)), Told::Sent);
        assert_eq!(notifier.status("baking"), Told::Sent);
        assert_eq!(notifier.watchdog(), Told::Sent);
        assert_eq!(notifier.stopping("draining"), Told::Sent);
        assert_eq!(
            manager.heard(),
            [
                "READY=1\nSTATUS=generation 1 active",
                "EXTEND_TIMEOUT_USEC=1500000",
                "STATUS=baking",
                "WATCHDOG=1",
                "STOPPING=1\nSTATUS=draining",
            ]
        );
    }
}

#[test]
fn f31_a_reload_carries_its_stamp_in_the_same_message() {
    let manager = Manager::at_a_path();
    let notifier = manager.notifier();
    let monotonic_usec = || {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        now.tv_sec * 1_000_000 + now.tv_nsec / 1_000
    };
    let before = monotonic_usec();
    notifier.reloading();
    let after = monotonic_usec();
    // A reload that failed ends like one that did not.
    notifier.ready("generation 7 active; the upgrade to 8 failed");
    let heard = manager.heard();
    let stamp: i64 = heard[0]
        .strip_prefix("RELOADING=1\nMONOTONIC_USEC=")
        .unwrap()
        .parse()
        .unwrap();
    assert!((before..=after).contains(&stamp));
    assert!(heard[1].starts_with("READY=1\nSTATUS="));
}

#[test]
fn f31_stopping_is_final() {
    let manager = Manager::at_a_path();
    let notifier = manager.notifier();
    notifier.stopping("draining");
    assert_eq!(notifier.ready("back again"), Told::Sent);
    assert_eq!(notifier.reloading(), Told::Sent);
    // What a person reads goes on being told.
    assert_eq!(
        manager.heard(),
        ["STOPPING=1\nSTATUS=draining", "STATUS=back again"]
    );
}

#[test]
fn a_stalled_manager_never_blocks_and_is_told_the_newest_later() {
    let manager = Manager::at_a_path();
    let notifier = manager.notifier();
    manager.stall(&notifier);
    assert_eq!(notifier.ready("one"), Told::Waiting);
    for number in 0..100 {
        assert_eq!(notifier.status(&format!("status {number}")), Told::Waiting);
        assert_eq!(notifier.reloading(), Told::Waiting);
        assert_eq!(notifier.ready("reloaded"), Told::Waiting);
    }
    assert_eq!(notifier.status("newest"), Told::Waiting);
    assert_eq!(notifier.watchdog(), Told::Waiting);

    manager.heard();
    assert_eq!(notifier.retry(), Told::Sent);
    let heard = manager.heard();
    assert_eq!(heard.len(), 3, "{heard:?}");
    assert_eq!(heard[0], "READY=1");
    assert!(heard[1].starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(heard[2], "READY=1\nSTATUS=newest");
    assert_eq!(notifier.retry(), Told::Sent);
    assert!(manager.heard().is_empty(), "nothing is told twice");
}

#[test]
fn stopping_overtakes_a_reload_that_nobody_heard_of() {
    let manager = Manager::at_a_path();
    let notifier = manager.notifier();
    manager.stall(&notifier);
    notifier.reloading();
    notifier.stopping("draining");
    manager.heard();
    // The watchdog's beat is the moment at which a waiting state goes out, too.
    assert_eq!(notifier.watchdog(), Told::Sent);
    assert_eq!(
        manager.heard(),
        ["STOPPING=1\nSTATUS=draining", "WATCHDOG=1"]
    );
}

#[test]
fn a_manager_that_executes_itself_anew_is_told_when_it_is_back() {
    let mut manager = Manager::at_a_path();
    let notifier = manager.notifier();
    std::fs::remove_file(&manager.address).unwrap();
    assert!(matches!(notifier.ready("serving"), Told::Failed(_)));
    manager.socket = UnixDatagram::bind(&manager.address).unwrap();
    assert_eq!(notifier.retry(), Told::Sent);
    assert_eq!(manager.heard(), ["READY=1\nSTATUS=serving"]);
}

#[test]
fn a_status_cannot_smuggle_another_assignment() {
    let manager = Manager::at_a_path();
    let notifier = manager.notifier();
    notifier.status("worker says \"x\nMAINPID=1\r\u{1b}[2J\"");
    notifier.status(&"ü".repeat(10_000));
    let heard = manager.heard();
    assert_eq!(heard[0], "STATUS=worker says \"x MAINPID=1  [2J\"");
    assert!(heard[1].len() < 4096);
}

#[test]
fn the_watchdog_beats_at_half_of_its_time_if_it_is_ours() {
    let manager = Manager::at_a_path();
    let own = OWN_PID.to_string();
    let interval = |usec: &str, pid: Option<&str>| {
        let mut variables = vec![("WATCHDOG_USEC", usec)];
        variables.extend(pid.map(|pid| ("WATCHDOG_PID", pid)));
        manager.notifier_with(&variables).watchdog_interval()
    };
    let half = Some(Duration::from_millis(1500));
    assert_eq!(interval("3000000", Some(&own)), half);
    assert_eq!(interval("3000000", None), half);
    assert_eq!(interval("3000000", Some("1")), None, "another process's");
    assert_eq!(interval("3000000", Some("")), None);
    assert_eq!(interval("1", None), Some(Duration::from_millis(1)));
    for nothing in [
        "0",
        "",
        "soon",
        "-5",
        "18446744073709551615",
        "99999999999999999999",
    ] {
        assert_eq!(interval(nothing, None), None, "{nothing:?}");
    }
    assert_eq!(manager.notifier().watchdog_interval(), None);
    let nobody = Notifier::from_variables(
        |name| (name == "WATCHDOG_USEC").then(|| "3000000".into()),
        OWN_PID,
    );
    assert_eq!(nobody.watchdog_interval(), None, "nobody listens");
}

#[test]
fn f27_what_systemd_says_to_the_master_is_listed_for_removal() {
    for name in [
        "LISTEN_PID",
        "LISTEN_PIDFDID",
        "LISTEN_FDS",
        "LISTEN_FDNAMES",
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
        "INVOCATION_ID",
        "JOURNAL_STREAM",
    ] {
        assert!(OWN_VARIABLES.contains(&name), "{name}");
    }
    // The application's own.
    assert!(!OWN_VARIABLES.contains(&"LISTEN_ADDR"));
}
