//! A fault: where, what, and what to write instead.

use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// All faults of a config, in the order of the layers and of the file. `Display` is the whole
/// message for people, without colour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// The key, when it is about one: `app.workers`, `listen[1].address`.
    pub key: Option<String>,
    /// What is wrong, as a sentence that stands alone.
    pub message: String,
    /// What to do; contains the text to write where one can be known.
    pub hint: Option<String>,
    /// The line of the file, for a fault inside one.
    pub snippet: Option<Snippet>,
}

/// Where a fault is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// At a character of a file; both count from 1.
    At {
        /// The file as it was named.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Character in the line, from 1.
        column: usize,
    },
    /// A file as a whole: it cannot be read, or something is missing.
    File(PathBuf),
    /// An environment variable, with its value unless that may be a secret.
    Variable {
        /// Its name.
        name: String,
        /// Its value.
        value: Option<String>,
    },
    /// A flag, with its value unless that may be a secret.
    Flag {
        /// As the user wrote it: `--workers`.
        name: String,
        /// Its value.
        value: Option<String>,
    },
    /// Nobody said it, and there is no file to say it in.
    Nowhere,
}

/// A line of the file and what to underline. Values of `app.env` are masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snippet {
    /// The line, shortened around the place when it is long.
    pub text: String,
    /// First underlined character, from 0.
    pub start: usize,
    /// Underlined characters, at least 1.
    pub width: usize,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// A line of the file, from 1.
    File(PathBuf, usize),
    /// An environment variable.
    Variable(String),
    /// A flag.
    Flag(String),
}

impl Fault {
    /// The file, if it is about one.
    pub fn file(&self) -> Option<&Path> {
        match &self.place {
            Place::At { file, .. } | Place::File(file) => Some(file),
            _ => None,
        }
    }

    /// Line and column, both from 1.
    pub fn position(&self) -> Option<(usize, usize)> {
        match self.place {
            Place::At { line, column, .. } => Some((line, column)),
            _ => None,
        }
    }

    /// As one JSON object; keys that do not apply are absent.
    pub fn to_json(&self) -> Value {
        let mut object = json!({ "message": self.message });
        let mut put = |name: &str, value: Value| object[name] = value;
        match &self.place {
            Place::At { file, line, column } => {
                put("file", json!(file.to_string_lossy()));
                put("line", json!(line));
                put("column", json!(column));
            }
            Place::File(file) => put("file", json!(file.to_string_lossy())),
            Place::Variable { name, value } => {
                put("variable", json!(name));
                value.iter().for_each(|value| put("value", json!(value)));
            }
            Place::Flag { name, value } => {
                put("flag", json!(name));
                value.iter().for_each(|value| put("value", json!(value)));
            }
            Place::Nowhere => {}
        }
        self.key.iter().for_each(|key| put("key", json!(key)));
        self.hint.iter().for_each(|hint| put("hint", json!(hint)));
        self.snippet
            .iter()
            .for_each(|snippet| put("source", json!(snippet.text)));
        object
    }
}

impl Faults {
    /// `{"count": 2, "faults": [{"file", "line", "column", "key", "message", "hint", "source"}, …]}`;
    /// a variable or a flag stands in place of the file.
    pub fn to_json(&self) -> Value {
        let faults: Vec<Value> = self.0.iter().map(Fault::to_json).collect();
        json!({ "count": faults.len(), "faults": faults })
    }
}

impl std::error::Error for Faults {}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::At { file, line, column } => write!(f, "{}:{line}:{column}", file.display()),
            Place::File(file) => write!(f, "{}", file.display()),
            Place::Variable {
                name,
                value: Some(value),
            } => write!(f, "{name}={value}"),
            Place::Flag {
                name,
                value: Some(value),
            } => write!(f, "{name} {value}"),
            Place::Variable { name, value: None } | Place::Flag { name, value: None } => {
                f.write_str(name)
            }
            Place::Nowhere => f.write_str("command line"),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(file, line) => write!(f, "{}:{line}", file.display()),
            Origin::Variable(name) | Origin::Flag(name) => f.write_str(name),
        }
    }
}
