use proptest::prelude::*;

use super::*;

fn worker() -> Worker {
    Worker {
        life: 2,
        nonce: "feed".to_owned(),
        process: Some((4242, 987_654)),
        launched: 7_000_000_000,
        reported: true,
        ready: Some((61, "accept4 on http".to_owned())),
        status: None,
        told: Some(9_000_000_000),
        killed: false,
        unfit: None,
        main: None,
        group: Some(b"/sys/fs/cgroup/\xff".to_vec().into()),
        probe: Some(4),
        stored: vec!["state".to_owned(), "state".to_owned()],
    }
}

fn generation() -> Generation {
    Generation {
        release: 3,
        label: Some("v42".to_owned()),
        started_at: 1_774_112_645_120,
        to_be_told: Some(ToBeTold { operation: None }),
        ready: None,
        bake: Some((1, 2, None)),
        failure: Some(Failure {
            reason: "worker 2.0 exited".to_owned(),
            hint: None,
            hint_told: true,
            worker: Some("2.0".to_owned()),
            log_tail: vec!["boom".to_owned()],
        }),
        restarts: vec![(0, 3, 2)],
        was_active: false,
        drains_since: None,
        cut: Some(0),
        told: 5,
    }
}

#[test]
fn what_was_kept_is_had_again() {
    let mut table = Table::default();
    table.keep(7, 3, &worker());
    table.keep(7, 0, &generation());
    assert_eq!(table.kept::<Worker>(7, 3), Ok(Some(worker())));
    assert_eq!(table.kept::<Worker>(7, 4), Ok(None));
    assert_eq!(table.kept::<Generation>(7, 0), Ok(Some(generation())));
    let all = table.all_kept::<Worker>().expect("readable");
    assert_eq!(all.len(), 1);
    table.forget::<Worker>(7, 3);
    assert_eq!(table.kept::<Worker>(7, 3), Ok(None));
}

/// A worker as a version before this one wrote it, which knew the first fields only, and as a later one does.
#[test]
fn versions_read_each_other() {
    #[derive(Encode)]
    #[cbor(map)]
    struct Other {
        #[n(0)]
        life: u32,
        #[n(1)]
        nonce: String,
        #[n(3)]
        launched: u64,
        #[n(4)]
        reported: bool,
        #[n(8)]
        killed: bool,
        #[n(13)]
        stored: Vec<String>,
        #[n(99)]
        mood: Option<String>,
    }
    for mood in [None, Some("sunny".to_owned())] {
        let other = Other {
            life: 1,
            nonce: "feed".to_owned(),
            launched: 5,
            reported: false,
            killed: false,
            stored: Vec::new(),
            mood,
        };
        let mut table = Table::default();
        let key = Key {
            kind: Worker::KIND,
            of: 1,
            part: 0,
        };
        table.put(key, encoded(&other));
        let read = table.kept::<Worker>(1, 0).expect("readable");
        let read = read.expect("a worker");
        assert_eq!((read.life, read.nonce.as_str()), (1, "feed"));
        assert_eq!((read.process, read.ready, read.main), (None, None, None));
    }
}

#[test]
fn what_cannot_be_read_is_told_with_its_key() {
    let key = Key {
        kind: Worker::KIND,
        of: 7,
        part: 3,
    };
    let mut table = Table::default();
    table.put(key, b"\xff".to_vec());
    assert_eq!(table.kept::<Worker>(7, 3), Err(Misread::Value(key)));
    assert_eq!(table.all_kept::<Worker>(), Err(Misread::Value(key)));
}

#[test]
fn no_two_types_have_one_kind() {
    let kinds = [
        Service::KIND,
        Config::KIND,
        Tally::KIND,
        Listener::KIND,
        Release::KIND,
        Generation::KIND,
        BeganWith::KIND,
        Worker::KIND,
        Operation::KIND,
    ];
    let mut once = std::collections::BTreeSet::new();
    assert!(kinds.iter().all(|kind| *kind >= 32 && once.insert(*kind)));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 32u16..41) {
        let mut table = Table::default();
        table.put(Key { kind, of: 1, part: 0 }, bytes);
        drop(table.all_kept::<Service>());
        drop(table.all_kept::<Release>());
        drop(table.all_kept::<Generation>());
        drop(table.all_kept::<Worker>());
        drop(table.all_kept::<Operation>());
        drop(table.all_kept::<Tally>());
    }
}
