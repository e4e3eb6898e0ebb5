//! What a real master says, held against the schemas that are shipped.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{Broken, Service, Start, debian, eventually, python_code, sh};

/// Reads pairs of a schema's name and a document, or a text of TOML; prints one verdict a line.
const VALIDATOR: &str = r#"
import json, sys, tomllib
from jsonschema import Draft202012Validator
schemas, verdicts = {}, []
for pair in json.load(sys.stdin):
    name = pair["schema"]
    if name not in schemas:
        with open(f"{sys.argv[1]}/{name}.json") as file:
            schema = json.load(file)
        Draft202012Validator.check_schema(schema)
        schemas[name] = Draft202012Validator(schema)
    document = tomllib.loads(pair["toml"]) if "toml" in pair else pair["document"]
    errors = [f"{error.json_path}: {error.message}" for error in schemas[name].iter_errors(document)]
    verdicts.append("; ".join(errors))
json.dump(verdicts, sys.stdout)
"#;

/// What there is to complain of in each; `None` where the validator is not installed.
#[track_caller]
fn verdicts(pairs: &[Value]) -> Option<Vec<String>> {
    debian("jsonschema")?;
    let python = debian("python3")?;
    let schemas = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schemas");
    let mut child = Command::new(python)
        .args(["-c", VALIDATOR, schemas])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python runs");
    let mut input = child.stdin.take().expect("a pipe");
    let text = serde_json::to_vec(pairs).expect("JSON");
    input.write_all(&text).expect("it reads");
    drop(input);
    let output = child.wait_with_output().expect("our own child");
    assert!(output.status.success(), "the validator failed");
    let verdicts: Vec<String> = serde_json::from_slice(&output.stdout).expect("verdicts");
    assert_eq!(verdicts.len(), pairs.len());
    Some(verdicts)
}

/// Answers of one service, each with the schema that it is said to fit.
#[derive(Default)]
struct Seen(Vec<Value>);

impl Seen {
    fn add(&mut self, schema: &str, document: Value) {
        self.0.push(json!({"schema": schema, "document": document}));
    }

    #[track_caller]
    fn ask(
        &mut self,
        service: &Service,
        method: &str,
        path: &str,
        body: &str,
        schema: &str,
    ) -> Value {
        let answer = service.ask(method, path, body).expect("an answer");
        let json: Value = serde_json::from_str(&answer.body).expect("JSON");
        self.add(schema, json.clone());
        json
    }

    #[track_caller]
    fn status(&mut self, service: &Service) -> Value {
        self.ask(service, "GET", "/v1/status", "", "status")
    }

    #[track_caller]
    fn all_fit(&self) {
        let Some(verdicts) = verdicts(&self.0) else {
            return;
        };
        for (verdict, pair) in verdicts.iter().zip(&self.0) {
            assert_eq!(verdict, "", "{pair:#}");
        }
    }
}

/// A status as soon as it holds.
#[track_caller]
fn when(service: &Service, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    eventually(what, || {
        let answer = service.ask("GET", "/v1/status", "").ok()?;
        let status: Value = serde_json::from_str(&answer.body).ok()?;
        holds(&status).then_some(status)
    })
}

#[test]
fn whatever_a_master_says_fits_its_schema() {
    let mut seen = Seen::default();
    let start = Start::bare(&[]);
    // It starts for as long as nobody lets it serve.
    let gate = start.path("gate");
    let lingers = python_code(&format!(
        "signal.signal(signal.SIGTERM, lambda *_: None)\nprint('hello', flush=True)\n\
         notify('STATUS=warm')\nsys.argv = ['x']\n\
         while not os.path.exists('{}'): time.sleep(0.01)\n\
         listener = socket.socket(fileno=3)\nwhile True: listener.accept()",
        gate.display()
    ));
    let service = Start::serving(&lingers)
        .flag("--drain-timeout", "3s")
        .flag("--bake", "1s")
        .env("HANDOVER_RESTART__MAX_DELAY", "200ms")
        .spawn();
    seen.add(
        "status",
        when(&service, "it starts", |s| s["state"] == "starting"),
    );
    std::fs::write(&gate, "").expect("a file");
    seen.add(
        "status",
        when(&service, "it serves", |s| s["state"] == "serving"),
    );
    let begun = seen.ask(
        &service,
        "POST",
        "/v1/upgrade?wait=false",
        "{\"label\": \"v2\"}",
        "operation",
    );
    let status = when(&service, "it bakes", |s| {
        s["generations"][0]["state"] == "baking"
    });
    assert_eq!(status["state"], "upgrading");
    seen.add("status", status);
    let id = begun["id"].as_str().expect("an id");
    seen.ask(
        &service,
        "GET",
        &format!("/v1/operations/{id}?wait=true"),
        "",
        "operation",
    );
    let status = seen.status(&service);
    assert_eq!(status["generations"][1]["state"], "draining", "{status}");
    // Failed, aborted, refused; and a fault of the caller's.
    service.upgrade_to(&Broken::at_once()).says(1, &[]);
    seen.status(&service);
    service.upgrade_to(&sh("exit 0")).says(1, &[]);
    seen.ask(&service, "POST", "/v1/abort", "", "operation");
    seen.ask(&service, "POST", "/v1/rollback", "{\"to\": 99}", "error");
    seen.ask(&service, "GET", "/v1/nothing", "", "error");
    seen.ask(&service, "POST", "/v1/upgrade", "{\"labl\": 1}", "error");
    let worker = service.workers(service.generation())[0];
    let pid = nix::unistd::Pid::from_raw(worker);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("a worker");
    eventually("it was started again", || {
        service.events().contains("worker_restarting").then_some(())
    });
    for (path, schema) in [
        ("/v1/history", "history"),
        ("/v1/logs", "logs"),
        ("/v1/config", "effective-config"),
        ("/v1/events?follow=false", "events"),
    ] {
        seen.ask(&service, "GET", path, "", schema);
    }
    let mut kinds: Vec<String> = Vec::new();
    for line in service.events().lines() {
        let event: Value = serde_json::from_str(line).expect("an event");
        kinds.push(event["kind"].as_str().expect("a kind").to_owned());
        seen.add("event", event);
    }
    kinds.sort();
    kinds.dedup();
    assert!(kinds.len() >= 14, "few kinds occurred: {kinds:?}");
    service.signal(nix::sys::signal::Signal::SIGTERM);
    seen.add(
        "status",
        when(&service, "it stops", |s| s["state"] == "stopping"),
    );
    seen.all_fit();
    assert_eq!(service.ends().code, Some(0));
}

#[test]
fn the_schemas_refuse_what_is_no_answer() {
    let pairs = [
        json!({"schema": "status", "document": {}}),
        json!({"schema": "event", "document": {"seq": 1, "at": "yesterday", "kind": "master_started"}}),
        json!({"schema": "event", "document": {"seq": 1, "at": "2026-03-21T17:04:05.120Z", "kind": "moon_rose"}}),
        json!({"schema": "operation", "document": {"id": 7}}),
        json!({"schema": "error", "document": {"error": "no"}}),
    ];
    for (verdict, pair) in verdicts(&pairs).unwrap_or_default().iter().zip(&pairs) {
        assert_ne!(verdict, "", "{pair:#}");
    }
}

const GOOD: &str = "[app]\ncommand = [\"/bin/true\"]\n[[listen]]\naddress = \":8080\"\n";

/// Added to a good file: where the schema finds a fault, `check` does, and these are right in both.
const RIGHT: &[&str] = &[
    "",
    "name = \"http\"\nbacklog = 128\nready = false\n",
    "[drain]\ntimeout = \"2m\"\nsignal = \"INT\"\n[upgrade]\nbake = \"1500ms\"\n",
    "[limits]\nnofile = \"unlimited\"\ncore = 0\nstack = \"8M\"\n",
    "[admin]\nlisten = \"\"\n[control]\nmode = \"0600\"\n",
    "[router.tls]\ncertificate = \"\"\n[sessions]\nwarm = 2\n",
];

/// Wrong in both.
const WRONG: &[&str] = &[
    "backlok = 1\n",
    "backlog = \"many\"\n",
    "[drain]\ntimeout = 30\n",
    "[drain]\ntimeout = \"30 sec\"\n",
    "[log]\nlevel = \"loud\"\n",
    "[limits]\nstack = \"8MB\"\n",
    "[upgrade]\nretries = -1\n",
    "[service]\nname = \"x\"\n",
    "[[listen]]\nname = \"other\"\n",
];

#[test]
fn the_schema_of_a_config_and_check_are_of_one_mind() {
    let files = RIGHT.iter().map(|more| (format!("{GOOD}{more}"), true));
    let wrong = WRONG.iter().map(|more| (format!("{GOOD}{more}"), false));
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/web.toml");
    let example = std::fs::read_to_string(example).expect("examples/web.toml");
    let files: Vec<(String, bool)> = files.chain(wrong).chain([(example, true)]).collect();
    let place = tempfile::tempdir().expect("a directory");
    let path = place.path().join("web.toml");
    let mut pairs = Vec::new();
    for (text, right) in &files {
        std::fs::write(&path, text).expect("written");
        let output = Command::new(env!("CARGO_BIN_EXE_handover"))
            .args(["check", "--file-only"])
            .arg(&path)
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), *right, "{text}\n{said}");
        pairs.push(json!({"schema": "config", "toml": text}));
    }
    let Some(verdicts) = verdicts(&pairs) else {
        return;
    };
    for ((text, right), verdict) in files.iter().zip(&verdicts) {
        assert_eq!(verdict.is_empty(), *right, "{verdict}\n{text}");
    }
}
