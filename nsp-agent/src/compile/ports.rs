//! Port classes: (protocol, port) pairs that no rule tells apart share a number.

use std::collections::HashMap;

use nsp_common::{
    class::{PORT_ENTRIES, PortEntry, port_index},
    generation::PORT_CLASSES_MAX,
    net::transport::protocol,
};

use super::limits::BudgetError;
use crate::policy::model::{PortRange, PortSet, PortSpec};

/// The port classes of a policy. Class zero is what no rule lists.
pub(super) struct PortClasses {
    /// The distinct lists, in order of appearance.
    lists: Vec<Vec<PortSpec>>,
    /// Which lists a class is in, by class.
    members: Vec<Vec<usize>>,
    table: Vec<PortEntry>,
}

impl PortClasses {
    /// Classes of the given port sets.
    pub(super) fn of<'a>(sets: impl Iterator<Item = &'a PortSet>) -> Result<Self, BudgetError> {
        let mut lists: Vec<Vec<PortSpec>> = Vec::new();
        for set in sets {
            if let PortSet::Listed(list) = set
                && !lists.contains(list)
            {
                lists.push(list.clone());
            }
        }
        let mut classes = Self {
            lists,
            members: vec![Vec::new()],
            table: vec![PortEntry::default(); PORT_ENTRIES],
        };
        let mut numbers = HashMap::from([(Vec::new(), 0_u16)]);
        for number in [protocol::TCP, protocol::UDP, protocol::SCTP] {
            for (first, last, within) in classes.runs(number) {
                let class = classes.number(within, &mut numbers)?;
                for entry in
                    &mut classes.table[port_index(number, first)..=port_index(number, last)]
                {
                    entry.class = class;
                }
            }
        }
        for number in 0..=u8::MAX {
            let within = classes.lists_with(|spec| match spec {
                PortSpec::Icmp => number == protocol::ICMP || number == protocol::ICMPV6,
                PortSpec::Protocol(listed) => *listed == number,
                PortSpec::Range(_) => false,
            });
            let class = classes.number(within, &mut numbers)?;
            classes.table[port_index(number, 0)].class = class;
        }
        Ok(classes)
    }

    /// Number of classes: the length of a row.
    pub(super) fn count(&self) -> u32 {
        self.members.len() as u32
    }

    /// The table, laid out as [`nsp_common::class::PortTable`], with no listeners yet.
    pub(super) fn table(&self) -> Vec<PortEntry> {
        self.table.clone()
    }

    /// Whether a rule with these ports admits a class.
    pub(super) fn admits(&self, ports: &PortSet, class: usize) -> bool {
        match ports {
            PortSet::Any => true,
            PortSet::Listed(list) => {
                self.members[class].iter().any(|member| self.lists[*member] == *list)
            }
        }
    }

    /// Runs of ports of one protocol that are in the same lists.
    fn runs(&self, number: u8) -> Vec<(u16, u16, Vec<usize>)> {
        let mut starts: Vec<u32> = vec![0];
        for spec in self.lists.iter().flatten() {
            if let PortSpec::Range(range) = spec
                && range.transport.number() == number
            {
                starts.push(u32::from(range.first));
                starts.push(u32::from(range.last) + 1);
            }
        }
        starts.sort_unstable();
        starts.dedup();
        starts.retain(|start| *start <= u32::from(u16::MAX));
        let ends = starts.iter().skip(1).copied().chain([u32::from(u16::MAX) + 1]);
        starts
            .iter()
            .zip(ends)
            .map(|(start, end)| {
                let first = *start as u16;
                let within = self.lists_with(|spec| match spec {
                    PortSpec::Range(range) => {
                        range.transport.number() == number
                            && (range.first..=range.last).contains(&first)
                    }
                    PortSpec::Icmp | PortSpec::Protocol(_) => false,
                });
                (first, (end - 1) as u16, within)
            })
            .collect()
    }

    fn lists_with(&self, holds: impl Fn(&PortSpec) -> bool) -> Vec<usize> {
        let with = self.lists.iter().enumerate().filter(|(_, list)| list.iter().any(&holds));
        with.map(|(index, _)| index).collect()
    }

    fn number(
        &mut self,
        within: Vec<usize>,
        numbers: &mut HashMap<Vec<usize>, u16>,
    ) -> Result<u16, BudgetError> {
        if let Some(class) = numbers.get(&within) {
            return Ok(*class);
        }
        let class = self.members.len();
        if class >= PORT_CLASSES_MAX as usize {
            return Err(BudgetError::new("port classes", class + 1, PORT_CLASSES_MAX as usize));
        }
        self.members.push(within.clone());
        numbers.insert(within, class as u16);
        Ok(class as u16)
    }
}

/// Makes an association the listener of a range of ports.
pub(super) fn listen(table: &mut [PortEntry], range: &PortRange, association: u16) {
    let number = range.transport.number();
    for entry in &mut table[port_index(number, range.first)..=port_index(number, range.last)] {
        entry.association = association;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::model::Transport;

    fn range(first: u16, last: u16) -> PortSpec {
        PortSpec::Range(PortRange { transport: Transport::Tcp, first, last })
    }

    #[test]
    fn overlapping_ranges_split_into_classes_that_admit_exactly_their_ports() {
        let low = PortSet::listed([range(80, 90)]);
        let high = PortSet::listed([range(85, 95)]);
        let classes = PortClasses::of([&low, &high, &PortSet::Any].into_iter()).unwrap();
        let table = classes.table();
        for port in 75..100_u16 {
            let class = usize::from(table[port_index(6, port)].class);
            assert_eq!(classes.admits(&low, class), (80..=90).contains(&port), "{port} low");
            assert_eq!(classes.admits(&high, class), (85..=95).contains(&port), "{port} high");
            assert!(classes.admits(&PortSet::Any, class));
        }
        assert_eq!(table[port_index(17, 85)].class, 0, "a tcp rule says nothing of udp");
    }

    #[test]
    fn icmp_is_one_word_for_both_families() {
        let icmp = PortSet::listed([PortSpec::Icmp]);
        let classes = PortClasses::of(std::iter::once(&icmp)).unwrap();
        let table = classes.table();
        assert_eq!(table[port_index(1, 0)].class, table[port_index(58, 0)].class);
        assert!(classes.admits(&icmp, usize::from(table[port_index(1, 0)].class)));
        assert!(!classes.admits(&icmp, usize::from(table[port_index(6, 1)].class)));
    }

    #[test]
    fn an_empty_list_admits_nothing() {
        let none = PortSet::listed([]);
        let classes = PortClasses::of(std::iter::once(&none)).unwrap();
        assert!(!classes.admits(&none, 0));
    }

    #[test]
    fn too_many_classes_are_refused_by_name() {
        let sets: Vec<PortSet> =
            (1..=300).map(|port| PortSet::listed([range(port, port)])).collect();
        let error = PortClasses::of(sets.iter()).err().expect("over the limit");
        assert!(error.to_string().contains("port classes"), "{error}");
    }
}
