//! Every map, with why it is there, and safe accessors over them.
//!
//! Tables that belong to a generation are arrays of `SLOTS` equal parts; the agent writes a part
//! that nobody reads and then changes one word ([`control`]). Tables that live across generations
//! (conversations, learned addresses, routes) hold interned identities only.

use aya_ebpf::{
    Global,
    bindings::BPF_F_MMAPABLE,
    btf_maps::{
        Array, ArrayOfMaps, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf,
        lpm_trie::Key,
    },
    macros::btf_map,
};
use nsp_common::{
    address::{Address, Family},
    class::{Cell, Class, PortEntry, PortTable},
    decide::Decision,
    event::{COUNTERS as COUNTER_COUNT, Counter, Event, Record, RecordKey},
    flow::{Flow, FlowKey, FlowKeyV4},
    generation::{ASSOCIATIONS_MAX, Association, Control, Generation, SLOTS},
    learned::Learned,
    link::Link,
    packet::Packet,
    selector::Selector,
};

use crate::barrier;

const MMAPABLE: usize = BPF_F_MMAPABLE as usize;
const SLOT_COUNT: usize = SLOTS as usize;

/// Capacities of the parts of one slot. The agent sets them, and the maps' sizes with them, from
/// the first policy and a margin before it loads the object.
#[unsafe(no_mangle)]
static CLASS_CAPACITY: Global<u32> = Global::new(1024);
#[unsafe(no_mangle)]
static CELL_CAPACITY: Global<u32> = Global::new(4096);
#[unsafe(no_mangle)]
static ROW_CAPACITY: Global<u32> = Global::new(4096);
#[unsafe(no_mangle)]
static RULE_CAPACITY: Global<u32> = Global::new(1024);
#[unsafe(no_mangle)]
static NAME_CAPACITY: Global<u32> = Global::new(1024);

/// The word that makes a generation current, and the epoch of the records.
#[btf_map]
static CONTROL: Array<Control, 1, MMAPABLE> = Array::new();

/// Header of each slot's generation.
#[btf_map]
static GENERATIONS: Array<Generation, SLOT_COUNT, MMAPABLE> = Array::new();

/// Associations by identity, a part a slot.
#[btf_map]
static ASSOCIATIONS: Array<Association, { (SLOTS * ASSOCIATIONS_MAX) as usize }, MMAPABLE> =
    Array::new();

/// One port table a slot.
#[btf_map]
static PORTS: Array<PortTable, SLOT_COUNT, MMAPABLE> = Array::new();

/// Address classes, a part a slot.
#[btf_map]
static CLASSES: Array<Class, 4096, MMAPABLE> = Array::new();

/// The comb of (class, lane), a part a slot.
#[btf_map]
static CELLS: Array<Cell, 16384, MMAPABLE> = Array::new();

/// Rows of rule numbers by port class, a part a slot.
#[btf_map]
static ROWS: Array<u32, 16384, MMAPABLE> = Array::new();

/// Identities of rules, a part a slot.
#[btf_map]
static RULES: Array<u32, 4096, MMAPABLE> = Array::new();

/// Classes of names by identity, a part a slot.
#[btf_map]
static NAME_CLASSES: Array<u32, 4096, MMAPABLE> = Array::new();

type TrieV4 = LpmTrie<[u8; 4], u32, 1>;
type TrieV6 = LpmTrie<[u8; 16], u32, 1>;

/// Address to class, IPv4: one trie a slot, put in when it is full (reference engine).
#[btf_map]
static ADDRESSES_V4: ArrayOfMaps<TrieV4, SLOT_COUNT> = ArrayOfMaps::new();

/// Address to class, IPv6.
#[btf_map]
static ADDRESSES_V6: ArrayOfMaps<TrieV6, SLOT_COUNT> = ArrayOfMaps::new();

/// Resources by address, interface and cgroup.
#[btf_map]
static SELECTORS: HashMap<Selector, u32, 16384> = HashMap::new();

/// Resolvers and platform endpoints: few, live.
#[btf_map]
static ENDPOINTS: HashMap<Address, u32, 256> = HashMap::new();

/// Which link groups this host routes to a prefix by: one bit a group, in two halves because a trie
/// aligns values to four bytes.
#[btf_map]
static ROUTES_V4: LpmTrie<[u8; 4], [u32; 2], 65536> = LpmTrie::new();

/// As `ROUTES_V4`.
#[btf_map]
static ROUTES_V6: LpmTrie<[u8; 16], [u32; 2], 65536> = LpmTrie::new();

/// Devices by index.
#[btf_map]
static LINKS: HashMap<u32, Link, 1024> = HashMap::new();

/// Names of learned IPv4 addresses.
#[btf_map]
static LEARNED_V4: HashMap<[u8; 4], Learned, 16384> = HashMap::new();

/// Names of learned IPv6 addresses.
#[btf_map]
static LEARNED_V6: HashMap<[u8; 16], Learned, 16384> = HashMap::new();

/// Conversations only one end of which is proven. A flood turns this table over and nothing else.
#[btf_map]
static PENDING_V4: LruHashMap<FlowKeyV4, Flow, 65536> = LruHashMap::new();

/// As `PENDING_V4`.
#[btf_map]
static PENDING_V6: LruHashMap<FlowKey, Flow, 65536> = LruHashMap::new();

/// Conversations both ends of which have spoken. Nothing is ever evicted.
#[btf_map]
static FLOWS_V4: HashMap<FlowKeyV4, Flow, 262144> = HashMap::new();

/// As `FLOWS_V4`.
#[btf_map]
static FLOWS_V6: HashMap<FlowKey, Flow, 65536> = HashMap::new();

/// Key of a fragmented datagram (RFC 791, RFC 8200 4.5).
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct FragmentKey {
    remote: Address,
    local: Address,
    id: u32,
    protocol: u32,
}

/// Heads of fragmented datagrams that passed: their tails follow them.
#[btf_map]
static FRAGMENTS: LruHashMap<FragmentKey, Flow, 8192> = LruHashMap::new();

/// Exact counters, never reset: by reason, direction and verdict; by category; of losses.
#[btf_map]
static COUNTERS: PerCpuArray<Counter, { COUNTER_COUNT as usize }> = PerCpuArray::new();

/// Access records being filled in even epochs, drained in odd ones.
#[btf_map]
static RECORDS_EVEN: HashMap<RecordKey, Record, 16384> = HashMap::new();

/// Access records being filled in odd epochs.
#[btf_map]
static RECORDS_ODD: HashMap<RecordKey, Record, 16384> = HashMap::new();

/// Collapsed records of even epochs: room that a flood of sources cannot take from the others.
#[btf_map]
static COARSE_EVEN: HashMap<RecordKey, Record, 4096> = HashMap::new();

/// Collapsed records of odd epochs.
#[btf_map]
static COARSE_ODD: HashMap<RecordKey, Record, 4096> = HashMap::new();

/// The first packet of each record.
#[btf_map]
static EVENTS: RingBuf<Event, { 1 << 20 }> = RingBuf::new();

/// What a program works on: too large for its stack of 512 bytes.
#[repr(C)]
pub(crate) struct Work {
    /// The packet being judged.
    pub(crate) packet: Packet,
    /// The generation that judges it.
    pub(crate) generation: u32,
    /// When: coarse monotonic ns.
    pub(crate) now_ns: u64,
    /// Its record's key, as an event.
    pub(crate) event: Event,
    /// The record it would begin.
    pub(crate) record: Record,
    /// What was decided of it.
    pub(crate) decision: Decision,
    /// One when the records of odd epochs are being filled.
    pub(crate) odd_epoch: u32,
    /// Where the parser forgets offsets.
    pub(crate) cursor: u32,
}

/// One work place a program, for programs of different hooks may interrupt each other on a
/// processor. A map's memory has another use: the verifier forgets how each field came about and
/// does not walk every way of the parser twice.
#[btf_map]
static SCRATCH: PerCpuArray<Work, 4> = PerCpuArray::new();

/// Tokens for ICMP errors that pass, one bucket a processor.
#[btf_map]
static ICMP_BUDGET: PerCpuArray<IcmpBudget, 1> = PerCpuArray::new();

/// A token bucket.
#[repr(C)]
pub(crate) struct IcmpBudget {
    /// When it was filled last.
    pub(crate) filled_ns: u64,
    /// Tokens left.
    pub(crate) tokens: u64,
}

/// Who uses a scratch place.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Hook {
    Xdp = 0,
    Ingress = 1,
    Egress = 2,
    Explain = 3,
}

/// The work place of a hook, its packet emptied.
#[inline(always)]
pub(crate) fn scratch(hook: Hook) -> Option<&'static mut Work> {
    let pointer = SCRATCH.get_ptr_mut(hook as u32)?;
    // SAFETY: per-processor memory of the map's value type; programs of one hook do not interrupt
    // each other, so nobody else holds it.
    let work = unsafe { &mut *pointer };
    work.packet = Packet::EMPTY;
    Some(work)
}

/// The shared control words.
#[inline(always)]
pub(crate) fn control() -> Option<&'static Control> {
    CONTROL.get(0)
}

/// Header of a slot.
#[inline(always)]
pub(crate) fn generation(slot: u32) -> Generation {
    match GENERATIONS.get(slot) {
        Some(generation) => *generation,
        None => Generation::EMPTY,
    }
}

/// One association.
#[inline(always)]
pub(crate) fn association(slot: u32, number: u16) -> Association {
    if u32::from(number) >= ASSOCIATIONS_MAX {
        return Association::EMPTY;
    }
    match ASSOCIATIONS.get(slot * ASSOCIATIONS_MAX + u32::from(number)) {
        Some(association) => *association,
        None => Association::EMPTY,
    }
}

/// What the policy says of a port.
#[inline(always)]
pub(crate) fn port(slot: u32, protocol: u8, port: u16) -> PortEntry {
    match PORTS.get(slot) {
        Some(table) => table.entry(protocol, port),
        None => PortEntry { class: 0, association: 0 },
    }
}

/// Index of entry `at` of a slot's part, or `None` when it is beyond the part.
#[inline(always)]
fn part(slot: u32, capacity: &Global<u32>, at: u32) -> Option<u32> {
    let capacity = capacity.load();
    if at >= capacity { None } else { Some(slot * capacity + at) }
}

/// One class.
#[inline(always)]
pub(crate) fn class(slot: u32, number: u32) -> Option<Class> {
    CLASSES.get(part(slot, &CLASS_CAPACITY, number)?).copied()
}

/// One cell of the comb.
#[inline(always)]
pub(crate) fn cell(slot: u32, at: u32) -> Option<Cell> {
    CELLS.get(part(slot, &CELL_CAPACITY, at)?).copied()
}

/// One rule number of the rows.
#[inline(always)]
pub(crate) fn row(slot: u32, at: u32) -> Option<u32> {
    ROWS.get(part(slot, &ROW_CAPACITY, at)?).copied()
}

/// The identity of a rule.
#[inline(always)]
pub(crate) fn rule_identity(slot: u32, number: u32) -> Option<u32> {
    RULES.get(part(slot, &RULE_CAPACITY, number)?).copied()
}

/// The class of a name.
#[inline(always)]
pub(crate) fn name_class(slot: u32, name: u32) -> Option<u32> {
    NAME_CLASSES.get(part(slot, &NAME_CAPACITY, name)?).copied()
}

/// The class number of an address, by the slot's trie.
#[inline(always)]
pub(crate) fn class_of(slot: u32, address: &Address, family: Family) -> Option<u32> {
    match family {
        Family::V4 => {
            let key = Key::new(32, address.v4_octets());
            ADDRESSES_V4.get(slot)?.get(&key).copied()
        }
        Family::V6 => {
            let key = Key::new(128, address.octets);
            ADDRESSES_V6.get(slot)?.get(&key).copied()
        }
    }
}

/// The link groups this host routes to an address by.
#[inline(always)]
pub(crate) fn route_groups(address: &Address, family: Family) -> u64 {
    let halves = match family {
        Family::V4 => ROUTES_V4.get(&Key::new(32, address.v4_octets())),
        Family::V6 => ROUTES_V6.get(&Key::new(128, address.octets)),
    };
    match halves {
        Some([low, high]) => u64::from(*low) | u64::from(*high) << 32,
        None => 0,
    }
}

/// Copies out of a hash map: the entry may be reused at any time, a copy is at worst torn between
/// two valid values of plain integers.
macro_rules! copied {
    ($map:expr, $key:expr) => {
        // SAFETY: the reference ends with the copy; values are plain integers, see above.
        unsafe { $map.get($key) }.copied()
    };
}

/// The association a selector leads to.
#[inline(always)]
pub(crate) fn select(selector: &Selector) -> u16 {
    copied!(SELECTORS, selector).unwrap_or(0) as u16
}

/// Duties of an address.
#[inline(always)]
pub(crate) fn endpoint(address: &Address) -> u32 {
    copied!(ENDPOINTS, address).unwrap_or(0)
}

/// One device.
#[inline(always)]
pub(crate) fn link(ifindex: u32) -> Option<Link> {
    copied!(LINKS, &ifindex)
}

/// The names of an address.
#[inline(always)]
pub(crate) fn learned(address: &Address, family: Family) -> Option<&'static Learned> {
    // SAFETY: plain integers in a map value. An entry that is written meanwhile shows an old or a
    // new name with an old or a new end, each of which was right a moment ago.
    unsafe {
        match family {
            Family::V4 => LEARNED_V4.get(&address.v4_octets()),
            Family::V6 => LEARNED_V6.get(&address.octets),
        }
    }
}

/// Where a conversation was found. Two plain words: the verifier follows no pointer that the
/// compiler has packed into an `Option` of a pair.
#[derive(Clone, Copy)]
pub(crate) struct Found {
    /// Its entry, or null.
    pub(crate) flow: *mut Flow,
    /// Whether both ends are proven.
    pub(crate) is_proven: bool,
}

/// The entry of a conversation, proven ones first.
#[inline(always)]
pub(crate) fn flow(key: &FlowKey) -> Found {
    if key.is_v4() {
        let key = key.v4();
        match FLOWS_V4.get_ptr_mut(&key) {
            Some(flow) => Found { flow: kept(flow), is_proven: true },
            None => Found { flow: or_null(PENDING_V4.get_ptr_mut(&key)), is_proven: false },
        }
    } else {
        match FLOWS_V6.get_ptr_mut(key) {
            Some(flow) => Found { flow: kept(flow), is_proven: true },
            None => Found { flow: or_null(PENDING_V6.get_ptr_mut(key)), is_proven: false },
        }
    }
}

/// The same pointer, out of reach of the compiler, which would mask it against null with arithmetic
/// that the verifier refuses on pointers.
#[inline(always)]
fn kept<T>(pointer: *mut T) -> *mut T {
    barrier::opaque(pointer as usize) as *mut T
}

#[inline(always)]
fn or_null<T>(pointer: Option<*mut T>) -> *mut T {
    match pointer {
        Some(pointer) => kept(pointer),
        None => core::ptr::null_mut(),
    }
}

/// Puts a conversation among the unproven, or among the proven.
#[inline(always)]
pub(crate) fn put_flow(key: &FlowKey, flow: &Flow, proven: bool) -> Result<(), i32> {
    match (key.is_v4(), proven) {
        (true, true) => FLOWS_V4.insert(&key.v4(), flow, 0),
        (true, false) => PENDING_V4.insert(&key.v4(), flow, 0),
        (false, true) => FLOWS_V6.insert(key, flow, 0),
        (false, false) => PENDING_V6.insert(key, flow, 0),
    }
}

/// Takes a conversation out of the unproven (`proven` false) or the proven.
#[inline(always)]
pub(crate) fn remove_flow(key: &FlowKey, proven: bool) {
    // Whether it was still there does not matter.
    let _gone = match (key.is_v4(), proven) {
        (true, true) => FLOWS_V4.remove(&key.v4()),
        (true, false) => PENDING_V4.remove(&key.v4()),
        (false, true) => FLOWS_V6.remove(key),
        (false, false) => PENDING_V6.remove(key),
    };
}

impl FragmentKey {
    #[inline(always)]
    fn of(packet: &Packet) -> Self {
        Self {
            remote: packet.key.remote,
            local: packet.key.local,
            id: packet.fragment_id,
            protocol: u32::from(packet.key.protocol),
        }
    }
}

/// What became of the head of a fragment.
#[inline(always)]
pub(crate) fn fragment_head(packet: &Packet) -> Option<Flow> {
    copied!(FRAGMENTS, &FragmentKey::of(packet))
}

/// Remembers that the head of a fragmented datagram passed.
#[inline(always)]
pub(crate) fn put_fragment_head(packet: &Packet, flow: &Flow) -> Result<(), i32> {
    FRAGMENTS.insert(&FragmentKey::of(packet), flow, 0)
}

/// This processor's counter.
#[inline(always)]
pub(crate) fn counter(index: u32) -> Option<*mut Counter> {
    COUNTERS.get_ptr_mut(index)
}

/// This processor's bucket of ICMP errors.
#[inline(always)]
pub(crate) fn icmp_budget() -> Option<*mut IcmpBudget> {
    ICMP_BUDGET.get_ptr_mut(0)
}

/// The record with this key in the epoch's tables.
#[inline(always)]
pub(crate) fn record(odd: bool, coarse: bool, key: &RecordKey) -> Option<*mut Record> {
    match (odd, coarse) {
        (false, false) => RECORDS_EVEN.get_ptr_mut(key),
        (true, false) => RECORDS_ODD.get_ptr_mut(key),
        (false, true) => COARSE_EVEN.get_ptr_mut(key),
        (true, true) => COARSE_ODD.get_ptr_mut(key),
    }
}

/// Makes a record unless there is one.
#[inline(always)]
pub(crate) fn put_record(
    odd: bool,
    coarse: bool,
    key: &RecordKey,
    record: &Record,
) -> Result<(), i32> {
    const NOT_YET: u64 = aya_ebpf::bindings::BPF_NOEXIST as u64;
    match (odd, coarse) {
        (false, false) => RECORDS_EVEN.insert(key, record, NOT_YET),
        (true, false) => RECORDS_ODD.insert(key, record, NOT_YET),
        (false, true) => COARSE_EVEN.insert(key, record, NOT_YET),
        (true, true) => COARSE_ODD.insert(key, record, NOT_YET),
    }
}

/// Sends an event; false when the ring is full.
#[inline(always)]
pub(crate) fn send(event: &Event) -> bool {
    EVENTS.output(event, 0).is_ok()
}
