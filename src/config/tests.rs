//! The room as others see it: text in, config or faults out.

mod files;
mod layers;
mod mistakes;
mod properties;
mod syntax;
mod valid;

use std::path::Path;

use super::{Fault, Faults, Loaded, Setting, Value, load_text};

/// The shortest file that loads.
const MINIMAL: &str = "[app]\ncommand = [\"./server\"]\n[[listen]]\naddress = \":8080\"\n";

fn loaded(text: &str) -> Loaded {
    load_text(Path::new("web.toml"), text, &[], &[])
        .unwrap_or_else(|faults| panic!("{text}\n{faults}"))
}

fn faults(text: &str) -> Faults {
    match load_text(Path::new("web.toml"), text, &[], &[]) {
        Ok(loaded) => panic!("no fault in:\n{text}\n{:?}", loaded.config),
        Err(faults) => faults,
    }
}

/// The only fault.
fn fault(text: &str) -> Fault {
    let faults = faults(text);
    assert_eq!(faults.0.len(), 1, "{text}\n{faults}");
    faults.0.into_iter().next().expect("one")
}

fn flag(key: &str, value: &str, flag: &str) -> Setting {
    Setting {
        key: key.into(),
        value: Value::Text(value.into()),
        flag: flag.into(),
    }
}

fn listen_flags(addresses: &[&str]) -> Setting {
    let words = addresses
        .iter()
        .map(|address| (*address).to_owned())
        .collect();
    Setting {
        key: "listen".into(),
        value: Value::List(words),
        flag: "--listen".into(),
    }
}
