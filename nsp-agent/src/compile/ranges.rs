//! Builds the range table ([`nsp_common::ranges`]) of a policy's address classes.
//!
//! ```text
//! prefixes, outer before inner ──flatten──► ranges, neighbours of one class joined ──lay──► pages
//! ```

use std::ops::Range;

use ipnet::IpNet;
use nsp_common::{
    class::CLASS_NONE,
    ranges::{self, CHAIN_MAX, NODE_PAGES, PAGE_BYTES, Page, ROOT_V4, ROOT_V6, head, parts},
};

/// Ranges beyond which a node is split by the high byte of its word: fewer steps, for a KiB.
const SPLIT_FROM: usize = 256;
/// Ranges beyond which a part of a split is a table.
const TABLE_FROM: usize = 96;
/// Bytes of a split, and of a table.
const TABLE_BYTES: usize = 256 * 4;
/// A chain of fewer words is a small node.
const CHAIN_FROM: u32 = 2;
const CHAIN_BYTES: usize = 16;
/// Lines of the cache come in pairs (Intel's optimisation manual, "spatial prefetcher").
const LINE_BYTES: usize = 64;

/// Where a range begins, left-aligned in 128 bits, and its class. It ends where the next begins.
type Begin = (u128, u32);

/// The table of both families.
pub(super) fn build(prefixes: &[(IpNet, u32)]) -> Vec<Page> {
    let (v4, v6) =
        prefixes.split_at(prefixes.partition_point(|(it, _)| matches!(it, IpNet::V4(_))));
    let mut table = Table { pages: vec![Page::EMPTY; NODE_PAGES as usize], used: PAGE_BYTES };
    table.root(ROOT_V4, &flatten(v4));
    table.root(ROOT_V6, &flatten(v6));
    table.pages
}

/// The ranges of prefixes that are sorted outer before inner. The first begins at zero.
fn flatten(prefixes: &[(IpNet, u32)]) -> Vec<Begin> {
    let mut ranges = Vec::with_capacity(prefixes.len() * 2 + 1);
    ranges.push((0, CLASS_NONE));
    // The prefixes that cover the place we are at, with the end of each.
    let mut open: Vec<(u128, u32)> = Vec::new();
    for (prefix, class) in prefixes {
        let (first, last) = bounds(prefix);
        close(&mut open, &mut ranges, Some(first));
        begin(&mut ranges, first, *class);
        open.push((last, *class));
    }
    close(&mut open, &mut ranges, None);
    ranges
}

/// Ends the prefixes that do not reach `next`.
fn close(open: &mut Vec<(u128, u32)>, ranges: &mut Vec<Begin>, next: Option<u128>) {
    while let Some((last, _)) = open.last().copied()
        && next.is_none_or(|next| last < next)
    {
        open.pop();
        let outer = open.last().map_or(CLASS_NONE, |(_, class)| *class);
        // Nothing begins behind the last address.
        if let Some(after) = last.checked_add(1) {
            begin(ranges, after, outer);
        }
    }
}

/// Begins a range. One that began at the same place is empty; one of the same class goes on.
fn begin(ranges: &mut Vec<Begin>, start: u128, class: u32) {
    if ranges.last().is_some_and(|(before, _)| *before == start) {
        ranges.pop();
    }
    if ranges.last().is_none_or(|(_, before)| *before != class) {
        ranges.push((start, class));
    }
}

/// First and last address, left-aligned.
fn bounds(prefix: &IpNet) -> (u128, u128) {
    let first = match prefix {
        IpNet::V4(net) => u128::from(net.network().to_bits()) << 96,
        IpNet::V6(net) => net.network().to_bits(),
    };
    let rest = u128::MAX.checked_shr(u32::from(prefix.prefix_len())).unwrap_or(0);
    (first, first | rest)
}

struct Table {
    pages: Vec<Page>,
    /// Bytes used of the last page.
    used: usize,
}

impl Table {
    /// Writes the root of a family.
    fn root(&mut self, page: u32, mut ranges: &[Begin]) {
        let (mut next, mut class) = (0, CLASS_NONE);
        while let Some((first, _)) = ranges.first() {
            let word = (first >> 112) as usize;
            self.refer(page, next..word, class);
            let start = (word as u128) << 112;
            let (inside, behind) = part(ranges, start, 16);
            let reference = self.reference(class, inside, start, 16);
            self.refer(page, word..word + 1, reference);
            class = inside[inside.len() - 1].1;
            (next, ranges) = (word + 1, behind);
        }
        self.refer(page, next..1 << 16, class);
    }

    /// Writes the reference of words of a root.
    fn refer(&mut self, page: u32, words: Range<usize>, reference: u32) {
        if reference == CLASS_NONE {
            // Pages begin empty.
            return;
        }
        for at in words.map(|word| word * 4) {
            put(&mut self.pages[page as usize + at / PAGE_BYTES], at % PAGE_BYTES, reference);
        }
    }

    /// The reference to what the addresses that begin with the `depth` bits of `start` come to. `before` is
    /// the class in force there, `inside` the ranges that begin in it.
    fn reference(&mut self, before: u32, inside: &[Begin], start: u128, depth: u32) -> u32 {
        match inside {
            [] => before,
            [(first, class)] if *first == start => *class,
            // Ranges begin where an address does, so there is always a next word here.
            _ => self.node(before, inside, start, depth),
        }
    }

    /// Lays out the node of the word behind `depth`.
    fn node(&mut self, before: u32, inside: &[Begin], start: u128, depth: u32) -> u32 {
        let links = Chain::of(before, inside, start, depth);
        if links.count >= CHAIN_FROM {
            return self.chain(before, &links);
        }
        let node = self.ranges_of(before, inside, start, depth);
        if node.len() <= SPLIT_FROM {
            return self.lay(&node);
        }
        let references: Vec<u32> = (0..256_u32)
            .map(|byte| {
                let (first, last) = (byte << 8, byte << 8 | 0xff);
                let from = node.partition_point(|(word, _)| *word <= first) - 1;
                let to = node.partition_point(|(word, _)| *word <= last);
                match &node[from..to] {
                    // A reference to a node is of one word, so this one is a class.
                    [(_, class)] => *class,
                    part if part.len() > TABLE_FROM => self.table(part, first),
                    part => self.lay(part),
                }
            })
            .collect();
        let (page, at) = self.references(&references);
        ranges::split(page, at)
    }

    /// Writes a chain.
    fn chain(&mut self, before: u32, chain: &Chain<'_>) -> u32 {
        let Chain { words, count, inside, start, depth } = *chain;
        let reference = self.reference(before, inside, start, depth);
        self.used = self.used.next_multiple_of(CHAIN_BYTES);
        let (page_number, at) = self.room(CHAIN_BYTES);
        let page = &mut self.pages[page_number];
        put(page, at, before);
        put(page, at + 4, reference);
        page.0[at + 8..at + 16].copy_from_slice(&words.to_ne_bytes());
        ranges::chain(page_number as u32, at as u32, count)
    }

    /// Writes a table of the words from `first` on.
    fn table(&mut self, node: &[(u32, u32)], first: u32) -> u32 {
        let mut ranges = node.iter().peekable();
        let mut reference = CLASS_NONE;
        let references: Vec<u32> = (first..first + 256)
            .map(|word| {
                while let Some((_, begun)) = ranges.next_if(|(start, _)| *start <= word) {
                    reference = *begun;
                }
                reference
            })
            .collect();
        let (page, at) = self.references(&references);
        ranges::table(page, at)
    }

    /// Writes 256 references; answers where.
    fn references(&mut self, references: &[u32]) -> (u32, u32) {
        let (page, at) = self.room(TABLE_BYTES);
        for (index, reference) in references.iter().enumerate() {
            put(&mut self.pages[page], at + index * 4, *reference);
        }
        (page as u32, at as u32)
    }

    /// The ranges of one word: where each begins, and its reference. The first begins at zero.
    fn ranges_of(
        &mut self,
        before: u32,
        mut inside: &[Begin],
        start: u128,
        depth: u32,
    ) -> Vec<(u32, u32)> {
        let shift = 112 - depth;
        let mut node = vec![(0, before)];
        let mut class = before;
        while let Some((first, _)) = inside.first() {
            let word = (first >> shift) as u32 & 0xffff;
            let head = start | u128::from(word) << shift;
            let (here, behind) = part(inside, head, depth + 16);
            let reference = self.reference(class, here, head, depth + 16);
            class = here[here.len() - 1].1;
            inside = behind;
            push(&mut node, word, reference);
            // The words up to the next that something begins in, if this one is not all of one class.
            if reference != class && word < 0xffff {
                push(&mut node, word + 1, class);
            }
        }
        node
    }

    /// Writes a node of ranges.
    fn lay(&mut self, node: &[(u32, u32)]) -> u32 {
        let Turns { usual, starts, others } = Turns::of(node);
        let wide = others.iter().chain([&usual]).any(|it| *it > u32::from(u16::MAX));
        let fine = starts.iter().any(|word| word & 0xff != 0);
        let pair = others.windows(2).all(|two| two[0] == two[1]);
        let mut head = starts.len() as u32;
        assert!(head <= head::COUNT, "a node of {head} starts");
        for (is_so, bit) in [(wide, head::WIDE), (fine, head::FINE), (pair, head::PAIR)] {
            head |= if is_so { bit } else { 0 };
        }
        let others = if pair { &others[..others.len().min(1)] } else { &others[..] };
        let (usual_at, starts_at, others_at) = parts(head);
        let width = if wide { 4 } else { 2 };
        let (page_number, at) = self.room(others_at as usize + others.len() * width);
        let page = &mut self.pages[page_number];
        let mut write = |offset: u32, number: u32, width: usize| {
            // Little-endian machines have the low bytes first, the others last.
            let bytes = number.to_ne_bytes();
            let low = if cfg!(target_endian = "big") { 4 - width..4 } else { 0..width };
            page.0[at + offset as usize..][..width].copy_from_slice(&bytes[low]);
        };
        write(0, head, 2);
        write(usual_at, usual, width);
        for (index, word) in starts.iter().enumerate() {
            if fine {
                write(starts_at + index as u32 * 2, *word, 2);
            } else {
                write(starts_at + index as u32, word >> 8, 1);
            }
        }
        for (index, other) in others.iter().enumerate() {
            write(others_at + (index * width) as u32, *other, width);
        }
        ranges::node(page_number as u32, at as u32)
    }

    /// So many bytes of one page, four-aligned, and not over the border of a line, or of a pair of lines,
    /// where they fit within.
    fn room(&mut self, bytes: usize) -> (usize, usize) {
        let mut at = self.used.next_multiple_of(4);
        let within = if bytes <= LINE_BYTES { LINE_BYTES } else { 2 * LINE_BYTES };
        let left = within - at % within;
        if bytes > left {
            at += left;
        }
        if at + bytes > PAGE_BYTES {
            self.pages.push(Page::EMPTY);
            at = 0;
        }
        self.used = at + bytes;
        (self.pages.len() - 1, at)
    }
}

/// Words of which one value alone leads on, and every other to what is in force before.
struct Chain<'a> {
    /// Left-aligned.
    words: u64,
    count: u32,
    /// What begins behind them, where, and how deep.
    inside: &'a [Begin],
    start: u128,
    depth: u32,
}

impl<'a> Chain<'a> {
    fn of(before: u32, inside: &'a [Begin], start: u128, depth: u32) -> Self {
        let mut chain = Self { words: 0, count: 0, inside, start, depth };
        while chain.count < CHAIN_MAX && chain.is_open() {
            let shift = 112 - chain.depth;
            let word = (chain.inside[0].0 >> shift) as u64 & 0xffff;
            let head = chain.start | u128::from(word) << shift;
            let (here, behind) = part(chain.inside, head, chain.depth + 16);
            let ends = match behind {
                [] => here[here.len() - 1].1 == before || word == 0xffff,
                [(next, class)] => *next == head + (1 << shift) && *class == before,
                _ => false,
            };
            if !ends {
                break;
            }
            chain.words |= word << (48 - 16 * chain.count);
            chain.count += 1;
            (chain.inside, chain.start, chain.depth) = (here, head, chain.depth + 16);
        }
        chain
    }

    /// Whether there is a next word to look at.
    fn is_open(&self) -> bool {
        self.depth < 128 && !matches!(self.inside, [(first, _)] if *first == self.start)
    }
}

/// The ranges of a node as they take turns: the usual reference and another one.
struct Turns {
    usual: u32,
    /// Where a range of the usual reference ends or begins.
    starts: Vec<u32>,
    /// What is in force after each odd start.
    others: Vec<u32>,
}

impl Turns {
    fn of(node: &[(u32, u32)]) -> Self {
        let mut sorted: Vec<u32> = node.iter().map(|(_, reference)| *reference).collect();
        sorted.sort_unstable();
        let runs = sorted.chunk_by(|one, other| one == other);
        let usual = runs.max_by_key(|run| run.len()).map_or(CLASS_NONE, |run| run[0]);
        let mut turns = Self { usual, starts: Vec::new(), others: Vec::new() };
        for (word, reference) in node {
            let is_usual = turns.starts.len().is_multiple_of(2);
            if !is_usual {
                turns.starts.push(*word);
            }
            if *reference != usual {
                // Where two others meet, an empty range of the usual one is between them.
                turns.starts.push(*word);
                turns.others.push(*reference);
            }
        }
        if node[0].1 != usual {
            // The first range of a part of a split may have begun before it.
            turns.starts[0] = 0;
        }
        turns
    }
}

/// Those ranges that begin among the addresses with the `depth` bits of `start`, and those behind.
fn part(ranges: &[Begin], start: u128, depth: u32) -> (&[Begin], &[Begin]) {
    let rest = u128::MAX.checked_shr(depth).unwrap_or(0);
    let last = start | rest;
    // A few steps along the list are fewer than a search of all of it.
    let mut end = 0;
    while ranges.get(end).is_some_and(|(first, _)| *first <= last) {
        end += 1;
    }
    ranges.split_at(end)
}

/// A range that begins at `word`; one that began there, or goes on, needs no other.
fn push(node: &mut Vec<(u32, u32)>, word: u32, reference: u32) {
    if node.last().is_some_and(|(before, _)| *before == word) {
        node.pop();
    }
    if node.last().is_none_or(|(_, before)| *before != reference) {
        node.push((word, reference));
    }
}

fn put(page: &mut Page, at: usize, number: u32) {
    page.0[at..at + 4].copy_from_slice(&number.to_ne_bytes());
}

#[cfg(test)]
mod tests;
