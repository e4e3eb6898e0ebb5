use std::fs::File;
use std::io::{IoSliceMut, Read as _, Seek as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::tests::Manager;
use super::{NAMES_BYTES_MAX, NotStored, Notifier, Stored, Told};

/// What systemd hears: the message, and the descriptors beside it.
fn heard(manager: &Manager) -> (String, Vec<OwnedFd>) {
    let mut bytes = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let got = recvmsg(&manager.socket, &mut parts, &mut control, flags).expect("a message");
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(more) = message {
            fds.extend(more);
        }
    }
    let text = String::from_utf8(bytes[..got.bytes].to_vec()).expect("text");
    (text, fds)
}

fn file_with(text: &str) -> File {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(text.as_bytes()).expect("writes");
    file
}

#[test]
fn what_is_stored_arrives_with_its_name_and_is_the_same_file() {
    for manager in [Manager::at_a_path(), Manager::abstract_name()] {
        let (notifier, mut stored) = (manager.notifier(), Stored::default());
        let file = file_with("state");
        stored.put(&notifier, "l.http", file.as_fd()).expect("sent");
        let (message, fds) = heard(&manager);
        assert_eq!(message, "FDSTORE=1\nFDPOLL=0\nFDNAME=l.http");
        let [fd]: [OwnedFd; 1] = fds.try_into().expect("one descriptor");
        let mut copy = File::from(fd);
        copy.rewind().expect("seeks");
        let mut text = String::new();
        copy.read_to_string(&mut text).expect("reads");
        assert_eq!(text, "state");
        assert!(stored.has("l.http"));
    }
}

#[test]
fn it_is_told_once_until_it_was_let_go() {
    let manager = Manager::at_a_path();
    let (notifier, mut stored) = (manager.notifier(), Stored::default());
    let file = file_with("");
    for _ in 0..3 {
        stored.put(&notifier, "n.1", file.as_fd()).expect("sent");
    }
    heard(&manager);
    stored.remove(&notifier, "n.1").expect("sent");
    stored.remove(&notifier, "n.1").expect("nothing to do");
    assert_eq!(heard(&manager).0, "FDSTOREREMOVE=1\nFDNAME=n.1");
    assert_eq!(stored.names().count(), 0);
    stored.put(&notifier, "n.1", file.as_fd()).expect("sent");
    assert_eq!(heard(&manager).1.len(), 1);
}

#[test]
fn a_name_that_would_not_come_back_is_refused() {
    let manager = Manager::at_a_path();
    let (notifier, mut stored) = (manager.notifier(), Stored::default());
    let file = file_with("");
    let long = "x".repeat(256);
    for name in ["", "a:b", "a b", "a\nREADY=1", "ü", &long] {
        let refused = stored.put(&notifier, name, file.as_fd());
        assert_eq!(refused, Err(NotStored::Name(name.to_owned())));
    }
    assert_eq!(stored.names().count(), 0);
}

#[test]
fn no_more_is_stored_than_systemd_can_give_back() {
    let name = |number: u32| format!("{number:0>200}");
    let full = u32::try_from(NAMES_BYTES_MAX / 201).expect("a small number");
    let mut stored = Stored::found((0..full).map(name));
    let manager = Manager::at_a_path();
    let file = file_with("");
    let refused = stored.put(&manager.notifier(), &name(full), file.as_fd());
    assert!(matches!(refused, Err(NotStored::Full(_))), "{refused:?}");
    // One that is there already is no more.
    let again = stored.put(&manager.notifier(), &name(0), file.as_fd());
    assert_eq!(again, Ok(()));
}

#[test]
fn nobody_is_waited_for() {
    let manager = Manager::at_a_path();
    let (notifier, mut stored) = (manager.notifier(), Stored::default());
    let file = file_with("");
    manager.stall(&notifier);
    let refused = stored.put(&notifier, "n.1", file.as_fd());
    assert_eq!(refused, Err(NotStored::Untold(Told::Waiting)));
    assert!(!stored.has("n.1"), "it is tried again");

    let nobody = Notifier::from_variables(|_| None, 1);
    let refused = stored.put(&nobody, "n.1", file.as_fd());
    assert_eq!(refused, Err(NotStored::Untold(Told::Unset)));
}
