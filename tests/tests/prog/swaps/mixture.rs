//! Policies put together from the tables of two: what half a publication would be.

use nsp_agent::{
    compile::{Compiled, Sizes},
    datapath::Engine,
};

use super::policies::Policy;

/// The parts of a generation, each of which is a table of its own in the kernel. Addresses are one table of
/// ranges, or one trie a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Header,
    Associations,
    Ports,
    Classes,
    Cells,
    Rows,
    Rules,
    NamesClasses,
    NamesUnits,
    AddressesV4,
    AddressesV6,
    Selectors,
}

impl Part {
    /// Whether it is one of an engine's.
    pub(super) fn is_of(self, engine: Engine) -> bool {
        self != Self::AddressesV6 || engine == Engine::LpmTrie
    }
}

pub(super) const PARTS: [Part; 12] = [
    Part::Header,
    Part::Associations,
    Part::Ports,
    Part::Classes,
    Part::Cells,
    Part::Rows,
    Part::Rules,
    Part::NamesClasses,
    Part::NamesUnits,
    Part::AddressesV4,
    Part::AddressesV6,
    Part::Selectors,
];

/// `one`, but with these parts of the `other`.
pub(super) fn mixed(one: &Policy, other: &Policy, parts: &[Part]) -> Policy {
    let of = |part| if parts.contains(&part) { other } else { one };
    let v4 = of(Part::AddressesV4).compiled.prefixes.iter().filter(|it| it.0.addr().is_ipv4());
    let v6 = of(Part::AddressesV6).compiled.prefixes.iter().filter(|it| it.0.addr().is_ipv6());
    let compiled = Compiled {
        header: of(Part::Header).compiled.header,
        associations: of(Part::Associations).compiled.associations.clone(),
        ports: of(Part::Ports).compiled.ports.clone(),
        classes: of(Part::Classes).compiled.classes.clone(),
        cells: of(Part::Cells).compiled.cells.clone(),
        rows: of(Part::Rows).compiled.rows.clone(),
        rules: of(Part::Rules).compiled.rules.clone(),
        names: of(Part::NamesClasses).compiled.names.clone(),
        name_units: of(Part::NamesUnits).compiled.name_units.clone(),
        prefixes: v4.chain(v6).copied().collect(),
        pages: of(Part::AddressesV4).compiled.pages.clone(),
        fqdns: Vec::new(),
        resources: Vec::new(),
        // Both are small.
        sizes: Sizes::default(),
    };
    Policy {
        compiled,
        selectors: of(Part::Selectors).selectors.clone(),
        listeners: of(Part::Ports).listeners.clone(),
    }
}
