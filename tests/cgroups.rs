//! The launcher and control groups: a worker is in its group before its program begins.

mod support;

use std::fs;
use std::path::PathBuf;

use handover::process::{Bounds, Group, Home, LaunchFailure, Step};

use support::{launcher, place, plan, release, request};

/// A delegated group of this test's own, removed at its end.
struct Delegated(PathBuf);

impl Delegated {
    /// `None` (and a word) where none can be made.
    fn make(name: &str) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/mounts").unwrap();
        let mut mounts = mounts.lines().map(|line| line.split(' '));
        let mount = mounts.find_map(|mut fields| {
            let path = fields.nth(1)?;
            (fields.next()? == "cgroup2").then(|| PathBuf::from(path))
        });
        let made = mount.ok_or("no cgroup2 is mounted".to_owned());
        let made = made.and_then(|mount| {
            let path = mount.join(format!(
                "handover-launch-test-{name}-{}",
                std::process::id()
            ));
            fs::create_dir(&path).map_err(|error| error.to_string())?;
            Ok(Self(path))
        });
        made.inspect_err(|why| eprintln!("skipped: no control group can be made: {why}"))
            .ok()
    }

    fn worker(&self) -> std::sync::Arc<Group> {
        let bounds = Bounds {
            pids: Some(50),
            best_effort: true,
            ..Bounds::default()
        };
        let home = Home::at(self.0.clone()).unwrap();
        let made = home.make("1.0.0", &bounds).unwrap();
        made.group.expect("a group")
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        let _ = fs::write(self.0.join("cgroup.kill"), "1");
        let deadline = std::time::Instant::now() + support::PATIENCE;
        while fs::remove_dir(&self.0).is_err() && std::time::Instant::now() < deadline {
            for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
                let _ = fs::remove_dir(entry.path());
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }
}

#[test]
fn a_worker_of_another_user_is_in_its_group_and_holds_no_way_into_it() {
    let Some(delegated) = Delegated::make("enter") else {
        return;
    };
    let (group, base) = (delegated.worker(), place());
    let mut plan = plan(base.path(), &["/bin/sleep", "600"]);
    plan.user = support::is_root().then(|| "nobody".to_owned());
    let release = handover::process::Release::resolve(plan).unwrap();
    let output = tempfile::tempfile().unwrap();
    let mut request = request(&release, &output);
    request.group = Some(&group);
    let launched = launcher().launch(&request).unwrap();
    launched.report.wait().unwrap();
    let pid = launched.child.pid();
    assert_eq!(group.members(), [pid]);
    let own = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert!(
        own.lines()
            .any(|line| line.starts_with("0::") && line.ends_with("/w-1.0.0")),
        "{own}"
    );
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    assert_eq!(open, 3, "stdin, stdout, stderr");
    group.kill().unwrap();
    assert!(
        support::wait_for(&launched.child)
            .to_string()
            .contains("KILL")
    );
    assert!(!group.is_populated());
    group.remove().unwrap();
}

#[test]
fn a_group_that_is_gone_is_a_step_that_failed() {
    let Some(delegated) = Delegated::make("gone") else {
        return;
    };
    let (group, base) = (delegated.worker(), place());
    group.remove().unwrap();
    let release = release(base.path(), &["/bin/true"]);
    let output = tempfile::tempfile().unwrap();
    let mut request = request(&release, &output);
    request.group = Some(&group);
    let error = launcher().launch(&request).unwrap_err();
    let failure = error
        .get_ref()
        .and_then(|it| it.downcast_ref::<LaunchFailure>());
    assert_eq!(failure.map(|it| it.step), Some(Step::ControlGroup));
    let text = error.to_string();
    assert!(
        text.contains("/true: entering the control group ")
            && text.contains("w-1.0.0: No such file"),
        "{text}"
    );
}
