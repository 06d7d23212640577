//! Counters, access records, events, and the budget of ICMP errors.

use aya_ebpf::{
    Global,
    bindings::BPF_F_MMAPABLE,
    btf_maps::{Array, HashMap, PerCpuArray, RingBuf},
    macros::btf_map,
};
use nsp_common::{
    decide::IcmpBudget,
    event::{
        COUNTERS as COUNTER_COUNT, Counter, Event, Full, Grain, NEAR_ROWS, Near, Record, RecordKey,
    },
};

use crate::atomic::add as add_word;

const MMAPABLE: usize = BPF_F_MMAPABLE as usize;

/// Exact counters, never reset: by reason, direction and verdict; by category; of losses.
#[btf_map]
static COUNTERS: PerCpuArray<Counter, { COUNTER_COUNT as usize }> = PerCpuArray::new();

/// Access records being filled in even epochs, drained in odd ones.
#[btf_map]
static RECORDS_EVEN: HashMap<RecordKey, Record, 16384> = HashMap::new();

/// Access records being filled in odd epochs.
#[btf_map]
static RECORDS_ODD: HashMap<RecordKey, Record, 16384> = HashMap::new();

/// Records by network of even epochs: room that a flood of sources cannot take from the others.
#[btf_map]
static COARSE_EVEN: HashMap<RecordKey, Record, 4096> = HashMap::new();

/// Records by network of odd epochs.
#[btf_map]
static COARSE_ODD: HashMap<RecordKey, Record, 4096> = HashMap::new();

/// The last resort of even epochs: a row for "many sources" for each thing a policy can say.
#[btf_map]
static MANY_EVEN: HashMap<RecordKey, Record, 4096> = HashMap::new();

/// The last resort of odd epochs.
#[btf_map]
static MANY_ODD: HashMap<RecordKey, Record, 4096> = HashMap::new();

/// The same at hand, a set of rows an epoch: of what comes in by the million each processor has a row of its
/// own, which takes no atomic addition and no hash of a long key. Programs of the cgroups, which others
/// interrupt, do not use them.
#[btf_map]
static NEAR: PerCpuArray<Near, { (2 * NEAR_ROWS) as usize }> = PerCpuArray::new();

/// How full the tables are: what is not there is not looked for a place again.
#[btf_map]
static FULL: Array<Full, 1, MMAPABLE> = Array::new();

/// The first packet of each record.
#[btf_map]
static EVENTS: RingBuf<Event, { 1 << 20 }> = RingBuf::new();

/// Records that what others send and is denied may begin. The agent sets it to a part of the table.
#[unsafe(no_mangle)]
static STRANGERS_MAX: Global<u32> = Global::new(12288);
/// The same of networks.
#[unsafe(no_mangle)]
static STRANGER_NETWORKS_MAX: Global<u32> = Global::new(3072);

/// Tokens for ICMP errors that pass, one bucket a processor and kind.
#[btf_map]
static ICMP_BUDGETS: PerCpuArray<Bucket, 2> = PerCpuArray::new();

/// A token bucket.
#[repr(C)]
pub(crate) struct Bucket {
    /// When it was filled last.
    pub(crate) filled_ns: u64,
    /// Tokens left.
    pub(crate) tokens: u64,
}

/// This processor's counter.
#[inline(always)]
pub(crate) fn counter(index: u32) -> Option<*mut Counter> {
    COUNTERS.get_ptr_mut(index)
}

/// This processor's bucket of ICMP errors.
#[inline(always)]
pub(crate) fn icmp_budget(budget: IcmpBudget) -> Option<*mut Bucket> {
    ICMP_BUDGETS.get_ptr_mut(budget as u32)
}

/// The record with this key in the epoch's table of that grain.
#[inline(always)]
pub(crate) fn record(odd: bool, grain: Grain, key: &RecordKey) -> Option<*mut Record> {
    match (odd, grain) {
        (false, Grain::Address) => RECORDS_EVEN.get_ptr_mut(key),
        (true, Grain::Address) => RECORDS_ODD.get_ptr_mut(key),
        (false, Grain::Network) => COARSE_EVEN.get_ptr_mut(key),
        (true, Grain::Network) => COARSE_ODD.get_ptr_mut(key),
        (false, Grain::Many) => MANY_EVEN.get_ptr_mut(key),
        (true, Grain::Many) => MANY_ODD.get_ptr_mut(key),
    }
}

/// Makes a record unless there is one.
#[inline(always)]
pub(crate) fn put_record(
    odd: bool,
    grain: Grain,
    key: &RecordKey,
    record: &Record,
) -> Result<(), i32> {
    const NOT_YET: u64 = aya_ebpf::bindings::BPF_NOEXIST as u64;
    match (odd, grain) {
        (false, Grain::Address) => RECORDS_EVEN.insert(key, record, NOT_YET),
        (true, Grain::Address) => RECORDS_ODD.insert(key, record, NOT_YET),
        (false, Grain::Network) => COARSE_EVEN.insert(key, record, NOT_YET),
        (true, Grain::Network) => COARSE_ODD.insert(key, record, NOT_YET),
        (false, Grain::Many) => MANY_EVEN.insert(key, record, NOT_YET),
        (true, Grain::Many) => MANY_ODD.insert(key, record, NOT_YET),
    }
}

/// This processor's near row of a key of many sources.
#[inline(always)]
pub(crate) fn near(odd: bool, key: &RecordKey) -> Option<*mut Near> {
    NEAR.get_ptr_mut(key.near_row() + if odd { NEAR_ROWS } else { 0 })
}

/// Whether a table of an epoch has no room: for what others send and is denied (`is_stranger`), or at all.
#[inline(always)]
pub(crate) fn is_full(odd: bool, grain: Grain, is_stranger: bool) -> bool {
    let Some(full) = FULL.get(0) else { return false };
    full.grains[odd as usize][grain as usize & 1] != 0
        || is_stranger && full.strangers[odd as usize][grain as usize & 1] >= strangers_max(grain)
}

/// How many records of an epoch what others send and is denied may begin.
#[inline(always)]
fn strangers_max(grain: Grain) -> u64 {
    let max = if matches!(grain, Grain::Address) { &STRANGERS_MAX } else { &STRANGER_NETWORKS_MAX };
    u64::from(max.load())
}

/// Counts one that it has begun.
#[inline(always)]
pub(crate) fn count_stranger(odd: bool, grain: Grain) {
    if let Some(full) = FULL.get_ptr_mut(0) {
        // SAFETY: an aligned word of a map value, not null; its place is masked.
        unsafe { add_word(&raw mut (*full).strangers[odd as usize][grain as usize & 1], 1) };
    }
}

/// Remembers that it is.
#[inline(always)]
pub(crate) fn set_full(odd: bool, grain: Grain) {
    if let Some(full) = FULL.get_ptr_mut(0) {
        // SAFETY: a map value, not null; whoever stores stores the same.
        unsafe { (*full).grains[odd as usize][grain as usize & 1] = 1 };
    }
}

/// Sends an event; false when the ring is full.
#[inline(always)]
pub(crate) fn send(event: &Event) -> bool {
    EVENTS.output(event, 0).is_ok()
}
