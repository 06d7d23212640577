//! A whole boot, with the unit as it is shipped: nobody gets in on the way, and what brings interfaces up may be
//! started anew.

use std::{net::IpAddr, thread, time::Duration};

use nsp_tests::{
    agent::nsp_binary,
    booted::{self, Booted, Disk},
    deadline::Deadline,
    netns::World,
    packet::{BOTH, NEAR_MAC, Party},
    sockets::{Outcome, still_echoes, tcp_connect},
};

use crate::{
    knocker::Knocker,
    pins::{POSTGRES, is_closed, is_open, policy, world},
    private_uplink::{GATEWAY, OWN, know},
    service,
};

const UNIT: &str = include_str!("../../../packaging/nsp.service");

/// The server's addresses, one of each family, and its gateways; as systemd-networkd is to set them.
struct Uplink {
    addresses: [IpAddr; 2],
    gateways: [&'static str; 2],
}

impl Uplink {
    fn public() -> Self {
        let addresses = BOTH.map(|family| Party::Server.address(family));
        Self { addresses, gateways: ["192.0.2.254", "2001:db8:1::fe"] }
    }

    /// As a cloud has it: nothing of it is public but where the default route leads to.
    fn private(world: &World) -> Self {
        let [v4, v6] = GATEWAY;
        world
            .router()
            .ip(&format!("address add {v4}/24 dev br0\naddress add {v6}/64 dev br0 nodad\n"));
        Self { addresses: OWN.map(|it| it.parse().expect("an address")), gateways: GATEWAY }
    }

    fn network(&self, device: &str) -> String {
        let ([v4, v6], [by_v4, by_v6]) = (self.addresses, self.gateways);
        format!(
            "[Match]\nName={device}\n[Network]\nIPv6AcceptRA=no\nAddress={v4}/24\nAddress={v6}/64\n\
             Gateway={by_v4}\nGateway={by_v6}\n"
        )
    }
}

/// The disk of a server that is without power.
fn installed(world: &World, networks: &[(&str, &str)]) -> Disk {
    assert!(booted::is_possible(), "there is no systemd here: apt-get install systemd");
    world.server().ip("link set dev up0 down\naddress flush dev up0\n");
    let policy = policy("enforced");
    let mut files =
        vec![("etc/systemd/system/nsp.service", UNIT), ("etc/nsp/policy.toml", &policy)];
    files.extend_from_slice(networks);
    Disk::new(&nsp_binary(), &files)
}

/// Boots it while the stranger knocks, and for a moment longer.
fn boot<'a>(world: &'a World, disk: &Disk, uplink: &Uplink) -> (Booted, Knocker<'a>) {
    let [office, stranger] = [Party::Office, Party::Stranger].map(|party| world.host(party));
    let knocker = Knocker::new(office, stranger);
    let addresses = uplink.addresses.map(|it| it.to_string());
    know(world.router(), "br0", addresses.each_ref().map(|it| &**it), NEAR_MAC);
    let booted = knocker.while_knocking(uplink.addresses, POSTGRES, || {
        let booted = disk.boot(world.server());
        booted.wait();
        // The addresses are there by now, or are in a moment.
        for (family, address) in BOTH.into_iter().zip(uplink.addresses) {
            let (from, to) =
                ((Party::Office.address(family), 0).into(), (address, POSTGRES).into());
            let connects =
                || tcp_connect(office, from, to, service::PATIENCE) == Outcome::Connected;
            let reached =
                Deadline::after(Duration::from_secs(20)).poll(|| connects().then_some(()));
            assert!(reached.is_some(), "{}", booted.run_ok(&["ip", "address", "show"]));
        }
        thread::sleep(Duration::from_millis(500));
        booted
    });
    (booted, knocker)
}

/// The address comes before the default route, and until both are there it might be a private device.
#[test]
fn nobody_gets_in_on_the_way_of_a_host_with_a_private_address() {
    let world = world();
    let uplink = Uplink::private(&world);
    let network = ("etc/systemd/network/10-up0.network", &*uplink.network("up0"));
    let disk = installed(&world, &[network]);
    let _postgres = service::tcp(world.server(), POSTGRES);
    // The gap would be of some milliseconds, and not in every boot.
    for _boot in 0..4 {
        // What a cloud's network says comes later than the carrier.
        world.server().ip("link set dev up0 up");
        boot(&world, &disk, &uplink).1.nobody_got_in(50);
        world.server().ip("link set dev up0 down\naddress flush dev up0\n");
    }
}

#[test]
fn nobody_gets_in_on_the_way_of_a_host_whose_address_is_a_bridges() {
    let world = world();
    let mac = NEAR_MAC.map(|byte| format!("{byte:02x}")).join(":");
    let netdev = format!("[NetDev]\nName=br0\nKind=bridge\nMACAddress={mac}\n");
    for uplink in [Uplink::public(), Uplink::private(&world)] {
        let disk = installed(
            &world,
            &[
                ("etc/systemd/network/10-br0.netdev", &netdev),
                ("etc/systemd/network/10-br0.network", &uplink.network("br0")),
                (
                    "etc/systemd/network/10-up0.network",
                    "[Match]\nName=up0\n[Network]\nBridge=br0\n",
                ),
            ],
        );
        let _postgres = service::tcp(world.server(), POSTGRES);
        let (booted, knocker) = boot(&world, &disk, &uplink);
        knocker.nobody_got_in(50);
        drop(booted);
        world.server().ip("link del br0");
    }
}

#[test]
fn nobody_gets_in_on_the_way_and_the_switch_holds_over_a_boot() {
    let world = world();
    let uplink = Uplink::public();
    let disk = installed(&world, &[("etc/systemd/network/10-up0.network", &uplink.network("up0"))]);
    let _postgres = service::tcp(world.server(), POSTGRES);
    let (booted, knocker) = boot(&world, &disk, &uplink);
    knocker.nobody_got_in(50);
    is_closed(&world);

    // Interfaces are taken over anew by whoever manages them: a conversation does not notice.
    let open = BOTH.map(|family| service::open(&world, Party::Office, family, POSTGRES));
    let hooks = || booted.run_ok(&["ls", "/sys/fs/bpf/nsp/links"]);
    let before = hooks();
    booted.run_ok(&["systemctl", "restart", "systemd-networkd"]);
    assert!(open.iter().all(still_echoes));
    is_closed(&world);
    assert_eq!(hooks(), before);

    // Killed, it is started again; and off is off, also after the next boot.
    booted.run_ok(&["systemctl", "kill", "--signal=KILL", "nsp"]);
    is_closed(&world);
    booted.run_ok(&["systemctl", "restart", "nsp"]);
    is_closed(&world);
    booted.run_ok(&["nsp", "off"]);
    is_open(&world);
    drop(booted);
    let (booted, _) = boot(&world, &disk, &uplink);
    is_open(&world);
    assert!(booted.run_ok(&["nsp", "status"]).starts_with("OFF: "));
    booted.run_ok(&["nsp", "on"]);
    is_closed(&world);
}
