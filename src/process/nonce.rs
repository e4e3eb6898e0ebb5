//! What marks a process and all that it starts: a random value in a variable of its environment, which a child
//! inherits wherever it goes, unless it gives its environment up.

use std::fs::File;
use std::io::Read;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::rand::{GetRandomFlags, getrandom};

use super::procfs::{self, NoEnvironment};

/// The kernel gives arguments and environment at most 6 MiB (three quarters of 8 MiB, execve(2)).
const ENVIRON_MAX: u64 = 6 << 20;

/// So much of it is read at once, in bytes.
const PIECE: usize = 16 * 1024;
/// In the middle of its `execve` a process has no environment for a moment, and is looked at again.
const EXECUTING_MAX: usize = 20;
const EXECUTING_EVERY: Duration = Duration::from_micros(50);
/// An environment that is empty so often stays so.
const EMPTY_MAX: usize = 3;

/// Whose mark it is. One process may carry both: a service may be started by a hook of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A worker's.
    Worker,
    /// That of a command that runs beside the workers for a moment.
    Errand,
}

impl Mark {
    /// The variable that holds it.
    pub const fn variable(self) -> &'static str {
        match self {
            Self::Worker => "HANDOVER_NONCE",
            Self::Errand => "HANDOVER_ERRAND",
        }
    }

    /// The one that this process carries, as far as we may read its environment.
    pub(super) fn of(self, pid: i32) -> Option<String> {
        self.of_within(pid, EXECUTING_MAX)
    }

    /// The same after one look, which waits for nothing: who is in the middle of its `execve` seems to carry none.
    pub fn glimpse(self, pid: i32) -> Option<String> {
        self.of_within(pid, 1)
    }

    fn of_within(self, pid: i32, looks: usize) -> Option<String> {
        let mut empty = 0;
        for look in 1..=looks {
            let mut file = File::open(format!("/proc/{pid}/environ")).ok()?;
            // In one piece as a rule: what is read later may be that of the next program.
            let mut first = vec![0; PIECE];
            let length = file.read(&mut first).ok()?;
            first.truncate(length);
            if length > 0 {
                return find(
                    self.variable(),
                    first.as_slice().chain(file.take(ENVIRON_MAX)),
                );
            }
            match procfs::no_environment(pid) {
                NoEnvironment::Never => return None,
                NoEnvironment::Empty => empty += 1,
                NoEnvironment::Coming => {}
            }
            if empty >= EMPTY_MAX || look == looks {
                return None;
            }
            thread::sleep(EXECUTING_EVERY);
        }
        None
    }
}

/// 128 random bits, in hex.
pub fn nonce() -> String {
    let mut bytes = [0_u8; 16];
    // Without the pool (early boot) it is still unique enough to mark with.
    if getrandom(&mut bytes, GetRandomFlags::empty()).is_err() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_nanos() << 32;
        bytes = (now | u128::from(std::process::id())).to_le_bytes();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The value of the first `variable` in an environment block. Reads in pieces: most have it in the first. A
/// value may be at most 256 bytes.
fn find(variable: &str, mut from: impl Read) -> Option<String> {
    const VALUE_MAX: usize = 256;
    let mut held: Vec<u8> = Vec::new();
    let mut starts_entry = true;
    loop {
        let old = held.len();
        held.resize(old + PIECE, 0);
        let got = from.read(held.get_mut(old..)?).ok()?;
        held.truncate(old + got);
        let end = got == 0;
        // Take whole entries off the front; the last, perhaps unfinished, one stays.
        while let Some(length) = held
            .iter()
            .position(|b| *b == 0)
            .or((end && !held.is_empty()).then_some(held.len()))
        {
            let value = held
                .get(..length)?
                .strip_prefix(variable.as_bytes())
                .and_then(|rest| rest.strip_prefix(b"="))
                .filter(|v| starts_entry && v.len() <= VALUE_MAX);
            if let Some(value) = value {
                return String::from_utf8(value.to_vec()).ok();
            }
            held.drain(..(length + 1).min(held.len()));
            starts_entry = true;
        }
        if end {
            return None;
        }
        // An entry too long to be ours: forget it up to its end.
        if held.len() > variable.len() + 1 + VALUE_MAX {
            held.clear();
            starts_entry = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use proptest::prelude::*;

    use super::*;

    /// Hands out at most `1..` bytes at a time.
    struct Dribble<'a>(&'a [u8], usize);

    impl Read for Dribble<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let n = self.0.len().min(self.1).min(into.len());
            into[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    proptest! {
        #[test]
        fn a_nonce_is_found_wherever_it_stands(
            before in prop::collection::vec("[A-Z]{1,8}=[a-z]{0,600}", 0..20),
            after in prop::collection::vec("[A-Z]{1,8}=[a-z]{0,600}", 0..5),
            nonce in "[0-9a-f]{1,32}",
            there: bool,
            step in 1_usize..20_000,
        ) {
            let mut entries = before;
            entries.push(format!("X_HANDOVER_NONCE={nonce}x"));
            if there { entries.push(format!("HANDOVER_NONCE={nonce}")); }
            entries.extend(after);
            let mut block = entries.join("\0").into_bytes();
            block.push(0);
            prop_assert_eq!(find("HANDOVER_NONCE", Dribble(&block, step)), there.then_some(nonce));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000), step in 1_usize..50) {
            let _ = find("HANDOVER_NONCE", Dribble(&bytes, step));
        }
    }
}
