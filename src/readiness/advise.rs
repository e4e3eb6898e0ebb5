//! The line that helps the author of a worker that cannot take its socket.

use super::evidence::{Untaken, Wanted};
use super::foreign::Foreign;

const WHO_LISTENS: &str = "`ss -lntup` shows who listens where";

/// Whether a worker's last lines of output say that its address was taken.
pub fn says_address_in_use(lines: impl IntoIterator<Item: AsRef<str>>) -> bool {
    // glibc, Go, Rust, Python, Ruby, PHP: "address already in use" in some case; node:
    // EADDRINUSE; Java: "Address already in use" or "Address in use"; ports of Windows programs.
    const SAYINGS: [&str; 6] = [
        "address already in use",
        "eaddrinuse",
        "address in use",
        // gunicorn
        "connection in use",
        "only one usage of each socket address",
        "port is already in use",
    ];
    lines.into_iter().any(|line| {
        let line = line.as_ref().to_lowercase();
        SAYINGS.iter().any(|saying| line.contains(saying))
            || (line.contains("port ") && line.contains("already in use"))
    })
}

/// Whether a program met a call that would have to wait (EAGAIN) and took that for a fault.
pub fn says_would_block(lines: impl IntoIterator<Item: AsRef<str>>) -> bool {
    // glibc and most languages; their names for it.
    const SAYINGS: [&str; 4] = [
        "resource temporarily unavailable",
        "eagain",
        "wouldblock",
        "would block",
    ];
    lines.into_iter().any(|line| {
        let line = line.as_ref().to_lowercase();
        SAYINGS.iter().any(|saying| line.contains(saying))
    })
}

/// What a worker did instead of waiting on the sockets that it was given.
#[derive(Debug, Clone, Copy)]
pub enum Instead<'a> {
    /// It listens there.
    ListensOn(&'a Foreign),
    /// It ended because its address was taken: by the very socket that it was given.
    AddressInUse,
    /// It ended because its address was taken by somebody else.
    TakenBy(&'a Taken),
    /// It ended because an address was taken, and nobody knows which.
    SomethingInUse,
    /// Nothing that could be seen on these, until `ready.timeout`; on all where there is none.
    Nothing(&'a Untaken),
}

/// Who has the address that a worker wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The address that it named, or what its command names: `127.0.0.1:3000`, `port 3000`.
    pub named: String,
    /// Whether the program itself said so.
    pub said: bool,
    /// `python3 (pid 812) listens on 0.0.0.0:3000`
    pub by: String,
    /// What to do about that.
    pub remedy: String,
}

/// A worker that does not serve the sockets that it was given.
#[derive(Debug, Clone, Copy)]
pub struct Astray<'a> {
    /// What it did instead.
    pub instead: Instead<'a>,
    /// The process that was started: `LISTEN_PID` is its number.
    pub pid: i32,
    /// The command.
    pub argv: &'a [String],
    /// The interpreter of the command's `#!` line, where it has one.
    pub interpreter: Option<&'a str>,
    /// The shell that runs the command, when one does: `sh -c …`, or a `#!` script.
    pub shell: Option<&'a str>,
    /// What it was given, and what counts for readiness.
    pub wanted: &'a [Wanted],
}

/// What to tell about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// What was seen.
    pub fact: String,
    /// What its author can do.
    pub hint: String,
}

/// The words for a worker that does not serve the sockets that it was given.
pub fn advise(astray: &Astray<'_>) -> Advice {
    let Astray { pid, wanted, .. } = astray;
    let given = listed(wanted);
    let program = base_name(astray.argv.first().map_or("the program", String::as_str));
    let fact = match astray.instead {
        Instead::ListensOn(foreign) => format!(
            "{} (pid {}) listens on {} and not on the socket it was given, {given}",
            foreign.comm, foreign.pid, foreign.address
        ),
        Instead::AddressInUse => format!(
            "{program} (pid {pid}) ended because its address is in use: handover holds {given} and passes it on"
        ),
        Instead::TakenBy(Taken {
            named,
            said: true,
            by,
            ..
        }) => {
            format!("{program} (pid {pid}) ended because {named} is in use: {by}")
        }
        Instead::TakenBy(Taken { named, by, .. }) => format!(
            "{program} (pid {pid}) ended because an address that it binds is in use; its command names {named}, and {by}"
        ),
        Instead::SomethingInUse => format!(
            "{program} (pid {pid}) ended because an address that it binds is in use, and it did not say which"
        ),
        Instead::Nothing(untaken) => not_taken(astray, untaken),
    };
    Advice {
        fact,
        hint: hint(astray),
    }
}

fn not_taken(astray: &Astray<'_>, untaken: &Untaken) -> String {
    let but = |unseen| format!(", but {unseen}");
    let but = untaken.unseen.map_or_else(String::new, but);
    let waited = match untaken.unseen {
        Some(_) => "no thread of it was seen to wait",
        None => "no thread of it ever waited",
    };
    if !takes_some(astray) {
        return format!("{waited} on {}{but}", listed(astray.wanted));
    }
    let taken = others(astray.wanted, &untaken.listeners);
    let (taken, untaken) = (listed(&taken), listed(&untaken.listeners));
    format!("it takes {taken} and not {untaken}, on which {waited}{but}")
}

/// "http (127.0.0.1:80), admin (unix:/run/a)".
fn listed(wanted: &[Wanted]) -> String {
    let named = |wanted: &Wanted| format!("{} ({})", wanted.name, wanted.address);
    wanted.iter().map(named).collect::<Vec<_>>().join(", ")
}

/// Those of `wanted` that are not among `untaken`.
fn others(wanted: &[Wanted], untaken: &[Wanted]) -> Vec<Wanted> {
    let taken = |one: &&Wanted| !untaken.contains(one);
    wanted.iter().filter(taken).cloned().collect()
}

/// It serves a part of what it was given, so it can take a socket.
fn takes_some(astray: &Astray<'_>) -> bool {
    match astray.instead {
        Instead::Nothing(Untaken { listeners, .. }) => {
            !listeners.is_empty() && !others(astray.wanted, listeners).is_empty()
        }
        _ => false,
    }
}

fn hint(astray: &Astray<'_>) -> String {
    if takes_some(astray) {
        return "every descriptor from 3 on is a socket to serve: LISTEN_FDS says how many there are, LISTEN_FDNAMES \
                how they are called; ready = false in a [[listen]] exempts one"
            .to_owned();
    }
    match astray.instead {
        Instead::TakenBy(taken) => taken.remedy.clone(),
        Instead::SomethingInUse if astray.wanted.is_empty() => WHO_LISTENS.to_owned(),
        Instead::SomethingInUse => format!(
            "{WHO_LISTENS}; if it is {}: handover holds that and passes it on, {}",
            listed(astray.wanted),
            taking(astray)
        ),
        _ => taking(astray),
    }
}

/// How it takes a socket that it was given.
fn taking(astray: &Astray<'_>) -> String {
    let below = match astray.instead {
        Instead::ListensOn(foreign) => foreign.pid != astray.pid,
        _ => true,
    };
    if let Some(shell) = astray.shell.filter(|_| below) {
        return format!(
            "LISTEN_PID names the shell ({shell}, pid {}), so a program that it starts ignores the sockets: \
             write `exec` before the command in the script",
            astray.pid
        );
    }
    let comm = match astray.instead {
        Instead::ListensOn(foreign) => foreign.comm.as_str(),
        _ => "",
    };
    let how = snippet(comm, astray.interpreter, astray.argv).map_or_else(
        || "LISTEN_FDS says how many there are, see examples/server.py".to_owned(),
        str::to_owned,
    );
    let take = format!("the socket is descriptor 3: {how}");
    match astray.instead {
        Instead::Nothing(_) => format!(
            "{take}; if it is only slow, a longer ready.timeout; if it can be seen otherwise, ready.on = \"notify\", \
             \"output:REGEX\" or \"uptime:5s\""
        ),
        _ => format!(
            "{take}; for programs that cannot take one, route = \"balance\" comes in a later version"
        ),
    }
}

/// The shell that a command's program is, by its name.
pub fn shell_named(program: &str) -> Option<&str> {
    const SHELLS: [&str; 8] = ["sh", "bash", "dash", "ash", "ksh", "mksh", "zsh", "busybox"];
    Some(base_name(program)).filter(|name| SHELLS.contains(name))
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// How programs of a kind take descriptor 3.
fn snippet(comm: &str, interpreter: Option<&str>, argv: &[String]) -> Option<&'static str> {
    let program = argv.first().map_or("", |word| base_name(word));
    let arguments = argv.iter().skip(1).map(|word| base_name(word));
    // Servers before interpreters: gunicorn's process is python3.
    let interpreter = interpreter.map_or("", base_name);
    let names: Vec<&str> = arguments.chain([program, comm, interpreter]).collect();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::readiness::Unseen;

    fn wanted() -> [Wanted; 1] {
        [Wanted {
            inode: 1,
            datagram: false,
            name: "http".into(),
            address: "0.0.0.0:8080".into(),
            port: Some(8080),
        }]
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

    fn told(instead: Instead<'_>, pid: i32, command: &str, shell: Option<&str>) -> Advice {
        advise(&Astray {
            instead,
            pid,
            argv: &argv(command),
            interpreter: None,
            shell,
            wanted: &wanted(),
        })
    }

    #[test]
    fn a_worker_that_listens_elsewhere_is_told_how_to_take_its_socket() {
        let foreign = foreign();
        let advice = told(Instead::ListensOn(&foreign), 812, "python3 app.py", None);
        assert_eq!(
            advice.fact,
            "python3 (pid 812) listens on 0.0.0.0:3000 and not on the socket it was given, \
             http (0.0.0.0:8080)"
        );
        assert_eq!(
            advice.hint,
            "the socket is descriptor 3: socket.socket(fileno=3); for programs that cannot take one, \
             route = \"balance\" comes in a later version"
        );
    }

    #[test]
    fn below_a_shell_the_word_that_is_missing_is_exec() {
        let foreign = foreign();
        for instead in [
            Instead::ListensOn(&foreign),
            Instead::AddressInUse,
            Instead::Nothing(&Untaken::default()),
        ] {
            let advice = told(instead, 811, "./serve.sh", Some("sh"));
            assert!(
                advice
                    .hint
                    .starts_with("LISTEN_PID names the shell (sh, pid 811)")
                    && advice.hint.contains("`exec`"),
                "{advice:?}"
            );
        }
        // The shell itself became the program.
        let advice = told(Instead::ListensOn(&foreign), 812, "./serve.sh", Some("sh"));
        assert!(!advice.hint.contains("exec"), "{advice:?}");
    }

    #[test]
    fn a_worker_that_died_of_its_address() {
        let advice = told(Instead::AddressInUse, 9, "node server.js", None);
        assert!(
            advice
                .fact
                .starts_with("node (pid 9) ended because its address is in use"),
            "{advice:?}"
        );
        assert!(
            advice.hint.contains("server.listen({ fd: 3 })"),
            "{advice:?}"
        );
    }

    #[test]
    fn a_worker_that_never_touched_its_socket() {
        let advice = told(Instead::Nothing(&Untaken::default()), 9, "./server", None);
        assert_eq!(
            advice.fact,
            "no thread of it ever waited on http (0.0.0.0:8080)"
        );
        for part in [
            "examples/server.py",
            "ready.timeout",
            "\"notify\"",
            "\"uptime:5s\"",
        ] {
            assert!(advice.hint.contains(part), "{part:?} is not in {advice:?}");
        }
    }

    #[test]
    fn of_threads_that_were_not_looked_at_nothing_is_claimed() {
        let unseen = |unseen| Untaken {
            listeners: wanted().to_vec(),
            unseen: Some(unseen),
        };
        let (looked, all) = (2048, 3003);
        let threads = unseen(Unseen::Threads { looked, all });
        assert_eq!(
            told(Instead::Nothing(&threads), 9, "./server", None).fact,
            "no thread of it was seen to wait on http (0.0.0.0:8080), but only 2048 of its 3003 threads were looked at"
        );
        let processes = unseen(Unseen::Processes(128));
        assert_eq!(
            told(Instead::Nothing(&processes), 9, "./server", None).fact,
            "no thread of it was seen to wait on http (0.0.0.0:8080), but only 128 of its processes were looked at"
        );
    }

    #[test]
    fn who_takes_one_socket_of_two_is_told_which_is_left_and_nothing_of_a_shell() {
        let [http] = wanted();
        let (name, address) = ("admin".to_owned(), "unix:/run/admin".to_owned());
        let admin = Wanted {
            inode: 2,
            name,
            address,
            port: None,
            ..http.clone()
        };
        let advice = advise(&Astray {
            instead: Instead::Nothing(&Untaken {
                listeners: vec![admin.clone()],
                unseen: None,
            }),
            pid: 9,
            argv: &argv("./serve.sh"),
            interpreter: None,
            shell: Some("sh"),
            wanted: &[http, admin.clone()],
        });
        assert_eq!(
            advice.fact,
            "it takes http (0.0.0.0:8080) and not admin (unix:/run/admin), on which no thread of it ever waited"
        );
        assert!(
            advice.hint.contains("LISTEN_FDNAMES") && !advice.hint.contains("exec"),
            "{advice:?}"
        );
    }

    #[test]
    fn shells_are_known_by_their_names() {
        assert_eq!(shell_named("/bin/sh"), Some("sh"));
        assert_eq!(shell_named("bash"), Some("bash"));
        assert_eq!(shell_named("/usr/bin/python3"), None);
    }

    #[test]
    fn servers_come_before_their_interpreters() {
        let how = |comm: &str, words: &str| snippet(comm, None, &argv(words)).unwrap_or_default();
        assert!(how("python3", "/usr/bin/python3 /usr/bin/gunicorn app:app").contains("gunicorn"));
        assert!(how("gunicorn", "gunicorn app:app").contains("gunicorn"));
        assert!(how("python3", "python3 -m uvicorn app:app").contains("--fd 3"));
        assert!(how("app", "./app").is_empty());
        let script = snippet("app.py", Some("/usr/bin/python3"), &argv("./app.py"));
        assert_eq!(script, Some("socket.socket(fileno=3)"));
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
        assert!(says_would_block([
            "Traceback",
            "BlockingIOError: [Errno 11] Resource temporarily unavailable"
        ]));
        assert!(says_would_block(["accept: EWOULDBLOCK"]));
        assert!(!says_would_block(["connection refused", "it blocks"]));
        assert!(!says_address_in_use([
            "connection refused",
            "the file is in use"
        ]));
    }
}
