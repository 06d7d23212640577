//! Waiting until what was configured is in effect.
//!
//! The kernel finishes some of it later, on work queues: a link that got its carrier still drops
//! what is sent on it, and the local route of an IPv6 address comes after the address itself,
//! even where duplicate address detection is off. A test that starts in that gap loses packets
//! that nobody judged.

use std::{fs, process::Command, time::Duration};

use super::namespace::Namespace;
use crate::deadline::Deadline;

const WITHIN: Duration = Duration::from_secs(10);

/// The flag of a tentative address in /proc/net/if_inet6.
const TENTATIVE: u32 = 0x40;

/// The flag of a local route in /proc/net/ipv6_route.
const LOCAL: u32 = 0x8000_0000;

impl Namespace {
    /// Waits until every link that is switched on carries packets and every IPv6 address counts.
    ///
    /// # Panics
    /// When that takes ten seconds; the message names what is missing.
    pub fn settle(&self) {
        let mut missing = None;
        let settled = Deadline::after(WITHIN).poll(|| {
            let links = self.output(Command::new("ip").args(["-o", "-d", "link", "show", "up"]));
            missing = unready_link(&String::from_utf8_lossy(&links.stdout))
                .or_else(|| self.enter(unready_address));
            missing.is_none().then_some(())
        });
        let missing = missing.unwrap_or_default();
        assert!(settled.is_some(), "{} does not settle: {missing}", self.name());
    }
}

/// The line of a link that drops what it is given, or of a bridge port that does not forward.
fn unready_link(links: &str) -> Option<String> {
    let ready = |line: &str| {
        let carries = line.contains(" state UP ") && !line.contains(" qdisc noop ");
        let forwards =
            !line.contains(" bridge_slave ") || line.contains(" bridge_slave state forwarding ");
        line.contains("<LOOPBACK") || line.contains("<POINTOPOINT") || (carries && forwards)
    };
    links.lines().find(|line| !ready(line)).map(str::to_owned)
}

fn unready_address() -> Option<String> {
    // /proc/net is that of the process; this is that of the thread.
    let read = |name| fs::read_to_string(format!("/proc/thread-self/net/{name}"));
    match (read("if_inet6"), read("ipv6_route")) {
        (Ok(addresses), Ok(routes)) => address_without_route(&addresses, &routes),
        _ => Some("the kernel lists no IPv6 addresses and routes".to_owned()),
    }
}

/// The line of an address that the host would not accept packets for.
fn address_without_route(addresses: &str, routes: &str) -> Option<String> {
    let is_local = |address: &str| {
        routes.lines().any(|route| {
            let mut fields = route.split_whitespace();
            let to_address = fields.next() == Some(address) && fields.next() == Some("80");
            to_address && fields.nth(6).and_then(hex).is_some_and(|flags| flags & LOCAL != 0)
        })
    };
    let counts = |line: &&str| {
        let mut fields = line.split_whitespace();
        let (address, flags) = (fields.next(), fields.nth(3).and_then(hex));
        let tentative = flags.is_none_or(|flags| flags & TENTATIVE != 0);
        !tentative && address.is_some_and(is_local)
    };
    addresses.lines().find(|line| !counts(line)).map(str::to_owned)
}

fn hex(field: &str) -> Option<u32> {
    u32::from_str_radix(field, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINKS: &str = "\
        1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN mode DEFAULT\n\
        2: up0@if3: <BROADCAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP mode DEFAULT\n\
        3: a@if2: <UP> qdisc noqueue state UP mode \\ veth \\ bridge_slave state forwarding x\n";

    const ADDRESS: &str = "20010db8000100000000000000000001 04 40 00 80 up0\n";

    const ROUTE: &str = "20010db8000100000000000000000001 80 0000 00 0000 00000000 00000002 \
        00000000 80200001 up0\n";

    #[test]
    fn link_is_ready_when_it_carries_and_forwards() {
        assert_eq!(unready_link(LINKS), None);
        for (ready, unready) in [
            ("noqueue state UP mode DEFAULT", "noqueue state LOWERLAYERDOWN mode DEFAULT"),
            ("noqueue state UP mode DEFAULT", "noop state UP mode DEFAULT"),
            ("state forwarding", "state learning"),
        ] {
            let links = LINKS.replace(ready, unready);
            assert!(unready_link(&links).is_some(), "{unready}");
        }
    }

    #[test]
    fn address_counts_when_it_has_a_local_route() {
        assert_eq!(address_without_route(ADDRESS, ROUTE), None);
        assert_eq!(address_without_route("", ""), None, "a host without IPv6");
        assert!(address_without_route(ADDRESS, "").is_some());
        assert!(address_without_route(ADDRESS, &ROUTE.replace("802", "002")).is_some());
        assert!(address_without_route(ADDRESS, &ROUTE.replace(" 80 ", " 40 ")).is_some());
        assert!(address_without_route(&ADDRESS.replace(" 80 up0", " c0 up0"), ROUTE).is_some());
    }
}
