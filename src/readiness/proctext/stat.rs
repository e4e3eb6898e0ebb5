//! `/proc/PID/stat`, `status`, `schedstat` and `children` (proc(5)).

use super::{decimal, lines, words};

/// What the observer takes from a `stat` file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// The command's name; the kernel cuts it to 15 bytes.
    pub comm: String,
    /// `S` sleeping, `R` running, `T` stopped, `Z` a zombie, …
    pub state: u8,
    /// The parent's PID.
    pub parent: i32,
}

/// Parses `PID (COMM) STATE PPID …`; COMM may hold blanks, parentheses and newlines.
pub fn stat(text: &[u8]) -> Option<Stat> {
    let open = text.iter().position(|&byte| byte == b'(')?;
    let close = text.iter().rposition(|&byte| byte == b')')?;
    let comm = String::from_utf8_lossy(text.get(open + 1..close)?).into_owned();
    let mut words = words(text.get(close + 1..)?);
    let &[state] = words.next()? else { return None };
    Some(Stat {
        comm,
        state,
        parent: decimal(words.next()?)?,
    })
}

/// From a `schedstat` file: time spent running in nanoseconds, and how often the thread was
/// put on a processor. `None` on a kernel that does not count (all zero).
pub fn schedule_stat(text: &[u8]) -> Option<(u64, u64)> {
    let mut words = words(text);
    let ran_ns = decimal(words.next()?)?;
    let _waited_ns: u64 = decimal(words.next()?)?;
    let times = decimal(words.next()?)?;
    (times > 0).then_some((ran_ns, times))
}

/// From a `status` file: how often the thread left a processor, of its own will or not.
pub fn run_count(text: &[u8]) -> Option<u64> {
    let field = |name: &[u8]| -> Option<u64> {
        decimal(words(lines(text).find_map(|line| line.strip_prefix(name))?).next()?)
    };
    field(b"voluntary_ctxt_switches:")?.checked_add(field(b"nonvoluntary_ctxt_switches:")?)
}

/// The PIDs in a `children` file.
pub fn children(text: &[u8]) -> impl Iterator<Item = i32> {
    words(text).filter_map(decimal).filter(|&pid| pid > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let parsed = stat(b"812 (a) R (b) S 1 812 812 0").expect("parses");
        assert_eq!(
            (parsed.comm.as_str(), parsed.state, parsed.parent),
            ("a) R (b", b'S', 1)
        );
        assert_eq!(stat(b"812 ) S ( 1"), None);
        assert_eq!(stat(b"812 (x) SS 1"), None);
    }

    #[test]
    fn counts_that_a_kernel_does_not_keep_are_none() {
        assert_eq!(
            schedule_stat(b"46194908 58420 37\n"),
            Some((46_194_908, 37))
        );
        assert_eq!(schedule_stat(b"0 0 0\n"), None);
        assert_eq!(schedule_stat(b"1 2\n"), None);
    }

    #[test]
    fn both_kinds_of_switches_count() {
        let text = b"Name:\tx\nvoluntary_ctxt_switches:\t37\nnonvoluntary_ctxt_switches:\t5\n";
        assert_eq!(run_count(text), Some(42));
        assert_eq!(run_count(b"voluntary_ctxt_switches:\t37\n"), None);
    }

    #[test]
    fn children_are_positive() {
        assert_eq!(children(b"12 -4 0 x 13 \n").collect::<Vec<_>>(), [12, 13]);
    }
}
