//! `[control]`: a mode that means what it says.

use super::super::build::Build;
use super::super::raw::Wrong;

const MODE: &str = "control.mode";
const GROUP: &str = "control.group";

pub(super) fn check(build: &mut Build<'_>) {
    if build.broken.contains(MODE) {
        return;
    }
    let mode = build.config.control.mode;
    let octal = |mode: u32| format!("{mode:04o}");
    if mode & 0o600 != 0o600 {
        let wrong = Wrong::new(format!(
            "is {}, which keeps the master's own user out",
            octal(mode)
        ));
        return build.rule(MODE, wrong.text(octal(mode | 0o600)));
    }
    if mode & 0o007 != 0 {
        let wrong = Wrong::new(format!(
            "is {}, which lets everybody on this machine in: orders are taken from root, the master's \
             user and one group",
            octal(mode)
        ));
        return build.rule(MODE, wrong.text(octal(mode & !0o007)));
    }
    if build.config.control.group.is_some() && mode & 0o020 == 0 && !build.broken.contains(GROUP) {
        let wrong = Wrong::new(format!(
            "has no effect: control.mode is {}, and who may not write to a socket cannot connect",
            octal(mode)
        ));
        build.warn(GROUP, wrong.hint("write mode = \"0660\" as well"));
    }
}
