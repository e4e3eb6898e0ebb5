//! The reference of the configuration, and its schema, are printed from the table of keys.

use std::path::Path;

/// `HANDOVER_WRITE_DOCS=1` writes the file anew.
#[test]
fn the_reference_in_the_docs_is_the_table_of_keys() {
    is_written("docs/config.md", handover::config::reference_markdown());
}

#[test]
fn the_schema_in_the_docs_is_the_table_of_keys() {
    let schema = serde_json::to_string_pretty(&handover::config::schema()).expect("JSON");
    is_written("docs/schemas/config.json", schema + "\n");
}

#[track_caller]
fn is_written(place: &str, wanted: String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(place);
    if std::env::var_os("HANDOVER_WRITE_DOCS").is_some() {
        std::fs::write(&path, &wanted).expect("docs is a directory of ours");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == wanted,
        "{place} is not what the table says: HANDOVER_WRITE_DOCS=1 cargo test --test reference"
    );
}
