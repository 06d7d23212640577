//! What operators allow or block for a time: kept here and in the state, written into the kernel's
//! overlay. The kernel keeps the deadlines; here what is over is only taken out.

use std::collections::BTreeSet;

use nsp_common::{
    decide::{LAPSED, lapse, overlaid},
    flow::standing,
    overlay::action,
    verdict::Reason,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    errors::with_sources,
    state::{Agent, now_ns},
};
use crate::{
    compile::{
        self,
        identities::Identities,
        oracle::Oracle,
        overlay::{Entry, OverlayTables, Target},
    },
    control::Temporary,
    datapath::FlowEntry,
    history::{Entry as Record, Outcome},
    policy::model::{Failsafe, Fqdn, Policy, PortSet, PortSpec},
};

/// The longest time that anything is allowed or blocked for: what is meant for longer is policy.
const SECONDS_MAX: u64 = 30 * 24 * 3600;

const SECOND: u64 = 1_000_000_000;

/// An entry as it was asked for, with its end. What the state file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stored {
    target: String,
    block: bool,
    inbound: bool,
    outbound: bool,
    ports: Vec<String>,
    profile: Option<String>,
    /// Second of this boot's coarse monotonic clock at which it is over.
    until_s: u32,
}

impl Stored {
    /// What asks for it has been read before, so only a damaged state file is refused.
    fn of(asked: &Temporary, now_ns: u64) -> Result<Self, String> {
        let Temporary { block, target, inbound, outbound, ports, profile, seconds, any } = asked;
        if !(1..=SECONDS_MAX).contains(seconds) {
            return Err(format!("{seconds} seconds: from one second to thirty days are possible"));
        }
        let target = Target::parse(target).map_err(|it| format!("{}: {}", it.what, it.why))?;
        if let Some(what) = target.widest()
            && !any
        {
            return Err(format!("{target} is {what}, which is hardly meant"));
        }
        if let Target::Name(name) = &target
            && name.is_below_public_suffix()
            && !any
        {
            return Err(format!(
                "{target} is every name below a public suffix, which is hardly meant"
            ));
        }
        let is_name = matches!(target, Target::Name(_));
        if is_name && *inbound && !block {
            return Err(format!(
                "{target} is a name: only what this host opens is allowed by name"
            ));
        }
        let mut specs = Vec::new();
        for port in ports {
            specs.push(PortSpec::parse(port).map_err(|it| format!("{}: {}", it.what, it.why))?);
        }
        let PortSet::Listed(specs) = PortSet::listed(specs) else { return Err("no ports".into()) };
        let both = inbound == outbound;
        let until_s = (now_ns + seconds * SECOND).div_ceil(SECOND);
        Ok(Self {
            target: target.to_string(),
            block: *block,
            // Who owns a name chooses its addresses: what comes in is not blocked by it unless asked for.
            inbound: if is_name { *block && *inbound } else { both || *inbound },
            outbound: both || *outbound || (is_name && !*inbound),
            ports: specs.iter().map(ToString::to_string).collect(),
            profile: profile.clone(),
            until_s: u32::try_from(until_s).map_err(|_| "the clock is beyond its end")?,
        })
    }

    fn is_over(&self, now_ns: u64) -> bool {
        now_ns / SECOND >= u64::from(self.until_s)
    }

    /// Whether the two differ in their end at most.
    fn is_same(&self, other: &Self) -> bool {
        *self == Self { until_s: self.until_s, ..other.clone() }
    }

    fn name(&self) -> Option<Fqdn> {
        match Target::parse(&self.target) {
            Ok(Target::Name(name)) => Some(name),
            _ => None,
        }
    }

    /// The name it has as a rule.
    fn label(&self) -> String {
        let mut label = format!("{} {}", verb(self.block), self.target);
        if !self.ports.is_empty() {
            label = format!("{label} {}", self.ports.join(","));
        }
        match (self.inbound, self.outbound) {
            (true, false) => label + " inbound",
            (false, true) => label + " outbound",
            _ => label,
        }
    }

    /// Whether it blocks some of a way in. Who owns a name chooses its addresses: by name it may be any.
    fn blocks(&self, way_in: &Failsafe) -> bool {
        if !self.block || !self.inbound {
            return false;
        }
        let from = match Target::parse(&self.target) {
            Ok(Target::Prefix(prefix)) => Some(prefix),
            _ => None,
        };
        let specs: Vec<PortSpec> =
            self.ports.iter().filter_map(|port| PortSpec::parse(port).ok()).collect();
        let ports = if specs.is_empty() { PortSet::Any } else { PortSet::listed(specs) };
        way_in.meets(from, &ports)
    }

    fn entry(&self, identities: &mut Identities) -> Result<Entry, String> {
        let damaged = |it: crate::policy::Refusal| format!("{}: {}", it.what, it.why);
        let specs: Result<Vec<PortSpec>, _> =
            self.ports.iter().map(|port| PortSpec::parse(port).map_err(damaged)).collect();
        let specs = specs?;
        let mut actions = if self.block { action::BLOCK } else { 0 };
        for (wanted, bit) in [(self.inbound, action::INBOUND), (self.outbound, action::OUTBOUND)] {
            actions |= if wanted { bit } else { 0 };
        }
        let profile = self.profile.as_deref();
        Ok(Entry {
            target: Target::parse(&self.target).map_err(damaged)?,
            actions,
            ports: if specs.is_empty() { PortSet::Any } else { PortSet::listed(specs) },
            profile: profile.map_or(0, |profile| identities.profile(profile)),
            until_s: self.until_s,
            identity: identities.temporary(profile.unwrap_or(""), &self.label()),
        })
    }

    fn json(&self, now_ns: u64) -> Value {
        let remaining_ns = (u64::from(self.until_s) * SECOND).saturating_sub(now_ns);
        json!({
            "action": verb(self.block),
            "target": self.target,
            "inbound": self.inbound,
            "outbound": self.outbound,
            "ports": self.ports,
            "profile": self.profile,
            "rule": self.label(),
            // The second that has begun counts as over, as people count down.
            "remainingSeconds": (remaining_ns / SECOND).max(1),
        })
    }
}

const fn verb(block: bool) -> &'static str {
    if block { "block" } else { "allow" }
}

/// Forgets what was over before the agent started.
pub(super) fn forget_over(stored: &mut Vec<Stored>) {
    let now_ns = now_ns();
    stored.retain(|it| !it.is_over(now_ns));
}

/// The first live entry that blocks some of a policy's way in.
pub(super) fn blocks_way_in(stored: &[Stored], policy: &Policy) -> Option<String> {
    let way_in = policy.failsafe.as_ref()?;
    let now_ns = now_ns();
    let found = stored.iter().find(|it| !it.is_over(now_ns) && it.blocks(way_in));
    found.map(Stored::label)
}

/// Forgets what blocks some of a policy's way in. A policy that is applied is refused then; one that a start
/// begins with is in force whatever anybody blocked before.
pub(super) fn free_way_in(stored: &mut Vec<Stored>, policy: &Policy) {
    let Some(way_in) = &policy.failsafe else { return };
    stored.retain(|it| {
        let is_in_the_way = it.blocks(way_in);
        if is_in_the_way {
            tracing::error!(rule = it.label(), "taken back: it blocks what [failsafe] admits");
        }
        !is_in_the_way
    });
}

/// The names that entries are about: addresses are learned for these too.
pub(super) fn names_of(stored: &[Stored]) -> Vec<Fqdn> {
    let names: BTreeSet<Fqdn> = stored.iter().filter_map(Stored::name).collect();
    names.into_iter().collect()
}

/// The tables of entries, whose identities are interned on the way.
fn tables(stored: &[Stored], identities: &mut Identities) -> Result<OverlayTables, String> {
    let entries: Result<Vec<Entry>, String> =
        stored.iter().map(|it| it.entry(identities)).collect();
    OverlayTables::of(&entries?, identities.names()).map_err(|error| error.to_string())
}

/// A conversation as the live overlay leaves it.
pub(super) fn lay_over(entry: &mut FlowEntry, oracle: &Oracle<'_>) {
    let said = overlaid(&entry.key, &entry.flow, oracle);
    if said & LAPSED != 0 {
        lapse(&mut entry.flow);
    }
    if said as u32 != 0 {
        entry.flow.standing |= standing::DENIED;
        entry.flow.reason = Reason::Blocked as u8;
    }
}

impl Agent {
    /// Allows or blocks something for a time.
    pub(super) fn set_temporary(&mut self, asked: &Temporary) -> Result<Value, String> {
        let now_ns = now_ns();
        let fresh = Stored::of(asked, now_ns)?;
        let profiles = self.loaded.policy.profiles.keys();
        if let Some(profile) = &fresh.profile
            && !profiles.clone().any(|known| known.as_str() == profile)
        {
            let known: Vec<String> = profiles.map(ToString::to_string).collect();
            return Err(format!("no profile {profile:?}; there are: {}", known.join(", ")));
        }
        for policy in [Some(&self.loaded.policy), self.policy_before()].into_iter().flatten() {
            if policy.failsafe.as_ref().is_some_and(|way_in| fresh.blocks(way_in)) {
                return Err(format!(
                    "{} would take what [failsafe] of the policy admits: block it --outbound, or on other \
                     --ports, or take it out of [failsafe] first",
                    fresh.target
                ));
            }
        }
        let mut wanted = self.live_entries(now_ns);
        wanted.retain(|it| !it.is_same(&fresh));
        wanted.push(fresh.clone());
        self.change_overlay(wanted)?;
        tracing::info!(
            rule = fresh.label(),
            seconds = asked.seconds,
            "allowed or blocked for a time"
        );
        Ok(fresh.json(now_ns))
    }

    /// Takes entries back before their time.
    pub(super) fn withdraw(
        &mut self,
        block: bool,
        target: &str,
        profile: Option<&str>,
    ) -> Result<Value, String> {
        let target = Target::parse(target).map_err(|it| format!("{}: {}", it.what, it.why))?;
        let target = target.to_string();
        let is_meant = |it: &Stored| {
            it.block == block
                && it.target == target
                && profile.is_none_or(|profile| it.profile.as_deref() == Some(profile))
        };
        let (gone, left): (Vec<Stored>, Vec<Stored>) =
            self.live_entries(now_ns()).into_iter().partition(is_meant);
        if gone.is_empty() {
            return Err(format!("there is no temporary {} of {target}", verb(block)));
        }
        self.change_overlay(left)?;
        for it in &gone {
            tracing::info!(rule = it.label(), "withdrawn before its time");
        }
        Ok(json!({"removed": gone.len()}))
    }

    /// Everything that is allowed or blocked for a time.
    pub(super) fn list_overlay(&self) -> Value {
        let now_ns = now_ns();
        Value::Array(self.live_entries(now_ns).iter().map(|it| it.json(now_ns)).collect())
    }

    fn live_entries(&self, now_ns: u64) -> Vec<Stored> {
        self.state.overlay.iter().filter(|it| !it.is_over(now_ns)).cloned().collect()
    }

    /// Takes out what is over: the kernel has not gone by it since.
    pub(super) fn tidy_overlay(&mut self) {
        let now_ns = now_ns();
        let over: Vec<String> =
            self.state.overlay.iter().filter(|it| it.is_over(now_ns)).map(Stored::label).collect();
        if over.is_empty() {
            return;
        }
        for rule in over {
            tracing::info!(rule, "its time is over");
            self.record(Record {
                before: Some(self.loaded.digest.clone()),
                detail: json!({"rule": rule}),
                ..Record::new("time-over", Outcome::Done)
            });
        }
        if let Err(why) = self.change_overlay(self.live_entries(now_ns)) {
            // The kernel does not go by them. Nobody is helped by trying this every second.
            self.state.overlay = self.live_entries(now_ns);
            tracing::error!(%why, "what is over is not taken out");
            self.last_error = Some(format!("what is over is not taken out: {why}"));
        }
    }

    /// Makes these the entries. On any error those there were stay.
    fn change_overlay(&mut self, wanted: Vec<Stored>) -> Result<(), String> {
        let mut identities = self.state.identities.clone();
        let names = names_of(&wanted);
        let is_listed = |name: &&Fqdn| self.loaded.policy.lists(name);
        let only_here = |names: &[Fqdn]| -> BTreeSet<Fqdn> {
            names.iter().filter(|name| !is_listed(name)).cloned().collect()
        };
        // A name that no rule has is looked for in answers from the next generation on: its unit
        // belongs to the names of the policy, and gets the policy's own rules too (ADR 0012).
        let fresh = if only_here(&names) == only_here(&names_of(&self.state.overlay)) {
            None
        } else {
            let policy =
                self.with_sessions(&self.loaded.policy).map_err(|error| error.to_string())?;
            let compiled = compile::compile_with(&policy, &mut identities, &names);
            Some(compiled.map_err(|error| with_sources(&error))?)
        };
        let tables = tables(&wanted, &mut identities)?;
        let identities_before = std::mem::replace(&mut self.state.identities, identities);
        let overlay_before = std::mem::replace(&mut self.state.overlay, wanted);
        let written = match fresh {
            Some(compiled) => {
                let compiled_before = std::mem::replace(&mut self.compiled, compiled);
                // Writes the overlay too.
                self.publish().map(drop).inspect_err(|_| self.compiled = compiled_before)
            }
            None => self.datapath.set_overlay(&tables).map(|()| self.overlay = tables),
        };
        if let Err(error) = written {
            self.state.identities = identities_before;
            self.state.overlay = overlay_before;
            self.write_overlay();
            return Err(with_sources(&error));
        }
        self.refresh_catalogue();
        self.save_state();
        Ok(())
    }

    /// Writes the overlay as the state has it: the names that entries are about may be others now.
    pub(super) fn write_overlay(&mut self) {
        let mut identities = self.state.identities.clone();
        match tables(&self.state.overlay, &mut identities) {
            Ok(tables) => {
                if let Err(error) = self.datapath.set_overlay(&tables) {
                    self.complain("the live overlay is not written", &error);
                }
                self.state.identities = identities;
                self.overlay = tables;
            }
            Err(why) => {
                tracing::error!(%why, "the live overlay stays as it was");
                self.last_error = Some(format!("the live overlay stays as it was: {why}"));
            }
        }
    }
}
