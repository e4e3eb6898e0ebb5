use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

/// A directory with `server.py` and an ELF program `server` (a copy of `true`) in it.
fn place() -> tempfile::TempDir {
    let base = tempfile::tempdir().unwrap();
    fs::write(base.path().join("server.py"), "print(812)").unwrap();
    fs::copy("/bin/true", base.path().join("server")).unwrap();
    base
}

fn script(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn plan(directory: &Path, argv: &[&str]) -> Plan {
    Plan {
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        directory: Some(directory.to_owned()),
        ..Plan::default()
    }
}

fn release(directory: &Path, argv: &[&str]) -> Release {
    Release::resolve(plan(directory, argv)).unwrap()
}

fn refused(directory: &Path, argv: &[&str]) -> String {
    Release::resolve(plan(directory, argv))
        .unwrap_err()
        .to_string()
}

#[test]
fn f28_what_is_pinned_is_told() {
    let base = place();
    let (here, absolute) = (base.path(), base.path().join("server.py"));
    let absolute = absolute.to_str().unwrap();
    script(&here.join("run.sh"), "#!/bin/sh\n");
    let pinned = |argv: &[&str]| release(here, argv).pinned();
    assert_eq!(pinned(&["./server", "--flag", "no-file"]), Pinned::Program);
    assert_eq!(pinned(&["sleep", "60"]), Pinned::Program);
    assert_eq!(
        pinned(&["./server", "--config=server.py"]),
        Pinned::Directory
    );
    assert_eq!(pinned(&["perl", "server.py"]), Pinned::Directory);
    assert_eq!(pinned(&["perl", absolute]), Pinned::Path);
    assert_eq!(
        pinned(&["./server", &format!("--config={absolute}")]),
        Pinned::Path
    );
    assert_eq!(pinned(&["perl", "-e", "1"]), Pinned::Path);
    assert_eq!(pinned(&["./run.sh"]), Pinned::Path);
}

#[test]
fn f28_a_changed_script_is_named() {
    let base = place();
    let release = release(base.path(), &["perl", "server.py"]);
    assert_eq!(release.changed_files(), []);
    fs::write(base.path().join("server.py"), "print(840) #").unwrap();
    let shown = base.path().join("server.py");
    let said: Vec<_> = release
        .changed_files()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        said,
        [format!("{}: changed (size 10 → 12)", shown.display())]
    );
    fs::remove_file(&shown).unwrap();
    assert_eq!(
        release.changed_files()[0].to_string(),
        format!("{}: removed", shown.display())
    );
}

#[test]
fn f28_a_program_that_is_replaced_still_runs_and_one_that_is_overwritten_is_named() {
    let base = place();
    let release = release(base.path(), &["./server"]);
    let path = base.path().join("server");
    fs::rename(base.path().join("server.py"), &path).unwrap();
    assert_eq!(release.changed_files(), [], "the pinned file is as it was");
    fs::copy("/bin/true", &path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let release = Release::resolve(plan(base.path(), &["./server"])).unwrap();
    fs::write(&path, "x").unwrap();
    assert!(
        release.changed_files()[0]
            .to_string()
            .contains("changed (size ")
    );
}

#[test]
fn f28_a_script_and_its_interpreters_are_watched() {
    let base = place();
    let here = base.path();
    fs::create_dir(here.join("bin")).unwrap();
    fs::copy("/bin/true", here.join("bin/lang")).unwrap();
    script(&here.join("run"), "#!/usr/bin/env lang\n");
    let mut plan = plan(here, &["run"]);
    plan.env = vec![(
        "PATH".into(),
        format!("{0}:{0}/bin:/bin", here.display()).into(),
    )];
    let release = Release::resolve(plan.clone()).unwrap();
    assert!(release.same_as(&Release::resolve(plan.clone()).unwrap()));
    assert_eq!(
        (release.build_id(), release.changed_files()),
        (None, vec![])
    );
    fs::remove_file(here.join("bin/lang")).unwrap();
    assert_eq!(
        release.changed_files()[0].to_string(),
        format!("{}/bin/lang: removed", here.display())
    );
    let said = Release::resolve(plan).unwrap_err().to_string();
    assert!(
        said.contains("its #! line wants \"lang\", which is nowhere in PATH; install"),
        "{said}"
    );
}

#[test]
fn f28_a_link_to_the_current_release_is_followed_once() {
    let base = tempfile::tempdir().unwrap();
    for number in ["42", "43"] {
        fs::create_dir(base.path().join(number)).unwrap();
        fs::copy("/bin/true", base.path().join(number).join("server")).unwrap();
    }
    let current = base.path().join("current");
    symlink("42", &current).unwrap();
    let old = release(&current, &["./server"]);
    fs::remove_file(&current).unwrap();
    symlink("43", &current).unwrap();
    let new = release(&current, &["./server"]);
    let real = fs::canonicalize(base.path()).unwrap();
    assert_eq!(old.directory(), real.join("42"));
    assert_eq!(old.executable(), real.join("42/server"));
    assert_eq!(new.directory(), real.join("43"));
    assert!(!old.same_as(&new));
    assert!(old.build_id().is_some_and(|id| id.len() == 40) && old.build_id() == new.build_id());
}

#[test]
fn f14_the_same_release_is_told_from_another() {
    let base = place();
    let original = plan(base.path(), &["./server", "server.py"]);
    let resolve = |change: &dyn Fn(&mut Plan)| {
        let mut plan = original.clone();
        change(&mut plan);
        Release::resolve(plan).unwrap()
    };
    let same = resolve(&|_| {});
    assert!(same.same_as(&resolve(&|_| {})) && same.same_as(&same.clone()));
    assert!(same.same_as(&resolve(&|p| p.label = Some("v2".to_owned()))));
    assert!(same.same_as(&resolve(&|p| {
        p.env.insert(0, ("PATH".into(), "overridden".into()))
    })));
    assert!(!same.same_as(&resolve(&|p| p.argv.push("--x".to_owned()))));
    assert!(!same.same_as(&resolve(&|p| p.env.push(("A".into(), "".into())))));
    assert!(!same.same_as(&resolve(&|p| p.umask = Some(0o77))));
    assert!(!same.same_as(&resolve(&|p| p.limits = vec![(Resource::Nofile, 64)])));
    assert!(!same.same_as(&resolve(&|p| p.bounds.pids = Some(9))));
    assert!(!same.same_as(&resolve(&|p| p.user = Some("root".to_owned()))));
    assert!(!same.same_as(&resolve(&|p| {
        p.argv[0] = base.path().join("server").to_str().unwrap().to_owned();
        p.directory = Some("/".into());
    })));
    fs::write(base.path().join("server.py"), "other").unwrap();
    assert!(!same.same_as(&resolve(&|_| {})));
}

#[test]
fn what_cannot_be_run_is_refused_with_the_reason() {
    let base = place();
    let here = base.path();
    let shown = fs::canonicalize(here).unwrap();
    let at = |name: &str| shown.join(name).display().to_string();
    fs::create_dir(here.join("dir")).unwrap();
    symlink("nowhere", here.join("dangling")).unwrap();
    script(&here.join("lost"), "#!/no/such/lang -x\n");
    script(&here.join("windows"), "#!/bin/sh\r\nexit\r\n");
    for (argv, expected) in [
        (&["no-such-program"][..], "there is no program \"no-such-program\": looked in /usr/bin, /bin; give its path, or correct PATH".to_owned()),
        (&["python3 server.py"], "there is no program \"python3 server.py\"; write the words separately: python3 server.py; in a config: command = [\"python3\", \"server.py\"]".to_owned()),
        (&["./server.py --port 1"], "there is no program \"./server.py --port 1\"; write the words separately: ./server.py --port 1; in a config: command = [\"./server.py\", \"--port\", \"1\"]".to_owned()),
        (&["sh -c 'a b'"], "there is no program \"sh -c 'a b'\"; write the words separately, as in `-- ./server --flag`; in a config: command = [\"./server\", \"--flag\"]".to_owned()),
        (&["PORT=1", "python3"], "there is no program \"PORT=1\"; `env` sets a variable for a program: env PORT=1 PROGRAM".to_owned()),
        (&["PORT=1 python3 a.py"], "there is no program \"PORT=1 python3 a.py\"; `env` sets a variable for a program; write the words separately: env PORT=1 python3 a.py".to_owned()),
        (&["./missing"], format!("{}: there is no such file; \"./missing\" is relative to the working directory {}; correct the path, or write the whole one", at("missing"), shown.display())),
        (&["/no/such"], "/no/such: there is no such file; correct the path, or write the whole one".to_owned()),
        (&["./dangling"], format!("{}: there is no such file; it is a symbolic link to nothing; correct the path, or write the whole one", at("dangling"))),
        (&["./dir"], format!("{0}: this is a directory, not a program; name the program in it: {0}/PROGRAM", at("dir"))),
        (&["/dev/null"], "/dev/null: this is not a regular file".to_owned()),
        (&["./server.py"], format!("{0}: this file is not executable; chmod +x {0}, or start it with its interpreter", at("server.py"))),
        (&["./lost"], format!("{}: its #! line wants \"/no/such/lang\", which is missing; install the interpreter, or correct the first line", at("lost"))),
        (&["./windows"], format!("{}: its #! line wants \"/bin/sh\\r\", which ends in a carriage return: the script has Windows line ends (dos2unix)", at("windows"))),
        (&["a\0b"], "argument 0 of the command contains a NUL byte, which no program can be given".to_owned()),
        (&[], "the command is empty; give the program and its arguments, as in `-- ./server --flag`".to_owned()),
        (&[""], "the command is empty; give the program and its arguments, as in `-- ./server --flag`".to_owned()),
    ] {
        assert_eq!(refused(here, argv), expected);
    }
    assert!(
        refused(&here.join("gone"), &["true"])
            .ends_with("/gone: there is no such directory; create it, or correct `directory`")
    );
    assert!(refused(&here.join("server"), &["true"]).ends_with("/server: this is not a directory"));
    let mut plan = plan(here, &["true"]);
    plan.user = Some("no-such-user".to_owned());
    assert!(
        Release::resolve(plan)
            .unwrap_err()
            .to_string()
            .contains("no user \"no-such-user\"")
    );
}

#[test]
fn a_program_for_another_machine_is_refused() {
    let base = place();
    let path = base.path().join("server");
    let mut bytes = fs::read(&path).unwrap();
    bytes[18..20].copy_from_slice(&243_u16.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    let said = refused(base.path(), &["./server"]);
    assert!(
        said.contains("built for RISC-V, and this machine is"),
        "{said}"
    );
}

#[test]
fn something_that_is_not_executable_in_path_says_more_than_not_found() {
    let base = place();
    let mut plan = plan(base.path(), &["server.py"]);
    plan.env = vec![(
        "PATH".into(),
        format!("/bin::{}", base.path().display()).into(),
    )];
    let said = Release::resolve(plan).unwrap_err().to_string();
    assert!(said.contains("is not executable"), "{said}");
}

#[test]
fn variables_that_cannot_be_passed_are_refused() {
    for (name, value, expected) in [
        ("A=B", "", "cannot be the name"),
        ("", "", "cannot be the name"),
        ("A", "\0", "variable A contains a NUL"),
    ] {
        let mut plan = plan(Path::new("/"), &["true"]);
        plan.env.push((name.into(), value.into()));
        let said = Release::resolve(plan).unwrap_err().to_string();
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn f27_a_users_variables_are_set_unless_the_config_sets_them() {
    let mut plan = plan(Path::new("/"), &["true"]);
    plan.user = Some("root".to_owned());
    plan.env.extend([
        ("HOME".into(), "/own".into()),
        ("USER".into(), "somebody".into()),
    ]);
    plan.own_env.insert("HOME".into());
    let release = Release::resolve(plan).unwrap();
    let of = |name: &str| {
        release
            .env()
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.to_str().unwrap())
    };
    assert_eq!(
        (of("HOME"), of("USER"), of("LOGNAME")),
        (Some("/own"), Some("root"), Some("root"))
    );
    assert_eq!(release.owner(), Owner { uid: 0, gid: 0 });
}

#[test]
fn secrets_stay_out_of_debug_output() {
    let mut plan = plan(Path::new("/"), &["true"]);
    plan.env.push(("TOKEN".into(), "hunter2".into()));
    let shown = format!("{:?}", Release::resolve(plan).unwrap());
    assert!(
        shown.contains("TOKEN") && !shown.contains("hunter2"),
        "{shown}"
    );
}

#[test]
fn a_release_can_be_resolved_on_another_thread() {
    fn may_move<T: Send + Sync + Clone>(_: &T) {}
    let base = place();
    let release =
        std::thread::scope(|scope| scope.spawn(|| release(base.path(), &["./server"])).join());
    may_move(&release.unwrap());
}
