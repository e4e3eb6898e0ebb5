use std::collections::HashMap;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::{Command, Stdio};

use rustix::io::{FdFlags, fcntl_getfd};

use super::*;

const ME: u32 = 4711;

fn announced_by(variables: &[(&str, &str)]) -> Result<Option<Vec<String>>, String> {
    let map: HashMap<_, _> = variables.iter().copied().collect();
    announced(|key| map.get(key).map(OsString::from), ME, || Some(99))
        .map_err(|error| error.to_string())
}

#[test]
fn only_what_is_meant_for_this_process_is_taken() {
    let names = |all: &[&str]| Ok(Some(all.iter().map(|n| n.to_string()).collect::<Vec<_>>()));
    let me = ("LISTEN_PID", "4711");
    assert_eq!(announced_by(&[]), Ok(None));
    assert_eq!(announced_by(&[("LISTEN_FDS", "1")]), Ok(None));
    assert_eq!(
        announced_by(&[("LISTEN_PID", "4712"), ("LISTEN_FDS", "1")]),
        Ok(None)
    );
    assert_eq!(
        announced_by(&[me, ("LISTEN_FDS", "2")]),
        names(&["unknown", "unknown"])
    );
    assert_eq!(
        announced_by(&[
            me,
            ("LISTEN_FDS", "3"),
            ("LISTEN_FDNAMES", "http::web.socket")
        ]),
        names(&["http", "unknown", "web.socket"])
    );
    assert_eq!(
        announced_by(&[me, ("LISTEN_FDS", "0"), ("LISTEN_FDNAMES", "")]),
        names(&[])
    );
    assert_eq!(
        announced_by(&[me, ("LISTEN_FDS", "1"), ("LISTEN_PIDFDID", "99")]),
        names(&["unknown"])
    );
    assert_eq!(
        announced_by(&[me, ("LISTEN_FDS", "1"), ("LISTEN_PIDFDID", "98")]),
        Ok(None)
    );
}

#[test]
fn announcements_that_contradict_themselves_are_errors_that_quote_them() {
    let me = ("LISTEN_PID", "4711");
    for (variables, quoted) in [
        (
            vec![("LISTEN_PID", "x"), ("LISTEN_FDS", "1")],
            "LISTEN_PID=x",
        ),
        (vec![me, ("LISTEN_FDS", "-1")], "LISTEN_FDS=-1"),
        (
            vec![me, ("LISTEN_FDS", "2000000000")],
            "LISTEN_FDS=2000000000",
        ),
        (
            vec![me, ("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", "a")],
            "1 names for 2",
        ),
        (
            vec![me, ("LISTEN_FDS", "1"), ("LISTEN_FDNAMES", "a:b")],
            "LISTEN_FDNAMES=a:b",
        ),
    ] {
        let error = announced_by(&variables).unwrap_err();
        assert!(error.contains(quoted), "{error}");
    }
}

#[test]
fn a_pidfd_of_this_process_has_one_id() {
    assert_eq!(own_pidfd_id(), own_pidfd_id());
}

#[test]
fn sockets_that_serve_are_told_from_those_that_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = tcp.local_addr().unwrap();
    let connection = TcpStream::connect(at).unwrap();
    let unix = UnixListener::bind(dir.path().join("s")).unwrap();
    let dgram = UnixDatagram::bind(dir.path().join("d")).unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let twice = tcp.try_clone().unwrap();
    let inherited = Inherited::of([
        ("http".to_owned(), OwnedFd::from(tcp)),
        ("twice".to_owned(), twice.into()),
        ("unix".to_owned(), unix.into()),
        ("udp".to_owned(), udp.into()),
        ("dgram".to_owned(), dgram.into()),
        ("connection".to_owned(), connection.into()),
        ("pair".to_owned(), UnixStream::pair().unwrap().0.into()),
        ("file".to_owned(), tempfile::tempfile().unwrap().into()),
    ]);
    let served: Vec<_> = inherited
        .held
        .iter()
        .map(|h| (h.name.as_str(), h.local.port().is_some(), h.datagram))
        .collect();
    assert_eq!(
        served,
        [
            ("http", true, false),
            ("unix", false, false),
            ("udp", true, true),
            ("dgram", false, true)
        ]
    );
    let unfit: Vec<_> = inherited.unfit.iter().map(|u| u.name.as_str()).collect();
    assert_eq!(unfit, ["connection", "pair", "file"]);
    assert!(inherited.unfit[0].what.contains("Accept=no"));
    assert!(inherited.unfit[2].what.contains("not a socket"));
    assert_eq!(inherited.names().len(), 7);
}

/// Runs in a process of its own, started by the next test; elsewhere it does nothing.
#[test]
fn inside_a_process_that_systemd_started() {
    if std::env::var_os("HANDOVER_TEST_INHERIT").is_none() {
        return;
    }
    let inherited = Inherited::from_env().unwrap();
    for held in &inherited.held {
        let cloexec = fcntl_getfd(held.fd.as_fd())
            .unwrap()
            .contains(FdFlags::CLOEXEC);
        println!("HELD {} {} cloexec={cloexec}", held.name, held.local);
    }
    for unfit in &inherited.unfit {
        println!("UNFIT {} {}", unfit.name, unfit.what);
    }
    println!("AGAIN {}", Inherited::from_env().unwrap().names().len());
}

#[test]
fn f33_descriptors_arrive_through_the_environment_with_cloexec() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (at, udp_at) = (tcp.local_addr().unwrap(), udp.local_addr().unwrap());
    // sh makes them 3 and 4, and 5 a file; $$ stays its number through exec.
    let script = "LISTEN_PID=$$ exec \"$0\" --exact sockets::inherit::tests::inside_a_process_that_systemd_started \
                  --nocapture 3<&0 4<&2 5</dev/null 0</dev/null 2>/dev/null";
    let output = Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .env("HANDOVER_TEST_INHERIT", "1")
        .env("LISTEN_FDS", "3")
        .env("LISTEN_FDNAMES", "http:dns:null")
        .env_remove("LISTEN_PIDFDID")
        .stdin(Stdio::from(OwnedFd::from(tcp)))
        .stderr(Stdio::from(OwnedFd::from(udp)))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains(&format!("HELD http {at} cloexec=true")),
        "{text}"
    );
    assert!(
        text.contains(&format!("HELD dns udp:{udp_at} cloexec=true")),
        "{text}"
    );
    assert!(
        text.contains("UNFIT null not a socket but /dev/null"),
        "{text}"
    );
    // The announcement was for one reader.
    assert!(text.contains("AGAIN 0"), "{text}");
}
