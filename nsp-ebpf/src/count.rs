//! The exact counters.

use nsp_common::{
    event::{Loss, loss_counter},
    packet::Packet,
};

use crate::{atomic::add as add_word, maps};

/// Counts a packet and its bytes.
#[inline(always)]
pub(crate) fn count(index: u32, packet: &Packet) {
    if let Some(counter) = maps::counter(index) {
        // SAFETY: per-processor memory of the map's value type, not null. A program of another hook may
        // interrupt this one, so the additions are atomic on this processor.
        unsafe {
            add_word(&raw mut (*counter).packets, 1);
            add_word(&raw mut (*counter).bytes, u64::from(packet.length));
        }
    }
}

/// The same where nobody can come in between ([`crate::maps::Hook::is_alone`]).
#[inline(always)]
pub(crate) fn count_alone(index: u32, packet: &Packet) {
    if let Some(counter) = maps::counter(index) {
        // SAFETY: as above; one addition after the other.
        unsafe {
            (*counter).packets += 1;
            (*counter).bytes += u64::from(packet.length);
        }
    }
}

/// Counts what could not be kept.
#[inline(always)]
pub(crate) fn lose(loss: Loss, packet: &Packet) {
    count(loss_counter(loss), packet);
}
