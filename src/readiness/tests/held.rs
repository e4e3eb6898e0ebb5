//! Whose connections these are.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};

use rustix::event::epoll;

use super::super::{Held, Holders, Wanted, holds_connection};
use super::{connect, inode, tcp};

/// Accepted connections, and their clients.
#[derive(Default)]
struct Connections {
    served: Vec<TcpStream>,
    clients: Vec<TcpStream>,
}

impl Connections {
    fn accept(&mut self, listener: &TcpListener, count: usize) {
        for _ in 0..count {
            self.clients.push(connect(listener));
            self.served.push(listener.accept().expect("one waits").0);
        }
    }

    /// As the kernel lists them.
    fn table(&self) -> Vec<u64> {
        let mut inodes: Vec<u64> = self.served.iter().map(inode).collect();
        inodes.sort_unstable();
        inodes
    }
}

/// These are all that may hold connections, and the kernel's table is as it was.
const EVERYBODY: Option<&dyn Fn() -> Option<Vec<u64>>> = Some(&|| None);

fn own_pid() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

fn seen(connections: &[u64]) -> Held {
    Held {
        connections: connections.iter().map(|count| Some(*count)).collect(),
        reason: None,
    }
}

/// A child that holds what it is given, until it is dropped.
struct Holder(Child);

impl Holder {
    fn of(connection: &TcpStream) -> Self {
        let copy = connection
            .try_clone()
            .expect("a descriptor can be duplicated");
        let mut command = Command::new("sleep");
        command.arg("600").stdin(OwnedFd::from(copy));
        Self(command.spawn().expect("sleep runs"))
    }

    fn pid(&self) -> i32 {
        self.0.id().cast_signed()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_comes_and_goes_is_counted() {
    let (listener, mut connections, mut holders) =
        (tcp(), Connections::default(), Holders::default());
    let me = [vec![own_pid()]];
    let mut count = |connections: &Connections| holders.count(&me, &connections.table(), EVERYBODY);
    assert_eq!(count(&connections), seen(&[0]));
    connections.accept(&listener, 5);
    assert_eq!(count(&connections), seen(&[5]));
    connections.served.truncate(3);
    assert_eq!(count(&connections), seen(&[3]));
    connections.accept(&listener, 1);
    assert_eq!(count(&connections), seen(&[4]));
    assert_eq!(count(&connections), seen(&[4]));
}

#[test]
fn a_connection_in_the_place_of_something_else_is_counted_too() {
    let (listener, mut connections, mut holders) =
        (tcp(), Connections::default(), Holders::default());
    let me = [vec![own_pid()]];
    connections.accept(&listener, 1);
    let client = connect(&listener);
    let file = File::open("/dev/null").expect("it is there");
    assert_eq!(
        holders.count(&me, &connections.table(), EVERYBODY),
        seen(&[1])
    );
    // As many descriptors as before, and none of the connections ended.
    drop(file);
    connections
        .served
        .push(listener.accept().expect("one waits").0);
    assert_eq!(
        holders.count(&me, &connections.table(), EVERYBODY),
        seen(&[2])
    );
    drop(client);
}

#[test]
fn a_connection_counts_once_for_each_worker_that_shares_it() {
    let (listener, mut connections, mut holders) =
        (tcp(), Connections::default(), Holders::default());
    connections.accept(&listener, 3);
    let twin = Holder::of(&connections.served[0]);
    // The child is a process of our tree, and once a worker of its own.
    let workers = [vec![own_pid()], vec![twin.pid()]];
    assert_eq!(
        holders.count(&workers, &connections.table(), EVERYBODY),
        seen(&[3, 1])
    );
    let table = connections.table();
    connections.served.clear();
    // The kernel's table has only what the child still has, and nobody has looked for children yet.
    let its = rustix::fs::stat(format!("/proc/{}/fd/0", twin.pid())).expect("it holds one");
    assert!(table.contains(&its.st_ino));
    let held = holders.count(&workers[..1], &[its.st_ino], EVERYBODY);
    assert_eq!(held, seen(&[1]));
}

#[test]
fn whether_a_connection_is_still_there_is_asked_only_when_nobody_has_it() {
    let (listener, mut connections, mut holders) =
        (tcp(), Connections::default(), Holders::default());
    connections.accept(&listener, 3);
    let me = [vec![own_pid()]];
    let asked = std::cell::Cell::new(0);
    let mut count = |table: &[u64], now: Vec<u64>| {
        let again = || {
            asked.set(asked.get() + 1);
            Some(now.clone())
        };
        let held = holders.count(&me, table, Some(&again));
        (held, asked.get())
    };
    let table = connections.table();
    assert_eq!(count(&table, table.clone()), (seen(&[3]), 0));
    connections.served.remove(0);
    let left = connections.table();
    assert_eq!(
        count(&table, left.clone()),
        (seen(&[2]), 1),
        "it ended meanwhile"
    );
    assert_eq!(count(&left, left.clone()), (seen(&[2]), 1));
}

#[test]
fn connections_of_others_are_nobodys() {
    let (listener, mut connections, mut holders) =
        (tcp(), Connections::default(), Holders::default());
    connections.accept(&listener, 2);
    let other = Holder::of(&connections.served[0]);
    for _ in 0..3 {
        let held = holders.count(&[vec![other.pid()]], &connections.table(), EVERYBODY);
        assert_eq!(held, seen(&[1]));
    }
}

#[test]
fn a_connection_that_was_on_its_way_is_found_later() {
    let (listener, mut connections, mut holders) =
        (tcp(), Connections::default(), Holders::default());
    connections.accept(&listener, 1);
    // It takes a connection over, and has as many descriptors as before.
    let code = "import os, socket, time\n\
                way = socket.socket(fileno=0); null = os.open('/dev/null', 0); print('there', flush=True)\n\
                _, fds, _, _ = socket.recv_fds(way, 1, 1); os.close(null); print(fds, flush=True)\n\
                time.sleep(600)";
    let (ours, its) = UnixStream::pair().expect("a pair");
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", code]).stdout(Stdio::piped());
    command.stdin(OwnedFd::from(its));
    let mut worker = Holder(command.spawn().expect("python3 runs"));
    let mut output = BufReader::new(worker.0.stdout.take().expect("piped"));
    let mut line = String::new();
    output.read_line(&mut line).expect("a line");
    let workers = [vec![worker.pid()]];
    let mut count = || holders.count(&workers, &connections.table(), EVERYBODY);
    assert_eq!(count(), seen(&[0]));
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = rustix::net::SendAncillaryBuffer::new(&mut space);
    let rights = [connections.served[0].as_fd()];
    assert!(control.push(rustix::net::SendAncillaryMessage::ScmRights(&rights)));
    let byte = [std::io::IoSlice::new(b"x")];
    rustix::net::sendmsg(&ours, &byte, &mut control, rustix::net::SendFlags::empty())
        .expect("it is sent");
    output.read_line(&mut line).expect("a line");
    let found = (0..3).find(|_| count() == seen(&[1]));
    assert!(found.is_some(), "{line}");
}

#[test]
fn a_worker_that_ended_holds_nothing() {
    let (listener, mut connections, mut holders) =
        (tcp(), Connections::default(), Holders::default());
    connections.accept(&listener, 1);
    let child = Holder::of(&connections.served[0]);
    let workers = [vec![child.pid()], vec![own_pid()]];
    drop(child);
    assert_eq!(
        holders.count(&workers, &connections.table(), EVERYBODY),
        seen(&[0, 1])
    );
}

#[test]
fn five_thousand_descriptors_are_looked_through() {
    let (listener, mut connections, mut holders) =
        (tcp(), Connections::default(), Holders::default());
    connections.accept(&listener, 1);
    let code = "import os, resource, sys\n\
                hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n\
                resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))\n\
                many = [os.open('/dev/null', os.O_RDONLY) for _ in range(5000)]\n\
                last = os.dup(0); os.close(0); print(last, flush=True); sys.stdin = None\n\
                import time; time.sleep(600)";
    let served = connections.served[0]
        .try_clone()
        .expect("a descriptor can be duplicated");
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", code]).stdout(Stdio::piped());
    command.stdin(OwnedFd::from(served));
    let mut many = Holder(command.spawn().expect("python3 runs"));
    let mut line = String::new();
    let output = many.0.stdout.take().expect("piped");
    BufReader::new(output).read_line(&mut line).expect("a line");
    assert!(
        line.trim().parse::<i32>().is_ok_and(|fd| fd > 5000),
        "{line}"
    );
    let workers = [vec![many.pid()]];
    assert_eq!(
        holders.count(&workers, &connections.table(), EVERYBODY),
        seen(&[1])
    );
    assert_eq!(
        holders.count(&workers, &connections.table(), EVERYBODY),
        seen(&[1])
    );
}

#[test]
fn a_connection_through_a_path_that_was_renamed_proves_that_it_is_taken() {
    let directory = tempfile::tempdir().expect("a directory");
    let (staged, path) = (directory.path().join(".s"), directory.path().join("s"));
    let listener = UnixListener::bind(&staged).expect("bound");
    std::fs::rename(&staged, &path).expect("renamed");
    let wanted = [Wanted {
        inode: inode(&listener),
        datagram: false,
        name: "web".into(),
        address: format!("unix:{}", path.display()),
        port: None,
    }];
    let _client = UnixStream::connect(&path).expect("the queue has room");
    assert!(!holds_connection(own_pid(), &wanted));
    let _served = listener.accept().expect("one waits");
    assert!(holds_connection(own_pid(), &wanted));
}

#[test]
fn what_an_epoll_set_lists_and_what_it_does_not_are_counted_alike() {
    let (listener, mut connections, mut holders) =
        (tcp(), Connections::default(), Holders::default());
    let me = [vec![own_pid()]];
    let set = epoll::create(epoll::CreateFlags::CLOEXEC).expect("an epoll set");
    let add = |connection: &TcpStream| {
        let data = epoll::EventData::new_u64(0);
        epoll::add(&set, connection, data, epoll::EventFlags::IN).expect("it is added");
    };
    let mut count = |connections: &Connections| holders.count(&me, &connections.table(), EVERYBODY);
    connections.accept(&listener, 4);
    connections.served.iter().for_each(add);
    assert_eq!(count(&connections), seen(&[4]));
    connections.accept(&listener, 2);
    connections.served[4..].iter().for_each(add);
    assert_eq!(count(&connections), seen(&[6]));
    connections.accept(&listener, 1);
    assert_eq!(count(&connections), seen(&[7]), "one that no set lists");
    connections.served.remove(0);
    connections.accept(&listener, 1);
    assert_eq!(count(&connections), seen(&[7]), "one for another");
    connections.served.clear();
    let held = holders.count(&me, &[inode(&listener)], EVERYBODY);
    assert_eq!(held, seen(&[1]), "whatever the kernel's table has");
}

#[test]
fn a_program_that_is_known_from_one_worker_is_read_by_its_epoll_set_in_the_next() {
    let (listener, mut connections, mut holders) =
        (tcp(), Connections::default(), Holders::default());
    connections.accept(&listener, 5);
    // Each takes one connection as its standard input; the second one keeps one outside of its set as well.
    let code = "import select, time, os\n\
                set = select.epoll(); set.register(0); print('there', flush=True); time.sleep(600)";
    let start = |stdin: &TcpStream, more: Option<&TcpStream>| {
        let copy = |one: &TcpStream| OwnedFd::from(one.try_clone().expect("a copy"));
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-c", code]).stdout(Stdio::piped());
        command.stdin(copy(stdin));
        command.stderr(more.map_or_else(Stdio::null, |more| Stdio::from(copy(more))));
        let mut holder = Holder(command.spawn().expect("python3 runs"));
        let output = holder.0.stdout.take().expect("piped");
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).expect("a line");
        holder
    };
    let served = &connections.served;
    let first = start(&served[0], None);
    let second = start(&served[1], Some(&served[2]));
    let third = start(&served[3], None);
    let workers = [vec![first.pid()], vec![second.pid()], vec![third.pid()]];
    for _ in 0..2 {
        let held = holders.count(&workers, &connections.table(), EVERYBODY);
        assert_eq!(held, seen(&[1, 2, 1]));
    }
    assert_eq!(
        holders.count(&workers, &connections.table(), None),
        seen(&[1, 2, 1])
    );
}
