//! Fuzz entries: each takes any bytes, and must neither panic nor run away.

use super::*;

/// A fuzz entry: its name, which is also its corpus directory, and the function.
pub type Entry = (&'static str, fn(&[u8]));

/// Every parser of this module.
pub const ENTRIES: &[Entry] = &[
    ("syscall", |bytes| {
        if let Some(Line::Inside(frame)) = syscall_line(bytes) {
            let _ = (frame.descriptor(), frame.is_32_bit());
        }
    }),
    ("pollfd", |bytes| {
        assert!(poll_array(bytes).all(|fd| fd >= 0))
    }),
    ("fdset", |bytes| {
        let count = bytes.first().map_or(0, |&byte| usize::from(byte) * 8);
        assert!(fd_set(bytes, count).all(|fd| (fd as usize) < count));
    }),
    ("link", |bytes| {
        let _ = link_target(bytes);
    }),
    ("fdinfo", |bytes| {
        let lines = bytes.iter().filter(|&&byte| byte == b'\n').count() + 1;
        assert!(epoll_entries(bytes).count() <= lines);
        assert!(ring_operations(bytes).unwrap_or_default().len() <= lines);
    }),
    ("stat", |bytes| {
        let _ = stat(bytes);
        let _ = schedule_stat(bytes);
        let _ = run_count(bytes);
        assert!(children(bytes).all(|pid| pid > 0));
    }),
    ("net", |bytes| {
        let lines = bytes.iter().filter(|&&byte| byte == b'\n').count() + 1;
        assert!(tcp_rows(bytes).count() <= lines);
        assert!(unix_rows(bytes).count() <= lines);
    }),
    ("sock_diag", |bytes| {
        let mut sockets = 0;
        diag_inodes(bytes, |_| sockets += 1);
        assert!(sockets <= bytes.len() / 16);
    }),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Path;

    /// Reads `fuzz-corpus/proc/NAME/*` of every entry; an entry without a corpus is a mistake.
    fn corpus() -> Vec<(Entry, Vec<u8>)> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz-corpus/proc");
        let mut all = vec![];
        for &entry in ENTRIES {
            let folder = root.join(entry.0);
            let before = all.len();
            for file in std::fs::read_dir(&folder)
                .expect("a corpus for each entry")
                .flatten()
            {
                all.push((
                    entry,
                    std::fs::read(file.path()).expect("corpus file is readable"),
                ));
            }
            assert!(all.len() > before, "{} is empty", folder.display());
        }
        all
    }

    #[test]
    fn the_corpus_passes_whole_cut_and_bent() {
        for ((_, parse), bytes) in corpus() {
            parse(&bytes);
            for cut in 0..bytes.len() {
                parse(&bytes[..cut]);
                parse(&bytes[cut..]);
                let mut bent = bytes.clone();
                bent[cut] ^= 0x55;
                parse(&bent);
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_pass(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            for (_, parse) in ENTRIES {
                parse(&bytes);
            }
        }

        #[test]
        fn any_words_pass(text in "[ \n():,0-9a-fx@/-]{0,200}(tfd:|events:|ino:|running|PollList:\n|  op=|socket:\\[)?[ \n0-9a-f:]{0,80}") {
            for (_, parse) in ENTRIES {
                parse(text.as_bytes());
            }
        }
    }
}
