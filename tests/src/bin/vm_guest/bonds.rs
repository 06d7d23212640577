//! What an operator does with a bond while the agent runs: the kernel refuses none of it.
//!
//! Here, because few kernels of development machines have bonds.

use std::{
    env,
    net::{Ipv6Addr, SocketAddr},
    process::Command,
};

use nsp_agent::datapath::attach::{Attachments, Device, XdpMode};
use nsp_tests::{
    agent::Agent,
    deadline::Deadline,
    netns::World,
    packet::{BOTH, Party},
    prog::Lab,
    sockets::{EchoServer, Outcome, tcp_connect},
    survival::{self, POSTGRES},
};

use crate::{
    outlive::{READY_WITHIN, SILENCE, SOON},
    report::Report,
};

const NAME: &str = "agent: a bond takes slaves, gives them away and takes them again";

/// Tells it, where the kernel has bonds.
pub(crate) fn check(report: &mut Report) {
    if !report.wants(NAME) {
        return;
    }
    let mut world = World::builder().clients(&[Party::Office, Party::Stranger]).build();
    if !ip(&world, "link add probe type bond").is_empty() {
        report.leave_out(NAME, "this kernel has no bonds");
        return;
    }
    ip(&world, "link del probe");
    report.check(NAME, || tell(&mut world));
}

fn tell(world: &mut World) {
    let database =
        EchoServer::tcp(world.server(), SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), POSTGRES));
    let sandbox = world.sandbox();
    sandbox.connect(("router", "to-server-2"), ("server", "up1"));
    sandbox.host("router").ip("link set dev to-server-2 master br0");
    world.server().ip("link set dev up0 down\naddress flush dev up0\nlink set dev up1 down");
    let agent = Agent::builder(world.server())
        .binary(env::current_exe().expect("this program"))
        .policy(survival::POLICY)
        .interfaces(&[])
        .argument("--early")
        .ready_within(READY_WITHIN)
        .start();
    is_covered(&agent, "up0");
    is_covered(&agent, "up1");

    // As at a boot: the bond is there, and hooked, before it has slaves; and so are they.
    do_ip(world, "link add bond0 type bond mode active-backup miimon 100");
    let hook = is_covered(&agent, "bond0");
    // The kernel refuses this to a bond with native XDP.
    do_ip(world, "link set dev bond0 type bond mode balance-alb");
    do_ip(world, "link set dev bond0 type bond mode active-backup");
    for slave in ["up0", "up1"] {
        do_ip(world, &format!("link set dev {slave} master bond0"));
    }
    do_ip(world, "link set dev bond0 up");
    let (v4, v6) = (Party::Server.v4(), Party::Server.v6());
    world.server().ip(&format!(
        "address add {v4}/24 dev bond0\naddress add {v6}/64 dev bond0 nodad\n\
         route add default via 192.0.2.254\nroute add ::/0 via 2001:db8:1::fe\n"
    ));
    is_judged(world);

    // A slave that goes is a device of its own, and hooked as one; and is a slave again.
    do_ip(world, "link set dev up1 nomaster");
    is_covered(&agent, "up1");
    do_ip(world, "link set dev up1 down");
    do_ip(world, "link set dev up1 master bond0");
    do_ip(world, "link set dev up0 down");
    is_judged(world);
    assert_eq!(hook, "tc");
    give_it_a_program(world, || {
        do_ip(world, "link set dev up1 nomaster");
        let hook = is_covered(&agent, "up1");
        do_ip(world, "link set dev up1 down");
        do_ip(world, "link set dev up1 master bond0");
        assert_eq!(hook, "tc");
    });
    drop(database);
}

/// Somebody else has XDP at the bond, meanwhile: then it takes no slave with a program of its own.
fn give_it_a_program(world: &World, work: impl FnOnce()) {
    let server = world.server();
    let (index, name) = (server.index("bond0"), "bond0".to_owned());
    let device = Device { index, name, has_link_header: true, without_native: false };
    let mut lab = Lab::shared();
    let mut hooks = Attachments::default();
    let hook = server.enter(|| hooks.add(&mut lab.datapath, &device, XdpMode::Native));
    hook.unwrap_or_else(|error| panic!("{:#}", anyhow::Error::from(error)));
    work();
    // A classifier is unhooked by a message to the namespace that one is in.
    server.enter(move || drop(hooks));
}

/// What the kernel or `ip` says against it.
fn ip(world: &World, line: &str) -> String {
    let output = world.server().output(Command::new("ip").args(line.split(' ')));
    let refused = if output.status.success() { Vec::new() } else { output.stderr };
    String::from_utf8_lossy(&refused).into_owned()
}

#[track_caller]
fn do_ip(world: &World, line: &str) {
    assert_eq!(ip(world, line), "", "ip {line}");
}

/// Waits until a device is hooked, and says how.
#[track_caller]
fn is_covered(agent: &Agent, name: &str) -> String {
    let hook = Deadline::after(SOON).poll(|| {
        let shown = agent.nsp_ok(&["status", "--json"]);
        let status: serde_json::Value = serde_json::from_str(&shown).ok()?;
        let interfaces = status["interfaces"].as_array()?;
        let device = interfaces.iter().find(|it| it["name"] == name)?;
        device["ingress"].as_str().map(str::to_owned)
    });
    hook.unwrap_or_else(|| panic!("{name} is not covered: {}", agent.stderr()))
}

#[track_caller]
fn is_judged(world: &World) {
    for family in BOTH {
        let connect = |party: Party| {
            let from = SocketAddr::new(party.address(family), 0);
            tcp_connect(
                world.host(party),
                from,
                world.server_address(party, family, POSTGRES),
                SILENCE,
            )
        };
        let is_in = || (connect(Party::Office) == Outcome::Connected).then_some(());
        assert!(Deadline::after(SOON).poll(is_in).is_some(), "the office {family:?}");
        assert_eq!(connect(Party::Stranger), Outcome::TimedOut, "{family:?}");
    }
}
