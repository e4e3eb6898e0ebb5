//! JSON Schemas of what the API says, printed from the types into `docs/schemas`.
//!
//! Answers are described as they are written: every field that is always there is required, null or
//! not. Objects may grow, so none forbids what it does not know.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::{Value, json};

use super::view::{
    ConfigView, EventView, EventsView, HistoryView, LogsView, OperationView, Status,
};
use super::{ErrorBody, Event, Timestamp, UpgradeRequest};

impl JsonSchema for Timestamp {
    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "date-time",
            "description": "RFC 3339 in UTC, to the millisecond.",
            "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z$",
        })
    }
}

/// One thing that happened. Beside these three, the fields of its kind; what is unknown is absent.
#[derive(Serialize, JsonSchema)]
struct OneEvent {
    /// Grows by one with every event of this master.
    seq: u64,
    /// When it happened.
    at: Timestamp,
    #[serde(flatten)]
    event: Event,
}

impl JsonSchema for EventView {
    fn schema_name() -> Cow<'static, str> {
        "Event".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        OneEvent::json_schema(generator)
    }
}

/// As it is written by the master.
fn written<T: JsonSchema>(name: &str) -> (String, Value) {
    schema::<T>(name, SchemaSettings::draft2020_12().for_serialize())
}

/// As it is read: what has a default may be left out.
fn read<T: JsonSchema>(name: &str) -> (String, Value) {
    schema::<T>(name, SchemaSettings::draft2020_12().for_deserialize())
}

fn schema<T: JsonSchema>(name: &str, settings: SchemaSettings) -> (String, Value) {
    let schema = settings.into_generator().into_root_schema_for::<T>();
    let mut schema = Value::from(schema);
    // A name that needs no host: the schemas are files beside each other.
    schema["$id"] = json!(format!("urn:handover:schema:{name}"));
    (name.to_owned(), schema)
}

fn all() -> Vec<(String, Value)> {
    vec![
        written::<Status>("status"),
        written::<OperationView>("operation"),
        written::<HistoryView>("history"),
        written::<LogsView>("logs"),
        written::<ConfigView>("effective-config"),
        written::<ErrorBody>("error"),
        // A field that is not known is left out of an event, and not null.
        read::<EventView>("event"),
        read::<EventsView>("events"),
        read::<UpgradeRequest>("upgrade-request"),
    ]
}

fn place(name: &str) -> PathBuf {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schemas");
    docs.join(format!("{name}.json"))
}

/// `HANDOVER_WRITE_DOCS=1` writes the files anew.
#[test]
fn the_schemas_in_the_docs_are_those_of_the_types() {
    for (name, schema) in all() {
        let wanted = serde_json::to_string_pretty(&schema).expect("JSON") + "\n";
        let path = place(&name);
        if std::env::var_os("HANDOVER_WRITE_DOCS").is_some() {
            fs::write(&path, &wanted).expect("docs/schemas is a directory of ours");
        }
        let written = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            written == wanted,
            "docs/schemas/{name}.json is not what the types say: HANDOVER_WRITE_DOCS=1 cargo test --lib schemas"
        );
    }
}

/// What scripts may rely on: required, and described.
const PROMISED: &[(&str, &str, &[&str])] = &[
    (
        "status",
        "",
        &[
            "name",
            "pid",
            "version",
            "state",
            "generation",
            "route",
            "listeners",
            "generations",
            "sessions",
            "upgrades",
            "last_upgrade",
        ],
    ),
    (
        "status",
        "GenerationView",
        &[
            "number",
            "label",
            "state",
            "release",
            "started_at",
            "drain_deadline",
            "workers",
        ],
    ),
    (
        "status",
        "ReleaseView",
        &["command", "executable", "build_id", "pinned"],
    ),
    (
        "status",
        "WorkerView",
        &[
            "id",
            "pid",
            "state",
            "ready_ms",
            "ready_by",
            "status",
            "restarts",
            "connections",
        ],
    ),
    (
        "status",
        "SessionsView",
        &[
            "bound",
            "warm",
            "starting",
            "draining",
            "queued",
            "lost_total",
        ],
    ),
    (
        "status",
        "UpgradesView",
        &["succeeded", "failed", "rolled_back"],
    ),
    (
        "status",
        "LastUpgrade",
        &[
            "id",
            "result",
            "reason",
            "from",
            "to",
            "started_at",
            "duration_ms",
            "log_tail",
        ],
    ),
    (
        "operation",
        "",
        &["id", "kind", "state", "result", "reason", "by"],
    ),
    ("event", "", &["seq", "at"]),
    ("error", "ApiError", &["kind", "message"]),
];

#[test]
fn what_scripts_rely_on_is_required_and_described() {
    let all = all();
    for (file, definition, fields) in PROMISED {
        let (_, schema) = all.iter().find(|(name, _)| name == file).expect("a schema");
        let object = match *definition {
            "" => schema,
            name => &schema["$defs"][name],
        };
        let required = object["required"].as_array().expect("required fields");
        for field in *fields {
            assert!(
                required.contains(&json!(field)),
                "{file} {definition}: {field}"
            );
            let about = &object["properties"][field];
            assert!(
                about.is_object(),
                "{file} {definition}: {field} has no schema"
            );
        }
    }
}

#[test]
fn states_are_those_of_the_design_and_nothing_else() {
    let (_, status) = written::<Status>("status");
    let words = |name: &str| {
        let options = status["$defs"][name]["oneOf"].as_array().expect("words");
        let words: Vec<&str> = options.iter().filter_map(|o| o["const"].as_str()).collect();
        words.join(" ")
    };
    assert_eq!(words("MasterState"), "starting serving upgrading stopping");
    assert_eq!(
        words("GenerationState"),
        "starting baking canary active draining ended failed"
    );
    assert_eq!(words("WorkerState"), "starting ready draining exited");
}
