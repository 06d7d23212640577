//! One row of the access log: Azure's columns, and what a host knows besides.

mod columns;
mod fqdn;

use std::net::IpAddr;

use jiff::Timestamp;
use nsp_common::{
    address::{Address, Family},
    event::{Grain, Record, RecordKey, flags},
    net::transport::protocol::{SCTP, TCP, UDP},
    verdict::{AccessMode, Category, Reason},
};
use serde::{Deserialize, Serialize};

pub use self::columns::{
    HostRulesOutcome, MatchedRule, ResultAction, ResultDirection, RuleType, TrafficType,
};
pub use self::fqdn::may_be_told;
use super::{catalogue::Catalogue, clock::Clock, clock::rfc3339, describe, escape};

/// `SourceIpAddress` of a record that stands for many sources.
pub const MANY: &str = "many";

/// One row. Columns that do not apply are `null`, never absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AccessRecord {
    /// First packet.
    #[serde(with = "rfc3339")]
    pub time_generated: Timestamp,
    /// Last packet.
    #[serde(with = "rfc3339")]
    pub time_generated_end_time: Timestamp,
    /// Conversations: TCP SYNs; of other protocols the first packet.
    pub count: u64,
    /// Azure's category.
    pub category: String,
    /// What became of it.
    pub result_action: ResultAction,
    /// Which side opened it.
    pub result_direction: ResultDirection,
    /// Why, as a sentence.
    pub result_description: String,
    /// Where the peer stands.
    pub traffic_type: TrafficType,
    /// Where the rule lives that decided.
    pub rule_type: RuleType,
    /// The access rule, when one decided.
    pub matched_rule: Option<MatchedRule>,
    /// The profile that was asked.
    pub profile: Option<String>,
    /// Its version; a string, as Azure has it.
    pub access_rule_version: Option<String>,
    /// The perimeter's location.
    pub location: Option<String>,
    /// `/perimeters/<perimeter>/resources/<resource>`.
    pub service_resource_id: Option<String>,
    /// Who opened it: an address, a prefix when sources were summed up, or `many`.
    pub source_ip_address: String,
    /// The opener's port in the first packet.
    pub source_port: Option<u16>,
    /// The transport: `TCP`, `proto 47`.
    pub source_protocol: String,
    /// The name that was asked for, or the pattern by which an outbound rule admitted it.
    pub destination_fqdn: Option<String>,
    /// The port that was asked.
    pub destination_port: Option<u16>,
    /// The transport again: both ends speak it.
    pub destination_protocol: String,
    /// The perimeter of the source, when it is known to be in one.
    pub source_perimeter_guids: Vec<String>,
    /// The host that judged.
    pub host: String,
    /// Who was asked; in the forms of `SourceIpAddress`.
    pub destination_ip_address: String,
    /// Packets, both ways.
    pub packets: u64,
    /// Bytes, both ways.
    pub bytes: u64,
    /// Why, in the words of the list of reasons.
    pub reason: String,
    /// The mode that applied.
    pub access_mode: String,
    /// The device.
    pub interface: Option<String>,
    /// The systemd unit: the sender's own, where its process is known, or the resource's.
    pub unit: Option<String>,
    /// The process whose call was refused at once; of several the first.
    #[serde(default)]
    pub pid: Option<u32>,
    /// What it is called.
    #[serde(default)]
    pub comm: Option<String>,
    /// Of inbound traffic that enforcing would deny: whether the host answered.
    pub host_rules_outcome: Option<HostRulesOutcome>,
}

/// The kernel's name of a process, whatever it has in it.
fn command(comm: &[u8; 16]) -> String {
    let length = comm.iter().position(|byte| *byte == 0).unwrap_or(comm.len());
    String::from_utf8_lossy(&comm[..length]).into_owned()
}

impl AccessRecord {
    /// The row for what the kernel summed up.
    pub fn of(key: &RecordKey, record: &Record, catalogue: &Catalogue, clock: &Clock) -> Self {
        let RecordKey {
            remote,
            local,
            rule,
            name,
            generation: _,
            ifindex,
            service_port,
            association,
            protocol,
            family,
            reason,
            category,
            flags: bits,
            grain,
            _pad: _,
        } = *key;
        let Record {
            count,
            packets,
            bytes,
            answers,
            first_ns,
            last_ns,
            opener_port,
            _pad: _,
            pid,
            comm,
            cgroup: _,
        } = *record;
        let outbound = bits & flags::OUTBOUND != 0;
        let denied = bits & flags::DENIED != 0;
        let known_category =
            Category::from_number(category).filter(|category| *category != Category::None);
        let remote = peer(&remote, family, grain);
        let local = address(&local, family).to_string();
        let (source, destination) = if outbound { (local, remote) } else { (remote, local) };
        let has_ports = matches!(protocol, TCP | UDP | SCTP);
        let port = |port: u16| (has_ports && port != 0).then_some(port);
        let traffic_type = traffic_type(known_category);
        let by_rule = known_category.is_none_or(|category| !is_resource_rules(category));
        let matched = catalogue.rule(rule).filter(|_| by_rule).map(String::from);
        let mode = match bits & flags::ENFORCED {
            0 => AccessMode::Transition,
            _ => AccessMode::Enforced,
        };
        let profile = catalogue.profile(rule, association);
        let of_own_perimeter = outbound || traffic_type == TrafficType::Intra;
        let sentence = describe::Sentence {
            reason: Reason::from_number(reason),
            denied,
            would_deny: bits & flags::WOULD_DENY != 0,
            rule: matched.as_deref(),
            profile,
        };
        Self {
            time_generated: clock.wall_time(first_ns),
            time_generated_end_time: clock.wall_time(last_ns),
            count,
            category: known_category
                .map_or_else(|| format!("#{category}"), |category| category.name().into()),
            result_action: if denied { ResultAction::Denied } else { ResultAction::Approved },
            result_direction: match outbound {
                true => ResultDirection::Outbound,
                false => ResultDirection::Inbound,
            },
            result_description: sentence.to_string(),
            traffic_type,
            rule_type: match (by_rule, &matched) {
                (false, _) => RuleType::ResourceRule,
                (true, Some(_)) => RuleType::PerimeterRule,
                (true, None) => RuleType::None,
            },
            matched_rule: matched.map(|access_rule| MatchedRule { access_rule }),
            profile: profile.map(str::to_owned),
            access_rule_version: catalogue.version(rule, association).map(|it| it.to_string()),
            location: catalogue.location.clone(),
            service_resource_id: catalogue.resource(association).map(|resource| {
                format!("/perimeters/{}{RESOURCES}{resource}", catalogue.perimeter)
            }),
            source_ip_address: source,
            source_port: port(opener_port),
            source_protocol: describe::protocol(protocol).into_owned(),
            // Under strict DNS the number stands for what was asked: the catalogue does not have it.
            destination_fqdn: catalogue
                .name(name)
                .filter(|_| reason != Reason::StrictDns as u8)
                .map(String::from),
            destination_port: port(service_port),
            destination_protocol: describe::protocol(protocol).into_owned(),
            source_perimeter_guids: match of_own_perimeter {
                true => vec![catalogue.guid.clone()],
                false => Vec::new(),
            },
            host: catalogue.host.clone(),
            destination_ip_address: destination,
            packets,
            bytes,
            reason: Reason::from_number(reason)
                .map_or_else(|| format!("#{reason}"), |reason| reason.name().into()),
            access_mode: mode.name().into(),
            interface: catalogue.interface(ifindex).map(String::from),
            unit: catalogue.unit(association).map(str::to_owned),
            pid: (pid != 0).then_some(pid),
            comm: (pid != 0).then(|| command(&comm)),
            host_rules_outcome: (known_category
                == Some(Category::PublicInboundResourceRulesAllowed))
            .then_some(match answers {
                0 => HostRulesOutcome::NotObserved,
                _ => HostRulesOutcome::Replied,
            }),
        }
    }

    /// The row as one line of JSON, without its end. Nothing in it drives a terminal.
    pub fn to_json(&self) -> String {
        escape::harden_json(serde_json::to_string(self).expect("strings and numbers serialise"))
    }

    /// A row from one line; `None` when it is not one. Unknown columns are passed over.
    pub fn from_json(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }

    /// The name of the resource.
    pub fn resource(&self) -> Option<&str> {
        let (_, resource) = self.service_resource_id.as_deref()?.split_once(RESOURCES)?;
        Some(resource)
    }

    /// Whether it passed and would not when enforced.
    pub fn would_deny(&self) -> bool {
        category_named(&self.category).is_some_and(is_resource_rules)
    }
}

/// Between the perimeter's name and the resource's.
const RESOURCES: &str = "/resources/";

/// The category with this name, with or without Azure's `Nsp`, in any case.
pub fn category_named(text: &str) -> Option<Category> {
    let bare = |name: &str| match name.get(..3) {
        Some(prefix) if prefix.eq_ignore_ascii_case("nsp") => name[3..].to_owned(),
        _ => name.to_owned(),
    };
    let wanted = bare(text);
    Category::ALL.iter().copied().find(|category| {
        *category != Category::None && bare(category.name()).eq_ignore_ascii_case(&wanted)
    })
}

fn is_resource_rules(category: Category) -> bool {
    matches!(
        category,
        Category::PublicInboundResourceRulesAllowed | Category::PublicOutboundResourceRulesAllowed
    )
}

fn traffic_type(category: Option<Category>) -> TrafficType {
    match category {
        Some(Category::PrivateInboundAllowed) => TrafficType::Private,
        Some(Category::IntraPerimeterInboundAllowed | Category::OutboundAttempt) => {
            TrafficType::Intra
        }
        Some(Category::CrossPerimeterInboundAllowed | Category::CrossPerimeterOutboundAllowed) => {
            TrafficType::Cross
        }
        _ => TrafficType::Public,
    }
}

/// The peer, as far as the record keeps it.
fn peer(octets: &[u8; 16], family: u8, grain: u8) -> String {
    let address = address(octets, family);
    if grain == Grain::Address as u8 {
        return address.to_string();
    }
    if grain == Grain::Network as u8 {
        // `coarsen` cleared the last bytes; of a mapped address they are all that is left of it.
        return format!("{address}/{}", if address.is_ipv4() { 16 } else { 48 });
    }
    MANY.into()
}

fn address(octets: &[u8; 16], family: u8) -> IpAddr {
    let family = if family == Family::V4 as u8 { Family::V4 } else { Family::V6 };
    Address::v6(*octets).to_ip(family)
}

#[cfg(test)]
mod tests;
