//! `upgrade.on_change`: an upgrade by itself when the program changes on disk.

use std::io::Write;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    Load, Service, Start, eventually, example_server, get, python, server_saying,
};

/// A directory with a program in it, and the service that runs it.
struct Site(TempDir);

impl Site {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn config(&self, program: &Path, on_change: bool, app: &str) {
        let text = format!(
            "[upgrade]\nbake = \"100ms\"\non_change = {on_change}\n[app]\ncommand = [{:?}]\n{app}\n\
             [[listen]]\naddress = \"127.0.0.1:0\"\n",
            program.display().to_string()
        );
        std::fs::write(self.path("web.toml"), text).expect("the config");
    }

    fn start(&self, program: &Path) -> Service {
        self.config(program, true, "");
        Start::bare(&[])
            .flag("--config", self.path("web.toml"))
            .start()
    }
}

/// Waits until this generation serves, and says this word.
#[track_caller]
fn serves(service: &Service, generation: u64, word: &str) {
    service.wait_generation(generation);
    eventually(&format!("{word} answers"), || {
        let answer = get(&service.address(), "/").ok()?;
        answer.body.starts_with(word).then_some(())
    });
}

fn operations(service: &Service) -> Vec<Value> {
    let history = service
        .ask("GET", "/v1/history", "")
        .expect("an answer")
        .body;
    let history: Value = serde_json::from_str(&history).expect("JSON");
    history["operations"].as_array().expect("a list").clone()
}

/// Waits until an event about the program says this.
#[track_caller]
fn told(service: &Service, part: &str) {
    eventually(&format!("an event says {part:?}"), || {
        let events = service.events();
        let mut lines = events
            .lines()
            .filter(|line| line.contains("\"program_changed\""));
        lines.any(|line| line.contains(part)).then_some(())
    });
}

/// Somebody's reading of a file (inotify(7)). Of a file that no worker runs it is the master that looks.
struct Look(OwnedFd);

impl Look {
    /// At this file, wherever it is renamed to.
    fn at(path: &Path) -> Self {
        let own = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).expect("inotify");
        inotify::add_watch(&own, path, WatchFlags::CLOSE_NOWRITE).expect("a watch");
        Self(own)
    }

    /// Waits until it came to its end.
    #[track_caller]
    fn wait(self) {
        eventually("the master has looked", || {
            let mut buffer = [MaybeUninit::uninit(); 512];
            let mut events = inotify::Reader::new(&self.0, &mut buffer);
            events.next().is_ok().then_some(())
        });
    }
}

/// Puts this file in the program's place, and waits until the master has looked at it. What it makes of a look comes before
/// what it makes of the next one.
#[track_caller]
fn looked_at(next: &Path, program: &Path) {
    let look = Look::at(next);
    std::fs::rename(next, program).expect("a rename");
    look.wait();
}

/// Whether the master waits for changes in this directory: it has a watch on it.
fn follows(service: &Service, directory: &Path) -> bool {
    let inode = std::fs::metadata(directory).expect("a directory").ino();
    let watch = format!(" ino:{inode:x} ");
    let all = std::fs::read_dir(format!("/proc/{}/fdinfo", service.pid())).expect("it lives");
    let infos = all
        .flatten()
        .filter_map(|info| std::fs::read_to_string(info.path()).ok());
    infos
        .flat_map(|info| info.lines().map(str::to_owned).collect::<Vec<_>>())
        .any(|line| line.starts_with("inotify ") && line.contains(&watch))
}

/// Puts a copy over a path, as a package manager does.
fn replace(path: &Path, with: &Path) {
    let aside = path.with_extension("new");
    std::fs::copy(with, &aside).expect("a copy");
    std::fs::rename(&aside, path).expect("a rename");
}

/// A program that ends at once.
fn broken(path: &Path, word: &str) {
    let aside = path.with_extension("new");
    std::fs::write(&aside, format!("#!/bin/sh\necho {word} >&2\nexit 3\n")).expect("a file");
    std::fs::set_permissions(&aside, PermissionsExt::from_mode(0o755)).expect("chmod");
    std::fs::rename(&aside, path).expect("a rename");
}

#[test]
fn a_program_that_is_replaced_upgrades_by_itself_once() {
    let site = Site::new();
    let program = site.path("app");
    server_saying("one", &program);
    let service = site.start(&program);
    let load = Load::on(&service.address());
    server_saying("two", &program);
    serves(&service, 2, "two");
    // The same bytes in another file are no change; what comes next is.
    server_saying("two", &site.path("same"));
    looked_at(&site.path("same"), &program);
    server_saying("three", &program);
    serves(&service, 3, "three");
    load.lost_nothing(1..=3);
    let all = operations(&service);
    let causes: Vec<&Value> = all.iter().map(|it| &it["cause"]).collect();
    assert_eq!(causes, ["on_change", "on_change"], "{all:#?}");
    let history = service.handover("history", &[]).stdout;
    assert!(history.contains("on_change"), "{history}");
    service.stop();
}

#[test]
fn an_elf_program_and_a_link_that_leads_elsewhere_are_noticed() {
    let site = Site::new();
    for release in ["1", "2"] {
        std::fs::create_dir_all(site.path(release)).expect("a directory");
        std::fs::copy(example_server(), site.path(release).join("app")).expect("a copy");
    }
    symlink("1", site.path("current")).expect("a link");
    let service = site.start(&site.path("current/app"));
    let executable = |service: &Service| {
        let status = service.status();
        let path = &status["generations"][0]["release"]["executable"];
        path.as_str().expect("a path").to_owned()
    };
    symlink("2", site.path("next")).expect("a link");
    std::fs::rename(site.path("next"), site.path("current")).expect("a rename");
    service.wait_generation(2);
    assert!(
        executable(&service).ends_with("/2/app"),
        "another release, also with the same bytes"
    );

    // Removed and made anew, as `ln -sfn` does on some systems.
    std::fs::remove_file(site.path("current")).expect("the link");
    symlink("1", site.path("current")).expect("a link");
    service.wait_generation(3);
    assert!(executable(&service).ends_with("/1/app"));

    // It is followed where it leads now; the other release is nobody's.
    replace(&site.path("2/app"), Path::new("/bin/false"));
    let program = site.path("1/app");
    let mut bytes = std::fs::read(&program).expect("the program");
    bytes.extend(b"trailing bytes change nothing but the content");
    let other = site.path("other");
    std::fs::write(&other, bytes).expect("a file");
    std::fs::set_permissions(&other, PermissionsExt::from_mode(0o755)).expect("chmod");
    replace(&program, &other);
    service.wait_generation(4);
    assert_eq!(operations(&service).len(), 3);
    service.stop();
}

#[test]
fn the_working_directory_is_followed_too() {
    let site = Site::new();
    for release in ["1", "2"] {
        std::fs::create_dir_all(site.path(release)).expect("a directory");
        server_saying(
            &format!("release {release}"),
            &site.path(release).join("app"),
        );
    }
    symlink("1", site.path("current")).expect("a link");
    let directory = format!(
        "directory = {:?}",
        site.path("current").display().to_string()
    );
    site.config(Path::new("./app"), true, &directory);
    let service = Start::bare(&[])
        .flag("--config", site.path("web.toml"))
        .start();
    symlink("2", site.path("next")).expect("a link");
    std::fs::rename(site.path("next"), site.path("current")).expect("a rename");
    serves(&service, 2, "release 2");
    service.stop();
}

#[test]
fn a_directory_that_is_switched_under_an_interpreter_is_a_new_release_and_back_again() {
    let site = Site::new();
    for release in ["1", "2"] {
        std::fs::create_dir_all(site.path(release)).expect("a directory");
        let file = site.path(release).join("app.py");
        server_saying(&format!("release {release}"), &file);
    }
    symlink("1", site.path("current")).expect("a link");
    let text = format!(
        "[upgrade]\nbake = \"100ms\"\non_change = true\n[app]\ncommand = [{:?}, \"app.py\"]\n\
         directory = {:?}\n[[listen]]\naddress = \"127.0.0.1:0\"\n",
        python(),
        site.path("current").display().to_string()
    );
    std::fs::write(site.path("web.toml"), text).expect("the config");
    let service = Start::bare(&[])
        .flag("--config", site.path("web.toml"))
        .start();
    for (generation, release) in [(2, "2"), (3, "1")] {
        symlink(release, site.path("next")).expect("a link");
        std::fs::rename(site.path("next"), site.path("current")).expect("a rename");
        serves(&service, generation, &format!("release {release}"));
    }
    service.stop();
}

#[test]
fn a_write_in_place_counts_when_the_file_is_closed() {
    let site = Site::new();
    let program = site.path("app");
    server_saying("one", &program);
    let service = site.start(&program);
    let beside = Site::new();
    server_saying("one", &beside.path("app"));
    let other = beside.start(&beside.path("app"));
    server_saying("two", &site.path("source"));
    let text = std::fs::read(site.path("source")).expect("the source");
    // Made anew, half written, and left so for longer than the quiet that is waited for.
    std::fs::remove_file(&program).expect("the program");
    let mut file = std::fs::File::create(&program).expect("a file");
    file.set_permissions(PermissionsExt::from_mode(0o755))
        .expect("chmod");
    file.write_all(&text[..text.len() / 2]).expect("half of it");
    // Another service's program is changed later and is whole: what would be asked for here was asked for there.
    server_saying("whole", &beside.path("app"));
    told(&other, "an upgrade is asked for");
    assert_eq!((service.generation(), operations(&service).len()), (1, 0));
    other.stop();
    file.write_all(&text[text.len() / 2..])
        .expect("the other half");
    drop(file);
    serves(&service, 2, "two");
    // A script can be written to while it runs.
    server_saying("three", &site.path("source"));
    let text = std::fs::read(site.path("source")).expect("the source");
    std::fs::write(&program, text).expect("in place");
    serves(&service, 3, "three");
    let results: Vec<Value> = operations(&service)
        .iter()
        .map(|it| it["result"].clone())
        .collect();
    assert_eq!(results, ["done", "done"]);
    service.stop();
}

#[test]
fn a_burst_of_changes_is_one_upgrade() {
    let site = Site::new();
    let program = site.path("app");
    server_saying("first", &program);
    let service = site.start(&program);
    for number in 0..40 {
        server_saying(&format!("number {number},"), &program);
    }
    serves(&service, 2, "number 39,");
    server_saying("last", &program);
    serves(&service, 3, "last");
    assert_eq!(operations(&service).len(), 2);
    service.stop();
}

#[test]
fn a_broken_program_is_tried_once() {
    let site = Site::new();
    let program = site.path("app");
    server_saying("one", &program);
    let service = site.start(&program);
    let load = Load::on(&service.address());
    broken(&program, "bad");
    told(&service, "generation 2 failed with it");
    // Back to what serves, and again to what failed: in another file, with another time.
    server_saying("one", &site.path("back"));
    looked_at(&site.path("back"), &program);
    broken(&program, "bad");
    let again = format!(
        "it is what failed before, and is not tried again; to try it: handover upgrade {}",
        service.status()["name"].as_str().expect("a name")
    );
    told(&service, &again);
    assert_eq!((service.generation(), operations(&service).len()), (1, 1));
    // Another broken one is another try, and a good one is an upgrade.
    broken(&program, "worse");
    told(&service, "generation 3 failed with it");
    server_saying("two", &program);
    serves(&service, 4, "two");
    load.lost_nothing([1, 4]);
    service.stop();
}

#[test]
fn it_begins_and_ends_with_a_reload_and_leaves_a_rollback_alone() {
    let site = Site::new();
    let program = site.path("app");
    server_saying("one", &program);
    site.config(&program, false, "");
    let service = Start::bare(&[])
        .flag("--config", site.path("web.toml"))
        .start();
    server_saying("two", &program);
    site.config(&program, true, "");
    service.handover("reload", &[]).says(0, &[]);
    serves(&service, 2, "two");
    server_saying("three", &program);
    serves(&service, 3, "three");
    service.handover("rollback", &["--anyway"]).says(0, &[]);
    let look = Look::at(&program);
    let file = std::fs::File::options()
        .append(true)
        .open(&program)
        .expect("the program");
    file.set_modified(std::time::SystemTime::now())
        .expect("touched");
    drop(file);
    look.wait();
    // The same content is no change: it is the next one that makes generation 5.
    server_saying("four", &program);
    serves(&service, 5, "four");
    assert!(follows(&service, site.0.path()));

    site.config(&program, false, "");
    service.handover("reload", &[]).says(0, &[]);
    eventually("nobody waits for changes any more", || {
        (!follows(&service, site.0.path())).then_some(())
    });
    let before = service.generation();
    server_saying("five", &program);
    assert_eq!(service.generation(), before);
    service.stop();
}

#[test]
fn a_program_that_cannot_be_seen_is_told_and_followed_when_it_can_be() {
    let site = Site::new();
    for release in ["1", "2"] {
        std::fs::create_dir_all(site.path(release)).expect("a directory");
        let word = format!("release {release}");
        server_saying(&word, &site.path(release).join("app"));
    }
    let lead = |to: &str| {
        symlink(to, site.path("next")).expect("a link");
        std::fs::rename(site.path("next"), site.path("current")).expect("a rename");
    };
    lead("1");
    site.config(&site.path("current/app"), true, "");
    let start = Start::bare(&[]).flag("--config", site.path("web.toml"));
    // Root may search whatever there is, unless it is taken from it.
    let service = match nix::unistd::geteuid().is_root() {
        true => start.through(&["setpriv", "--bounding-set=-dac_override,-dac_read_search"]),
        false => start,
    }
    .start();
    lead("current");
    told(&service, "it cannot be seen: ");
    told(&service, "Too many levels of symbolic links");
    lead("2");
    serves(&service, 2, "release 2");

    let mode = |mode: u32| {
        let mode = PermissionsExt::from_mode(mode);
        std::fs::set_permissions(site.path("2"), mode).expect("chmod");
    };
    mode(0o000);
    told(&service, "Permission denied");
    let closed = site.path("2").display().to_string();
    service.wait_said(&format!(
        "{closed} may not be read: changes in it are not noticed"
    ));
    mode(0o755);
    server_saying("release 3", &site.path("2").join("app"));
    serves(&service, 3, "release 3");
    assert_eq!(operations(&service).len(), 2);

    // Its owner may do that as often as he likes.
    for _ in 0..1000 {
        mode(0o000);
        mode(0o755);
    }
    server_saying("release 4", &site.path("2").join("app"));
    serves(&service, 4, "release 4");
    let said = service.said();
    for sentence in ["may not be read", "Permission denied"] {
        assert_eq!(said.matches(sentence).count(), 1, "{sentence}: {said}");
    }
    service.stop();
}
