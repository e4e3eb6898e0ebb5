use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;

use tempfile::TempDir;

use super::*;
use crate::control::paths::{RuntimeDir, prepare};

/// A machine of its own: `/run/handover`, `/tmp`, a user's directory.
struct Machine {
    root: TempDir,
    places: Places,
}

impl Machine {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a temporary directory");
        let at = |name: &str| root.path().join(name);
        let places = Places {
            user: rustix::process::geteuid().as_raw(),
            runtime_directory: None,
            user_runtime: Some(at("user").into_os_string()),
            system: at("system"),
            temporary: at("tmp"),
        };
        Self { root, places }
    }

    fn start(&self, place: &str, name: &str) -> (RuntimeDir, UnixListener) {
        let mut dir = prepare(&self.root.path().join(place), name).expect("prepared");
        let listener = dir.bind_control().expect("bound");
        (dir, listener)
    }

    async fn locate(&self, name: Option<&str>) -> Result<Master, NotFound> {
        locate_in(&self.places, name, None).await
    }

    async fn locate_under(&self, name: Option<&str>, dir: &str) -> Result<Master, NotFound> {
        locate_in(&self.places, name, Some(&self.root.path().join(dir))).await
    }
}

fn looked(refusal: NotFound) -> Vec<String> {
    match refusal {
        NotFound::Nothing { looked, .. } => looked.iter().map(Looked::to_string).collect(),
        NotFound::Several(masters) => panic!("several: {masters:?}"),
    }
}

#[tokio::test]
async fn the_only_master_is_found_wherever_it_is() {
    let user = rustix::process::geteuid().as_raw();
    for place in [
        "system/web",
        "user/handover/web",
        &format!("tmp/handover-{user}/web"),
    ] {
        let machine = Machine::new();
        let (dir, _listener) = machine.start(place, "web");
        for name in [None, Some("web")] {
            let master = machine.locate(name).await.expect("found");
            assert_eq!(
                (master.name.as_str(), master.directory.as_path()),
                ("web", dir.path())
            );
            assert_eq!(master.pid, Some(std::process::id().cast_signed()));
        }
    }
}

#[tokio::test]
async fn the_service_own_runtime_directory_counts() {
    let mut machine = Machine::new();
    let (dir, _listener) = machine.start("elsewhere/web", "web");
    assert!(machine.locate(None).await.is_err());
    machine.places.runtime_directory = Some(dir.path().as_os_str().to_owned());
    machine.locate(None).await.expect("found");
}

#[tokio::test]
async fn several_masters_must_be_told_apart() {
    let machine = Machine::new();
    let _api = machine.start("system/api", "api");
    let _web = machine.start("user/handover/x", "web");
    let Err(NotFound::Several(masters)) = machine.locate(None).await else {
        panic!("it chose one");
    };
    let names: Vec<&str> = masters.iter().map(|master| master.name.as_str()).collect();
    assert_eq!(names, ["api", "web"]);
    // By the service's name, and by its directory's.
    assert_eq!(
        machine.locate(Some("web")).await.expect("found").name,
        "web"
    );
    assert_eq!(machine.locate(Some("x")).await.expect("found").name, "web");
}

#[tokio::test]
async fn a_wrong_name_tells_the_right_ones() {
    let machine = Machine::new();
    let _web = machine.start("system/web", "web");
    let Err(NotFound::Nothing { name, others, .. }) = machine.locate(Some("wbe")).await else {
        panic!("found something");
    };
    assert_eq!(name.as_deref(), Some("wbe"));
    assert_eq!(others.len(), 1);
}

#[tokio::test]
async fn a_dead_master_is_no_master() {
    let machine = Machine::new();
    let (dir, listener) = machine.start("system/web", "web");
    drop(listener);
    let refusal = machine.locate(None).await.expect_err("dead");
    let dead = format!("{} (its master is dead)", dir.path().display());
    assert!(looked(refusal).contains(&dead));
}

#[tokio::test]
async fn where_it_looked_is_told() {
    let machine = Machine::new();
    let looked = looked(machine.locate(None).await.expect_err("nothing runs"));
    let user = machine.places.user;
    let expected = ["system", "user/handover", &format!("tmp/handover-{user}")].map(|place| {
        machine
            .root
            .path()
            .join(place)
            .join("*")
            .display()
            .to_string()
    });
    assert_eq!(looked, expected);
}

#[tokio::test]
async fn a_directory_that_others_may_write_to_is_not_searched() {
    let machine = Machine::new();
    let _web = machine.start("system/web", "web");
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(&machine.places.system, open).expect("ours");
    let looked = looked(machine.locate(None).await.expect_err("not safe"));
    assert!(
        looked[0].ends_with("(not safe: others may write to it (mode 0777))"),
        "{looked:?}"
    );
}

#[tokio::test]
async fn a_runtime_dir_is_that_of_one_master_or_of_several() {
    let machine = Machine::new();
    let _web = machine.start("mine/web", "web");
    let _api = machine.start("mine/api", "api");
    assert_eq!(
        machine
            .locate_under(None, "mine/web")
            .await
            .expect("it")
            .name,
        "web"
    );
    assert_eq!(
        machine
            .locate_under(Some("api"), "mine")
            .await
            .expect("it")
            .name,
        "api"
    );
    assert!(matches!(
        machine.locate_under(None, "mine").await,
        Err(NotFound::Several(_))
    ));
    // A name that does not fit the directory is not ignored.
    assert!(machine.locate_under(Some("api"), "mine/web").await.is_err());
    assert!(machine.locate_under(None, "nowhere").await.is_err());
}

#[tokio::test]
async fn a_socket_given_for_a_directory_is_told_which_directory() {
    let machine = Machine::new();
    let (dir, _listener) = machine.start("elsewhere/web", "web");
    let refusal = machine
        .locate_under(None, "elsewhere/web/control.sock")
        .await
        .expect_err("a socket");
    let said = looked(refusal);
    let fix = format!(
        "(it is no directory; write --runtime-dir {})",
        dir.path().display()
    );
    assert!(said.len() == 1 && said[0].ends_with(&fix), "{said:?}");
    std::fs::write(machine.root.path().join("file"), "").expect("a file");
    let refusal = machine
        .locate_under(None, "file")
        .await
        .expect_err("a file");
    assert!(looked(refusal)[0].ends_with("(it is no directory)"));
}
