//! The tracked conversations: shown and ended. (They age in the kernel.)

use std::net::IpAddr;

use nsp_common::{
    decide::{Tables as _, rejudge},
    flow::{Flow, progress, standing},
    verdict::{Direction, Reason},
};
use serde_json::{Value, json};

use super::{
    errors::with_sources,
    overlay::lay_over,
    seed::name_of,
    state::{Agent, now_ns},
    store,
};
use crate::datapath::FlowEntry;

/// The state of a conversation in a word.
pub(super) fn word_of(flow: &Flow) -> &'static str {
    if flow.is_cut() {
        "cut"
    } else if flow.stands(standing::DENIED) {
        "denied"
    } else if flow.stands(standing::TEMPORARY) {
        "temporary"
    } else if flow.stands(standing::KEPT) {
        "kept"
    } else if flow.stands(standing::WOULD_DENY) {
        "would-deny"
    } else {
        "allowed"
    }
}

impl Agent {
    /// All tracked conversations as the generation in force sees them. The programs judge one anew
    /// at its next packet; an idle one is judged here, so that nobody has to wait for it to speak.
    fn judged_flows(&self) -> Result<Vec<FlowEntry>, String> {
        let mut flows = self.datapath.flows().map_err(|error| with_sources(&error))?;
        let oracle = self.oracle(0);
        let generation = oracle.generation();
        for entry in flows.iter_mut().filter(|it| it.flow.generation != generation.number) {
            rejudge(&entry.key, &mut entry.flow, &oracle, &generation);
        }
        // What both ends have closed waits only for stray segments.
        flows.iter_mut().for_each(|entry| lay_over(entry, &oracle));
        flows.retain(|entry| !entry.flow.is_closed());
        Ok(flows)
    }

    /// All conversations that are not over.
    pub(super) fn list_flows(&self) -> Result<Value, String> {
        let now = now_ns();
        let flows = self.judged_flows()?;
        let live = flows.iter().filter(|it| !it.flow.is_expired(it.key.protocol, now));
        Ok(Value::Array(live.map(|it| self.flow_json(it, now)).collect()))
    }

    fn flow_json(&self, entry: &FlowEntry, now_ns: u64) -> Value {
        let FlowEntry { key, flow, is_proven } = entry;
        let family = key.ip_family();
        let age_s = now_ns.saturating_sub(flow.opened_ns) / 1_000_000_000;
        let idle_s = now_ns.saturating_sub(flow.seen_ns) / 1_000_000_000;
        json!({
            "remote": key.remote.to_ip(family),
            "remotePort": key.remote_port,
            "local": key.local.to_ip(family),
            "localPort": key.local_port,
            "protocol": key.protocol,
            "opener": flow.opened_by().name(),
            "state": word_of(flow),
            "established": is_proven,
            "seeded": flow.has(progress::SEEDED),
            "reason": Reason::from_number(flow.reason).map(Reason::name),
            "resource": self.catalogue.resource(flow.association),
            "rule": self.catalogue.rule(flow.rule),
            "name": self.catalogue.name(flow.name),
            "ageSeconds": age_s,
            "idleSeconds": idle_s,
            "packets": flow.packets,
            "bytes": flow.bytes,
            "generation": flow.generation,
        })
    }

    /// Ends conversations: those of one peer, or all kept ones, or all that no rule allows.
    pub(super) fn cut_flows(&mut self, peer: Option<IpAddr>, kept: bool) -> Result<Value, String> {
        let flows = self.judged_flows()?;
        let now = now_ns();
        let mut cut = 0;
        for FlowEntry { key, flow, .. } in flows {
            let family = key.ip_family();
            let matches_peer = peer.is_none_or(|peer| key.remote.to_ip(family) == peer);
            let matches_state = !kept || flow.stands(standing::KEPT);
            // What is cut or over need not be ended again.
            let is_live = !flow.is_cut() && !flow.is_expired(key.protocol, now);
            if !matches_peer || !matches_state || !is_live || flow.reason == Reason::Resolver as u8
            {
                continue;
            }
            let was_there =
                self.datapath.cut_flow(&key, &flow).map_err(|error| with_sources(&error))?;
            cut += u32::from(was_there);
            self.state.cut.insert(name_of(&key));
        }
        if let Err(error) = store::save(&self.options.state_dir, &self.state) {
            self.complain("state is not saved", &error);
        }
        Ok(json!({"cut": cut}))
    }

    /// How many conversations there are, by state.
    pub(super) fn count_flows(&self) -> Value {
        let Ok(flows) = self.judged_flows() else { return Value::Null };
        let now = now_ns();
        let mut counts = std::collections::BTreeMap::<&str, u64>::new();
        for entry in flows.iter().filter(|it| !it.flow.is_expired(it.key.protocol, now)) {
            *counts.entry(word_of(&entry.flow)).or_default() += 1;
            let way = match entry.flow.opened_by() {
                Direction::Inbound => "inbound",
                Direction::Outbound => "outbound",
            };
            *counts.entry(way).or_default() += 1;
        }
        json!(counts)
    }
}
