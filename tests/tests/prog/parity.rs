//! The same packets through the decision over ordinary containers, through the kernel's dry run and
//! through the programs themselves: verdicts, reasons and conversations must agree. What the rules
//! say is also asked of the policy directly, past classes and port tables.

use std::collections::HashMap;

use nsp_agent::{
    compile::overlay::OverlayTables,
    policy::model::{Fqdn, PortSet, PortSpec, PrefixSet},
};
use nsp_common::{
    decision::Decision,
    explain::{Answer, Question},
    flow::Flow,
    net::eth::LinkHeader,
    packet::{Packet as Parsed, flags},
    verdict::{Category, Direction, Reason, TrafficClass, Verdict},
};
use nsp_tests::prog::{
    DEVICE, Delta, Generation, Lab, Network, TC_DROP, TC_PASS, XDP_DROP, XDP_PASS,
    model::Model,
    random::{Frame, Random},
};

use crate::host::{Host, MANY, SERVICE, SLICE, overlay};

/// Packets per policy; there are three, each in force several times.
const PACKETS: u64 = 500;
const ROUNDS: u64 = 9;

/// What these packets and policies cannot come to.
const UNSEEN: [Reason; 11] = [
    Reason::NoPolicy,
    Reason::Loopback,
    Reason::Forwarded,
    Reason::Cross,
    Reason::Cut,
    Reason::FlowTableFull,
    Reason::IcmpRate,
    Reason::Unassociated,
    Reason::TruncatedLink,
    // A sender that is a resolver, and what is read of messages: see names and strict_dns.
    Reason::Recursive,
    Reason::StrictDns,
];

fn policies() -> [String; 3] {
    let host =
        "\n[resource.host]\nhost = true\nprofile = \"database\"\naccess_mode = \"enforced\"\n";
    let secured = MANY
        .replace("\"transition\"", "\"secured-by-perimeter\"")
        .replace("[profile.database.inbound.a-narrow]", "[profile.database.inbound.z-other]");
    let narrowed = MANY.replace("203.0.113.0/24", "203.0.113.64/26") + host;
    [MANY.to_owned(), secured, narrowed]
}

/// What the parser makes of a frame at one of the programs.
fn parsed(frame: &[u8], direction: Direction, flags: u16) -> Parsed {
    let mut packet = Parsed { ifindex: DEVICE, direction: direction as u8, flags, ..Parsed::EMPTY };
    packet.parse(frame, LinkHeader::Ethernet);
    packet
}

#[test]
fn model_kernel_dry_run_and_programs_agree() {
    let mut lab = Lab::load();
    let mut random = Random::seeded(0x6e73_7000);
    let mut flows = HashMap::new();
    let mut reasons = HashMap::<(Reason, Direction, Verdict), u64>::new();
    let policies = policies();
    let mut judged_by_rules = 0;
    for round in 0..ROUNDS {
        lab.apply(&policies[(round % 3) as usize]);
        let host = Host::of(&mut lab);
        host.tell_kernel(&mut lab);
        let generation = lab.generation.take().expect("a policy is in force");
        let number = lab.datapath.generation().expect("a policy is in force");
        let mut model = Model::new(&generation.compiled, number);
        model.flows = std::mem::take(&mut flows);
        host.tell_model(&mut model);
        for packet in 0..PACKETS {
            // One round in three nothing; in the others, later on, a part of it is over.
            if packet == 0 || packet == PACKETS / 2 {
                let until_s = if packet == 0 { u32::MAX } else { 1 };
                model.overlay = match round % 3 {
                    1 => OverlayTables::default(),
                    _ => overlay(&mut lab, until_s),
                };
                lab.datapath.set_overlay(&model.overlay).expect("it fits");
            }
            let frame = random.frame();
            let context =
                format!("round {round} packet {packet}: {:?} {}", frame.direction, frame.packet);
            let network = random.of(&[Network::Public, Network::Public, Network::Private]);
            lab.by_network(network);
            model.groups = [(DEVICE, network as u8)].into();
            let decision = compare(&mut lab, &mut model, &mut random, &frame, &context);
            *reasons.entry((decision.reason, frame.direction, decision.verdict)).or_default() += 1;
            judged_by_rules += u64::from(agrees_with_policy(
                &generation,
                &lab,
                &host,
                &parsed(&frame.packet.bytes(), frame.direction, 0),
                &decision,
                &context,
            ));
        }
        compare_flows(&lab, &model);
        flows = model.flows;
    }
    let seen: Vec<_> = reasons.keys().map(|(reason, ..)| *reason).collect();
    println!("{} kinds of outcome, {judged_by_rules} asked of the policy too", reasons.len());
    let missing: Vec<_> = Reason::ALL
        .iter()
        .filter(|reason| !seen.contains(reason) && !UNSEEN.contains(reason))
        .collect();
    assert!(missing.is_empty(), "{missing:?} never came up in {} packets", PACKETS * ROUNDS);
    assert!(judged_by_rules > 300, "only {judged_by_rules} packets were judged by rules");
}

/// One packet, described to both and then sent for real.
fn compare(
    lab: &mut Lab,
    model: &mut Model<'_>,
    random: &mut Random,
    frame: &Frame,
    context: &str,
) -> Decision {
    let bytes = frame.packet.bytes();
    let at_xdp = frame.direction == Direction::Inbound && random.once_in(2);
    let program_flags = if at_xdp { 0 } else { flags::LENGTH_FROM_BUFFER };
    let packet = parsed(&bytes, frame.direction, program_flags);

    let cgroups = random.of(&[
        [0; 8],
        [0, SLICE, 0, 0, 0, 0, 0, 0],
        [0, SLICE, SERVICE, 7, 0, 0, 0, 0],
        [0, 7, SERVICE, 0, 0, 0, 0, 0],
    ]);
    let answer = lab.datapath.explain(&Question { cgroups, packet });
    // Only what goes out has a sender.
    model.cgroups = cgroups;
    let expected = Answer::of(&model.explain(&packet), model.number);
    assert_eq!(answer.expect("an answer"), expected, "{context}: the dry run (left), the model");

    let _before = lab.delta();
    let (program, pass, drop) = match (frame.direction, at_xdp) {
        (Direction::Outbound, _) => ("nsp_egress", TC_PASS, TC_DROP),
        (Direction::Inbound, true) => ("nsp_xdp", XDP_PASS, XDP_DROP),
        (Direction::Inbound, false) => ("nsp_ingress", TC_PASS, TC_DROP),
    };
    model.cgroups = [0; 8];
    let decision = model.judge(&packet);
    let code = lab.datapath.run(program, &bytes, DEVICE).expect("it runs");
    let expected = if decision.verdict == Verdict::Pass { pass } else { drop };
    assert_eq!(code, expected, "{context}: {program} (left), the model, which says {decision:?}");
    let mut counted = Delta::from([(
        format!("{:?} {:?} {:?}", frame.direction, decision.verdict, decision.reason),
        (1, bytes.len() as u64),
    )]);
    let category = decision.category();
    if category != Category::None {
        counted.insert(format!("{category:?}"), (1, bytes.len() as u64));
    }
    assert_eq!(lab.delta(), counted, "{context}: what {program} counted (left), the model");
    decision
}

/// The conversations of both, but for the clock.
fn compare_flows(lab: &Lab, model: &Model<'_>) {
    let tracked = lab.datapath.flows().expect("conversations can be read");
    let untimed = |flow: Flow| Flow { opened_ns: 0, seen_ns: 0, ..flow };
    for entry in &tracked {
        let flow = model.flows.get(&entry.key);
        assert_eq!(Some(untimed(entry.flow)), flow.copied().map(untimed), "{:?}", entry.key);
    }
    assert_eq!(tracked.len(), model.flows.len());
}

/// Where rules were asked: whether the policy itself names the same one. Answers whether they were.
fn agrees_with_policy(
    generation: &Generation,
    lab: &Lab,
    host: &Host,
    packet: &Parsed,
    decision: &Decision,
    context: &str,
) -> bool {
    let by_rules = matches!(decision.reason, Reason::Rule | Reason::NoRule)
        && decision.class == TrafficClass::Public
        && !decision.temporary;
    if !by_rules || decision.association == 0 {
        return false;
    }
    let resource = lab.identities.associations().find(|(it, _)| *it == decision.association);
    let (_, resource) = resource.expect("an association has a name");
    let policy = &generation.policy;
    let (_, resource) = policy
        .resources
        .iter()
        .find(|(name, _)| name.as_str() == resource)
        .expect("a resource of the policy");
    let profile = policy.profile_of(resource);
    let peer = packet.key.remote.to_ip(packet.ip_family());
    let covers = |prefixes: &PrefixSet| prefixes.iter().any(|prefix| prefix.contains(&peer));
    let port = match decision.opener {
        Direction::Inbound => packet.key.local_port,
        Direction::Outbound => packet.key.remote_port,
    };
    let named = |fqdns: &[Fqdn]| {
        let learned = host.learned.iter().find(|(address, _)| *address == peer);
        let valid = learned.into_iter().flat_map(|(_, learned)| &learned.names);
        let valid = valid.filter(|name| name.name != 0 && name.expires_s == u32::MAX);
        let names: Vec<_> = valid
            .filter_map(|entry| lab.identities.names().find(|(it, _)| *it == entry.name))
            .collect();
        fqdns.iter().any(|fqdn| names.iter().any(|(_, name)| *name == fqdn.to_string()))
    };
    let expected = match decision.opener {
        Direction::Inbound => profile
            .inbound
            .iter()
            .find(|(_, rule)| covers(&rule.prefixes) && admits(&rule.ports, packet, port))
            .map(|(name, _)| name.as_str()),
        Direction::Outbound => profile
            .outbound
            .iter()
            .find(|(_, rule)| {
                (covers(&rule.prefixes) || named(&rule.fqdns)) && admits(&rule.ports, packet, port)
            })
            .map(|(name, _)| name.as_str()),
    };
    let rule = lab.identities.rules().find(|(it, ..)| *it == decision.rule);
    assert_eq!(
        rule.map(|(_, _, _, name)| name),
        expected,
        "{context}: the rule (left), the policy"
    );
    true
}

fn admits(ports: &PortSet, packet: &Parsed, port: u16) -> bool {
    let protocol = packet.key.protocol;
    match ports {
        PortSet::Any => true,
        PortSet::Listed(list) => list.iter().any(|spec| match spec {
            PortSpec::Range(range) => {
                range.transport.number() == protocol && (range.first..=range.last).contains(&port)
            }
            PortSpec::Icmp => protocol == 1 || protocol == 58,
            PortSpec::Protocol(number) => *number == protocol,
        }),
    }
}
