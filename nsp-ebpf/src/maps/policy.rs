//! What belongs to a generation: `SLOTS` equal parts, of which the agent writes one that nobody
//! reads and then changes one word ([`control`]).

use aya_ebpf::{
    Global,
    bindings::{BPF_F_INNER_MAP, BPF_F_MMAPABLE},
    btf_maps::{Array, ArrayOfMaps, HashMap, LpmTrie, lpm_trie::Key},
    macros::btf_map,
};
use nsp_common::{
    address::{Address, Family},
    class::{Cell, Class, PortEntry, PortTable},
    generation::{ASSOCIATIONS_MAX, Association, Control, Generation, SLOTS},
    ranges::{PAGE_BYTES, Page, Pages},
    selector::Selector,
};

use super::copied;
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
#[unsafe(no_mangle)]
static PAGE_CAPACITY: Global<u32> = Global::new(256);

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

/// Of bytes, not of [`Page`]: kernel 6.1 takes no array that is made at run time for one whose values its type
/// information calls a struct (`bpf_map_meta_equal`, timer_off).
type RangePages = Array<[u8; PAGE_BYTES], 1, { BPF_F_INNER_MAP as usize }>;
type TrieV4 = LpmTrie<[u8; 4], u32, 1>;
type TrieV6 = LpmTrie<[u8; 16], u32, 1>;

/// Address to class, both families: the pages of one range table a slot, as far as there was room when the
/// programs were loaded. The kernel writes the look-up of a page into the program, without a call.
#[btf_map]
static PAGES: Array<[u8; PAGE_BYTES], 256, MMAPABLE> = Array::new();

/// The pages beyond that room, of a policy that has grown since: as many as a table needs
/// (`BPF_F_INNER_MAP`, kernel 5.10), for the price of a call a page.
#[btf_map]
static MORE_PAGES: ArrayOfMaps<RangePages, SLOT_COUNT> = ArrayOfMaps::new();

/// Address to class, IPv4: one trie a slot (the reference engine).
#[btf_map]
static ADDRESSES_V4: ArrayOfMaps<TrieV4, SLOT_COUNT> = ArrayOfMaps::new();

/// Address to class, IPv6.
#[btf_map]
static ADDRESSES_V6: ArrayOfMaps<TrieV6, SLOT_COUNT> = ArrayOfMaps::new();

/// Resources by address, interface and cgroup.
#[btf_map]
static SELECTORS: HashMap<Selector, u32, 16384> = HashMap::new();

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

/// The range table of a slot.
pub(crate) struct RangeTable {
    pub(crate) slot: u32,
    /// Zero.
    pub(crate) zero: u32,
}

impl Pages for RangeTable {
    #[inline(always)]
    fn page(&self, number: u32) -> Option<&Page> {
        let bytes = match near_page(self.slot, number) {
            Some(bytes) => bytes?,
            None => {
                MORE_PAGES.get(self.slot)?.get_ptr(number.wrapping_sub(PAGE_CAPACITY.load()))?
            }
        };
        // SAFETY: a map value of as many bytes.
        Some(unsafe { page(bytes) })
    }

    #[inline(always)]
    fn opaque(&self, number: u32) -> u32 {
        barrier::opaque(number as usize) as u32
    }

    #[inline(always)]
    fn zero(&self) -> u32 {
        self.zero
    }
}

/// As much of it as is looked up without a call.
pub(crate) struct NearPages(pub(crate) u32);

impl Pages for NearPages {
    #[inline(always)]
    fn page(&self, number: u32) -> Option<&Page> {
        // SAFETY: a map value of as many bytes.
        Some(unsafe { page(near_page(self.0, number)??) })
    }
}

/// A page of a slot's part of [`PAGES`], or `None` where it would be beyond. There is no part for slot zero,
/// which never holds anything: its pages are nowhere.
#[inline(always)]
fn near_page(slot: u32, number: u32) -> Option<Option<*const [u8; PAGE_BYTES]>> {
    let at = part(slot.wrapping_sub(1), &PAGE_CAPACITY, number)?;
    Some(PAGES.get_ptr(at))
}

/// The bytes as a page. The kernel aligns values to eight, as `Page` wants; the compiler is told, or it reads
/// byte by byte.
///
/// # Safety
/// They are a map value.
#[inline(always)]
unsafe fn page<'a>(bytes: *const [u8; PAGE_BYTES]) -> &'a Page {
    // SAFETY: as above.
    unsafe {
        core::hint::assert_unchecked(bytes.addr().is_multiple_of(8));
        &*bytes.cast()
    }
}

/// The class number of an address, by the slot's trie.
#[inline(always)]
pub(crate) fn class_by_trie(slot: u32, address: &Address, family: Family) -> Option<u32> {
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

/// The association a selector leads to.
#[inline(always)]
pub(crate) fn select(selector: &Selector) -> u16 {
    copied!(SELECTORS, selector).unwrap_or(0) as u16
}
