use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::super::owner::private_directory;
use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// Everything until the end.
async fn all(reader: &Reader) -> Vec<u8> {
    let mut found = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match tokio::time::timeout(PATIENCE, reader.read(&mut buffer))
            .await
            .expect("output in time")
            .unwrap()
        {
            0 => return found,
            n => found.extend_from_slice(&buffer[..n]),
        }
    }
}

fn place() -> (tempfile::TempDir, Owner) {
    let base = tempfile::tempdir().unwrap();
    let me = Owner::current();
    let owner = if me.uid == 0 {
        Owner {
            uid: 65_534,
            gid: 65_534,
        }
    } else {
        me
    };
    std::fs::set_permissions(
        base.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o711),
    )
    .unwrap();
    private_directory(&base.path().join("w"), owner).unwrap();
    (base, owner)
}

/// `nobody` (where we are root) prints by its descriptors and by `/dev/stdout` and `/dev/stderr` opened again.
#[test]
fn f29_another_user_can_open_its_standard_output_again() {
    let (base, owner) = place();
    let (pipes, writers) = Pipes::create(&base.path().join("w"), owner).unwrap();
    let there = std::fs::metadata(pipes.path(Stream::Stdout)).unwrap();
    assert!(there.file_type().is_fifo());
    assert_eq!(
        (there.uid(), there.gid(), there.mode() & 0o7777),
        (owner.uid, owner.gid, 0o600)
    );
    runtime().block_on(async {
        let (out, err) = (
            pipes.reader(Stream::Stdout).unwrap(),
            pipes.reader(Stream::Stderr).unwrap(),
        );
        let mut worker = Command::new("sh")
            .args([
                "-c",
                "echo one; echo two >/dev/stdout; echo three >>/dev/stderr",
            ])
            .uid(owner.uid)
            .gid(owner.gid)
            .stdout(Stdio::from(writers.stdout().try_clone_to_owned().unwrap()))
            .stderr(Stdio::from(writers.stderr().try_clone_to_owned().unwrap()))
            .spawn()
            .unwrap();
        drop(writers);
        assert_eq!(all(&out).await, b"one\ntwo\n");
        assert_eq!(all(&err).await, b"three\n");
        assert!(worker.wait().unwrap().success());
    });
    pipes.remove();
    assert!(!pipes.path(Stream::Stdout).exists());
}

#[test]
fn f29_a_reader_that_dies_is_no_epipe_and_the_next_one_finds_everything() {
    let (base, owner) = place();
    let directory = base.path().join("w");
    let (pipes, writers) = Pipes::create(&directory, owner).unwrap();
    let mut worker = File::from(writers.stdout().try_clone_to_owned().unwrap());
    drop(writers);
    runtime().block_on(async {
        let reader = pipes.reader(Stream::Stdout).unwrap();
        worker.write_all(b"before\n").unwrap();
        let mut buffer = [0; 7];
        assert_eq!(reader.read(&mut buffer).await.unwrap(), 7);
        assert_eq!(
            reader.try_read(&mut buffer).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
    });
    // No reader at all: 64 KiB fit in any case.
    worker.write_all(&[b'x'; 60_000]).unwrap();
    runtime().block_on(async {
        let reader = Pipes::at(&directory).reader(Stream::Stdout).unwrap();
        drop(worker);
        assert_eq!(all(&reader).await.len(), 60_000);
    });
}

#[test]
fn the_worker_gets_a_blocking_end_and_as_much_room_as_allowed() {
    let (base, owner) = place();
    let (_pipes, writers) = Pipes::create(&base.path().join("w"), owner).unwrap();
    let flags = rustix::fs::fcntl_getfl(writers.stdout()).unwrap();
    assert!(!flags.contains(OFlags::NONBLOCK) && flags.contains(OFlags::RDWR));
    let size = rustix::pipe::fcntl_getpipe_size(writers.stderr()).unwrap();
    assert!(size >= 4096, "{size}");
    if Owner::current().uid == 0 {
        assert_eq!(size, SIZE_WANTED);
    }
}

#[test]
fn what_an_earlier_worker_left_is_replaced_and_links_are_not_followed() {
    let (base, owner) = place();
    let directory = base.path().join("w");
    let victim = base.path().join("victim");
    std::fs::write(&victim, "precious").unwrap();
    std::os::unix::fs::symlink(&victim, directory.join("out")).unwrap();
    Pipes::at(&directory).reader(Stream::Stderr).unwrap_err();
    runtime().block_on(async {
        Pipes::at(&directory).reader(Stream::Stdout).unwrap_err();
        std::fs::write(directory.join("err"), "no FIFO").unwrap();
        let said = Pipes::at(&directory)
            .reader(Stream::Stderr)
            .unwrap_err()
            .to_string();
        assert!(said.contains("/w/err: it is not a FIFO"), "{said}");
    });
    let _made = Pipes::create(&directory, owner).unwrap();
    assert_eq!(std::fs::read(&victim).unwrap(), b"precious");
    let said = Pipes::create(&base.path().join("none"), owner)
        .unwrap_err()
        .to_string();
    assert!(said.contains("/none/out"), "{said}");
}
