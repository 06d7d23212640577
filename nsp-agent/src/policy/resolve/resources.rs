//! Resources and their associations: selectors that can be told apart, profiles that exist.

use std::collections::{BTreeMap, BTreeSet};

use crate::policy::{
    choice::AccessMode,
    diagnose::{Refusal, Report, quoted, suggest},
    document::{ProfileDocument, ResourceDocument, Spanned},
    model::{Part, Process, Profile, Resource, Selector},
    name::Name,
    ports::{PortRange, PortSet, PortSpec},
    text::Span,
};

/// Resolves all resources.
pub(super) fn resolve(
    documents: &BTreeMap<Name, ResourceDocument>,
    profiles: &BTreeMap<Name, Profile>,
    report: &mut Report,
) -> BTreeMap<Name, Resource> {
    let mut resources: BTreeMap<Name, Resource> = BTreeMap::new();
    for (name, document) in documents {
        let resource = resolve_one(name, document, profiles, report);
        let Some(resource) = resource else { continue };
        for (other_name, other) in &resources {
            if let Some(conflict) = conflict(&resource, other) {
                let what = format!("resources `{other_name}` and `{name}` {}", conflict.what);
                let why = format!("{} (`{other_name}` is in {})", conflict.why, other.position);
                let refusal = Refusal { cure: conflict.cure, ..Refusal::new(what, why) };
                report.error(document.span, refusal);
                break;
            }
        }
        resources.insert(name.clone(), resource);
    }
    resources
}

/// Remarks on profiles that no resource uses.
pub(super) fn warn_of_unused(
    profiles: &BTreeMap<Name, ProfileDocument>,
    resources: &BTreeMap<Name, ResourceDocument>,
    report: &mut Report,
) {
    let used = resources.values().filter_map(|resource| resource.profile.as_ref());
    let used: BTreeSet<&Name> = used.map(|profile| &profile.value).collect();
    for (name, profile) in profiles.iter().filter(|(name, _)| !used.contains(name)) {
        let what = format!("profile `{name}` is not used");
        report.warning(profile.span, Refusal::new(what, "no resource is associated with it"));
    }
}

fn resolve_one(
    name: &Name,
    document: &ResourceDocument,
    profiles: &BTreeMap<Name, Profile>,
    report: &mut Report,
) -> Option<Resource> {
    let selector = match resolve_selector(name, document) {
        Ok(selector) => selector,
        Err((span, refusal)) => {
            report.error(span, refusal);
            None
        }
    };
    let Some(Spanned { span, value: profile_name }) = &document.profile else {
        if document.has_profile {
            return None;
        }
        let what = format!("resource `{name}` has no `profile`");
        let refusal = Refusal::new(what, "an association joins a resource and a profile");
        let cure = profiles.keys().next().map(|profile| format!("profile = \"{profile}\""));
        report.error(document.span, Refusal { cure, ..refusal });
        return None;
    };
    let Some(profile) = profiles.get(profile_name) else {
        let what = format!("unknown profile {}", quoted(profile_name.as_str()));
        let near = suggest(profile_name.as_str(), profiles.keys().map(Name::as_str));
        let cure = match near {
            Some(near) => format!("\"{near}\""),
            None => format!("add [profile.{profile_name}]"),
        };
        let why = format!("there is no [profile.{profile_name}]");
        report.error(*span, Refusal::new(what, why).cure(cure));
        return None;
    };
    let selector = selector?;
    if let Selector::Part(part) = &selector
        && !part.takes_inbound()
        && !profile.inbound.is_empty()
    {
        let what = format!("resource `{name}` cannot take the inbound rules of `{profile_name}`");
        let why = "a cgroup alone does not tell which inbound packets are for it";
        let cure = "add its ports = [\"…/tcp\"], or name a unit, whose ports are known";
        report.error(document.span, Refusal::new(what, why).cure(cure));
        return None;
    }
    let mode = |own: &Option<Spanned<AccessMode>>| {
        let typed = own.as_ref().or(document.access_mode.as_ref());
        typed.map(|mode| mode.value).unwrap_or_default()
    };
    let inbound_mode = mode(&document.inbound_mode);
    let takes_inbound = match &selector {
        Selector::Host => true,
        Selector::Part(part) => part.takes_inbound(),
    };
    if inbound_mode == AccessMode::Enforced && takes_inbound && profile.inbound.is_empty() {
        let what =
            format!("resource `{name}` is enforced and `{profile_name}` has no inbound rule");
        let why = "every new connection of a public peer will be denied, an operator's too";
        let cure =
            format!("add [profile.{profile_name}.inbound.NAME], or inbound_mode = \"transition\"");
        report.warning(document.span, Refusal::new(what, why).cure(cure));
    }
    Some(Resource {
        selector,
        profile: profile_name.clone(),
        inbound_mode,
        outbound_mode: mode(&document.outbound_mode),
        on_deny: super::value_or_default(&document.on_deny),
        position: report.texts.position(document.span),
    })
}

/// The selector; `None` when what is written of it is bad, and reported already.
fn resolve_selector(
    name: &Name,
    document: &ResourceDocument,
) -> Result<Option<Selector>, (Span, Refusal)> {
    let process = match (&document.unit, &document.cgroup) {
        (Some(_), Some(cgroup)) => {
            let what = format!("resource `{name}` has a `unit` and a `cgroup`");
            let why = "both say whose processes are meant, and one of them is enough";
            return Err((cgroup.span, Refusal::new(what, why).cure("leave `cgroup` out")));
        }
        (Some(unit), None) => Some(Process::Unit(unit.value.clone())),
        (None, cgroup) => cgroup.as_ref().map(|cgroup| Process::Cgroup(cgroup.value.clone())),
    };
    let part = Part {
        process,
        ports: joined(document.ports.as_deref().unwrap_or_default()),
        address: document.address.as_ref().map(|address| address.value),
        interface: document.interface.as_ref().map(|interface| interface.value.clone()),
    };
    let is_empty = part == Part::default();
    match &document.host {
        Some(Spanned { span: _, value: true }) if is_empty => Ok(Some(Selector::Host)),
        Some(Spanned { span, value: true }) => {
            let what = format!("resource `{name}` is the host and also a part of it");
            let why = "host = true stands alone: it takes what no other resource takes";
            let cure = "leave `host` out, or make it a resource of its own";
            Err((*span, Refusal::new(what, why).cure(cure)))
        }
        None if is_empty && document.has_selector => Ok(None),
        _ if is_empty => {
            let what = format!("resource `{name}` selects nothing");
            let why = "it needs at least one of unit, cgroup, ports, address, interface, or host";
            Err((document.span, Refusal::new(what, why).cure("host = true")))
        }
        _ => Ok(Some(Selector::Part(part))),
    }
}

fn joined(ports: &[Spanned<PortRange>]) -> Vec<PortRange> {
    let PortSet::Listed(specs) = PortSet::listed(ports.iter().map(|p| PortSpec::Range(p.value)))
    else {
        return Vec::new();
    };
    let range = |spec| match spec {
        PortSpec::Range(range) => Some(range),
        PortSpec::Icmp | PortSpec::Protocol(_) => None,
    };
    specs.into_iter().filter_map(range).collect()
}

/// Why a packet could not be told to belong to one of two resources.
fn conflict(resource: &Resource, other: &Resource) -> Option<Refusal> {
    if resource.selector == other.selector {
        let what = format!("select the same: {}", resource.selector);
        let refusal = Refusal::new(what, "one thing has one association");
        return Some(refusal.cure("one resource, whose profile has the rules of both"));
    }
    let (Selector::Part(a), Selector::Part(b)) = (&resource.selector, &other.selector) else {
        return None;
    };
    if (a.address, &a.interface) == (b.address, &b.interface)
        && let Some((port, _)) = overlap(&a.ports, &b.ports)
    {
        let what = format!("both take `{port}`");
        let refusal = Refusal::new(what, "an inbound packet has one association");
        return Some(refusal.cure(format!("leave `{port}` to one of them")));
    }
    let same_rules = resource.profile == other.profile
        && resource.outbound_mode == other.outbound_mode
        && resource.on_deny == other.on_deny;
    match (&a.process, &b.process) {
        (Some(process), Some(other)) if process == other && !same_rules => {
            let what = "both take the outbound traffic of the same processes".to_owned();
            let why = "an outbound conversation has one association";
            Some(Refusal::new(what, why).cure("keep `unit` or `cgroup` in one of them"))
        }
        _ => None,
    }
}

fn overlap<'a>(a: &'a [PortRange], b: &'a [PortRange]) -> Option<(&'a PortRange, &'a PortRange)> {
    a.iter().find_map(|a| b.iter().find(|b| a.overlaps(b)).map(|b| (a, b)))
}
