//! What applying another policy would change: rules, modes, and live conversations.

use std::collections::BTreeMap;

use nsp_common::{
    decide::{Tables as _, decide},
    net::transport::protocol,
    packet::{Packet, flags},
    verdict::Verdict,
};
use serde_json::{Value, json};

use super::{errors::with_sources, state::Agent};
use crate::{
    compile,
    compile::oracle::Oracle,
    datapath::FlowEntry,
    policy::{
        Loaded,
        model::{Policy, PrefixSet},
    },
};

/// What is longer is not shown.
const BYTES_SHOWN_MAX: usize = 200;
/// As many would be longer.
const PREFIXES_SHOWN_MAX: usize = 32;

impl Agent {
    /// The changes, and the live conversations that would end.
    pub(super) fn plan(&self, loaded: &Loaded) -> Result<Value, String> {
        let mut identities = self.state.identities.clone();
        let policy = self.with_sessions(&loaded.policy).map_err(|error| error.to_string())?;
        let compiled =
            compile::compile(&policy, &mut identities).map_err(|error| with_sources(&error))?;
        let number = self.datapath.generation().unwrap_or(0) + 1;
        let mut host = self.oracle(0).into_host();
        // What is blocked ends by that, not by this policy.
        host.overlay.presence &= !nsp_common::overlay::presence::BLOCKS;
        let mut oracle = Oracle::new(&compiled, number, host);
        let mut cut: Vec<Value> = Vec::new();
        let read = self.datapath.each_flow(|entry| {
            if ends(&entry, &mut oracle) {
                cut.push(self.flow_line(&entry));
            }
        });
        read.map_err(|error| with_sources(&error))?;
        let before = describe(&self.loaded.policy);
        let after = describe(&loaded.policy);
        Ok(json!({
            "added": only_in(&after, &before),
            "removed": only_in(&before, &after),
            "changed": changed(&before, &after),
            "flowsCut": cut,
            "warnings": loaded.notes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        }))
    }

    fn flow_line(&self, entry: &FlowEntry) -> Value {
        let family = entry.key.ip_family();
        json!({
            "remote": entry.key.remote.to_ip(family),
            "remotePort": entry.key.remote_port,
            "localPort": entry.key.local_port,
            "protocol": entry.key.protocol,
            "rule": self.catalogue.rule(entry.flow.rule),
            "resource": self.catalogue.resource(entry.flow.association),
        })
    }
}

/// Whether the next packet of a conversation would be dropped.
fn ends(entry: &FlowEntry, oracle: &mut Oracle<'_>) -> bool {
    let mut packet = Packet { key: entry.key, ..Packet::EMPTY };
    packet.flags = flags::ADDRESSED | flags::KEYED;
    if matches!(entry.key.protocol, protocol::TCP | protocol::UDP | protocol::SCTP) {
        packet.flags |= flags::PORTS;
    }
    packet.tcp_flags = nsp_common::net::transport::tcp::ACK;
    packet.direction = entry.flow.opener;
    oracle.track(entry.key, entry.flow);
    decide(&packet, oracle).verdict == Verdict::Drop
        && !entry.flow.stands(nsp_common::flow::standing::DENIED)
        && !entry.flow.is_cut()
        && !entry.flow.is_closed()
        && !entry.flow.is_expired(entry.key.protocol, oracle.now_ns())
}

/// Something of a policy that can change.
#[derive(PartialEq, Eq)]
struct Thing<'a> {
    prefixes: Option<&'a PrefixSet>,
    text: String,
}

impl<'a> Thing<'a> {
    fn of(text: String) -> Self {
        Self { prefixes: None, text }
    }

    fn with(prefixes: &'a PrefixSet, text: String) -> Self {
        Self { prefixes: Some(prefixes), text }
    }

    /// For people. Long lists are compared, and not written down: of a million prefixes that takes longer
    /// than all the rest, and nobody changes them by hand.
    fn show(&self) -> String {
        let Self { prefixes, text } = self;
        let text = match prefixes {
            Some(prefixes) if prefixes.len() > PREFIXES_SHOWN_MAX => return "…".to_owned(),
            Some(prefixes) => format!("{prefixes:?} {text}"),
            None => text.clone(),
        };
        if text.len() > BYTES_SHOWN_MAX { "…".to_owned() } else { text.trim_end().to_owned() }
    }
}

/// Everything of a policy that can change, by name.
fn describe(policy: &Policy) -> BTreeMap<String, Thing<'_>> {
    let mut all = BTreeMap::new();
    let perimeter = &policy.perimeter;
    let text = format!(
        "{} {:?} {:?} {}",
        perimeter.name,
        perimeter.public_network_access,
        perimeter.forwarded,
        perimeter.platform.as_str()
    );
    all.insert("perimeter".to_owned(), Thing::of(text));
    let private = match &policy.private_prefixes {
        Some(prefixes) => Thing::with(prefixes, String::new()),
        None => Thing::of("built in".to_owned()),
    };
    all.insert("[private]".to_owned(), private);
    all.insert("[dns]".to_owned(), Thing::of(format!("{:?}", policy.dns)));
    for (name, profile) in &policy.profiles {
        let text = format!("{:?} {:?}", profile.private, profile.metadata);
        all.insert(format!("profile {name}"), Thing::of(text));
        for (rule, it) in &profile.inbound {
            let thing = Thing::with(&it.prefixes, format!("{:?}", it.ports));
            all.insert(format!("inbound rule {name}/{rule}"), thing);
        }
        for (rule, it) in &profile.outbound {
            let thing = Thing::with(&it.prefixes, format!("{:?} {:?}", it.fqdns, it.ports));
            all.insert(format!("outbound rule {name}/{rule}"), thing);
        }
    }
    for (name, it) in &policy.resources {
        let text = format!(
            "{} profile {} inbound {} outbound {}",
            it.selector,
            it.profile,
            it.inbound_mode.as_str(),
            it.outbound_mode.as_str()
        );
        all.insert(format!("resource {name}"), Thing::of(text));
    }
    for (name, it) in &policy.members {
        all.insert(format!("member {name}"), Thing::with(&it.addresses, String::new()));
    }
    all
}

type Things<'a> = BTreeMap<String, Thing<'a>>;

fn only_in(one: &Things<'_>, other: &Things<'_>) -> Vec<String> {
    one.keys().filter(|key| !other.contains_key(*key)).cloned().collect()
}

fn changed(before: &Things<'_>, after: &Things<'_>) -> Vec<Value> {
    let both = before.iter().filter_map(|(key, old)| Some((key, old, after.get(key)?)));
    both.filter(|(_, old, new)| old != new)
        .map(|(key, old, new)| json!({"what": key, "from": old.show(), "to": new.show()}))
        .collect()
}
