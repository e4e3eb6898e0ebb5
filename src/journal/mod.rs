//! What a master must know of the one before it, on a file that a `kill -9` cannot tear.
//!
//! Knows: a table of small values by key, an append-only file that holds it, and the state of the fleet as such
//! values. Must not know: processes, descriptors, what is done with the state that was read.
//!
//! The file is a sequence of frames: length (u32, little endian), FNV-1a over the payload (u64, little endian),
//! payload. The first payload says who wrote the rest, in which format; each further one is a batch of changes
//! that count together or not at all. Payloads are CBOR (RFC 8949) in maps with numbered keys, so that a later
//! version reads what an earlier one wrote, and an earlier one leaves out what it does not know.
//!
//! | file | idea |
//! |---|---|
//! | `frame` | from payloads to bytes and back; what a torn tail is |
//! | `table` | values by key, and the changes that lead to them |
//! | `file` | appends, compacts by rename |
//! | `fleet` | the fleet as values |
//! | [`state`] | what a master keeps beside the fleet |
//! | `records`, `numbers` | their fields, and their words as numbers |

mod file;
mod fleet;
mod frame;
mod numbers;
mod records;
pub mod state;
mod table;
#[cfg(test)]
mod tests;

pub use file::{Found, Journal, Unreadable};
pub use fleet::{Mirror, Misread, Saved, saved};
pub use frame::sum;
pub use table::{Key, Table};
