//! Bytes that no client sends: the committed corpus, its mutations, and noise.

use std::fs;

use proptest::prelude::*;

use super::*;

fn corpus() -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz-corpus/control");
    let mut files: Vec<_> = fs::read_dir(&directory)
        .expect("the corpus is committed")
        .map(|entry| entry.expect("readable").path())
        .map(|path| {
            let name = path
                .file_name()
                .expect("a file")
                .to_string_lossy()
                .into_owned();
            (name, fs::read(&path).expect("readable"))
        })
        .collect();
    files.sort();
    assert!(files.len() >= 30, "the corpus is not where it was");
    files
}

/// The server ends the connection, and says nothing but good answers and
/// client's errors: a 500 is a fault of ours.
fn survives(bytes: &[u8]) -> Result<Vec<u16>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let answer = runtime.block_on(feed(bytes))?;
    let answer = String::from_utf8_lossy(&answer);
    if !answer.is_empty() && !answer.starts_with("HTTP/1.") {
        return Err(format!("no HTTP: {answer}"));
    }
    let statuses: Vec<u16> = answer
        .match_indices("HTTP/1.")
        .filter_map(|(at, _)| answer.get(at + 9..at + 12)?.parse().ok())
        .collect();
    match statuses
        .iter()
        .find(|status| !(100..500).contains(*status) && **status != 503)
    {
        Some(status) => Err(format!("status {status}: {answer}")),
        None => Ok(statuses),
    }
}

#[test]
fn the_corpus_is_survived() {
    for (name, bytes) in corpus() {
        let statuses = survives(&bytes).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        // A file's name says what it must be answered with, where it matters.
        if let Some((expected, _)) = name.split_once('-')
            && let Ok(expected) = expected.parse::<u16>()
        {
            assert_eq!(statuses.first(), Some(&expected), "{name}");
        }
    }
}

proptest! {
    // Each case waits for a timeout: a few dozen are a second.
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn noise_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(survives(&bytes).is_ok());
    }

    #[test]
    fn mutations_of_the_corpus_are_survived(
        pick in any::<prop::sample::Index>(),
        other in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let corpus = corpus();
        let mut bytes = corpus[pick.index(corpus.len())].1.clone();
        for (at, byte) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        // Two requests on one connection, the first cut anywhere.
        bytes.truncate(cut.index(bytes.len() + 1));
        bytes.extend_from_slice(&corpus[other.index(corpus.len())].1);
        let outcome = survives(&bytes);
        prop_assert!(outcome.is_ok(), "{:?}", outcome);
    }
}
