//! One owner of reaping. These tests reap every child of this process, so they run one after the other.

mod support;

use std::collections::HashSet;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use handover::process::{
    Exit, Mark, become_subreaper, group_members, may_have_orphans, nonce_processes, orphans,
    reap_ready,
};
use support::*;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Nobody else's turn, and nobody else's children left.
fn alone() -> std::sync::MutexGuard<'static, ()> {
    let guard = ONE_AT_A_TIME
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    until("the end of an earlier test's children", || {
        reap_ready(|_| false).unwrap();
        nix::sys::wait::waitpid(None, Some(nix::sys::wait::WaitPidFlag::WNOHANG))
            == Err(nix::errno::Errno::ECHILD)
    });
    guard
}

/// A child of std's that std will not reap.
#[expect(clippy::zombie_processes, reason = "reaping is what is tested")]
fn spawn(script: &str) -> i32 {
    let child = Command::new("sh")
        .args(["-c", script])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child.id().cast_signed()
}

fn is_zombie(pid: i32) -> bool {
    let line = std::fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
    handover::process::parse_stat(&line).is_some_and(|stat| stat.is_dead())
}

#[test]
fn f21_fifty_ends_behind_one_signal_are_all_found() {
    let _alone = alone();
    let pids: Vec<i32> = (0..50).map(|n| spawn(&format!("exit {n}"))).collect();
    until("the end of all", || pids.iter().all(|pid| is_zombie(*pid)));
    let known: HashSet<i32> = pids.iter().copied().filter(|pid| pid % 2 == 0).collect();
    let mut reaped = reap_ready(|pid| known.contains(&pid)).unwrap();
    reaped.known.sort_unstable();
    let mut expected: Vec<i32> = known.iter().copied().collect();
    expected.sort_unstable();
    assert_eq!(reaped.known, expected);
    let strangers: HashSet<_> = reaped.strangers.into_iter().collect();
    let others = pids
        .iter()
        .enumerate()
        .filter(|(_, pid)| !known.contains(pid));
    assert_eq!(
        strangers,
        others
            .map(|(n, pid)| (*pid, Exit::Code(n as i32)))
            .collect()
    );
    assert!(
        known.iter().all(|pid| is_zombie(*pid)),
        "known ones are left to their owners"
    );
    // Zombies that are kept do not hide what ends later.
    let late = spawn("kill -KILL $$");
    until("its end", || is_zombie(late));
    let reaped = reap_ready(|pid| known.contains(&pid)).unwrap();
    assert_eq!(
        reaped.strangers,
        [(
            late,
            Exit::Signal {
                number: 9,
                core: false
            }
        )]
    );
    assert_eq!(reaped.known.len(), known.len());
    assert_eq!(reap_ready(|_| false).unwrap().strangers.len(), known.len());
    assert_eq!(reap_ready(|_| false).unwrap(), Default::default());
}

#[test]
fn f22_orphans_of_a_worker_become_ours_and_are_reaped_quietly() {
    let _alone = alone();
    become_subreaper().unwrap();
    // The leader ends at once; two of its grandchildren end later, one lives on.
    let text = "(sh -c 'exit 5' &) ; (sleep 0.1; exit 6) & sleep 60 & exit 0";
    let worker = start(&release(std::path::Path::new("/"), &["sh", "-c", text]));
    let leader = worker.child.pid();
    assert_eq!(worker.end(), Exit::Code(0));
    let mut codes = Vec::new();
    until("the orphans' end", || {
        let reaped = reap_ready(|pid| pid == leader).unwrap();
        codes.extend(reaped.strangers.into_iter().map(|(_, exit)| exit));
        codes.len() >= 3 && group_members(leader).iter().all(|s| s.comm == "sleep")
            || codes.contains(&Exit::Code(5)) && codes.contains(&Exit::Code(6))
    });
    assert!(
        codes.contains(&Exit::Code(5)) && codes.contains(&Exit::Code(6)),
        "{codes:?}"
    );
    assert!(!worker.child.group_is_empty());
    until("only the sleep", || group_members(leader).len() == 1);
    worker.child.signal_group(9).unwrap();
    until("the group's end", || {
        let _ = reap_ready(|pid| pid == leader).unwrap();
        worker.child.group_is_empty()
    });
}

#[test]
fn f22_a_daemon_that_left_its_group_is_found_by_its_nonce() {
    let _alone = alone();
    become_subreaper().unwrap();
    let nonce = format!("nonce-{}", std::process::id());
    let mut plan = plan(
        std::path::Path::new("/"),
        &["sh", "-c", "setsid -f sleep 60; exit 0"],
    );
    plan.env
        .push(("HANDOVER_NONCE".into(), nonce.clone().into()));
    let worker = start(&handover::process::Release::resolve(plan).unwrap());
    assert_eq!(worker.end(), Exit::Code(0));
    until("the group's end", || worker.child.group_is_empty());
    let nonces = HashSet::from([nonce.clone()]);
    until("the daemon", || {
        nonce_processes(Mark::Worker, &nonces).any(|s| s.comm == "sleep")
    });
    for stray in nonce_processes(Mark::Worker, &nonces) {
        assert_eq!(stray.nonce.as_ref(), Some(&nonce));
        stray.signal(9).unwrap();
    }
    until("its end", || {
        let _ = reap_ready(|pid| pid == worker.child.pid()).unwrap();
        nonce_processes(Mark::Worker, &nonces).next().is_none()
    });
}

#[test]
fn f22_who_lost_its_parents_is_seen_in_one_short_list() {
    let _alone = alone();
    become_subreaper().unwrap();
    // A child of our own, whichever thread has it, is no orphan.
    let own = spawn("exec sleep 60");
    until("the list is as it was", || {
        !may_have_orphans(|pid| pid == own)
    });
    let worker = start(&release(
        std::path::Path::new("/"),
        &["sh", "-c", "setsid -f sleep 60; exit 0"],
    ));
    assert_eq!(worker.end(), Exit::Code(0));
    let known = |pid| pid == own || pid == worker.child.pid();
    assert!(may_have_orphans(known));
    let orphans = orphans(known);
    let [(orphan, name)] = &orphans[..] else {
        panic!("{orphans:?}")
    };
    assert!(["sleep", "setsid"].contains(&name.as_str()), "{name}");
    assert!(!may_have_orphans(|pid| known(pid) || pid == *orphan));
    for pid in [*orphan, own] {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL).unwrap();
    }
    until("nobody is left", || {
        reap_ready(|_| false).unwrap();
        !may_have_orphans(|_| false)
    });
}
