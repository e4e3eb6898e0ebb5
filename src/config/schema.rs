//! The table of keys as a JSON Schema, for editors that complete and check TOML by one.
//!
//! It knows types, bounds and words. What `handover check` says beyond that (addresses, names, rules between keys)
//! no schema can say: a file that the schema takes may still have a fault, none that it refuses is right.

use serde_json::{Map, Value, json};

use super::key::{Applies, Key};
use super::keys::{SECTIONS, keys};
use super::kind::Kind;

/// A JSON Schema (draft 2020-12) of a config file.
pub fn schema() -> Value {
    let mut properties = Map::new();
    for (section, doc) in SECTIONS {
        let inside = keys().filter(|key| key.section() == *section);
        let inside: Map<String, Value> = inside
            .map(|key| (key.name().to_owned(), of_key(key)))
            .collect();
        if section.is_empty() {
            properties.extend(inside);
            continue;
        }
        let mut table = json!({
            "type": "object",
            "properties": inside,
            "additionalProperties": false,
        });
        if *section == "listen" {
            table["required"] = json!(["address"]);
            table = json!({"type": "array", "items": table});
        }
        table["description"] = json!(doc);
        place(&mut properties, section, table);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:handover:schema:config",
        "title": "A config file of handover",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    })
}

/// Puts the section where its path leads: `router.tls` stands inside `router`, which comes first.
fn place(properties: &mut Map<String, Value>, section: &str, table: Value) {
    match section.split_once('.') {
        None => drop(properties.insert(section.to_owned(), table)),
        Some((outer, inner)) => {
            let outer = properties.get_mut(outer);
            let inside = outer.and_then(|outer| outer["properties"].as_object_mut());
            if let Some(inside) = inside {
                inside.insert(inner.to_owned(), table);
            }
        }
    }
}

fn of_key(key: &Key) -> Value {
    let mut schema = of_kind(&key.kind);
    let is_text = schema == json!({"type": "string"});
    if key.default.is_empty() && !is_text {
        // Said to be unset.
        schema = json!({"anyOf": [schema, {"const": ""}]});
    }
    let when = match (key.later, key.applies) {
        (Some(_), _) => "Comes in a later version.",
        (None, Applies::Release) => "A change applies with the next generation.",
        (None, Applies::Live) => "A change applies at once.",
        (None, Applies::Restart) => "A change applies when the master starts.",
    };
    let default = match key.default {
        "" | "[]" | "{}" => String::new(),
        default => format!(" Default: {default}."),
    };
    schema["description"] = json!(format!("{}{default} {when}", key.doc));
    schema
}

fn of_kind(kind: &Kind) -> Value {
    let duration = "^[0-9]+(ms|s|m|h)$";
    let size = "^[0-9]+[KMGT]?$";
    match kind {
        Kind::Switch => json!({"type": "boolean"}),
        Kind::Number { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        Kind::Duration { .. } => json!({"type": "string", "pattern": duration}),
        Kind::Size { .. } => json!({"anyOf": [
            {"type": "string", "pattern": size},
            {"type": "integer", "minimum": 0},
        ]}),
        Kind::SizeLimit => json!({"anyOf": [
            {"type": "string", "pattern": size},
            {"type": "integer", "minimum": 0},
            {"const": "unlimited"},
        ]}),
        Kind::CountLimit => json!({"anyOf": [
            {"type": "integer", "minimum": 0},
            {"const": "unlimited"},
        ]}),
        Kind::Percent => json!({"type": ["string", "number"]}),
        Kind::Cpus => json!({"type": "number"}),
        // An integer is 0o660, which JSON cannot tell from 432.
        Kind::Mode { .. } => json!({"anyOf": [
            {"type": "string", "pattern": "^(0o)?[0-7]{1,5}$"},
            {"type": "integer", "minimum": 0},
        ]}),
        Kind::Choice(words) => json!({"enum": words}),
        Kind::Probe => json!({"type": "string", "pattern": "^(http:/|exec:).+"}),
        Kind::Words(_) => json!({"type": "array", "items": {"type": "string"}}),
        Kind::Variables => json!({"anyOf": [
            {"type": "object", "additionalProperties": {"type": "string"}},
            {"type": "array", "items": {"type": "string"}},
        ]}),
        Kind::Workers => json!({"anyOf": [
            {"type": "integer", "minimum": 1},
            {"const": "auto"},
        ]}),
        Kind::InheritEnv => json!({"anyOf": [
            {"type": "boolean"},
            {"type": "array", "items": {"type": "string"}},
        ]}),
        Kind::Text
        | Kind::Name
        | Kind::Account
        | Kind::Path
        | Kind::Signal
        | Kind::Address
        | Kind::ReadyOn => json!({"type": "string"}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_stands_in_the_schema_with_what_it_is_for() {
        let schema = schema();
        for key in keys() {
            let path = key.path.split('.');
            let found = path.fold(&schema, |at, part| {
                let object = if at["type"] == "array" {
                    &at["items"]
                } else {
                    at
                };
                &object["properties"][part]
            });
            let about = found["description"].as_str().unwrap_or_default();
            assert!(about.starts_with(key.doc), "{}: {found}", key.path);
        }
    }
}
