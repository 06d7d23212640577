//! Whether an agent may go on with the maps that another one left behind.
//!
//! It may when they are what its own would be: the same layout, engine, network namespace and state
//! directory, whole, of the kinds and sizes that the programs were compiled for, and with room for the
//! policy. Their capacities are then its own. Anything else is a set to be replaced.

use aya::maps::{Array, MapData, MapInfo, MapType};
use nsp_common::{
    LAYOUT_VERSION,
    pinned::{IDENTITIES, Pinned},
};

use super::{
    Capacities, Engine, FlowRoom, OBJECT, object,
    pins::{LAYOUT, Set},
};
use crate::compile::Sizes;

/// Who an agent is to the maps it makes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// Names the state directory.
    pub state: u64,
    /// How many identities of each kind it has given out.
    pub identities: [u32; IDENTITIES],
}

/// Why a set is not adopted, for people.
#[derive(Debug, thiserror::Error)]
pub(super) enum Mismatch {
    #[error("it was never whole")]
    Half,
    #[error("its layout is version {0}, this agent's is {LAYOUT_VERSION}")]
    Layout(u32),
    #[error("it is of another network namespace")]
    Namespace,
    #[error("its identities are not in this agent's state directory")]
    State,
    #[error("its tables are for the other engine")]
    Engine,
    #[error("it has room for other numbers of conversations")]
    Flows,
    #[error("the policy has outgrown its {0}")]
    Outgrown(&'static str),
    #[error("its map {0} is not what the programs work with")]
    Map(String),
    #[error("its map {0} cannot be opened")]
    Missing(String),
}

impl Mismatch {
    /// Whether what is in the set may still be read, and its identities mean what this agent's do.
    pub(super) fn can_migrate(&self) -> bool {
        matches!(self, Self::Engine | Self::Flows | Self::Outgrown(_))
    }
}

/// Opens what a set says of itself.
pub(super) fn open_layout(set: &Set) -> Result<Array<MapData, Pinned>, Mismatch> {
    if !set.is_whole() {
        return Err(Mismatch::Half);
    }
    if set.layout != LAYOUT_VERSION {
        return Err(Mismatch::Layout(set.layout));
    }
    let missing = || Mismatch::Missing(LAYOUT.to_owned());
    let data = MapData::from_pin(set.map(LAYOUT)).map_err(|_| missing())?;
    aya::maps::Map::from_map_data(data)
        .and_then(Array::try_from)
        .map_err(|_| Mismatch::Map(LAYOUT.to_owned()))
}

/// The capacities of a set that this agent may go on with: it wants `capacities`, for a policy of `sizes`.
pub(super) fn examine(
    set: &Set,
    capacities: &Capacities,
    sizes: &Sizes,
    owner: &Owner,
) -> Result<Capacities, Mismatch> {
    let pinned = open_layout(set)?.get(&0, 0).map_err(|_| Mismatch::Missing(LAYOUT.to_owned()))?;
    if pinned.layout != LAYOUT_VERSION {
        return Err(Mismatch::Layout(pinned.layout));
    }
    if pinned.netns_cookie != super::calls::netns_cookie() {
        return Err(Mismatch::Namespace);
    }
    let has_all = owner.identities.iter().zip(pinned.identities).all(|(own, its)| *own >= its);
    if pinned.state != owner.state || !has_all {
        return Err(Mismatch::State);
    }
    let own = of_pinned(&pinned);
    for (name, expected) in object::shapes(OBJECT, &own).map_err(|_| Mismatch::Half)? {
        let info = MapInfo::from_pin(set.map(name));
        let info = info.map_err(|_| Mismatch::Missing(name.to_owned()))?;
        if Shape::of(&info) != Some(expected) {
            return Err(Mismatch::Map(name.to_owned()));
        }
    }
    if own.engine != capacities.engine {
        return Err(Mismatch::Engine);
    }
    if own.flows != capacities.flows || own.records != capacities.records {
        return Err(Mismatch::Flows);
    }
    match own.lacking(sizes) {
        Some((table, ..)) => Err(Mismatch::Outgrown(table)),
        None => Ok(own),
    }
}

/// What a map was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) kind: u32,
    pub(super) key: u32,
    pub(super) value: u32,
    pub(super) entries: u32,
    pub(super) flags: u32,
}

impl Shape {
    fn of(info: &MapInfo) -> Option<Self> {
        Some(Self {
            kind: info.map_type().ok().map(|kind: MapType| kind as u32)?,
            key: info.key_size(),
            value: info.value_size(),
            entries: info.max_entries(),
            flags: info.map_flags(),
        })
    }
}

/// The capacities that a set was made with.
fn of_pinned(pinned: &Pinned) -> Capacities {
    let Pinned { engine, pages, classes, cells, rows, rules, names, selectors, .. } = *pinned;
    let Pinned { flows_v4, flows_v6, records, networks, .. } = *pinned;
    Capacities {
        engine: if engine == Engine::LpmTrie as u32 { Engine::LpmTrie } else { Engine::RangeTable },
        pages: pages as usize,
        classes: classes as usize,
        cells: cells as usize,
        rows: rows as usize,
        rules: rules as usize,
        names: names as usize,
        selectors: selectors as usize,
        flows: FlowRoom { v4: flows_v4, v6: flows_v6 },
        records,
        networks,
    }
}

/// What a set of these capacities says of itself.
pub(super) fn to_pinned(capacities: &Capacities, owner: &Owner) -> Pinned {
    let Capacities {
        engine,
        pages,
        classes,
        cells,
        rows,
        rules,
        names,
        selectors,
        flows: FlowRoom { v4, v6 },
        records,
        networks,
    } = *capacities;
    Pinned {
        layout: LAYOUT_VERSION,
        engine: engine as u32,
        netns_cookie: super::calls::netns_cookie(),
        state: owner.state,
        identities: owner.identities,
        pages: pages as u32,
        classes: classes as u32,
        cells: cells as u32,
        rows: rows as u32,
        rules: rules as u32,
        names: names as u32,
        selectors: selectors as u32,
        flows_v4: v4,
        flows_v6: v6,
        records,
        networks,
        ..Pinned::default()
    }
}
