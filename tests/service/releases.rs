//! What is pinned stays what it was; what cannot be pinned is said.

use std::os::unix::fs::symlink;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{
    Service, Start, eventually, example_server, get, python, server, server_saying,
};

/// The active generation's answers begin with these words (an old one may still take a connection or two).
#[track_caller]
fn says(service: &Service, words: &str) {
    let generation = u32::try_from(service.generation()).expect("a small number");
    let answer = eventually("the active generation answers", || {
        let answer = get(&service.address(), "/").expect("an answer");
        (answer.generation() == Some(generation)).then_some(answer)
    });
    assert!(
        answer.body.starts_with(words),
        "expected {words:?}: {answer:?}"
    );
}

/// Kills the one worker of the active generation and waits for its successor.
#[track_caller]
fn respawn(service: &Service) {
    let generation = service.generation();
    let [old] = service.workers(generation)[..] else {
        panic!("{}", service.status())
    };
    kill(Pid::from_raw(old), Signal::SIGKILL).expect("the worker is there");
    eventually("another process serves", || {
        let pid = get(&service.address(), "/").ok()?.pid()?;
        (pid != old).then_some(())
    });
}

/// Puts another program at this path, as a package manager does: a new file, renamed over it.
fn replace(path: &Path, with: &Path) {
    let aside = path.with_extension("new");
    std::fs::copy(with, &aside).expect("a copy");
    std::fs::rename(&aside, path).expect("a rename");
}

#[test]
fn f28_a_program_replaced_on_disk_is_respawned_as_it_was() {
    let start = Start::bare(&[]);
    let program = start.path("app");
    std::fs::copy(example_server(), &program).expect("a copy");
    let service = Start::serving(&[program.display().to_string()]).start();
    assert_eq!(
        service.status()["generations"][0]["release"]["pinned"],
        "program"
    );

    replace(&program, Path::new("/bin/false"));
    respawn(&service);
    assert_eq!(
        service.generation(),
        1,
        "the old program, from its descriptor"
    );

    service.handover("upgrade", &[]).says(1, &[]);
    replace(&program, &example_server());
    service.handover("upgrade", &[]).says(0, &[]);
    service.handover("rollback", &[]).says(0, &[]);
    says(&service, "hello from");
    service.stop();
}

#[test]
fn f28_the_release_that_current_pointed_to_serves_again() {
    let start = Start::bare(&[]);
    for release in ["1", "2"] {
        std::fs::create_dir_all(start.path(release)).expect("a directory");
        server_saying(
            &format!("release {release}:"),
            &start.path(release).join("app"),
        );
    }
    let current = start.path("current");
    symlink("1", &current).expect("a link");
    let service = Start::serving(&[current.join("app").display().to_string()]).start();
    says(&service, "release 1:");

    symlink("2", start.path("next")).expect("a link");
    std::fs::rename(start.path("next"), &current).expect("a rename");
    respawn(&service);
    says(&service, "release 1:");

    service.handover("upgrade", &[]).says(0, &[]);
    says(&service, "release 2:");
    respawn(&service);
    says(&service, "release 2:");

    service.handover("rollback", &[]).says(0, &[]);
    says(&service, "release 1:");
    service.stop();
}

#[test]
fn f28_a_rollback_to_a_file_edited_in_place_is_refused_and_names_it() {
    let start = Start::bare(&[]);
    let file = start.path("app.py");
    server_saying("first:", &file);
    let command = [python().to_owned(), file.display().to_string()];
    let service = Start::serving(&command).start();
    assert_eq!(
        service.status()["generations"][0]["release"]["pinned"],
        "path"
    );

    server_saying("second:", &file);
    service.handover("upgrade", &["--drained"]).says(0, &[]);
    says(&service, "second:");
    service
        .handover("rollback", &[])
        .says(1, &["app.py", "--anyway"]);
    assert_eq!(service.generation(), 2);
    service.handover("rollback", &["--anyway"]).says(0, &[]);
    says(&service, "second:");
    service.stop();
}

#[test]
fn a_script_respawned_over_changed_files_is_an_event() {
    let start = Start::bare(&[]);
    let script = start.path("app");
    server_saying("first:", &script);
    let service = Start::serving(&[script.display().to_string()]).start();
    server_saying("second:", &script);
    respawn(&service);
    let event = service.wait_event("release_changed").to_string();
    assert!(event.contains("/app"), "{event}");
    service.stop();
}

#[test]
fn rollback_again_goes_further_back() {
    let start = Start::bare(&[]);
    let programs: Vec<_> = ["one", "two", "three"]
        .map(|name| {
            let file = start.path(name);
            server_saying(name, &file);
            [file.display().to_string()]
        })
        .into();
    let service = Start::serving(&programs[0]).start();
    service.upgrade_to(&programs[1]).says(0, &[]);
    service.upgrade_to(&programs[2]).says(0, &[]);
    service.handover("rollback", &[]).says(0, &[]);
    says(&service, "two");
    service.handover("rollback", &[]).says(0, &[]);
    says(&service, "one");
    service.stop();
}

#[test]
fn a_rollback_has_the_label_of_the_generation_that_it_goes_back_to() {
    let service = Start::serving(&server()).start();
    // The release of generation 1, which had no label then.
    for words in [
        &["--label", "v1"][..],
        &["--env", "COLOUR=blue", "--label", "v2"],
        &["--env", "COLOUR=red", "--label", "v3"],
    ] {
        service.handover("upgrade", words).says(0, &[]);
    }
    for (to, label) in [("3", "v2"), ("2", "v1")] {
        let ended = service.handover("rollback", &[]);
        ended.says(0, &[]);
        let words = format!("with the release of generation {to}, {label}");
        assert!(ended.stdout.contains(&words), "{ended:#?}");
        let status = service.status();
        assert_eq!(status["generations"][0]["label"], label, "{status:#}");
    }
    service.stop();
}
