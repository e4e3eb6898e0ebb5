//! The shipped unit files say what DESIGN section 8 says, and systemd agrees.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd")
}

/// The assignments of one file, comments left out.
fn settings(name: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(shipped().join(name)).unwrap();
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn the_unit_starts_what_make_install_installs() {
    let makefile = Path::new(env!("CARGO_MANIFEST_DIR")).join("Makefile");
    let makefile = fs::read_to_string(makefile).unwrap();
    let prefix = makefile
        .lines()
        .find_map(|line| line.strip_prefix("PREFIX ?= "));
    let binary = format!("{}/bin/handover ", prefix.unwrap());
    for (key, value) in settings("handover@.service") {
        if key.starts_with("Exec") {
            assert!(value.starts_with(&binary), "{key}={value} is not {binary}");
        }
    }
}

#[test]
fn systemd_analyze_has_nothing_to_say() {
    let directory = tempfile::tempdir().unwrap();
    let mut paths = Vec::new();
    for name in ["handover@.service", "handover@.socket"] {
        let text = fs::read_to_string(shipped().join(name)).unwrap();
        // The program is not installed where this is built.
        let text = text.replace("/usr/local/bin/handover", "/bin/true");
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        paths.push(path);
    }
    let drop_ins = directory.path().join("handover@.service.d");
    fs::create_dir(&drop_ins).unwrap();
    fs::copy(shipped().join("limits.conf"), drop_ins.join("limits.conf")).unwrap();
    let verified = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=one"])
        .args(&paths)
        .output()
        .expect("systemd-analyze is part of this test: install systemd (it need not run)");
    // An unknown key is no failure to it, only a line.
    let said = String::from_utf8_lossy(&verified.stderr);
    let about_us: Vec<_> = said.lines().filter(|l| l.contains("handover@")).collect();
    assert!(about_us.is_empty(), "{about_us:#?}");
    assert!(verified.status.success(), "{said}");
}

#[test]
fn the_service_says_what_is_promised() {
    let settings = settings("handover@.service");
    let promised = [
        ("Type", "notify"),
        ("NotifyAccess", "main"),
        (
            "ExecStart",
            "/usr/local/bin/handover run --config /etc/handover/%i.toml",
        ),
        ("ExecReload", "/usr/local/bin/handover upgrade --systemd %i"),
        ("Restart", "on-failure"),
        ("RestartSec", "100ms"),
        ("RestartPreventExitStatus", "2"),
        ("StartLimitIntervalSec", "0"),
        ("OOMPolicy", "continue"),
        ("RuntimeDirectory", "handover/%i"),
        ("RuntimeDirectoryMode", "0711"),
        ("RuntimeDirectoryPreserve", "restart"),
        ("StateDirectory", "handover/%i"),
    ];
    for (key, value) in promised {
        let values: Vec<_> = settings.iter().filter(|(k, _)| k == key).collect();
        assert!(
            matches!(values[..], [(_, only)] if only == value),
            "{key}={value} is promised, and there is {values:?}"
        );
    }
}

/// FAILURES 32: without it no worker can have a control group.
#[test]
fn f32_the_drop_in_for_limits_delegates() {
    let delegates = ("Delegate".to_owned(), "yes".to_owned());
    assert_eq!(settings("limits.conf"), [delegates]);
}

/// FAILURES 31: until a master can adopt workers, none may outlive it.
#[test]
fn f31_no_worker_outlives_its_master_unadopted() {
    let settings = settings("handover@.service");
    let value = |key: &str| {
        let setting = settings.iter().find(|(k, _)| k == key);
        setting.map(|(_, value)| value.as_str())
    };
    let is_swept = value("ExecStopPost").is_some_and(|line| line.contains("sweep"));
    assert_eq!(value("KillMode") == Some("process"), is_swept);
}

/// systemd 252 takes a Type= that it does not know for "simple" (253 has
/// notify-reload), and ignores FileDescriptorStorePreserve= (254).
#[test]
fn nothing_newer_than_systemd_252_is_in_the_files() {
    for name in ["handover@.service", "handover@.socket", "limits.conf"] {
        for (key, value) in settings(name) {
            assert_ne!(value, "notify-reload");
            assert!(!["FileDescriptorStorePreserve", "RestartSteps"].contains(&&*key));
        }
    }
}
