//! The prefixes of a source on their way into a set.

use ipnet::IpNet;

use crate::policy::prefix::{
    PrefixSet,
    key::{Key, KeyV4, KeyV6},
    set::PrefixList,
    widest,
};

/// [`widest`] says nothing of longer prefixes.
const WIDEST_LENGTH_MAX: u32 = 3;

/// One set of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listed {
    /// What it covers.
    pub(crate) set: PrefixSet,
    /// The first prefix in it that is too [wide](widest) to be meant by accident.
    pub(crate) wide: Option<IpNet>,
}

/// Prefixes in the order of the file.
#[derive(Default)]
pub(super) struct Listing {
    list: PrefixList,
    wide: Option<IpNet>,
    count: usize,
}

impl Listing {
    /// How many there are, duplicates included.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Adds one.
    pub(super) fn push(&mut self, prefix: IpNet) {
        match prefix {
            IpNet::V4(net) => self.push_v4(net.into()),
            IpNet::V6(net) => self.push_v6(net.into()),
        }
    }

    /// Adds an IPv4 prefix.
    pub(super) fn push_v4(&mut self, key: KeyV4) {
        self.look(key);
        self.list.push_v4(key);
    }

    /// Adds an IPv6 prefix.
    pub(super) fn push_v6(&mut self, key: KeyV6) {
        self.look(key);
        self.list.push_v6(key);
    }

    /// Adds what another one holds.
    pub(super) fn append(&mut self, other: Self) {
        let Self { list, wide, count } = other;
        self.list.append(list);
        self.wide = self.wide.or(wide);
        self.count += count;
    }

    /// The set that they are.
    pub(super) fn finish(self) -> Listed {
        Listed { set: self.list.into_set(), wide: self.wide }
    }

    fn look<K: Key>(&mut self, key: K) {
        self.count += 1;
        if self.wide.is_none() && key.length() <= WIDEST_LENGTH_MAX {
            self.wide = Some(key.net()).filter(|net| widest(*net).is_some());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(prefixes: &[&str]) -> Listing {
        let mut listing = Listing::default();
        prefixes.iter().for_each(|text| listing.push(text.parse().unwrap()));
        listing
    }

    #[test]
    fn the_first_wide_prefix_is_kept_also_when_another_covers_it() {
        let mut all = listing(&["192.0.2.0/24", "2000::/3", "128.0.0.0/1", "::/0"]);
        all.append(listing(&["0.0.0.0/0", "192.0.2.0/24"]));
        assert_eq!(all.count(), 6);
        let Listed { set, wide } = all.finish();
        assert_eq!(wide, Some("2000::/3".parse().unwrap()));
        let shown: Vec<String> = set.iter().map(|net| net.to_string()).collect();
        assert_eq!(shown, ["0.0.0.0/0", "::/0"]);
        assert_eq!(listing(&["64.0.0.0/2", "4000::/3"]).finish().wide, None);
    }

    #[test]
    fn no_longer_prefix_is_wide() {
        for first in ["0.0.0.0", "128.0.0.0", "::", "2000::", "8000::"] {
            let net = IpNet::new(first.parse().unwrap(), WIDEST_LENGTH_MAX as u8 + 1).unwrap();
            assert_eq!(widest(net), None, "{net}");
        }
    }
}
