//! The descriptors that a manager passed to this process: `LISTEN_FDS`, `LISTEN_PID`,
//! `LISTEN_FDNAMES` (sd_listen_fds(3)).
//!
//! All of them are taken at the first question and become close-on-exec, so that no child of
//! the application keeps a port bound. The environment is left as it is, since other threads
//! may be reading it: `LISTEN_PID` tells a child that the variables are not meant for it.

use std::ffi::OsString;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::socket::{ControlMessage, MsgFlags};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::listener::{Listener, is_listening};

/// `SD_LISTEN_FDS_START`
const FIRST: RawFd = 3;

/// More than this is not a service but a mistake.
const ANNOUNCED_MAX: RawFd = 4096;

/// What systemd calls a descriptor that has no name.
const UNNAMED: &str = "unknown";

/// What was passed and not yet taken, in the order in which it was passed.
#[derive(Debug)]
pub(super) struct Inherited {
    /// Whether `LISTEN_PID` names this process at all.
    announced: bool,
    held: Vec<(String, OwnedFd)>,
}

static INHERITED: Mutex<Option<Inherited>> = Mutex::new(None);

/// Asks what was passed to this process.
///
/// # Errors
/// The variables contradict each other or the descriptors.
pub(super) fn ask<T>(question: impl FnOnce(&mut Inherited) -> T) -> io::Result<T> {
    let mut inherited: MutexGuard<'_, Option<Inherited>> =
        INHERITED.lock().unwrap_or_else(PoisonError::into_inner);
    let inherited = match &mut *inherited {
        Some(inherited) => inherited,
        none => none.insert(Inherited::from_env()?),
    };
    Ok(question(inherited))
}

impl Inherited {
    fn from_env() -> io::Result<Self> {
        let names = announced(|key| std::env::var_os(key), std::process::id())?;
        let announced = names.is_some();
        let numbered = names.into_iter().flatten().zip(FIRST..);
        let held = numbered.map(|(name, number)| Ok((name, owned(number)?)));
        Ok(Self {
            announced,
            held: held.collect::<io::Result<_>>()?,
        })
    }

    /// Whether a manager started this process.
    pub(super) fn is_announced(&self) -> bool {
        self.announced
    }

    /// The first descriptor of this name.
    pub(super) fn take(&mut self, name: &str) -> Option<OwnedFd> {
        self.take_where(|(known, _)| known == name)
            .map(|(_, fd)| fd)
    }

    /// The first listening socket of this name.
    pub(super) fn listener(&mut self, name: &str) -> Option<Listener> {
        let (name, fd) = self.take_where(|(known, fd)| known == name && is_listening(fd))?;
        Some(Listener::of(name, fd))
    }

    /// Every listening socket that is left.
    pub(super) fn listeners(&mut self) -> Vec<Listener> {
        let listening = self.held.extract_if(.., |(_, fd)| is_listening(fd));
        listening.map(|(name, fd)| Listener::of(name, fd)).collect()
    }

    /// The names that are left, for an error.
    pub(super) fn names(&self) -> String {
        let names: Vec<&str> = self.held.iter().map(|(name, _)| name.as_str()).collect();
        match names.as_slice() {
            [] => "none".to_owned(),
            names => names.join(", "),
        }
    }

    fn take_where(
        &mut self,
        mut wanted: impl FnMut(&(String, OwnedFd)) -> bool,
    ) -> Option<(String, OwnedFd)> {
        let place = self.held.iter().position(&mut wanted)?;
        Some(self.held.remove(place))
    }
}

/// The names of what is announced to the process `pid`; `None` when nothing is.
fn announced(
    variable: impl Fn(&str) -> Option<OsString>,
    pid: u32,
) -> io::Result<Option<Vec<String>>> {
    let text = |key: &str| variable(key).map(|value| value.to_string_lossy().into_owned());
    let wrong = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let (Some(for_pid), Some(count)) = (text("LISTEN_PID"), text("LISTEN_FDS")) else {
        return Ok(None);
    };
    let for_pid: u32 = for_pid
        .parse()
        .map_err(|_| wrong(format!("LISTEN_PID={for_pid} is not a number")))?;
    if for_pid != pid {
        return Ok(None);
    }
    let number = count.parse().ok();
    let Some(number) = number.filter(|number| (0..=ANNOUNCED_MAX).contains(number)) else {
        let what = format!("LISTEN_FDS={count} is not a number from 0 to {ANNOUNCED_MAX}");
        return Err(wrong(what));
    };
    let number = usize::try_from(number).unwrap_or_default();
    let names: Vec<String> = match text("LISTEN_FDNAMES") {
        Some(all) if number > 0 => all.split(':').map(str::to_owned).collect(),
        _ => vec![UNNAMED.to_owned(); number],
    };
    if names.len() != number {
        let (names, all) = (names.len(), names.join(":"));
        return Err(wrong(format!(
            "LISTEN_FDNAMES={all} has {names} names, and LISTEN_FDS={number} descriptors were passed"
        )));
    }
    Ok(Some(names))
}

/// Makes an inherited number a descriptor of ours, close-on-exec, and closes the number.
///
/// It is sent to ourselves through a pair of sockets: the kernel hands out a new descriptor of the
/// same open file, which is ours beyond doubt, and no flag of the open file changes. (pidfd_getfd(2)
/// would do as well, but containers often forbid it.)
fn owned(number: RawFd) -> io::Result<OwnedFd> {
    let explain = |error: io::Error| {
        let kind = error.kind();
        let what = format!("descriptor {number} is announced by LISTEN_FDS, but: {error}");
        io::Error::new(kind, what)
    };
    let (ours, theirs) = UnixStream::pair()?;
    nix::sys::socket::sendmsg::<()>(
        ours.as_raw_fd(),
        &[IoSlice::new(&[0])],
        &[ControlMessage::ScmRights(&[number])],
        MsgFlags::empty(),
        None,
    )
    .map_err(|errno| explain(errno.into()))?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(
        &theirs,
        &mut [IoSliceMut::new(&mut byte)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )
    .map_err(|errno| explain(errno.into()))?;
    let received = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    let Some(fd) = received else {
        return Err(explain(io::Error::other("too many files are open")));
    };
    // By sd_listen_fds(3) the number is this process's to close, and this runs once.
    nix::unistd::close(number).map_err(|errno| explain(errno.into()))?;
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, IntoRawFd};

    use super::*;

    fn names(pairs: &[(&str, &str)]) -> io::Result<Option<Vec<String>>> {
        let find = |key: &str| pairs.iter().find(|(name, _)| *name == key);
        announced(|key| find(key).map(|(_, value)| (*value).into()), 42)
    }

    #[test]
    fn only_what_is_meant_for_this_process_counts() {
        let ours = [("LISTEN_PID", "42"), ("LISTEN_FDS", "2")];
        let named = [ours[0], ours[1], ("LISTEN_FDNAMES", "http:admin")];
        assert_eq!(
            names(&named).expect("names"),
            Some(vec!["http".into(), "admin".into()])
        );
        assert_eq!(
            names(&ours).expect("names"),
            Some(vec!["unknown".into(), "unknown".into()])
        );
        let others = [
            ("LISTEN_PID", "41"),
            ours[1],
            ("LISTEN_FDNAMES", "http:admin"),
        ];
        assert_eq!(names(&others).expect("names"), None);
        assert_eq!(names(&ours[1..]).expect("names"), None);
        assert_eq!(names(&ours[..1]).expect("names"), None);
    }

    #[test]
    fn contradictions_are_told_in_words() {
        let pid = ("LISTEN_PID", "42");
        for (pairs, part) in [
            (
                vec![("LISTEN_PID", "x"), ("LISTEN_FDS", "1")],
                "LISTEN_PID=x",
            ),
            (vec![pid, ("LISTEN_FDS", "-1")], "LISTEN_FDS=-1"),
            (vec![pid, ("LISTEN_FDS", "5000")], "0 to 4096"),
            (
                vec![pid, ("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", "http")],
                "has 1 names",
            ),
        ] {
            let error = names(&pairs).expect_err("a contradiction").to_string();
            assert!(error.contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn each_is_taken_once_and_only_listeners_are_listeners() {
        let tcp = || OwnedFd::from(std::net::TcpListener::bind("127.0.0.1:0").expect("a port"));
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        let (connection, _other) = UnixStream::pair().expect("a pair");
        let held = [
            ("http", connection.into()),
            ("http", tcp()),
            ("dns", udp.into()),
            ("admin", tcp()),
            ("table", io::pipe().expect("a pipe").0.into()),
        ];
        let mut all = Inherited {
            announced: true,
            held: held.map(|(name, fd)| (name.to_owned(), fd)).into(),
        };
        assert_eq!(all.listener("http").expect("one").name(), "http");
        assert!(
            all.listener("http").is_none(),
            "a connection does not listen"
        );
        assert!(
            all.listener("dns").is_none(),
            "a datagram socket does not listen"
        );
        assert!(all.take("table").is_some());
        assert!(all.take("table").is_none(), "it is taken");
        assert_eq!(all.names(), "http, dns, admin");
        let rest = all.listeners();
        let rest: Vec<&str> = rest.iter().map(Listener::name).collect();
        assert_eq!(rest, ["admin"]);
        assert!(all.listeners().is_empty());
        assert!(all.take("dns").is_some() && all.take("http").is_some());
        assert_eq!(all.names(), "none");
    }

    #[test]
    fn a_number_becomes_ours_and_is_closed() {
        let (mut ours, theirs) = UnixStream::pair().expect("a pair");
        let number = theirs.into_raw_fd();
        let fd = owned(number).expect("it is open");
        assert_ne!(fd.as_raw_fd(), number);
        let flags = rustix::io::fcntl_getfd(fd.as_fd()).expect("open");
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        // The only descriptor of the other end is the one that we hold: dropping it is its end.
        drop(fd);
        let end = io::Read::read(&mut ours, &mut [0]).expect("end of file");
        assert_eq!(end, 0);
    }

    #[test]
    fn a_number_that_is_not_open_is_told() {
        let error = owned(ANNOUNCED_MAX * 1000)
            .expect_err("not open")
            .to_string();
        assert!(
            error.contains("LISTEN_FDS") && error.contains("Bad file descriptor"),
            "{error}"
        );
    }
}
