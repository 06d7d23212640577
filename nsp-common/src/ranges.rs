//! The range table: from an address to its class in a few loads, whatever the number of prefixes.
//!
//! An address is read sixteen bits at a time, two words of IPv4 or eight of IPv6. The first word picks
//! one of 65,536 references. A reference is a class, or leads to a node: the sorted beginnings of the
//! ranges that the next word may lie in, and what each range refers to. Neighbours of one class are one
//! range, so most addresses end at the first or second node.
//!
//! ```text
//! first word ─► root[word] ─► class
//!                         └─► node: count │ usual reference │ starts, sorted │ other references
//!                         └─► split: a reference for each high byte of the word ─► node
//!                         │                                                   └─► table, by the low byte
//!                         └─► chain: up to three words that all have to be these, for the one long prefix
//! ```
//!
//! Memory that is not in a near cache costs more than all the arithmetic here (some 50 ns a line on the
//! machine this was written on), so a node is as small as it can be: ranges take turns between the usual
//! reference, which is written once, and others; where two others meet, an empty range is between them.
//! Starts are single bytes where nothing begins within a /24 (or whatever the word's upper byte is). A
//! list of a million prefixes of one rule takes one to two bytes a prefix, of many rules four.
//!
//! This is DXR (Zec, Rizzo, Mikuc: "DXR: towards a billion routing lookups per second in software", CCR
//! 42(5), 2012) with the range search applied to every further word, so that one structure serves both
//! families and prefixes of every length are exact. It lies in pages of [`PAGE_BYTES`]; nodes never cross
//! a page, nor a line of the cache where they fit one. Numbers are in the machine's byte order.
//!
//! The agent builds it (`nsp-agent/src/compile/ranges.rs`). The search has no branch that depends on the
//! address, for a wrong guess costs more than its loads.

use crate::class::CLASS_NONE;

/// Bytes of a page.
pub const PAGE_BYTES: usize = 4096;

/// A page of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Page(pub [u8; PAGE_BYTES]);

crate::shared!(Page, PAGE_BYTES);

impl Page {
    /// Nothing: every reference is class zero.
    pub const EMPTY: Self = Self([0; PAGE_BYTES]);

    /// One byte. Whoever goes beyond the page reads somewhere else in it: the answer is then wrong, but
    /// the verifier is content without another branch.
    #[inline(always)]
    const fn byte(&self, at: u32) -> u32 {
        self.0[at as usize & (PAGE_BYTES - 1)] as u32
    }

    /// Two bytes from an even place.
    #[inline(always)]
    const fn half(&self, at: u32) -> u32 {
        let at = at as usize & (PAGE_BYTES - 2);
        u16::from_ne_bytes([self.0[at], self.0[at + 1]]) as u32
    }

    /// Eight bytes from a place that eight divides.
    #[inline(always)]
    const fn long(&self, at: u32) -> u64 {
        let at = at as usize & (PAGE_BYTES - 8);
        let b = &self.0;
        u64::from_ne_bytes([
            b[at],
            b[at + 1],
            b[at + 2],
            b[at + 3],
            b[at + 4],
            b[at + 5],
            b[at + 6],
            b[at + 7],
        ])
    }

    /// Four bytes from a place that four divides.
    #[inline(always)]
    const fn word(&self, at: u32) -> u32 {
        let at = at as usize & (PAGE_BYTES - 4);
        u32::from_ne_bytes([self.0[at], self.0[at + 1], self.0[at + 2], self.0[at + 3]])
    }
}

/// Pages that the root of a family takes: 65,536 references of four bytes.
pub const ROOT_PAGES: u32 = 65536 * 4 / PAGE_BYTES as u32;

/// Where the roots begin: that of IPv4 first.
pub const ROOT_V4: u32 = 0;
/// As [`ROOT_V4`].
pub const ROOT_V6: u32 = ROOT_PAGES;
/// The first page of nodes.
pub const NODE_PAGES: u32 = 2 * ROOT_PAGES;

/// A table of more pages than these is far: half a MiB of roots, of which one family's is in use, and as much of
/// nodes as stays in a second cache beside everything else.
pub const NEAR_PAGES: u32 = NODE_PAGES + 64;

/// Steps behind the root: the other words of an address, each of which may be split.
const STEPS_V4: u32 = 2;
/// As [`STEPS_V4`].
const STEPS_V6: u32 = 14;

/// In a reference: it leads to a node and is no class.
pub const NODE: u32 = 1 << 31;
/// In a reference to a node: a reference of four bytes for each high byte, and no word is used up.
const SPLIT: u32 = 1 << 30;
/// In a reference to a node: a reference of four bytes for each low byte.
const TABLE: u32 = 1 << 29;
/// In a reference to a node: words that all have to be these.
const CHAIN: u32 = 1 << 28;
/// In a reference to a node: how many words it uses up.
const USED_SHIFT: u32 = 26;
/// Words of a chain, at most.
pub const CHAIN_MAX: u32 = 3;
/// Pages that a reference can tell apart: 256 MiB.
pub const PAGES_MAX: u32 = 1 << 16;

/// What the first two bytes of a node of ranges say.
pub mod head {
    /// How many starts there are.
    pub const COUNT: u32 = (1 << 10) - 1;
    /// Starts are words of two bytes; else their high byte alone, the low one being zero.
    pub const FINE: u32 = 1 << 10;
    /// References take four bytes; else they are classes of two.
    pub const WIDE: u32 = 1 << 11;
    /// All the other references are the same, and written once.
    pub const PAIR: u32 = 1 << 12;
}

/// Where the parts of a node of ranges begin: the usual reference, the starts, the other references.
#[inline(always)]
pub const fn parts(head: u32) -> (u32, u32, u32) {
    let is_wide = (head & head::WIDE) / head::WIDE;
    let is_fine = (head & head::FINE) / head::FINE;
    let (usual, starts, width) = (2 << is_wide, 4 << is_wide, 2 << is_wide);
    let bytes = (head & head::COUNT) << is_fine;
    (usual, starts, starts + ((bytes + width - 1) & !(width - 1)))
}

#[inline(always)]
const fn place(page: u32, at: u32, used: u32) -> u32 {
    NODE | used << USED_SHIFT | page << 10 | at >> 2
}

/// The reference of a node of ranges at a byte of a page, which four divides.
pub const fn node(page: u32, at: u32) -> u32 {
    place(page, at, 1)
}

/// The reference of 256 references by high byte; to classes, or to what the same word leads to further.
pub const fn split(page: u32, at: u32) -> u32 {
    place(page, at, 0) | SPLIT
}

/// The reference of 256 references by low byte.
pub const fn table(page: u32, at: u32) -> u32 {
    place(page, at, 1) | TABLE
}

/// The reference of a chain of so many words: the reference of other words, that of these, and the words,
/// left-aligned in eight bytes; from a place that eight divides.
pub const fn chain(page: u32, at: u32, words: u32) -> u32 {
    place(page, at, words) | CHAIN
}

#[inline(always)]
const fn page_of(reference: u32) -> u32 {
    reference >> 10 & (PAGES_MAX - 1)
}

#[inline(always)]
const fn at_of(reference: u32) -> u32 {
    (reference & (PAGE_BYTES as u32 / 4 - 1)) << 2
}

/// Where pages are: a map of the kernel, or a slice.
pub trait Pages {
    /// One page, by its number.
    fn page(&self, number: u32) -> Option<&Page>;

    /// The same number, about which the compiler knows nothing. It likes to turn arithmetic on a yes or no
    /// back into a branch.
    #[inline(always)]
    fn opaque(&self, number: u32) -> u32 {
        number
    }

    /// Zero. The kernel's verifier, which is not told, then takes the number of a range for any, and ways
    /// through the search that differ in it become one way.
    #[inline(always)]
    fn zero(&self) -> u32 {
        0
    }
}

impl Pages for [Page] {
    fn page(&self, number: u32) -> Option<&Page> {
        self.get(number as usize)
    }
}

/// An address as the table reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words {
    /// The first page of its family's root.
    root: u32,
    /// Its first eight bytes as a number; all of an IPv4 address, left-aligned.
    pub high: u64,
    /// The other eight bytes.
    pub low: u64,
    /// Steps behind the root, at most.
    steps: u32,
}

impl Words {
    /// An IPv4 address as a number in host order.
    #[inline(always)]
    pub const fn v4(address: u32) -> Self {
        Self { root: ROOT_V4, high: (address as u64) << 32, low: 0, steps: STEPS_V4 }
    }

    /// An IPv6 address as its two halves in host order.
    #[inline(always)]
    pub const fn v6(high: u64, low: u64) -> Self {
        Self { root: ROOT_V6, high, low, steps: STEPS_V6 }
    }

    /// Goes on by up to three words; without a branch, as everywhere here.
    #[inline(always)]
    const fn advance(&mut self, count: u32) {
        let bits = 16 * (count & 3);
        self.high = self.high << bits | self.low >> 1 >> (63 - bits);
        self.low <<= bits;
    }
}

/// The class of an address; [`CLASS_NONE`] also where the table is not what it should be.
#[inline(always)]
pub fn look_up<P: Pages + ?Sized>(pages: &P, mut words: Words) -> u32 {
    let mut reference = root_reference(pages, words);
    words.advance(1);
    for _ in 0..words.steps {
        if reference & NODE == 0 {
            return reference;
        }
        let used = reference >> USED_SHIFT;
        reference = descend(pages, reference, words.high).wrapping_add(pages.zero());
        words.advance(used);
    }
    if reference & NODE == 0 { reference } else { CLASS_NONE }
}

/// What the root says of the first word.
#[inline(always)]
pub fn root_reference<P: Pages + ?Sized>(pages: &P, words: Words) -> u32 {
    let word = (words.high >> 48) as u32;
    let Some(page) = pages.page(words.root + (word >> 10)) else { return CLASS_NONE };
    page.word((word & 0x3ff) << 2)
}

/// The bytes of the node a reference leads to that a look-up reads first; zero where it is a class.
#[inline(always)]
pub fn node_head<P: Pages + ?Sized>(pages: &P, reference: u32, words: Words) -> u32 {
    if reference & NODE == 0 {
        return 0;
    }
    let Some(page) = pages.page(page_of(reference)) else { return 0 };
    let high = (words.high >> 40) as u32 & 0xff;
    let place = if reference & SPLIT == 0 { 0 } else { high << 2 };
    page.half(at_of(reference).wrapping_add(place))
}

/// What the node that a reference leads to says of the next words, left-aligned.
#[inline(always)]
fn descend<P: Pages + ?Sized>(pages: &P, reference: u32, words: u64) -> u32 {
    let Some(page) = pages.page(page_of(reference)) else { return CLASS_NONE };
    let at = at_of(reference);
    if reference & CHAIN != 0 {
        let bits = 16 * (reference >> USED_SHIFT & 3);
        let differs = (words ^ page.long(at.wrapping_add(8))) >> (64_u32.wrapping_sub(bits) & 63);
        let is_other = pages.opaque((differs != 0) as u32);
        return page.word(at.wrapping_add((is_other ^ 1) << 2));
    }
    let word = (words >> 48) as u32;
    if reference & (SPLIT | TABLE) != 0 {
        let byte = if reference & SPLIT != 0 { word >> 8 } else { word & 0xff };
        return page.word(at.wrapping_add(byte << 2));
    }
    let head = page.half(at);
    let count = head & head::COUNT;
    let (usual, starts, others) = parts(head);
    let starts = at.wrapping_add(starts);
    let found = if head & head::FINE == 0 {
        search(pages, count, word >> 8, |tried| page.byte(starts.wrapping_add(tried)))
    } else {
        search(pages, count, word, |tried| page.half(starts.wrapping_add(tried << 1)))
    };
    // After an odd number of starts it is one of the others. Arithmetic again, for which it is, is random.
    let is_other = 0_u32.wrapping_sub(pages.opaque(found & 1));
    let is_pair = (head & head::PAIR) / head::PAIR;
    let is_wide = (head & head::WIDE) / head::WIDE;
    // Of a pair it is the first: a count has less than sixteen bits.
    let number = found >> 1 >> (is_pair << 4);
    let other = others.wrapping_add(number << 1 << is_wide).wrapping_sub(usual);
    let place = at.wrapping_add(usual).wrapping_add(other & is_other);
    if is_wide == 0 { page.half(place) } else { page.word(place) }
}

/// How many starts are not beyond a word. What is asked of the word is arithmetic, never a branch; the
/// branches ask for the size of the node, and there are two, for sizes differ from node to node as well.
#[inline(always)]
fn search<P: Pages + ?Sized>(pages: &P, count: u32, word: u32, start: impl Fn(u32) -> u32) -> u32 {
    let halve = |found: u32, bit: u32| {
        let tried = found.wrapping_add(1 << bit);
        let start = start(tried.wrapping_sub(1));
        // The upper bit of neither difference is set when both hold: tried <= count, start <= word.
        let beyond = pages.opaque((count.wrapping_sub(tried) | word.wrapping_sub(start)) >> 31);
        found.wrapping_add((beyond ^ 1) << bit)
    };
    let mut found = pages.zero();
    if count >= 64 {
        found = halve(halve(halve(halve(found, 9), 8), 7), 6);
    }
    if count >= 8 {
        found = halve(halve(halve(found, 5), 4), 3);
    }
    halve(halve(halve(found, 2), 1), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of one IPv4 /16 with the given node.
    fn one_node(node_bytes: &[u8]) -> Vec<Page> {
        let mut pages = vec![Page::EMPTY; NODE_PAGES as usize + 1];
        let reference = node(NODE_PAGES, 0).to_ne_bytes();
        let at = 0xc633 * 4;
        pages[at / PAGE_BYTES].0[at % PAGE_BYTES..][..4].copy_from_slice(&reference);
        pages[NODE_PAGES as usize].0[..node_bytes.len()].copy_from_slice(node_bytes);
        pages
    }

    /// A node whose ranges have the classes 1, 2, 3 and so on at their starts.
    fn fine(count: u32, start: impl Fn(u32) -> u32) -> Vec<u8> {
        let mut node = ((count | head::FINE) as u16).to_ne_bytes().to_vec();
        node.extend(1_u16.to_ne_bytes());
        node.extend((0..count).flat_map(|range| (start(range) as u16).to_ne_bytes()));
        node.extend((0..count.div_ceil(2)).flat_map(|other| (other as u16 + 2).to_ne_bytes()));
        node
    }

    #[test]
    fn every_word_finds_its_range() {
        for count in [0_u32, 1, 2, 3, 7, 8, 9, 100, 512, 1000, head::COUNT] {
            let start = |range: u32| range * 60 + 7;
            let pages = one_node(&fine(count, start));
            let edges = (0..count).flat_map(|range| [start(range).saturating_sub(1), start(range)]);
            for word in (0..=65535_u32).step_by(7).chain(edges) {
                let begun = (0..count).filter(|range| start(*range) <= word).count() as u32;
                let expected = if begun.is_multiple_of(2) { 1 } else { begun / 2 + 2 };
                let found = look_up(&pages[..], Words::v4(0xc633_0000 | word));
                assert_eq!(found, expected, "{word} among {count}");
            }
        }
    }

    #[test]
    fn nodes_that_lead_in_circles_end() {
        let mut itself = (head::WIDE as u16).to_ne_bytes().to_vec();
        itself.extend([0, 0]);
        itself.extend(node(NODE_PAGES, 0).to_ne_bytes());
        assert_eq!(look_up(&one_node(&itself)[..], Words::v4(0xc633_0001)), CLASS_NONE);
    }

    #[test]
    fn pages_that_are_not_there_are_no_class() {
        let mut nowhere = (head::WIDE as u16).to_ne_bytes().to_vec();
        nowhere.extend([0, 0]);
        nowhere.extend(node(PAGES_MAX - 1, 0).to_ne_bytes());
        let pages = one_node(&nowhere);
        assert_eq!(look_up(&pages[..], Words::v4(0xc633_0001)), CLASS_NONE);
        assert_eq!(look_up(&pages[..1], Words::v4(0xffff_ffff)), CLASS_NONE);
    }
}
