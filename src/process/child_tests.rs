use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

/// A shell in a group of its own; gives the first line that it prints.
#[expect(clippy::zombie_processes, reason = "reaped by its `Child`")]
fn shell(script: &str, anchor: Anchor) -> (Child, String) {
    let mut spawned = Command::new("sh")
        .args(["-c", script])
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let child = Child::with_anchor(i32::try_from(spawned.id()).unwrap(), anchor).unwrap();
    let mut line = String::new();
    BufReader::new(spawned.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    (child, line.trim().to_owned())
}

fn ended(child: &Child) -> Exit {
    let patience = Timespec::try_from(PATIENCE).unwrap();
    let ready = poll(&mut [PollFd::new(child, PollFlags::IN)], Some(&patience)).unwrap();
    assert_eq!(ready, 1, "it did not end");
    child.reap().unwrap().unwrap()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not come to hold");
        std::thread::yield_now();
    }
}

const BOTH: [Anchor; 2] = [Anchor::Pidfd, Anchor::Zombie];

#[test]
fn f20_a_child_is_signalled_by_pidfd_and_nobody_after_it() {
    for anchor in BOTH {
        let (child, _) = shell("echo up; exec sleep 60", anchor);
        assert!(child.start_time() > 0);
        assert_eq!(child.reap().unwrap(), None);
        assert!(!child.group_is_empty());
        child.signal(15).unwrap();
        let exit = ended(&child);
        assert_eq!(exit.to_string(), "killed by SIGTERM");
        assert_eq!(child.reap().unwrap(), Some(exit), "the answer stays");
        assert!(child.group_is_empty());
        assert!(gone(child.signal(9)) && gone(child.signal_group(9)));
    }
}

#[test]
fn f22_a_group_is_reached_after_its_leader_ended() {
    for anchor in BOTH {
        let (child, straggler) = shell("sleep 60 >/dev/null & echo $!; exit 3", anchor);
        let straggler: i32 = straggler.parse().unwrap();
        assert_eq!(ended(&child), Exit::Code(3));
        assert_eq!(child.reap().unwrap(), Some(Exit::Code(3)));
        assert!(!child.group_is_empty(), "its sleep lives");
        child.signal_group(9).unwrap();
        until("the group's end", || child.group_is_empty());
        assert!(procfs::stat(straggler).is_none_or(|s| s.is_dead()));
        assert_eq!(child.reap().unwrap(), Some(Exit::Code(3)));
        assert!(
            !procfs::children().unwrap().contains(&child.pid()),
            "and the leader is no zombie"
        );
    }
}

#[test]
fn f20_without_group_signals_the_number_is_kept_while_the_group_lives() {
    let (child, _) = shell("sleep 60 >/dev/null & echo $!; exit 0", Anchor::Zombie);
    assert_eq!(ended(&child), Exit::Code(0));
    assert!(
        procfs::stat(child.pid()).unwrap().is_dead(),
        "a zombie holds the number"
    );
    child.signal_group(9).unwrap();
    until("the group's end", || child.group_is_empty());
    assert!(!procfs::children().unwrap().contains(&child.pid()));
}

#[test]
fn real_time_signals_and_unknown_ones() {
    let (child, _) = shell("echo up; exec sleep 60", Anchor::Pidfd);
    assert!(child.signal(65).is_err());
    child.signal(0).unwrap();
    child.signal(36).unwrap();
    assert_eq!(ended(&child).to_string(), "killed by SIGRTMIN+2");
}

#[test]
fn a_leader_that_left_its_group_is_killed_with_it() {
    for anchor in BOTH {
        let script = "sleep 600 & exec /usr/bin/python3 -uc 'import os, time\n\
                      os.setpgid(0, os.getpgid(os.getppid()))\n\
                      print(\"out\")\n\
                      time.sleep(600)'";
        let (child, line) = shell(script, anchor);
        assert_eq!(line, "out");
        child.kill();
        let exit = ended(&child);
        assert_eq!(exit.to_string(), "killed by SIGKILL");
        until("its group's end", || child.group_is_empty());
    }
}

/// A shell that is another process's child, in a group of its own, with its nonce; gives its number.
fn stranger(script: &str, nonce: &str) -> i32 {
    // The shell between ends at once, so whoever adopts orphans is the parent.
    let between = format!("setsid sh -c '{script}' >/dev/null 2>&1 & echo $!");
    let output = Command::new("sh")
        .args(["-c", &between])
        .env("HANDOVER_NONCE", nonce)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let pid = String::from_utf8(output.stdout).unwrap();
    pid.trim().parse().unwrap()
}

fn began(pid: i32) -> u64 {
    procfs::stat(pid).unwrap().start_time
}

#[test]
fn a_stranger_is_found_again_by_number_start_and_nonce() {
    let pid = stranger("exec sleep 60", "feed");
    until("its execve", || {
        Mark::Worker.of(pid).is_some_and(|mark| mark == "feed")
    });
    let start = began(pid);
    for (start, nonce) in [(start + 1, "feed"), (start, "other")] {
        assert!(Child::find(pid, start, nonce).unwrap().is_none());
    }
    let child = Child::find(pid, start, "feed").unwrap().unwrap();
    assert_eq!((child.pid(), child.start_time()), (pid, start));
    assert_eq!(child.reap().unwrap(), None);
    child.signal(15).unwrap();
    let exit = ended(&child);
    let known = matches!(exit, Exit::Unknown | Exit::Signal { number: 15, .. });
    assert!(known, "{exit:?}");
    assert_eq!(child.reap().unwrap(), Some(exit), "the answer stays");
    assert_eq!(child.start_time(), 0);
    until("the group's end", || child.group_is_empty());
    assert!(Child::find(pid, start, "feed").unwrap().is_none());
}

#[test]
fn an_own_child_is_found_again_also_when_it_is_a_zombie() {
    let (child, _) = shell("echo up; exec sleep 60", Anchor::Pidfd);
    let (pid, start) = (child.pid(), child.start_time());
    assert!(Child::find(pid, start + 1, "any").unwrap().is_none());
    child.signal(9).unwrap();
    let patience = Timespec::try_from(PATIENCE).unwrap();
    poll(&mut [PollFd::new(&child, PollFlags::IN)], Some(&patience)).unwrap();
    let again = Child::find(pid, start, "any").unwrap().unwrap();
    assert_eq!(ended(&again).to_string(), "killed by SIGKILL");
}

#[test]
fn the_group_of_a_stranger_is_reached() {
    let pid = stranger("sleep 60 & exec sleep 60", "beef");
    until("its execve", || {
        Mark::Worker.of(pid).is_some_and(|mark| mark == "beef")
    });
    until("its child", || stragglers::living_members(pid).len() == 2);
    let child = Child::find(pid, began(pid), "beef").unwrap().unwrap();
    assert!(!child.group_is_empty());
    child.kill();
    until("the group's end", || child.group_is_empty());
}
