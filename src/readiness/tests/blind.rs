//! What cannot be observed is said, with the reason.

use super::*;

#[test]
fn a_worker_without_listeners_that_count_is_said() {
    let Sight::Blind(reason) = Observer::new(1, vec![], vec![]).look(Instant::now()) else {
        panic!("there is nothing to see");
    };
    assert!(reason.contains("no listener"), "{reason}");
}

#[test]
fn an_io_uring_that_accepts_is_said() {
    let listener = tcp();
    let mut program = Program::python(&["ring_accept"], &listener, None);
    let said = program.line();
    let mut observer = Observer::new(program.pid(), vec![wanted_tcp("http", &listener)], vec![]);
    if said != "there" {
        // Switched off here (kernel.io_uring_disabled): then there is nothing to be blind of.
        never_accepts(&mut observer);
        return;
    }
    let Sight::Blind(reason) = watch(&mut observer) else {
        panic!("it cannot be seen")
    };
    assert!(
        reason.contains("io_uring") && reason.contains(&program.pid().to_string()),
        "{reason}"
    );
}

/// A runtime that has a ring for its files goes on loading: evidence may still come.
#[test]
fn an_io_uring_that_waits_for_no_connection_is_not_blindness() {
    let listener = tcp();
    let mut program = Program::python(&["ring_idle"], &listener, None);
    program.line();
    never_accepts(&mut Observer::new(
        program.pid(),
        vec![wanted_tcp("http", &listener)],
        vec![],
    ));
}

/// Plays the observer as another user, in a process of its own; by itself it looks at what it
/// may look at.
#[test]
fn looks_as_another_user() {
    let listener = tcp();
    let target = std::env::var(TARGET).map(|pid| pid.parse().expect("a PID"));
    let program = Program::python(&["sleep"], &listener, None);
    let target = target.unwrap_or(program.pid());
    let mut observer = Observer::new(target, vec![wanted_tcp("http", &listener)], vec![]);
    if target == program.pid() {
        never_accepts(&mut observer);
        return;
    }
    match watch(&mut observer) {
        Sight::Blind(reason) => println!("\nBLIND {reason}"),
        other => panic!("{other:?}"),
    }
}

const TARGET: &str = "HANDOVER_TEST_TARGET";

/// The reason that an unprivileged observer gives for a worker of another user.
#[test]
fn another_users_worker_is_said() {
    let listener = tcp();
    let mut program = Program::python(&["accept"], &listener, None);
    assert_eq!(program.line(), "there");
    let own = std::env::current_exe().expect("this test has a path");
    // As root: become nobody and look at our own program. As anyone else: look at root's init.
    let is_root = rustix::process::geteuid().is_root();
    // The test's own file may lie where nobody may read; a copy may be run by all.
    let copy = tempfile::Builder::new()
        .prefix("handover-test-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .tempfile()
        .expect("a file")
        .into_temp_path();
    std::fs::copy(&own, &copy).expect("copied");
    let mut command = if is_root {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        command.arg(&copy);
        command
    } else {
        Command::new(&own)
    };
    let target = if is_root { program.pid() } else { 1 };
    let output = command
        .args([
            "--exact",
            "readiness::tests::blind::looks_as_another_user",
            "--nocapture",
        ])
        .env(TARGET, target.to_string())
        .current_dir("/")
        .output()
        .expect("setpriv (util-linux) is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let reason = text.lines().find_map(|line| line.strip_prefix("BLIND "));
    let reason = reason.unwrap_or_else(|| panic!("{output:?}"));
    assert!(
        reason.contains("CAP_SYS_PTRACE") || reason.contains("ptrace_scope"),
        "{reason}"
    );
    assert!(reason.contains(&format!("pid {target}")), "{reason}");
}
