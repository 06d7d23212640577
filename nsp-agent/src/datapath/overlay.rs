//! The live overlay's tables, made equal to what is wanted by the fewest changes.

use std::collections::BTreeMap;

use aya::{
    Ebpf,
    maps::{
        HashMap, MapData, MapError,
        lpm_trie::{Key, LpmTrie},
    },
};
use ipnet::IpNet;
use nsp_common::overlay::Overlay;

use super::{Datapath, DatapathError, control::word, live::prefixes, publish::insert, take};
use crate::compile::overlay::OverlayTables;

/// The maps, each with what is in it: agents are the only writers, one at a time.
pub(super) struct OverlayMaps {
    v4: LpmTrie<MapData, [u8; 4], Overlay>,
    v6: LpmTrie<MapData, [u8; 16], Overlay>,
    names: HashMap<MapData, u32, Overlay>,
    prefixes_held: BTreeMap<IpNet, Overlay>,
    names_held: BTreeMap<u32, Overlay>,
}

impl OverlayMaps {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, DatapathError> {
        let v4: LpmTrie<MapData, [u8; 4], Overlay> = take(ebpf, "OVERLAY_V4")?;
        let v6: LpmTrie<MapData, [u8; 16], Overlay> = take(ebpf, "OVERLAY_V6")?;
        let names: HashMap<MapData, u32, Overlay> = take(ebpf, "OVERLAY_NAMES")?;
        let failed = |source| DatapathError::Map { operation: "read", map: "OVERLAY", source };
        let mut prefixes_held = prefixes(&v4).map_err(failed)?;
        prefixes_held.append(&mut prefixes(&v6).map_err(failed)?);
        let names_held = names.iter().collect::<Result<_, _>>().map_err(failed)?;
        Ok(Self { v4, v6, names, prefixes_held, names_held })
    }

    fn put(&mut self, prefix: IpNet, overlay: Overlay) -> Result<(), MapError> {
        let length = u32::from(prefix.prefix_len());
        match prefix {
            IpNet::V4(net) => {
                insert(&mut self.v4, &Key::new(length, net.network().octets()), overlay)
            }
            IpNet::V6(net) => {
                insert(&mut self.v6, &Key::new(length, net.network().octets()), overlay)
            }
        }
    }

    fn remove(&mut self, prefix: IpNet) -> Result<(), MapError> {
        let length = u32::from(prefix.prefix_len());
        match prefix {
            IpNet::V4(net) => self.v4.remove(&Key::new(length, net.network().octets())),
            IpNet::V6(net) => self.v6.remove(&Key::new(length, net.network().octets())),
        }
    }

    /// What is in the kernel is noted as it gets there, so that a failure on the way leaves nothing
    /// behind that nobody takes back.
    fn sync(&mut self, wanted: &OverlayTables) -> Result<(), MapError> {
        // What covers most first: until the wider value has an entry that goes, the narrower keeps it.
        for (prefix, overlay) in &wanted.prefixes {
            if self.prefixes_held.get(prefix) != Some(overlay) {
                self.put(*prefix, *overlay)?;
                self.prefixes_held.insert(*prefix, *overlay);
            }
        }
        let stale = self.prefixes_held.keys().filter(|it| !wanted.prefixes.contains_key(it));
        for prefix in stale.copied().collect::<Vec<_>>() {
            self.remove(prefix)?;
            self.prefixes_held.remove(&prefix);
        }
        for (name, overlay) in &wanted.names {
            if self.names_held.get(name) != Some(overlay) {
                self.names.insert(name, overlay, 0)?;
                self.names_held.insert(*name, *overlay);
            }
        }
        let stale = self.names_held.keys().filter(|it| !wanted.names.contains_key(it));
        for name in stale.copied().collect::<Vec<_>>() {
            self.names.remove(&name)?;
            self.names_held.remove(&name);
        }
        Ok(())
    }
}

impl Datapath {
    /// Makes the live overlay equal to these tables, at once for the next packet.
    ///
    /// # Errors
    /// When the kernel refuses an entry.
    pub fn set_overlay(&mut self, wanted: &OverlayTables) -> Result<(), DatapathError> {
        let failed = |source| DatapathError::Map { operation: "write", map: "OVERLAY", source };
        self.overlay.sync(wanted).map_err(failed)?;
        // Last: whoever sees the word finds the entries.
        self.control.store(0, word::OVERLAY, u64::from(wanted.presence));
        Ok(())
    }
}
