//! How devices are stacked: on which other devices the packets of one are seen as well.

use std::iter::successors;

use super::{Link, LinkKind};

/// The kernel allows eight devices on top of each other (`MAX_NEST_DEV`).
pub(super) const NESTING_MAX: usize = 8;

/// The devices on which the packets of this one are seen as well, nearest first. `links` are in
/// the order of their index.
///
/// A child goes down to its parents and a port goes up to its masters. A parent's master says
/// nothing about the child: tagged packets leave a port before its bridge sees them.
pub(super) fn seen_at<'a>(link: &Link, links: &'a [Link]) -> impl Iterator<Item = &'a Link> {
    let lower = |link: &Link| by_index(links, link.lower?);
    let master =
        |link: &Link| by_index(links, link.master?).filter(|master| master.kind != LinkKind::Vrf);
    let parents = successors(lower(link), move |link| lower(link)).take(NESTING_MAX);
    let masters = successors(master(link), move |link| master(link)).take(NESTING_MAX);
    parents.chain(masters)
}

fn by_index(links: &[Link], index: u32) -> Option<&Link> {
    let position = links.binary_search_by_key(&index, |link| link.index).ok()?;
    links.get(position)
}
