//! The launcher with real processes: what is said when a worker cannot be started.

mod support;

use std::fs::{self, File};
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::path::Path;

use handover::process::{Exit, LaunchFailure, Launcher, Release, Resource, Step};
use nix::errno::Errno;
use support::*;

fn server(directory: &Path) -> Release {
    fs::copy("/bin/sleep", directory.join("server")).unwrap();
    release(directory, &["./server", "60"])
}

/// What the kernel refuses after the release was resolved: the exact step and errno, and words that help.
#[test]
fn what_cannot_be_started_is_told_by_step_and_errno() {
    let base = place();
    let here = base.path();
    let check = |release: &Release, step, errno: Errno, words: &str| {
        let said = failure(release);
        assert_eq!(
            (said.step, Errno::from_raw(said.errno)),
            (step, errno),
            "{said}"
        );
        assert!(said.to_string().contains(words), "{said}");
        assert!(said.to_string().starts_with("cannot start /"), "{said}");
    };
    fs::copy("/bin/true", here.join("lang")).unwrap();
    let interpreter = here.join("lang");
    script(
        &here.join("lost"),
        &format!("#!{}\n", interpreter.display()),
    );
    let lost = release(here, &["./lost"]);
    fs::remove_file(interpreter).unwrap();
    check(
        &lost,
        Step::Exec,
        Errno::ENOENT,
        "of which the interpreter (or the dynamic loader) is missing",
    );
    fs::remove_file(here.join("lost")).unwrap();
    check(&lost, Step::Exec, Errno::ENOENT, "/lost: No such file");

    script(&here.join("bare"), "echo no first line\n");
    check(
        &release(here, &["./bare"]),
        Step::Exec,
        Errno::ENOEXEC,
        "#!/bin/sh",
    );

    let server = server(here);
    mode(&here.join("server"), 0o600);
    check(&server, Step::Exec, Errno::EACCES, "may not execute it");
    let mut limited = plan(here, &["sleep", "60"]);
    limited.limits = vec![(Resource::Nofile, u64::MAX - 1)];
    check(
        &Release::resolve(limited).unwrap(),
        Step::Limits,
        Errno::EPERM,
        "setting the limit nofile = ",
    );

    if is_root() {
        fs::create_dir(here.join("private")).unwrap();
        mode(&here.join("private"), 0o700);
        let mut private = plan(&here.join("private"), &["sleep", "60"]);
        private.user = Some("nobody".to_owned());
        check(
            &Release::resolve(private).unwrap(),
            Step::Directory,
            Errno::EACCES,
            "/private: Permission denied",
        );
    }
}

#[test]
fn a_user_that_we_may_not_become_is_told() {
    if !is_root() || !inside("a_user_that_we_may_not_become_is_told", &["env"]) {
        return;
    }
    let launcher = launcher();
    let mut plan = plan(Path::new("/"), &["sleep", "60"]);
    plan.user = Some("root".to_owned());
    let release = Release::resolve(plan.clone()).unwrap();
    become_nobody();
    let said = launch(&launcher, &release, Vec::new())
        .map(|_| ())
        .unwrap_err();
    assert_eq!((said.step, said.errno), (Step::Groups, Errno::EPERM as i32));
    assert!(
        said.to_string()
            .contains("taking on the groups of user \"root\": Operation not permitted"),
        "{said}"
    );
    // To be asked to be who one is needs no privilege.
    plan.user = Some("nobody".to_owned());
    launch(&launcher, &Release::resolve(plan).unwrap(), Vec::new()).unwrap();
}

fn become_nobody() {
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    nix::unistd::setgroups(&[]).unwrap();
    nix::unistd::setresgid(nobody.gid, nobody.gid, nobody.gid).unwrap();
    nix::unistd::setresuid(nobody.uid, nobody.uid, nobody.uid).unwrap();
}

#[test]
fn no_further_process_is_an_error_that_says_what_to_raise() {
    if !is_root()
        || !inside(
            "no_further_process_is_an_error_that_says_what_to_raise",
            &["prlimit", "--nproc=1"],
        )
    {
        return;
    }
    let launcher = launcher();
    let release = release(Path::new("/"), &["sleep", "60"]);
    let output = tempfile::tempfile().unwrap();
    become_nobody();
    let error = launcher
        .launch(&request(&release, &output))
        .map(|_| ())
        .unwrap_err();
    let said = error.to_string();
    assert!(
        said.contains("starting the launcher: no further process is allowed")
            && said.contains("TasksMax="),
        "{said}"
    );
    let inner = error
        .get_ref()
        .and_then(|e| e.downcast_ref::<LaunchFailure>())
        .unwrap();
    assert_eq!(
        (inner.step, inner.errno),
        (Step::Spawn, Errno::EAGAIN as i32)
    );
}

#[test]
fn a_launcher_that_ends_without_a_word_is_no_success() {
    for (program, status) in [("/bin/true", 0), ("/bin/false", 1)] {
        let launcher = Launcher::open_at(Path::new(program)).unwrap();
        let output = tempfile::tempfile().unwrap();
        let release = release(Path::new("/"), &["sleep", "60"]);
        let launched = launcher.launch(&request(&release, &output)).unwrap();
        assert_eq!(launched.report.wait().unwrap_err().step, Step::Launcher);
        assert_eq!(wait_for(&launched.child), Exit::Code(status));
    }
}

#[test]
fn what_cannot_be_passed_starts_nothing() {
    let release = release(Path::new("/"), &["sleep", "60"]);
    let output = tempfile::tempfile().unwrap();
    let refused = |change: &dyn Fn(&mut handover::process::LaunchRequest<'_>)| {
        let mut request = request(&release, &output);
        change(&mut request);
        launcher().launch(&request).map(|_| ()).unwrap_err().kind()
    };
    let invalid = std::io::ErrorKind::InvalidInput;
    assert_eq!(refused(&|r| r.argv.clear()), invalid);
    assert_eq!(refused(&|r| r.argv.push("\0".to_owned())), invalid);
    assert_eq!(refused(&|r| r.env.push(("A=".into(), "".into()))), invalid);
    assert_eq!(refused(&|r| r.env.push(("A".into(), "\0".into()))), invalid);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let error = launch_named(&release, "a:b", &socket);
    assert_eq!(error, invalid);
}

fn launch_named(release: &Release, name: &str, socket: &UdpSocket) -> std::io::ErrorKind {
    let output = tempfile::tempfile().unwrap();
    let mut request = request(release, &output);
    request.listeners = vec![(name.to_owned(), socket.as_fd())];
    launcher().launch(&request).map(|_| ()).unwrap_err().kind()
}
#[test]
fn no_further_descriptor_is_an_error_that_says_what_to_raise() {
    let name = "no_further_descriptor_is_an_error_that_says_what_to_raise";
    if !inside(name, &["prlimit", "--nofile=64"]) {
        return;
    }
    let launcher = launcher();
    let release = release(Path::new("/"), &["sleep", "60"]);
    let output = tempfile::tempfile().unwrap();
    let mut hoard = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        hoard.push(file);
    }
    // However many are free, up to what a start needs: an error and no process, or a start.
    let mut failed = 0;
    loop {
        match launcher.launch(&request(&release, &output)) {
            Ok(launched) => {
                launched.report.wait().unwrap();
                launched.child.signal(9).unwrap();
                wait_for(&launched.child);
                break;
            }
            Err(error) => {
                assert!(error.to_string().contains("LimitNOFILE="), "{error}");
                failed += 1;
            }
        }
        hoard.pop();
    }
    assert!(failed > 2);
    drop(hoard);
    let left = handover::process::reap_ready(|_| false).unwrap();
    assert_eq!(left, Default::default(), "nothing was left behind");
    // The launcher needs room too: twice the number of sockets that it passes on.
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut many = request(&release, &output);
    many.listeners = (0..40).map(|n| (format!("n{n}"), socket.as_fd())).collect();
    let launched = launcher.launch(&many).unwrap();
    let said = launched.report.wait().unwrap_err();
    assert_eq!(
        (said.step, said.errno),
        (Step::Descriptors, Errno::EMFILE as i32),
        "{said}"
    );
    assert!(said.to_string().contains("LimitNOFILE="), "{said}");
    assert_eq!(wait_for(&launched.child), Exit::Code(127));
}
