//! What a set of pinned maps says of itself, so that the next agent knows whether it may go on with it.
//!
//! Only agents read it. What the maps' own descriptions tell (their kinds and sizes) is not in here: that is
//! compared with the kernel's word.

/// Kinds of identities that maps hold: associations, rules, names, profiles.
pub const IDENTITIES: usize = 4;

/// The one value of the map that is pinned last, when a set is whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Pinned {
    /// [`crate::LAYOUT_VERSION`] of who made it. First, and it stays first.
    pub layout: u32,
    /// The engine whose tables are filled, as a number.
    pub engine: u32,
    /// The network namespace that is guarded, as the kernel numbers it.
    pub netns_cookie: u64,
    /// Names the state directory whose identities the maps hold.
    pub state: u64,
    /// How many identities of each kind were given out when a generation was published last.
    pub identities: [u32; IDENTITIES],
    /// Room for pages in a slot.
    pub pages: u32,
    /// Room for classes in a slot.
    pub classes: u32,
    /// Room for cells in a slot.
    pub cells: u32,
    /// Room for rows in a slot.
    pub rows: u32,
    /// Room for rules in a slot.
    pub rules: u32,
    /// Room for names in a slot.
    pub names: u32,
    /// Room for selectors in a slot.
    pub selectors: u32,
    /// Places for proven conversations of IPv4.
    pub flows_v4: u32,
    /// The same of IPv6.
    pub flows_v6: u32,
    /// Access records of one epoch.
    pub records: u32,
    /// Those of whole networks.
    pub networks: u32,
    /// Zero.
    pub _pad: u32,
    /// Packets whose records were taken out of the tables, ever, when those are that are being taken.
    pub taking: u64,
    /// Packets whose records were taken out of the tables, ever.
    pub taken: u64,
    /// Those of them whose records were written.
    pub told: u64,
}

crate::shared!(Pinned, 112);
