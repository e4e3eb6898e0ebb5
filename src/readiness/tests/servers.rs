//! Servers as people run them.

use std::process::Command;

use super::*;
use crate::readiness::{How, SecondSign};

#[test]
fn node_is_seen() {
    let listener = tcp();
    let script = fixture("server.js");
    let program = Program::start(&["node", &script], &listener, None, &[]);
    let evidence = accepting(&program, vec![wanted_tcp("http", &listener)]);
    assert!(!evidence.waits[0].edge, "{evidence}");
    assert_eq!(evidence.second_sign, None);
}

#[test]
fn gunicorn_is_seen_in_its_children() {
    let listener = tcp();
    let folder = fixture("");
    let argv = [
        "gunicorn",
        "--bind",
        "fd://3",
        "--workers",
        "2",
        "--chdir",
        &folder,
        "wsgi:app",
    ];
    let program = Program::start(&argv, &listener, None, &[("PYTHONDONTWRITEBYTECODE", "1")]);
    let evidence = accepting(&program, vec![wanted_tcp("http", &listener)]);
    assert_ne!(
        evidence.waits[0].pid,
        program.pid(),
        "its workers accept: {evidence}"
    );
}

#[test]
fn nginx_is_seen_in_its_workers() {
    let listener = tcp();
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path().display();
    let address = listener.local_addr().expect("bound");
    let config = format!(
        "daemon off; worker_processes 2; pid {at}/pid; error_log stderr;
         events {{ worker_connections 64; }}
         http {{ access_log off; client_body_temp_path {at}/a; proxy_temp_path {at}/b;
           fastcgi_temp_path {at}/c; uwsgi_temp_path {at}/d; scgi_temp_path {at}/e;
           server {{ listen {address}; return 204; }} }}"
    );
    let file = folder.path().join("nginx.conf");
    std::fs::write(&file, config).expect("written");
    let file = file.display().to_string();
    let argv = ["nginx", "-p", &at.to_string(), "-c", &file, "-e", "stderr"];
    let program = Program::start(&argv, &listener, None, &[("NGINX", "3;")]);
    let evidence = accepting(&program, vec![wanted_tcp("http", &listener)]);
    assert_ne!(
        evidence.waits[0].pid,
        program.pid(),
        "its workers accept: {evidence}"
    );
    assert!(!evidence.waits[0].edge, "{evidence}");
}

/// What a Rust program does, in a process of its own: this test binary started again, its
/// listener as standard input.
const ROLE: &str = "HANDOVER_TEST_ROLE";

fn start_role(role: &str, listener: &TcpListener) -> Program {
    let own = std::env::current_exe().expect("this test has a path");
    let mut command = Command::new(own);
    command
        .args([
            "--exact",
            "readiness::tests::servers::plays_its_role",
            "--nocapture",
        ])
        .env(ROLE, role)
        .stdin(OwnedFd::from(listener.try_clone().expect("duplicated")))
        .stdout(Stdio::piped())
        .process_group(0);
    let mut child = command.spawn().expect("this test runs");
    let output = BufReader::new(child.stdout.take().expect("stdout is piped"));
    Program { child, output }
}

/// The other side of [`start_role`]; started by hand it is only another observed program.
#[test]
fn plays_its_role() {
    let role = std::env::var(ROLE);
    let listener = || {
        let input = std::io::stdin();
        TcpListener::from(input.as_fd().try_clone_to_owned().expect("duplicated"))
    };
    match role.as_deref() {
        Ok("thread") => {
            let _ = listener().accept();
        }
        Ok("tokio") => {
            let listener = listener();
            listener.set_nonblocking(true).expect("flags can be set");
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("registered");
                let _ = listener.accept().await;
            });
        }
        Ok(other) => panic!("no such role: {other}"),
        Err(_) => {
            let listener = tcp();
            let program = Program::python(&["accept"], &listener, None);
            accepting(&program, vec![wanted_tcp("http", &listener)]);
        }
    }
}

#[test]
fn a_rust_thread_in_accept_is_seen() {
    let listener = tcp();
    let program = start_role("thread", &listener);
    let evidence = accepting(&program, vec![wanted_tcp("http", &listener)]);
    assert!(
        matches!(evidence.waits[0].how, How::Accept | How::Accept4),
        "{evidence}"
    );
    assert_ne!(
        evidence.waits[0].tid,
        program.pid(),
        "a thread accepts, not the first one"
    );
}

#[test]
fn tokio_is_seen_after_a_rest() {
    let listener = tcp();
    let program = start_role("tokio", &listener);
    let evidence = accepting(&program, vec![wanted_tcp("http", &listener)]);
    assert!(
        evidence.waits[0].edge,
        "tokio registers edge-triggered: {evidence}"
    );
    assert!(
        matches!(evidence.second_sign, Some(SecondSign::Rest(_))),
        "{evidence}"
    );
}
