//! Buffers whose headers are not in the linear part: what TC reads there it has to pull first.

use nsp_tests::{
    agent::Agent,
    netns::World,
    packet::{BOTH, Party, eth, udp},
    sockets::ScatteredSender,
};
use serde_json::json;

use crate::{accounting::POLICY, seen, service};

const SYSLOG: u16 = 514;
const SENT: u64 = 20;
/// Longer than a page, and than a device's usual MTU.
const PAYLOAD: usize = 5000;

#[test]
fn headers_beyond_the_linear_part_are_read_all_the_same() {
    let payload = "z".repeat(PAYLOAD);
    for mode in ["off", "generic"] {
        let world = World::builder().clients(&[Party::Office, Party::Stranger]).build();
        world.server().ip("link set up0 mtu 9000");
        world.router().ip("link set to-server mtu 9000");
        let server = BOTH.map(|family| Party::Server.address(family));
        let _syslog = server.map(|address| service::udp(world.server(), address, SYSLOG));
        let agent = Agent::builder(world.server())
            .policy(POLICY)
            .argument("--xdp-mode")
            .argument(mode)
            .start();
        let wire = ScatteredSender::open(world.router(), "to-server");
        for family in BOTH {
            for number in 0..SENT {
                for party in [Party::Office, Party::Stranger] {
                    let port = 2000 + number as u16;
                    let ip = family.ip(party, Party::Server);
                    wire.send(eth() / ip / udp(port, SYSLOG) / payload.as_str());
                }
            }
        }
        seen::settle(&agent);
        for family in BOTH {
            for (party, reason) in [(Party::Office, "access rule"), (Party::Stranger, "no rule")] {
                let source = json!({
                    "SourceIpAddress": party.address(family),
                    "DestinationPort": SYSLOG,
                    "Reason": reason,
                });
                let records = seen::records(&agent, &source);
                let packets: u64 = records.iter().map(|it| seen::number(&it["Packets"])).sum();
                assert!(packets >= SENT, "--xdp-mode {mode}: {party:?} {family:?}: {records:?}");
            }
        }
    }
}
