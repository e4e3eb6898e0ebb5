//! Which address a program means when it says that its address is in use.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::advise::says_address_in_use;

/// An address as a program's line or command names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named {
    /// None where it names only a port, or a host.
    pub ip: Option<IpAddr>,
    /// Never 0.
    pub port: u16,
}

impl Named {
    /// Whether who is bound there keeps this one from being bound.
    pub fn overlaps(&self, held: SocketAddr) -> bool {
        let Self { ip, port } = self;
        let same = |ip: &IpAddr| {
            ip.is_unspecified()
                || held.ip().is_unspecified()
                || ip.to_canonical() == held.ip().to_canonical()
        };
        *port == held.port() && ip.as_ref().is_none_or(same)
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            Some(ip) => write!(f, "{}", SocketAddr::new(ip, self.port)),
            None => write!(f, "port {}", self.port),
        }
    }
}

/// Numbers of a command that are looked at.
const COMMAND_MAX: usize = 16;

/// The address that the last of these lines names that says that one is in use. Node, Go, nginx, Ruby, uvicorn and gunicorn
/// name it; Java and bind(2) in Python do not.
pub fn address_said<'a>(lines: impl DoubleEndedIterator<Item = &'a str>) -> Option<Named> {
    let mut saying = lines.rev().filter(|line| says_address_in_use([line]));
    saying.find_map(in_line)
}

/// The addresses and ports that a command may mean.
pub fn addresses_of_command(argv: &[String]) -> Vec<Named> {
    let words = argv.iter().skip(1).flat_map(|word| words(word));
    let meant = words.filter_map(|word| {
        in_word(word).or_else(|| port(word).map(|port| Named { ip: None, port }))
    });
    meant.take(COMMAND_MAX).collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c.is_whitespace() || "\"'`(),;=<>".contains(c))
        .filter(|word| !word.is_empty())
}

fn in_line(line: &str) -> Option<Named> {
    let all: Vec<&str> = words(line)
        .map(|word| word.trim_end_matches([':', '.', '/']))
        .collect();
    if let Some(named) = all.iter().find_map(|word| in_word(word)) {
        return Some(named);
    }
    // ('127.0.0.1', 8000); bind(2) for "127.0.0.1" port 3000; Port 8080 was already in use.
    let ip = all.iter().find_map(|word| word.parse().ok());
    let pairs = all.iter().zip(all.iter().skip(1));
    let mut ports = pairs.filter_map(|(before, word)| {
        let introduced = before.eq_ignore_ascii_case("port") || before.parse::<IpAddr>().is_ok();
        port(word).filter(|_| introduced)
    });
    ports.next().map(|port| Named { ip, port })
}

/// `127.0.0.1:80`, `[::]:80`, node's `:::80` and `::1:80`, `:80`, `*:80`, `localhost:80`, `tcp://0.0.0.0:80`.
fn in_word(word: &str) -> Option<Named> {
    let word = word.split_once("://").map_or(word, |(_, rest)| rest);
    let (host, digits) = word.rsplit_once(':')?;
    let port = port(digits)?;
    let bare = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    if let Ok(ip) = bare.unwrap_or(host).parse() {
        return Some(Named { ip: Some(ip), port });
    }
    // What else has a colon and a number is a line of a source file.
    ["", "*", "localhost"]
        .contains(&host)
        .then_some(Named { ip: None, port })
}

fn port(word: &str) -> Option<u16> {
    let digits = word.bytes().all(|byte| byte.is_ascii_digit());
    word.parse().ok().filter(|port| digits && *port > 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said(line: &str) -> Option<String> {
        address_said(["starting", line, "    at node:net:1937:7"].into_iter())
            .map(|named| named.to_string())
    }

    #[test]
    fn what_a_program_names_is_found_in_its_own_words() {
        for (line, named) in [
            (
                "Error: listen EADDRINUSE: address already in use 127.0.0.1:3000",
                "127.0.0.1:3000",
            ),
            (
                "Error: listen EADDRINUSE: address already in use :::3000",
                "[::]:3000",
            ),
            (
                "Error: listen EADDRINUSE: address already in use ::1:3000",
                "[::1]:3000",
            ),
            (
                "listen tcp :8080: bind: address already in use",
                "port 8080",
            ),
            (
                "listen tcp [::1]:8080: bind: address already in use",
                "[::1]:8080",
            ),
            (
                "nginx: [emerg] bind() to 0.0.0.0:80 failed (98: Address already in use)",
                "0.0.0.0:80",
            ),
            (
                "Address already in use - bind(2) for \"127.0.0.1\" port 3000 (Errno::EADDRINUSE)",
                "127.0.0.1:3000",
            ),
            (
                "ERROR: [Errno 98] error while attempting to bind on address ('127.0.0.1', 8000): address already in use",
                "127.0.0.1:8000",
            ),
            (
                "[ERROR] Connection in use: ('0.0.0.0', 8000)",
                "0.0.0.0:8000",
            ),
            (
                "Web server failed to start. Port 8080 was already in use.",
                "port 8080",
            ),
            (
                "cannot bind http://localhost:5000/: Address already in use",
                "port 5000",
            ),
        ] {
            assert_eq!(said(line).as_deref(), Some(named), "{line}");
        }
    }

    #[test]
    fn where_nothing_is_named_nothing_is_guessed() {
        for line in [
            "OSError: [Errno 98] Address already in use",
            "java.net.BindException: Address already in use (Bind failed)",
            "thread 'main' panicked at src/main.rs:12:34: Os { code: 98, kind: AddrInUse, message: \"Address already in use\" }",
            "cannot reach 127.0.0.1:3000",
        ] {
            assert_eq!(said(line), None, "{line}");
        }
    }

    #[test]
    fn a_command_means_what_it_names() {
        let argv = ["python3", "-m", "http.server", "21199", "--at=[::1]:80"].map(str::to_owned);
        let meant: Vec<String> = addresses_of_command(&argv)
            .iter()
            .map(Named::to_string)
            .collect();
        assert_eq!(meant, ["port 21199", "[::1]:80"]);
    }

    #[test]
    fn an_address_is_kept_from_all_that_overlap() {
        let named = |text: &str| in_word(text).expect("an address");
        let held = |text: &str| text.parse::<SocketAddr>().expect("an address");
        assert!(named("127.0.0.1:80").overlaps(held("0.0.0.0:80")));
        assert!(named("0.0.0.0:80").overlaps(held("127.0.0.2:80")));
        assert!(named(":80").overlaps(held("127.0.0.2:80")));
        assert!(!named("127.0.0.1:80").overlaps(held("127.0.0.2:80")));
        assert!(!named("127.0.0.1:80").overlaps(held("127.0.0.1:81")));
    }

    proptest! {
        #[test]
        fn any_line_is_read_without_panic(line in "(\\PC{0,8}|[:0-9.\\[\\]]{0,12}| port | in use){0,12}") {
            let _ = in_line(&line);
            let _ = addresses_of_command(&["x".into(), line]);
        }
    }
}
