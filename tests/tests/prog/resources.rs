//! Which resource a packet concerns.

use nsp_common::{
    address::Address,
    class::PortEntry,
    selector::Selector,
    verdict::{Category, Reason},
};
use nsp_tests::{
    packet::{
        Party,
        Party::{Office, Server, Stranger},
        raw, tcp, udp,
    },
    prog::{Case, DEVICE, everywhere},
};

/// A second address of the server.
const SECOND: (&str, &str) = ("192.0.2.2", "2001:db8:1::2");

/// One resource of each kind, all enforced with a profile that allows nobody.
const POLICY: &str = r#"
[perimeter]
name = "lab"
[profile.closed.inbound.nobody]
address_prefixes = []
[resource.port-of-address]
address = "192.0.2.1"
ports = ["5432/tcp"]
profile = "closed"
access_mode = "enforced"
[resource.port]
ports = ["5432/tcp", "8000-8010/tcp", "53/udp"]
profile = "closed"
access_mode = "enforced"
[resource.address]
address = "2001:db8:1::1"
profile = "closed"
access_mode = "enforced"
[resource.device]
interface = "up0"
profile = "closed"
access_mode = "enforced"
[resource.whole-host]
host = true
profile = "closed"
access_mode = "enforced"
"#;

/// Resolves the selectors as the agent would: both addresses are local, and `device` is wanted or
/// not.
fn select(case: &mut Case<'_>, with_device: bool) {
    let mut number = |name: &str| case.lab.identities.association(name);
    let addresses = [Address::from(Server.address(case.family))];
    let mut selectors = Vec::new();
    for address in &addresses {
        selectors.push((Selector::address(0, address), number("address")));
        let with_port = Selector::address_port(0, address, 6, 5432);
        selectors.push((with_port, number("port-of-address")));
    }
    if with_device {
        selectors.push((Selector::interface(0, DEVICE), number("device")));
        selectors.push((Selector::interface(0, DEVICE + 1), number("port")));
    }
    case.lab.datapath.select(&selectors).expect("selectors fit");
}

#[test]
fn most_specific_selector_decides_inbound() {
    everywhere(POLICY, |case| {
        let port = case.port();
        select(case, true);
        case.concerns("port-of-address");
        case.inbound(case.ip(Stranger, Server) / tcp(port, 5432).syn()).refused(Reason::NoRule);
        case.concerns("port");
        case.inbound(case.ip(Stranger, SECOND) / tcp(port, 5432).syn()).refused(Reason::NoRule);
        case.inbound(case.ip(Stranger, Server) / tcp(port, 8010).syn()).refused(Reason::NoRule);
        case.inbound(case.ip(Stranger, Server) / udp(port, 53)).refused(Reason::NoRule);
        case.concerns("address");
        case.inbound(case.ip(Stranger, Server) / tcp(port, 8011).syn()).refused(Reason::NoRule);
        case.inbound(case.ip(Stranger, Server) / udp(port, 5432)).refused(Reason::NoRule);
        case.inbound(case.ip(Stranger, Server) / case.family.echo_request(port, 1))
            .refused(Reason::NoRule);
        case.concerns("device");
        case.inbound(case.ip(Stranger, SECOND) / tcp(port, 80).syn()).refused(Reason::NoRule);
        select(case, false);
        case.concerns("whole-host");
        case.inbound(case.ip(Stranger, SECOND) / tcp(port, 80).syn()).refused(Reason::NoRule);
    });
}

#[test]
fn calls_are_the_listeners_or_the_hosts() {
    everywhere(POLICY, |case| {
        let port = case.port();
        select(case, true);
        case.concerns("whole-host");
        case.outbound(case.ip(Server, Stranger) / tcp(port, 443).syn()).refused(Reason::NoRule);
        case.concerns("port-of-address");
        case.outbound(case.ip(Server, Stranger) / tcp(5432, port).syn()).refused(Reason::NoRule);
        case.concerns("port");
        case.outbound(case.ip(SECOND, Stranger) / tcp(5432, port).syn()).refused(Reason::NoRule);
        // What goes out of a listener's port in answer is judged by the rules for who asks.
        case.outbound(case.ip(SECOND, Stranger) / tcp(5432, port).ack())
            .drops(Reason::NoRule, Category::PublicInboundPerimeterRulesDenied);
    });
}

#[test]
fn listener_that_comes_and_goes_is_followed() {
    everywhere(POLICY, |case| {
        let port = case.port();
        select(case, false);
        let association = case.lab.identities.association("port");
        case.concerns("whole-host");
        case.inbound(case.ip(Stranger, SECOND) / tcp(port, 7000).syn()).refused(Reason::NoRule);
        case.lab.datapath.set_port(6, 7000, PortEntry { class: 0, association });
        case.concerns("port");
        case.inbound(case.ip(Stranger, SECOND) / tcp(port, 7000).syn()).refused(Reason::NoRule);
        case.lab.datapath.set_port(6, 7000, PortEntry { class: 0, association: 0 });
        case.concerns("whole-host");
        case.inbound(case.ip(Stranger, SECOND) / tcp(port, 7000).syn()).refused(Reason::NoRule);
    });
}

#[test]
fn each_resource_has_its_own_profile_and_mode() {
    let policy = r#"
[perimeter]
name = "lab"
[profile.database.inbound.office]
address_prefixes = ["203.0.113.0/24", "2001:db8:100::/40"]
[profile.web.inbound.everyone]
address_prefixes = ["0.0.0.0/0", "::/0"]
allow_any = true
[resource.postgres]
ports = ["5432/tcp"]
profile = "database"
access_mode = "enforced"
[resource.staging]
ports = ["5433/tcp"]
profile = "database"
[resource.site]
ports = ["443/tcp"]
profile = "web"
access_mode = "enforced"
"#;
    everywhere(policy, |case| {
        let port = case.port();
        let syn = |case: &Case<'_>, source, service| {
            case.ip::<Party, _>(source, Server) / tcp(port, service).syn()
        };
        case.concerns("postgres");
        case.inbound(syn(case, Office, 5432)).allowed("office");
        case.inbound(syn(case, Stranger, 5432)).refused(Reason::NoRule);
        case.concerns("staging");
        case.inbound(syn(case, Office, 5433)).allowed("office");
        case.inbound(syn(case, Stranger, 5433)).would_deny(Reason::NoRule);
        case.concerns("site");
        case.inbound(syn(case, Office, 443)).allowed("everyone");
        case.inbound(syn(case, Stranger, 443)).allowed("everyone");
        case.concerns(None);
        case.inbound(syn(case, Stranger, 80)).ignored(Reason::Unassociated);
        // Where ports cannot be read, one enforced resource is enough.
        case.inbound(case.ip(Stranger, Server) / raw(6, [0; 4]))
            .refused(Reason::TruncatedTransport);
    });
}
