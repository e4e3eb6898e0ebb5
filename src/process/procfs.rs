//! `/proc/PID/stat` (proc_pid_stat(5)) and the list of processes: what this room needs of procfs.

use std::io::{self, Read};
use std::path::Path;

/// The fields of `/proc/PID/stat` that matter here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Process number.
    pub pid: i32,
    /// The program's short name, at most 15 bytes; may hold any byte, so it is kept as text lossily.
    pub comm: String,
    /// `R`, `S`, `D`, `Z` (zombie), `X` (dead), `T`, `t`, `I`.
    pub state: char,
    /// Parent.
    pub ppid: i32,
    /// Process group.
    pub pgrp: i32,
    /// Clock ticks after boot at which it began: with the number, it names a process for good.
    pub start_time: u64,
    /// CPU time in clock ticks: its own and that of the children that it waited for.
    pub cpu_ticks: u64,
    /// Resident set in pages.
    pub rss_pages: u64,
}

impl Stat {
    /// Whether it has ended and only waits to be reaped.
    pub fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }
}

/// Reads one line of `/proc/PID/stat`; `None` when it is not one. Total: never panics on any bytes.
pub fn parse_stat(bytes: &[u8]) -> Option<Stat> {
    // The name may hold blanks and parentheses: it ends at the last one.
    let open = bytes.iter().position(|b| *b == b'(')?;
    let close = bytes.iter().rposition(|b| *b == b')')?;
    let pid = std::str::from_utf8(bytes.get(..open)?)
        .ok()?
        .trim()
        .parse()
        .ok()?;
    let comm = String::from_utf8_lossy(bytes.get(open + 1..close)?).into_owned();
    let rest = std::str::from_utf8(bytes.get(close + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let ppid = fields.next()?.parse().ok()?;
    let pgrp = fields.next()?.parse().ok()?;
    // Fields 3 to 5 are taken; utime, stime, cutime and cstime are 14 to 17, starttime is 22, rss 24.
    let mut cpu_ticks = 0_u64;
    for field in fields.by_ref().skip(8).take(4) {
        cpu_ticks = cpu_ticks.saturating_add(field.parse().unwrap_or(0));
    }
    let start_time = fields.nth(4)?.parse().ok()?;
    let rss_pages = fields.nth(1).and_then(|pages| pages.parse().ok());
    Some(Stat {
        pid,
        comm,
        state,
        ppid,
        pgrp,
        start_time,
        cpu_ticks,
        rss_pages: rss_pages.unwrap_or(0),
    })
}

/// `/proc/PID/stat` now; `None` when there is no such process (or no such file).
pub(super) fn stat(pid: i32) -> Option<Stat> {
    // The line is at most a few hundred bytes: 52 numbers and a name of 15 bytes.
    let mut buffer = [0_u8; 2048];
    let mut file = std::fs::File::open(format!("/proc/{pid}/stat")).ok()?;
    let length = file.read(&mut buffer).ok()?;
    parse_stat(buffer.get(..length)?)
}

/// What a process has for an environment of which nothing could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoEnvironment {
    /// It has none: a kernel thread, or it is gone.
    Never,
    /// It is empty. In the last moment of an `execve` it seems to be.
    Empty,
    /// In the middle of an `execve` that of one program is gone and that of the next is not there yet.
    Coming,
}

/// Why nothing could be read of its environment.
pub(super) fn no_environment(pid: i32) -> NoEnvironment {
    let line = std::fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = line.rsplit(|byte| *byte == b')').next().unwrap_or_default();
    let fields = String::from_utf8_lossy(after_name);
    // State, the first, is field 3 of the line; vsize is 23, env_start 50, env_end 51.
    let mut fields = fields.split_ascii_whitespace();
    let (vsize, start, end) = (fields.nth(20), fields.nth(26), fields.next());
    match vsize {
        None | Some("0") => NoEnvironment::Never,
        _ if start == end && end != Some("0") => NoEnvironment::Empty,
        _ => NoEnvironment::Coming,
    }
}

/// Whether `pid` descends from `ancestor` (or is it); `None` when `pid` is gone.
///
/// A look at each parent on the way up. A process whose parents ended was given
/// to a subreaper and no longer descends from them; its group still tells.
pub fn is_descendant(pid: i32, ancestor: i32) -> Option<bool> {
    // Deeper trees than this are loops of numbers that were used again.
    const DEPTH_MAX: usize = 64;
    let mut at = stat(pid)?;
    if at.pgrp == ancestor {
        return Some(true);
    }
    for _ in 0..DEPTH_MAX {
        if at.pid == ancestor {
            return Some(true);
        }
        match stat(at.ppid) {
            Some(parent) => at = parent,
            None => return Some(false),
        }
    }
    Some(false)
}

/// The parent of `pid` now; none when it is gone, or has none that is seen from here.
pub fn parent(pid: i32) -> Option<i32> {
    stat(pid).map(|stat| stat.ppid).filter(|parent| *parent > 0)
}

/// The numbers of all processes that `/proc` shows.
pub(super) fn pids() -> Vec<i32> {
    numbers(Path::new("/proc")).unwrap_or_default()
}

/// Our own children, zombies included, whichever thread started them. Reliable as long as only the
/// caller reaps: an exit does not take a child off the list, only reaping does.
///
/// # Errors
/// What open(2) says: EMFILE where this process has no descriptor left. Nobody is no answer then.
pub(super) fn children() -> io::Result<Vec<i32>> {
    let mut found = Vec::new();
    for thread in numbers(Path::new("/proc/self/task"))? {
        match std::fs::read_to_string(format!("/proc/self/task/{thread}/children")) {
            Ok(list) => found.extend(listed(&list)),
            // A kernel without CONFIG_PROC_CHILDREN: look at everyone.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return children_by_scan(),
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Our children that were not started by us but given to us when their parents ended: the kernel gives an orphan to the
/// first living thread of its new parent (find_new_reaper, kernel/exit.c), the main one, and lists a child with the
/// thread that started it or was given it. One short file, whatever else is running.
///
/// # Errors
/// What open(2) says: EMFILE; ENOENT on a kernel without CONFIG_PROC_CHILDREN.
pub(super) fn given_children() -> io::Result<Vec<i32>> {
    let main = std::process::id();
    let list = std::fs::read_to_string(format!("/proc/self/task/{main}/children"))?;
    Ok(listed(&list).collect())
}

fn listed(list: &str) -> impl Iterator<Item = i32> {
    list.split_ascii_whitespace().filter_map(|n| n.parse().ok())
}

fn children_by_scan() -> io::Result<Vec<i32>> {
    let me = i32::try_from(std::process::id()).unwrap_or(0);
    let mut all = numbers(Path::new("/proc"))?;
    all.retain(|pid| stat(*pid).is_some_and(|s| s.ppid == me));
    Ok(all)
}

fn numbers(directory: &Path) -> io::Result<Vec<i32>> {
    let entries = std::fs::read_dir(directory)?;
    Ok(entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn our_own_line_is_understood() {
        let me = i32::try_from(std::process::id()).unwrap();
        let seen = stat(me).unwrap();
        assert_eq!(seen.pid, me);
        assert!(seen.start_time > 0 && seen.ppid > 0 && !seen.is_dead());
        assert!(pids().contains(&me));
    }

    #[test]
    fn why_there_is_no_environment_is_told() {
        let me = i32::try_from(std::process::id()).unwrap();
        assert_eq!(
            no_environment(me),
            NoEnvironment::Coming,
            "as if it had none"
        );
        assert_eq!(no_environment(0), NoEnvironment::Never);
        let mut bare = std::process::Command::new("/bin/sleep");
        let mut bare = bare.arg("60").env_clear().spawn().unwrap();
        let pid = i32::try_from(bare.id()).unwrap();
        // It may be in its execve still, for a moment.
        let begun = std::time::Instant::now();
        while no_environment(pid) != NoEnvironment::Empty {
            assert!(begun.elapsed().as_secs() < 30);
            std::thread::yield_now();
        }
        bare.kill().unwrap();
        bare.wait().unwrap();
    }

    #[test]
    fn a_name_with_blanks_and_parentheses_does_not_confuse() {
        let line = b"812 (a) R (b c) Z 7 6 5 0 -1 4 0 0 0 0 1 2 3 4 20 0 1 0 4711 99 17 0\n";
        let seen = parse_stat(line).unwrap();
        assert_eq!((seen.comm.as_str(), seen.state), ("a) R (b c", 'Z'));
        assert_eq!((seen.ppid, seen.pgrp, seen.start_time), (7, 6, 4711));
        assert_eq!((seen.cpu_ticks, seen.rss_pages), (10, 17));
        assert!(seen.is_dead());
    }

    #[test]
    fn children_are_found_by_list_and_by_scan() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert!(children().unwrap().contains(&pid) && children_by_scan().unwrap().contains(&pid));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!children().unwrap().contains(&pid));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_stat(&bytes);
        }

        #[test]
        fn no_damaged_line_makes_it_panic(at in 0_usize..70, byte in any::<u8>(), cut in 0_usize..75) {
            let mut line = b"812 (a) R (b c) Z 7 6 5 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0\n".to_vec();
            if let Some(place) = line.get_mut(at) { *place = byte; }
            line.truncate(cut);
            let _ = parse_stat(&line);
        }
    }
}
