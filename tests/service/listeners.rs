//! Sockets that never close.

use std::io::Write;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use crate::support::{
    Load, Service, Start, eventually, example_server, free_port, get, get_unix, python_code, server,
};

#[test]
fn f05_a_port_in_use_says_by_whom() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = holder.local_addr().expect("an address").to_string();
    let ended = Start::bare(&server()).flag("--listen", &address).refused();
    ended.says(1, &[&address, &std::process::id().to_string()]);
}

#[test]
fn f05_a_port_in_use_by_another_service_says_by_which() {
    let first = Start::serving(&server()).flag("--name", "shop").start();
    let second = Start::bare(&server()).flag("--listen", first.address());
    let master = format!("(pid {}), the master of service shop", first.pid());
    let remedy = format!(
        "stop it: handover stop shop --runtime-dir {}",
        first.runtime_dir().display()
    );
    second.refused().says(
        1,
        &["in use by", &master, "neither has a config file", &remedy],
    );
    first.stop();
}

#[test]
fn port_0_keeps_its_number() {
    let service = Start::serving(&server()).start();
    let address = service.address();
    assert!(!address.ends_with(":0"), "{address}");
    service.handover("upgrade", &[]).says(0, &[]);
    assert_eq!(service.address(), address);
    assert_eq!(get(&address, "/").expect("an answer").status, 200);
    service.stop();
}

#[test]
fn several_named_listeners_arrive_in_order() {
    let program = python_code("print('names', os.environ['LISTEN_FDNAMES'], flush=True)\nserve()");
    let service = Start::serving(&program)
        .flag("--listen", "admin=127.0.0.1:0")
        .start();
    service.handover("logs", &[]).says(0, &[]);
    eventually("the worker tells the names", || {
        service
            .handover("logs", &[])
            .stdout
            .contains("names http:admin")
            .then_some(())
    });
    for listener in [0, 1] {
        assert_eq!(
            get(&service.address_of(listener), "/")
                .expect("an answer")
                .status,
            200
        );
    }
    service.stop();
}

#[test]
fn a_port_without_a_host_serves_both_families() {
    let port = free_port();
    let service = Start::bare(&server())
        .flag("--listen", format!(":{port}"))
        .start();
    assert_eq!(
        get(&format!("127.0.0.1:{port}"), "/").expect("IPv4").status,
        200
    );
    if Path::new("/proc/net/if_inet6").exists() {
        assert_eq!(
            get(&format!("[::1]:{port}"), "/").expect("IPv6").status,
            200
        );
    }
    service.stop();
}

#[test]
fn f08_a_unix_path_is_made_again_and_removed_at_the_end() {
    let start = Start::bare(&server());
    let path = start.path("web.sock");
    let service = start
        .flag("--listen", format!("unix:{}", path.display()))
        .start();
    assert_eq!(get_unix(&path, "/").expect("an answer").status, 200);
    std::fs::remove_file(&path).expect("the path is there");
    eventually("the path is back", || get_unix(&path, "/").ok());
    service.wait_event("listener_repaired");
    service.stop();
    assert!(!path.exists(), "removed at the end: {}", path.display());
}

#[test]
fn f08_a_unix_path_that_someone_else_took_over_is_left_alone() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("web.sock");
    let holder = UnixListener::bind(&path).expect("a socket");
    let listen = format!("unix:{}", path.display());
    let ended = Start::bare(&server()).flag("--listen", listen).refused();
    ended.says(1, &["web.sock"]);
    UnixStream::connect(&path).expect("its owner still has it");
    drop(holder);
}

#[test]
fn f08_a_stale_unix_path_is_replaced() {
    let start = Start::bare(&server());
    let path = start.path("web.sock");
    drop(UnixListener::bind(&path).expect("a socket")); // the path stays, nobody listens
    let service = start
        .flag("--listen", format!("unix:{}", path.display()))
        .start();
    assert_eq!(get_unix(&path, "/").expect("an answer").status, 200);
    service.stop();
}

#[test]
fn an_abstract_socket_serves() {
    let name = format!("handover-test-{}", free_port());
    let service = Start::bare(&server())
        .flag("--listen", format!("unix:@{name}"))
        .start();
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let mut stream = UnixStream::connect_addr(&address).expect("it listens");
    stream
        .write_all(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
        .expect("a request");
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a timeout");
    let answer = std::io::read_to_string(stream).expect("an answer");
    assert!(answer.contains("hello from generation 1"), "{answer}");
    service.stop();
}

/// On TERM this one ends the listener for everyone, as many programs do.
fn shuts_down_at_its_end() -> Vec<String> {
    python_code(
        "def end():\n\
         \x20   signal.sigwait({signal.SIGTERM})\n\
         \x20   listener.shutdown(socket.SHUT_RDWR)\n\
         \x20   os._exit(0)\n\
         signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})\n\
         listener = socket.socket(fileno=os.dup(3))\n\
         threading.Thread(target=end, daemon=True).start()\n\
         while True:\n\
         \x20   c, _ = listener.accept()\n\
         \x20   c.recv(4096)\n\
         \x20   c.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nok')\n\
         \x20   c.close()\n",
    )
}

#[test]
fn f03_shutdown_by_a_worker_is_noticed_and_repaired() {
    let service = Start::serving(&shuts_down_at_its_end()).start();
    service.upgrade_to(&server()).says(0, &[]);
    service.wait_event("listener_repaired");
    eventually("clients are served again", || {
        get(&service.address(), "/").ok()
    });
    service.stop();
}

#[test]
fn f03_shutdown_of_a_unix_listener_is_repaired() {
    let start = Start::bare(&shuts_down_at_its_end());
    let path = start.path("web.sock");
    let service = start
        .flag("--listen", format!("unix:{}", path.display()))
        .start();
    let command = server();
    let mut words = vec!["--label", "v2", "--"];
    words.extend(command.iter().map(String::as_str));
    service.handover("upgrade", &words).says(0, &[]);
    service.wait_event("listener_repaired");
    eventually("clients are served again", || get_unix(&path, "/").ok());
    // The new socket needs new workers, which run the same release.
    service.wait_generation(3);
    assert_eq!(service.status()["generations"][0]["label"], "v2");
    let page = service.handover("history", &[]).stdout;
    assert!(page.contains("listener_replaced"), "{page}");
    service.stop();
}

/// The flags of every listening socket that the master holds.
fn flags(service: &Service) -> Vec<String> {
    let folder = format!("/proc/{}/fdinfo", service.pid());
    let listener = service
        .address()
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok());
    let inode = inode_of(listener.expect("a port"));
    let mut flags = Vec::new();
    for entry in std::fs::read_dir(&folder)
        .expect("the master's descriptors")
        .flatten()
    {
        let number = entry.file_name();
        let target = std::fs::read_link(Path::new(&folder).with_file_name("fd").join(&number));
        if target.is_ok_and(|target| target.to_string_lossy() == format!("socket:[{inode}]")) {
            let info = std::fs::read_to_string(entry.path()).expect("fdinfo");
            flags.extend(
                info.lines()
                    .find(|line| line.starts_with("flags:"))
                    .map(str::to_owned),
            );
        }
    }
    assert!(!flags.is_empty(), "the master holds the listener {inode}");
    flags
}

/// The inode of the socket that listens on this port, from /proc/net/tcp (proc(5)).
fn inode_of(port: u16) -> u64 {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("/proc/net/tcp");
    let wanted = format!(":{port:04X}");
    let line = table.lines().find(|line| {
        let mut words = line.split_whitespace();
        words.nth(1).is_some_and(|local| local.ends_with(&wanted)) && words.nth(1) == Some("0A")
    });
    let inode = line.and_then(|line| line.split_whitespace().nth(9)?.parse().ok());
    inode.expect("a listening socket on the port")
}

#[test]
fn f04_no_flag_of_a_listener_changes_over_an_upgrade() {
    let service = Start::serving(&server()).start();
    let load = Load::on(&service.address());
    let before = flags(&service);
    std::thread::scope(|scope| {
        let upgrade = scope.spawn(|| service.handover("upgrade", &[]));
        while !upgrade.is_finished() {
            assert_eq!(flags(&service), before, "during the upgrade");
        }
        upgrade.join().expect("no panic").says(0, &[]);
    });
    assert_eq!(flags(&service), before, "after it");
    load.lost_nothing(1..=2);
    service.stop();
}

#[test]
fn f04_a_worker_that_sets_nonblocking_disturbs_nobody() {
    // tokio sets O_NONBLOCK on the shared listener; the Python server beside it must cope.
    let service = Start::serving(&server()).flag("--bake", "1s").start();
    let load = Load::on(&service.address());
    service
        .upgrade_to(&[example_server().display().to_string()])
        .says(0, &[]);
    service.upgrade_to(&server()).says(0, &[]);
    let event = service.wait_event("listener_changed");
    let what = event["what"].as_str().expect("a sentence");
    assert!(what.contains("nonblocking = true"), "{what}");
    assert_eq!(event["usual"], true, "{event}");
    load.lost_nothing(1..=3);
    service.stop();
}

#[test]
fn f04_a_release_that_dies_of_anothers_flag_is_told_so() {
    let event_loop = python_code(
        "import asyncio\n\
         async def main():\n\
         \x20   s = socket.socket(fileno=3); s.setblocking(False)\n\
         \x20   server = await asyncio.start_server(lambda r, w: w.close(), sock=s)\n\
         \x20   await server.serve_forever()\n\
         asyncio.run(main())",
    );
    let blocks = python_code("socket.socket(fileno=3).accept(); time.sleep(600)");
    let service = Start::serving(&event_loop).start();
    service.upgrade_to(&blocks).says(
        1,
        &[
            "Resource temporarily unavailable",
            "O_NONBLOCK of listener http was set by a worker, for every generation",
            "goes on after EAGAIN",
        ],
    );
    // Whatever else it dies of has nothing to do with that.
    let ended = service.upgrade_to(&python_code("sys.exit('no database')"));
    ended.says(1, &["no database"]);
    assert!(!ended.stderr.contains("O_NONBLOCK"), "{ended:#?}");
    service.stop();
}

#[test]
fn f04_a_release_that_hangs_after_a_flag_was_cleared_is_told_so() {
    let hangs = python_code(
        "def serve():\n\
         \x20   import select\n\
         \x20   e = select.epoll(); e.register(3, select.EPOLLIN)\n\
         \x20   notify('WATCHDOG=1'); e.poll(0.3)\n\
         \x20   os.set_blocking(3, True); socket.socket(fileno=3).accept(); time.sleep(600)\n\
         serve()",
    );
    let beats = python_code(
        "def beat():\n\
         \x20   while True: notify('WATCHDOG=1'); time.sleep(0.2)\n\
         threading.Thread(target=beat, daemon=True).start()\nserve()",
    );
    let command: Vec<String> = beats.iter().map(|word| format!("{word:?}")).collect();
    let config = format!(
        "[app]\ncommand = [{}]\nwatchdog = \"1s\"\n[[listen]]\naddress = \"127.0.0.1:0\"\nnonblocking = true\n",
        command.join(", ")
    );
    let service = Start::config(&config).flag("--bake", "20s").start();
    service.upgrade_to(&hangs).says(
        1,
        &[
            "sent no WATCHDOG=1",
            "was cleared by a worker meanwhile",
            "hangs in accept(2) then",
        ],
    );
    service.stop();
}

#[test]
fn f10_a_backlog_that_a_worker_cut_is_put_back() {
    let program = python_code("socket.socket(fileno=os.dup(3)).listen(1)\nserve()");
    let service = Start::serving(&program).start();
    let event = service.wait_event("listener_changed");
    let what = event["what"].as_str().expect("a sentence");
    assert!(what.contains("listen(2)"), "{what}");
    service.stop();
}

#[test]
fn f03_a_backlog_that_a_worker_cuts_long_after_it_was_ready_is_put_back() {
    let start = Start::bare(&[]);
    let wish = start.path("cut");
    let program = python_code(&format!(
        "def cut():\n\
         \x20   while not os.path.exists({wish:?}): time.sleep(0.02)\n\
         \x20   socket.socket(fileno=os.dup(3)).listen(1)\n\
         threading.Thread(target=cut, daemon=True).start()\nserve()",
        wish = wish.display().to_string()
    ));
    let service = Start::serving(&program).start();
    assert!(!service.events().contains("listener_changed"));
    std::fs::write(&wish, "").expect("a file");
    let event = service.wait_event("listener_changed");
    let what = event["what"].as_str().expect("a sentence");
    assert!(
        what.contains("listen(2)") && what.contains("4096"),
        "{what}"
    );
    service.stop();
}

#[test]
fn f08_a_unix_path_that_a_stranger_took_comes_back_when_the_stranger_goes() {
    let start = Start::bare(&server());
    let path = start.path("web.sock");
    let service = start
        .flag("--listen", format!("unix:{}", path.display()))
        .start();
    // Renamed over it, a stranger that listens is there at once: a bound one that does not listen yet
    // would pass for a dead one, and be replaced.
    let beside = path.with_file_name("stranger.sock");
    let stranger = UnixListener::bind(&beside).expect("a stranger");
    std::fs::rename(&beside, &path).expect("the stranger takes the path");
    let event = service.wait_event("listener_failed");
    let reason = event["reason"].as_str().expect("a sentence");
    assert!(reason.contains("taken over by"), "{reason}");
    std::fs::remove_file(&path).expect("the stranger's");
    eventually("the service answers there again", || {
        get_unix(&path, "/").ok()
    });
    drop(stranger);
    service.stop();
}

#[test]
fn an_idle_master_wakes_no_more_than_once_a_second() {
    let service = Start::serving(&server()).start();
    eventually("it sleeps through three seconds but for its looks", || {
        let before = service.wake_ups();
        std::thread::sleep(Duration::from_secs(3));
        (service.wake_ups() - before <= 3).then_some(())
    });
    service.stop();
}
