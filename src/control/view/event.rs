//! `GET /v1/events`.

use serde::de::Error as _;
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::control::{Event, Timestamp};

/// One thing that happened, as it travels: `{seq, at, kind, …}`.
///
/// The fields of the kind lie beside the three that every event has. They are
/// kept as they came, so that a client can show a kind that it does not know.
#[derive(Clone, Debug, PartialEq)]
pub struct EventView {
    /// Grows by one with every event of this master.
    pub seq: u64,
    /// When it happened.
    pub at: Timestamp,
    /// What happened; [`Event`] documents each kind.
    pub kind: String,
    /// The fields of this kind.
    pub fields: Map<String, Value>,
}

impl EventView {
    /// The event `event` as number `seq`, at `at`.
    #[must_use]
    pub fn new(seq: u64, at: Timestamp, event: &Event) -> Self {
        // An enum of variants with named fields: an object of one entry.
        let object = match serde_json::to_value(event) {
            Ok(Value::Object(object)) => object.into_iter().next(),
            _ => None,
        };
        let (kind, mut fields) = match object {
            Some((kind, Value::Object(fields))) => (kind, fields),
            _ => Default::default(),
        };
        fields.retain(|_, value| !value.is_null());
        Self {
            seq,
            at,
            kind,
            fields,
        }
    }

    /// The event with its fields; none when this version does not know it.
    #[must_use]
    pub fn event(&self) -> Option<Event> {
        let fields = Value::Object(self.fields.clone());
        let object = Map::from_iter([(self.kind.clone(), fields)]);
        serde_json::from_value(Value::Object(object)).ok()
    }
}

impl Serialize for EventView {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3 + self.fields.len()))?;
        map.serialize_entry("seq", &self.seq)?;
        map.serialize_entry("at", &self.at)?;
        map.serialize_entry("kind", &self.kind)?;
        for (name, value) in &self.fields {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for EventView {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Map::deserialize(deserializer)?;
        let mut take = |name: &'static str| {
            fields
                .remove(name)
                .ok_or_else(|| D::Error::missing_field(name))
        };
        let seq = u64::deserialize(take("seq")?).map_err(D::Error::custom)?;
        let at = Timestamp::deserialize(take("at")?).map_err(D::Error::custom)?;
        let kind = String::deserialize(take("kind")?).map_err(D::Error::custom)?;
        Ok(Self {
            seq,
            at,
            kind,
            fields,
        })
    }
}

/// `GET /v1/events?follow=false`: what is still kept, oldest first.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EventsView {
    /// The events that were asked for.
    pub events: Vec<EventView>,
    /// The newest event's number: ask with `?since=LAST` for what follows.
    pub last: u64,
}
