use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{MemfdFlags, memfd_create};

use crate::readiness::notify::{
    Datagram, Message, Refused, STORE_LIMIT, STORE_NAMES_BYTES_MAX, Store, StoreChange,
};

fn memfd() -> OwnedFd {
    memfd_create("test", MemfdFlags::CLOEXEC).unwrap()
}

fn names(store: &Store) -> Vec<&str> {
    store.iter().map(|(name, _)| name).collect()
}

fn datagram(messages: &[Message], fds: Vec<OwnedFd>) -> Datagram {
    Datagram {
        messages: messages.to_vec(),
        fds,
        ..Datagram::default()
    }
}

#[test]
fn descriptors_keep_their_order_and_may_share_a_name() {
    let mut store = Store::new();
    for name in ["b", "a", "b"] {
        assert_eq!(store.add(name, memfd()), Ok(true));
    }
    assert_eq!(names(&store), ["b", "a", "b"]);
    assert_eq!(store.remove("b"), 2);
    assert_eq!(store.remove("b"), 0);
    assert_eq!(names(&store), ["a"]);
    assert_eq!(store.len(), 1);
    assert!(!store.is_empty());
}

#[test]
fn one_socket_is_stored_once_under_whatever_name() {
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let mut store = Store::new();
    assert_eq!(store.add("a", ours.try_clone().unwrap().into()), Ok(true));
    assert_eq!(store.add("a", ours.try_clone().unwrap().into()), Ok(false));
    assert_eq!(store.add("b", ours.into()), Ok(false));
    assert_eq!(names(&store), ["a"]);
}

#[test]
fn what_only_looks_the_same_is_kept_apart() {
    let mut store = Store::new();
    // All eventfds share one inode: a lost one would be a lost wake-up.
    for _ in 0..2 {
        assert_eq!(
            store.add("wake", eventfd(0, EventfdFlags::CLOEXEC).unwrap()),
            Ok(true)
        );
    }
    // Both ends of a pipe are one inode, too.
    let (reader, writer) = io::pipe().unwrap();
    assert_eq!(store.add("pipe", reader.into()), Ok(true));
    assert_eq!(store.add("pipe", writer.into()), Ok(true));
    // One file by two names is what the successor may look for by both.
    let file = memfd();
    assert_eq!(store.add("x", file.try_clone().unwrap()), Ok(true));
    assert_eq!(store.add("x", file.try_clone().unwrap()), Ok(false));
    assert_eq!(store.add("y", file), Ok(true));
    assert_eq!(names(&store), ["wake", "wake", "pipe", "pipe", "x", "y"]);
}

#[test]
fn there_is_a_limit() {
    let mut store = Store::new();
    for _ in 0..STORE_LIMIT {
        let null = File::open("/dev/null").unwrap();
        assert_eq!(store.add("null", null.into()), Ok(true));
    }
    let one_more = store.add("more", memfd());
    assert_eq!(one_more, Err(Refused::Full("more".into())));
    assert_eq!(store.len(), STORE_LIMIT);
    assert_eq!(store.remove("null"), STORE_LIMIT);
    assert_eq!(store.add("more", memfd()), Ok(true));
}

#[test]
fn all_names_together_must_fit_in_one_environment_variable() {
    let mut store = Store::new();
    let long = "n".repeat(255);
    for _ in 0..STORE_NAMES_BYTES_MAX / 256 {
        assert_eq!(store.add(&long, memfd()), Ok(true));
    }
    let refused = store.add(&long, memfd()).unwrap_err();
    assert_eq!(refused, Refused::NamesTooLong(long));
    assert!(refused.to_string().contains("shorter names"));
}

#[test]
fn a_name_that_is_none_is_refused() {
    let mut store = Store::new();
    for name in ["", "a:b", "\n", &"x".repeat(256)] {
        assert!(
            matches!(store.add(name, memfd()), Err(Refused::Name(_))),
            "{name:?}"
        );
    }
    assert!(store.is_empty());
}

#[test]
fn a_datagram_stores_and_removes() {
    use Message::{FdName, FdPollOff, FdStore, FdStoreRemove, Ready};
    let mut store = Store::new();
    let mut apply = |messages: &[Message], fds| {
        let mut datagram = datagram(messages, fds);
        let changes = store.apply(&mut datagram);
        (changes, datagram.fds.len())
    };
    let name = || FdName("s".into());
    let added = || StoreChange::Added("s".into());
    assert_eq!(
        apply(&[FdStore, name()], vec![memfd(), memfd()]),
        (vec![added(), added()], 0)
    );
    assert_eq!(
        apply(&[FdPollOff, FdStore], vec![memfd()]).0,
        [StoreChange::Added("stored".into())]
    );
    assert_eq!(
        apply(&[FdStore], vec![]).0,
        [StoreChange::Refused(Refused::NoDescriptor)]
    );
    assert_eq!(
        apply(&[FdStoreRemove], vec![]).0,
        [StoreChange::Refused(Refused::NoName)]
    );
    assert_eq!(
        apply(&[FdStoreRemove, FdStore, name()], vec![memfd()]),
        (vec![StoreChange::Removed("s".into(), 2)], 1)
    );
    // Something else, whatever came with it: the datagram closes it.
    assert_eq!(apply(&[Ready], vec![memfd()]), (vec![], 1));
    assert_eq!(names(&store), ["stored"]);
}

#[test]
fn a_failed_generation_leaves_no_trace_in_the_store_of_the_old_one() {
    let mut old = Store::new();
    old.add("table", memfd()).unwrap();
    let mut new = Store::new();
    assert_eq!(old.copy_into(&mut new), []);
    assert_eq!(names(&new), ["table"]);
    // The same open file: the successor sees the state, not a copy of it.
    let inode = |store: &Store| {
        let (_, fd) = store.iter().next().unwrap();
        rustix::fs::fstat(fd).unwrap().st_ino
    };
    assert_eq!(inode(&old), inode(&new));
    new.remove("table");
    new.add("other", memfd()).unwrap();
    drop(new);
    assert_eq!(names(&old), ["table"]);
}

#[test]
fn a_slot_that_vanishes_hands_over_what_fits() {
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let mut heir = Store::new();
    heir.add("a", ours.try_clone().unwrap().into()).unwrap();
    let mut gone = Store::new();
    gone.add("b", memfd()).unwrap();
    gone.add("a", ours.into()).unwrap();
    gone.add("c", memfd()).unwrap();
    assert_eq!(gone.copy_into(&mut heir), []);
    assert_eq!(names(&heir), ["a", "b", "c"]);

    let mut full = Store::new();
    for _ in 0..STORE_LIMIT {
        full.add("null", File::open("/dev/null").unwrap().into())
            .unwrap();
    }
    let refused = heir.copy_into(&mut full);
    assert_eq!(refused.len(), 3);
    assert_eq!(full.len(), STORE_LIMIT);
    let mut narrow = Store::new();
    narrow.limit_to(2);
    let refused = heir.copy_into(&mut narrow);
    let no_room = |name: &str| Refused::NoRoom {
        name: name.into(),
        stored: 2,
    };
    assert_eq!(refused, [no_room("c")]);
    assert_eq!(names(&narrow), ["a", "b"]);
}

#[test]
fn what_hung_up_is_not_handed_over() {
    let mut store = Store::new();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (kept, gone) = UnixStream::pair().unwrap();
    let (live, _peer) = UnixStream::pair().unwrap();
    store.add("connection", ours.into()).unwrap();
    store.add("live", live.into()).unwrap();
    store.add("file", memfd()).unwrap();
    let poll_off = [Message::FdStore, Message::FdPollOff];
    store.apply(&mut datagram(&poll_off, vec![kept.into()]));
    assert!(store.forget_hung_up().is_empty());
    drop((theirs, gone));
    assert_eq!(store.forget_hung_up(), ["connection"]);
    assert_eq!(names(&store), ["live", "file", "stored"]);
    assert!(
        store
            .iter()
            .all(|(_, fd)| rustix::fs::fstat(fd.as_fd()).is_ok())
    );
}
