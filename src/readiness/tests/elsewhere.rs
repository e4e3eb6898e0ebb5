//! A worker that listens somewhere else than on what it was given.

use super::*;
use crate::readiness::{Astray, Foreign, Instead, advise};

fn foreign_listeners(leader: i32, wanted: &[Wanted]) -> Vec<Foreign> {
    let mut observer = Observer::new(leader, wanted.to_vec(), vec![]);
    observer.look(Instant::now());
    observer.foreign_listeners(wanted)
}

#[test]
fn what_it_listens_on_instead_is_named() {
    for way in ["elsewhere", "elsewhere_in_a_child"] {
        let listener = tcp();
        let wanted = vec![wanted_tcp("http", &listener)];
        let mut program = Program::python(&[way], &listener, None);
        let port: u16 = program.line().parse().expect("a port");
        let found = foreign_listeners(program.pid(), &wanted);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(
            (found[0].port, found[0].address.clone()),
            (Some(port), format!("127.0.0.1:{port}"))
        );
        assert_eq!(found[0].pid == program.pid(), way == "elsewhere");
        assert!(found[0].comm.starts_with("python3"), "{found:?}");
        let argv = ["python3".to_owned(), "app.py".to_owned()];
        let line = advise(&Astray {
            interpreter: None,
            instead: Instead::ListensOn(&found[0]),
            pid: program.pid(),
            argv: &argv,
            shell: None,
            wanted: &wanted,
        });
        assert!(
            line.fact
                .contains(&format!("listens on 127.0.0.1:{port} and not")),
            "{line:?}"
        );
        never_accepts(&mut Observer::new(program.pid(), wanted, vec![]));
    }
}

#[test]
fn its_own_listener_is_not_foreign() {
    let listener = tcp();
    let mut program = Program::python(&["accept"], &listener, None);
    assert_eq!(program.line(), "there");
    assert_eq!(
        foreign_listeners(program.pid(), &[wanted_tcp("http", &listener)]),
        []
    );
}

#[test]
fn nobody_listens_nowhere() {
    let wanted = [wanted_tcp("http", &tcp())];
    assert_eq!(foreign_listeners(i32::MAX, &wanted), []);
    assert_eq!(foreign_listeners(-1, &wanted), []);
}
