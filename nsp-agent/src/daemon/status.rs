//! How things are, for `nsp status`.

use std::time::SystemTime;

use nsp_common::event::Loss;
use serde_json::{Value, json};

use super::state::Agent;
use crate::datapath::PinDir;

impl Agent {
    /// Everything an operator asks first.
    pub(super) async fn status(&self) -> Value {
        let policy = &self.loaded.policy;
        let resources: Vec<Value> = policy
            .resources
            .iter()
            .map(|(name, resource)| {
                let name = name.to_string();
                json!({
                    "selector": resource.selector.to_string(),
                    "profile": resource.profile.to_string(),
                    "inbound": resource.inbound_mode.as_str(),
                    "outbound": resource.outbound_mode.as_str(),
                    "matched": !self.bindings.unmatched.contains(&name),
                    "outboundCovered": !self.bindings.outbound_uncovered.contains(&name),
                    "name": name,
                })
            })
            .collect();
        let interfaces: Vec<Value> = self
            .choices
            .devices
            .iter()
            .map(|choice| {
                let hook = self.attachments.iter().find(|(device, _)| device.index == choice.index);
                json!({
                    "name": choice.name,
                    "judged": choice.judged,
                    "why": choice.reason,
                    "ingress": hook.map(|(_, hook)| hook.name()),
                    "error": self.uncovered.get(&choice.name).cloned()
                        .or_else(|| hook.and_then(|_| self.unrepaired.at(&choice.name))),
                })
            })
            .collect();
        let log = self.writer.state();
        let (flows, flow_tables) = self.count_flows();
        json!({
            "off": self.off_json(),
            "dropsNothingYet": self.is_lenient,
            "perimeter": policy.perimeter.name.to_string(),
            "guid": self.catalogue.guid,
            "platform": policy.perimeter.platform.as_str(),
            "generation": self.datapath.generation(),
            "policy": self.trial.as_ref().unwrap_or(&self.options.policy),
            "trial": self.trial.is_some(),
            "confirmWithin": self.pending_until().map(|until| {
                until.saturating_duration_since(std::time::Instant::now()).as_secs()
            }),
            "digest": self.loaded.digest,
            "fileDiffers": self.file_differs(),
            "publicNetworkAccess": format!("{:?}", policy.perimeter.public_network_access),
            "pinned": self.datapath.pins().map(PinDir::path),
            "resources": resources,
            "sessions": self.sessions_json(),
            "overlay": self.list_overlay(),
            "interfaces": interfaces,
            "calls": match &self.calls {
                Ok(_) => json!({"hooked": true}),
                Err(why) => json!({"hooked": false, "why": why}),
            },
            "otherPrograms": self.others.json(),
            "otherProgramsError": self.others.unknown(),
            "flows": flows,
            "flowTables": flow_tables,
            "flowTablesBytes": self.datapath.flow_tables_bytes(),
            "ageing": self.ageing_json(),
            "counters": self.counters_json(),
            "names": self.names_json().await,
            "sources": self.sources_json(),
            "recursiveUnit": self.recursive_json(),
            "resolvers": self.resolvers.all.iter().map(|it| it.address.to_string()).collect::<Vec<_>>(),
            "accessLog": {
                "linesLost": log.lost.lines,
                "packetsLost": log.lost.packets + self.lost_before,
                "error": log.error,
            },
            "history": {"recordsLost": self.history.lost(), "error": self.history.error()},
            "lastError": self.last_error,
        })
    }

    /// Whether the policy file is not what is running.
    fn file_differs(&self) -> bool {
        let path = self.trial.as_ref().unwrap_or(&self.options.policy);
        // `nsp mode` changes the policy that runs and no file.
        self.options.load(path).map_or(true, |loaded| {
            loaded.digest != self.loaded.digest || loaded.policy != self.loaded.policy
        })
    }

    fn counters_json(&self) -> Value {
        let Ok(counters) = self.datapath.counters() else { return Value::Null };
        let reasons: Vec<Value> = counters
            .reasons()
            .into_iter()
            .map(|(reason, direction, verdict, counter)| {
                json!({
                    "reason": reason.name(),
                    "direction": direction.name(),
                    "verdict": verdict.name(),
                    "packets": counter.packets,
                    "bytes": counter.bytes,
                })
            })
            .collect();
        let categories: serde_json::Map<String, Value> = nsp_common::verdict::Category::ALL
            .iter()
            .skip(1)
            .map(|category| {
                (category.name().to_owned(), json!(counters.category(*category).packets))
            })
            .collect();
        json!({
            "reasons": reasons,
            "logged": categories,
            "lostRecords": counters.loss(Loss::Record).packets,
            "lostEvents": counters.loss(Loss::Event).packets,
            "flowsNotTracked": counters.loss(Loss::Flow).packets,
            "fragmentsNotTracked": counters.loss(Loss::Fragment).packets,
        })
    }

    async fn names_json(&self) -> Value {
        let names = self.name_status().await;
        let entries = names.iter().map(|name| {
            json!({
                "name": name.fqdn,
                "addresses": name.addresses.iter().map(|it| json!({
                    "address": it.address.to_string(),
                    "remainingSeconds": it.remaining_s,
                })).collect::<Vec<_>>(),
                "answeredSecondsAgo": name.answered_s_ago,
                "nextLookupSeconds": name.next_lookup_s,
                "failures": name.failures,
                "lastError": name.last_error,
                "refusedForbidden": name.refused_forbidden,
                "refusedOverQuota": name.refused_over_quota,
            })
        });
        Value::Array(entries.collect())
    }

    fn sources_json(&self) -> Value {
        let now = SystemTime::now();
        let sources = self.loaded.sources.iter().map(|source| {
            let age = source.modified.and_then(|it| now.duration_since(it).ok());
            json!({
                "name": source.name,
                "path": source.path,
                "ageSeconds": age.map(|age| age.as_secs()),
                "prefixes": source.prefixes,
            })
        });
        Value::Array(sources.collect())
    }
}
