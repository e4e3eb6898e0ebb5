//! Arbitrary bytes through everything that reads text here.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use super::{
    Address, Setting, Value, effective, keys, load_text, parse_env_file, service_name, to_toml,
};

/// Loads the bytes as a file, a variable, a flag, an address and an environment file. Must not
/// panic; what loads must load again from its own dump, to the same config.
pub fn fuzz(bytes: &[u8]) {
    let path = Path::new("fuzz.toml");
    let text = String::from_utf8_lossy(bytes);
    match load_text(path, &text, &[], &[]) {
        Ok(loaded) => {
            let dump = to_toml(&loaded.config);
            let again = load_text(path, &dump, &[], &[])
                .unwrap_or_else(|faults| panic!("{dump}\n{faults}"));
            assert_eq!(again.config, loaded.config, "{dump}");
            let _ = (
                service_name(&loaded.config, None),
                effective(&loaded.config, &loaded.origins),
            );
        }
        Err(faults) => {
            assert!(!faults.0.is_empty());
            let _ = (faults.render(true), faults.to_json());
        }
    }
    if let Ok(address) = text.parse::<Address>() {
        assert_eq!(
            address.to_string().parse::<Address>().as_ref(),
            Ok(&address)
        );
    }
    let _ = parse_env_file(path, &text);
    upper_layers(bytes, &text);
}

fn upper_layers(bytes: &[u8], text: &str) {
    // The first byte chooses the key, the rest is its value.
    let all: Vec<_> = keys().collect();
    let chosen = bytes
        .first()
        .map_or(0, |first| usize::from(*first) % all.len());
    let Some(key) = all.get(chosen) else { return };
    let value = bytes.get(1..).unwrap_or_default().to_vec();
    let name = key.variable().unwrap_or_else(|| "HANDOVER__LISTEN".into());
    let env = [(OsString::from(name), OsString::from_vec(value))];
    let words = text.split(' ').map(str::to_owned).collect();
    let flags = [
        Setting {
            key: key.path.into(),
            value: Value::Text(text.to_owned()),
            flag: "--flag".into(),
        },
        Setting {
            key: "listen".into(),
            value: Value::List(words),
            flag: "--listen".into(),
        },
    ];
    for result in [
        load_text(Path::new("fuzz.toml"), "# nothing", &env, &[]),
        load_text(Path::new("fuzz.toml"), "name = 'x'", &env, &flags),
    ] {
        if let Err(faults) = result {
            let _ = faults.render(false);
        }
    }
}
