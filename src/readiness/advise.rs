//! The line that helps the author of a worker that cannot take its socket.

use std::fmt::Write as _;

use super::evidence::Wanted;
use super::foreign::Foreign;

/// Whether a worker's last lines of output say that its address was taken.
pub fn says_address_in_use(lines: impl IntoIterator<Item: AsRef<str>>) -> bool {
    // glibc, Go, Rust, Python, Ruby, PHP: "address already in use" in some case; node:
    // EADDRINUSE; Java: "Address already in use" or "Address in use"; ports of Windows programs.
    const SAYINGS: [&str; 5] = [
        "address already in use",
        "eaddrinuse",
        "address in use",
        "only one usage of each socket address",
        "port is already in use",
    ];
    lines.into_iter().any(|line| {
        let line = line.as_ref().to_lowercase();
        SAYINGS.iter().any(|saying| line.contains(saying))
            || (line.contains("port ") && line.contains("already in use"))
    })
}

/// What to tell about a worker that does not serve the socket it was given.
///
/// `elsewhere` is where it listens instead; `None` when it ended because its address was
/// taken. `has_balance`: this version knows `route = "balance"`.
pub fn advise(
    comm: &str,
    pid: i32,
    elsewhere: Option<&Foreign>,
    wanted: &Wanted,
    argv: &[String],
    has_balance: bool,
) -> String {
    let mut text = String::new();
    let given = format!("{} ({})", wanted.name, wanted.address);
    // Writing to a String cannot fail.
    let _ = match elsewhere {
        Some(foreign) => write!(
            text,
            "{} (pid {}) listens on {} and not on the socket it was given, {given}",
            foreign.comm, foreign.pid, foreign.address
        ),
        None => write!(
            text,
            "{comm} (pid {pid}) ended because its address is in use: handover holds {given} and \
             passes it on as an open socket, which the program must take instead of binding its own"
        ),
    };
    let name = elsewhere.map_or(comm, |foreign| foreign.comm.as_str());
    let port = elsewhere.and_then(|foreign| foreign.port).or(wanted.port);
    if has_balance {
        let _ = write!(
            text,
            "; if it cannot take one: handover run -l {} -- {}",
            listen_flag(wanted),
            with_port_template(argv, port)
        );
        return text;
    }
    let _ = write!(
        text,
        "; it has to take the socket itself (this version of handover has no route = \"balance\" yet, \
         which will serve programs that cannot): the sockets are the descriptors from 3 on, \
         LISTEN_FDS says how many and LISTEN_FDNAMES their names"
    );
    if let Some(how) = snippet(name, argv) {
        let _ = write!(text, "; for the first one: {how}");
    }
    text.push_str("; examples/server.py shows all of it");
    text
}

/// How programs of a kind take descriptor 3.
fn snippet(comm: &str, argv: &[String]) -> Option<&'static str> {
    let program = argv
        .first()
        .map_or("", |word| word.rsplit('/').next().unwrap_or(word));
    let arguments = argv
        .iter()
        .skip(1)
        .map(|word| word.rsplit('/').next().unwrap_or(word));
    // Servers before interpreters: gunicorn's process is python3.
    let names: Vec<&str> = arguments.chain([program, comm]).collect();
    const KINDS: [(&[&str], &str); 9] = [
        (
            &["gunicorn"],
            "gunicorn takes LISTEN_FDS by itself, or --bind fd://3",
        ),
        (&["uvicorn"], "uvicorn --fd 3"),
        (&["hypercorn"], "hypercorn --bind fd://3"),
        (
            &["nginx"],
            "NGINX='3;' in the environment, and the same `listen` address in its config",
        ),
        (
            &["puma"],
            "puma takes LISTEN_FDS by itself where `bind` names the same address",
        ),
        (&["python", "pypy"], "socket.socket(fileno=3)"),
        (&["node", "deno", "bun"], "server.listen({ fd: 3 })"),
        (&["ruby"], "TCPServer.for_fd(3)"),
        (&["perl"], "IO::Socket::INET->new_from_fd(3, '+<')"),
    ];
    let is = |kinds: &[&str]| {
        names
            .iter()
            .any(|name| kinds.iter().any(|k| name.starts_with(k)))
    };
    KINDS
        .iter()
        .find(|(kinds, _)| is(kinds))
        .map(|&(_, how)| how)
}

/// The address as one types it after `-l`.
fn listen_flag(wanted: &Wanted) -> String {
    match wanted.port {
        Some(port)
            if wanted.address.starts_with("0.0.0.0:") || wanted.address.starts_with("[::]:") =>
        {
            format!(":{port}")
        }
        _ => quote(&wanted.address),
    }
}

/// The command with its port as a template: in place where it names one, else appended.
fn with_port_template(argv: &[String], port: Option<u16>) -> String {
    let port = port.map(|port| port.to_string());
    let mut replaced = false;
    let mut words: Vec<String> = argv
        .iter()
        .skip(1)
        .map(|word| {
            let head = port.as_deref().and_then(|port| word.strip_suffix(port));
            match head {
                Some(head) if head.is_empty() || head.ends_with([':', '=']) => {
                    replaced = true;
                    format!("{head}{{port}}")
                }
                _ => word.clone(),
            }
        })
        .collect();
    if !replaced {
        words.extend(["--port".into(), "{port}".into()]);
    }
    let first = argv.first().map(String::as_str);
    first
        .into_iter()
        .chain(words.iter().map(String::as_str))
        .map(quote)
        .collect::<Vec<_>>()
        .join(" ")
}

/// A word as a shell takes it.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+{}[]".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        Wanted {
            inode: 1,
            datagram: false,
            name: "http".into(),
            address: "0.0.0.0:8080".into(),
            port: Some(8080),
        }
    }

    fn foreign() -> Foreign {
        Foreign {
            pid: 812,
            comm: "python3".into(),
            address: "0.0.0.0:3000".into(),
            port: Some(3000),
        }
    }

    fn argv(words: &str) -> Vec<String> {
        words.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn with_balance_it_is_the_designed_line() {
        let text = advise(
            "sh",
            811,
            Some(&foreign()),
            &wanted(),
            &argv("python3 app.py"),
            true,
        );
        assert_eq!(
            text,
            "python3 (pid 812) listens on 0.0.0.0:3000 and not on the socket it was given, \
             http (0.0.0.0:8080); if it cannot take one: \
             handover run -l :8080 -- python3 app.py --port {port}"
        );
    }

    #[test]
    fn a_port_in_the_command_becomes_the_template() {
        let with = |words: &str| with_port_template(&argv(words), Some(3000));
        assert_eq!(with("app --port=3000 -v"), "app --port={port} -v");
        assert_eq!(with("app -b 0.0.0.0:3000"), "app -b 0.0.0.0:{port}");
        assert_eq!(with("app -p 3000"), "app -p {port}");
        assert_eq!(with("app 13000"), "app 13000 --port {port}");
        let spaced = ["sh".to_owned(), "-c".to_owned(), "it's 1".to_owned()];
        assert_eq!(
            with_port_template(&spaced, None),
            r"sh -c 'it'\''s 1' --port {port}"
        );
    }

    #[test]
    fn without_balance_it_says_so_and_what_to_do_now() {
        let text = advise(
            "sh",
            811,
            Some(&foreign()),
            &wanted(),
            &argv("python3 app.py"),
            false,
        );
        for part in [
            "python3 (pid 812) listens on 0.0.0.0:3000 and not on the socket it was given",
            "no route = \"balance\" yet",
            "descriptors from 3 on",
            "socket.socket(fileno=3)",
            "examples/server.py",
        ] {
            assert!(text.contains(part), "{part:?} is not in {text:?}");
        }
        assert!(
            !text.contains("{port}"),
            "nothing to type that does not work: {text}"
        );
    }

    #[test]
    fn a_worker_that_died_of_its_address() {
        let text = advise("node", 9, None, &wanted(), &argv("node server.js"), false);
        assert!(
            text.starts_with("node (pid 9) ended because its address is in use"),
            "{text}"
        );
        assert!(text.contains("server.listen({ fd: 3 })"), "{text}");
    }

    #[test]
    fn servers_come_before_their_interpreters() {
        let how = |comm: &str, words: &str| snippet(comm, &argv(words)).unwrap_or_default();
        assert!(how("python3", "/usr/bin/python3 /usr/bin/gunicorn app:app").contains("gunicorn"));
        assert!(how("gunicorn", "gunicorn app:app").contains("gunicorn"));
        assert!(how("python3", "python3 -m uvicorn app:app").contains("--fd 3"));
        assert!(how("app", "./app").is_empty());
    }

    #[test]
    fn every_language_says_it_in_its_own_words() {
        for line in [
            "OSError: [Errno 98] Address already in use",
            "Error: listen EADDRINUSE: address already in use :::8080",
            "listen tcp :8080: bind: address already in use",
            "nginx: [emerg] bind() to 0.0.0.0:80 failed (98: Address already in use)",
            "java.net.BindException: Address already in use (Bind failed)",
            "Only one usage of each socket address (protocol/network address/port) is normally permitted.",
            "Web server failed to start. Port 8080 was already in use.",
        ] {
            assert!(says_address_in_use(["starting", line]), "{line}");
        }
        assert!(!says_address_in_use([
            "connection refused",
            "the file is in use"
        ]));
    }
}
