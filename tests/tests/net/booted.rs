//! A whole boot, with the unit as it is shipped: nobody gets in on the way, and what brings interfaces up may be
//! started anew.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use nsp_tests::{
    agent::nsp_binary,
    booted::{self, Booted, Disk},
    netns::World,
    packet::{BOTH, Party},
    sockets::{Outcome, still_echoes, tcp_connect},
};

use crate::{
    pins::{POSTGRES, is_closed, is_open, policy, world},
    service,
};

const UNIT: &str = include_str!("../../../packaging/nsp.service");

/// The server's uplink, as systemd-networkd is to bring it up.
fn uplink() -> String {
    let (v4, v6) = (Party::Server.v4(), Party::Server.v6());
    format!(
        "[Match]\nName=up0\n[Network]\nIPv6AcceptRA=no\nAddress={v4}/24\nAddress={v6}/64\n\
         Gateway=192.0.2.254\nGateway=2001:db8:1::fe\n"
    )
}

/// A server without power, and its disk.
fn installed() -> (World, Disk) {
    let world = world();
    world.server().ip("link set dev up0 down\naddress flush dev up0\n");
    let disk = Disk::new(
        &nsp_binary(),
        &[
            ("etc/systemd/system/nsp.service", UNIT),
            ("etc/systemd/network/10-up0.network", &uplink()),
            ("etc/nsp/policy.toml", &policy("enforced")),
        ],
    );
    (world, disk)
}

/// Ends the knocking when it is dropped, by a panic too.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Boots it while the stranger knocks; how often that knocked, and how often it got in.
fn boot(world: &World, disk: &Disk) -> (Booted, u64, u64) {
    let (is_up, knocked, got_in) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let booted = thread::scope(|scope| {
        let _end = Ends(&is_up);
        for family in BOTH {
            let (is_up, knocked, got_in) = (&is_up, &knocked, &got_in);
            scope.spawn(move || {
                let from = SocketAddr::new(Party::Stranger.address(family), 0);
                let to = SocketAddr::new(Party::Server.address(family), POSTGRES);
                let brief = Duration::from_millis(20);
                while !is_up.load(Ordering::Acquire) {
                    let outcome = tcp_connect(world.host(Party::Stranger), from, to, brief);
                    knocked.fetch_add(1, Ordering::Relaxed);
                    got_in.fetch_add(u64::from(outcome == Outcome::Connected), Ordering::Relaxed);
                    thread::sleep(Duration::from_millis(5));
                }
            });
        }
        let booted = disk.boot(world.server());
        booted.wait();
        // The addresses are there by now, or are in a moment.
        for family in BOTH {
            let mut tries = 0..20;
            let reached =
                tries.any(|_| world.connect(Party::Office, family, POSTGRES) == Outcome::Connected);
            assert!(reached, "{}", booted.run_ok(&["ip", "address", "show", "dev", "up0"]));
        }
        booted
    });
    (booted, knocked.into_inner(), got_in.into_inner())
}

#[test]
fn nobody_gets_in_on_the_way_and_the_switch_holds_over_a_boot() {
    if !booted::is_possible() {
        panic!("there is no systemd here: apt-get install systemd");
    }
    let (world, disk) = installed();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let (booted, knocked, got_in) = boot(&world, &disk);
    println!("{knocked} times knocked while the host booted, {got_in} times got in");
    assert!(knocked > 50, "{knocked}");
    assert_eq!(got_in, 0);
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
    let (booted, ..) = boot(&world, &disk);
    is_open(&world);
    assert!(booted.run_ok(&["nsp", "status"]).starts_with("OFF: "));
    booted.run_ok(&["nsp", "on"]);
    is_closed(&world);
}
