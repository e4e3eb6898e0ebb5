//! Listeners that come, go and change while the service runs.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use nix::sys::signal::Signal;

use crate::support::{
    Broken, Ended, Load, Service, Start, eventually, free_port, get, get_unix, python_code, server,
};

/// The example server, which also tells the names of what it was given.
fn telling_names() -> Vec<String> {
    python_code("print('names', os.environ.get('LISTEN_FDNAMES', 'none'), flush=True)\nserve()")
}

/// A config with these listeners, each `NAME ADDRESS` and then keys.
fn config(command: &[String], listeners: &[String]) -> String {
    let quoted: Vec<String> = command.iter().map(|word| format!("{word:?}")).collect();
    let mut text = format!(
        "[upgrade]\nbake = \"200ms\"\n[app]\ncommand = [{}]\n",
        quoted.join(", ")
    );
    for listener in listeners {
        let mut words = listener.splitn(3, ' ');
        let mut next = || words.next().unwrap_or_default();
        let (name, address, keys) = (next(), next(), next());
        text += &format!("[[listen]]\nname = {name:?}\naddress = {address:?}\n{keys}\n");
    }
    text
}

/// Says the same of every listener, on loopback.
fn at(name: &str, port: u16) -> String {
    format!("{name} 127.0.0.1:{port}")
}

fn start(listeners: &[String]) -> Service {
    Start::config(&config(&telling_names(), listeners)).start()
}

/// Writes the config with these listeners, and reloads.
fn reload(service: &Service, listeners: &[String]) -> Ended {
    let text = config(&telling_names(), listeners);
    std::fs::write(service.path("web.toml"), text).expect("the config");
    service.handover("reload", &[])
}

/// What the worker of this generation said that it was given.
#[track_caller]
fn names(service: &Service, generation: u64) -> String {
    let generation = generation.to_string();
    eventually("the worker tells its names", || {
        let said = service
            .handover("logs", &["--generation", &generation])
            .stdout;
        let line = said.lines().find(|line| line.contains("names "))?;
        Some(line.split("names ").nth(1)?.to_owned())
    })
}

fn refused(port: u16) -> bool {
    let connected = TcpStream::connect(("127.0.0.1", port));
    connected.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

/// The inode of the socket that listens on this port (proc(5)).
fn inode(port: u16) -> String {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("/proc/net/tcp");
    let wanted = format!(":{port:04X}");
    let mut lines = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let found = lines.find(|words| words[1].ends_with(&wanted) && words[3] == "0A");
    found.expect("a listening socket")[9].to_owned()
}

fn listeners(service: &Service) -> Vec<String> {
    let status = service.status();
    let all = status["listeners"].as_array().expect("a list").iter();
    all.map(|it| it["name"].as_str().expect("a name").to_owned())
        .collect()
}

#[test]
fn a_reload_adds_renames_and_removes_listeners_under_load() {
    let (web, admin) = (free_port(), free_port());
    let service = start(&[at("web", web)]);
    let load = Load::on(&format!("127.0.0.1:{web}"));
    let socket = inode(web);

    reload(&service, &[at("admin", admin), at("web", web)]).says(0, &[]);
    assert_eq!(names(&service, 2), "admin:web", "the order of the config");
    assert_eq!(listeners(&service)[..2], ["admin", "web"]);
    let answer = get(&format!("127.0.0.1:{admin}"), "/").expect("the new one serves");
    assert_eq!(answer.generation(), Some(2));

    reload(&service, &[at("front", web), at("admin", admin)]).says(0, &[]);
    assert_eq!(names(&service, 3), "front:admin");

    reload(&service, &[at("front", web)]).says(0, &[]);
    assert_eq!(names(&service, 4), "front");
    service.wait_ended(3);
    eventually("the removed one is closed", || refused(admin).then_some(()));
    eventually("status knows it no more", || {
        (listeners(&service) == ["front"]).then_some(())
    });
    assert_eq!(inode(web), socket, "never bound again");
    load.lost_nothing(1..=4);

    let unchanged = service.handover("reload", &[]);
    unchanged.says(0, &[]);
    assert_eq!(service.generation(), 4, "{unchanged:#?}");
    for kind in ["listener_opened", "listener_closed"] {
        assert_eq!(service.wait_event(kind)["listener"], "admin");
    }
    service.stop();
}

#[test]
fn a_removed_listener_is_refused_only_after_its_generation_ended() {
    let (web, old, new) = (free_port(), free_port(), free_port());
    let service = start(&[at("web", web), at("api", old)]);
    let slow = std::thread::spawn(move || get(&format!("127.0.0.1:{old}"), "/slow?ms=2500"));
    eventually("the worker has the slow request", || {
        (service.status()["generations"][0]["workers"][0]["connections"] == 1).then_some(())
    });
    // The same name, another address: one goes, one comes.
    reload(&service, &[at("web", web), at("api", new)]).says(0, &[]);
    assert_eq!(service.generation(), 2);
    let answer = get(&format!("127.0.0.1:{new}"), "/").expect("the new address serves");
    assert_eq!(answer.generation(), Some(2));
    let (mut closed_early, mut looks) = (false, 0);
    while !service.workers(1).is_empty() {
        looks += 1;
        let gone = refused(old);
        closed_early |= gone && !service.workers(1).is_empty();
    }
    assert!(!closed_early, "closed while its generation drained");
    assert!(looks > 0, "it drained while it was looked at");
    eventually("then it is closed", || refused(old).then_some(()));
    let slow = slow
        .join()
        .expect("no panic")
        .expect("the slow request ended well");
    assert_eq!(slow.generation(), Some(1));
    service.stop();
}

#[test]
fn a_worker_of_the_old_generation_is_started_again_with_its_own_listeners() {
    let (web, admin) = (free_port(), free_port());
    let start = Start::config(&config(&telling_names(), &[at("web", web)])).flag("--bake", "600s");
    let service = start.start();
    let text = config(&telling_names(), &[at("web", web), at("admin", admin)]);
    std::fs::write(service.path("web.toml"), text).expect("the config");
    service.handover("reload", &["--no-wait"]).says(0, &[]);
    service.wait_event("bake_started");
    let [old] = service.workers(1)[..] else {
        panic!("{}", service.status())
    };
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(old), Signal::SIGKILL).expect("there");
    eventually("another one is there", || {
        let now = service.workers(1);
        (now.len() == 1 && now != [old]).then_some(())
    });
    eventually("it tells its names", || {
        let said = service.handover("logs", &["--generation", "1"]).stdout;
        (said.matches("names web\n").count() == 2).then_some(())
    });
    assert_eq!(names(&service, 2), "web:admin");
    service.handover("abort", &[]).says(0, &[]);
    eventually("the added one is closed again", || {
        refused(admin).then_some(())
    });
    service.stop();
}

#[test]
fn a_failed_upgrade_closes_what_it_added_and_nothing_else() {
    let (web, admin) = (free_port(), free_port());
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("api.sock");
    let service = start(&[at("web", web)]);
    let load = Load::on(&format!("127.0.0.1:{web}"));
    let socket = inode(web);
    let all = [
        at("web", web),
        at("admin", admin),
        format!("api unix:{}", path.display()),
    ];
    let text = config(&Broken::at_once(), &all);
    std::fs::write(service.path("web.toml"), text).expect("the config");
    for verb in ["upgrade", "reload"] {
        service
            .handover(verb, &[])
            .says(1, &["cannot find the database"]);
        eventually("the added ones are closed", || {
            (refused(admin) && !path.exists()).then_some(())
        });
    }
    assert_eq!((service.generation(), inode(web)), (1, socket));
    assert_eq!(listeners(&service), ["web"]);
    load.lost_nothing([1]);
    service.stop();
}

#[test]
fn one_listener_that_cannot_be_bound_changes_nothing_at_all() {
    let (web, admin) = (free_port(), free_port());
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = holder.local_addr().expect("an address").port();
    let service = start(&[at("web", web)]);
    let before = service.status()["listeners"].clone();
    let all = [at("web", web), at("admin", admin), at("taken", taken)];
    let ended = reload(&service, &all);
    ended.says(
        1,
        &[
            "listener taken",
            "in use by",
            &std::process::id().to_string(),
        ],
    );
    let said = ended.stderr.matches("in use by").count();
    assert_eq!(said, 1, "{}", ended.stderr);
    assert!(refused(admin), "bound before it, and closed again");
    let absent = [at("web", web), "api fd:api".to_owned()];
    reload(&service, &absent).says(2, &["web.toml:", "\"api\"", "only when the master starts"]);
    let overlapping = [format!("web 0.0.0.0:{web}")];
    reload(&service, &overlapping).says(1, &["own listener web"]);
    service.signal(Signal::SIGHUP);
    service.wait_event("config_refused");
    let now = service.status();
    assert_eq!(
        (&now["listeners"], &now["generation"]),
        (&before, &1.into())
    );
    // And mended it works, by the signal too.
    drop(holder);
    std::fs::write(service.path("web.toml"), config(&telling_names(), &all)).expect("the config");
    service.signal(Signal::SIGUSR2);
    service.wait_generation(2);
    assert_eq!(names(&service, 2), "web:admin:taken");
    service.stop();
}

#[test]
fn backlog_and_permissions_of_a_kept_listener_change_at_once() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("web.sock");
    let listener = |keys: &str| [format!("web unix:{} {keys}", path.display())];
    let service = start(&listener("mode = \"0600\"\nbacklog = 64"));
    let inode = |path: &Path| std::fs::metadata(path).expect("the socket").ino();
    let before = inode(&path);
    let ended = reload(&service, &listener("mode = \"0666\"\nbacklog = 5"));
    ended.says(0, &[]);
    let applied =
        "serves on; applied: listener web: backlog 64 to 5, listener web: mode 0600 to 0666\n";
    assert!(ended.stdout.ends_with(applied), "{ended:#?}");
    assert_eq!(service.generation(), 1, "no new generation for that");
    let mode = std::fs::metadata(&path)
        .expect("the socket")
        .permissions()
        .mode();
    assert_eq!((mode & 0o777, inode(&path)), (0o666, before));
    assert_eq!(service.status()["listeners"][0]["backlog"], 5);
    assert_eq!(get_unix(&path, "/").expect("an answer").status, 200);
    for _ in 0..2 {
        let keys = "mode = \"0666\"\nbacklog = 5\nready = false";
        let ended = reload(&service, &listener(keys));
        let later = "serves on; ready of listener web takes effect with the next generation: ";
        assert!(ended.stdout.contains(later), "{ended:#?}");
    }
    service.stop();
}

#[test]
fn f08_a_removed_unix_listener_takes_its_path_along_and_comes_back() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("api.sock");
    let web = free_port();
    let both = [at("web", web), format!("api unix:{}", path.display())];
    let service = start(&both);
    reload(&service, &both[..1]).says(0, &[]);
    service.wait_ended(1);
    eventually("the path is removed", || (!path.exists()).then_some(()));
    reload(&service, &both).says(0, &[]);
    assert_eq!(get_unix(&path, "/").expect("an answer").status, 200);
    // A lost path of one that came later is mended, too.
    std::fs::remove_file(&path).expect("the path");
    eventually("the path is back", || get_unix(&path, "/").ok());
    service.stop();
    assert!(!path.exists());
}

#[test]
fn a_rollback_keeps_the_listeners_of_the_config() {
    let (web, admin) = (free_port(), free_port());
    let service = start(&[at("web", web)]);
    service.upgrade_to(&server()).says(0, &[]);
    reload(&service, &[at("web", web), at("admin", admin)]).says(0, &[]);
    assert_eq!(service.generation(), 3);
    service.handover("rollback", &[]).says(0, &[]);
    assert_eq!(
        names(&service, 4),
        "web:admin",
        "the program of generation 1, the listeners of now"
    );
    service.wait_ended(3);
    get(&format!("127.0.0.1:{admin}"), "/").expect("it serves");
    service
        .handover("rollback", &[])
        .says(1, &["nothing to go back to"]);
    service.stop();
}

#[test]
fn f04_connections_that_wait_in_the_queue_of_a_kept_listener_are_served_by_the_next() {
    // Nobody of generation 1 accepts on `web`; it waits on `ready` alone.
    let (web, ready) = (free_port(), free_port());
    let hoarding = python_code(
        "names = os.environ['LISTEN_FDNAMES'].split(':')\n\
         s = socket.socket(fileno=3 + names.index('ready'))\n\
         while True: s.accept()",
    );
    let idle = format!("web 127.0.0.1:{web} ready = false");
    let text = config(&hoarding, &[idle.clone(), at("ready", ready)]);
    let service = Start::config(&text).start();
    let waiting: Vec<_> = (0..8)
        .map(|_| std::thread::spawn(move || get(&format!("127.0.0.1:{web}"), "/")))
        .collect();
    eventually("they wait", || {
        let table = std::fs::read_to_string("/proc/net/tcp").expect("/proc/net/tcp");
        let wanted = format!(":{web:04X}");
        let queue = table.lines().find_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            (words[1].ends_with(&wanted) && words[3] == "0A").then(|| words[4].to_owned())
        });
        queue
            .is_some_and(|queue| queue.ends_with(":00000008"))
            .then_some(())
    });
    reload(&service, &[at("renamed", web)]).says(0, &[]);
    for client in waiting {
        let answer = client
            .join()
            .expect("no panic")
            .expect("not refused, not reset");
        assert_eq!(answer.generation(), Some(2));
    }
    service.stop();
}

#[test]
fn calls_that_come_while_a_listener_is_bound_are_answered_and_bind_it_once() {
    let (web, admin) = (free_port(), free_port());
    let service = start(&[at("web", web)]);
    let all = [at("web", web), format!("admin localhost:{admin}")];
    std::fs::write(service.path("web.toml"), config(&telling_names(), &all)).expect("the config");
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..6)
            .map(|_| scope.spawn(|| service.handover("reload", &[])))
            .collect();
        for call in calls {
            call.join().expect("no panic").says(0, &[]);
        }
    });
    assert_eq!(
        (service.generation(), names(&service, 2)),
        (2, "web:admin".to_owned())
    );
    assert_eq!(service.events().matches("\"listener_opened\"").count(), 1);
    get(&format!("localhost:{admin}"), "/").expect("it serves");
    // A stop does not wait for a name that nobody can look up, nor does a call for one get lost.
    let text = config(
        &telling_names(),
        &[at("web", web), "far no-such-host.invalid:80".to_owned()],
    );
    std::fs::write(service.path("web.toml"), text).expect("the config");
    service
        .handover("reload", &[])
        .says(1, &["no-such-host.invalid", "cannot be resolved"]);
    service.stop();
}
