//! What runs after the disk changed under a release.

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use handover::process::{Launcher, Pinned, Release};
use support::*;

fn server(directory: &Path) -> Release {
    fs::copy("/bin/sleep", directory.join("server")).unwrap();
    release(directory, &["./server", "60"])
}

#[test]
fn f28_a_program_that_was_replaced_or_removed_runs_as_it_was() {
    let base = place();
    let real = fs::canonicalize(base.path()).unwrap();
    let release = server(base.path());
    assert_eq!(release.pinned(), Pinned::Program);
    fs::copy("/bin/false", base.path().join("new")).unwrap();
    fs::rename(base.path().join("new"), base.path().join("server")).unwrap();
    let worker = start(&release);
    assert_eq!(
        worker.link("exe"),
        format!("{} (deleted)", real.join("server").display())
    );
    fs::remove_file(base.path().join("server")).unwrap();
    let worker = start(&release);
    assert_eq!(
        fs::read(worker.proc("cmdline")).unwrap(),
        b"./server\x0060\0"
    );
    assert_eq!(worker.descriptors(), [0, 1, 2]);
    assert_eq!(release.changed_files(), []);
}

#[test]
fn f28_the_current_release_stays_what_it_was() {
    let base = place();
    let real = fs::canonicalize(base.path()).unwrap();
    for number in ["42", "43"] {
        fs::create_dir(base.path().join(number)).unwrap();
        script(
            &base.path().join(number).join("run.sh"),
            &format!("#!/bin/sh\necho {number} $(pwd -P)\n"),
        );
        fs::write(
            base.path().join(number).join("job"),
            format!("echo {number}\n"),
        )
        .unwrap();
        fs::copy("/bin/sleep", base.path().join(number).join("server")).unwrap();
    }
    let current = base.path().join("current");
    symlink("42", &current).unwrap();
    let script = current.join("run.sh");
    let releases = [
        release(&current, &["./run.sh"]),
        release(Path::new("/"), &[script.to_str().unwrap()]),
        release(&current, &["sh", "job"]),
    ];
    let program = release(&current, &["./server", "60"]);
    fs::remove_file(&current).unwrap();
    symlink("43", &current).unwrap();
    assert_eq!(
        releases.each_ref().map(Release::pinned),
        [Pinned::Path, Pinned::Path, Pinned::Directory]
    );
    let printed = releases.each_ref().map(|release| start(release).printed());
    assert_eq!(
        printed,
        [
            format!("42 {}\n", real.join("42").display()),
            "42 /\n".to_owned(),
            "42\n".to_owned()
        ]
    );
    let worker = start(&program);
    assert_eq!(worker.link("cwd"), real.join("42").to_str().unwrap());
    assert_eq!(worker.link("exe"), real.join("42/server").to_str().unwrap());
}

#[test]
fn f28_an_edited_script_runs_and_is_named() {
    let base = place();
    let path = base.path().join("run.sh");
    script(&path, "#!/bin/sh\necho old\n");
    let release = release(base.path(), &["./run.sh"]);
    script(&base.path().join("new"), "#!/bin/sh\necho newer\n");
    fs::rename(base.path().join("new"), &path).unwrap();
    assert_eq!(start(&release).printed(), "newer\n");
    let said: Vec<_> = release
        .changed_files()
        .iter()
        .map(ToString::to_string)
        .collect();
    let shown = fs::canonicalize(&path).unwrap();
    assert_eq!(
        said,
        [format!("{}: replaced (size 19 → 21)", shown.display())]
    );
}

#[test]
fn f28_a_working_directory_that_was_removed_still_is_one() {
    let base = place();
    let directory = base.path().join("gone");
    fs::create_dir(&directory).unwrap();
    let release = release(&directory, &["sleep", "60"]);
    fs::remove_dir(&directory).unwrap();
    assert!(start(&release).link("cwd").ends_with("/gone (deleted)"));
}
#[test]
fn f25_the_launcher_is_the_binary_that_was_opened() {
    let base = place();
    let binary = base.path().join("handover");
    fs::copy(env!("CARGO_BIN_EXE_handover"), &binary).unwrap();
    let launcher = Launcher::open_at(&binary).unwrap();
    fs::remove_file(&binary).unwrap();
    fs::copy("/bin/false", &binary).unwrap();
    let release = release(base.path(), &["sleep", "60"]);
    launch(&launcher, &release, Vec::new()).unwrap();
}
