//! The little that is read of an ELF file (elf(5)): is it one, for which machine, and its build id.
//!
//! The build id is the note NT_GNU_BUILD_ID that linkers write. Only headers and notes are read, each
//! bounded; whatever the bytes are, the answer is a value and never a panic.

use std::fs::File;
use std::os::unix::fs::FileExt;

const MAGIC: &[u8] = b"\x7fELF";
const PT_NOTE: u32 = 4;
const NT_GNU_BUILD_ID: u32 = 3;
/// Program headers looked at, and bytes of one note segment: both far above what linkers write.
const HEADERS_MAX: u16 = 128;
const NOTE_MAX: u64 = 64 * 1024;
const BUILD_ID_MAX: usize = 64;

/// What an ELF header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elf {
    /// `e_machine`: 62 is x86-64, 183 is AArch64, …
    pub machine: u16,
    /// Lower-case hexadecimal; `None` when it was linked without one.
    pub build_id: Option<String>,
}

/// Bytes at a place: a file, or a slice.
trait Source {
    /// Fills `into` from `offset` wholly, or says `None`.
    fn at(&self, offset: u64, into: &mut [u8]) -> Option<()>;
}

impl Source for File {
    fn at(&self, offset: u64, into: &mut [u8]) -> Option<()> {
        self.read_exact_at(into, offset).ok()
    }
}

impl Source for [u8] {
    fn at(&self, offset: u64, into: &mut [u8]) -> Option<()> {
        let from = usize::try_from(offset).ok()?;
        let to = from.checked_add(into.len())?;
        into.copy_from_slice(self.get(from..to)?);
        Some(())
    }
}

/// Reads `file`'s header and notes; `None` when it is no ELF file.
pub(super) fn read(file: &File) -> Option<Elf> {
    parse(file)
}

/// The same over bytes: takes anything.
pub fn fuzz(bytes: &[u8]) -> Option<Elf> {
    parse(bytes)
}

fn parse<S: Source + ?Sized>(source: &S) -> Option<Elf> {
    let mut ident = [0_u8; 20];
    source.at(0, &mut ident)?;
    if !ident.starts_with(MAGIC) {
        return None;
    }
    let layout = Layout {
        wide: ident[4] == 2,
        big: ident[5] == 2,
    };
    let machine = layout.u16(&ident, 18)?;
    Some(Elf {
        machine,
        build_id: build_id(source, layout),
    })
}

/// Class and byte order, by which numbers are read.
#[derive(Clone, Copy)]
struct Layout {
    wide: bool,
    big: bool,
}

impl Layout {
    fn u16(self, bytes: &[u8], at: usize) -> Option<u16> {
        let raw = bytes.get(at..)?.first_chunk::<2>()?;
        Some(if self.big {
            u16::from_be_bytes(*raw)
        } else {
            u16::from_le_bytes(*raw)
        })
    }

    fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        let raw = bytes.get(at..)?.first_chunk::<4>()?;
        Some(if self.big {
            u32::from_be_bytes(*raw)
        } else {
            u32::from_le_bytes(*raw)
        })
    }

    /// A number of the file's own width: 8 bytes at `wide`, or 4 bytes at `narrow`.
    fn word(self, bytes: &[u8], wide: usize, narrow: usize) -> Option<u64> {
        if !self.wide {
            return self.u32(bytes, narrow).map(u64::from);
        }
        let raw = bytes.get(wide..)?.first_chunk::<8>()?;
        Some(if self.big {
            u64::from_be_bytes(*raw)
        } else {
            u64::from_le_bytes(*raw)
        })
    }
}

fn build_id<S: Source + ?Sized>(source: &S, layout: Layout) -> Option<String> {
    let mut header = [0_u8; 64];
    let length = if layout.wide { 64 } else { 52 };
    source.at(0, header.get_mut(..length)?)?;
    let table = layout.word(&header, 32, 28)?;
    let (size_at, count_at) = if layout.wide { (54, 56) } else { (42, 44) };
    let size = layout.u16(&header, size_at)?;
    let count = layout.u16(&header, count_at)?.min(HEADERS_MAX);
    for index in 0..count {
        let mut entry = [0_u8; 56];
        let offset = table.checked_add(u64::from(index) * u64::from(size))?;
        source.at(offset, entry.get_mut(..if layout.wide { 56 } else { 32 })?)?;
        if layout.u32(&entry, 0)? != PT_NOTE {
            continue;
        }
        let offset = layout.word(&entry, 8, 4)?;
        let length = layout.word(&entry, 32, 16)?;
        let align = layout.word(&entry, 48, 28)?;
        if length > NOTE_MAX {
            continue;
        }
        let mut notes = vec![0_u8; usize::try_from(length).ok()?];
        if source.at(offset, &mut notes).is_some()
            && let Some(found) = in_notes(&notes, layout, align)
        {
            return Some(found);
        }
    }
    None
}

fn in_notes(mut notes: &[u8], layout: Layout, align: u64) -> Option<String> {
    let padded = |n: usize| n.checked_next_multiple_of(if align == 8 { 8 } else { 4 });
    loop {
        let name_length = usize::try_from(layout.u32(notes, 0)?).ok()?;
        let length = usize::try_from(layout.u32(notes, 4)?).ok()?;
        let kind = layout.u32(notes, 8)?;
        let name = notes.get(12..)?.get(..name_length)?;
        let start = padded(12_usize.checked_add(name_length)?)?;
        let value = notes.get(start..)?.get(..length)?;
        if kind == NT_GNU_BUILD_ID && name == b"GNU\0" && (1..=BUILD_ID_MAX).contains(&length) {
            return Some(value.iter().map(|b| format!("{b:02x}")).collect());
        }
        notes = notes.get(padded(start.checked_add(length)?)?..)?;
    }
}

/// The machine that this program was built for, and another that its kernel usually runs too.
#[cfg(target_arch = "x86_64")]
const HERE: &[u16] = &[62, 3];
#[cfg(target_arch = "aarch64")]
const HERE: &[u16] = &[183, 40];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const HERE: &[u16] = &[];

/// Whether this machine cannot run it (unknown machines count as fit: the kernel decides).
pub(super) fn is_foreign(machine: u16) -> bool {
    !HERE.is_empty() && !HERE.contains(&machine)
}

/// A machine's usual name.
pub(super) fn machine_name(machine: u16) -> String {
    match machine {
        3 => "x86 (32 bit)".to_owned(),
        8 => "MIPS".to_owned(),
        20 => "PowerPC".to_owned(),
        21 => "PowerPC64".to_owned(),
        22 => "S390".to_owned(),
        40 => "ARM (32 bit)".to_owned(),
        62 => "x86_64".to_owned(),
        183 => "aarch64".to_owned(),
        243 => "RISC-V".to_owned(),
        258 => "LoongArch".to_owned(),
        other => format!("machine {other}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A header, one PT_NOTE and two notes.
    fn specimen(wide: bool, big: bool) -> Vec<u8> {
        let mut bytes = vec![0_u8; 256];
        let mut put = |at: usize, value: u64, width: usize| {
            let raw = value.to_le_bytes();
            for n in 0..width {
                bytes[at + n] = raw[if big { width - 1 - n } else { n }];
            }
        };
        let (word, phdr) = if wide { (8, 64) } else { (4, 52) };
        put(18, 62, 2);
        put(if wide { 32 } else { 28 }, phdr as u64, word);
        put(if wide { 54 } else { 42 }, if wide { 56 } else { 32 }, 2);
        put(if wide { 56 } else { 44 }, 1, 2);
        put(phdr, 4, 4);
        put(phdr + if wide { 8 } else { 4 }, 128, word);
        put(phdr + if wide { 32 } else { 16 }, 40, word);
        put(phdr + if wide { 48 } else { 28 }, 4, word);
        for (at, kind) in [(128, 1), (148, 3)] {
            put(at, 4, 4);
            put(at + 4, 4, 4);
            put(at + 8, kind, 4);
        }
        for (at, text) in [
            (0, MAGIC),
            (140, b"GNU\0"),
            (144, b"\x01\x02\x03\x04"),
            (160, b"GNU\0"),
            (164, b"\xde\xad\xbe\xef"),
        ] {
            bytes[at..at + text.len()].copy_from_slice(text);
        }
        (bytes[4], bytes[5]) = (1 + u8::from(wide), 1 + u8::from(big));
        bytes
    }

    #[test]
    fn both_widths_and_byte_orders_are_read() {
        for (wide, big) in [(true, false), (true, true), (false, false), (false, true)] {
            let seen = fuzz(&specimen(wide, big)).unwrap();
            assert_eq!(
                seen,
                Elf {
                    machine: 62,
                    build_id: Some("deadbeef".to_owned())
                }
            );
        }
        assert_eq!(fuzz(b"#!/bin/sh\n"), None);
        assert_eq!(fuzz(b""), None);
    }

    #[test]
    fn our_own_file_is_for_this_machine() {
        let own = File::open("/proc/self/exe").unwrap();
        assert!(!is_foreign(read(&own).unwrap().machine));
        assert_ne!(is_foreign(183), is_foreign(62));
        assert_eq!(machine_name(183), "aarch64");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = fuzz(&bytes);
        }

        #[test]
        fn no_damage_makes_it_panic(
            wide: bool, big: bool,
            damage in prop::collection::vec((0_usize..256, any::<u8>()), 1..12),
            cut in 0_usize..=256,
        ) {
            let mut bytes = specimen(wide, big);
            for (at, value) in damage { bytes[at] = value; }
            bytes[..4].copy_from_slice(MAGIC);
            bytes.truncate(cut);
            let _ = fuzz(&bytes);
        }
    }
}
