//! `nsp check`: what a policy says, without touching anything.

use std::path::PathBuf;

use clap::Args;
use ipnet::IpNet;
use serde_json::json;

use super::{Failure, print_json};
use crate::{
    compile::{self, identities::Identities},
    host::{
        Pattern,
        cgroups::{self, Tree},
        platform::{DMI_DIR, Platform},
    },
    names::blind,
    policy::{
        self,
        model::{Policy, PrefixSet, Selector},
    },
    progress::Progress,
};

/// Read and compile a policy; touches nothing and needs no privileges.
#[derive(Args, Debug)]
pub(crate) struct Check {
    /// The policy file, or a directory of *.toml files
    #[arg(value_name = "FILE", env = "NSP_POLICY", default_value = "/etc/nsp/policy.toml")]
    file: PathBuf,
    /// The host's resolver configuration, looked at when names below a wildcard are to be enforced
    #[arg(long, value_name = "FILE", env = "NSP_RESOLV_CONF", default_value = "/etc/resolv.conf")]
    resolv_conf: PathBuf,
    /// Configuration of the host: how its programs resolve names
    #[arg(long, value_name = "DIR", env = "NSP_ETC", default_value = "/etc")]
    etc: PathBuf,
    /// The firmware's tables, which name the cloud
    #[arg(long, value_name = "DIR", env = "NSP_DMI", default_value = DMI_DIR)]
    dmi: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn run(self) -> Result<(), Failure> {
        let files = blind::Files { resolv_conf: self.resolv_conf.clone(), etc: self.etc.clone() };
        // Who wants JSON is a program.
        let progress = if self.json { Progress::default() } else { Progress::at_terminal() };
        let mut loaded = policy::load_shown(&self.file, &progress)
            .and_then(|loaded| blind::judge(loaded, &files))
            .map_err(|errors| Failure::failed(errors.to_string()))?;
        let platform = &mut loaded.policy.perimeter.platform;
        *platform = platform.or(Platform::detect(&self.dmi));
        progress.begin("compiling");
        let compiled = compile::compile(&loaded.policy, &mut Identities::default())
            .map_err(|error| Failure::failed(format!("{}: {error}", self.file.display())))?;
        let sizes = compiled.sizes;
        let rules = rules(&loaded.policy);
        let uncovered = outbound_not_covered(&loaded.policy);
        drop(progress);
        if self.json {
            print_json(&json!({
                "digest": loaded.digest,
                "platform": loaded.policy.perimeter.platform.as_str(),
                "rules": rules.iter().map(|rule| json!({
                    "rule": rule.name,
                    "direction": rule.direction,
                    "prefixes": rule.prefixes,
                    "addressesV4": rule.v4.to_string(),
                    "addressesV6": rule.v6.to_string(),
                    "names": rule.names,
                })).collect::<Vec<_>>(),
                "outboundNotCovered": uncovered,
                "recursiveUnitUnmatched": unmatched_resolver(&loaded.policy),
                "prefixes": sizes.prefixes,
                "classes": sizes.classes,
                "portClasses": sizes.port_classes,
                "cells": sizes.cells,
                "bytes": sizes.bytes(),
                "notes": loaded.notes.iter().map(ToString::to_string).collect::<Vec<_>>(),
            }));
            return Ok(());
        }
        for note in &loaded.notes {
            eprintln!("{note}");
        }
        if let Some(unit) = unmatched_resolver(&loaded.policy) {
            eprintln!(
                "nsp: warning: [dns] recursive_unit {unit} matches nothing on this host now: no such unit runs"
            );
        }
        println!("perimeter {}", loaded.policy.perimeter.name);
        let platform = loaded.policy.perimeter.platform;
        if !platform.endpoints().is_empty() {
            println!(
                "  platform {}: its endpoints pass where a profile says metadata = \"allow\"",
                platform.as_str()
            );
        }
        for (name, resource) in &loaded.policy.resources {
            println!(
                "  resource {name}: {} → profile {}, inbound {}, outbound {}",
                resource.selector,
                resource.profile,
                resource.inbound_mode.as_str(),
                resource.outbound_mode.as_str()
            );
            if uncovered.contains(&name.to_string()) {
                println!(
                    "    outbound: NOT COVERED (its traffic cannot be told from the host's: add unit or cgroup)"
                );
            }
        }
        for rule in &rules {
            let mut parts = vec![format!("{} prefixes", rule.prefixes)];
            if rule.v4 > 0 {
                parts.push(format!("{} IPv4 addresses", grouped(rule.v4)));
            }
            if rule.v6 >> 64 > 0 {
                parts.push(format!("{} IPv6 /64 networks", grouped(rule.v6 >> 64)));
            } else if rule.v6 > 0 {
                parts.push(format!("{} IPv6 addresses", grouped(rule.v6)));
            }
            if rule.names > 0 {
                parts.push(format!("{} names", rule.names));
            }
            println!("  {} rule {}: admits {}", rule.direction, rule.name, parts.join(", "));
        }
        println!(
            "  tables: {} prefixes, {} classes, {} port classes, {} cells; {} KiB a generation",
            grouped(sizes.prefixes as u128),
            grouped(sizes.classes as u128),
            sizes.port_classes,
            grouped(sizes.cells as u128),
            grouped((sizes.bytes() / 1024) as u128)
        );
        Ok(())
    }
}

/// What one rule admits.
struct Admitted {
    name: String,
    direction: &'static str,
    prefixes: usize,
    v4: u128,
    v6: u128,
    names: usize,
}

fn rules(policy: &Policy) -> Vec<Admitted> {
    let mut all = Vec::new();
    for (profile, it) in &policy.profiles {
        for (name, rule) in &it.inbound {
            all.push(admitted(format!("{profile}/{name}"), "inbound", &rule.prefixes, 0));
        }
        for (name, rule) in &it.outbound {
            let names = rule.fqdns.len();
            all.push(admitted(format!("{profile}/{name}"), "outbound", &rule.prefixes, names));
        }
    }
    all
}

fn admitted(name: String, direction: &'static str, prefixes: &PrefixSet, names: usize) -> Admitted {
    let (mut v4, mut v6) = (0_u128, 0_u128);
    for prefix in prefixes.iter() {
        match prefix {
            IpNet::V4(net) => v4 += 1_u128 << (32 - net.prefix_len()),
            IpNet::V6(net) => {
                let bits = 128 - u32::from(net.prefix_len());
                v6 = v6.saturating_add(1_u128.checked_shl(bits).unwrap_or(u128::MAX));
            }
        }
    }
    Admitted { name, direction, prefixes: prefixes.len(), v4, v6, names }
}

/// Resources that no outbound packet can be attributed to, where it is not the host's either.
fn outbound_not_covered(policy: &Policy) -> Vec<String> {
    if policy.resources.values().any(|resource| matches!(resource.selector, Selector::Host)) {
        return Vec::new();
    }
    let uncovered = policy.resources.iter().filter(|(_, resource)| match &resource.selector {
        Selector::Host => false,
        Selector::Part(part) => part.process.is_none(),
    });
    uncovered.map(|(name, _)| name.to_string()).collect()
}

/// The unit of the recursive resolver, when nothing on this host is it; where there are no cgroups to
/// look at nobody can say.
fn unmatched_resolver(policy: &Policy) -> Option<String> {
    let unit = policy.dns.recursive_unit.as_ref()?;
    let tree = Tree::read(&cgroups::mount_point().ok()?).ok()?;
    let found = tree.resolve_unit(&Pattern::new(unit.as_str()).ok()?);
    found.matches.is_empty().then(|| unit.to_string())
}

/// A number with thin groups of three, for people.
fn grouped(number: u128) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
