//! `[control] group` and `mode`: other users of the machine, let in and turned away.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{Ended, Service, Start, debian, eventually, finish, server};

/// Numbers that no machine gives to anybody.
const USER: &str = "54321";
const MEMBERS: &str = "54400";
const OTHERS: &str = "54401";

/// A service whose directory other users may pass, with a copy of the binary that they may run.
struct Shared {
    service: Service,
    handover: PathBuf,
    setpriv: PathBuf,
}

impl Shared {
    /// `None` where nobody else can be: only root changes its user.
    #[track_caller]
    fn start(group: &str, mode: &str) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            assert!(std::env::var_os("CI").is_none(), "this test needs root");
            eprintln!("skipped: only root can ask as another user");
            return None;
        }
        let setpriv = debian("setpriv")?;
        let start = Start::serving(&server())
            .env("HANDOVER_CONTROL__GROUP", group)
            .env("HANDOVER_CONTROL__MODE", mode);
        let place = start.path("");
        fs::set_permissions(place, Permissions::from_mode(0o755)).expect("ours");
        let handover = start.path("handover");
        fs::copy(env!("CARGO_BIN_EXE_handover"), &handover).expect("copied");
        Some(Self {
            service: start.start(),
            handover,
            setpriv,
        })
    }

    fn socket(&self) -> PathBuf {
        self.service.runtime_dir().join("control.sock")
    }

    /// A verb, asked by the user with these supplementary groups.
    fn ask(&self, gid: &str, groups: &str, words: &[&str]) -> Ended {
        let mut command = Command::new(&self.setpriv);
        command.args(["--reuid", USER, "--regid", gid, "--groups", groups]);
        command.arg(&self.handover).args(words);
        command.arg("--runtime-dir").arg(self.service.runtime_dir());
        command.current_dir("/");
        finish(command)
    }
}

fn owner_of(path: &Path) -> (u32, u32, u32) {
    let meta = fs::metadata(path).expect("the control socket");
    (meta.uid(), meta.gid(), meta.mode() & 0o777)
}

#[test]
fn members_of_the_group_give_orders_and_are_remembered_for_them() {
    let Some(shared) = Shared::start(MEMBERS, "0660") else {
        return;
    };
    assert_eq!(owner_of(&shared.socket()), (0, 54400, 0o660));
    shared.ask(OTHERS, MEMBERS, &["status"]).says(0, &[]);
    shared.ask(MEMBERS, OTHERS, &["upgrade"]).says(0, &[]);
    let answer = shared
        .service
        .ask("GET", "/v1/history", "")
        .expect("an answer");
    let history: Value = serde_json::from_str(&answer.body).expect("JSON");
    let by = &history["operations"][0]["by"];
    assert_eq!(by["uid"], 54321, "{history}");
    assert!(by["pid"].as_i64().is_some_and(|pid| pid > 0), "{history}");
    // A socket that is made again is theirs, too.
    fs::remove_file(shared.socket()).expect("removed");
    eventually("it is bound again", || {
        shared.socket().exists().then_some(())
    });
    assert_eq!(owner_of(&shared.socket()), (0, 54400, 0o660));
    shared.ask(OTHERS, MEMBERS, &["status"]).says(0, &[]);
    shared.service.stop();
}

#[test]
fn others_do_not_reach_it_and_are_told_whom_it_lets_in() {
    let Some(shared) = Shared::start(MEMBERS, "0660") else {
        return;
    };
    let asked = shared.ask(OTHERS, OTHERS, &["upgrade"]);
    asked.says(4, &["open to the members of gid 54400", "ask as root"]);
    assert_eq!(shared.service.generation(), 1);
    // Somebody widened the file's permissions: the master asks for itself.
    fs::set_permissions(shared.socket(), Permissions::from_mode(0o666)).expect("ours");
    for verb in ["status", "upgrade", "stop"] {
        let asked = shared.ask(OTHERS, OTHERS, &[verb]);
        asked.says(
            4,
            &[
                "uid 54321 may not speak to this master",
                "group 54400",
                "usermod -aG",
            ],
        );
    }
    assert_eq!(shared.service.generation(), 1);
    shared.ask(OTHERS, MEMBERS, &["status"]).says(0, &[]);
    shared.service.stop();
}

#[test]
fn without_a_group_only_root_and_the_own_user_are_heard() {
    let Some(shared) = Shared::start(MEMBERS, "0600") else {
        return;
    };
    assert!(
        shared
            .service
            .said()
            .contains("control.group has no effect")
    );
    for mode in [0o600, 0o666] {
        fs::set_permissions(shared.socket(), Permissions::from_mode(mode)).expect("ours");
        let asked = shared.ask(MEMBERS, MEMBERS, &["stop"]);
        asked.says(4, &[]);
    }
    let asked = shared.ask(MEMBERS, MEMBERS, &["stop"]);
    asked.says(4, &["uid 54321 may not speak", "[control] group"]);
    assert_eq!(shared.service.status()["state"], "serving");
    shared.service.stop();
}

#[test]
fn a_group_that_is_not_there_is_refused_with_its_place() {
    let refused = Start::serving(&server())
        .env("HANDOVER_CONTROL__GROUP", "no-such-group")
        .env("HANDOVER_CONTROL__MODE", "0660")
        .refused();
    refused.says(1, &["HANDOVER_CONTROL__GROUP", "no-such-group", "groupadd"]);
}
