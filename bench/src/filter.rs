//! What stands at the server's end of a cable: it admits the peer and ten thousand prefixes, both ways, and
//! nothing else.

mod nft;
mod nsp;

use anyhow::Result;

use crate::{cable::Cable, prefixes};
pub(crate) use nsp::{Perimeter, Seen};

/// Prefixes that a filter admits beside the peer's.
pub(crate) const PREFIXES: usize = 10_000;

/// A filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    /// NSP at TC in both directions.
    Nsp,
    /// NSP with native XDP. On veth the peer then has no TSO, whoever's program it is (kernel commit
    /// dc2248220a4a).
    NspNative,
    /// NSP with generic XDP, which wants frames in one piece: the kernel copies each.
    NspGeneric,
    /// nftables at input and output, as its manual recommends: what is established passes first.
    Nft,
    /// nftables at the device in both directions, without connections: every packet is looked up.
    NftNetdev,
}

impl Filter {
    /// All, the one with a target first.
    pub(crate) const ALL: [Self; 5] =
        [Self::Nsp, Self::NspNative, Self::NspGeneric, Self::Nft, Self::NftNetdev];

    /// As rows name it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Nsp => "nsp",
            Self::NspNative => "nsp-native",
            Self::NspGeneric => "nsp-generic",
            Self::Nft => "nft",
            Self::NftNetdev => "nft-netdev",
        }
    }

    /// Puts it in force on a cable's server.
    pub(crate) fn attach(self, cable: &Cable) -> Result<Attached> {
        let prefixes = &prefixes::v4(PREFIXES);
        let mode = match self {
            Self::Nsp => "off",
            Self::NspNative => "native",
            Self::NspGeneric => "generic",
            Self::Nft => return nft::load(cable, &nft::hooks(prefixes)).map(|()| Attached::Nft),
            Self::NftNetdev => {
                return nft::load(cable, &nft::netdev(prefixes)).map(|()| Attached::Nft);
            }
        };
        Perimeter::start(cable, mode, prefixes).map(|it| Attached::Nsp(Box::new(it)))
    }
}

/// A filter in force.
#[derive(Debug)]
pub(crate) enum Attached {
    /// An agent, until this is dropped.
    Nsp(Box<Perimeter>),
    /// Rules, until their namespace is gone.
    Nft,
}
