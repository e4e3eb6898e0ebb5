use std::fs;
use std::io::{self, IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::readiness::notify::{DATAGRAM_BYTES_MAX, Datagram, Fault, Message, ParseError, Socket};

const SOON: Duration = Duration::from_secs(20);

/// Somebody to run besides us, of another user when we may choose.
const NOBODY: u32 = 65_534;

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    (directory, path)
}

fn bound() -> (TempDir, Socket) {
    let (directory, path) = place();
    let socket = Socket::bind(&path, None).unwrap();
    (directory, socket)
}

fn worker(socket: &Socket) -> UnixDatagram {
    let worker = UnixDatagram::unbound().unwrap();
    worker.connect(socket.path()).unwrap();
    worker
}

fn send_with(worker: &UnixDatagram, text: &str, fds: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
    let text = [IoSlice::new(text.as_bytes())];
    sendmsg(worker, &text, &mut control, SendFlags::empty()).unwrap();
}

async fn next(socket: &Socket) -> Datagram {
    timeout(SOON, socket.recv())
        .await
        .expect("a datagram")
        .unwrap()
}

/// Is every writing end of this pipe closed? Waits for it, within bounds.
fn is_closed(mut reader: &io::PipeReader) -> bool {
    let mut polled = [PollFd::new(reader, PollFlags::IN)];
    let soon = Timespec::try_from(SOON).unwrap();
    poll(&mut polled, Some(&soon)).unwrap() == 1 && reader.read(&mut [0]).unwrap() == 0
}

/// Runs Python with the socket's path as its first argument, to its end.
fn python(path: &Path, script: &str) -> (i32, std::process::Output) {
    let child = Command::new("python3")
        .args(["-c", script])
        .arg(path)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    (pid, child.wait_with_output().unwrap())
}

#[tokio::test]
async fn a_datagram_says_who_and_what() {
    let (_directory, socket) = bound();
    worker(&socket).send(b"READY=1\nSTATUS=warm").unwrap();
    let datagram = next(&socket).await;
    assert_eq!(datagram.pid, i32::try_from(std::process::id()).unwrap());
    assert_eq!(datagram.uid, rustix::process::geteuid().as_raw());
    assert_eq!(
        datagram.messages,
        [Message::Ready, Message::Status("warm".into())]
    );
    assert_eq!(datagram.fault, None);
    assert!(datagram.fds.is_empty());
    assert!(socket.try_recv().unwrap().is_none());
}

/// FAILURES 17: the sender is gone and reaped, and still known.
#[tokio::test]
async fn f17_a_late_datagram_of_a_dead_process_names_it() {
    let (_directory, socket) = bound();
    let (pid, ended) = python(
        socket.path(),
        "import socket, sys\n\
         socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'READY=1', sys.argv[1])",
    );
    assert!(ended.status.success(), "{ended:?}");
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    let datagram = next(&socket).await;
    assert_eq!(datagram.pid, pid);
    assert_eq!(datagram.messages, [Message::Ready]);
}

/// FAILURES 17: a grandchild's READY=1 comes with its own PID, and nobody without
/// privileges can put another one on it.
#[tokio::test]
async fn f17_a_forged_sender_is_refused_by_the_kernel() {
    let (directory, path) = place();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o711)).unwrap();
    let is_root = rustix::process::geteuid().is_root();
    let socket = Socket::bind(&path, is_root.then_some((NOBODY, NOBODY))).unwrap();
    let (pid, ended) = python(
        &path,
        "import os, socket, struct, sys\n\
         if os.getuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n\
         s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n\
         s.connect(sys.argv[1])\n\
         def send(pid):\n\
         \x20   creds = struct.pack('3i', pid, os.getuid(), os.getgid())\n\
         \x20   s.sendmsg([b'READY=1'], [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, creds)])\n\
         try: send(os.getppid()); sys.exit(3)\n\
         except PermissionError: pass\n\
         send(os.getpid())",
    );
    assert!(ended.status.success(), "{ended:?}");
    let datagram = next(&socket).await;
    assert_eq!(datagram.pid, pid);
    if is_root {
        assert_eq!(datagram.uid, NOBODY);
    }
    assert!(
        socket.try_recv().unwrap().is_none(),
        "the forged one never came"
    );
}

#[tokio::test]
async fn descriptors_arrive_close_on_exec() {
    let (_directory, socket) = bound();
    let (mut reader, writer) = io::pipe().unwrap();
    send_with(
        &worker(&socket),
        "FDSTORE=1\nFDNAME=pipe",
        &[writer.as_fd()],
    );
    let datagram = next(&socket).await;
    assert_eq!(
        datagram.messages,
        [Message::FdStore, Message::FdName("pipe".into())]
    );
    let flags = rustix::io::fcntl_getfd(&datagram.fds[0]).unwrap();
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    drop(writer);
    rustix::io::write(&datagram.fds[0], b"state").unwrap();
    drop(datagram);
    let mut state = [0; 5];
    reader.read_exact(&mut state).unwrap();
    assert_eq!(&state, b"state");
    assert!(is_closed(&reader));
}

#[tokio::test]
async fn as_many_descriptors_as_the_kernel_lets_pass() {
    let (_directory, socket) = bound();
    let null = fs::File::open("/dev/null").unwrap();
    send_with(&worker(&socket), "FDSTORE=1", &vec![null.as_fd(); 253]);
    let datagram = next(&socket).await;
    assert_eq!(datagram.fault, None);
    assert_eq!(datagram.fds.len(), 253);
}

#[tokio::test]
async fn dropping_a_barrier_answers_it() {
    let (_directory, socket) = bound();
    let worker = worker(&socket);
    worker.send(b"STATUS=before").unwrap();
    let (reader, writer) = io::pipe().unwrap();
    send_with(&worker, "BARRIER=1", &[writer.as_fd()]);
    drop(writer);
    assert_eq!(
        next(&socket).await.messages,
        [Message::Status("before".into())]
    );
    let barrier = next(&socket).await;
    assert_eq!(barrier.messages, [Message::Barrier]);
    // Not answered yet: the other end is still held open.
    let mut polled = [PollFd::new(&reader, PollFlags::IN)];
    assert_eq!(poll(&mut polled, Some(&Timespec::default())).unwrap(), 0);
    drop(barrier);
    assert!(is_closed(&reader));
}

#[tokio::test]
async fn a_barrier_of_another_shape_is_closed_and_told() {
    let (_directory, socket) = bound();
    let worker = worker(&socket);
    worker.send(b"BARRIER=1").unwrap();
    let (reader, writer) = io::pipe().unwrap();
    send_with(&worker, "BARRIER=1", &[writer.as_fd(), writer.as_fd()]);
    send_with(&worker, "BARRIER=1\nREADY=1", &[writer.as_fd()]);
    drop(writer);
    assert_eq!(
        next(&socket).await.fault,
        Some(Fault::BarrierDescriptors(0))
    );
    assert_eq!(
        next(&socket).await.fault,
        Some(Fault::BarrierDescriptors(2))
    );
    let mixed = next(&socket).await;
    assert_eq!(mixed.fault, Some(Fault::Text(ParseError::BarrierNotAlone)));
    assert!(mixed.messages.is_empty());
    // Nobody waits for an answer that never comes.
    assert!(is_closed(&reader));
}

#[tokio::test]
async fn an_oversized_datagram_is_told_and_its_descriptors_closed() {
    let (_directory, socket) = bound();
    let worker = worker(&socket);
    let (reader, writer) = io::pipe().unwrap();
    let long = format!("READY=1\nSTATUS={}", "x".repeat(DATAGRAM_BYTES_MAX));
    send_with(&worker, &long, &[writer.as_fd()]);
    drop(writer);
    let just = format!("STATUS={}", "x".repeat(DATAGRAM_BYTES_MAX - 7));
    worker.send(just.as_bytes()).unwrap();
    let datagram = next(&socket).await;
    assert_eq!(datagram.fault, Some(Fault::TooLong));
    assert!(datagram.messages.is_empty() && datagram.fds.is_empty());
    assert!(is_closed(&reader));
    assert_eq!(next(&socket).await.fault, None);
}

/// What the kernel cannot hand over for want of descriptors is lost for good.
#[tokio::test]
async fn descriptors_lost_at_the_limit_of_open_files_are_told() {
    // The limit is the process's: this test runs in one of its own.
    const ALONE: &str = "HANDOVER_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let (_, path) = module_path!().split_once("::").unwrap();
        let name = format!("{path}::descriptors_lost_at_the_limit_of_open_files_are_told");
        let alone = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &name])
            .env(ALONE, "1")
            .output()
            .unwrap();
        assert!(alone.status.success(), "{alone:?}");
        assert!(String::from_utf8_lossy(&alone.stdout).contains("1 passed"));
        return;
    }
    let (_directory, socket) = bound();
    let null = fs::File::open("/dev/null").unwrap();
    send_with(&worker(&socket), "FDSTORE=1", &[null.as_fd(); 64]);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let open = fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    let low = rustix::process::Rlimit {
        current: Some(open + 4),
        ..limit
    };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, low).unwrap();
    let datagram = next(&socket).await;
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    assert_eq!(datagram.fault, Some(Fault::DescriptorsLost));
    assert!(datagram.fds.is_empty());
    assert_eq!(datagram.pid, i32::try_from(std::process::id()).unwrap());
}

/// The real sender: it waits behind a barrier until it is answered, and, run as
/// root, speaks in the name of its parent, as sd_notify(3) allows.
#[tokio::test]
async fn systemd_notify_is_understood_and_answered() {
    let (_directory, socket) = bound();
    let mut child = Command::new("systemd-notify")
        .args(["--ready", "--status=up"])
        .env("NOTIFY_SOCKET", socket.path())
        .spawn()
        .expect("systemd-notify is part of this test: install systemd (it need not run)");
    let said = next(&socket).await;
    assert!(said.messages.contains(&Message::Ready), "{said}");
    assert!(
        said.messages.contains(&Message::Status("up".into())),
        "{said}"
    );
    let barrier = next(&socket).await;
    assert_eq!(barrier.messages, [Message::Barrier]);
    assert!(
        child.try_wait().unwrap().is_none(),
        "it waits for the answer"
    );
    drop(barrier);
    let ended = tokio::task::spawn_blocking(move || child.wait());
    let ended = timeout(SOON, ended).await.expect("an answer").unwrap();
    assert!(ended.unwrap().success());
}

#[tokio::test]
async fn an_empty_datagram_is_told() {
    let (_directory, socket) = bound();
    worker(&socket).send(b"").unwrap();
    assert_eq!(
        next(&socket).await.fault,
        Some(Fault::Text(ParseError::Empty))
    );
}

#[tokio::test]
async fn ten_thousand_datagrams_arrive_whole_and_in_order() {
    const BURST: u64 = 10_000;
    let (_directory, socket) = bound();
    let worker = worker(&socket);
    let sending = std::thread::spawn(move || {
        for number in 0..BURST {
            worker
                .send(format!("MONOTONIC_USEC={number}").as_bytes())
                .unwrap();
        }
    });
    for number in 0..BURST {
        assert_eq!(
            next(&socket).await.messages,
            [Message::MonotonicUsec(number)]
        );
    }
    sending.join().unwrap();
}

#[tokio::test]
async fn the_workers_user_alone_may_write() {
    let (_directory, path) = place();
    let own = rustix::process::geteuid();
    let owner = if own.is_root() { NOBODY } else { own.as_raw() };
    let group = if own.is_root() {
        NOBODY
    } else {
        rustix::process::getegid().as_raw()
    };
    let _socket = Socket::bind(&path, Some((owner, group))).unwrap();
    let metadata = fs::symlink_metadata(&path).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    assert_eq!((metadata.uid(), metadata.gid()), (owner, group));
}

#[tokio::test]
async fn a_path_that_is_too_long_says_what_to_do() {
    let (directory, _) = place();
    let stem = directory.path().as_os_str().len() + 1;
    let just = directory.path().join("x".repeat(107 - stem));
    let socket = Socket::bind(&just, None).unwrap();
    worker(&socket).send(b"READY=1").unwrap();
    assert_eq!(next(&socket).await.messages, [Message::Ready]);

    let long = directory.path().join("x".repeat(108 - stem));
    let error = Socket::bind(&long, None).unwrap_err().to_string();
    assert!(
        error.contains("108 bytes") && error.contains("--runtime-dir"),
        "{error}"
    );
}

#[tokio::test]
async fn what_a_dead_master_left_is_replaced() {
    let (_directory, path) = place();
    drop(UnixDatagram::bind(&path).unwrap());
    let socket = Socket::bind(&path, None).unwrap();
    worker(&socket).send(b"READY=1").unwrap();
    assert_eq!(next(&socket).await.messages, [Message::Ready]);
}

#[tokio::test]
async fn a_file_in_the_way_is_not_removed() {
    let (_directory, path) = place();
    fs::write(&path, "precious").unwrap();
    let error = Socket::bind(&path, None).unwrap_err().to_string();
    assert!(
        error.contains("no socket") && error.contains("notify"),
        "{error}"
    );
    assert_eq!(fs::read(&path).unwrap(), b"precious");

    let missing = path.with_file_name("no/such/notify");
    let error = Socket::bind(&missing, None).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

#[tokio::test]
async fn a_dropped_socket_removes_its_own_path_only() {
    let (_directory, path) = place();
    let first = Socket::bind(&path, None).unwrap();
    let second = Socket::bind(&path, None).unwrap();
    drop(first);
    assert!(path.exists(), "it is the second one's");
    drop(second);
    assert!(!path.exists());
}
