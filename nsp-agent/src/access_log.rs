//! The access log: records of the kernel programs as JSON Lines with Azure's column names.
//!
//! ```text
//! RecordKey, Record ─┐
//! Catalogue ─────────┼─► AccessRecord ──► Writer ──► Sink ──► file, file.1, ...
//! Clock ─────────────┘                                           │
//!                         human line ◄── AccessRecord ◄── Log ◄──┘
//! ```
//!
//! - [`record`] is the row, [`catalogue`] the words for its numbers, [`clock`] its times.
//! - [`sink`] writes rows and counts what it loses; [`writer`] keeps that off the daemon's loop.
//! - [`read`] reads them back, [`mod@line`] shows one to people.
//!
//! **Invariant:** logging never blocks and never fails the agent. What cannot be written is lost
//! and counted, lines and the packets in them, so that the sums still come out.

pub mod catalogue;
pub mod clock;
mod describe;
mod escape;
pub mod line;
pub mod read;
pub mod record;
#[cfg(test)]
mod sample;
pub mod sink;
pub mod writer;

/// Where the log is when nobody says otherwise.
pub const DEFAULT: &str = "/var/log/nsp/access.jsonl";
