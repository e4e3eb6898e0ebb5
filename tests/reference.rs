//! The reference of the configuration is printed from the table of keys.

use std::path::Path;

/// `HANDOVER_WRITE_DOCS=1` writes the file anew.
#[test]
fn the_reference_in_the_docs_is_the_table_of_keys() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/config.md");
    let wanted = handover::config::reference_markdown();
    if std::env::var_os("HANDOVER_WRITE_DOCS").is_some() {
        std::fs::write(&path, &wanted).expect("docs is a directory of ours");
    }
    let written = std::fs::read_to_string(&path).expect("docs/config.md is there");
    assert!(
        written == wanted,
        "docs/config.md is not what the table says: HANDOVER_WRITE_DOCS=1 cargo test --test reference"
    );
}
