//! Listeners that no client gets through, and what is told of that while it lasts.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use serde_json::Value;

use crate::support::{Service, Start, eventually, get_unix, server};

/// Puts something else in the place of the socket.
type Obstacle = fn(&Path) -> Option<UnixListener>;

fn over(path: &Path, make: impl FnOnce(&Path)) {
    let beside = path.with_extension("beside");
    make(&beside);
    fs::rename(&beside, path).expect("in its place");
}

fn file(path: &Path) -> Option<UnixListener> {
    over(path, |beside| fs::write(beside, "").expect("a file"));
    None
}

fn dangling_link(path: &Path) -> Option<UnixListener> {
    over(path, |beside| {
        symlink("/nonexistent/x", beside).expect("a link")
    });
    None
}

fn directory(path: &Path) -> Option<UnixListener> {
    // The socket is back in no time: both try until one is there.
    eventually("the directory is there first", || {
        drop(fs::remove_file(path));
        fs::create_dir(path).ok()
    });
    None
}

fn stranger(path: &Path) -> Option<UnixListener> {
    let mut stranger = None;
    over(path, |beside| stranger = UnixListener::bind(beside).ok());
    assert!(stranger.is_some(), "it listens");
    stranger
}

fn remove(path: &Path) {
    match path.symlink_metadata().expect("it is there").is_dir() {
        true => fs::remove_dir(path).expect("removed"),
        false => fs::remove_file(path).expect("removed"),
    }
}

fn note(service: &Service) -> Option<String> {
    let status = service.status();
    let listener = &status["listeners"][0];
    let note = listener["note"].as_str().map(str::to_owned);
    assert_eq!(listener["broken"], note.is_some(), "{status}");
    let warned = status["warnings"].to_string().contains("is broken");
    assert_eq!(warned, note.is_some(), "{status}");
    note
}

fn readyz(service: &Service) -> (u16, String) {
    let answer = service.ask("GET", "/readyz", "").expect("an answer");
    (answer.status, answer.body)
}

fn metric(service: &Service, listener: &str) -> String {
    let answer = service.ask("GET", "/metrics", "").expect("an answer");
    let name = format!("handover_listener_broken{{listener=\"{listener}\"}} ");
    let mut lines = answer.body.lines();
    let value = lines.find_map(|line| line.strip_prefix(&name));
    value.expect("a sample").to_owned()
}

#[test]
fn f08_a_listener_that_no_client_gets_through_is_told_as_long_as_it_lasts() {
    let start = Start::bare(&server());
    let path = start.path("web.sock");
    let service = start
        .flag("--listen", format!("web=unix:{}", path.display()))
        .flag("--listen", "http=127.0.0.1:0")
        .flag("--bake", "50ms")
        .start();
    assert_eq!(note(&service), None);
    let obstacles: [(&str, Obstacle); 4] = [
        ("something that is not a socket", file),
        ("something that is not a socket", dangling_link),
        ("something that is not a socket", directory),
        ("taken over by", stranger),
    ];
    for (words, put) in obstacles {
        let stranger = put(&path);
        let said = eventually("the note says so", || note(&service));
        assert!(said.contains(words) && said.contains("web.sock"), "{said}");
        let page = service.handover("status", &[]).stdout;
        assert!(page.contains("broken: "), "{page}");
        assert!(
            page.lines()
                .next()
                .is_some_and(|it| it.contains("  serving  ")),
            "{page}"
        );
        assert_eq!(metric(&service, "web"), "1");
        assert_eq!(metric(&service, "http"), "0");
        // Clients of the other one are served.
        let (status, body) = readyz(&service);
        assert_eq!(status, 200, "{body}");
        assert!(
            body.contains("listener web is broken: ") && body.contains(words),
            "{body}"
        );
        for verb in ["upgrade", "reload"] {
            let answer = service.handover(verb, &[]);
            answer.says(0, &["listener web is broken: ", words]);
        }
        remove(&path);
        drop(stranger);
        eventually("clients get through again", || get_unix(&path, "/").ok());
        eventually("nothing is said any more", || {
            note(&service).is_none().then_some(())
        });
        assert_eq!(metric(&service, "web"), "0");
        assert!(!readyz(&service).1.contains("broken"));
        let answer = service.handover("reload", &[]);
        assert!(
            !answer.says(0, &[]).stderr.contains("broken"),
            "{answer:#?}"
        );
    }
    service.stop();
}

#[test]
fn f08_without_a_listener_that_clients_get_through_readyz_says_no() {
    let start = Start::bare(&server());
    let path = start.path("web.sock");
    let mut service = start
        .flag("--listen", format!("http=unix:{}", path.display()))
        .flag("--bake", "50ms")
        .start();
    file(&path);
    service.wait_told("listener http is broken: ");
    let (status, body) = readyz(&service);
    assert_eq!(status, 503, "{body}");
    assert!(
        body.starts_with("generation 1 active, 1 worker; listener http is broken: "),
        "{body}"
    );
    let page = service.handover("status", &[]).stdout;
    assert!(page.contains("  not serving  generation 1  "), "{page}");
    assert_eq!(
        service.status()["state"],
        "serving",
        "the word that scripts know"
    );
    let answer = service.handover("upgrade", &["--json"]);
    answer.says(0, &["listener http is broken: "]);
    let operation: Value = serde_json::from_str(&answer.stdout).expect("JSON");
    let warnings = operation["warnings"].to_string();
    assert!(warnings.contains("not a socket"), "{operation:#}");
    remove(&path);
    eventually("clients get through again", || get_unix(&path, "/").ok());
    eventually("it says so", || (readyz(&service).0 == 200).then_some(()));
    service.stop();
}
