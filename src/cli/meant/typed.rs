//! What was typed, as far as it can be known without being understood.

use super::quoted;

/// The words behind `handover`.
pub(super) struct Typed<'a> {
    words: Vec<&'a str>,
}

impl<'a> Typed<'a> {
    pub(super) fn new(words: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            words: words.into_iter().collect(),
        }
    }

    /// The first word; empty where there is none.
    pub(super) fn verb(&self) -> &'a str {
        self.words.first().copied().unwrap_or_default()
    }

    /// What stands behind the verb and before `--`.
    pub(super) fn own(&self) -> &[&'a str] {
        let behind = self.words.get(1..).unwrap_or_default();
        let end = behind.iter().position(|word| *word == "--");
        behind.get(..end.unwrap_or(behind.len())).unwrap_or(behind)
    }

    /// What stands behind the verb.
    pub(super) fn behind(&self) -> &[&'a str] {
        self.words.get(1..).unwrap_or_default()
    }

    /// What is neither a flag nor, as far as can be known, a flag's value.
    pub(super) fn operands(&self) -> Vec<&'a str> {
        let own = self.own();
        own.iter()
            .enumerate()
            .filter(|(at, word)| {
                let before = at.checked_sub(1).and_then(|at| own.get(at));
                !word.starts_with('-') && before.is_none_or(|before| *before != "--runtime-dir")
            })
            .map(|(_, word)| *word)
            .collect()
    }

    /// What `flag` was given: `--label v2`, `--label=v2`.
    pub(super) fn value(&self, flag: &str) -> Option<&'a str> {
        let own = self.own();
        own.iter().enumerate().find_map(|(at, word)| {
            if *word == flag {
                let next = own.get(at + 1)?;
                return (!next.starts_with('-')).then_some(*next);
            }
            word.strip_prefix(flag)?.strip_prefix('=')
        })
    }

    /// `handover VERB`, with the name and the place of the master as they were typed.
    pub(super) fn command(&self, verb: &str) -> String {
        let mut command = format!("handover {verb}");
        // What stands right behind the verb is no flag's value.
        let name = self.own().first().filter(|word| {
            !word.starts_with('-')
                && !word.contains('=')
                && !word.bytes().all(|byte| byte.is_ascii_digit())
        });
        if let Some(name) = name {
            command = format!("{command} {}", quoted(name));
        }
        if let Some(place) = self.value("--runtime-dir") {
            command = format!("{command} --runtime-dir {}", quoted(place));
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_and_the_place_are_taken_from_what_was_typed() {
        for (typed, command) in [
            ("upgrade --force", "handover stop"),
            ("upgrade web --force", "handover stop web"),
            (
                "upgrade web --runtime-dir /r --force -- ./x",
                "handover stop web --runtime-dir /r",
            ),
            (
                "scale --runtime-dir=/r +1",
                "handover stop --runtime-dir /r",
            ),
            ("scale 3 web", "handover stop"),
            ("upgrade -- ./b --runtime-dir x", "handover stop"),
        ] {
            assert_eq!(Typed::new(typed.split(' ')).command("stop"), command);
        }
        let typed = Typed::new("config --runtime-dir /r web get x.y --set".split(' '));
        assert_eq!(typed.operands(), ["web", "get", "x.y"]);
    }
}
