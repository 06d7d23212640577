//! The tracked conversations: shown and ended. (They age in the kernel.)

use std::{collections::BTreeMap, net::IpAddr};

use nsp_common::{
    ageing::Aged,
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
use crate::{
    compile::oracle::Oracle,
    control::flows::{FlowLine, FlowsPart},
    datapath::{FlowCursor, FlowEntry, FlowTable, TableRoom},
};

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
    /// A conversation as the generation in force sees it: the programs judge one anew at its next packet;
    /// an idle one is judged here, so that nobody has to wait for it to speak. Not what is over: what both
    /// ends have closed waits only for stray segments.
    fn judged(mut entry: FlowEntry, oracle: &Oracle<'_>, now_ns: u64) -> Option<FlowEntry> {
        let generation = oracle.generation();
        if entry.flow.generation != generation.number {
            rejudge(&entry.key, &mut entry.flow, oracle, &generation);
        }
        lay_over(&mut entry, oracle);
        let is_over = entry.flow.is_closed() || entry.flow.is_expired(entry.key.protocol, now_ns);
        (!is_over).then_some(entry)
    }

    /// A part of the conversations that are not over, and where to go on. They can be a million: nobody
    /// holds them all at once, and the agent does other things between two parts.
    pub(super) fn list_flows(&self, from: FlowCursor) -> Result<FlowsPart, String> {
        let now = now_ns();
        let oracle = self.oracle(0);
        let (entries, next) =
            self.datapath.flows_from(from).map_err(|error| with_sources(&error))?;
        let live = entries.into_iter().filter_map(|it| Self::judged(it, &oracle, now));
        Ok(FlowsPart { flows: live.map(|it| self.flow_line_of(&it, now)).collect(), next })
    }

    fn flow_line_of(&self, entry: &FlowEntry, now_ns: u64) -> FlowLine {
        let FlowEntry { key, flow, is_proven } = entry;
        let family = key.ip_family();
        FlowLine {
            remote: key.remote.to_ip(family),
            remote_port: key.remote_port,
            local: key.local.to_ip(family),
            local_port: key.local_port,
            protocol: key.protocol,
            opener: flow.opened_by().name().into(),
            state: word_of(flow).into(),
            established: *is_proven,
            seeded: flow.has(progress::SEEDED),
            reason: Reason::from_number(flow.reason).map(|reason| reason.name().into()),
            resource: self.catalogue.resource(flow.association).map(Into::into),
            rule: self.catalogue.rule(flow.rule).map(Into::into),
            name: self.catalogue.name(flow.name).map(Into::into),
            age_seconds: now_ns.saturating_sub(flow.opened_ns) / 1_000_000_000,
            idle_seconds: now_ns.saturating_sub(flow.seen_ns) / 1_000_000_000,
            packets: flow.packets,
            bytes: flow.bytes,
            generation: flow.generation,
        }
    }

    /// Ends conversations: those of one peer, or all kept ones, or all that no rule allows.
    pub(super) fn cut_flows(&mut self, peer: Option<IpAddr>, kept: bool) -> Result<Value, String> {
        let now = now_ns();
        let mut cut = Vec::new();
        let mut failed = None;
        let oracle = self.oracle(0);
        let read = self.datapath.each_flow(|entry| {
            let Some(FlowEntry { key, flow, .. }) = Self::judged(entry, &oracle, now) else {
                return;
            };
            let matches_peer = peer.is_none_or(|peer| key.remote.to_ip(key.ip_family()) == peer);
            let matches_state = !kept || flow.stands(standing::KEPT);
            // What is cut need not be ended again.
            if !matches_peer
                || !matches_state
                || flow.is_cut()
                || flow.reason == Reason::Resolver as u8
                || failed.is_some()
            {
                return;
            }
            match self.datapath.cut_flow(&key, &flow) {
                Ok(was_there) => cut.push((name_of(&key), was_there)),
                Err(error) => failed = Some(error),
            }
        });
        drop(oracle);
        let count = cut.iter().filter(|(_, was_there)| *was_there).count();
        self.state.cut.extend(cut.into_iter().map(|(name, _)| name));
        if let Err(error) = store::save(&self.options.state_dir, &self.state) {
            self.complain("state is not saved", &error);
        }
        match read.err().or(failed) {
            Some(error) => Err(with_sources(&error)),
            None => Ok(json!({"cut": count})),
        }
    }

    /// How many conversations there are, by state; and the tables that they are in.
    pub(super) fn count_flows(&self) -> (Value, Value) {
        let now = now_ns();
        let oracle = self.oracle(0);
        let mut counts = BTreeMap::<&str, u64>::new();
        let mut used = BTreeMap::<FlowTable, u64>::new();
        let read = self.datapath.each_flow(|entry| {
            *used.entry(entry.table()).or_default() += 1;
            let Some(FlowEntry { flow, .. }) = Self::judged(entry, &oracle, now) else { return };
            *counts.entry(word_of(&flow)).or_default() += 1;
            let way = match flow.opened_by() {
                Direction::Inbound => "inbound",
                Direction::Outbound => "outbound",
            };
            *counts.entry(way).or_default() += 1;
        });
        if read.is_err() {
            return (Value::Null, Value::Null);
        }
        let tables = self.datapath.flow_tables().map(|TableRoom { table, capacity, bytes }| {
            json!({
                "table": table.name(),
                "entries": used.get(&table).copied().unwrap_or(0),
                "capacity": capacity,
                "bytes": bytes,
            })
        });
        (json!(counts), json!(tables))
    }

    /// How the clock that ages conversations fares.
    pub(super) fn ageing_json(&self) -> Value {
        let Ok(Aged { ticks, spent_ns, longest_ns }) = self.datapath.aged() else {
            return Value::Null;
        };
        let (pace, round_ms) = self.datapath.pace();
        json!({
            "roundMilliseconds": round_ms,
            "tickMilliseconds": pace.tick_ms,
            "ticks": ticks,
            "meanNanoseconds": spent_ns.checked_div(ticks),
            "longestNanoseconds": longest_ns,
        })
    }
}
