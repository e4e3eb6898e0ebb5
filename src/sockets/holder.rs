//! Who holds a port or a socket: socket table → inode → `/proc/PID/fd` → "python3 (pid 812)".

use std::fmt::{self, Write as _};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::diag::{self, Family, Protocol};

/// A process that holds a socket, as far as this process may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// its process, when `/proc` shows it
    pub pid: Option<i32>,
    /// its command name (`/proc/PID/comm`)
    pub command: Option<String>,
    /// the user that made the socket
    pub uid: Option<u32>,
    /// where the socket is bound, when that is not obvious
    pub address: Option<String>,
    /// what it is to somebody who knows more of it
    pub known: Option<Known>,
}

/// What somebody else knows of a holder: this room only passes it on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// what it is
    pub what: String,
    /// what to do about it
    pub remedy: Remedy,
    /// the others have the socket from it, and need no mention
    pub is_origin: bool,
}

/// What to do about a holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// End this process, which nobody else does.
    Kill(i32),
    /// Anything else, in words.
    Say(String),
}

impl Holder {
    /// The process `pid`, by its number alone.
    pub fn process(pid: i32) -> Self {
        let command = fs::read_to_string(format!("/proc/{pid}/comm")).ok();
        Self {
            pid: Some(pid),
            command: command.map(|c| c.trim_end().to_owned()),
            uid: None,
            address: None,
            known: None,
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.pid, &self.command) {
            (Some(pid), Some(command)) => write!(f, "{command} (pid {pid})")?,
            (Some(pid), None) => write!(f, "pid {pid}")?,
            (None, _) => {
                f.write_str("a process that cannot be seen from here")?;
                if let Some(uid) = self.uid {
                    write!(f, " (of user {uid}, or in another container)")?;
                }
            }
        }
        if let Some(address) = &self.address {
            write!(f, " on {address}")?;
        }
        match &self.known {
            Some(known) => write!(f, ", {}", known.what),
            None => Ok(()),
        }
    }
}

/// "nginx (pid 1), nginx (pid 2) and 3 more".
pub(super) fn list(holders: &[Holder]) -> String {
    const SHOWN_MAX: usize = 3;
    if holders.is_empty() {
        return "a process that cannot be seen from here (`ss -lntup` as root shows it)".to_owned();
    }
    let shown: Vec<String> = holders
        .iter()
        .take(SHOWN_MAX)
        .map(ToString::to_string)
        .collect();
    match holders.len().saturating_sub(SHOWN_MAX) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// What to do about them: "kill 812 813", or `otherwise` where nobody knows better.
pub(super) fn remedy(holders: &[Holder], otherwise: &str) -> String {
    let mut remedies: Vec<String> = Vec::new();
    let mut kill = String::new();
    for known in holders.iter().filter_map(|holder| holder.known.as_ref()) {
        match &known.remedy {
            // Writing to a String cannot fail.
            Remedy::Kill(pid) => drop(write!(kill, " {pid}")),
            Remedy::Say(words) if remedies.contains(words) => {}
            Remedy::Say(words) => remedies.push(words.clone()),
        }
    }
    if !kill.is_empty() {
        remedies.insert(0, format!("kill{kill}"));
    }
    match remedies.is_empty() {
        true => otherwise.to_owned(),
        false => remedies.join("; "),
    }
}

/// Who keeps `wanted` from being bound.
pub fn of_port(wanted: SocketAddr, datagram: bool) -> Vec<Holder> {
    let protocol = if datagram {
        Protocol::Udp
    } else {
        Protocol::Tcp
    };
    let mut found = Vec::new();
    for socket in sockets(protocol) {
        if socket.port != wanted.port() || !overlap(socket.addr, wanted.ip()) {
            continue;
        }
        let address = (socket.addr != wanted.ip()).then(|| socket.socket_addr().to_string());
        found.extend(of_socket(socket.inode, Some(socket.uid), address));
    }
    found.dedup();
    found
}

/// The processes that hold the socket with this inode; one without a process when none is visible.
pub(super) fn of_socket(inode: u64, uid: Option<u32>, address: Option<String>) -> Vec<Holder> {
    let processes = processes_holding(inode);
    if processes.is_empty() {
        return vec![Holder {
            pid: None,
            command: None,
            uid,
            address,
            known: None,
        }];
    }
    let of = |pid| Holder {
        uid,
        address: address.clone(),
        ..Holder::process(pid)
    };
    processes.into_iter().map(of).collect()
}

/// The processes with a descriptor of the socket with this inode, in order of their numbers.
pub fn processes_holding(inode: u64) -> Vec<i32> {
    let wanted = format!("socket:[{inode}]");
    let mut pids: Vec<i32> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| holds(*pid, &wanted))
        .collect();
    pids.sort_unstable();
    pids
}

/// TCP sockets that listen, or UDP sockets that are bound, in the network namespace of this process.
pub fn bound(datagram: bool) -> Vec<diag::ListeningSocket> {
    sockets(match datagram {
        true => Protocol::Udp,
        false => Protocol::Tcp,
    })
}

/// A process with a descriptor of the socket with this inode, the newest first; none when `go_on`, which is asked at each
/// process and every hundred descriptors, says no before it is found.
pub fn one_holding(inode: u64, mut go_on: impl FnMut() -> bool) -> Option<i32> {
    const ASKED_EVERY: usize = 100;
    let wanted = format!("socket:[{inode}]");
    let entries = fs::read_dir("/proc").ok()?.flatten();
    let mut pids: Vec<i32> = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    for pid in pids.into_iter().rev() {
        let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
            continue;
        };
        for (at, descriptor) in descriptors.flatten().enumerate() {
            if at % ASKED_EVERY == 0 && !go_on() {
                return None;
            }
            let target = fs::read_link(descriptor.path());
            if target.is_ok_and(|target| target.as_os_str() == wanted.as_str()) {
                return Some(pid);
            }
        }
    }
    None
}

/// Who listens on the socket file `path`.
pub(super) fn of_path(path: &Path) -> Vec<Holder> {
    // The kernel gives the low half of the inode (struct unix_diag_vfs).
    let Some(inode) = fs::symlink_metadata(path)
        .ok()
        .map(|m| m.ino() & u64::from(u32::MAX))
    else {
        return Vec::new();
    };
    let sockets = diag::unix_sockets().unwrap_or_default();
    let listening = sockets
        .iter()
        .filter(|s| s.listening && s.path_inode == Some(inode));
    listening
        .flat_map(|s| of_socket(s.inode, None, None))
        .filter(|h| h.pid.is_some())
        .collect()
}

/// Who is bound to the abstract name `name` (without its NUL).
pub(super) fn of_abstract(name: &[u8]) -> Vec<Holder> {
    let sockets = diag::unix_sockets().unwrap_or_default();
    let bound = sockets.iter().filter(|s| {
        let full = s.name.as_deref().unwrap_or_default();
        full.split_first() == Some((&0, name))
    });
    bound
        .flat_map(|s| of_socket(s.inode, None, None))
        .filter(|h| h.pid.is_some())
        .collect()
}

fn holds(pid: i32, wanted: &str) -> bool {
    let Ok(fds) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    fds.flatten()
        .filter_map(|fd| fs::read_link(fd.path()).ok())
        .any(|target| target.as_os_str() == wanted)
}

fn overlap(held: IpAddr, wanted: IpAddr) -> bool {
    held.is_unspecified() || wanted.is_unspecified() || held.to_canonical() == wanted.to_canonical()
}

/// By sock_diag; where a sandbox forbids netlink, from `/proc/net`.
fn sockets(protocol: Protocol) -> Vec<diag::ListeningSocket> {
    let asked: Vec<_> = [Family::V4, Family::V6]
        .into_iter()
        .filter_map(|family| diag::listening(family, protocol).ok())
        .collect();
    if !asked.is_empty() {
        return asked.into_iter().flatten().collect();
    }
    let (tables, state) = match protocol {
        Protocol::Tcp => (["/proc/net/tcp", "/proc/net/tcp6"], "0A"),
        Protocol::Udp => (["/proc/net/udp", "/proc/net/udp6"], "07"),
    };
    let texts = tables
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok());
    texts
        .flat_map(|text| parse_proc_net(&text, state))
        .collect()
}

/// `/proc/net/tcp` and its likes (proc_pid_net(5)); `state` is the column `st`.
fn parse_proc_net(text: &str, state: &str) -> Vec<diag::ListeningSocket> {
    text.lines()
        .skip(1)
        .filter_map(|line| parse_proc_net_line(line, state))
        .collect()
}

fn parse_proc_net_line(line: &str, state: &str) -> Option<diag::ListeningSocket> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    if *fields.get(3)? != state {
        return None;
    }
    let (addr, port) = fields.get(1)?.split_once(':')?;
    Some(diag::ListeningSocket {
        addr: parse_hex_address(addr)?,
        port: u16::from_str_radix(port, 16).ok()?,
        inode: fields.get(9)?.parse().ok()?,
        uid: fields.get(7)?.parse().ok()?,
        queue: 0,
        backlog: 0,
    })
}

/// Words of 32 bits in the machine's byte order, in hexadecimal.
fn parse_hex_address(text: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        u32::from_str_radix(text.get(at..at + 8)?, 16)
            .ok()
            .map(u32::to_ne_bytes)
    };
    match text.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
            let bytes: [u8; 16] = words.try_into().ok()?;
            Some(IpAddr::V6(Ipv6Addr::from(bytes)))
        }
        _ => None,
    }
}

/// Parses whatever comes: for fuzzing, that nothing in here panics.
pub fn fuzz(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = parse_proc_net(&text, "0A");
    let _ = parse_hex_address(&text);
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};
    use std::os::fd::{AsFd, OwnedFd};
    use std::process::{Command, Stdio};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn this_process_is_found_by_port() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let me = std::process::id() as i32;
        assert_eq!(of_port(at, false).first().unwrap().pid, Some(me));
        let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), at.port());
        let holder = of_port(any, false).remove(0);
        assert!(
            holder.to_string().ends_with(&format!("(pid {me}) on {at}")),
            "{holder}"
        );
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let holders = of_port(udp.local_addr().unwrap(), true);
        assert_eq!(holders.first().unwrap().pid, Some(me));
    }

    #[test]
    fn a_search_that_has_no_time_ends_without_a_name() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let inode = rustix::fs::fstat(listener.as_fd()).unwrap().st_ino;
        let me = std::process::id() as i32;
        assert_eq!(one_holding(inode, || true), Some(me));
        let mut asked = 0;
        let twice = || {
            asked += 1;
            asked < 3
        };
        // Nobody has it, so all would be looked at.
        assert_eq!(one_holding(u64::MAX, twice), None);
        assert_eq!(asked, 3);
    }

    #[test]
    fn f05_a_child_of_a_child_that_holds_the_port_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let mut child = Command::new("sleep")
            .arg("60")
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .spawn()
            .unwrap();
        let holders = of_port(at, false);
        child.kill().unwrap();
        child.wait().unwrap();
        let text = list(&holders);
        assert!(
            text.contains(&format!("sleep (pid {})", child.id())),
            "{text}"
        );
    }

    #[test]
    fn the_table_in_proc_says_the_same_as_the_kernel() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let inode = rustix::fs::fstat(listener.as_fd()).unwrap().st_ino;
        let text = fs::read_to_string("/proc/net/tcp").unwrap();
        let all = parse_proc_net(&text, "0A");
        let found = all.iter().find(|s| s.inode == inode).unwrap();
        assert_eq!(found.socket_addr(), listener.local_addr().unwrap());
        assert_eq!(
            parse_hex_address("00000000000000000000000001000000"),
            Some(IpAddr::V6(Ipv6Addr::LOCALHOST))
        );
    }

    #[test]
    fn many_holders_are_counted() {
        let of = |pid| Holder {
            pid: Some(pid),
            command: Some("nginx".into()),
            uid: None,
            address: None,
            known: None,
        };
        let all: Vec<_> = (1..=5).map(of).collect();
        assert_eq!(
            list(&all),
            "nginx (pid 1), nginx (pid 2), nginx (pid 3) and 2 more"
        );
        assert!(list(&[]).contains("cannot be seen"));
    }

    #[test]
    fn what_is_known_of_a_holder_is_told_with_what_to_do() {
        let of = |pid, remedy| Holder {
            known: Some(Known {
                what: "left behind".into(),
                remedy,
                is_origin: false,
            }),
            pid: Some(pid),
            command: Some("python3".into()),
            uid: None,
            address: None,
        };
        let left = [of(1, Remedy::Kill(1)), of(2, Remedy::Kill(2))];
        assert_eq!(
            list(&left),
            "python3 (pid 1), left behind, python3 (pid 2), left behind"
        );
        assert_eq!(remedy(&left, "stop it"), "kill 1 2");
        let say = || Remedy::Say("handover stop web".into());
        assert_eq!(
            remedy(&[of(1, say()), of(2, say())], "stop it"),
            "handover stop web"
        );
        assert_eq!(remedy(&[], "stop it"), "stop it");
    }

    proptest! {
        #[test]
        fn any_table_is_parsed_without_panic(text in "(\\PC{0,40}[ :\n]){0,30}") {
            fuzz(text.as_bytes());
        }

        #[test]
        fn any_line_of_hexadecimal_is_parsed_without_panic(a in "[0-9A-Fé]{0,33}", p in "[0-9A-F]{0,5}") {
            fuzz(format!("head\n0: {a}:{p} 0:0 0A 0 0 0 0 0 7\n").as_bytes());
            fuzz(a.as_bytes());
        }
    }
}
