//! `handover config`.

use std::time::Duration;

use clap::Args;

use super::table::{Cell, Table};
use super::target::Target;
use super::terminal::{Paint, Terminal, Tone};
use super::text::{clean, fit};
use super::{Exit, Failure};
use crate::control::view::{ConfigValue, ConfigView};

/// A value longer than this is cut: `--json` has it all.
const VALUE_MAX: usize = 160;

/// The effective config, each value with where it came from
#[derive(Debug, PartialEq, Args)]
pub(super) struct ShowConfig {
    #[command(flatten)]
    pub(super) target: Target,
    /// Only values that are not the default
    #[arg(long)]
    set: bool,
}

impl ShowConfig {
    pub(super) async fn carry_out(self, terminal: &mut Terminal) -> Result<Exit, Failure> {
        let master = self.target.find("config", None).await?;
        let patience = Some(Duration::from_secs(15));
        let reply = master.client.get_raw("/v1/config", patience).await?;
        if self.target.json {
            terminal.say(String::from_utf8_lossy(&reply.body).trim_end())?;
        } else {
            let config: ConfigView = reply.parse()?;
            terminal.say(&page(&config, self.set, terminal.out_paint()))?;
        }
        Ok(Exit::Done)
    }
}

fn page(config: &ConfigView, set: bool, paint: Paint) -> String {
    let mut table = Table::new(["KEY", "VALUE", "FROM"]);
    for value in &config.values {
        let default = value.origin == "default" || value.origin.starts_with("default, ");
        if set && default {
            continue;
        }
        let tone = if default { Tone::Dim } else { Tone::Plain };
        table.row(vec![
            Cell::new(&value.key).tone(tone),
            Cell::new(fit(&clean(&shown(value)), VALUE_MAX)).tone(tone),
            Cell::new(&value.origin).tone(Tone::Dim),
        ]);
    }
    let mut lines = Vec::new();
    lines.extend(config.sticky.as_deref().map(clean));
    lines.extend(table.lines(paint));
    lines.join("\n")
}

fn shown(value: &ConfigValue) -> String {
    if value.masked {
        "(masked)".to_owned()
    } else {
        value.value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_value_stands_with_its_origin() {
        let value = |key: &str, value, origin: &str, masked| ConfigValue {
            key: key.to_owned(),
            value,
            origin: origin.to_owned(),
            masked,
        };
        let config = ConfigView {
            file: None,
            values: vec![
                value("name", json!("web"), "default, of web.toml", false),
                value("app.workers", json!(2), "/etc/handover/web.toml:3", false),
                value(
                    "app.env.TOKEN",
                    json!(null),
                    "/etc/handover/web.toml:4",
                    true,
                ),
                value("upgrade.bake", json!("1s"), "default", false),
            ],
            sticky: Some("the release is another".to_owned()),
        };
        assert_eq!(
            page(&config, false, Paint(false)),
            "\
the release is another
KEY            VALUE     FROM
name           \"web\"     default, of web.toml
app.workers    2         /etc/handover/web.toml:3
app.env.TOKEN  (masked)  /etc/handover/web.toml:4
upgrade.bake   \"1s\"      default"
        );
        let set = page(&config, true, Paint(false));
        assert!(
            !set.contains("upgrade.bake") && !set.contains("name"),
            "{set}"
        );
    }
}
