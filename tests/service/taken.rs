//! A program that binds an address that somebody has: who has it is told, and nothing that was not seen.

use std::net::TcpListener;

use crate::support::{Start, free_port, python, python_code, server};

/// A port that this test has.
fn held() -> (TcpListener, u16, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let by = format!("(pid {}) listens on 127.0.0.1:{port}", std::process::id());
    (listener, port, by)
}

fn words(command: &str) -> Vec<String> {
    command.split(' ').map(str::to_owned).collect()
}

#[test]
fn a_port_that_a_stranger_has_is_not_said_to_be_handovers() {
    let (_held, port, by) = held();
    let service = Start::serving(&server()).start();
    // Python does not say which address it was, but the command does.
    let command = format!("{} -m http.server {port} --bind 127.0.0.1", python());
    let failed = service.upgrade_to(&words(&command));
    let names = format!("its command names port {port}, and ");
    let hint = "hint: stop that, or let the program bind another address";
    failed.says(1, &[&names, &by, hint, "serves as before"]);
    assert!(!failed.stderr.contains("handover holds"), "{failed:#?}");
    // This one says it.
    let says = python_code(&format!(
        "try: socket.create_server(('127.0.0.1', {port}))\n\
         except OSError: sys.exit('Error: listen EADDRINUSE: address already in use 127.0.0.1:{port}')"
    ));
    let fact = format!("ended because 127.0.0.1:{port} is in use: ");
    service.upgrade_to(&says).says(1, &[&fact, &by, hint]);
    service.stop();
}

#[test]
fn an_address_that_nobody_names_is_not_guessed() {
    let (_held, port, _) = held();
    let start = Start::serving(&server());
    let file = start.path("port");
    std::fs::write(&file, port.to_string()).expect("a file");
    let service = start.start();
    // What bind(2) says in Python, and no more.
    let binds = "socket.socket().bind(('127.0.0.1', int(open('port').read())))";
    let failed = service.upgrade_to(&python_code(binds));
    failed.says(
        1,
        &[
            "ended because an address that it binds is in use, and it did not say which",
            "hint: `ss -lntup` shows who listens where; if it is http (127.0.0.1:",
            "handover holds that and passes it on, the socket is descriptor 3: socket.socket(fileno=3)",
        ],
    );
    service.stop();
}

#[test]
fn the_port_that_was_given_is_handovers() {
    let service = Start::serving(&server()).start();
    let address = service.address();
    let port = address.rsplit(':').next().expect("a port");
    let binds = python_code(&format!("socket.create_server(('127.0.0.1', {port}))"));
    let fact = format!("ended because its address is in use: handover holds http ({address})");
    service
        .upgrade_to(&binds)
        .says(1, &[&fact, "the socket is descriptor 3"]);
    service.stop();
}

#[test]
fn workers_that_bind_a_port_of_their_own_are_told_of_that_and_not_of_each_other() {
    let port = free_port();
    let fact = |ended: &crate::support::Ended| {
        let at =
            format!(") listens on 127.0.0.1:{port} and not on the socket it was given, http (127.");
        ended.says(1, &[" has the address: ", &at, "socket.socket(fileno=3)"]);
        assert!(!ended.stderr.contains("is in use:"), "{ended:#?}");
    };
    let own = |on_fault: &str| {
        python_code(&format!(
            "try: listener = socket.create_server(('127.0.0.1', {port}))\n\
             except OSError as error: {on_fault}\n\
             while True: listener.accept()"
        ))
    };
    let (silent, names) = (
        "sys.exit(str(error)[:36])",
        "sys.exit('listen tcp :{PORT}: bind: address already in use')",
    );
    for on_fault in [silent, &names.replace("{PORT}", &port.to_string())] {
        let start = Start::serving(&own(on_fault)).flag("--workers", "2");
        fact(&start.refused());
    }
}

#[test]
fn a_port_that_each_worker_opens_beside_the_given_one_is_told_with_who_has_it() {
    let port = free_port();
    let serves = python_code(&format!(
        "metrics = socket.create_server(('127.0.0.1', {port}))\nserve()"
    ));
    let service = Start::serving(&serves).start();
    let [worker] = service.workers(1)[..] else {
        panic!("one worker: {}", service.status())
    };
    let failed = service.handover("upgrade", &[]);
    let by = format!("(pid {worker}), listens on 127.0.0.1:{port}");
    let hint = format!("one more [[listen]] with address = \"127.0.0.1:{port}\"");
    failed.says(1, &["worker 1.0, ", &by, &hint, "SO_REUSEPORT"]);
    service.stop();
}
