//! Real devices: the programs attached as the agent attaches them, and packets that go through.

use std::{
    net::{SocketAddr, UdpSocket},
    process::Command,
    time::Duration,
};

use nsp_agent::datapath::attach::{Attachments, Device, IngressHook, XdpMode};
use nsp_common::{
    event::Counter,
    link::Link,
    verdict::{Direction, Reason, Verdict},
};
use nsp_tests::{
    deadline::Deadline,
    netns::Sandbox,
    packet::{
        BOTH, Family, Packet,
        Party::{self, Office, Server, Stranger},
        eth, tcp, vlan,
    },
    prog::{ENFORCED, Lab},
    sockets::{EchoServer, FrameSender, Outcome, still_echoes, tcp_connect, tcp_open},
};

use crate::report::Report;

const SERVER: &str = "server";
const CLIENT: &str = "client";
const WITHIN: Duration = Duration::from_secs(5);

/// Length of the link header. The kernel takes a VLAN tag off before TC sees the frame.
const ETHERNET: u64 = 14;

type Fate = (Reason, Verdict);

/// A kind of device, and how it is to be hooked.
pub(crate) struct Case {
    name: &'static str,
    /// What `ip link add` calls it.
    kind: &'static str,
    device: &'static str,
    mode: XdpMode,
    hook: IngressHook,
    story: fn(&Sandbox, &mut Lab),
}

/// Every kind that the agent meets on ordinary hosts.
pub(crate) const ALL: [Case; 5] = [
    Case {
        name: "veth, XDP in the driver",
        kind: "veth",
        device: "up0",
        mode: XdpMode::Auto,
        hook: IngressHook::XdpNative,
        story: cable,
    },
    Case {
        name: "veth, XDP in the stack",
        kind: "veth",
        device: "up0",
        mode: XdpMode::Generic,
        hook: IngressHook::XdpGeneric,
        story: cable,
    },
    Case {
        name: "veth, TC",
        kind: "veth",
        device: "up0",
        mode: XdpMode::Off,
        hook: IngressHook::Tc,
        story: cable,
    },
    Case {
        name: "VLAN, TC because it has no XDP",
        kind: "vlan",
        device: "up0.10",
        mode: XdpMode::Auto,
        hook: IngressHook::Tc,
        story: tagged,
    },
    Case {
        name: "WireGuard, TC without link header",
        kind: "wireguard",
        device: "wg0",
        mode: XdpMode::Auto,
        hook: IngressHook::Tc,
        story: tunnelled,
    },
];

impl Case {
    /// Builds the network, hooks the device, tells the story.
    pub(crate) fn check(&self, report: &mut Report) {
        if !report.wants(self.name) {
            return;
        }
        let sandbox = network();
        let server = sandbox.host(SERVER);
        if !self.make(&sandbox) {
            report.leave_out(self.name, "this kernel has no such device");
            return;
        }
        report.check(self.name, || {
            self.lead_out(&sandbox);
            sandbox.settle();
            let mut lab = Lab::shared();
            let lab = &mut *lab;
            lab.put_in_force(ENFORCED);
            let index = server.index(self.device);
            let name = self.device.to_owned();
            let has_link_header = self.has_link_header();
            let device = Device { index, name, has_link_header, without_native: false };
            let link = Link { group: 0, _pad: 0, scope: 0 };
            lab.datapath.set_links(&[(index, link)]).expect("one device fits");
            let mut hooks = Attachments::default();
            let hook = server.enter(|| hooks.add(&mut lab.datapath, &device, self.mode));
            let hook = hook.unwrap_or_else(|error| panic!("{:#}", anyhow::Error::from(error)));
            assert_eq!(hook, self.hook, "what judges what comes in");
            (self.story)(&sandbox, lab);
            // A classifier is unhooked by a message to the namespace that one is in.
            server.enter(move || drop(hooks));
            lab.clear();
        });
    }

    /// Makes the device, where it is another than the cable; false when the kernel cannot.
    fn make(&self, sandbox: &Sandbox) -> bool {
        let server = sandbox.host(SERVER);
        let ip =
            |line: &str| server.output(Command::new("ip").args(line.split(' '))).status.success();
        match self.kind {
            "vlan" => ip("link add link up0 name up0.10 type vlan id 10"),
            "wireguard" => ip("link add wg0 type wireguard"),
            _ => true,
        }
    }

    /// Everybody is reached by the device.
    fn lead_out(&self, sandbox: &Sandbox) {
        let (server, device) = (sandbox.host(SERVER), self.device);
        server.ip(&format!("link set dev {device} up"));
        let mac = sandbox.host(CLIENT).mac("c0").map(|byte| format!("{byte:02x}")).join(":");
        for family in BOTH {
            let own = Server.address(family);
            for peer in [Office, Stranger].map(|peer| peer.address(family)) {
                server.ip(&format!("route replace {peer} dev {device} src {own}"));
                if self.has_link_header() {
                    server.ip(&format!("neigh replace {peer} lladdr {mac} dev {device}"));
                }
            }
        }
    }

    fn has_link_header(&self) -> bool {
        self.kind != "wireguard"
    }
}

/// The server and a client that is the office and the stranger at once, on one cable.
fn network() -> Sandbox {
    let mut sandbox = Sandbox::new();
    sandbox.add_host(SERVER);
    sandbox.add_host(CLIENT);
    sandbox.connect((SERVER, "up0"), (CLIENT, "c0"));
    sandbox.host(SERVER).ip("addr add 192.0.2.1/24 dev up0\n\
         addr add 2001:db8:1::1/64 dev up0\n");
    sandbox.host(CLIENT).ip("addr add 203.0.113.5/32 dev c0\n\
         addr add 198.51.100.7/32 dev c0\n\
         addr add 2001:db8:100::5/128 dev c0\n\
         addr add 2001:db8:5::7/128 dev c0\n\
         route add 192.0.2.0/24 dev c0\n\
         route add 2001:db8:1::/64 dev c0\n");
    sandbox
}

/// Packets both ways, and conversations of real sockets.
fn cable(sandbox: &Sandbox, lab: &mut Lab) {
    arrive(sandbox, lab, |packet| eth() / packet);
    leave(sandbox, lab, ETHERNET);
    let (server, client) = (sandbox.host(SERVER), sandbox.host(CLIENT));
    for family in BOTH {
        let served = EchoServer::tcp(server, SocketAddr::new(Server.address(family), 5432));
        let from = |party: Party| SocketAddr::new(party.address(family), 0);
        let stream = tcp_open(client, from(Office), served.address(), WITHIN);
        let stream = stream.unwrap_or_else(|outcome| panic!("the office {family:?}: {outcome:?}"));
        assert!(still_echoes(&stream), "the office's conversation {family:?}");
        let patience = Duration::from_millis(500);
        let outcome = tcp_connect(client, from(Stranger), served.address(), patience);
        assert_eq!(outcome, Outcome::TimedOut, "the stranger {family:?}");
    }
}

/// Packets of a VLAN, judged behind the tag.
fn tagged(sandbox: &Sandbox, lab: &mut Lab) {
    arrive(sandbox, lab, |packet| eth() / vlan(10) / packet);
    leave(sandbox, lab, ETHERNET);
}

/// Packets that leave by a device without link header. None comes in: it has no peer.
fn tunnelled(sandbox: &Sandbox, lab: &mut Lab) {
    leave(sandbox, lab, 0);
}

/// Frames that come by the cable.
fn arrive(sandbox: &Sandbox, lab: &mut Lab, wrap: fn(Packet) -> Packet) {
    let client = FrameSender::open(sandbox.host(CLIENT), "c0");
    for (family, peer, fate) in fates() {
        let port = lab.fresh();
        let syn = family.ip(peer, Server) / tcp(port, 5432).syn();
        let bytes = judged(lab, Direction::Inbound, fate, || client.send(wrap(syn.clone())));
        assert_eq!(bytes, ETHERNET + syn.bytes().len() as u64, "{syn}: length on the way in");
    }
}

/// Datagrams of a socket. The call fails where the perimeter, or a tunnel without key, refuses.
fn leave(sandbox: &Sandbox, lab: &mut Lab, link_header: u64) {
    const PAYLOAD: &[u8] = b"what time is it?";
    for (family, peer, fate) in fates() {
        let from = SocketAddr::new(Server.address(family), 0);
        let socket = sandbox.host(SERVER).enter(|| UdpSocket::bind(from));
        let socket = socket.expect("an address of the server");
        let to = SocketAddr::new(peer.address(family), 123);
        let bytes = judged(lab, Direction::Outbound, fate, || {
            let _refused = socket.send_to(PAYLOAD, to);
        });
        let length = link_header as usize + family.header_length() + 8 + PAYLOAD.len();
        assert_eq!(bytes, length as u64, "{family:?}: length on the way out");
    }
}

/// What becomes of whom, either way.
fn fates() -> impl Iterator<Item = (Family, Party, Fate)> {
    let both =
        [(Stranger, (Reason::NoRule, Verdict::Drop)), (Office, (Reason::Rule, Verdict::Pass))];
    BOTH.into_iter().flat_map(move |family| both.map(|(peer, fate)| (family, peer, fate)))
}

/// Sends, waits until the one packet is counted as it should be, and answers its length.
fn judged(
    lab: &mut Lab,
    direction: Direction,
    (reason, verdict): Fate,
    send: impl FnOnce(),
) -> u64 {
    let read = || {
        let counters = lab.datapath.counters().expect("counters can be read");
        counters.reason(reason, direction, verdict)
    };
    let Counter { packets, bytes, .. } = read();
    send();
    let risen = Deadline::after(WITHIN).poll(|| {
        let now = read();
        (now.packets > packets).then_some(now)
    });
    let now = risen.unwrap_or_else(|| {
        panic!("no packet was counted as {direction:?} {reason:?} {verdict:?}: {:?}", lab.delta())
    });
    assert_eq!(now.packets - packets, 1, "{direction:?} {reason:?} {verdict:?}");
    now.bytes - bytes
}
