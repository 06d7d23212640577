//! Conversations that were live before the programs were: taken over from the kernel's sockets, so
//! that the first start cuts none of them.

use nsp_common::{
    address::Address,
    class::flags as class_flags,
    decide::Tables as _,
    flow::{Flow, FlowKey, flags},
    verdict::{Direction, Reason},
};

use crate::{
    compile::oracle::Oracle,
    host::sockets::Connection,
};

/// The entries for live connections to public peers. Each is judged by its first packet (its
/// generation is none): a rule allows it, or it counts as tolerated before and is kept.
pub(super) fn flows(
    connections: &[Connection],
    oracle: &Oracle<'_>,
    association_of: impl Fn(&Connection) -> u16,
    now_ns: u64,
) -> Vec<(FlowKey, Flow)> {
    connections
        .iter()
        .filter(|connection| connection.replied)
        .filter_map(|connection| {
            let key = key(connection);
            let family = if key.is_v4() {
                nsp_common::address::Family::V4
            } else {
                nsp_common::address::Family::V6
            };
            let trusted = class_flags::PRIVATE | class_flags::MEMBER | class_flags::LINKED;
            let class = oracle.class(oracle.class_of(&key.remote, family));
            if class.flags & trusted != 0 || key.remote.is_loopback(family) {
                return None;
            }
            let opener = if connection.listening_side {
                Direction::Inbound
            } else {
                Direction::Outbound
            };
            let flow = Flow {
                opened_ns: now_ns,
                seen_ns: now_ns,
                packets: 0,
                bytes: 0,
                rule: 0,
                name: 0,
                generation: 0,
                ifindex: 0,
                association: association_of(connection),
                flags: flags::SEEDED | flags::REPLIED | flags::WOULD_DENY,
                reason: Reason::NoRule as u8,
                opener: opener as u8,
                _pad: [0; 2],
            };
            Some((key, flow))
        })
        .collect()
}

fn key(connection: &Connection) -> FlowKey {
    FlowKey {
        remote: Address::from(connection.remote.ip()),
        local: Address::from(connection.local.ip()),
        remote_port: connection.remote.port(),
        local_port: connection.local.port(),
        scope: 0,
        protocol: connection.protocol,
        family: if connection.remote.is_ipv4() { 4 } else { 6 },
    }
}
