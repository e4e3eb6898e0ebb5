//! Frames: from payloads to bytes and back.

/// Bytes before each payload: its length, and its sum.
const HEAD: usize = 4 + 8;

/// No payload is longer: a batch holds what one turn of the master changed, or a whole table of 10,000 workers
/// (some 300 bytes each).
pub(super) const PAYLOAD_MAX: usize = 256 << 20;

/// Appends a frame.
pub(super) fn write(bytes: &mut Vec<u8>, payload: &[u8]) {
    // PAYLOAD_MAX is far below what a u32 holds.
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&sum(payload).to_le_bytes());
    bytes.extend_from_slice(payload);
}

/// What stands at the beginning of `bytes`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<'a> {
    /// A payload, and what follows its frame.
    Frame(&'a [u8], &'a [u8]),
    /// Nothing.
    End,
    /// The beginning of a frame: whoever wrote it was killed in it, or had no room.
    Torn,
    /// No frame, and something after it: this is not how a writer that was killed leaves a file.
    Damaged,
}

/// Reads the first frame of `bytes`.
pub(super) fn read(bytes: &[u8]) -> Next<'_> {
    if bytes.is_empty() {
        return Next::End;
    }
    let Some((length, rest)) = bytes.split_first_chunk() else {
        return Next::Torn;
    };
    let length = u32::from_le_bytes(*length) as usize;
    if length > PAYLOAD_MAX {
        return Next::Damaged;
    }
    let Some((check, rest)) = rest.split_first_chunk() else {
        return Next::Torn;
    };
    let Some((payload, rest)) = rest.split_at_checked(length) else {
        return Next::Torn;
    };
    match u64::from_le_bytes(*check) == sum(payload) {
        true => Next::Frame(payload, rest),
        false if rest.is_empty() => Next::Torn,
        false => Next::Damaged,
    }
}

/// How long the frame of such a payload is.
pub(super) fn length(payload: &[u8]) -> usize {
    HEAD + payload.len()
}

/// FNV-1a, 64 bits: tells bytes that were damaged by accident.
#[must_use]
pub fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
