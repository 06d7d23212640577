//! Names as the daemon sees them: what was learned, from whom, what is remembered across restarts and
//! what cannot be seen.

mod memory;
mod resolving;
mod view;
mod wanted;

use std::sync::{Arc, atomic::Ordering};

use ipnet::IpNet;
use nsp_common::{
    address::{Address, Family},
    event::RecordKey,
    learned::{Naming, QUOTA_BELOW, QUOTA_EXACT, Unit},
    verdict::{Lesson, Reason},
};
use serde_json::{Value, json};

use super::{
    errors::with_sources,
    state::{Agent, now_ns, private_prefixes},
};
use crate::{
    access_log::record,
    host::stubs::Serving,
    names::{blind::Sight, forbidden::Forbidden},
    policy::model::Fqdn,
};

/// What the agent keeps beside the kernel's tables.
#[derive(Debug, Default)]
pub(super) struct DnsState {
    /// Who on this host answers its programs.
    pub(super) serving: Serving,
    pub(super) memory: memory::Memory,
    pub(super) wanted: wanted::Teaching,
    /// Why the table of those who resolve for others is not as it should be.
    pub(super) resolving_error: Option<String>,
}

/// What a name or pattern of the policy is held by.
pub(super) fn unit_of(identity: u32, fqdn: &Fqdn) -> Unit {
    let quota = if fqdn.is_wildcard() { QUOTA_BELOW } else { QUOTA_EXACT };
    Unit { name: identity, quota }
}

/// Seconds of the clock that learned addresses go by.
fn now_s() -> u32 {
    (now_ns() / 1_000_000_000) as u32
}

impl Agent {
    /// What no name may stand for.
    pub(super) fn forbidden(&self) -> Forbidden {
        let own = self.links.iter().flat_map(|link| &link.addresses).map(IpNet::addr);
        Forbidden::new(private_prefixes(&self.loaded.policy), own)
    }

    /// The name that the peer of a record was learned for last; or the one that was refused.
    pub(super) fn naming_of_record(&self, key: &RecordKey) -> Option<Naming> {
        if key.reason == Reason::StrictDns as u8 {
            return self.datapath.refused_name(key.name).ok().flatten();
        }
        if !record::may_be_told(key) {
            return None;
        }
        let family = if key.family == Family::V4 as u8 { Family::V4 } else { Family::V6 };
        let address = Address::v6(key.remote).to_ip(family);
        // A name less in the log is no reason to lose the line.
        self.datapath.naming_of(address).ok().flatten()
    }

    /// Everything there is to say of names, for `nsp status --dns`.
    pub(super) async fn dns_status(&self) -> Result<Value, String> {
        let looked_up = self.name_status().await;
        let learned = self.datapath.learned().map_err(|error| with_sources(&error))?;
        let counters = self.datapath.counters().map_err(|error| with_sources(&error))?;
        let now_s = now_s();
        let naming = |address| self.datapath.naming_of(address).ok().flatten();
        let names = view::names(&self.compiled.fqdns, &learned, naming, &looked_up, now_s);
        let lessons: Vec<Value> = Lesson::ALL
            .iter()
            .map(|lesson| {
                json!({
                    "lesson": lesson.name(),
                    "count": counters.lesson(*lesson),
                    "meaning": view::meaning(*lesson),
                })
            })
            .collect();
        let sight = Sight::read(&self.options.name_files());
        let stubs: Vec<Value> = self
            .dns
            .serving
            .stubs
            .iter()
            .map(|stub| {
                json!({
                    "address": stub.address,
                    "listens": stub.listens,
                    "cgroups": stub.cgroups,
                    "onlyItTeaches": self.dns.serving.is_exclusive(),
                })
            })
            .collect();
        Ok(json!({
            "names": names,
            "lessons": lessons,
            "resolvers": self.resolvers_json(),
            "stubs": stubs,
            "recursive": self.recursive_json(),
            "wanted": self.wanted_json(),
            "remembered": self.dns.memory.to_json(),
            "notVisible": view::not_visible(&view::Visible {
                policy: &self.loaded.policy,
                serving: &self.dns.serving,
                sight: &sight,
                hooks: self.calls.as_ref().map(|_| ()).map_err(String::as_str),
                resolving_error: self.dns.resolving_error.as_deref(),
            }),
        }))
    }

    /// The recursive resolver of the policy, if it names one.
    pub(super) fn recursive_json(&self) -> Value {
        let Some(unit) = &self.loaded.policy.dns.recursive_unit else { return Value::Null };
        let found = self.dns.serving.recursive.as_ref();
        json!({
            "unit": unit.as_str(),
            "matched": found.is_some_and(|it| it.is_matched),
            "addresses": found.map(|it| &it.addresses),
        })
    }

    fn resolvers_json(&self) -> Vec<Value> {
        let own = self.own_addresses();
        let host = self.resolvers.all.iter().map(|it| {
            let is_here = it.address.is_loopback() || own.contains(&it.address);
            json!({
                "address": it.address,
                "trusted": !it.address.is_loopback(),
                "why": if is_here { "on this host".to_owned() } else { it.file.display().to_string() },
            })
        });
        let policy = self.loaded.policy.dns.resolvers.iter();
        let policy = policy.map(
            |it| json!({"address": it, "trusted": true, "why": "[dns] resolvers of the policy"}),
        );
        host.chain(policy).collect()
    }

    fn wanted_json(&self) -> Value {
        let wanted::Teaching { counts, taught, refused } = &self.dns.wanted;
        let count = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
        let counts: &Arc<_> = counts;
        json!({
            "wanted": count(&counts.wanted),
            "repeated": count(&counts.repeated),
            "dropped": count(&counts.dropped),
            "answered": count(&counts.answered),
            "failed": count(&counts.failed),
            "addressesTaught": taught,
            "addressesRefused": refused,
        })
    }
}
