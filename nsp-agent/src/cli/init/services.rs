//! What listens on this host: the sockets that the outside can reach, by the unit that opened them.

use std::collections::BTreeMap;

use crate::{
    host::{
        cgroups::{Tree, unit_of},
        sockets::{self, Listener},
    },
    policy::model::{PortRange, Transport},
};

/// What listens together: the sockets of a unit, or one port without a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Service {
    /// What it would be called.
    pub(super) name: String,
    /// Its unit, where it is a service of systemd.
    pub(super) unit: Option<String>,
    /// Its ports, sorted.
    pub(super) ports: Vec<PortRange>,
}

/// Groups the listeners that can be reached from outside.
pub(super) fn services(listeners: &[Listener], tree: Option<&Tree>) -> Vec<Service> {
    // As the kernel has it where nobody changed it.
    let ephemeral = sockets::ephemeral_ports().unwrap_or(32768..=60999);
    let mut services: BTreeMap<(Option<&str>, Option<PortRange>), Service> = BTreeMap::new();
    for listener in listeners {
        // A UDP client that is not connected looks like a listener.
        let is_client = listener.protocol == 17 && ephemeral.contains(&listener.port);
        if listener.address.is_loopback() || is_client {
            continue;
        }
        let transport = if listener.protocol == 17 { Transport::Udp } else { Transport::Tcp };
        let port = PortRange { transport, first: listener.port, last: listener.port };
        let unit = listener
            .cgroup
            .and_then(|id| tree?.path_of(id))
            .and_then(unit_of)
            .filter(|unit| unit.ends_with(".service"));
        let key = (unit, unit.is_none().then_some(port));
        let service = services.entry(key).or_insert_with(|| Service {
            name: match unit {
                Some(unit) => unit.trim_end_matches(".service").to_owned(),
                None => format!("port-{}", spelt(&port)),
            },
            unit: unit.map(ToOwned::to_owned),
            ports: Vec::new(),
        });
        service.ports.push(port);
        service.ports.sort_unstable();
        service.ports.dedup();
    }
    services.into_values().collect()
}

/// A range of ports as it can be in a name: `8080-tcp`, `8000-8090-tcp`.
pub(super) fn spelt(range: &PortRange) -> String {
    range.to_string().replace('/', "-")
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn listener(protocol: u8, address: &str, port: u16) -> Listener {
        let address: IpAddr = address.parse().unwrap();
        Listener {
            protocol,
            address,
            port,
            dual_stack: false,
            cgroup: None,
            inode: 0,
            interface: None,
        }
    }

    #[test]
    fn a_port_without_a_unit_is_a_service_of_its_own() {
        let any = Ipv4Addr::UNSPECIFIED.to_string();
        let listeners = [
            listener(6, &any, 22),
            listener(6, "::", 22),
            listener(17, "192.0.2.1", 123),
            listener(6, "127.0.0.1", 5432),
            listener(17, &any, 50000),
        ];
        let found = services(&listeners, None);
        let names: Vec<&str> = found.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["port-22-tcp", "port-123-udp"]);
        assert_eq!(found[0].ports.len(), 1, "both families are one port: {:?}", found[0]);
    }
}
