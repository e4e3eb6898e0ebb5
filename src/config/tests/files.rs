//! Files that cannot be read, and bytes that are no text.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::MINIMAL;
use crate::config::{Faults, Place, Sources, check, load};

fn told(path: &Path) -> Faults {
    check(path).expect_err("a fault")
}

fn with_bytes(bytes: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("web.toml");
    fs::write(&path, bytes).expect("written");
    (dir, path)
}

#[test]
fn what_is_no_file_says_so() {
    let dir = tempfile::tempdir().expect("a directory");
    for (path, message) in [
        (dir.path().join("no.toml"), "no.toml does not exist"),
        (dir.path().join("no/web.toml"), "web.toml does not exist"),
        (dir.path().to_owned(), "is a directory, not a file"),
        ("/dev/null".into(), "null is not a regular file"),
        (MINIMAL.repeat(200).into(), "cannot be opened"),
    ] {
        let faults = told(&path);
        assert!(faults.to_string().contains(message), "{faults}");
        assert!(faults.0[0].hint.is_some());
        assert!(faults.to_string().contains("1 fault in "), "{faults}");
    }
    // The name stands there once.
    let missing = dir.path().join("no.toml");
    let text = told(&missing).to_string();
    let sentence = format!("{} does not exist\n", missing.display());
    assert!(text.starts_with(&sentence), "{text}");
    assert!(
        told(&dir.path().join("no/web.toml"))
            .to_string()
            .contains("does not exist either")
    );
}

/// Opening a FIFO would wait for its writer for ever.
#[test]
fn a_fifo_is_refused_at_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("fifo");
    let mode = nix::sys::stat::Mode::from_bits_truncate(0o600);
    nix::unistd::mkfifo(&path, mode).expect("a FIFO");
    assert!(told(&path).to_string().contains("is not a regular file"));
}

#[test]
fn a_link_in_a_circle_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("web.toml");
    symlink(&path, &path).expect("a link");
    assert!(told(&path).to_string().contains("cannot be opened"));
}

#[test]
fn a_huge_file_is_refused_before_it_is_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("web.toml");
    // Sparse: a terabyte that nobody could read in time.
    fs::File::create(&path)
        .and_then(|file| file.set_len(1 << 40))
        .expect("a sparse file");
    assert!(
        told(&path)
            .to_string()
            .contains("is too large: 1099511627776 bytes, more than 1048576")
    );
    let mut file = fs::File::create(&path).expect("a file");
    file.write_all(MINIMAL.as_bytes()).expect("written");
    file.write_all(&b"#".repeat((1 << 20) - MINIMAL.len()))
        .expect("written");
    assert!(check(&path).is_ok(), "1 MiB is allowed");
}

#[test]
fn empty_files_say_what_belongs_into_them() {
    for bytes in ["", "\n\n", "# nothing\n", "\u{feff}", "   \t\r\n"] {
        let (_dir, path) = with_bytes(bytes.as_bytes());
        let faults = told(&path);
        assert_eq!(faults.0.len(), 1, "{faults}");
        assert!(faults.to_string().contains("the file is empty"), "{faults}");
        assert!(faults.to_string().contains("[[listen]]"), "{faults}");
    }
}

#[test]
fn bytes_that_are_no_text_have_a_place() {
    for (bytes, place, message) in [
        (
            b"a = 1\nb = \xff".as_slice(),
            Some((2, 5)),
            "is not UTF-8: byte 0xff",
        ),
        (
            b"\xc3\xa9\xc3\xa9 \xe9",
            Some((1, 4)),
            "is not UTF-8: byte 0xe9",
        ),
        (b"a = 1\n\0", Some((2, 1)), "holds a NUL byte"),
        (b"\xff\xfea\0", None, "is UTF-16"),
    ] {
        let (_dir, path) = with_bytes(bytes);
        let faults = told(&path);
        assert!(faults.to_string().contains(message), "{faults}");
        assert_eq!(faults.0[0].position(), place, "{faults}");
    }
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_harmless() {
    let text = format!("\u{feff}{}", MINIMAL.replace('\n', "\r\n"));
    let (_dir, path) = with_bytes(text.as_bytes());
    assert!(check(&path).is_ok());
    let (_dir, path) = with_bytes(format!("\u{feff}nam = 1\r\n{text}").as_bytes());
    let faults = told(&path);
    assert_eq!(faults.0[0].position(), Some((1, 1)), "{faults}");
    assert!(!faults.to_string().contains('\r'));
}

#[test]
fn an_unreadable_file_does_not_hide_the_other_layers() {
    let sources = Sources {
        file: Some("/nonexistent/web.toml".into()),
        env: vec![("HANDOVER_APP__WORKERS".into(), "0".into())],
        flags: vec![],
    };
    let faults = load(&sources).expect_err("two faults");
    assert_eq!(faults.0.len(), 2, "{faults}");
    assert!(matches!(faults.0[0].place, Place::File(_)));
    assert!(matches!(faults.0[1].place, Place::Variable { .. }));
}
