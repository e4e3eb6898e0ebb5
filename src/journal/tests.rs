mod fleet;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use proptest::prelude::*;
use tempfile::TempDir;

use super::frame;
use super::table::encoded;
use super::*;

const BOOT: &str = "boot";

fn key(kind: u16, of: u64, part: u32) -> Key {
    Key { kind, of, part }
}

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("journal");
    (directory, path)
}

fn found(path: &std::path::Path) -> Found {
    let found = Journal::read(path).expect("readable");
    found.expect("a journal")
}

/// A journal with two values, one of which was changed, and one that was removed.
fn written(path: &std::path::Path) -> Journal {
    let mut table = Table::default();
    table.put(key(1, 1, 0), b"first".to_vec());
    let mut journal = Journal::begin(path, table).expect("begins");
    journal.table().put(key(1, 1, 0), b"changed".to_vec());
    journal.table().put(key(2, 7, 3), b"other".to_vec());
    journal.commit().expect("writes");
    journal.table().put(key(3, 0, 0), b"gone".to_vec());
    journal.commit().expect("writes");
    journal.table().remove(key(3, 0, 0));
    journal.commit().expect("writes");
    journal
}

#[test]
fn what_was_committed_is_read() {
    let (_directory, path) = place();
    drop(written(&path));
    let found = found(&path);
    assert!(!found.torn && !found.of_another_boot);
    assert_eq!(found.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(found.table.get(key(1, 1, 0)), Some(b"changed".as_slice()));
    assert_eq!(found.table.get(key(3, 0, 0)), None);
    let all: Vec<_> = found.table.all(2).collect();
    assert_eq!(all, [(key(2, 7, 3), b"other".as_slice())]);
    assert_eq!(found.table.all(3).count(), 0);
}

#[test]
fn only_its_owner_reads_it() {
    let (_directory, path) = place();
    drop(written(&path));
    let mode = fs::metadata(&path).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it holds values of variables");
}

#[test]
fn what_was_not_committed_is_not_read() {
    let (_directory, path) = place();
    let mut journal = written(&path);
    journal.table().put(key(1, 1, 0), b"too late".to_vec());
    drop(journal);
    assert_eq!(
        found(&path).table.get(key(1, 1, 0)),
        Some(b"changed".as_slice())
    );
}

#[test]
fn the_same_again_writes_nothing() {
    let (_directory, path) = place();
    let mut journal = written(&path);
    let before = fs::metadata(&path).expect("there").len();
    journal.table().put(key(1, 1, 0), b"changed".to_vec());
    journal.table().remove(key(9, 9, 9));
    journal.commit().expect("writes");
    assert_eq!(fs::metadata(&path).expect("there").len(), before);
}

#[test]
fn there_is_none_where_there_is_none() {
    let (_directory, path) = place();
    assert!(Journal::read(&path).expect("readable").is_none());
    fs::write(&path, b"").expect("written");
    assert!(Journal::read(&path).expect("readable").is_none());
}

/// Wherever the writer was killed, what was committed before is there: whole batches, and nothing else.
#[test]
fn a_torn_tail_is_left_out_wherever_it_is_torn() {
    let (_directory, path) = place();
    drop(written(&path));
    let bytes = fs::read(&path).expect("read");
    let mut seen = Vec::new();
    for end in 0..=bytes.len() {
        let found = Found::parse(&bytes[..end], BOOT).expect("readable");
        let values = found.map(|found| {
            let first = found.table.get(key(1, 1, 0)).map(<[u8]>::to_vec);
            let second = found.table.get(key(2, 7, 3)).is_some();
            (first, second, found.table.get(key(3, 0, 0)).is_some())
        });
        if seen.last() != Some(&values) {
            seen.push(values);
        }
    }
    let text = |text: &str| Some(text.as_bytes().to_vec());
    let expected = [
        None,
        Some((None, false, false)),
        Some((text("first"), false, false)),
        Some((text("changed"), true, false)),
        Some((text("changed"), true, true)),
        Some((text("changed"), true, false)),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn damage_before_the_end_is_told_with_its_place() {
    let (_directory, path) = place();
    drop(written(&path));
    let mut bytes = fs::read(&path).expect("read");
    let second = bytes.len() - 20;
    bytes[40] ^= 1;
    let error = Found::parse(&bytes, BOOT).expect_err("damaged");
    assert!(
        error.to_string().starts_with("it is damaged at byte "),
        "{error}"
    );
    // In the last frame it cannot be told from a torn one.
    bytes[40] ^= 1;
    bytes[second + 19] ^= 1;
    let found = Found::parse(&bytes, BOOT).expect("readable");
    assert!(found.expect("a journal").torn);
}

#[test]
fn a_later_format_is_refused_and_another_boot_is_told() {
    #[derive(minicbor::Encode)]
    #[cbor(map)]
    struct Header {
        #[n(0)]
        format: u32,
        #[n(1)]
        version: String,
        #[n(2)]
        boot: String,
        /// What only a later version knows.
        #[n(9)]
        more: Vec<u32>,
    }
    let file = |format| {
        let mut bytes = Vec::new();
        let (version, boot, more) = ("9.1.0".to_owned(), "earlier".to_owned(), vec![1, 2]);
        let header = Header {
            format,
            version,
            boot,
            more,
        };
        frame::write(&mut bytes, &encoded(&header));
        bytes
    };
    let error = Found::parse(&file(2), BOOT).expect_err("refused");
    let said = error.to_string();
    assert!(
        said.starts_with("handover 9.1.0 wrote it in format 2, and this is "),
        "{said}"
    );
    let found = Found::parse(&file(1), BOOT).expect("readable");
    let found = found.expect("a journal");
    assert!(found.of_another_boot);
    assert_eq!(found.version, "9.1.0");
}

#[test]
fn a_file_that_grows_is_written_anew_without_its_past() {
    let (_directory, path) = place();
    let mut journal = written(&path);
    for round in 0..10_000u32 {
        journal
            .table()
            .put(key(1, 1, 0), round.to_le_bytes().repeat(8));
        journal.commit().expect("writes");
        let length = fs::metadata(&path).expect("there").len();
        assert!(length < 70_000, "{length} bytes in round {round}");
    }
    drop(journal);
    let found = found(&path);
    let last = 9_999u32.to_le_bytes().repeat(8);
    assert_eq!(found.table.get(key(1, 1, 0)), Some(last.as_slice()));
    assert_eq!(
        found.table.get(key(2, 7, 3)),
        Some(b"other".as_slice()),
        "nothing was lost"
    );
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        drop(Found::parse(&bytes, BOOT));
    }

    #[test]
    fn a_journal_with_a_changed_byte_is_refused_or_is_shorter(at in 0usize..10_000, bit in 0u8..8) {
        let (_directory, path) = place();
        drop(written(&path));
        let mut bytes = fs::read(&path).expect("read");
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        if let Ok(Some(found)) = Found::parse(&bytes, BOOT) {
            prop_assert!(found.torn);
        }
    }
}
