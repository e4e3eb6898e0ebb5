//! The delegated group with a real kernel, as far as it has the controllers.

use super::super::testing::{Scratch, eventually};
use super::*;

fn groups(base: &Path) -> Vec<String> {
    let entries = fs::read_dir(base).unwrap().flatten();
    let mut names: Vec<String> = entries
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn members(group: &Path) -> Vec<i32> {
    Group::at(group.to_owned()).members()
}

fn modest() -> Bounds {
    Bounds {
        pids: Some(50),
        best_effort: true,
        ..Bounds::default()
    }
}

#[test]
fn f32_everybody_in_the_group_moves_aside_and_back() {
    let Some(scratch) = Scratch::make("") else {
        return;
    };
    let base = scratch.path();
    let mut shell = Scratch::sh(base, "sleep 600 & wait");
    eventually("shell and sleep are in it", || members(base).len() == 2);
    let home = Home::at(base.to_owned()).unwrap();
    assert!(members(base).is_empty());
    assert_eq!(members(&base.join(MASTER)).len(), 2);
    // Whoever is started again after a crash finds it so, or comes into the group again itself.
    let mut late = Scratch::sh(base, "sleep 600 & wait");
    eventually("the late ones too", || members(base).len() == 2);
    let again = Home::at(base.to_owned()).unwrap();
    assert_eq!(members(&base.join(MASTER)).len(), 4);
    drop(home);
    again.leave().unwrap();
    assert_eq!(members(base).len(), 4);
    assert_eq!(groups(base), [""; 0]);
    Group::at(base.to_owned()).kill().unwrap();
    shell.wait().unwrap();
    late.wait().unwrap();
}

/// `hugetlb` stands for the controllers that this kernel may have in version 1: what is written to hand it on is the same.
#[test]
fn f32_a_controller_is_handed_on_only_when_nobody_is_in_the_group() {
    const STAND_IN: &str = "hugetlb";
    let Some(scratch) = Scratch::make("") else {
        return;
    };
    let top = scratch.mount().join("cgroup.subtree_control");
    if write(&top, &format!("+{STAND_IN}")).is_err() {
        eprintln!("not shown here: control groups of version 2 offer no {STAND_IN}");
        return;
    }
    let base = scratch.path();
    let mut shell = Scratch::sh(base, "sleep 600 & wait");
    eventually("shell and sleep are in it", || members(base).len() == 2);
    let direct = Home {
        base: base.to_owned(),
    };
    let file = base.join("cgroup.subtree_control");
    let busy = write(&file, &format!("+{STAND_IN}")).unwrap_err();
    assert_eq!(Errno::from_io_error(&busy), Some(Errno::BUSY));
    fs::create_dir(base.join(MASTER)).unwrap();
    direct.enable(STAND_IN).unwrap();
    let is_on = || words_of(&file).iter().any(|it| it == STAND_IN);
    assert!(is_on());
    direct.enable(STAND_IN).expect("it is already");
    let made = direct.make("1.0.0", &modest()).unwrap();
    let group = made.group.unwrap();
    let handed = words_of(&group.path().join("cgroup.controllers"));
    assert!(handed.iter().any(|it| it == STAND_IN), "{handed:?}");
    // Also while workers are in their groups.
    let mut worker = Scratch::sh(group.path(), "sleep 600 & wait");
    eventually("the worker is in it", || group.members().len() == 2);
    direct.disable(STAND_IN).unwrap();
    assert!(!is_on());
    Group::at(base.to_owned()).kill().unwrap();
    shell.wait().unwrap();
    worker.wait().unwrap();
}

#[test]
fn groups_that_a_dead_master_left_are_removed_unless_somebody_lives_in_them() {
    let Some(scratch) = Scratch::make("") else {
        return;
    };
    let base = scratch.path();
    for name in ["w-1.0.0", "w-1.1.0", "other"] {
        fs::create_dir(base.join(name)).unwrap();
    }
    let mut left = Scratch::sh(&base.join("w-1.0.0"), "exec sleep 600");
    let pid = i32::try_from(left.id()).unwrap();
    eventually("it is in it", || members(&base.join("w-1.0.0")) == [pid]);
    let home = Home::at(base.to_owned()).unwrap();
    let full = home.clear();
    let [(group, in_it)] = &full[..] else {
        panic!("one: {full:?}")
    };
    assert!(group.path().ends_with("w-1.0.0"));
    assert_eq!(in_it, &[pid]);
    assert_eq!(groups(base), [MASTER, "other", "w-1.0.0"]);
    let made = home.make("1.0.0", &modest()).unwrap().group.unwrap();
    assert!(
        made.path().ends_with("w-1.0.0+1"),
        "nobody is in a new group: {made:?}"
    );
    made.remove().unwrap();
    left.kill().unwrap();
    left.wait().unwrap();
}

#[test]
fn what_a_bound_needs_is_told_and_nothing_is_made() {
    let Some(scratch) = Scratch::make("") else {
        return;
    };
    let home = Home::at(scratch.path().to_owned()).unwrap();
    let strict = Bounds {
        best_effort: false,
        ..modest()
    };
    let offered = words_of(&scratch.path().join("cgroup.controllers"));
    match home.make("1.0.0", &strict) {
        Ok(made) => {
            assert!(offered.iter().any(|it| it == "pids"), "{made:?}");
            let group = made.group.unwrap();
            let max = fs::read_to_string(group.path().join("pids.max")).unwrap();
            assert_eq!(max.trim(), "50");
            group.remove().unwrap();
            home.leave().unwrap();
        }
        Err(lack) => {
            assert!(offered.iter().all(|it| it != "pids"), "{lack}");
            let text = lack.to_string();
            assert!(
                text.starts_with("limits.pids needs the pids controller"),
                "{text}"
            );
            assert_eq!(groups(scratch.path()), [MASTER]);
            let made = home.make("1.0.0", &modest()).unwrap();
            assert_eq!(made.lacks, [lack]);
        }
    }
}
