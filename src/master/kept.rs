//! A sticky release as bytes that every later version reads, too.
//!
//! CBOR (RFC 8949) in maps with numbered keys: a version that knows more keys reads what an earlier one wrote,
//! and an earlier one leaves out what it does not know. Numbers are never used again. Around it: the number of the
//! format, and FNV-1a over the bytes, which tells a file that is damaged.

use std::collections::BTreeMap;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::sticky::{Against, Sticky};
use crate::control::{Caller, Timestamp};
use crate::journal::sum;

/// Raised when an earlier version would misread what is written.
const FORMAT: u32 = 1;

#[derive(Encode, Decode)]
#[cbor(map)]
struct Envelope {
    #[n(0)]
    format: u32,
    #[n(1)]
    body: ByteVec,
    #[n(2)]
    check: u64,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Record {
    #[n(0)]
    command: Option<Vec<String>>,
    #[n(1)]
    env: BTreeMap<String, String>,
    #[n(2)]
    by_uid: Option<u32>,
    #[n(3)]
    by_pid: Option<i32>,
    /// Milliseconds since 1970.
    #[n(4)]
    asked_at_ms: Option<u64>,
    #[n(5)]
    against: Option<App>,
    #[n(6)]
    label: Option<String>,
    /// The service that it is of: two may be given one state directory.
    #[n(7)]
    service: Option<String>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct App {
    #[n(0)]
    command: Vec<String>,
    #[n(1)]
    env: BTreeMap<String, String>,
    #[n(2)]
    env_file: Option<ByteVec>,
    #[n(3)]
    directory: Option<ByteVec>,
    #[n(4)]
    user: Option<String>,
    #[n(5)]
    group: Option<String>,
}

/// Why bytes are no sticky release.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("it is damaged")]
    Damaged,
    #[error("a later version of handover wrote it (format {0}, this one reads {FORMAT})")]
    Later(u32),
}

/// What `service` runs, as bytes.
pub(super) fn encode(sticky: &Sticky, service: &str) -> Vec<u8> {
    let bytes = |path: &Path| ByteVec::from(path.as_os_str().as_bytes().to_vec());
    let against = sticky.against.as_ref().map(|app| App {
        command: app.command.clone(),
        env: app.env.clone(),
        env_file: app.env_file.as_deref().map(bytes),
        directory: app.directory.as_deref().map(bytes),
        user: app.user.clone(),
        group: app.group.clone(),
    });
    let by = sticky.by;
    let body = written(&Record {
        command: sticky.command.clone(),
        env: sticky.env.clone(),
        by_uid: by.map(|(by, _)| by.uid),
        by_pid: by.map(|(by, _)| by.pid),
        asked_at_ms: by.map(|(_, at)| at.millis()),
        against,
        label: sticky.label.clone(),
        service: Some(service.to_owned()),
    });
    let (format, check) = (FORMAT, sum(&body));
    let body = body.into();
    written(&Envelope {
        format,
        body,
        check,
    })
}

/// The sticky release, and the service that it is of, which the first versions did not write.
pub(super) fn decode(bytes: &[u8]) -> Result<(Sticky, Option<String>), Unreadable> {
    let damaged = |_| Unreadable::Damaged;
    let Envelope {
        format,
        body,
        check,
    } = minicbor::decode(bytes).map_err(damaged)?;
    if sum(&body) != check {
        return Err(Unreadable::Damaged);
    }
    if format != FORMAT {
        return Err(Unreadable::Later(format));
    }
    let record: Record = minicbor::decode(&body).map_err(damaged)?;
    let path = |bytes: ByteVec| PathBuf::from(std::ffi::OsString::from_vec(bytes.into()));
    let against = record.against.map(|app| Against {
        command: app.command,
        env: app.env,
        env_file: app.env_file.map(path),
        directory: app.directory.map(path),
        user: app.user,
        group: app.group,
    });
    let caller = record.by_uid.zip(record.by_pid);
    let by = caller.map(|(uid, pid)| {
        let at = record.asked_at_ms.unwrap_or_default();
        (Caller { uid, pid }, Timestamp::from_millis(at))
    });
    let sticky = Sticky {
        command: record.command,
        env: record.env,
        label: record.label,
        by,
        against,
    };
    Ok((sticky, record.service))
}

fn written(value: &impl Encode<()>) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A vector takes whatever comes.
    drop(minicbor::encode(value, &mut bytes));
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SERVICE: &str = "web";

    fn sample() -> Sticky {
        let pairs = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter();
            pairs
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        let caller = Caller {
            uid: 1000,
            pid: 4242,
        };
        Sticky {
            command: Some(vec![
                "/srv/web/server".to_owned(),
                "--port={fd:http}".to_owned(),
            ]),
            env: pairs(&[("COLOUR", "green"), ("TOKEN", "s3cret")]),
            label: Some("v42".to_owned()),
            by: Some((caller, Timestamp::from_millis(1_774_112_645_120))),
            against: Some(Against {
                command: vec!["./server".to_owned()],
                env: pairs(&[("RUST_LOG", "info")]),
                env_file: Some("/etc/default/web".into()),
                directory: Some(std::ffi::OsString::from_vec(b"/srv/\xff".to_vec()).into()),
                user: Some("web".to_owned()),
                group: None,
            }),
        }
    }

    /// Bytes that a released version wrote are read for ever: a change here is a new file beside the old one.
    #[test]
    fn the_bytes_of_format_1_are_read_and_written() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/golden/sticky-1-label.cbor"
        );
        if std::env::var_os("HANDOVER_WRITE_GOLDEN").is_some() {
            std::fs::write(path, encode(&sample(), SERVICE)).unwrap();
        }
        let golden = std::fs::read(path).unwrap();
        assert_eq!(decode(&golden), Ok((sample(), Some(SERVICE.to_owned()))));
        assert_eq!(encode(&sample(), SERVICE), golden);
    }

    #[test]
    fn what_was_written_before_there_were_labels_in_it_is_read() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/sticky-1.cbor");
        let without = Sticky {
            label: None,
            ..sample()
        };
        assert_eq!(decode(&std::fs::read(path).unwrap()), Ok((without, None)));
    }

    #[test]
    fn what_a_later_version_adds_is_left_out_and_what_it_changes_is_refused() {
        let mut body = vec![0xa2, 0x01, 0xa0, 0x18, 0x63, 0x61, b'x'];
        let envelope = |format: u32, body: &[u8]| {
            written(&Envelope {
                format,
                body: body.to_vec().into(),
                check: sum(body),
            })
        };
        assert_eq!(decode(&envelope(1, &body)), Ok((Sticky::default(), None)));
        assert_eq!(decode(&envelope(2, &body)), Err(Unreadable::Later(2)));
        body.pop();
        assert_eq!(decode(&envelope(1, &body)), Err(Unreadable::Damaged));
    }

    #[test]
    fn every_shorter_and_every_changed_file_is_damaged() {
        let whole = encode(&sample(), SERVICE);
        for length in 0..whole.len() {
            assert_eq!(
                decode(&whole[..length]),
                Err(Unreadable::Damaged),
                "{length}"
            );
        }
        for place in 0..whole.len() {
            let mut changed = whole.clone();
            changed[place] ^= 0x10;
            assert!(decode(&changed).is_err(), "byte {place}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = decode(&bytes);
            let check = sum(&bytes);
            let body = bytes.into();
            let _ = decode(&written(&Envelope { format: 1, body, check }));
        }
    }
}
