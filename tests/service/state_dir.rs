//! What an upgrade brought outlives its master.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::support::{Broken, Service, Start, get, python, server, server_saying};

/// A service that is started again and again with the same config and the same state.
struct Site {
    dir: TempDir,
    state: PathBuf,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let state = dir.path().join("state");
        let site = Self { dir, state };
        site.write(&server(), "");
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A config with this command, and more keys of `[app]`.
    fn write(&self, command: &[String], app: &str) {
        let quoted: Vec<String> = command.iter().map(|word| format!("{word:?}")).collect();
        let text = format!(
            "[upgrade]\nbake = \"100ms\"\n[app]\ncommand = [{}]\n{app}\n[[listen]]\naddress = \"127.0.0.1:0\"\n",
            quoted.join(", ")
        );
        std::fs::write(self.path("web.toml"), text).expect("the config");
    }

    fn start(&self) -> Start {
        let start = Start::bare(&[]).flag("--config", self.path("web.toml"));
        start.flag("--state-dir", &self.state)
    }

    /// Another program, which begins its answers with this word.
    fn program(&self, word: &str) -> Vec<String> {
        let file = self.path(&format!("{word}.py"));
        server_saying(word, &file);
        vec![python().to_owned(), file.display().to_string()]
    }

    fn file(&self) -> PathBuf {
        self.state.join("master/sticky")
    }
}

fn answer(service: &Service) -> String {
    get(&service.address(), "/").expect("an answer").body
}

fn mode(path: &Path) -> u32 {
    let meta = std::fs::metadata(path).expect("it is there");
    meta.permissions().mode() & 0o7777
}

#[test]
fn what_an_upgrade_brought_serves_again_after_a_kill_and_after_a_stop() {
    let site = Site::new();
    let mut service = site.start().start();
    assert!(!site.file().exists());
    service.upgrade_to(&site.program("green")).says(0, &[]);
    service
        .handover("upgrade", &["--env", "TOKEN=s3cret"])
        .says(0, &[]);
    assert_eq!(
        (mode(&site.file()), mode(&site.state.join("master"))),
        (0o600, 0o700)
    );
    // At once: whoever was told that it worked may rely on it.
    service.kill_all();
    drop(service);
    for _ in 0..2 {
        let service = site.start().start();
        assert!(
            answer(&service).starts_with("green"),
            "{}",
            answer(&service)
        );
        let uid = nix::unistd::geteuid();
        let who = match uid.is_root() {
            true => "root".to_owned(),
            false => format!("uid {uid}"),
        };
        for verb in ["status", "config"] {
            let said = service.handover(verb, &[]).stdout;
            for part in [
                "green.py with TOKEN set",
                &format!("asked by {who} (pid "),
                "--from-config",
            ] {
                assert!(said.contains(part), "{verb}: no {part:?} in {said}");
            }
            assert!(!said.contains("s3cret"), "{said}");
        }
        let [pid] = service.workers(1)[..] else {
            panic!("{}", service.status())
        };
        let environment = std::fs::read(format!("/proc/{pid}/environ")).expect("environ");
        assert!(String::from_utf8_lossy(&environment).contains("TOKEN=s3cret"));
        assert!(!service.said().contains("s3cret"));
        service.stop();
    }
}

#[test]
fn it_is_over_when_the_config_of_the_program_changes_or_somebody_says_so() {
    let site = Site::new();
    let service = site.start().start();
    service.upgrade_to(&site.program("green")).says(0, &[]);
    let over = "green.py: that is over when this upgrade succeeds, and the config's own runs";
    let ended = service.handover("upgrade", &["--from-config"]);
    ended.says(0, &["web: an upgrade, asked by ", over]);
    assert!(service.events().contains(over), "{}", service.events());
    assert!(
        answer(&service).starts_with("hello"),
        "{}",
        answer(&service)
    );
    assert!(!site.file().exists(), "nothing is kept");
    assert!(service.status()["sticky"].is_null());
    service.upgrade_to(&site.program("green")).says(0, &[]);
    service.stop();

    // Other keys do not end it, those of the program do, also while no master runs.
    site.write(&server(), "workers = 2");
    let service = site.start().start();
    assert!(answer(&service).starts_with("green"));
    service.wait_said("green.py instead of the config's [app], until that changes");
    service.stop();
    site.write(&server(), "env = { COLOUR = \"blue\" }");
    let service = site.start().start();
    assert!(answer(&service).starts_with("hello"));
    assert!(!site.file().exists(), "over for good");
    assert!(service.status()["sticky"].is_null());
    let said = service.ends_after_term().stderr;
    assert!(said.contains("generation 1 is active"), "{said}");
    assert!(!said.contains("instead of the config's"), "{said}");
    let over = said.find("WARN  web  the config's [app] changed since an upgrade, asked by ");
    let over = over.map(|at| &said[at..]).unwrap_or_default();
    assert!(
        over.contains("green.py: that is over, the config's own runs"),
        "{said}"
    );
}

#[test]
fn a_reload_that_ends_it_says_what_was_in_force() {
    let site = Site::new();
    let service = site.start().start();
    service.upgrade_to(&site.program("green")).says(0, &[]);
    // What changes nothing of the program ends nothing.
    site.write(&server(), "workers = 2");
    let ended = service.handover("reload", &[]);
    ended.says(0, &[]);
    assert!(!ended.stderr.contains("is over"), "{ended:#?}");
    site.write(&server(), "env = { COLOUR = \"blue\" }");
    let over = "green.py, and the config's [app] changed since: that is over when this reload succeeds, and the \
                config's own runs";
    let ended = service.handover("reload", &[]);
    ended.says(0, &["web: an upgrade, asked by ", over]);
    assert!(service.events().contains(over), "{}", service.events());
    assert!(answer(&service).starts_with("hello"));
    let ended = service.handover("reload", &[]);
    ended.says(0, &[]);
    assert!(!ended.stderr.contains("is over"), "said once: {ended:#?}");
    service.stop();
}

#[test]
fn a_start_says_what_an_upgrade_left_in_force() {
    let site = Site::new();
    let service = site.start().start();
    service
        .handover("upgrade", &["--env", "COLOUR=blue"])
        .says(0, &[]);
    service.stop();
    let service = site.start().start();
    let sentence = format!(
        "runs the config's command with COLOUR set instead of the config's [app], until that changes or somebody says: \
         handover upgrade web --runtime-dir {} --from-config",
        service.runtime_dir().display()
    );
    service.wait_said(&sentence);
    let sticky = service.status()["sticky"].to_string();
    assert!(sticky.contains(&sentence), "{sticky}");
    let page = service.handover("status", &[]).stdout;
    assert!(page.contains("with COLOUR set"), "{page}");
    service.stop();
}

#[test]
fn a_label_is_kept_with_what_it_is_the_name_of() {
    let site = Site::new();
    let service = site.start().start();
    let label = |service: &Service| {
        let page = service.status();
        let label = page["generations"][0]["label"].as_str();
        label.map(str::to_owned)
    };
    let words = ["--env", "COLOUR=green", "--label", "v42"];
    service.handover("upgrade", &words).says(0, &[]);
    service.stop();
    let service = site.start().start();
    assert_eq!(label(&service).as_deref(), Some("v42"));
    let [pid] = service.workers(1)[..] else {
        panic!("{}", service.status())
    };
    let environment = std::fs::read(format!("/proc/{pid}/environ")).expect("environ");
    let environment = String::from_utf8_lossy(&environment);
    assert!(environment.contains("HANDOVER_RELEASE=v42"));
    // Another release has its own, or none.
    service
        .handover("upgrade", &["--env", "COLOUR=blue"])
        .says(0, &[]);
    service.stop();
    let service = site.start().start();
    assert_eq!(label(&service), None);
    service.stop();
}

#[test]
fn what_one_service_keeps_is_not_run_by_another_that_is_given_its_state_directory() {
    let site = Site::new();
    let service = site.start().start();
    service.upgrade_to(&site.program("green")).says(0, &[]);
    service.stop();
    let other = site.start().flag("--name", "api").start();
    assert!(answer(&other).starts_with("hello"), "{}", answer(&other));
    assert!(other.status()["sticky"].is_null());
    let warnings = other.status()["warnings"].to_string();
    let said = "holds what the service web runs, and is left to it";
    assert!(warnings.contains(said), "{warnings}");
    other.upgrade_to(&site.program("blue")).says(0, &[]);
    other.stop();
    let service = site.start().start();
    assert!(answer(&service).starts_with("green"));
    service.stop();
}

#[test]
fn without_a_config_file_nobody_speaks_of_one() {
    let service = Start::serving(&server()).start();
    let words = ["--env", "COLOUR=blue"];
    service.handover("upgrade", &words).says(0, &[]);
    service.handover("scale", &["2"]).says(0, &[]);
    let page = service.handover("status", &[]).stdout;
    for part in [
        "runs the command of its start with COLOUR set instead of what the service was started with",
        "it was started with app.workers = 1, which counts again when the master ends",
    ] {
        assert!(page.contains(part), "no {part:?} in {page}");
    }
    assert!(!page.contains("config's"), "{page}");
    service.stop();
}

#[test]
fn a_failed_upgrade_and_a_rollback_leave_what_serves() {
    let site = Site::new();
    let service = site.start().start();
    service.upgrade_to(&Broken::at_once()).says(1, &[]);
    assert!(!site.file().exists(), "a failed one leaves no trace");
    service.upgrade_to(&site.program("green")).says(0, &[]);
    service.upgrade_to(&site.program("blue")).says(0, &[]);
    service.handover("rollback", &[]).says(0, &[]);
    service.stop();
    let service = site.start().start();
    assert!(
        answer(&service).starts_with("green"),
        "{}",
        answer(&service)
    );
    service.stop();
}

#[test]
fn a_damaged_file_is_put_aside_with_a_word_and_the_config_serves() {
    let site = Site::new();
    let service = site.start().start();
    service.upgrade_to(&site.program("green")).says(0, &[]);
    service.stop();
    let whole = std::fs::read(site.file()).expect("the file");
    std::fs::write(site.file(), &whole[..whole.len() / 2]).expect("half of it");
    let service = site.start().start();
    assert!(answer(&service).starts_with("hello"));
    let warnings = service.status()["warnings"].to_string();
    for part in [
        "damaged",
        "sticky.unreadable",
        &format!(
            "say so again: handover upgrade web --runtime-dir {} -- COMMAND",
            service.runtime_dir().display()
        ),
    ] {
        assert!(warnings.contains(part), "no {part:?}: {warnings}");
    }
    assert!(site.file().with_extension("unreadable").exists());
    service.upgrade_to(&site.program("green")).says(0, &[]);
    service.stop();
    let service = site.start().start();
    assert!(answer(&service).starts_with("green"));
    service.stop();
}

/// What is no file but has its name.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Odd {
    Pipe,
    Directory,
    Endless,
    Loop,
    Socket,
}

impl Odd {
    const ALL: [Self; 5] = [
        Self::Pipe,
        Self::Directory,
        Self::Endless,
        Self::Loop,
        Self::Socket,
    ];

    fn put(self, place: &Path) {
        match self {
            Self::Pipe => {
                let mode = nix::sys::stat::Mode::from_bits_truncate(0o600);
                nix::unistd::mkfifo(place, mode).expect("a FIFO");
            }
            Self::Directory => std::fs::create_dir(place).expect("a directory"),
            Self::Endless => std::os::unix::fs::symlink("/dev/zero", place).expect("a link"),
            Self::Loop => std::os::unix::fs::symlink(place, place).expect("a link"),
            Self::Socket => {
                // The file stays when the socket is closed.
                drop(std::os::unix::net::UnixListener::bind(place).expect("a socket"));
            }
        }
    }
}

#[test]
fn what_is_no_file_is_put_aside_and_holds_no_start_up() {
    for odd in Odd::ALL {
        let site = Site::new();
        site.start().start().stop();
        odd.put(&site.file());
        let service = site.start().start();
        assert!(answer(&service).starts_with("hello"), "{odd:?}");
        let warnings = service.status()["warnings"].to_string();
        for part in ["it is no regular file", "sticky.unreadable"] {
            assert!(warnings.contains(part), "{odd:?}: no {part:?}: {warnings}");
        }
        service.upgrade_to(&site.program("green")).says(0, &[]);
        service.stop();
        let service = site.start().start();
        assert!(answer(&service).starts_with("green"), "{odd:?}");
        service.stop();
    }
}

#[test]
fn what_is_in_the_way_of_the_next_file_is_removed_or_told() {
    for odd in Odd::ALL {
        let site = Site::new();
        site.start().start().stop();
        let next = site.file().with_extension("new");
        odd.put(&next);
        let service = site.start().start();
        let upgrade = service.upgrade_to(&site.program("green"));
        upgrade.says(0, &[]);
        let warnings = service.status()["warnings"].to_string();
        // What may hold something of somebody's is left alone.
        let is_told = warnings.contains(&format!("{}: ", next.display()));
        assert_eq!(is_told, odd == Odd::Directory, "{odd:?}: {warnings}");
        assert_eq!(site.file().exists(), odd != Odd::Directory, "{odd:?}");
        service.stop();
    }
}

#[test]
fn a_kept_program_that_is_gone_is_told_with_the_way_out() {
    let site = Site::new();
    let file = site.path("app");
    server_saying("green", &file);
    let service = site.start().start();
    service
        .upgrade_to(&[file.display().to_string()])
        .says(0, &[]);
    service.stop();
    std::fs::remove_file(&file).expect("the program");
    let kept = site.file().display().to_string();
    let refused = site.start().refused();
    refused.says(
        1,
        &[
            "there is no such file",
            "an upgrade, asked by",
            "remove",
            &kept,
        ],
    );
    std::fs::remove_file(site.file()).expect("what is kept");
    let service = site.start().start();
    assert!(answer(&service).starts_with("hello"));
    service.stop();
}

#[test]
fn without_a_place_to_keep_it_an_upgrade_holds_until_the_master_ends() {
    let mut site = Site::new();
    site.state = site.path("web.toml").join("below-a-file");
    let service = site.start().start();
    let warnings = service.status()["warnings"].to_string();
    assert!(
        warnings.contains("below-a-file cannot be used") && warnings.contains("in memory only"),
        "{warnings}"
    );
    service.upgrade_to(&site.program("green")).says(0, &[]);
    let sticky = service.status()["sticky"].to_string();
    assert!(sticky.contains("or the master ends"), "{sticky}");
    service.stop();
    let service = site.start().start();
    assert!(answer(&service).starts_with("hello"));
    service.stop();

    // A directory that others may look into is no place for secrets.
    site.state = site.path("open");
    std::fs::create_dir_all(site.state.join("master")).expect("a directory");
    let service = site.start().start();
    let warnings = service.status()["warnings"].to_string();
    assert!(warnings.contains("with mode 0700"), "{warnings}");
    service.stop();
}

/// A file system of 16 KiB, gone with the test.
struct Small(PathBuf);

impl Small {
    fn mount(place: PathBuf) -> Option<Self> {
        std::fs::create_dir(&place).expect("a directory");
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", "size=16k", "none"])
            .arg(&place)
            .stderr(Stdio::null());
        if mount.status().is_ok_and(|status| status.success()) {
            return Some(Self(place));
        }
        assert!(
            std::env::var_os("CI").is_none() || !nix::unistd::geteuid().is_root(),
            "root must be allowed to mount a tmpfs for this test"
        );
        eprintln!("skipped: no tmpfs can be mounted here");
        None
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_a_warning_and_the_upgrade_holds_in_memory() {
    let mut site = Site::new();
    let Some(small) = Small::mount(site.path("small")) else {
        return;
    };
    site.state = small.0.join("state");
    let service = site.start().start();
    service.upgrade_to(&site.program("green")).says(0, &[]);
    assert!(site.file().exists());
    std::fs::write(small.0.join("filler"), vec![0; 64 << 10]).expect_err("the disk is full");
    let long = format!("LONG={}", "x".repeat(20_000));
    let upgrade = service.handover("upgrade", &["--env", &long]);
    upgrade.says(0, &["cannot be kept", "No space left", "in memory only"]);
    assert_eq!(service.generation(), 3);
    assert!(!site.file().exists(), "an older one would come back");
    service.stop();
    let service = site.start().start();
    assert!(answer(&service).starts_with("hello"));
    service.stop();
}
