//! In which steps a new generation replaces the old one.

use super::super::build::Build;
use super::super::raw::Wrong;
use super::super::types::{Strategy, Workers};

pub(super) fn check(build: &mut Build<'_>) {
    let keys = [
        "upgrade.strategy",
        "upgrade.batch",
        "upgrade.canary",
        "upgrade.canary_timeout",
        "app.workers",
    ];
    if keys.iter().any(|key| build.broken.contains(*key)) {
        return;
    }
    let upgrade = build.config.upgrade.clone();
    let rolling = upgrade.strategy == Strategy::Rolling;
    if rolling && upgrade.canary > 0 {
        let wrong = Wrong::new(
            "cannot stand with strategy = \"rolling\": a canary stands beside the whole old \
             generation, and a rolling upgrade has none",
        );
        build.rule(
            "upgrade.canary",
            wrong.hint("remove one of the two; a single upgrade can be a canary: handover upgrade --canary N"),
        );
        return;
    }
    if !rolling && build.set.contains_key("upgrade.batch") {
        let wrong = Wrong::new("has no effect: batches are for strategy = \"rolling\"");
        build.warn(
            "upgrade.batch",
            wrong.hint("remove it, or write strategy = \"rolling\""),
        );
    }
    if let Workers::Count(workers) = build.config.app.workers {
        let workers = workers.get();
        for (key, count) in [
            ("upgrade.batch", upgrade.batch),
            ("upgrade.canary", upgrade.canary),
        ] {
            let counts = key == "upgrade.canary" || rolling;
            if counts && count > workers && build.set.contains_key(key) {
                let wrong = Wrong::new(format!(
                    "is {count}, more than app.workers ({workers}): that is all of them at once"
                ));
                build.warn(key, wrong.hint(format!("write {workers} or fewer")));
            }
        }
    }
}
