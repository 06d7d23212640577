//! What would happen to a packet, from the running programs and from the compiled policy.

use std::net::IpAddr;

use ipnet::IpNet;
use nsp_common::{
    address::{Address, Family},
    decide::decide,
    explain::{Answer, Question},
    learned::Learned,
    net::transport::{protocol, tcp},
    packet::{Packet, flags},
    verdict::{AccessMode, Category, Direction, Reason, TrafficClass, Verdict},
};
use serde_json::{Value, json};

use super::{change::in_force, errors::with_sources, state::Agent};
use crate::{
    compile::oracle::Oracle, control::ExplainPacket, host::cgroups, names::naming,
    policy::model::Fqdn,
};

impl Agent {
    /// Both answers; an error when they do not agree.
    pub(super) fn explain(&self, asked: &ExplainPacket) -> Result<Value, String> {
        let remotes = self.remotes(&asked.remote)?;
        let path = self.sender_path(asked)?;
        let answers: Vec<Value> = remotes
            .into_iter()
            .map(|remote| self.explain_one(asked, remote, path.as_deref()))
            .collect::<Result<_, _>>()?;
        // A name that is allowed by one address is allowed: that is the one that connects.
        let allowed = answers.iter().find(|answer| answer["verdict"] == "allow");
        allowed.or(answers.first()).cloned().ok_or_else(|| "nothing to explain".to_owned())
    }

    fn explain_one(
        &self,
        asked: &ExplainPacket,
        remote: IpAddr,
        path: Option<&str>,
    ) -> Result<Value, String> {
        let packet = self.packet(asked, remote)?;
        let question =
            Question { cgroups: path.map_or([0; 8], |path| self.ancestors(path)), packet };
        let kernel = self.datapath.explain(&question).map_err(|error| with_sources(&error))?;
        let sender = path.map_or(0, |path| self.association_of_path(path));
        let mut host = self.oracle(sender).into_host();
        host.is_recursive = self.dns.serving.recurses(&question.cgroups);
        let number = self.datapath.generation().unwrap_or(1);
        let mut oracle = Oracle::new(&self.compiled, number, host);
        let learned = self.datapath.learned_of(remote).map_err(|error| with_sources(&error))?;
        if let Some(learned) = learned {
            oracle.learn(Address::from(remote), learned);
        }
        // A protocol without ports has one conversation with a peer, and it may be open.
        let flow = self.datapath.flow_of(&packet.key).map_err(|error| with_sources(&error))?;
        if let Some(flow) = flow {
            oracle.track(packet.key, flow);
        }
        let number = self.datapath.generation().unwrap_or(0);
        let compiled = Answer::of(&decide(&packet, &mut oracle), number);
        if kernel != compiled {
            return Err(format!(
                "the running program and the compiled policy disagree: {} and {}",
                self.sentence(&kernel),
                self.sentence(&compiled)
            ));
        }
        Ok(self.as_json(&kernel, remote))
    }

    fn as_json(&self, answer: &Answer, remote: IpAddr) -> Value {
        let rule = self.catalogue.rule(answer.rule);
        let profile = self.catalogue.profile(answer.rule, answer.association);
        json!({
            "verdict": Verdict::from_number(answer.verdict).map(Verdict::name),
            "mode": AccessMode::from_number(answer.mode).map(AccessMode::name),
            "category": Category::from_number(answer.category).map(Category::name),
            "reason": Reason::from_number(answer.reason).map(Reason::name),
            "class": TrafficClass::from_number(answer.class).map(TrafficClass::name),
            "wouldDeny": answer.would_deny == 1,
            "profile": profile,
            "rule": rule,
            "resource": self.catalogue.resource(answer.association),
            "name": self.catalogue.name(answer.name),
            "address": remote,
            "generation": answer.generation,
        })
    }

    fn sentence(&self, answer: &Answer) -> String {
        let verdict = Verdict::from_number(answer.verdict).map_or("?", Verdict::name);
        let reason = Reason::from_number(answer.reason).map_or("?", Reason::name);
        format!("{verdict} ({reason}, rule {}, association {})", answer.rule, answer.association)
    }

    /// The packet that opens such a conversation.
    pub(super) fn packet(&self, asked: &ExplainPacket, remote: IpAddr) -> Result<Packet, String> {
        let ifindex = self.device(asked, remote)?;
        let local = match asked.local {
            Some(local) if local.is_ipv4() == remote.is_ipv4() => local,
            Some(local) => return Err(format!("{local} and {remote} are of two families")),
            None => self
                .local_address(ifindex, remote.is_ipv4())
                .ok_or_else(|| format!("no local address to reach {remote} from; name one"))?,
        };
        let way = if asked.outbound { Direction::Outbound } else { Direction::Inbound };
        let mut packet = Packet { ifindex, direction: way as u8, ..Packet::EMPTY };
        packet.length = 60;
        packet.hop_limit = 64;
        packet.key.remote = Address::from(remote);
        packet.key.local = Address::from(local);
        packet.key.family = if remote.is_ipv4() { Family::V4 as u8 } else { Family::V6 as u8 };
        packet.key.protocol = match (asked.protocol, remote.is_ipv4()) {
            (protocol::ICMP, false) => protocol::ICMPV6,
            (number, _) => number,
        };
        packet.flags = flags::ADDRESSED | flags::KEYED;
        match packet.key.protocol {
            protocol::TCP | protocol::UDP | protocol::SCTP => {
                packet.flags |= flags::PORTS;
                // Zero stands for a port that nobody cares about: any of the ephemeral ones.
                let ephemeral = |port: u16| if port == 0 { 49152 } else { port };
                packet.key.remote_port = ephemeral(asked.remote_port);
                packet.key.local_port = ephemeral(asked.local_port);
                packet.tcp_flags = tcp::SYN;
            }
            protocol::ICMP => packet.icmp_type = nsp_common::net::icmp::v4::ECHO,
            protocol::ICMPV6 => packet.icmp_type = nsp_common::net::icmp::v6::ECHO,
            _ => {}
        }
        if packet.key.protocol != protocol::TCP {
            packet.tcp_flags = 0;
        }
        Ok(packet)
    }

    /// The device named, or the judged one that a reply would leave by.
    fn device(&self, asked: &ExplainPacket, remote: IpAddr) -> Result<u32, String> {
        if let Some(name) = &asked.interface {
            let link = self.links.iter().find(|link| link.name == *name);
            return link.map(|link| link.index).ok_or_else(|| format!("no interface {name:?}"));
        }
        let mut routes: Vec<_> =
            self.routes.iter().filter(|route| route.prefix.contains(&remote)).collect();
        routes.sort_by_key(|route| std::cmp::Reverse(route.prefix.prefix_len()));
        let by_route = routes.first().and_then(|route| route.interfaces.first()).copied();
        by_route
            .or_else(|| self.groups.keys().next().copied())
            .ok_or_else(|| format!("no route to {remote}; name the interface"))
    }

    fn local_address(&self, ifindex: u32, v4: bool) -> Option<IpAddr> {
        let of_link = |index: u32| {
            let link = self.links.iter().find(|link| link.index == index)?;
            let fits = |address: &IpAddr| {
                let link_local = match address {
                    IpAddr::V4(_) => false,
                    IpAddr::V6(v6) => v6.is_unicast_link_local(),
                };
                address.is_ipv4() == v4 && !link_local
            };
            link.addresses.iter().map(IpNet::addr).find(fits)
        };
        of_link(ifindex).or_else(|| self.groups.keys().find_map(|index| of_link(*index)))
    }

    /// Addresses of what was asked for: itself, or what a name of the policy was learned as.
    fn remotes(&self, text: &str) -> Result<Vec<IpAddr>, String> {
        if let Ok(address) = text.parse() {
            return Ok(vec![address]);
        }
        let name = text.trim_end_matches('.').to_ascii_lowercase();
        let pattern = self.state.identities.names().find(|(_, known)| *known == name);
        let learned = self.datapath.learned().map_err(|error| with_sources(&error))?;
        // By its own number, if it is a pattern; below a wildcard, by what was asked for.
        let is_asked = |address: IpAddr| {
            let naming = self.datapath.naming_of(address).ok().flatten();
            naming.and_then(|it| naming::text(&it)).is_some_and(|asked| asked == name)
        };
        let is_named = |known: &Learned| {
            pattern.is_some_and(|(number, _)| known.names.iter().any(|it| it.name == number))
        };
        let addresses: Vec<IpAddr> = learned
            .iter()
            .filter(|(address, known)| is_named(known) || is_asked(*address))
            .map(|(address, _)| *address)
            .collect();
        if !addresses.is_empty() {
            return Ok(addresses);
        }
        let rules = self.rules_for(&name);
        Err(if rules.is_empty() {
            format!("no rule lists the name {name}; ask with an address")
        } else {
            let rules = rules.join(", ");
            let is_own =
                self.compiled.fqdns.iter().any(|(_, it)| !it.is_wildcard() && it.base() == name);
            let why = match is_own {
                true => {
                    "the agent asks for it itself, and `nsp status --dns` says what came of that"
                }
                false => "it is learned when it is asked for; see `nsp status --dns`",
            };
            format!("{name} is let out by {rules}, and no address is known for it yet: {why}")
        })
    }

    /// What lets a name out: rules, each with its profile, or an entry of the live overlay.
    fn rules_for(&self, name: &str) -> Vec<String> {
        let covers = |fqdn: &Fqdn| match fqdn.is_wildcard() {
            true => name.strip_suffix(fqdn.base()).is_some_and(|rest| rest.ends_with('.')),
            false => name == fqdn.base(),
        };
        let policy = in_force(&self.loaded, &self.sessions);
        let mut found = Vec::new();
        for (profile, it) in &policy.profiles {
            let rules = it.outbound.iter().filter(|(_, rule)| rule.fqdns.iter().any(covers));
            found.extend(rules.map(|(rule, _)| format!("rule {rule} of profile {profile}")));
        }
        if found.is_empty() && self.compiled.fqdns.iter().any(|(_, fqdn)| covers(fqdn)) {
            found.push("an entry of `nsp allow`".to_owned());
        }
        found
    }

    /// The cgroup path of the sender that was named.
    fn sender_path(&self, asked: &ExplainPacket) -> Result<Option<String>, String> {
        if let Some(pid) = asked.pid {
            return cgroups::of_process(pid).map(Some).map_err(|error| with_sources(&error));
        }
        let Some(unit) = &asked.unit else { return Ok(None) };
        let tree = self.tree().ok_or_else(|| "this host has no cgroups version 2".to_owned())?;
        tree.cgroups()
            .iter()
            .find(|cgroup| cgroups::unit_of(&cgroup.path) == Some(unit.as_str()))
            .map(|cgroup| Some(cgroup.path.clone()))
            .ok_or_else(|| format!("no unit {unit:?} is running"))
    }

    /// Ids of a cgroup and its ancestors by level, as the kernel's helper gives them.
    fn ancestors(&self, path: &str) -> [u64; 8] {
        let mut ids = [0; 8];
        let Some(tree) = self.tree() else { return ids };
        let mut prefix = String::new();
        for (level, part) in path.split('/').filter(|part| !part.is_empty()).enumerate() {
            prefix = format!("{prefix}/{part}");
            if let (Some(place), Some(cgroup)) = (ids.get_mut(level + 1), tree.find(&prefix)) {
                *place = cgroup.id;
            }
        }
        ids
    }

    /// Asks for the fate of a martian and of a neighbour solicitation before the agent calls itself
    /// ready: the answers do not depend on the policy's rules.
    pub(super) fn run_self_test(&self) -> Result<(), String> {
        let mut packet = Packet { direction: Direction::Inbound as u8, ..Packet::EMPTY };
        packet.flags = flags::ADDRESSED;
        packet.key.family = Family::V4 as u8;
        packet.key.remote = Address::v4([127, 0, 0, 1]);
        packet.key.local = Address::v4([192, 0, 2, 1]);
        let ask = |packet| {
            let question = Question { cgroups: [0; 8], packet };
            self.datapath.explain(&question).map_err(|error| with_sources(&error))
        };
        let martian = ask(packet)?;
        if martian.answered != 1 || martian.class != TrafficClass::Martian as u8 {
            return Err(format!("a martian came out as {}", self.sentence(&martian)));
        }
        packet.key.family = Family::V6 as u8;
        packet.key.remote = Address::v6([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        packet.key.local = Address::v6([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
        packet.key.protocol = protocol::ICMPV6;
        packet.icmp_type = nsp_common::net::icmp::v6::NEIGHBOUR_SOLICITATION;
        packet.hop_limit = 255;
        let neighbour = ask(packet)?;
        if neighbour.reason != Reason::NeighbourDiscovery as u8 {
            return Err(format!("neighbour discovery came out as {}", self.sentence(&neighbour)));
        }
        Ok(())
    }
}
