//! The names that are told to people, and to the agent: of addresses, of refused questions, of answers
//! that could not be read.

use aya_ebpf::{
    btf_maps::{Array, LruHashMap, RingBuf},
    helpers::generated::bpf_probe_read_kernel,
    macros::btf_map,
};
use nsp_common::{
    address::Address,
    learned::{Naming, Wanted},
    name::{BACKWARD_END, KEY_LEN},
};

use super::Reading;

/// The name that each address was in an answer for last.
#[btf_map]
static NAMINGS: LruHashMap<Address, Naming, 32768> = LruHashMap::new();

/// Names that were not to be asked for, by the hash that stands for them in records.
#[btf_map]
static REFUSED_NAMES: LruHashMap<u32, Naming, 4096> = LruHashMap::new();

/// Names that the agent is to ask for.
#[btf_map]
static WANTED: RingBuf<Wanted, { 1 << 17 }> = RingBuf::new();

/// When the agent was last asked for a name, coarse monotonic ns.
#[btf_map]
static WANTED_AT: Array<u64, 1> = Array::new();

/// Copies the key of the asked name.
#[inline(always)]
fn copy_key(reading: &Reading, to: *mut [u8; KEY_LEN]) {
    let start = (reading.walk.key_start & BACKWARD_END) as usize;
    let from: *const u8 = &raw const reading.key.bytes[start];
    // SAFETY: as many bytes lie behind every start (BACKWARD_LEN), and `to` has room for them.
    let _copied = unsafe { bpf_probe_read_kernel(to.cast(), KEY_LEN as u32, from.cast()) };
}

/// Fills in the name of a reading, for [`name_address`] and [`refuse`].
#[inline(always)]
pub(crate) fn set_naming(reading: &mut Reading, unit: u32, source: u8, at_s: u32) {
    reading.naming.at_s = at_s;
    reading.naming.unit = unit;
    reading.naming.length = reading.walk.key_len();
    reading.naming.source = source;
    reading.naming._pad = 0;
    let to = &raw mut reading.naming.key;
    copy_key(reading, to);
}

/// Calls an address by the name of the reading.
#[inline(always)]
pub(crate) fn name_address(address: &Address, reading: &Reading) {
    // Only people miss it.
    let _named = NAMINGS.insert(address, &reading.naming, 0);
}

/// Remembers a name that was refused.
#[inline(always)]
pub(crate) fn refuse(hash: u32, reading: &Reading) {
    // Only people miss it.
    let _named = REFUSED_NAMES.insert(&hash, &reading.naming, 0);
}

/// When the agent was last asked for a name.
#[inline(always)]
pub(crate) fn wanted_at() -> u64 {
    WANTED_AT.get(0).copied().unwrap_or(0)
}

/// Asks the agent for the name of the reading; false when the ring is full.
#[inline(always)]
pub(crate) fn want(reading: &mut Reading, why: u8, now_ns: u64) -> bool {
    if let Some(at) = WANTED_AT.get_ptr_mut(0) {
        // SAFETY: an aligned word of a map value, not null: a plain store, the last one counts.
        unsafe { at.write_volatile(now_ns) };
    }
    reading.wanted.unit = reading.asked.unit;
    reading.wanted.length = reading.walk.key_len();
    reading.wanted.why = why;
    reading.wanted._pad = [0; 5];
    let to = &raw mut reading.wanted.key;
    copy_key(reading, to);
    WANTED.output(&reading.wanted, 0).is_ok()
}
