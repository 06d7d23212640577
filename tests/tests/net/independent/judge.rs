//! nftables as the judge: a chain at the ingress of a device, made from the policy.

use std::{collections::BTreeSet, fmt::Write as _, fs, process::Command, time::Duration};

use ipnet::IpNet;
use nsp_agent::policy::model::{InboundRule, Policy, PortSet, PortSpec, Transport};
use nsp_tests::{
    netns::Sandbox,
    packet::NEAR_MAC,
    sockets::{FrameListener, FrameSender},
};

/// What ends a batch: a kind of frame that passes and that no test frame has.
const LAST: [u8; 2] = [0x88, 0xb5];
/// Where the number of a frame is: in its source address, which nobody looks at.
const NUMBER: usize = 8;

/// Two hosts, a cable with the ruleset at its end, and another cable for what is accepted.
pub(super) struct Nftables {
    wire: FrameSender,
    accepted: FrameListener,
    _sandbox: Sandbox,
}

impl Nftables {
    pub(super) fn of(policy: &Policy) -> Self {
        let mut sandbox = Sandbox::new();
        sandbox.add_host("sender");
        sandbox.add_host("judge");
        sandbox.connect(("sender", "wire0"), ("judge", "up0"));
        sandbox.connect(("sender", "back0"), ("judge", "out0"));
        let judge = sandbox.host("judge");
        let script = tempfile::NamedTempFile::new().expect("a temporary file");
        fs::write(script.path(), ruleset(policy)).expect("a temporary file can be written");
        let output = judge.output(Command::new("nft").arg("-f").arg(script.path()));
        assert!(output.status.success(), "nft: {}", String::from_utf8_lossy(&output.stderr));
        sandbox.settle();
        let wire = FrameSender::open(sandbox.host("sender"), "wire0");
        let accepted = FrameListener::open(sandbox.host("sender"), "back0");
        Self { wire, accepted, _sandbox: sandbox }
    }

    /// The frames that the ruleset lets through, by their place.
    pub(super) fn judge(&self, frames: &[Vec<u8>]) -> BTreeSet<usize> {
        for (number, frame) in frames.iter().enumerate() {
            let mut frame = frame.clone();
            frame[..6].copy_from_slice(&NEAR_MAC);
            frame[NUMBER..NUMBER + 4].copy_from_slice(&(number as u32).to_be_bytes());
            self.wire.send_bytes(&frame);
        }
        let mut last = vec![0; 60];
        last[..6].copy_from_slice(&NEAR_MAC);
        last[12..14].copy_from_slice(&LAST);
        self.wire.send_bytes(&last);
        let mut passed = BTreeSet::new();
        loop {
            let frame = self.accepted.next(Duration::from_secs(10), |frame| frame[..6] == NEAR_MAC);
            let frame = frame.expect("the last frame passes");
            if frame[12..14] == LAST {
                return passed;
            }
            let number = frame[NUMBER..NUMBER + 4].try_into().expect("four bytes");
            passed.insert(u32::from_be_bytes(number) as usize);
        }
    }
}

/// The inbound rules of every profile, as a chain that accepts what they admit.
fn ruleset(policy: &Policy) -> String {
    let accept = "fwd to \"out0\"\n";
    let mut sets = String::new();
    let mut rules = format!("meta protocol != {{ ip, ip6 }} {accept}");
    let inbound = policy.profiles.values().flat_map(|profile| profile.inbound.iter());
    for (name, InboundRule { prefixes, ports, .. }) in inbound {
        let (v4, v6): (Vec<IpNet>, Vec<IpNet>) =
            prefixes.iter().partition(|prefix| matches!(prefix, IpNet::V4(_)));
        for (family, kind, address, prefixes) in
            [(4, "ipv4_addr", "ip", v4), (6, "ipv6_addr", "ip6", v6)]
        {
            let elements: Vec<String> = prefixes.iter().map(IpNet::to_string).collect();
            let set = format!("{name}_v{family}");
            let _written = writeln!(
                sets,
                "set {set} {{ type {kind}; flags interval; auto-merge; elements = {{ {} }}; }}",
                elements.join(", ")
            );
            for port in matches(ports, family) {
                let _written = write!(rules, "{address} saddr @{set} {port} {accept}");
            }
        }
    }
    format!(
        "table netdev model {{\n{sets}\nchain in {{\ntype filter hook ingress device \"up0\" priority 0; \
         policy drop;\n{rules}}}\n}}\n"
    )
}

/// A rule's ports, each as a match of nftables.
fn matches(ports: &PortSet, family: u8) -> Vec<String> {
    let PortSet::Listed(list) = ports else { return vec![String::new()] };
    let one = |spec: &PortSpec| match spec {
        PortSpec::Range(range) => {
            let transport = match range.transport {
                Transport::Tcp => "tcp",
                Transport::Udp => "udp",
                Transport::Sctp => "sctp",
            };
            format!("{transport} dport {}-{}", range.first, range.last)
        }
        PortSpec::Icmp if family == 4 => "meta l4proto icmp".to_owned(),
        PortSpec::Icmp => "meta l4proto ipv6-icmp".to_owned(),
        PortSpec::Protocol(number) => format!("meta l4proto {number}"),
    };
    list.iter().map(one).collect()
}
