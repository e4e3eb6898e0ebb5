//! A Debian tree with systemd in it, made when it is missing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What stories use inside.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,python3,procps";

/// Why there is no tree here: no root, or no debootstrap. In CI that is a failure.
pub fn debian(suite: &str) -> Option<PathBuf> {
    let lacking = match nix::unistd::geteuid().is_root() {
        false => Some("a tree can be booted by root only"),
        true if !is_installed("debootstrap") => Some("debootstrap is not installed"),
        true if !is_installed("systemd-nspawn") => Some("systemd-nspawn is not installed"),
        true => None,
    };
    if let Some(lacking) = lacking {
        assert!(std::env::var_os("CI").is_none(), "{lacking}");
        eprintln!("skipped: {lacking}");
        return None;
    }
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("boot");
    fs::create_dir_all(&home).expect("a directory");
    // One makes it, the others wait.
    let lock = fs::File::create(home.join(format!("{suite}.lock"))).expect("a lock");
    lock.lock().expect("it is ours alone");
    let tree = home.join(suite);
    let ready = home.join(format!("{suite}.ready"));
    if fs::read_to_string(&ready).is_ok_and(|with| with == PACKAGES) {
        return Some(tree);
    }
    drop(fs::remove_dir_all(&tree));
    let made = Command::new("debootstrap")
        .args(["--variant=minbase", &format!("--include={PACKAGES}"), suite])
        .arg(&tree)
        .arg(mirror())
        .stdin(Stdio::null())
        .output()
        .expect("debootstrap runs");
    let said = String::from_utf8_lossy(&made.stdout);
    assert!(made.status.success(), "debootstrap {suite} failed:\n{said}");
    fs::write(ready, PACKAGES).expect("written");
    Some(tree)
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin".into(), "/usr/bin".into()];
    std::env::split_paths(&path)
        .chain(usual)
        .any(|directory: PathBuf| directory.join(program).exists())
}

/// Where apt itself gets packages from on this machine.
fn mirror() -> String {
    let asked = Command::new("apt-get")
        .args([
            "indextargets",
            "--format",
            "$(SITE)",
            "Created-By: Packages",
        ])
        .output()
        .expect("apt-get runs");
    let sites = String::from_utf8_lossy(&asked.stdout).into_owned();
    let mut sites = sites.lines().filter(|site| !site.contains("security"));
    sites.next().expect("apt has a source").to_owned()
}
